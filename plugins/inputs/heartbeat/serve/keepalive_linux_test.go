package serve

import (
	"math"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The kernel counts milliseconds in 32 bits; more would become less.
func TestGivingUpIsAsLateAsTheKernelCanCount(t *testing.T) {
	const userTimeout = 18 // TCP_USER_TIMEOUT, which package syscall does not name
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	socket, ok := conn.(*net.TCPConn)
	require.True(t, ok)
	for silence, want := range map[time.Duration]int{
		3500 * time.Millisecond: 7000,
		25 * 24 * time.Hour:     math.MaxInt32,
		24*24*time.Hour + 20*time.Hour + 31*time.Minute + 24*time.Second: math.MaxInt32,
	} {
		p := KeepAlive{Idle: time.Second, Interval: time.Second}.adapt(time.Second, silence)
		require.NoError(t, p.apply(socket))
		require.NoError(t, onDescriptor(socket, func(fd int) error {
			got, err := syscall.GetsockoptInt(fd, syscall.IPPROTO_TCP, userTimeout)
			require.Equal(t, want, got)
			return err
		}))
	}
	socket.Close()
	require.Error(t, KeepAlive{Idle: time.Second, Interval: time.Second, GiveUp: time.Second}.apply(socket))
	require.Equal(t, PathUnknown, KeepAlive{}.ask(socket))
}

// One beat is enough for TCP not to give up before its silence is over.
func TestOneBeatThatAllowsALongSilence(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	socket, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer socket.Close()
	known := KeepAlive{Idle: time.Second, Interval: time.Second, GiveUp: 10 * time.Second}
	for silence, want := range map[time.Duration]time.Duration{10 * time.Second: 0, 11 * time.Second: 22 * time.Second} {
		c := newConn(&shared{common: &common{Options: Options{KeepAlive: known, MaxFrameSize: 1 << 10}}}, nil, socket, netip.MustParseAddr("127.0.0.1"))
		c.adaptKeepAlive(time.Second, silence)
		require.Equal(t, want, c.keepAlive.GiveUp)
	}
}
