package sender

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// Datagrams are not answered: whether one arrives, nobody here knows. So what
// must not be lost is said several times.
const (
	maxDatagram  = 1400 // bytes; no path has to split it
	tellings     = 3    // of an end
	tellPause    = 100 * time.Millisecond
	hurriedPause = 10 * time.Millisecond // likewise, when somebody waits
	refusalTime  = 100 * time.Millisecond
	connectTime  = 2 * time.Second
	resolvePause = time.Minute // until the name of a server is resolved anew
)

// fitsDatagram says whether all that is ever added to a beat leaves it short
// enough.
func (s *Sender) fitsDatagram(b *wire.Beat) error {
	full := *b
	full.Run, full.Seq, full.SentMS = newRun(), wire.MaxInteger, wire.MaxInteger
	full.IntervalMS, full.BackInMS, full.Signal = wire.MaxIntervalMS, wire.MaxBackInMS, "SIGRTMIN+15"
	payload, err := s.payload(&full)
	if err == nil && len(payload) > maxDatagram {
		err = fmt.Errorf("service %.128q: a beat may have %d bytes, and a datagram takes %d: give it fewer tags", b.Service, len(payload), maxDatagram)
	}
	return err
}

// keepPosting beats in datagrams until ctx ends and then says goodbye.
func (l *line) keepPosting(ctx context.Context) {
	own := context.WithoutCancel(ctx)
	defer l.closeAll()
	next := time.Now().Add(spread(l.sender.Interval)) // so that a fleet does not beat in step
	beat := time.NewTimer(time.Until(next))
	defer beat.Stop()
	l.learn()
	l.post(own, due)
	for {
		var again <-chan time.Time
		if !l.isHeard() && l.proven != nil {
			again = time.After(tellPause)
		}
		select {
		case <-ctx.Done():
			l.learn()
			l.post(own, unsaid)
			l.postRest(own)
			return
		case <-beat.C:
			l.post(own, due)
			next = following(next, l.sender.Interval, time.Now())
			beat.Reset(time.Until(next))
		case <-l.news:
			l.learn()
			l.post(own, unsaid)
		case <-again:
			l.post(own, final)
		case <-l.turn:
		}
	}
}

// postRest says the ends that were not said often enough.
func (l *line) postRest(ctx context.Context) {
	pause := tellPause
	if l.sender.Hurry {
		pause = hurriedPause
	}
	for range tellings {
		if l.isHeard() {
			return
		}
		time.Sleep(pause)
		l.post(ctx, final)
	}
}

// post sends what there is to say, each beat in a datagram of its own.
func (l *line) post(ctx context.Context, which choice) {
	if err := l.tryPost(ctx, which); err != nil {
		l.warnf("sending to %s failed: %v", l.server, err)
	}
}

func (l *line) tryPost(ctx context.Context, which choice) error {
	if err := l.openPost(ctx); err != nil {
		return err
	}
	for i := range l.words {
		w, t := &l.words[i], &l.told[i]
		if !which(w, t) {
			continue
		}
		beat := l.next(w, t, l.proven)
		if err := l.postOne(&beat); err != nil {
			l.proven.Close()
			l.proven = nil
			return err
		}
		if t.times++; t.times >= tellings {
			t.heard = w.version // as far as that goes
		}
	}
	return nil
}

// openPost opens the socket, and now and then a new one: the name of the server
// may have another address by now.
func (l *line) openPost(ctx context.Context) error {
	if l.proven != nil && time.Since(l.dialAt) < resolvePause {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	conn, err := l.sender.connect(ctx, l.server, l.server.address)
	switch {
	case err == nil:
	case l.proven != nil:
		return nil // the old one may do
	default:
		return err
	}
	if l.proven != nil {
		l.proven.Close()
	} else {
		l.infof("sending to %s, which does not answer", l.server)
	}
	l.proven, l.dialAt = newLink(conn), time.Now()
	return nil
}

// postOne sends a beat in a datagram.
func (l *line) postOne(beat *wire.Beat) error {
	payload, err := l.sender.payload(beat)
	if err != nil {
		return err
	}
	if err := l.proven.SetWriteDeadline(time.Now().Add(connectTime)); err != nil {
		return err
	}
	_, err = l.proven.Write(payload)
	return err
}

// postAll says everything once, and ends as often as they have to be. It fails
// if the host of the server says that nobody listens there.
func (l *line) postAll(ctx context.Context, which choice) *Exchange {
	x := &Exchange{Server: l.server.url}
	begin := time.Now()
	if x.Err = l.tryPost(ctx, which); x.Err == nil {
		x.Connecting, x.Local, x.Remote = time.Since(begin), nameOf(l.proven.LocalAddr()), nameOf(l.proven.RemoteAddr())
		l.postRest(ctx)
		x.Err = l.awaitRefusal()
	}
	if x.Err != nil {
		x.Err = l.failed(ctx, "sending to", x.Err)
	}
	l.closeAll()
	return x
}

// awaitRefusal returns what the network has to say about a datagram.
func (l *line) awaitRefusal() error {
	if l.proven == nil {
		return errors.New("the socket is closed")
	}
	if err := l.proven.SetReadDeadline(time.Now().Add(refusalTime)); err != nil {
		return err
	}
	if _, err := l.proven.Read(make([]byte, 1)); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return nil
}

// nameOf returns what to call an address, which a unix socket may lack.
func nameOf(addr net.Addr) string {
	if addr == nil || addr.String() == "" {
		return "a unix socket"
	}
	return addr.String()
}
