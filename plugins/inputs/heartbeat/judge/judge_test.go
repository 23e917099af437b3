package judge

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// A court is a Judge that runs in a synctest bubble.
type court struct {
	*Judge
	t   *testing.T
	end func()
}

func newCourt(t *testing.T, acc telegraf.Accumulator, log telegraf.Logger, ask func(liveness.ConnID) liveness.Path) *court {
	t.Helper()
	rules := liveness.Options{
		Terms:      liveness.Terms{DeadAfter: 210 * time.Second, Margin: liveness.MarginOf(3), Grace: 5 * time.Second},
		MinSilence: liveness.MinSilence, MaxPeers: 100_000,
	}
	if ask != nil {
		rules.Ask = func(id liveness.ConnID) (liveness.Path, netip.Addr) { return ask(id), netip.Addr{} }
	}
	j := New(Options{Rules: rules, EmitBeats: true, Log: log}, time.Now())
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() { j.KeepTime(ctx, 0) })
	all.Go(func() { j.Emit(ctx, acc, func(time.Time) Own { return Own{} }) })
	return &court{Judge: j, t: t, end: func() {
		cancel()
		all.Wait()
	}}
}

// beat passes a beat of a connection to the Judge.
func (c *court) beat(conn liveness.ConnID, said wire.Beat) {
	c.t.Helper()
	var b Beat
	require.Nil(c.t, b.Set(&said, &Speaker{Conn: conn, Printer: new(Printer)}, nil))
	c.Observe(&b)
}

// eventsOf returns "state reason" of each event of a source.
func eventsOf(acc *testutil.Accumulator, source string) []string {
	var events []string
	for _, m := range acc.GetTelegrafMetrics() {
		if got, _ := m.GetTag("source"); m.Name() == measurementEvent && got == source {
			events = append(events, m.Tags()["state"]+" "+m.Tags()["reason"])
		}
	}
	return events
}

// A blocked output delays neither beats nor verdicts, and the queue bounds the memory.
func TestBlockedOutputDelaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acc := &blockedAccumulator{open: make(chan struct{})}
		c := newCourt(t, acc, testutil.Logger{Quiet: true}, nil)
		begin := time.Now()
		c.beat(1, wire.Beat{Host: "quiet", IntervalMS: 1000})
		synctest.Wait() // the output is blocked with that
		for i := range 100 {
			for range 900 {
				c.beat(2, wire.Beat{Host: fmt.Sprintf("h%d", i)})
			}
		}
		require.Zero(t, time.Since(begin))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.Equal(t, 1, c.health().peers[3], "the quiet one is dead, though nobody could be told yet")
		require.LessOrEqual(t, len(c.queue.items), queueLimit+1000)

		close(acc.open)
		c.Gather()
		c.end()
		require.Equal(t, []string{"alive beat", "suspect silence", "dead silence"}, eventsOf(&acc.Accumulator, "quiet"))
		require.Positive(t, c.health().coalesced)
		require.LessOrEqual(t, acc.taken.Load(), int64(queueLimit+2000))
	})
}

type blockedAccumulator struct {
	testutil.Accumulator
	open  chan struct{}
	taken atomic.Int64
}

func (a *blockedAccumulator) AddMetric(m telegraf.Metric) {
	<-a.open
	a.taken.Add(1)
	if m.Name() == measurementEvent {
		a.Accumulator.AddMetric(m)
	}
}
