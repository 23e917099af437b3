package testkit

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Program returns the path of a program of this project, for a test two directories below the
// root. It skips the test if the program has not been built.
func Program(t testing.TB, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", "bin", name))
	require.NoError(t, err)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("needs bin/%s, which \"make test\" builds", name)
	}
	return path
}

// A Process is a program that a test has started. It is killed at the end of the test if it still
// runs. If the test fails, its stderr is printed.
type Process struct {
	T      testing.TB
	Name   string // in messages
	Cmd    *exec.Cmd
	Stdin  io.WriteCloser // open until the process ends or the test closes it
	Stdout Transcript
	Stderr Transcript

	waiting sync.WaitGroup
	ended   chan struct{} // closed when the process has ended and all its output has been read
}

// StartProgram starts a program of this project.
func StartProgram(t testing.TB, name string, args ...string) *Process {
	t.Helper()
	return Start(t, name, exec.Command(Program(t, name), args...))
}

// Start starts a command with only PATH from the environment and with a new state directory;
// cmd.Env can override both. If keep is given, only lines of stdout that begin with one of these
// texts are kept.
func Start(t testing.TB, name string, cmd *exec.Cmd, keep ...string) *Process {
	t.Helper()
	p := &Process{T: t, Name: name, Cmd: cmd, ended: make(chan struct{})}
	p.Stdout.keep = keep
	// HEARTBEAT_SERVER is not passed on, and the state of a real collector on this host is not
	// used.
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "STATE_DIRECTORY=" + stateDirectory(t)}, cmd.Env...)
	cmd.Stdout, cmd.Stderr = &p.Stdout, &p.Stderr
	var err error
	p.Stdin, err = cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	p.waiting.Go(func() { // ends when cleanUp kills the process, at the latest
		defer close(p.ended)
		var exit *exec.ExitError
		if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
			t.Errorf("%s: %v", name, err)
		}
	})
	t.Cleanup(p.cleanUp)
	return p
}

// stateDirectory returns a directory that is removed at the end of the test. If Telegraf is
// killed, its external plugin runs a moment longer and saves its state once more, so the removal
// is repeated until it succeeds.
func stateDirectory(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "state")
	require.NoError(t, err)
	t.Cleanup(func() {
		Until(t, "the end of what writes to "+dir, func() bool { return os.RemoveAll(dir) == nil })
	})
	return dir
}

func (p *Process) cleanUp() {
	if p.Running() {
		p.Signal(syscall.SIGKILL)
	}
	p.waiting.Wait()
	if p.T.Failed() {
		p.T.Logf("stderr of %s (%s):\n%s", p.Name, p.Cmd.ProcessState, strings.Join(p.Stderr.All(), "\n"))
	}
}

// PID returns the process id.
func (p *Process) PID() int { return p.Cmd.Process.Pid }

// Running reports whether the process has not ended yet.
func (p *Process) Running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// Signal sends s. It does nothing if the process has ended.
func (p *Process) Signal(s os.Signal) {
	if err := p.Cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.T.Errorf("%s: %v", p.Name, err)
	}
}

// Say writes to stdin.
func (p *Process) Say(text string) {
	p.T.Helper()
	_, err := io.WriteString(p.Stdin, text)
	require.NoError(p.T, err)
}

// Kill sends SIGKILL and waits for the end.
func (p *Process) Kill() {
	p.T.Helper()
	p.Signal(syscall.SIGKILL)
	p.Exit()
}

// Exit waits for the end and returns the exit code, or -1 after a signal.
func (p *Process) Exit() int {
	p.T.Helper()
	Until(p.T, "the end of "+p.Name, func() bool { return !p.Running() })
	return p.Cmd.ProcessState.ExitCode()
}

// Until waits until done returns true. It fails the test at once if the process ends before that.
func (p *Process) Until(what string, done func() bool) {
	p.T.Helper()
	ended := false
	Until(p.T, what, func() bool {
		ended = !p.Running() // before done, which may look for the last output
		return done() || ended
	})
	if ended && !done() {
		p.T.Fatalf("%s ended (%s) before %s", p.Name, p.Cmd.ProcessState, what)
	}
}
