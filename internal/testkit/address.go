package testkit

import (
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// Ports that no system gives to connections unless it is told to: Linux begins at 32768,
// others later (ip(7), ip_local_port_range).
const (
	firstPort = 10_000
	pastLast  = 32_768
)

// turns counts the ports that were tried. It begins anywhere, as other tests run beside these.
var turns = anywhere()

func anywhere() *atomic.Uint32 {
	var n atomic.Uint32
	n.Store(rand.Uint32N(pastLast - firstPort))
	return &n
}

// FreeAddress returns an address of this host at which nobody listens. No other call returns
// it, and no connection takes its port for its own end: whoever listens there can end and
// begin again.
func FreeAddress(t testing.TB) string {
	t.Helper()
	for range 100 {
		port := strconv.Itoa(firstPort + int(turns.Add(1)%(pastLast-firstPort)))
		listener, err := net.Listen("tcp", ":"+port)
		if err == nil {
			require.NoError(t, listener.Close())
			return net.JoinHostPort("127.0.0.1", port)
		}
	}
	require.FailNow(t, "no port is free", "100 ports between %d and %d were tried", firstPort, pastLast)
	return ""
}
