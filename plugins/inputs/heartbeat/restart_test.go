package heartbeat

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/statefile"
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

// Changes are saved within a second; while all is well, almost nothing is.
func TestStateIsSavedSoonAndOnlyIfItChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newPlugin(t)
		h.StateFile = filepath.Join(t.TempDir(), "state")
		_, connect, stop := startInBubble(t, h)
		size := func() int64 {
			info, err := os.Stat(h.StateFile)
			require.NoError(t, err)
			return info.Size()
		}
		known := func() []liveness.Record {
			state, err := statefile.Read(h.StateFile, time.Now())
			require.NoError(t, err)
			return state.Peers
		}
		time.Sleep(time.Second)
		require.Empty(t, known())

		c := connect()
		beats := func(n int) {
			for range n {
				c.send(frame(`{"host":"web-1","pid":0,"interval_ms":10000}`))
				time.Sleep(10 * time.Second)
			}
		}
		c.send(frame(`{"host":"web-1","pid":0,"interval_ms":10000}`))
		time.Sleep(time.Second)
		require.Len(t, known(), 1)
		beats(6)
		before, lines := size(), 0
		for range 60 {
			was := size()
			beats(6)
			if size() > was {
				lines++
			}
		}
		t.Logf("%d bytes in an hour, in %d of its minutes", size()-before, lines)
		require.Less(t, lines, 20)
		require.Less(t, size()-before, int64(10_000))

		c.send(frame(`{"host":"web-1","pid":0,"status":"leaving"}`))
		time.Sleep(time.Second)
		require.Equal(t, liveness.Left, known()[0].State)
		c.Close()
		stop()
	})
}

// While all are well a thousand peers that beat every ten seconds cost the disk 5 KB a second
// at the most, with the files that are made anew: ten thousand 50, and a million is the same
// for each peer.
func TestLittleIsWrittenWhileAllAreWell(t *testing.T) {
	const peers, limit = 1000, 5000
	synctest.Test(t, func(t *testing.T) {
		h := newPlugin(t)
		h.StateFile, h.EmitBeats = filepath.Join(t.TempDir(), "state"), "none"
		_, connect, stop := startInBubble(t, h)
		c := connect()
		written, size := int64(0), int64(0)
		beat := func(n int) { // all of them, spread over their interval
			for i := range n * peers {
				c.send(frame(fmt.Sprintf(`{"host":"web-%d","pid":0,"interval_ms":10000,"run":"r","seq":%d}`, i%peers, n+i/peers)))
				time.Sleep(10 * time.Second / peers)
				if i%20 > 0 {
					continue
				}
				info, err := os.Stat(h.StateFile)
				require.NoError(t, err)
				if info.Size() < size { // it was made anew
					size = 0
				}
				written += info.Size() - size
				size = info.Size()
			}
		}
		time.Sleep(time.Second)
		beat(12)
		written = 0
		beat(180)
		t.Logf("%d bytes a second", written/1800)
		require.Less(t, written, int64(1800*limit))
		c.Close()
		stop()
	})
}

// Any damage to the file is logged, and costs only the content of the file.
func TestCollectorStartsWhateverTheStateFileIs(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(t *testing.T, path string)
		want    string
	}{
		"garbage": {func(t *testing.T, path string) {
			require.NoError(t, os.WriteFile(path, []byte("garbage"), 0o600))
		}, "cannot read it: it is not a heartbeat state file; moved it to "},
		"directory": {func(t *testing.T, path string) {
			require.NoError(t, os.Mkdir(path, 0o700))
		}, "State will not survive a restart: cannot use state file "},
		"in use by another input": {func(t *testing.T, path string) {
			other, _, err := statefile.Open(path, time.Now())
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, other.Close()) })
		}, "State will not survive a restart: cannot use state file "},
		"in a directory that is not there": {func(t *testing.T, path string) {
			require.NoError(t, os.Remove(filepath.Dir(path)))
		}, "no such file or directory. Run: install -d -o "},
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
		require.True(t, h.keeper.Health(time.Now()).Works)
		h.ServiceAddresses = []string{"tcp://" + hostPort(h)}

		taken := newPlugin(t)
		taken.ServiceAddresses, taken.StateFile = h.ServiceAddresses, path+"2"
		require.Error(t, taken.Start(new(testutil.Accumulator)))
		again, _, err := statefile.Open(path+"2", time.Now())
		require.NoError(t, err)
		require.NoError(t, again.Close())
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
				require.LessOrEqual(t, age, flushPause.Seconds())
				saved, _ := m.GetField("state_saved")
				require.EqualValues(t, 1, saved)
				return
			}
		}
		t.Fatal("no state_file_age_seconds")
	})
}

