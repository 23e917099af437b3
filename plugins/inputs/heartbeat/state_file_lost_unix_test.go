//go:build !windows

package heartbeat

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/statefile"
)

// If the file of a running collector is removed, it logs that once and writes the file again,
// with all peers. On Windows it cannot be removed.
func TestFileThatIsTakenAwayIsMadeAnew(t *testing.T) {
	for name, take := range map[string]func(t *testing.T, path string){
		"removed": func(t *testing.T, path string) { require.NoError(t, os.Remove(path)) },
		"moved":   func(t *testing.T, path string) { require.NoError(t, os.Rename(path, path+".old")) },
		"replaced": func(t *testing.T, path string) {
			require.NoError(t, os.WriteFile(path+".new", []byte("another"), 0o600))
			require.NoError(t, os.Rename(path+".new", path))
		},
		"cut short": func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, 0)) },
		"linked": func(t *testing.T, path string) {
			require.NoError(t, os.Rename(path, path+".old"))
			require.NoError(t, os.Symlink(path+".old", path))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := new(testutil.CaptureLogger)
				h := newPlugin(t)
				h.StateFile, h.Log = filepath.Join(t.TempDir(), "state"), log
				acc, connect, stop := startInBubble(t, h)
				c := connect()
				c.send(frame(`{"host":"web-1","pid":7}`) + frame(`{"host":"web-2","service":"job","pid":8}`))
				time.Sleep(time.Minute) // nothing is left to be saved
				requireNoWarnings := func(n int) { require.Len(t, log.Warnings(), n, "%v", log.Warnings()) }
				requireNoWarnings(0)

				take(t, h.StateFile)
				time.Sleep(lookPause + 2*flushPause)
				requirePeers(t, h.StateFile, liveness.Alive)
				requireNoWarnings(1)
				require.Contains(t, log.Warnings()[0], h.StateFile)
				gather(t, h)
				require.EqualValues(t, 1, stateSaved(t, acc))

				c.send(frame(`{"host":"web-2","service":"job","pid":8,"status":"dead"}`))
				time.Sleep(time.Second)
				requirePeers(t, h.StateFile, liveness.Dead)
				requireNoWarnings(1)

				take(t, h.StateFile)
				c.Close()
				stop() // before it was looked for
				requirePeers(t, h.StateFile, liveness.Dead)
			})
		})
	}
}

// requirePeers checks that a file has web-1, alive, and a job of web-2 in a state.
func requirePeers(t *testing.T, path string, job liveness.State) {
	t.Helper()
	state, err := statefile.Read(path, time.Now())
	require.NoError(t, err)
	require.Len(t, state.Peers, 2)
	for i := range state.Peers {
		r := &state.Peers[i]
		want := liveness.Alive
		if r.ID.Source == "web-2" {
			want = job
		}
		require.Equal(t, want, r.State, "%v", r.ID)
	}
}

// Where the file cannot be made again, nothing counts as saved.
func TestDirectoryThatIsTakenAwayIsNoSavedState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "dir")
		require.NoError(t, os.Mkdir(dir, 0o700))
		h := newPlugin(t)
		h.StateFile, h.Log = filepath.Join(dir, "state"), new(testutil.CaptureLogger)
		acc, connect, stop := startInBubble(t, h)
		c := connect()
		c.send(frame(`{"host":"web-1","pid":7}`) + frame(`{"host":"web-2","service":"job","pid":8}`))
		time.Sleep(time.Second)
		require.NoError(t, os.RemoveAll(dir))
		time.Sleep(lookPause + 2*flushPause)
		gather(t, h)
		require.EqualValues(t, 0, stateSaved(t, acc))
		require.NoError(t, os.Mkdir(dir, 0o700))
		time.Sleep(2 * renewPause)
		requirePeers(t, h.StateFile, liveness.Alive)
		c.Close()
		stop()
	})
}
