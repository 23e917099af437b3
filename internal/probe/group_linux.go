package probe

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/proc"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/proc/job"
)

// wait waits until the command has ended, and kills the children that it leaves
// behind. It reaps the command only then: until then, no other process can have its ID.
func (g *group) wait() int {
	pid := g.cmd.Process.Pid
	for errors.Is(unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.signal()
	g.lives = false
	g.cmd.Wait()                   //nolint:errcheck // the state tells
	if g.cmd.ProcessState == nil { // should not happen
		return job.CannotRun
	}
	return g.exitCode()
}

// isEmpty reports whether no process of a group is alive. In a container whose process 1
// does not reap, zombies stay in the group forever.
func isEmpty(group int) bool {
	return errors.Is(unix.Kill(-group, 0), unix.ESRCH) || proc.OnlyZombies(group)
}
