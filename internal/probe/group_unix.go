//go:build unix

package probe

import (
	"errors"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/proc/job"
)

// Pauses between two checks for processes that are left in a group.
const (
	minPause = time.Millisecond
	maxPause = time.Second
)

func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// signal kills the group, as far as permitted: a program of another user keeps
// running.
func (g *group) signal() {
	unix.Kill(-g.cmd.Process.Pid, unix.SIGKILL) //nolint:errcheck // see above
}

// exitCode returns the exit code of a command that has ended, as a shell reports it.
func (g *group) exitCode() int {
	status, ok := g.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() {
		return job.Signalled + int(status.Signal())
	}
	return g.cmd.ProcessState.ExitCode()
}

// waitForChildren waits until no process of the group is alive.
func (g *group) waitForChildren() {
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		empty := isEmpty(g.cmd.Process.Pid)
		reap(g.cmd.Process.Pid) // also the zombies that isEmpty has found
		if empty {
			return
		}
		time.Sleep(pause)
	}
}

// reap reaps the orphans of a group. If this program is process 1, they have become its
// children.
func reap(group int) {
	for {
		pid, err := unix.Wait4(-group, nil, unix.WNOHANG, nil)
		if pid <= 0 && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}
