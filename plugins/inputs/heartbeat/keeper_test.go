package heartbeat

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"
)

// The next collector goes on where this one ended: nothing of it is an event,
// and the totals go on.
func TestRestartIsNoEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "state")
		first := newPlugin(t)
		first.StateFile = path
		_, connect, stop := startInBubble(t, first)
		c := connect()
		c.send(frame(`{"host":"web-1","service":"nginx","pid":7,"interval_ms":10000,"run":"r","seq":1}`))
		c.send(frame(`{"host":"web-2","service":"job","pid":8,"status":"dead","exit_code":3}`))
		time.Sleep(time.Second)
		stop()
		c.Close()
		time.Sleep(5 * time.Second)

		second := newPlugin(t)
		second.StateFile = path
		acc, connect, stop := startInBubble(t, second)
		c = connect()
		c.send(frame(`{"host":"web-1","service":"nginx","pid":7,"interval_ms":10000,"run":"r","seq":2}`))
		synctest.Wait()
		gather(t, second)
		c.Close()
		stop()
		require.Empty(t, eventsOf(acc, "web-1"))
		require.Empty(t, eventsOf(acc, "web-2"))
		nginx := metricsOf(acc, "heartbeat_peer", "source", "web-1")[0].Fields()
		require.EqualValues(t, 2, nginx["beats_total"])
		job := metricsOf(acc, "heartbeat_peer", "source", "web-2")[0].Fields()
		require.EqualValues(t, 1, job["dead"])
		require.InDelta(t, 6, job["age_seconds"], 0.5)
		down := metricsOf(acc, "heartbeat_down", "source", "web-2")[0].Fields()
		require.EqualValues(t, 3, down["exit_code"])
	})
}

// The first saving comes soon, for a collector that is killed again and again;
// what has not changed is not saved.
func TestStateIsSavedSoonAndWhileItChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newPlugin(t)
		h.StateFile = filepath.Join(t.TempDir(), "state")
		_, connect, stop := startInBubble(t, h)
		saved := func() int64 { return h.keeper.saved.Load() }
		time.Sleep(firstSave / 2)
		require.Zero(t, saved())
		time.Sleep(firstSave)
		first := saved()
		require.NotZero(t, first)
		time.Sleep(time.Minute)
		require.Equal(t, first, saved(), "nobody is known")

		c := connect()
		c.send(frame(`{"host":"web-1","pid":0,"interval_ms":10000}`))
		time.Sleep(firstSave + time.Second)
		require.Greater(t, saved(), first)
		c.send(frame(`{"host":"web-1","pid":0,"status":"leaving"}`))
		time.Sleep(time.Minute)
		left := saved()
		time.Sleep(time.Minute)
		require.Equal(t, left, saved(), "nobody is waited for")
		c.Close()
		stop()
	})
}

// Whatever is wrong with the file is said, and costs only what it held.
func TestCollectorStartsWhateverTheStateFileIs(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(t *testing.T, path string)
		want    string
	}{
		"garbage": {func(t *testing.T, path string) {
			require.NoError(t, os.WriteFile(path, []byte("garbage"), 0o600))
		}, "Nobody is remembered from before: reading state from "},
		"directory": {func(t *testing.T, path string) {
			require.NoError(t, os.Mkdir(path, 0o700))
		}, "Nobody is remembered over a restart: using state file "},
		"in use": {func(t *testing.T, path string) {
			other, err := openState(path)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, other.close()) })
		}, "Nobody is remembered over a restart: using state file "},
	} {
		t.Run(name, func(t *testing.T) {
			log := &testutil.CaptureLogger{}
			h := newPlugin(t)
			h.Log, h.StateFile = log, filepath.Join(t.TempDir(), "state")
			c.prepare(t, h.StateFile)
			start(t, h)
			require.Contains(t, log.Warnings()[0], c.want)
			require.Contains(t, dial(t, h).beat(`{"host":"a","pid":0,"ack":true}`), `"id":"a/host"`)
			h.Stop()
		})
	}
}

// A plugin that is stopped, or could not start, lets the next one have the
// file.
func TestStateFileIsFreeAfterStop(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	for range 2 {
		h := newPlugin(t)
		h.StateFile = path
		start(t, h)
		require.NotNil(t, h.keeper.file)
		h.ServiceAddresses = []string{"tcp://" + h.listeners[0].addr().String()}

		taken := newPlugin(t)
		taken.ServiceAddresses, taken.StateFile = h.ServiceAddresses, path+"2"
		require.Error(t, taken.Start(new(testutil.Accumulator)))
		again, err := openState(path + "2")
		require.NoError(t, err)
		require.NoError(t, again.close())
		h.Stop()
	}
}

func TestStateOfTheCollectorIsGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newPlugin(t)
		h.StateFile = filepath.Join(t.TempDir(), "state")
		acc, _, stop := startInBubble(t, h)
		time.Sleep(10 * time.Second)
		gather(t, h)
		stop()
		for _, m := range acc.GetTelegrafMetrics() {
			if age, ok := m.GetField("state_file_age_seconds"); ok {
				require.InDelta(t, 9.5, age, 0.01)
				return
			}
		}
		t.Fatal("no state_file_age_seconds")
	})
}

// While anybody is silent there is always something new to save: the silence.
func TestSilenceIsSaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newPlugin(t)
		h.StateFile = filepath.Join(t.TempDir(), "state")
		_, connect, stop := startInBubble(t, h)
		c := connect()
		c.send(frame(`{"host":"web-1","pid":0,"interval_ms":600000}`))
		used := func() time.Duration {
			time.Sleep(10 * time.Second)
			_, peers, err := ReadState(h.StateFile)
			require.NoError(t, err)
			return peers[0].Used
		}
		first, second := used(), used()
		require.InDelta(t, 10, (second - first).Seconds(), 0.6)
		c.Close()
		stop()
	})
}
