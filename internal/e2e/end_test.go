//go:build unix

package e2e

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

// listeners returns the pids of the processes that have listened, as they
// said.
func (c *collector) listeners() []int {
	c.T.Helper()
	started := c.metrics("heartbeat_event", "reason", "started")
	pids := make([]int, 0, len(started))
	for _, m := range started {
		pids = append(pids, int(number(c.T, m, "last_pid")))
	}
	return pids
}

// gone reports whether a process has ended. One that only waits to be noticed
// by its parent has.
func gone(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false // no such files here
	}
	return bytes.HasPrefix(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" Z"))
}

// requireFree tells that the port can be taken, at once.
func requireFree(t testing.TB, address string) {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	require.NoError(t, err)
	require.NoError(t, listener.Close())
}

func TestEndOfTelegrafIsTheEndOfAll(t *testing.T) {
	t.Parallel()
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			c := way.start(t, nil)
			c.Until("it to say that it has begun", func() bool { return len(c.listeners()) == 1 })
			pid := c.listeners()[0]
			require.False(t, gone(pid))
			client := dial(t, c.address)
			const peers = 500
			client.burst(peers)

			c.Signal(syscall.SIGTERM)
			require.Zero(t, c.Exit())
			require.True(t, gone(pid), "an orphan is left: %d", pid)
			requireFree(t, c.address)
			client.closed()
			require.Len(t, c.metrics("heartbeat"), peers, "beats that were acknowledged but not written")
		})
	}
}

func TestKilledTelegrafLeavesNoOrphan(t *testing.T) {
	t.Parallel()
	c := startStock(t, nil)
	client := dial(t, c.address)
	client.beat(map[string]any{"host": "web-1", "service": "shop", "pid": 1})
	c.Until("it to say that it has begun", func() bool { return len(c.listeners()) == 1 })
	child := c.listeners()[0]
	require.NotEqual(t, c.PID(), child)

	t.Cleanup(func() {
		if !gone(child) {
			require.NoError(t, syscall.Kill(child, syscall.SIGKILL))
		}
	})
	c.Kill()
	testkit.Until(t, "the end of telegraf-heartbeat", func() bool { return gone(child) })
	requireFree(t, c.address)
}

func TestReloadGoesOnAtTheSamePort(t *testing.T) {
	t.Parallel()
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			c := way.start(t, nil)
			client := dial(t, c.address)
			client.beat(map[string]any{"host": "web-1", "service": "shop", "pid": 1})
			c.Until("it to say that it has begun", func() bool { return len(c.listeners()) == 1 })

			options, err := os.ReadFile(c.options)
			require.NoError(t, err)
			fixed := strings.Replace(string(options), anyPort, "tcp://"+c.address, 1)
			require.NoError(t, os.WriteFile(c.options, []byte(fixed), 0o600))
			c.Signal(syscall.SIGHUP)
			client.closed()
			c.Until("it to begin again", func() bool { return len(c.listeners()) == 2 })
			require.Equal(t, c.address, last(c.listened()))
			answer := dial(t, c.address).beat(map[string]any{"host": "web-1", "service": "shop", "pid": 1})
			require.Equal(t, "web-1/shop", answer.ID)

			pids := c.listeners()
			if own := c.PID(); pids[0] == own {
				require.Equal(t, own, pids[1])
				return
			}
			require.NotEqual(t, pids[0], pids[1])
			require.True(t, gone(pids[0]), "the one before is still there: %d", pids[0])
		})
	}
}
