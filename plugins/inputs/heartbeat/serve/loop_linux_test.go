//go:build linux && !goroutines

package serve

import (
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// openTCP serves with Take acknowledge; what is written to a connection soon finds no room.
func openTCP(t *testing.T) *Server {
	t.Helper()
	s := bindTCP(t)
	startTCP(t, s)
	return s
}

func startTCP(t *testing.T, s *Server) {
	t.Helper()
	s.Start()
	t.Cleanup(s.Close)
	t.Cleanup(s.End)
}

// bindTCP is openTCP before the start.
func bindTCP(t *testing.T) *Server {
	t.Helper()
	s, err := Open(&Options{
		Addresses: []string{"tcp://127.0.0.1:0"}, MaxFrameSize: 1 << 10, ReadTimeout: time.Hour,
		KeepAlive: KeepAlive{Idle: 7 * time.Second, Interval: 3 * time.Second, GiveUp: 19 * time.Second}, Receive: acknowledge,
		Ended: func(ConnID, End, netip.Addr) {}, Refused: func(wire.Reason, string, string) {}, Log: new(log),
	})
	require.NoError(t, err)
	require.NoError(t, onDescriptor(s.listeners[0].streams.(*net.TCPListener), func(fd int) error {
		return syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_SNDBUF, 4096)
	}))
	return s
}

// Of what a turn has read nothing more is taken once an answer finds no room: else all of its
// answers would have to be kept.
func TestNothingIsTakenWhileAnAnswerWaits(t *testing.T) {
	s := openTCP(t)
	deaf := dial(t, s)
	require.NoError(t, deaf.(*net.TCPConn).SetReadBuffer(4096))
	const beats = 3000
	batch := strings.Repeat(string(wire.AppendFrame(nil, []byte("b"))), beats)
	require.Less(t, len(batch), turnSize)
	_, err := deaf.Write([]byte(batch))
	require.NoError(t, err)
	const others = 4 // of the same loop, as their address is the same
	for range others {
		other := dial(t, s)
		requireAnswers(t, other, 1, func() { send(t, other, "beat") })
	}
	taken := s.Status()[0].Beats - others
	require.Positive(t, taken)
	require.Less(t, taken, int64(beats/2))
	requireAnswers(t, deaf, beats, func() {})
}

// Once what waited is written and all is read, a loop has nothing to do.
func TestLoopIsQuietAfterwards(t *testing.T) {
	s := openTCP(t)
	c := dial(t, s)
	require.NoError(t, c.(*net.TCPConn).SetReadBuffer(4096))
	const beats = 2000
	_, err := c.Write([]byte(strings.Repeat(string(wire.AppendFrame(nil, []byte("beat"))), beats)))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return s.Status()[0].Beats > 0 }, 20*time.Second, time.Millisecond)
	requireAnswers(t, c, beats, func() {})
	quiet := func() bool {
		for _, loop := range s.listeners[0].loops.all {
			if n, err := syscall.EpollWait(loop.epoll, make([]syscall.EpollEvent, 1), 0); n > 0 || err != nil {
				return false
			}
		}
		return true
	}
	require.Eventually(t, quiet, 20*time.Second, time.Millisecond)
	send(t, c, "beat")
	require.Eventually(t, func() bool { return s.Status()[0].Beats == beats+1 }, 20*time.Second, time.Millisecond)
}

