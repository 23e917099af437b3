package job

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

// A group has no meaning on Windows.
type group struct{}

// prepare begins to receive Ctrl-C.
func (j *Job) prepare() {
	j.signals = make(chan os.Signal, 1)
	signal.Notify(j.signals, os.Interrupt)
}

func (*Job) attributes() *syscall.SysProcAttr { return nil }

func (j *Job) start([]string, []string) error { return j.cmd.Start() }

// forward does nothing: the console sends Ctrl-C to both processes.
func (*Job) forward(os.Signal) {}

// send kills the job; Windows has no gentler way.
func (j *Job) send(syscall.Signal) {
	j.cmd.Process.Kill() //nolint:errcheck // it may have ended
}

func (j *Job) wait() End {
	var exit *exec.ExitError
	if err := j.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		return End{Code: CannotRun}
	}
	return End{Code: j.cmd.ProcessState.ExitCode()}
}
