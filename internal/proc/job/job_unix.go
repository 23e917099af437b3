//go:build unix

package job

import (
	"errors"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A group is the process group of a job. With a terminal, it is our own group, so that
// keys, job control, pipes and scripts work as without us. Without a terminal, the job
// has its own group, so that a signal can reach all of its processes.
type group struct {
	terminal bool
	witness  *witness // of signals to our group, in a terminal
}

// forwarded are the signals that are forwarded to the job.
var forwarded = []os.Signal{
	syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM,
	syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM, syscall.SIGWINCH, syscall.SIGCONT,
}

// prepare begins to receive signals.
func (j *Job) prepare() {
	if j.group.terminal = inTerminal(); j.group.terminal {
		j.group.witness = newWitness()
	}
	j.signals = make(chan os.Signal, len(forwarded))
	for _, sig := range forwarded {
		if !signal.Ignored(sig) { // the job ignores the signals that we ignore
			signal.Notify(j.signals, sig)
		}
	}
}

func (j *Job) attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: !j.group.terminal}
}

// start starts the command. If the kernel does not know its format, for example of a
// script without "#!", the shell runs it, as with execvp(3), cron, nice and nohup.
func (j *Job) start(environ, args []string) error {
	err := j.cmd.Start()
	if !errors.Is(err, syscall.ENOEXEC) {
		return err
	}
	script := j.cmd.Path
	if !strings.Contains(script, "/") { // found in "."; its name may begin with "-"
		script = "./" + script
	}
	j.command(environ, "/bin/sh", append([]string{script}, args...)...)
	if j.cmd.Start() != nil {
		return err
	}
	return nil
}

// inTerminal reports whether we have a controlling terminal.
func inTerminal() bool {
	terminal, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	terminal.Close()
	return true
}

// forward sends a signal to the job, unless the job has received it too.
func (j *Job) forward(sig os.Signal) {
	number := sig.(syscall.Signal)
	if j.group.terminal && j.group.witness.saw(number) {
		return
	}
	j.send(number)
}

// send sends a signal to the job or its group. If the job has just ended, the signal is
// lost.
func (j *Job) send(sig syscall.Signal) {
	to := j.cmd.Process.Pid
	if !j.group.terminal {
		to = -to
	}
	syscall.Kill(to, sig) //nolint:errcheck // see above
}

// wait returns how the job ended. As process 1 of a container, it also reaps processes
// whose parents have ended.
func (j *Job) wait() End {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil: // should not happen
			return End{Code: CannotRun}
		case pid == j.cmd.Process.Pid && status.Signaled():
			sig := status.Signal()
			return End{Code: Signalled + int(sig), by: sig, Signal: unix.SignalName(sig)}
		case pid == j.cmd.Process.Pid:
			return End{Code: status.ExitStatus()}
		}
	}
}
