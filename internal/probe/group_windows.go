package probe

import (
	"syscall"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/proc/job"
)

func attributes() *syscall.SysProcAttr { return nil }

// signal ends the command. Windows has no process groups that can be killed together.
func (g *group) signal() {
	g.cmd.Process.Kill() //nolint:errcheck // it may have ended
}

// wait waits until the command has ended.
func (g *group) wait() int {
	g.cmd.Wait() //nolint:errcheck // the state tells
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lives = false
	if g.cmd.ProcessState == nil { // should not happen
		return job.CannotRun
	}
	return g.cmd.ProcessState.ExitCode()
}

// waitForChildren does nothing: children cannot be found.
func (*group) waitForChildren() {}
