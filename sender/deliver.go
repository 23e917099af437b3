package sender

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// leave says goodbye, over the link that there is or over new ones.
func (l *line) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeoutCause(ctx, goodbyeTime, errGoodbyeLate)
	defer cancel()
	goodbye := l.sender.goodbye()
	if l.newest() != nil {
		l.beat(goodbye)
		if l.awaitAnswer(ctx, retryPause) {
			return
		}
	}
	if err := l.deliver(ctx, goodbye); err != nil {
		l.logf("goodbye was not delivered: %v", err)
	}
}

// awaitAnswer waits until the last beat is acknowledged.
func (l *line) awaitAnswer(ctx context.Context, patience time.Duration) bool {
	enough := time.After(patience)
	for l.newest() != nil {
		select {
		case e := <-l.events:
			l.hear(e)
			if l.answered == l.seq {
				return true
			}
		case <-enough:
			return false
		case <-ctx.Done():
			return false
		}
	}
	return false
}

// deliver sends one beat over links of its own, one after the other, until it
// is acknowledged or refused or ctx ends.
func (l *line) deliver(ctx context.Context, beat wire.Beat) error {
	var last error
	for {
		err := l.exchange(ctx, beat)
		var refused *RefusedError
		switch {
		case err == nil || errors.As(err, &refused):
			return err
		case last == nil || ctx.Err() == nil: // else it says only that time is over
			last = err
		}
		select {
		case <-time.After(retryPause/2 + spread(retryPause)):
		case <-ctx.Done():
			return last
		}
	}
}

// exchange connects, sends one beat and waits for its answer.
func (l *line) exchange(ctx context.Context, beat wire.Beat) error {
	conn, err := l.connect(ctx, l.address)
	if err != nil {
		return l.failed(ctx, "connecting to", err)
	}
	cancelled := context.AfterFunc(ctx, func() { conn.Close() })
	defer cancelled()
	defer conn.Close()
	link := newLink(conn)
	l.number(&beat, link)
	if err := link.send(&beat, goodbyeTime); err != nil {
		return l.failed(ctx, "sending to", err)
	}
	reader := wire.NewReader(conn, wire.MaxAnswer)
	for {
		payload, err := reader.Next()
		if err != nil {
			return l.failed(ctx, "waiting for the answer of", err)
		}
		answer, err := wire.DecodeAnswer(payload)
		switch {
		case err != nil:
			return l.failed(ctx, "reading the answer of", err)
		case answer.Error != "":
			return &RefusedError{Server: l.server, Text: answer.Error}
		case answer.Seq == l.seq:
			return nil
		}
	}
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
