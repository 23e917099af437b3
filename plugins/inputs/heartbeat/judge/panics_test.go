package judge

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/statefile"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// A panic while judging ends no other plugin of Telegraf. The tracker is rebuilt: it still
// reports deaths, and nothing known is lost.
func TestVerdictsSurviveAPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, acc, mistake := new(testutil.CaptureLogger), new(testutil.Accumulator), false
		c := newCourt(t, acc, log, func(liveness.ConnID) liveness.Path {
			if mistake {
				panic(errors.New("a mistake"))
			}
			return liveness.PathUnknown
		})
		long := func(host string) { c.beat(1, wire.Beat{Host: host, IntervalMS: 1000}) }
		long("web-1")
		c.beat(2, wire.Beat{Host: "web-2", Service: "job", PID: 7, Status: "dead"})
		time.Sleep(time.Second)
		long("web-1")
		c.beat(3, wire.Beat{Host: "web-3", IntervalMS: 1000}) // looked at before the one that panics
		c.Unsaved(nil)
		c.Lock(func() { mistake = true })
		for c.panics.Load() == 0 {
			time.Sleep(100 * time.Millisecond)
		}
		c.Lock(func() { mistake = false })
		require.True(t, c.Rebuilt(), "all is to be saved again")
		time.Sleep(500 * time.Millisecond)
		states := make(map[string]liveness.State)
		records, _ := c.Records(nil, c.Count(), false)
		for _, r := range records.Records {
			states[r.ID.Source] = r.State
		}
		require.Len(t, states, 3)
		require.Equal(t, liveness.Suspect, states["web-3"], "what the old one could not tell")
		time.Sleep(10 * time.Second)
		c.beat(2, wire.Beat{Host: "web-2", Service: "job", PID: 7, Status: "alive"})
		synctest.Wait()
		c.Gather()
		require.Equal(t, []string{"alive beat", "suspect silence", "dead silence"}, eventsOf(acc, "web-1"))
		require.Equal(t, []string{"dead exited", "alive beat"}, eventsOf(acc, "web-2"))
		require.Equal(t, []string{"alive beat", "suspect silence", "dead silence"}, eventsOf(acc, "web-3"), "what the old one could not tell")
		require.EqualValues(t, 1, c.health().panics)
		require.Len(t, log.Errors(), 1)
		require.Contains(t, log.Errors()[0], "Internal error while judging silence: a mistake. Please report it with this stack trace:")
		require.Contains(t, log.Errors()[0], ".inquire(")
		c.end()
	})
}

// Lock calls do while nothing is judged.
func (c *court) Lock(do func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	do()
}

// swapTracker gives the Judge another tracker, or none, which makes each tick panic.
func (c *court) swapTracker(other *liveness.Tracker) (before *liveness.Tracker) {
	c.Lock(func() { before, c.tracker = c.tracker, other })
	return before
}

// A tick that panics each time is logged and counted, and Telegraf continues.
func TestTickThatAlwaysPanicsIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, acc := new(testutil.CaptureLogger), new(testutil.Accumulator)
		c := newCourt(t, acc, log, nil)
		tracker := c.swapTracker(nil)
		time.Sleep(90 * time.Second)
		c.swapTracker(tracker)
		panics := c.panics.Load()
		require.Greater(t, panics, int64(500))
		require.Less(t, len(log.Errors()), 4, "the log is not filled")
		c.beat(1, wire.Beat{Host: "web-1"})
		synctest.Wait()
		c.Gather()
		require.Equal(t, []string{"alive beat"}, eventsOf(acc, "web-1"))
		m, ok := acc.Get(measurementCollector)
		require.True(t, ok)
		require.Equal(t, panics, m.Fields["panics_total"])
		c.end()
	})
}

// A panic while saving costs only that save: the file is rewritten.
func TestSavingSurvivesAPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path, log := filepath.Join(t.TempDir(), "state"), testutil.Logger{Quiet: true}
		c := newCourt(t, new(testutil.Accumulator), log, nil)
		keeper := statefile.NewKeeper(path, c.Judge, log)
		require.NoError(t, keeper.Open(time.Now()))
		require.True(t, keeper.Load(t.Context()))
		ctx, cancel := context.WithCancel(t.Context())
		kept := make(chan struct{})
		go func() { // until cancel
			keeper.Keep(ctx)
			close(kept)
		}()
		c.beat(1, wire.Beat{Host: "web-1", IntervalMS: 10000})
		time.Sleep(time.Second)
		before, err := os.Stat(path)
		require.NoError(t, err)
		tracker := c.swapTracker(nil)
		time.Sleep(time.Second / 2)
		require.False(t, keeper.Health(time.Now()).Works)
		c.swapTracker(tracker)
		c.beat(1, wire.Beat{Host: "web-2", IntervalMS: 10000})
		time.Sleep(2 * time.Second)
		after, err := os.Stat(path)
		require.NoError(t, err)
		require.False(t, os.SameFile(before, after), "it was not made anew")
		require.True(t, keeper.Health(time.Now()).Works)
		state, err := statefile.Read(path, time.Now())
		require.NoError(t, err)
		require.Len(t, state.Peers, 2)
		cancel()
		<-kept
		keeper.Close()
		c.end()
	})
}

// A metric whose emission panics does not affect others.
func TestEmittingSurvivesAPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acc := &pickyAccumulator{}
		c := newCourt(t, acc, testutil.Logger{Quiet: true}, nil)
		c.Expect([]liveness.Expected{{Source: "bad"}})
		for _, host := range []string{"web-1", "bad", "web-2"} {
			c.beat(1, wire.Beat{Host: host})
		}
		c.end()
		require.Equal(t, []string{"alive beat"}, eventsOf(&acc.Accumulator, "web-1"))
		require.Equal(t, []string{"alive beat"}, eventsOf(&acc.Accumulator, "web-2"))
		require.Empty(t, eventsOf(&acc.Accumulator, "bad"))
		require.Positive(t, c.health().panics)
	})
}

// A pickyAccumulator panics at a metric with the given name.
type pickyAccumulator struct{ testutil.Accumulator }

func (a *pickyAccumulator) AddMetric(m telegraf.Metric) {
	if source, _ := m.GetTag("source"); strings.Contains(source, "bad") {
		panic("bad")
	}
	a.Accumulator.AddMetric(m)
}
