//go:build unix

package serve

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// onEachPath runs a test with connections that a loop serves, where there are loops, and with
// those that have a goroutine each.
func onEachPath(t *testing.T, test func(t *testing.T, open func(*Options) *Server)) {
	t.Helper()
	bind := func(t *testing.T) net.Listener {
		t.Helper()
		small := func(_, _ string, socket syscall.RawConn) error { // what is written soon finds no room
			var failed error
			err := socket.Control(func(fd uintptr) { failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF, 4096) })
			return errors.Join(err, failed)
		}
		socket, err := (&net.ListenConfig{Control: small}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		return socket
	}
	for name, wrap := range map[string]func(net.Listener) net.Listener{
		"plain":      func(socket net.Listener) net.Listener { return socket },
		"goroutines": func(socket net.Listener) net.Listener { return struct{ net.Listener }{socket} },
	} {
		t.Run(name, func(t *testing.T) {
			test(t, func(o *Options) *Server {
				o.MaxFrameSize, o.KeepAlive, o.Log = wire.DefaultMaxFrame, KeepAlive{Idle: time.Second, Interval: time.Second}, new(log)
				if o.Ended == nil {
					o.Ended = func(ConnID, End, netip.Addr) {}
				}
				if o.Refused == nil {
					o.Refused = func(wire.Reason, string, string) {}
				}
				s, err := Open(o)
				require.NoError(t, err)
				s.AcceptFrom(wrap(bind(t)), false)
				s.Start()
				t.Cleanup(s.Close)
				t.Cleanup(func() {
					if !s.listeners[0].isClosed() {
						s.End()
					}
				})
				return s
			})
		})
	}
}

// acknowledge is a Take that answers each payload with its number.
func acknowledge(_ []byte, from *Origin) Reply {
	count, _ := from.Held.(int)
	from.Held = count + 1
	return Reply{Recorded: true, Answer: &wire.Answer{Seq: int64(count) + 1}}
}

// Answers that are read late come all the same, each once and in their order, however the
// kernel's buffers fill; meanwhile the connection is not read, and others are served.
func TestAnswersThatAreReadLate(t *testing.T) {
	onEachPath(t, func(t *testing.T, open func(*Options) *Server) {
		const payloads = 3000
		s := open(&Options{ReadTimeout: time.Minute, Receive: acknowledge})
		slow, other := dial(t, s), dial(t, s)
		require.NoError(t, slow.(*net.TCPConn).SetReadBuffer(4096))
		sent := make(chan error, 1)
		go func() { // ends when all is sent
			frame := wire.AppendFrame(nil, []byte(strings.Repeat("x", 60)))
			batch := []byte(strings.Repeat(string(frame), 10))
			for range payloads / 10 {
				if _, err := slow.Write(batch); err != nil {
					sent <- err
					return
				}
			}
			sent <- nil
		}()
		require.Eventually(t, func() bool { return s.Status()[0].Beats > 100 }, 20*time.Second, time.Millisecond)
		requireAnswers(t, other, 1, func() { send(t, other, "beat") })
		requireAnswers(t, slow, payloads, func() {})
		require.NoError(t, <-sent)
	})
}

// requireAnswers reads so many answers.
func requireAnswers(t *testing.T, c net.Conn, n int, after func()) {
	t.Helper()
	after()
	answers := wire.NewReader(c, 1<<10)
	for i := range n {
		text, err := answers.Next()
		require.NoError(t, err)
		answer, err := wire.DecodeAnswer(text)
		require.NoError(t, err)
		require.EqualValues(t, i+1, answer.Seq)
	}
}

// A client that never reads its answers loses its connection; no other client does.
func TestAnswersThatAreNeverRead(t *testing.T) {
	onEachPath(t, func(t *testing.T, open func(*Options) *Server) {
		refused, ended := make(chan wire.Reason, 100), make(chan End, 100)
		s := open(&Options{
			ReadTimeout: 300 * time.Millisecond, Receive: acknowledge,
			Refused: func(reason wire.Reason, _, _ string) { refused <- reason },
			Ended:   func(_ ConnID, how End, _ netip.Addr) { ended <- how },
		})
		deaf, other := dial(t, s), dial(t, s)
		require.NoError(t, deaf.(*net.TCPConn).SetReadBuffer(4096))
		send(t, other, "beat")
		batch := []byte(strings.Repeat(string(wire.AppendFrame(nil, []byte("beat"))), 100))
		for { // until it is closed
			if _, err := deaf.Write(batch); err != nil {
				break
			}
		}
		require.Equal(t, ReasonUnread, next(t, refused))
		require.Equal(t, EndedByUs, next(t, ended))
		requireAnswers(t, other, 2, func() { send(t, other, "beat") })
		require.Eventually(t, func() bool { return s.Status()[0].Connections == 1 }, 20*time.Second, time.Millisecond)
	})
}

// Payloads sent before the end are processed, even if the client no longer reads the answers.
func TestWhatCameBeforeTheEndIsTaken(t *testing.T) {
	onEachPath(t, func(t *testing.T, open func(*Options) *Server) {
		const frames = 20
		gone, ended := make(chan struct{}), make(chan End, 1)
		s := open(&Options{
			ReadTimeout: time.Minute,
			Receive: func(payload []byte, from *Origin) Reply {
				<-gone
				return acknowledge(payload, from)
			},
			Ended: func(_ ConnID, how End, _ netip.Addr) { ended <- how },
		})
		c := dial(t, s)
		_, err := c.Write([]byte(strings.Repeat(string(wire.AppendFrame(nil, []byte(strings.Repeat("x", 2000)))), frames)))
		require.NoError(t, err)
		require.NoError(t, c.Close())
		close(gone)
		require.NotEqual(t, EndedByUs, next(t, ended))
		require.EqualValues(t, frames, s.Status()[0].Beats)
	})
}

