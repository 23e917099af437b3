package heartbeat

import (
	"math"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// The kernel counts milliseconds in 32 bits; more would become less.
func TestGivingUpIsAsLateAsTheKernelCanCount(t *testing.T) {
	const userTimeout = 18 // TCP_USER_TIMEOUT, which package syscall does not name
	h := newPlugin(t)
	start(t, h)
	socket, ok := dial(t, h).Conn.(*net.TCPConn)
	require.True(t, ok)
	for silence, want := range map[time.Duration]int{
		3500 * time.Millisecond: 7000,
		25 * 24 * time.Hour:     math.MaxInt32,
		24*24*time.Hour + 20*time.Hour + 31*time.Minute + 24*time.Second: math.MaxInt32,
	} {
		p := probing{idle: time.Second, interval: time.Second}.fit(time.Second, silence)
		require.NoError(t, p.apply(socket))
		require.NoError(t, onDescriptor(socket, func(fd int) error {
			got, err := syscall.GetsockoptInt(fd, syscall.IPPROTO_TCP, userTimeout)
			require.Equal(t, want, got)
			return err
		}))
	}
	socket.Close()
	require.Error(t, probing{idle: time.Second, interval: time.Second, giveUp: time.Second}.apply(socket))
	require.Equal(t, liveness.PathUnknown, probing{}.ask(socket))
}
