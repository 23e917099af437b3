package testkit

import (
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// By default, systems do not use these ports for outgoing connections: Linux uses ports from
// 32768 on, other systems higher ones (ip(7), ip_local_port_range).
const (
	firstPort = 10_000
	pastLast  = 32_768
)

// turns counts the ports that were tried. It starts at a random number, because other test
// processes run at the same time.
var turns = randomStart()

func randomStart() *atomic.Uint32 {
	var n atomic.Uint32
	n.Store(rand.Uint32N(pastLast - firstPort))
	return &n
}

// FreeAddress returns an address of this host on which no program listens. No other call returns
// the same address, and no outgoing connection uses its port, so a program can listen there, end,
// and listen again.
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
