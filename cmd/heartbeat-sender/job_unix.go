//go:build unix

package main

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A job is a command that runs on our behalf, with our standard streams.
type job struct {
	name    string // of the program
	cmd     *exec.Cmd
	signals chan os.Signal // that we get

	// With a terminal it stays in our process group: so keys, job control,
	// pipes and scripts around us work as without us. Else it leads one of its
	// own, so that a signal can reach all of it.
	terminal bool
	witness  *witness // of the signals to that group, in a terminal
}

// passed are the signals that are handed on.
var passed = []os.Signal{
	syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM,
	syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM, syscall.SIGWINCH, syscall.SIGCONT,
}

// startJob returns a job even if it could not be started.
func startJob(args, environ []string) (*job, error) {
	j := &job{signals: make(chan os.Signal, len(passed)), terminal: inTerminal()}
	j.command(environ, args[0], args[1:]...)
	j.name = filepath.Base(j.cmd.Path)
	if j.terminal {
		j.witness = newWitness()
	}
	for _, sig := range passed {
		if !signal.Ignored(sig) { // what we were told to ignore, it ignores too
			signal.Notify(j.signals, sig)
		}
	}
	err := j.cmd.Start()
	if errors.Is(err, syscall.ENOEXEC) && j.startScript(environ, args[1:]) == nil {
		err = nil
	}
	return j, err
}

// command makes j a program that is to be started.
func (j *job) command(environ []string, name string, args ...string) {
	j.cmd = exec.Command(name, args...) //nolint:noctx // it ends when it wants to
	if errors.Is(j.cmd.Err, exec.ErrDot) {
		j.cmd.Err = nil // whoever has "." in PATH means it
	}
	j.cmd.Env = environ
	j.cmd.Stdin, j.cmd.Stdout, j.cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	j.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: !j.terminal}
}

// startScript has the shell run what the kernel knows no format of: a script
// without "#!". So do execvp(3), and with it cron, nice and nohup.
func (j *job) startScript(environ, args []string) error {
	script := j.cmd.Path
	if !strings.Contains(script, "/") { // found in "."; its name may begin with "-"
		script = "./" + script
	}
	j.command(environ, "/bin/sh", append([]string{script}, args...)...)
	return j.cmd.Start()
}

// inTerminal tells whether there is a terminal that controls us.
func inTerminal() bool {
	terminal, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	terminal.Close()
	return true
}

// pass hands on a signal, unless the job has got it too.
func (j *job) pass(sig os.Signal) {
	number := sig.(syscall.Signal)
	if j.terminal && j.witness.saw(number) {
		return
	}
	j.send(number)
}

// send signals the job. If it ended a moment ago, nobody gets the signal.
func (j *job) send(sig syscall.Signal) {
	to := j.cmd.Process.Pid
	if !j.terminal {
		to = -to
	}
	syscall.Kill(to, sig) //nolint:errcheck // see above
}

// wait returns how the job ended. Process 1 of a container inherits processes
// whose parents have ended; they are reaped here.
func (j *job) wait() jobEnd {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil: // it cannot be waited for, which nobody can explain
			return jobEnd{code: exitCannotRun}
		case pid == j.cmd.Process.Pid && status.Signaled():
			sig := status.Signal()
			return jobEnd{code: exitSignalled + int(sig), by: sig, signal: unix.SignalName(sig)}
		case pid == j.cmd.Process.Pid:
			return jobEnd{code: status.ExitStatus()}
		}
	}
}