// Deadlines count, however many have always something to say.
func TestDeadlinesCountUnderLoad(t *testing.T) {
	refused := make(chan wire.Reason, 100)
	s, err := Open(&Options{
		Addresses: []string{"tcp://127.0.0.1:0"}, MaxFrameSize: 1 << 10, ReadTimeout: 300 * time.Millisecond,
		KeepAlive: KeepAlive{Idle: time.Second, Interval: time.Second},
		Receive:   func([]byte, *Origin) Reply { return Reply{Recorded: true} },
		Ended:     func(ConnID, End, netip.Addr) {}, Log: new(log),
		Refused: func(reason wire.Reason, _, _ string) { refused <- reason },
	})
	require.NoError(t, err)
	defer s.Close()
	l := s.listeners[0]
	l.loops = openLoops(l)
	for _, loop := range l.loops.all {
		loop.events = loop.events[:2] // as if there were a hundred times as many connections
	}
	l.loops.start(l)
	l.wg.Go(func() { l.acceptAll(l.loops.accept) })
	var all sync.WaitGroup
	for range 6 * len(l.loops.all) {
		much := dial(t, s)
		batch := []byte(strings.Repeat(string(wire.AppendFrame(nil, []byte("b"))), 10_000))
		all.Go(func() { // ends with s
			for {
				if _, err := much.Write(batch); err != nil {
					return
				}
			}
		})
	}
	half := dial(t, s)
	_, err = half.Write([]byte{0, 0})
	require.NoError(t, err)
	require.Equal(t, ReasonReadTimeout, next(t, refused))
	s.End()
	all.Wait()
}

// A silent connection has no goroutine.
func TestSilentConnectionsHaveNoGoroutine(t *testing.T) {
	s, told := serving(t, "tcp://127.0.0.1:0")
	first := dial(t, s)
	send(t, first, "check")
	next(t, told.took)
	before := runtime.NumGoroutine()
	for range 50 {
		send(t, dial(t, s), "check")
		next(t, told.took)
	}
	require.Equal(t, before, runtime.NumGoroutine())
}

// Payloads of one address over successive connections are processed in order.
func TestConnectionsOfOneAddressAreTakenInOrder(t *testing.T) {
	const visits = 1000
	var taken []string
	s, err := Open(&Options{
		Addresses: []string{"tcp://127.0.0.1:0"}, MaxFrameSize: 1 << 10, ReadTimeout: time.Hour,
		KeepAlive: KeepAlive{Idle: time.Second, Interval: time.Second},
		Receive: func(payload []byte, _ *Origin) Reply {
			taken = append(taken, string(payload))
			return Reply{Recorded: true}
		},
		Ended: func(ConnID, End, netip.Addr) {}, Refused: func(wire.Reason, string, string) {}, Log: new(log),
	})
	require.NoError(t, err)
	s.Start()
	t.Cleanup(s.Close)
	require.Greater(t, len(s.listeners[0].loops.all), 1)
	said := make([]string, visits)
	for i := range said {
		said[i] = strconv.Itoa(i)
		c, err := net.Dial("tcp", s.listeners[0].addr().String())
		require.NoError(t, err)
		send(t, c, said[i])
		require.NoError(t, c.Close())
	}
	require.Eventually(t, func() bool { return s.Status()[0].Beats == visits }, 20*time.Second, time.Millisecond)
	s.End()
	require.Equal(t, said, taken)
}

// As TestWhatIsKeptHasNoGaps of the plugin.
func TestConnectionsHaveNoGaps(t *testing.T) {
	require.LessOrEqual(t, unsafe.Sizeof(conn{}), uintptr(240))
	require.LessOrEqual(t, unsafe.Sizeof(socket{}), uintptr(144))
}

// The options of connections are set on the listening socket, before clients can connect: when a
// collector is back, many have connected before it has read its peers and accepts them.
func TestConnectionsInheritHowTheyAreLookedAfter(t *testing.T) {
	s := bindTCP(t)
	c := dial(t, s)
	startTCP(t, s)
	requireAnswers(t, c, 1, func() { send(t, c, "beat") })
	conns := s.listeners[0].all()
	require.Len(t, conns, 1)
	conns[0].keepMu.Lock() // until then it is not closed
	defer conns[0].keepMu.Unlock()
	require.NoError(t, onDescriptor(conns[0].socket.(syscall.Conn), func(fd int) error {
		for option, want := range map[[2]int]int{
			{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE}:   1,
			{syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE}:  7,
			{syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL}: 3,
			{syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT}:   5, // (19 - 7)/3 + 1
			{syscall.IPPROTO_TCP, syscall.TCP_NODELAY}:   1,
		} {
			got, err := syscall.GetsockoptInt(fd, option[0], option[1])
			require.NoError(t, err)
			require.Equal(t, want, got, "option %v", option)
		}
		return nil
	}))
}
