package main

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
)

// A job is a command that runs on our behalf, with our standard streams.
type job struct {
	name    string // of the program
	cmd     *exec.Cmd
	signals chan os.Signal // that we get
}

// startJob returns a job even if it could not be started.
func startJob(args, environ []string) (*job, error) {
	cmd := exec.Command(args[0], args[1:]...) //nolint:noctx // it ends when it wants to
	j := &job{name: filepath.Base(cmd.Path), cmd: cmd, signals: make(chan os.Signal, 1)}
	if errors.Is(j.cmd.Err, exec.ErrDot) {
		j.cmd.Err = nil
	}
	j.cmd.Env = environ
	j.cmd.Stdin, j.cmd.Stdout, j.cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	signal.Notify(j.signals, os.Interrupt)
	return j, j.cmd.Start()
}

// pass does nothing: the console sends Ctrl-C to both of us.
func (j *job) pass(os.Signal) {}

// send ends the job; Windows has no milder way.
func (j *job) send(syscall.Signal) {
	j.cmd.Process.Kill() //nolint:errcheck // it may have ended
}

func (j *job) wait() jobEnd {
	var exit *exec.ExitError
	if err := j.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		return jobEnd{code: exitCannotRun}
	}
	return jobEnd{code: j.cmd.ProcessState.ExitCode()}
}
