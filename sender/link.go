package sender

import (
	"context"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// A link is one connection to a server.
type link struct {
	conn       net.Conn
	address    string     // the dialled address
	local      netip.Addr // address of this host; invalid for a unix socket
	unanswered []batch    // oldest first
	owed       int        // number of answers that may still come: one for each beat
}

func newLink(conn net.Conn, address string) *link {
	l := &link{conn: conn, address: address}
	switch addr := conn.LocalAddr().(type) {
	case *net.TCPAddr:
		l.local = addr.AddrPort().Addr().Unmap().WithZone("")
	case *net.UDPAddr:
		l.local = addr.AddrPort().Addr().Unmap().WithZone("")
	}
	return l
}

// close closes the connection and ignores errors.
func (l *link) close() {
	l.conn.Close()
}

// send writes payloads in one go.
func (l *link) send(payloads [][]byte) error {
	var frames []byte
	for _, payload := range payloads {
		frames = wire.AppendFrame(frames, payload)
	}
	_, err := l.conn.Write(frames)
	return err
}

// finish ends sending. The server can still answer.
func (l *link) finish() {
	if conn, ok := l.conn.(interface{ CloseWrite() error }); ok {
		conn.CloseWrite() //nolint:errcheck // the next read reports an error
	}
}

// A reportVersion is a version of a report that was sent.
type reportVersion struct {
	report  int // its index
	version int
}

// A batch is a sequence of beats. Only the last one asks for an answer.
type batch struct {
	seq      int64     // of the last beat
	at       time.Time // when it was sent
	versions []reportVersion
}

// maxUnanswered limits the memory for a server that reads everything and answers
// nothing.
const maxUnanswered = 1000

// expect records a batch that will be answered.
func (l *link) expect(b batch) {
	l.owed += len(b.versions)
	if len(l.unanswered) == maxUnanswered {
		l.unanswered = l.unanswered[1:]
	}
	l.unanswered = append(l.unanswered, b)
}

// refused records that the server refused a beat. It drops the oldest unanswered
// batch if that has only one beat.
func (l *link) refused() {
	if len(l.unanswered) > 0 && len(l.unanswered[0].versions) == 1 {
		l.unanswered = l.unanswered[1:]
	}
}

// answered returns the reports that the server must have received because it
// acknowledged a beat, and the time at which that beat was sent. It returns nil if
// no beat with this number is waiting for an answer.
func (l *link) answered(seq int64) (heard []reportVersion, at time.Time) {
	i := slices.IndexFunc(l.unanswered, func(b batch) bool { return b.seq == seq })
	if i < 0 {
		return nil, at
	}
	for _, b := range l.unanswered[:i+1] {
		heard = append(heard, b.versions...)
	}
	at = l.unanswered[i].at
	l.unanswered = l.unanswered[i+1:]
	return heard, at
}

// An event is an answer that arrived over a link, or the end of the link.
type event struct {
	link   *link
	answer wire.Answer
	err    error
}

// listen sends each answer of the server to events until the link or ctx ends. It
// keeps at most one answer of wire.MaxAnswer bytes in memory.
func (l *link) listen(ctx context.Context, events chan<- event) {
	reader := wire.NewReader(l.conn, wire.MaxAnswer)
	for {
		e := event{link: l}
		e.answer, e.err = nextAnswer(reader)
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

// nextAnswer reads the next answer. It returns an error if the other side is not a
// collector.
func nextAnswer(from *wire.Reader) (wire.Answer, error) {
	payload, err := from.Next()
	if err != nil {
		return wire.Answer{}, err
	}
	if !from.Framed() {
		return wire.Answer{}, fmt.Errorf("the answer is not the heartbeat protocol: %.64q", payload)
	}
	return wire.DecodeAnswer(payload)
}

// deadAfter returns the silence that an answer allows, limited to the longest
// time.Duration.
func deadAfter(a *wire.Answer) time.Duration {
	return time.Duration(min(a.DeadAfterMS, math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
}
