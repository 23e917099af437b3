//go:build linux && !goroutines

package serve

import (
	"net"
	"net/netip"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// What waits to be written is bounded, however much a turn brings to be answered.
func TestWhatWaitsIsBounded(t *testing.T) {
	refused := make(chan wire.Reason, 100)
	s, err := Open(&Options{
		Addresses: []string{"tcp://127.0.0.1:0"}, MaxFrameSize: 1 << 10, ReadTimeout: time.Hour, Collector: strings.Repeat("x", 100),
		KeepAlive: KeepAlive{Idle: time.Second, Interval: time.Second}, Take: acknowledge,
		Ended:   func(ConnID, End, netip.Addr) {},
		Refused: func(reason wire.Reason, _, _ string) { refused <- reason },
		Log:     new(log),
	})
	require.NoError(t, err)
	defer s.Close()
	s.Start()
	defer s.End()
	sendLittleAtOnce(t, s)
	deaf := dial(t, s)
	require.NoError(t, deaf.(*net.TCPConn).SetReadBuffer(4096))
	batch := []byte(strings.Repeat(string(wire.AppendFrame(nil, []byte("b"))), 3000)) // less than a turn
	for {                                                                             // until it is closed
		if _, err := deaf.Write(batch); err != nil {
			break
		}
	}
	require.Equal(t, ReasonUnread, next(t, refused))
}

// sendLittleAtOnce has what is written to connections soon find no room.
func sendLittleAtOnce(t *testing.T, s *Server) {
	t.Helper()
	require.NoError(t, onDescriptor(s.listeners[0].streams.(*net.TCPListener), func(fd int) error {
		return syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_SNDBUF, 4096)
	}))
}

// Once what waited is written and all is read, a loop has nothing to do.
func TestLoopIsQuietAfterwards(t *testing.T) {
	s, err := Open(&Options{
		Addresses: []string{"tcp://127.0.0.1:0"}, MaxFrameSize: 1 << 10, ReadTimeout: time.Hour,
		KeepAlive: KeepAlive{Idle: time.Second, Interval: time.Second}, Take: acknowledge,
		Ended: func(ConnID, End, netip.Addr) {}, Refused: func(wire.Reason, string, string) {}, Log: new(log),
	})
	require.NoError(t, err)
	defer s.Close()
	s.Start()
	defer s.End()
	sendLittleAtOnce(t, s)
	c := dial(t, s)
	require.NoError(t, c.(*net.TCPConn).SetReadBuffer(4096))
	const beats = 2000
	_, err = c.Write([]byte(strings.Repeat(string(wire.AppendFrame(nil, []byte("beat"))), beats)))
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
