package sender

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// A link is one connection to a server.
type link struct {
	net.Conn
	local netip.Addr
}

func newLink(conn net.Conn) *link {
	l := &link{Conn: conn}
	if addr, ok := conn.LocalAddr().(*net.TCPAddr); ok {
		l.local = addr.AddrPort().Addr().Unmap().WithZone("")
	}
	return l
}

// send writes one beat. It never waits longer than patience.
func (l *link) send(beat *wire.Beat, patience time.Duration) error {
	payload, err := wire.AppendBeat(nil, beat)
	if err != nil {
		return err
	}
	if err := l.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err = l.Write(wire.AppendFrame(nil, payload))
	return err
}

// An event is an answer that arrived over a link, or its end.
type event struct {
	link   *link
	answer wire.Answer
	err    error
}

// listen hands on what the server answers until the link or ctx ends. It
// holds no more than one answer of wire.MaxAnswer bytes.
func (l *link) listen(ctx context.Context, events chan<- event) {
	reader := wire.NewReader(l, wire.MaxAnswer)
	for {
		e := event{link: l}
		payload, err := reader.Next()
		switch {
		case err == nil && !reader.Framed():
			e.err = fmt.Errorf("what it answers is no heartbeat protocol: %.64q", payload)
		case err == nil:
			e.answer, e.err = wire.DecodeAnswer(payload)
		default:
			e.err = err
		}
		select {
		case events <- e:
		case <-ctx.Done():
			return
		}
		if e.err != nil {
			return
		}
	}
}