// A frame may come in any pieces; one that has begun has to be complete in time.
func TestFramesInPieces(t *testing.T) {
	onEachPath(t, func(t *testing.T, open func(*Options) *Server) {
		refused, ended := make(chan string, 100), make(chan End, 100)
		s := open(&Options{
			ReadTimeout: 500 * time.Millisecond, Receive: acknowledge,
			Refused: func(reason wire.Reason, _, text string) { refused <- string(reason) + ": " + text },
			Ended:   func(_ ConnID, how End, _ netip.Addr) { ended <- how },
		})
		c := dial(t, s)
		for _, b := range wire.AppendFrame(nil, []byte(strings.Repeat("x", 50))) {
			_, err := c.Write([]byte{b})
			require.NoError(t, err)
		}
		large := wire.AppendFrame(nil, []byte(strings.Repeat("x", wire.DefaultMaxFrame)))
		_, err := c.Write(large)
		require.NoError(t, err)
		requireAnswers(t, c, 2, func() {})
		_, err = c.Write(binary.BigEndian.AppendUint32(nil, 5))
		require.NoError(t, err)
		require.Equal(t, "read_timeout: message is not complete within 'read_timeout'", next(t, refused))
		require.Equal(t, EndedByUs, next(t, ended))

		silent := dial(t, s)
		require.Equal(t, "read_timeout: nothing was accepted within 'read_timeout'", next(t, refused))
		_, err = io.Copy(io.Discard, silent)
		require.NoError(t, err)
	})
}

// No client has to wait for one that sends as much as it can.
func TestOneThatSaysMuch(t *testing.T) {
	onEachPath(t, func(t *testing.T, open func(*Options) *Server) {
		s := open(&Options{ReadTimeout: time.Minute, Receive: func(payload []byte, from *Origin) Reply {
			reply := acknowledge(payload, from)
			if string(payload) == "much" {
				reply.Answer = nil
			}
			return reply
		}})
		var all sync.WaitGroup
		defer all.Wait()
		for range 2 * runtime.GOMAXPROCS(0) { // as many as there may be loops, and more
			much := dial(t, s)
			batch := []byte(strings.Repeat(string(wire.AppendFrame(nil, []byte("much"))), 1000))
			all.Go(func() { // ends when much is closed
				for {
					if _, err := much.Write(batch); err != nil {
						return
					}
				}
			})
			defer much.Close() //nolint:gocritic // they are few, and end with the test
		}
		c := dial(t, s)
		answers := wire.NewReader(c, 1<<10)
		for range 50 {
			send(t, c, "beat")
			_, err := answers.Next()
			require.NoError(t, err)
		}
	})
}

// The end of a connection is reported once, whichever side ends it, while other connections begin,
// end and are asked about. Then nothing of it is left.
func TestConnectionsComeAndGo(t *testing.T) {
	onEachPath(t, func(t *testing.T, open func(*Options) *Server) {
		const each = 200
		var told [4]atomic.Int64
		s := open(&Options{
			ReadTimeout: time.Minute, Receive: acknowledge,
			Ended: func(_ ConnID, how End, _ netip.Addr) { told[how].Add(1) },
		})
		goroutines := runtime.NumGoroutine()
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for i := range each {
					c, err := net.Dial("tcp", s.listeners[0].addr().String())
					if err != nil {
						t.Error(err)
						return
					}
					c.Write(wire.AppendFrame(nil, []byte("beat"))) //nolint:errcheck // it shows in what is told
					wire.NewReader(c, 1<<10).Next()                //nolint:errcheck // likewise
					if i%2 == 0 {
						c.(*net.TCPConn).SetLinger(0) //nolint:errcheck // likewise
					}
					c.Close()
				}
			})
		}
		asked := make(chan struct{})
		go func() { // ends with the test
			defer close(asked)
			for id := ConnID(1); id <= 4*each; id++ {
				s.Ask(id)
			}
		}()
		all.Wait()
		<-asked
		count := func() int64 { return told[Closed].Load() + told[Reset].Load() }
		require.Eventually(t, func() bool { return count() == 4*each }, 20*time.Second, time.Millisecond, "%v", &told)
		require.EqualValues(t, 2*each, told[Reset].Load())
		require.EqualValues(t, 4*each, s.Status()[0].Beats)
		require.Eventually(t, func() bool { return s.Status()[0].Connections == 0 }, 20*time.Second, time.Millisecond)
		require.Eventually(t, func() bool { return runtime.NumGoroutine() <= goroutines+1 }, // one asks
			20*time.Second, time.Millisecond)

		stays := dial(t, s)
		send(t, stays, "beat")
		requireAnswers(t, stays, 1, func() {})
		s.End()
		require.EqualValues(t, 1, told[EndedByUs].Load())
		_, err := stays.Read(make([]byte, 1))
		require.Error(t, err)
		for _, l := range s.listeners {
			require.Empty(t, l.conns)
		}
	})
}
