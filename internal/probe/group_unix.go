//go:build unix

package probe

import (
	"errors"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/proc/job"
)

// The pauses between two looks at what is left of a group.
const (
	minPause = time.Millisecond
	maxPause = time.Second
)

func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// signal kills the group, as far as that is allowed: a program that runs as
// another user goes on.
func (g *group) signal() {
	unix.Kill(-g.cmd.Process.Pid, unix.SIGKILL) //nolint:errcheck // see above
}

// exitCode returns that of a command that has ended, as a shell reports it.
func (g *group) exitCode() int {
	status, ok := g.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() {
		return job.Signalled + int(status.Signal())
	}
	return g.cmd.ProcessState.ExitCode()
}

// waitForChildren waits until nothing of the group lives.
func (g *group) waitForChildren() {
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		empty := isEmpty(g.cmd.Process.Pid)
		reap(g.cmd.Process.Pid) // what that has found to be zombies, too
		if empty {
			return
		}
		time.Sleep(pause)
	}
}

// reap takes in the orphans of a group. Where this program is process 1 they have become
// its children.
func reap(group int) {
	for {
		pid, err := unix.Wait4(-group, nil, unix.WNOHANG, nil)
		if pid <= 0 && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}