// A collector that is killed again and again still reaches its verdicts, and emits none of
// them twice: the time for which it listened counts.
func TestKilledCollectorsReachTheirVerdicts(t *testing.T) {
	for _, life := range []time.Duration{time.Second, 2 * time.Second, 7 * time.Second, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state")
			var deaths []string
			silent := time.Duration(0)
			for lives := 0; len(deaths) == 0; lives++ {
				h := newPlugin(t)
				h.StateFile = path
				acc, connect, _ := startInBubble(t, h)
				if lives == 0 {
					c := connect()
					c.send(frame(`{"host":"web-1","pid":0,"watched":true,"interval_ms":10000}`))
					time.Sleep(time.Second)
					c.Close()
				}
				time.Sleep(life)
				silent += life
				killInBubble(t, h)
				for _, event := range eventsOf(acc, "web-1") {
					if strings.HasPrefix(event, "dead") {
						deaths = append(deaths, event)
					}
				}
				require.Less(t, silent, 5*time.Minute, "it is never told")
			}
			require.Equal(t, []string{"dead silence"}, deaths)
			// Its silence may last 35 s, and 10 s more because of the restarts. Of each
			// life at most half is lost.
			require.GreaterOrEqual(t, silent, 35*time.Second)
			require.LessOrEqual(t, silent, 2*45*time.Second+2*life)
			t.Logf("lives of %s: told after %s", life, silent)
		})
	}
}

// A file that is locked late gets all peers that were received before, even if they keep
// beating as before: a crash does not forget them.
func TestFileThatIsHadLateHoldsEverybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newPlugin(t)
		h.StateFile, h.Log = filepath.Join(t.TempDir(), "state"), new(testutil.CaptureLogger)
		other, _, err := statefile.Open(h.StateFile, time.Now())
		require.NoError(t, err)
		require.NoError(t, other.Begin())
		require.NoError(t, other.Replace())
		acc, connect, stop := startInBubble(t, h)
		c := connect()
		beat := func() {
			c.send(frame(`{"host":"web-1","pid":7,"interval_ms":1000}`))
			time.Sleep(time.Second)
		}
		for range 7 {
			beat()
		}
		require.NoError(t, other.Close())
		for range 12 {
			beat()
		}
		gather(t, h)
		require.EqualValues(t, 1, stateSaved(t, acc))
		state, err := statefile.Read(h.StateFile, time.Now())
		require.NoError(t, err)
		require.Len(t, state.Peers, 1)
		require.Equal(t, liveness.Alive, state.Peers[0].State)
		c.Close()
		stop()
	})
}

// killInBubble ends a collector as kill -9 does: it saves nothing more.
func killInBubble(t *testing.T, h *Heartbeat) {
	text, err := os.ReadFile(h.StateFile)
	require.NoError(t, err)
	h.Stop()
	require.NoError(t, os.WriteFile(h.StateFile, text, 0o600))
}

func TestStatePath(t *testing.T) {
	for _, c := range []struct{ option, directory, want string }{
		{"none", "/run/x", ""},
		{"/srv/h.state", "/run/x", "/srv/h.state"},
		{"", "/var/lib/private/telegraf", "/var/lib/private/telegraf/heartbeat.state"},
		{"", "/a:/b", "/a/heartbeat.state"},
		{"", "", "/var/lib/telegraf/heartbeat.state"},
	} {
		got := statefile.Path(c.option, func(name string) string {
			require.Equal(t, "STATE_DIRECTORY", name)
			return c.directory
		})
		require.Equal(t, c.want, filepath.ToSlash(got), "%+v", c)
	}
}

// Without a file the tracker does not collect what would be saved.
func TestNothingIsCollectedWithoutAFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newPlugin(t)
		_, connect, stop := startInBubble(t, h)
		c := connect()
		for range 3 {
			c.send(frame(`{"host":"web-1","pid":0,"status":"dead"}`) + frame(`{"host":"web-1","pid":0}`))
			time.Sleep(2 * flushPause)
			require.Empty(t, h.judge.Unsaved(nil).Records)
		}
		c.Close()
		stop()
	})
}

// Collectors that live shortly do not make the file grow without end.
func TestShortLivesLeaveNoLongFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "state")
		longest := int64(0)
		for range 300 {
			h := newPlugin(t)
			h.StateFile = path
			_, connect, stop := startInBubble(t, h)
			c := connect()
			c.send(frame(`{"host":"web-1","pid":0,"interval_ms":10000}`))
			time.Sleep(flushPause / 2)
			c.Close()
			stop()
			info, err := os.Stat(path)
			require.NoError(t, err)
			longest = max(longest, info.Size())
		}
		require.Less(t, longest, int64(200_000))
		state, err := statefile.Read(path, time.Now())
		require.NoError(t, err)
		require.EqualValues(t, 300, state.Peers[0].Beats)
	})
}

// The paces of saving, which package statefile sets.
const (
	flushPause   = 200 * time.Millisecond
	lookPause    = time.Second
	renewPause   = time.Second
	openPause    = 10 * time.Second
	lockPatience = 3 * time.Second
)
