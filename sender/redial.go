package sender

import (
	"context"
	"math/rand/v2"
	"time"
)

// Pauses before the next dial.
const (
	minPause = time.Second
	maxPause = time.Minute
)

// randomPart returns a random part of a duration. It need not be hard to guess.
func randomPart(whole time.Duration) time.Duration {
	return time.Duration(rand.Int64N(int64(whole))) //nolint:gosec // see above
}

// dial starts to connect.
func (s *session) dial(ctx context.Context) {
	s.dialing, s.dialAt = true, time.Now()
	// The server answered before and has fallen silent. Probably only this host
	// has lost its connection, so the rest of the fleet does not dial now.
	eager := s.proven != nil && s.patience() < usualPatience
	limit := min(max(tryTime, s.patience()), maxPause)
	s.wg.Go(func() { s.dialed <- s.route.connect(ctx, limit, eager) }) // ends with ctx at the latest
}

// connected processes the result of a dial.
func (s *session) connected(ctx context.Context, d dialResult) {
	s.dialing = false
	if d.err != nil {
		s.warnf("connecting to %s failed: %v", s.server, d.err)
		s.dialLater(s.dialAt)
		return
	}
	if s.tried != nil {
		s.tried.close()
	}
	link := newLink(d.conn, d.address)
	s.tried = link
	s.wg.Go(func() { link.listen(ctx, s.events) }) // ends when the link is closed
	s.stopWaiting()
	s.sendBeats(due)
}

// dialLater plans the next dial after a failure. wrong is the time of the
// failure, at which the pause begins.
func (s *session) dialLater(wrong time.Time) {
	if s.planned || s.dialing {
		return
	}
	s.planned = true
	s.retry.Reset(s.untilDial(wrong, time.Now()))
}

// untilDial returns how long to wait before the next dial: a random part of a
// pause that doubles until a beat is acknowledged (full jitter). Two dials are
// at least minPause apart.
func (s *session) untilDial(wrong, now time.Time) time.Duration {
	most := min(max(s.sender.Interval, minPause), maxPause)
	s.pause = min(max(2*s.pause, minPause), most)
	pause := randomPart(s.pause)
	if s.pause == minPause && s.proven != nil {
		pause = 0 // the server has answered before, so the fleet does not dial all at once
	}
	next := wrong.Add(pause)
	if soonest := s.dialAt.Add(minPause); next.Before(soonest) {
		next = soonest
	}
	return next.Sub(now)
}
