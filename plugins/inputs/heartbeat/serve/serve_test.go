package serve

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// A story is what a Server reports about connections.
type story struct {
	took    chan string
	refused chan string
	ended   chan End
}

// serving runs a Server until the test ends. It records all payloads but those that
// begin with "bad" or "full", which it refuses, and "check".
func serving(t *testing.T, addresses ...string) (*Server, *story) {
	t.Helper()
	told := &story{make(chan string, 100), make(chan string, 100), make(chan End, 100)}
	s, err := Open(&Options{
		Addresses: addresses, MaxFrameSize: 1 << 10, ReadTimeout: time.Minute, Collector: "hb-1", Reasons: Reasons(),
		KeepAlive: KeepAlive{Idle: time.Second, Interval: time.Second},
		Receive: func(payload []byte, from *Origin) Reply {
			count, _ := from.Held.(int)
			from.Held = count + 1
			told.took <- fmt.Sprintf("%d %s", count, payload)
			switch text := string(payload); {
			case strings.HasPrefix(text, "bad"):
				return Reply{Refusal: &wire.Refusal{Reason: "bad", Text: text}}
			case strings.HasPrefix(text, "full"):
				return Reply{Refusal: &wire.Refusal{Reason: "full", Text: text}, Blameless: true}
			}
			return Reply{Recorded: string(payload) != "check", Answer: &wire.Answer{Seq: int64(count) + 1}}
		},
		Ended:   func(_ ConnID, how End, _ netip.Addr) { told.ended <- how },
		Refused: func(reason wire.Reason, _, text string) { told.refused <- string(reason) + ": " + text },
		Log:     new(log),
	})
	require.NoError(t, err)
	s.Start()
	t.Cleanup(func() {
		s.End()
		s.Close()
	})
	return s, told
}

func dial(t *testing.T, s *Server) net.Conn {
	t.Helper()
	network, address, _ := strings.Cut(s.Status()[0].Address, "://")
	c, err := net.Dial(network, address)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	return c
}

// next returns the next report of a Server.
func next[T any](t *testing.T, told <-chan T) (what T) {
	t.Helper()
	select {
	case what = <-told:
	case <-time.After(20 * time.Second):
		require.Fail(t, "nothing is told")
	}
	return what
}

func send(t *testing.T, c net.Conn, payload string) {
	t.Helper()
	_, err := c.Write(wire.AppendFrame(nil, []byte(payload)))
	require.NoError(t, err)
}

// Each payload is passed on once, with the state of its connection; it is answered, and the
// end is reported.
func TestPayloadsGoInAndAnswersComeBack(t *testing.T) {
	s, told := serving(t, "tcp://127.0.0.1:0")
	c := dial(t, s)
	answers := wire.NewReader(c, 1<<10)
	for i, payload := range []string{"first", "second"} {
		send(t, c, payload)
		require.Equal(t, fmt.Sprintf("%d %s", i, payload), next(t, told.took))
		text, err := answers.Next()
		require.NoError(t, err)
		answer, err := wire.DecodeAnswer(text)
		require.NoError(t, err)
		require.EqualValues(t, i+1, answer.Seq)
		require.Equal(t, "hb-1", answer.Collector)
		require.NotZero(t, answer.NowMS)
	}
	require.NoError(t, c.Close())
	require.Equal(t, Closed, next(t, told.ended))
	require.EqualValues(t, 2, s.Status()[0].Beats)
	require.Empty(t, told.refused)
}

// Eight refusals in a row cost the connection, unless the sender is not to blame.
func TestRefusalsCostTheConnection(t *testing.T) {
	s, told := serving(t, "tcp://127.0.0.1:0")
	c := dial(t, s)
	for range 2 * maxRefused {
		send(t, c, "full")
		require.Equal(t, "full: full", next(t, told.refused))
	}
	for i := range maxRefused - 1 {
		send(t, c, fmt.Sprint("bad ", i))
		require.Equal(t, fmt.Sprint("bad: bad ", i), next(t, told.refused))
	}
	send(t, c, "good")
	for i := range maxRefused {
		send(t, c, fmt.Sprint("bad ", i))
	}
	_, err := io.Copy(io.Discard, c)
	require.NotErrorIs(t, err, net.ErrClosed)
	require.Equal(t, EndedByUs, next(t, told.ended))
	require.EqualValues(t, 2*maxRefused-1, s.Status()[0].Refused["bad"])
}

// A datagram is a payload, and is never answered.
func TestDatagramsAreTaken(t *testing.T) {
	s, told := serving(t, "udp://127.0.0.1:0")
	c := dial(t, s)
	for i, payload := range []string{"first", "check", "third", "bad"} {
		_, err := c.Write([]byte(payload))
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("%d %s", i, payload), next(t, told.took))
	}
	require.Equal(t, "bad: bad", next(t, told.refused))
	require.EqualValues(t, 2, s.Status()[0].Beats)
	require.NoError(t, c.SetReadDeadline(time.Now().Add(10*time.Millisecond)))
	_, err := c.Read(make([]byte, 10))
	require.Error(t, err)
}

// A panic of Receive costs only its connection.
// What comes in time is read, though this process was stopped until after the deadline; once.
func TestDeadlinePassesWhileWeAreStopped(t *testing.T) {
	c := &conn{shared: new(shared), chunk: make([]byte, len("in time"))}
	c.stream = &stopped{came: []byte("in time, and this not")}
	c.reader = wire.ReadChunks(c, 100)
	c.startClock(time.Now().Add(-time.Second))
	text, err := c.Chunk()
	require.NoError(t, err)
	require.Equal(t, "in time", string(text))
	_, err = c.Chunk()
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
}

// A stopped is a connection that is read when its deadline has passed.
type stopped struct {
	net.Conn
	came []byte
	due  time.Time
}

func (s *stopped) SetReadDeadline(due time.Time) error {
	s.due = due
	return nil
}

// Read lets each deadline be passed after it.
func (s *stopped) Read(p []byte) (int, error) {
	if time.Now().After(s.due) {
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(p, s.came)
	s.came, s.due = s.came[n:], time.Time{}
	return n, nil
}

func TestPanicOfTakeCostsOneConnection(t *testing.T) {
	said := new(log)
	var refused []wire.Reason
	s, err := Open(&Options{
		Addresses: []string{"tcp://127.0.0.1:0"}, MaxFrameSize: 1 << 10, ReadTimeout: time.Minute,
		KeepAlive: KeepAlive{Idle: time.Second, Interval: time.Second},
		Receive:   func([]byte, *Origin) Reply { panic("a mistake") },
		Ended:     func(ConnID, End, netip.Addr) {},
		Refused:   func(reason wire.Reason, _, _ string) { refused = append(refused, reason) },
		Log:       said,
	})
	require.NoError(t, err)
	s.Start()
	c := dial(t, s)
	send(t, c, "payload")
	_, err = c.Read(make([]byte, 1))
	require.Error(t, err, "it is closed")
	s.End()
	s.Close()
	require.Equal(t, []wire.Reason{ReasonPanic}, refused)
	require.Len(t, said.errors, 1)
	require.Contains(t, said.errors[0], "a mistake\n")
}

// A log keeps what was said.
type log struct{ warnings, errors []string }

func (*log) Debugf(string, ...any) {}
func (*log) Infof(string, ...any)  {}

func (l *log) Errorf(format string, args ...any) {
	l.errors = append(l.errors, fmt.Sprintf(format, args...))
}

func (l *log) Warnf(format string, args ...any) {
	l.warnings = append(l.warnings, fmt.Sprintf(format, args...))
}
