//go:build unix && !linux

package probe

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/proc/job"
)

// wait waits until the command has ended, and kills the children that it leaves
// behind.
func (g *group) wait() int {
	g.cmd.Wait() //nolint:errcheck // the state tells
	g.mu.Lock()
	defer g.mu.Unlock()
	g.signal()
	g.lives = false
	if g.cmd.ProcessState == nil { // should not happen
		return job.CannotRun
	}
	return g.exitCode()
}

// isEmpty reports whether no process of a group is left.
func isEmpty(group int) bool { return errors.Is(unix.Kill(-group, 0), unix.ESRCH) }
