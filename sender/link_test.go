package sender

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// Whatever a collector says, in whatever pieces, a sender hands on the answers
// that a naive reading finds, one a frame, ends where that finds none, and
// never makes room for more than one answer.
func FuzzAnswers(f *testing.F) {
	ack := answers(wire.Answer{Seq: 7, NowMS: 1767225600000, DeadAfterMS: 35000, Rule: "interval", ID: "web-1/nginx"})
	refusal := answers(wire.Answer{Error: "pid is missing", NowMS: 1})
	longest := wire.MaxAnswer - len(`{"error":"","now_ms":1}`)
	for i, says := range []string{
		ack, ack + refusal + ack, ack + "\x00\x00\x00", ack[:len(ack)-1], ack + "{}", refusal + "\x00\x00\x00\x00",
		answers(wire.Answer{Error: strings.Repeat("e", longest), NowMS: 1}),
		answers(wire.Answer{Error: strings.Repeat("e", longest+1), NowMS: 1}),
		string(wire.AppendFrame(nil, []byte(`{"unknown":[1,2],"ack":0,"id":"\u00e9"} `))) + ack,
		string(wire.AppendFrame(nil, []byte(`{"now_ms":1}`))) + ack,
		answers(wire.Answer{Seq: 1, Collector: "9f2c41d07be85a36", Unknown: true, Near: []string{"web-5", "web-6/nginx"}}),
		`{"ack":7}`, " \r\n\t",
	} {
		f.Add([]byte(says), uint64(i))
	}
	for i, name := range slices.Sorted(maps.Keys(hostile)) {
		f.Add([]byte(hostile[name].says), uint64(i))
	}
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64) {
		conn := &sayingConn{says: stream, rand: rand.New(rand.NewPCG(seed, 0)), end: io.EOF}
		if seed%3 == 0 {
			conn.end = errors.New("connection reset")
		}
		l := &link{conn: conn}
		events := make(chan event, len(stream)+1) // so nobody has to take them
		l.listen(t.Context(), events)
		close(events)
		if conn.room > wire.HeaderSize+wire.MaxAnswer {
			t.Errorf("it made room for %d bytes", conn.room)
		}
		frames, end := naiveFrames(stream)
		for e := range events {
			last := len(events) == 0
			switch {
			case e.link != l || (e.err != nil) != last:
				t.Fatalf("%+v, and %d more", e, len(events))
			case e.err == nil:
				if len(frames) == 0 {
					t.Fatalf("%+v is not in % x", e.answer, stream)
				}
				if want := naiveAnswer(frames[0]); want == nil || !reflect.DeepEqual(*want, e.answer) {
					t.Fatalf("%q is read as %+v", frames[0], e.answer)
				}
				frames = frames[1:]
			case len(frames) > 0:
				checkRefused(t, frames[0], e.err)
			case end && !errors.Is(e.err, conn.end), !end && errors.Is(e.err, io.EOF):
				t.Fatalf("% x ends with %v", stream, e.err)
			}
			if e.err != nil && strings.ContainsFunc(e.err.Error(), func(c rune) bool { return !unicode.IsPrint(c) }) {
				t.Fatalf("not printable: %q", e.err)
			}
		}
	})
}

// checkRefused fails if an answer as ours write it is not handed on.
func checkRefused(t *testing.T, payload []byte, err error) {
	t.Helper()
	a := naiveAnswer(payload)
	if a == nil || slices.ContainsFunc([]int64{a.Seq, a.NowMS, a.DeadAfterMS}, func(n int64) bool { return n < 0 || n > wire.MaxInteger }) {
		return
	}
	if bytes.Equal(payload, wire.AppendAnswer(nil, a)) {
		t.Fatalf("%q is refused: %v", payload, err)
	}
}

// naiveFrames returns the payloads that a stream of answers begins with, and
// whether it ends behind the last of them. White space may stand in place of
// all.
func naiveFrames(stream []byte) (payloads [][]byte, end bool) {
	if strings.Trim(string(stream), " \t\r\n") == "" {
		return nil, true
	}
	for len(stream) >= 4 {
		n := binary.BigEndian.Uint32(stream)
		if n == 0 || n > wire.MaxAnswer || int(n) > len(stream)-4 {
			return payloads, false
		}
		payloads = append(payloads, stream[4:4+n])
		stream = stream[4+n:]
	}
	return payloads, len(stream) == 0
}

// naiveAnswer returns nil for what is none.
func naiveAnswer(payload []byte) *wire.Answer {
	var object map[string]json.RawMessage
	if json.Unmarshal(payload, &object) != nil {
		return nil
	}
	a, known := new(wire.Answer), true
	for key, field := range map[string]any{
		"error": &a.Error, "ack": &a.Seq, "now_ms": &a.NowMS, "dead_after_ms": &a.DeadAfterMS, "rule": &a.Rule, "id": &a.ID,
		"collector": &a.Collector, "known": &known, "near": &a.Near,
	} {
		if value, ok := object[key]; ok && json.Unmarshal(value, field) != nil {
			return nil
		}
	}
	if _, acknowledges := object["ack"]; !acknowledges && a.Error == "" {
		return nil
	}
	a.Unknown = !known
	if len(a.Near) == 0 {
		a.Near = nil // whatever was written
	}
	return a
}

// A sayingConn is read in pieces of random length.
type sayingConn struct {
	net.Conn
	says []byte
	rand *rand.Rand
	end  error
	room int // the most that was made for a piece
}

func (c *sayingConn) Read(p []byte) (int, error) {
	c.room = max(c.room, len(p))
	if len(c.says) == 0 {
		return 0, c.end
	}
	n := copy(p, c.says[:1+c.rand.IntN(len(c.says))])
	c.says = c.says[n:]
	if len(c.says) == 0 && c.rand.IntN(2) == 0 {
		return n, c.end
	}
	return n, nil
}
