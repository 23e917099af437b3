package sender

import (
	"context"
	"math/rand/v2"
	"net"
	"time"
)

// Pauses before dialling again.
const (
	minPause = time.Second
	maxPause = time.Minute
)

// secondTry is after how long another try to connect begins beside the first.
// A lost SYN is repeated after a second, which is much of the silence that a
// sender with a short interval is allowed: between them the two tries knock
// every half second.
const secondTry = 500 * time.Millisecond

type dialed struct {
	conn net.Conn
	err  error
}

// spread returns a random part of a time. Nobody has to be kept from guessing
// it.
func spread(whole time.Duration) time.Duration {
	return rand.N(whole) //nolint:gosec // see above
}

// dial begins to connect, first to the address that answered last.
func (l *line) dial(ctx context.Context) {
	l.dialing, l.dialAt = true, time.Now()
	to := l.server.address
	if l.lastTo != "" {
		to, l.lastTo = l.lastTo, "" // once; then the name is resolved anew
	}
	connect := l.connect
	if l.proven != nil && l.patience() < usualPatience { // one that was cut off, no herd
		connect = l.race
	}
	ctx, cancel := context.WithTimeout(ctx, max(5*time.Second, l.patience()))
	l.wg.Go(func() { // ends with ctx at the latest
		defer cancel()
		conn, err := connect(ctx, to)
		l.dialed <- dialed{conn, err}
	})
}

func (l *line) connect(ctx context.Context, to string) (net.Conn, error) {
	return l.sender.connect(ctx, l.server, to)
}

// race connects by the faster of two tries.
func (l *line) race(ctx context.Context, to string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tries, over := make(chan dialed), make(chan struct{})
	defer close(over)
	try := func() { // ends with ctx at the latest
		conn, err := l.connect(ctx, to)
		select {
		case tries <- dialed{conn, err}:
		case <-over:
			if conn != nil {
				conn.Close()
			}
		}
	}
	l.wg.Go(try)
	select {
	case d := <-tries:
		return d.conn, d.err
	case <-time.After(secondTry):
	}
	l.wg.Go(try)
	d := <-tries
	if d.err != nil {
		d = <-tries
	}
	return d.conn, d.err
}

func (l *line) connected(ctx context.Context, d dialed) {
	l.dialing = false
	if d.err != nil {
		l.warnf("connecting to %s failed: %v", l.server, d.err)
		l.dialLater()
		return
	}
	if l.tried != nil {
		l.tried.Close()
	}
	link := newLink(d.conn)
	l.tried = link
	l.wg.Go(func() { link.listen(ctx, l.events) }) // ends when the link is closed
	l.awaitNothing()
	l.speak(due)
}

// dialLater plans the next dial.
func (l *line) dialLater() {
	if l.planned || l.dialing {
		return
	}
	l.planned = true
	l.retry.Reset(l.untilDial(time.Now()))
}

// untilDial returns how long to wait before the next dial: a random part of a
// pause that doubles until a beat is acknowledged (full jitter), at most once a
// second.
func (l *line) untilDial(now time.Time) time.Duration {
	most := min(max(l.sender.Interval, minPause), maxPause)
	l.pause = min(max(2*l.pause, minPause), most)
	pause := spread(l.pause)
	if l.pause == minPause && l.proven != nil {
		pause = 0 // the server is there, or was: no herd
	}
	return max(pause, l.dialAt.Add(minPause).Sub(now))
}
