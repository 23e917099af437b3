package heartbeat

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/statefile"
)

// A panic of the verdicts ends no other plugin of a Telegraf. They are set up
// anew: who dies is told, and what was known still is.
func TestVerdictsSurviveAPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(testutil.CaptureLogger)
		h := newPlugin(t)
		h.Log, h.StateFile = log, filepath.Join(t.TempDir(), "state")
		acc, connect, stop := startInBubble(t, h)
		c := connect()
		c.send(frame(`{"host":"web-1","pid":0,"interval_ms":1000}`))
		c.send(frame(`{"host":"web-2","service":"job","pid":7,"status":"dead"}`))
		time.Sleep(time.Second)
		setListeners := func(all []*listener) []*listener {
			h.intake.mu.Lock()
			defer h.intake.mu.Unlock()
			before := h.intake.listeners
			h.intake.listeners = all
			return before
		}
		c.send(frame(`{"host":"web-1","pid":0,"interval_ms":1000}`))
		short := connect()
		short.send(frame(`{"host":"web-3","pid":0,"interval_ms":1000}`)) // looked at before the one that panics
		before := setListeners([]*listener{nil})                         // a mistake: who asks the kernel meets it
		for h.intake.panics.Load() == 0 {
			time.Sleep(100 * time.Millisecond)
		}
		setListeners(before)
		time.Sleep(500 * time.Millisecond)
		known, err := statefile.Read(h.StateFile, time.Now())
		require.NoError(t, err)
		states := make(map[string]liveness.State)
		for _, r := range known.Peers {
			states[r.ID.Source] = r.State
		}
		require.Equal(t, liveness.Suspect, states["web-3"], "what the old one had not saved yet")
		time.Sleep(10 * time.Second)
		c.send(frame(`{"host":"web-2","service":"job","pid":7,"status":"alive"}`))
		synctest.Wait()
		gather(t, h)
		require.Equal(t, []string{"alive beat", "suspect silence", "dead silence"}, eventsOf(acc, "web-1"))
		require.Equal(t, []string{"dead exited", "alive beat"}, eventsOf(acc, "web-2"))
		require.Equal(t, []string{"alive beat", "suspect silence", "dead silence"}, eventsOf(acc, "web-3"), "what the old one could not tell")
		require.EqualValues(t, 1, h.intake.health().panics)
		require.Len(t, log.Errors(), 1)
		require.Contains(t, log.Errors()[0], "Internal error while judging silence, please report it with this stack: runtime error: invalid memory address")
		require.Contains(t, log.Errors()[0], ".inquire(")
		c.Close()
		short.Close()
		stop()
		state, err := statefile.Read(h.StateFile, time.Now())
		require.NoError(t, err)
		require.NoError(t, state.Trouble)
		require.Len(t, state.Peers, 3)
	})
}

// A tick that panics each time is told as such, and Telegraf goes on.
func TestTickThatAlwaysPanicsIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(testutil.CaptureLogger)
		h := newPlugin(t)
		h.Log = log
		acc, connect, stop := startInBubble(t, h)
		tracker := swapTracker(h, nil)
		time.Sleep(90 * time.Second)
		swapTracker(h, tracker)
		panics := h.intake.panics.Load()
		require.Greater(t, panics, int64(500))
		require.Less(t, len(log.Errors()), 4, "the log is not filled")
		c := connect()
		c.send(frame(`{"host":"web-1","pid":0}`))
		synctest.Wait()
		gather(t, h)
		require.Equal(t, []string{"alive beat"}, eventsOf(acc, "web-1"))
		require.Equal(t, panics, collectorField(t, acc, "panics_total"))
		c.Close()
		stop()
	})
}

// swapTracker gives the intake another tracker, or none: a mistake that nothing
// mends.
func swapTracker(h *Heartbeat, other *liveness.Tracker) *liveness.Tracker {
	h.intake.mu.Lock()
	defer h.intake.mu.Unlock()
	before := h.intake.tracker
	h.intake.tracker = other
	return before
}

func collectorField(t *testing.T, acc *testutil.Accumulator, field string) any {
	t.Helper()
	for _, m := range slices.Backward(acc.GetTelegrafMetrics()) {
		if value, ok := m.GetField(field); ok && m.Name() == "heartbeat_collector" {
			return value
		}
	}
	t.Fatalf("no %s", field)
	return nil
}

// A panic in saving costs that saving: the file is made anew.
func TestSavingSurvivesAPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newPlugin(t)
		h.StateFile = filepath.Join(t.TempDir(), "state")
		_, connect, stop := startInBubble(t, h)
		c := connect()
		c.send(frame(`{"host":"web-1","pid":0,"interval_ms":10000}`))
		time.Sleep(time.Second)
		before, err := os.Stat(h.StateFile)
		require.NoError(t, err)
		tracker := swapTracker(h, nil)
		time.Sleep(2 * flushPause)
		require.False(t, h.keeper.health(time.Now()).works)
		swapTracker(h, tracker)
		c.send(frame(`{"host":"web-2","pid":0,"interval_ms":10000}`))
		time.Sleep(2 * time.Second)
		after, err := os.Stat(h.StateFile)
		require.NoError(t, err)
		require.False(t, os.SameFile(before, after), "it was not made anew")
		require.True(t, h.keeper.health(time.Now()).works)
		state, err := statefile.Read(h.StateFile, time.Now())
		require.NoError(t, err)
		require.Len(t, state.Peers, 2)
		c.Close()
		stop()
	})
}

// A metric that cannot be handed over costs no other.
func TestEmittingSurvivesAPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newPlugin(t)
		acc := &pickyAccumulator{}
		require.NoError(t, h.Init())
		h.prepare(time.Now())
		in := h.intake
		in.expect([]liveness.Expected{{Source: "bad"}})
		for _, host := range []string{"web-1", "bad", "web-2"} {
			in.mu.Lock()
			out := in.tracker.Observe(time.Now(), &liveness.Beat{ID: liveness.ID{Source: host, Service: "host"}})
			in.tell(out.Transitions)
			in.mu.Unlock()
		}
		in.add(acc, in.queue.take())
		require.Equal(t, []string{"alive beat"}, eventsOf(&acc.Accumulator, "web-1"))
		require.Equal(t, []string{"alive beat"}, eventsOf(&acc.Accumulator, "web-2"))
		require.Empty(t, eventsOf(&acc.Accumulator, "bad"))
		require.Positive(t, in.health().panics)
	})
}

// A pickyAccumulator panics at a name, as an output in it might.
type pickyAccumulator struct{ testutil.Accumulator }

func (a *pickyAccumulator) AddMetric(m telegraf.Metric) {
	if source, _ := m.GetTag("source"); strings.Contains(source, "bad") {
		panic("bad")
	}
	a.Accumulator.AddMetric(m)
}
