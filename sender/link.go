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
	address    string     // that was dialled
	local      netip.Addr // of this host; invalid for a unix socket
	unanswered []batch    // the oldest first
	owed       int        // answers that may still come: one for each beat
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

// close closes the connection; whatever goes wrong there is no news.
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

// finish tells the server that nothing more will be sent. It can still answer.
func (l *link) finish() {
	if conn, ok := l.conn.(interface{ CloseWrite() error }); ok {
		conn.CloseWrite() //nolint:errcheck // the next read sees what is wrong
	}
}

// A reportVersion is a version of a report that was sent.
type reportVersion struct {
	report  int // its index
	version int
}

// A batch is a row of beats of which only the last asks for an answer.
type batch struct {
	seq      int64     // of the last beat
	at       time.Time // when it was sent
	versions []reportVersion
}

// maxUnanswered bounds what is remembered of a server that reads everything
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

// refused notes that the server refuses a beat: the one to be answered next,
// if that is alone in its batch.
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
	l.unanswered = l.unanswered[i+1:]
	return heard, at
}

// An event is an answer that arrived over a link, or the end of the link.
type event struct {
	link   *link
	answer wire.Answer
	err    error
}

// listen sends each answer of the server to events until the link or ctx ends.
// It holds one answer of at most wire.MaxAnswer bytes.
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

// nextAnswer reads the next answer. An error may be that the other side is no
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

// deadAfter returns the silence that an answer allows, or the longest that a
// time.Duration can hold.
func deadAfter(a *wire.Answer) time.Duration {
	return time.Duration(min(a.DeadAfterMS, math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
}
