// Package job runs a command with the standard streams of this program, forwards signals
// to it, ends it if it takes too long, and reports how it ended and whether that was
// requested. It knows processes, signals and terminals; it knows nothing about
// heartbeats, collectors or settings.
package job

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// Exit codes, as a shell reports them.
const (
	CannotRun = 126 // the command exists, but cannot be started
	NotFound  = 127
	Signalled = 128 // plus the number of the signal
)

const (
	killDelay = 10 * time.Second      // from SIGTERM to SIGKILL
	askDelay  = 20 * time.Millisecond // wait for a signal that reached the job before us
	stopTime  = 90 * time.Second      // an end that follows a signal within this time was requested, as with systemd
)

// A Job is a command that runs with our standard streams.
type Job struct {
	Name string // of the program

	cmd     *exec.Cmd
	signals chan os.Signal // signals that we receive
	group   group          // its process group
}

// An End is how a job ended.
type End struct {
	Code    int    // as a shell reports it
	Signal  string // the signal that ended it, such as SIGKILL; empty for none
	Asked   bool   // it was asked to end
	Overran bool   // it took longer than its limit

	by os.Signal // the signal that ended it; nil for none
}

// Start starts a command. If that fails, it still returns the job, which has no
// process; do not call Wait then.
func Start(args, environ []string) (*Job, error) {
	j := new(Job)
	j.prepare()
	j.command(environ, args[0], args[1:]...)
	j.Name = filepath.Base(j.cmd.Path)
	return j, j.start(environ, args[1:])
}

// command prepares the command of j.
func (j *Job) command(environ []string, name string, args ...string) {
	j.cmd = exec.Command(name, args...) //nolint:noctx // it ends by itself
	if errors.Is(j.cmd.Err, exec.ErrDot) {
		j.cmd.Err = nil // "." in PATH is intended
	}
	j.cmd.Env = environ
	j.cmd.Stdin, j.cmd.Stdout, j.cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	j.cmd.SysProcAttr = j.attributes()
}

// PID returns the process ID, or 0 if the job was not started.
func (j *Job) PID() uint32 {
	if j.cmd.Process == nil {
		return 0
	}
	return uint32(j.cmd.Process.Pid)
}

// StartCode returns the exit code of a shell for a command that it cannot start.
func StartCode(err error) int {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return NotFound
	}
	return CannotRun
}

// Wait waits until the job has ended. Meanwhile it forwards signals, and ends the job
// after limit; 0 is no limit.
func (j *Job) Wait(limit time.Duration) End {
	ended := make(chan End, 1)
	go func() { ended <- j.wait() }() // ends when the job does
	var late <-chan time.Time
	if limit > 0 {
		late = time.After(limit)
	}
	var asked endRequest
	overran := false
	for {
		select {
		case sig := <-j.signals:
			asked.note(sig)
			j.forward(sig)
		case <-late:
			sig := syscall.SIGTERM
			if overran {
				sig = syscall.SIGKILL
			}
			overran = true
			late = time.After(killDelay)
			j.send(sig)
		case end := <-ended:
			j.drain(&asked, end)
			end.Asked, end.Overran = asked.explains(end), overran
			return end
		}
	}
}

// drain records signals that arrive late: a signal to the whole process group reaches
// the job and us in any order.
func (j *Job) drain(asked *endRequest, end End) {
	var late <-chan time.Time
	if end.Signal != "" {
		late = time.After(askDelay)
	}
	for {
		select {
		case sig := <-j.signals:
			asked.note(sig)
			continue
		default:
		}
		if late == nil || asked.explains(end) {
			return
		}
		select {
		case sig := <-j.signals:
			asked.note(sig)
		case <-late:
			late = nil
		}
	}
}

// An endRequest records how a job was asked to end.
type endRequest struct {
	stop  time.Time   // when it was last asked to stop
	other []os.Signal // signals with other possible meanings
}

func (a *endRequest) note(sig os.Signal) {
	switch sig {
	case os.Interrupt, syscall.SIGTERM:
		a.stop = time.Now()
	case syscall.SIGHUP, syscall.SIGQUIT: // a reload, a dump of threads
		a.other = append(a.other, sig)
	}
}

// explains reports whether a job ended because it was asked to.
func (a *endRequest) explains(end End) bool {
	return time.Since(a.stop) < stopTime || slices.Contains(a.other, end.by)
}

// isFromKeys reports whether a signal usually comes from the keyboard. If so, the
// terminal has sent it to the job too.
func isFromKeys(sig syscall.Signal) bool { return sig == syscall.SIGINT || sig == syscall.SIGQUIT }
