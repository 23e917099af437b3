package probe

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/proc"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

// Children that outlive their probe are killed. If this program is process 1, as in a
// container, they are its own then, and it leaves no zombie.
func TestChildrenThatOutliveTheirProbeAreKilled(t *testing.T) {
	for name, inherits := range map[string]uintptr{"an init inherits them": 0, "they are inherited": 1} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, inherits, 0, 0, 0))
			defer unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
			file := filepath.Join(t.TempDir(), "pids")
			p := &Probe{
				Args:    shell("sleep 3600 & echo $! >>" + file + "; (sleep 3600 & echo $! >>" + file + "); exit 0"),
				Environ: os.Environ(),
			}
			state, ended := p.Once(t.Context())
			require.True(t, ended)
			require.Equal(t, State{Status: OK}, state)
			<-p.last.gone
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			pids := strings.Fields(string(text))
			require.Len(t, pids, 2)
			for _, text := range pids {
				pid, err := strconv.Atoi(text)
				require.NoError(t, err)
				gone := unix.Kill(pid, 0) == unix.ESRCH
				require.True(t, gone || inherits == 0 && proc.IsZombie(uint32(pid)), "process %d", pid)
			}
		})
	}
}

// The file may be on a mount that hangs: then the start itself never returns.
func TestProbeWhoseFileHangsHasFailed(t *testing.T) {
	p := &Probe{Args: []string{testkit.MountHanging(t) + "/check"}, Interval: 200 * time.Millisecond}
	for range 2 {
		state, ended := p.Once(t.Context())
		require.True(t, ended)
		require.Equal(t, TimedOut, state.Code)
	}
}
