package sender

import (
	"context"
	"math/rand/v2"
	"time"
)

// Pauses before dialling again.
const (
	minPause = time.Second
	maxPause = time.Minute
)

// spread returns a random part of a time. Nobody has to be kept from guessing
// it.
func spread(whole time.Duration) time.Duration {
	return rand.N(whole) //nolint:gosec // see above
}

// dial begins to connect.
func (l *line) dial(ctx context.Context) {
	l.dialing, l.dialAt = true, time.Now()
	eager := l.proven != nil && l.patience() < usualPatience // one that was cut off, no herd
	limit := min(max(tryTime, l.patience()), maxPause)
	l.wg.Go(func() { l.dialed <- l.way.connect(ctx, limit, eager) }) // ends with ctx at the latest
}

func (l *line) connected(ctx context.Context, d dialed) {
	l.dialing = false
	if d.err != nil {
		l.warnf("connecting to %s failed: %v", l.server, d.err)
		l.dialLater(l.dialAt)
		return
	}
	if l.tried != nil {
		l.tried.Close()
	}
	link := newLink(d.conn, d.address)
	l.tried = link
	l.wg.Go(func() { link.listen(ctx, l.events) }) // ends when the link is closed
	l.awaitNothing()
	l.speak(due)
}

// dialLater plans the next dial, a pause after something went wrong.
func (l *line) dialLater(wrong time.Time) {
	if l.planned || l.dialing {
		return
	}
	l.planned = true
	l.retry.Reset(l.untilDial(wrong, time.Now()))
}

// untilDial returns how long to wait before the next dial: a random part of a
// pause that doubles until a beat is acknowledged (full jitter), at most once a
// second.
func (l *line) untilDial(wrong, now time.Time) time.Duration {
	most := min(max(l.sender.Interval, minPause), maxPause)
	l.pause = min(max(2*l.pause, minPause), most)
	pause := spread(l.pause)
	if l.pause == minPause && l.proven != nil {
		pause = 0 // the server is there, or was: no herd
	}
	next := wrong.Add(pause)
	if soonest := l.dialAt.Add(minPause); next.Before(soonest) {
		next = soonest
	}
	return next.Sub(now)
}
