package sender

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// A link is one connection to a server.
type link struct {
	net.Conn
	address    string // that was dialled
	local      netip.Addr
	unanswered []batch // the oldest first
	owed       int     // answers that may still come: one a beat
}

func newLink(conn net.Conn, address string) *link {
	l := &link{Conn: conn, address: address}
	switch addr := conn.LocalAddr().(type) {
	case *net.TCPAddr:
		l.local = addr.AddrPort().Addr().Unmap().WithZone("")
	case *net.UDPAddr:
		l.local = addr.AddrPort().Addr().Unmap().WithZone("")
	}
	return l
}

// send writes payloads in one go.
func (l *link) send(payloads [][]byte) error {
	var frames []byte
	for _, payload := range payloads {
		frames = wire.AppendFrame(frames, payload)
	}
	_, err := l.Write(frames)
	return err
}

// finish tells the server that nothing more will be said. It can still answer.
func (l *link) finish() {
	if conn, ok := l.Conn.(interface{ CloseWrite() error }); ok {
		conn.CloseWrite() //nolint:errcheck // what it takes for the end is seen by who reads
	}
}

// A batch is a row of beats of which only the last asks for an answer.
type batch struct {
	seq   int64 // of that beat
	at    time.Time
	versions []reportVersion
}

// maxUnanswered bounds what is remembered of a server that takes everything
// and answers nothing.
const maxUnanswered = 1000

// expect notes a batch that is to be answered.
func (l *link) expect(b batch) {
	l.owed += len(b.versions)
	if len(l.unanswered) == maxUnanswered {
		l.unanswered = l.unanswered[1:]
	}
	l.unanswered = append(l.unanswered, b)
}

// refused notes that the server does not want a beat: the one that it should
// answer next, if that is but one.
func (l *link) refused() {
	if len(l.unanswered) > 0 && len(l.unanswered[0].versions) == 1 {
		l.unanswered = l.unanswered[1:]
	}
}

// answered returns what the server has heard when it acknowledges a beat, and
// when that was sent; nil if no beat of that number waits for it.
func (l *link) answered(seq int64) (heard []reportVersion, at time.Time) {
	i := slices.IndexFunc(l.unanswered, func(b batch) bool { return b.seq == seq })
	if i < 0 {
		return nil, at
	}
	for _, b := range l.unanswered[:i+1] {
		heard = append(heard, b.versions...)
	}
	at = l.unanswered[i].at
	l.unanswered = slices.Delete(l.unanswered, 0, i+1)
	return heard, at
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
			e.err = notOurs(payload)
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
