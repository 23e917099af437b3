package sender

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

const (
	answerTime = 500 * time.Millisecond // for a goodbye over the link that there is
	retryPause = time.Second            // at least, between two dials

	hurryTime   = time.Second           // for a connection, when somebody waits
	hurryAnswer = 25 * time.Millisecond // and for the answer
)

// leave says the last words, over the link that there is or over new ones.
func (l *line) leave(ctx context.Context) {
	l.learn()
	l.writeTime = min(l.writeTime, answerTime)
	if l.sender.Hurry {
		l.hurry(ctx)
		return
	}
	ctx, cancel := context.WithTimeoutCause(ctx, goodbyeTime, errGoodbyeLate)
	defer cancel()
	l.speak(unsaid)
	if l.awaitHeard(ctx, answerTime) {
		return
	}
	if err := l.deliver(ctx, final); err != nil {
		l.warnf("goodbye was not delivered: %v", err)
	}
}

// hurry says the last words over the link that there is, or over the next one
// if that comes soon. A link that was there may turn out to be none.
func (l *line) hurry(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, hurryTime)
	defer cancel()
	for range 2 {
		if l.newest() != nil {
			l.speak(unsaid)
		} else if err := l.connectNow(ctx); err != nil {
			l.warnf("goodbye was not delivered: %v", err)
			return
		}
		if l.awaitHeard(ctx, hurryAnswer) || l.newest() != nil {
			return
		}
	}
	l.warnf("goodbye was not delivered: %s hangs up", l.server)
}

// connectNow waits for the dial that goes on, or for another one, and says what
// is due over the new link.
func (l *line) connectNow(ctx context.Context) error {
	if !l.dialing {
		l.dial(ctx)
	}
	select {
	case d := <-l.dialed:
		l.connected(ctx, d)
		return d.err
	case <-ctx.Done():
		return fmt.Errorf("connecting to %s takes longer than %s", l.server, hurryTime)
	}
}

// awaitHeard waits until the last words are acknowledged, over the link that
// there is.
func (l *line) awaitHeard(ctx context.Context, patience time.Duration) bool {
	enough := time.After(patience)
	for !l.isHeard() && l.newest() != nil {
		select {
		case e := <-l.events:
			l.hear(e)
		case <-enough:
			return false
		case <-ctx.Done():
			return false
		}
	}
	return l.isHeard()
}

// isHeard tells whether no last words are left to say.
func (l *line) isHeard() bool {
	for i := range l.words {
		if final(&l.words[i], &l.told[i]) {
			return false
		}
	}
	return true
}

// adopt makes l speak for peers without anybody who could Tell more of them.
func (l *line) adopt(peers []Peer) {
	for _, p := range peers {
		l.words = append(l.words, word{Peer: p, version: 1})
	}
	l.told = make([]told, len(peers))
}

// deliver sends one batch over links of its own, one after the other,
// until it is acknowledged or refused or ctx ends.
func (l *line) deliver(ctx context.Context, which choice) error {
	var last error
	for {
		dialed := time.Now()
		err := l.exchange(ctx, which).Err
		var refused *RefusedError
		switch {
		case err == nil || errors.As(err, &refused):
			return err
		case last == nil || ctx.Err() == nil: // else it says only that time is over
			last = err
		}
		select {
		case <-time.After(time.Until(dialed.Add(retryPause + spread(retryPause/2)))):
		case <-ctx.Done():
			return last
		}
	}
}

// An Exchange is what became of beats that were sent over a connection of
// their own.
type Exchange struct {
	Server     string
	Local      string               // address
	Remote     string               // address; empty if there was no connection
	Connecting time.Duration        // how long that took
	RoundTrip  time.Duration        // until the first answer
	At         time.Time            // when that came
	Ahead      time.Duration        // how far the time that had to be told is ahead of ours
	TLS        *tls.ConnectionState // nil without
	Answers    []wire.Answer        // to the peers that live, then to the others, as far as they came; none to datagrams
	Err        error                // a RefusedError if one of the answers is an error
}

// exchange has beats answered, and tries once more if it was the clock of this
// host that kept them from being accepted.
func (l *line) exchange(ctx context.Context, which choice) *Exchange {
	if l.server.datagrams() {
		return l.postAll(ctx, which)
	}
	x := l.exchangeOnce(ctx, which)
	for i := range x.Answers {
		if x.Answers[i].Error != "" && l.correct(&x.Answers[i]) {
			again := l.exchangeOnce(ctx, which)
			again.Ahead = l.ahead
			return again
		}
	}
	return x
}

// exchangeOnce connects, sends a batch and waits until each of its beats is
// answered.
func (l *line) exchangeOnce(ctx context.Context, which choice) *Exchange {
	x := &Exchange{Server: l.server.url}
	begin := time.Now()
	conn, err := l.connect(ctx, l.server.address)
	if err != nil {
		x.Err = l.failed(ctx, "connecting to", err)
		return x
	}
	x.Connecting, x.Local, x.Remote = time.Since(begin), nameOf(conn.LocalAddr()), nameOf(conn.RemoteAddr())
	if secure, ok := conn.(*secured); ok {
		state := secure.ConnectionState()
		x.TLS = &state
	}
	cancelled := context.AfterFunc(ctx, func() { conn.Close() })
	defer cancelled()
	defer conn.Close()
	link := newLink(conn)
	beats := l.compose(which, link)
	if len(beats) == 0 {
		x.Err = errNothing
		return x
	}
	for i := range beats {
		beats[i].Ack = true
	}
	begin = time.Now()
	if err := l.send(link, beats, goodbyeTime); err != nil {
		x.Err = l.failed(ctx, "sending to", err)
		return x
	}
	reader := wire.NewReader(conn, wire.MaxAnswer)
	for _, beat := range beats {
		answer, err := answerTo(&beat, reader)
		if err != nil {
			x.Err = l.failed(ctx, "waiting for the answer of", err)
			return x
		}
		if len(x.Answers) == 0 {
			x.At = time.Now()
			x.RoundTrip = x.At.Sub(begin)
		}
		x.Answers = append(x.Answers, answer)
		if answer.Error != "" && x.Err == nil {
			x.Err = &RefusedError{Server: l.server.url, Text: answer.Error}
		}
	}
	return x
}

// answerTo reads the answer to beat. Answers come in the order of the beats.
func answerTo(beat *wire.Beat, from *wire.Reader) (wire.Answer, error) {
	payload, err := from.Next()
	if err != nil {
		return wire.Answer{}, err
	}
	if !from.Framed() {
		return wire.Answer{}, notOurs(payload)
	}
	answer, err := wire.DecodeAnswer(payload)
	if err == nil && answer.Error == "" && answer.Seq != beat.Seq {
		err = fmt.Errorf("it acknowledges beat %d, not %d", answer.Seq, beat.Seq)
	}
	return answer, err
}

// notOurs is the error about an answer of something else than a collector.
func notOurs(payload []byte) error {
	return fmt.Errorf("what it answers is no heartbeat protocol: %.64q", payload)
}

// failed says what was being done. When ctx has ended, that is why: what the
// closed connection says about itself helps nobody.
func (l *line) failed(ctx context.Context, doing string, err error) error {
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if errors.Is(err, io.EOF) {
		err = errHungUp
	}
	return fmt.Errorf("%s %s failed: %w", doing, l.server, err)
}
