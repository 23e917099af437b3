//go:build linux

package e2e

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

// A collector without a free descriptor goes on with whoever is connected, and
// takes in who waits at its door soon after there are some again, however long
// that has lasted.
func TestDescriptorsThatWereUsedUpAreSoonUsedAgain(t *testing.T) {
	t.Parallel()
	const collectors, rounds = 10, 10
	var mu sync.Mutex // guards all
	var all delays
	t.Run("collector", func(t *testing.T) {
		for range collectors {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				x := newExhausted(t)
				for round := range rounds {
					took := x.endure(time.Duration(round) * 200 * time.Millisecond)
					mu.Lock()
					all = append(all, took)
					mu.Unlock()
				}
			})
		}
	})
	t.Logf("until the newcomer is acknowledged, after descriptors are free again: %s", all)
	require.Len(t, all, collectors*rounds)
	require.LessOrEqual(t, slices.Max(all), 11*time.Second, "1.1 s, with ten times the slack")
}

type exhausted struct {
	*post
	known *client
}

func newExhausted(t *testing.T) *exhausted {
	t.Helper()
	p := newPost(t)
	p.relieve()
	x := &exhausted{p, dial(t, p.address)}
	x.beat(x.known, "known")
	return x
}

func (x *exhausted) beat(c *client, host string) {
	x.t.Helper()
	require.NoError(x.t, c.SetDeadline(time.Now().Add(testkit.Patience)))
	c.beat(map[string]any{"host": host, "service": "shop", "pid": 1})
}

// endure takes all free descriptors from the collector for at least that time,
// and returns how long a newcomer waits for an acknowledgement from then on. It
// stays connected: what it has is not free in the next round.
func (x *exhausted) endure(lasts time.Duration) time.Duration {
	x.t.Helper()
	refused := x.refused("accept")
	before := x.limitDescriptors(x.usedDescriptors())
	newcomer := dial(x.t, x.address)
	testkit.Until(x.t, "nobody to be let in", func() bool { return x.refused("accept") > refused })
	pause(lasts)
	x.beat(x.known, "known")
	begin := time.Now()
	x.limitDescriptors(before)
	x.beat(newcomer, "newcomer")
	return time.Since(begin)
}

// usedDescriptors returns the lowest limit that leaves the collector what it
// has and no more.
func (x *exhausted) usedDescriptors() uint64 {
	for fd := uint64(0); ; fd++ {
		if _, err := os.Lstat(fmt.Sprintf("/proc/%d/fd/%d", x.now().PID(), fd)); err != nil {
			return fd
		}
	}
}

// limitDescriptors sets the soft limit of the collector and returns that of
// before.
func (x *exhausted) limitDescriptors(limit uint64) (before uint64) {
	x.t.Helper()
	var all unix.Rlimit
	require.NoError(x.t, unix.Prlimit(x.now().PID(), unix.RLIMIT_NOFILE, nil, &all))
	before = all.Cur
	all.Cur = limit
	require.NoError(x.t, unix.Prlimit(x.now().PID(), unix.RLIMIT_NOFILE, &all, nil))
	return before
}
