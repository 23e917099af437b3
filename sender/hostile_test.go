package sender

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// hostile collectors do what they can to a sender. Each says what it wants to
// as long as it is read.
var hostile = map[string]struct {
	says string // again and again; nothing to hang up at once
	log  string // what the operator is told
}{
	"closes at once":        {"", "the collector closed the connection"},
	"endless greeting":      {"Welcome to the server! ", `connection to tcp://hb:7878 is lost: `},
	"endless object":        {`{"a":"` + strings.Repeat("a", 100), "connection to tcp://hb:7878 is lost: "},
	"answer of 1 GiB":       {string(binary.BigEndian.AppendUint32(nil, 1<<30)) + "{", "connection to tcp://hb:7878 is lost: "},
	"answer without end":    {string(binary.BigEndian.AppendUint32(nil, wire.MaxAnswer)) + "{", "connection to tcp://hb:7878 is lost: "},
	"acknowledges others":   {answers(wire.Answer{Seq: 4711}), "an answer that matches no beat"},
	"refuses without end":   {answers(wire.Answer{Error: "go away"}), "an answer that matches no beat"},
	"speaks another tongue": {"HTTP/1.1 400 Bad Request\r\n\r\n", `connection to tcp://hb:7878 is lost: `},
}

func answers(a wire.Answer) string { return string(wire.AppendFrame(nil, wire.AppendAnswer(nil, &a))) }

// Nobody makes a sender dial more than once a second, read more than one
// answer, or hold what it is told.
func TestHostileCollectors(t *testing.T) {
	for name, tt := range hostile {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var said []string
				h := &hostileCollector{says: []byte(tt.says)}
				s := &Sender{
					Servers: []string{"tcp://hb:7878"}, Interval: 10 * time.Second, Peers: fleet(), Dial: h.dial,
				}
				s.Warnf = func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
				ctx, stop := context.WithTimeout(t.Context(), 10*time.Minute)
				defer stop()
				end, _ := ctx.Deadline()
				require.NoError(t, s.Run(ctx))
				h.wg.Wait()

				require.Contains(t, strings.Join(said, "\n"), tt.log)
				require.LessOrEqual(t, len(said), 40, "and the log is not filled: %q", said)
				require.Greater(t, len(h.dials), 20, "it does not give up")
				h.dials = slices.DeleteFunc(h.dials, func(at time.Time) bool { return !at.Before(end) }) // a goodbye is worth it
				for i := range h.dials[1:] {
					require.GreaterOrEqual(t, h.dials[i+1].Sub(h.dials[i]), time.Second)
				}
				require.Zero(t, h.open)
				require.LessOrEqual(t, h.most, 2, "connections at a time")
				require.LessOrEqual(t, h.heard, 8<<10, "bytes read of one connection")

				h.dials = nil
				begin := time.Now()
				once, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				require.Error(t, s.Once(once))
				h.wg.Wait()
				require.LessOrEqual(t, time.Since(begin), 3*time.Second)
				require.LessOrEqual(t, len(h.dials), 3)
			})
		})
	}
}

type hostileCollector struct {
	says []byte

	mu    sync.Mutex
	wg    sync.WaitGroup
	dials []time.Time
	open  int
	most  int // open at a time
	heard int // bytes that one connection was read at most
}

func (h *hostileCollector) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dials = append(h.dials, time.Now())
	h.open++
	h.most = max(h.most, h.open)
	h.wg.Go(func() { h.serve(far) })
	return near, nil
}

func (h *hostileCollector) serve(conn net.Conn) {
	heard := 0
	defer func() {
		conn.Close()
		h.mu.Lock()
		defer h.mu.Unlock()
		h.open--
		h.heard = max(h.heard, heard)
	}()
	if len(h.says) == 0 {
		conn.Read(make([]byte, 4<<10))
		return
	}
	h.wg.Go(func() { bytes.NewBuffer(nil).ReadFrom(conn) }) // it takes every beat
	for {
		n, err := conn.Write(h.says)
		heard += n
		if err != nil {
			return
		}
	}
}
