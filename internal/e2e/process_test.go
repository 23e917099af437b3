//go:build unix

package e2e

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	// patience is at least ten times what anything here takes. Telegraf
	// gathers every ten seconds.
	patience = 2 * time.Minute
	glance   = 50 * time.Millisecond // between two looks at what is waited for
)

// program returns the path of a program of this project.
func program(t testing.TB, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", "bin", name))
	require.NoError(t, err)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("needs bin/%s, which \"make test\" builds", name)
	}
	return path
}

// A process is a program that a test has started. It is killed at the end of
// the test if it still runs, and a test that failed shows what it said.
type process struct {
	t      testing.TB
	name   string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout transcript
	stderr transcript

	waiting sync.WaitGroup
	ended   chan struct{} // closed when it has ended and nothing of it is left
}

// start starts a program of this project.
func start(t testing.TB, name string, args ...string) *process {
	t.Helper()
	p := newProcess(t, name, exec.Command(program(t, name), args...))
	p.start()
	return p
}

func newProcess(t testing.TB, name string, cmd *exec.Cmd) *process {
	return &process{t: t, name: name, cmd: cmd, ended: make(chan struct{})}
}

func (p *process) start() {
	p.t.Helper()
	// Nothing from outside: no HEARTBEAT_SERVER, and no state of a collector
	// that runs here for real.
	p.cmd.Env = append(p.cmd.Env, "PATH="+os.Getenv("PATH"), "STATE_DIRECTORY="+stateDirectory(p.t))
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	var err error
	p.stdin, err = p.cmd.StdinPipe()
	require.NoError(p.t, err)
	require.NoError(p.t, p.cmd.Start())
	p.waiting.Go(func() { // ends when cleanUp kills it, at the latest
		defer close(p.ended)
		var exit *exec.ExitError
		if err := p.cmd.Wait(); err != nil && !errors.As(err, &exit) {
			p.t.Errorf("%s: %v", p.name, err)
		}
	})
	p.t.Cleanup(p.cleanUp)
}

// stateDirectory returns a directory for the state of a process. A Telegraf that
// is killed leaves its external plugin behind for a moment, which saves there once
// more.
func stateDirectory(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "state")
	require.NoError(t, err)
	t.Cleanup(func() {
		until(t, "the end of what writes to "+dir, func() bool { return os.RemoveAll(dir) == nil })
	})
	return dir
}

func (p *process) cleanUp() {
	if p.running() {
		p.signal(syscall.SIGKILL)
	}
	p.waiting.Wait()
	if p.t.Failed() {
		p.t.Logf("%s (%s) said on stderr:\n%s", p.name, p.cmd.ProcessState, strings.Join(p.stderr.all(), "\n"))
	}
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

func (p *process) signal(s os.Signal) {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("%s: %v", p.name, err)
	}
}

// say writes to the stdin of p.
func (p *process) say(text string) {
	p.t.Helper()
	_, err := io.WriteString(p.stdin, text)
	require.NoError(p.t, err)
}

// kill gives p no time for anything.
func (p *process) kill() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
	p.exit()
}

// exit waits for the end of p and returns its exit code, or -1 if it was
// killed.
func (p *process) exit() int {
	p.t.Helper()
	until(p.t, "the end of "+p.name, func() bool { return !p.running() })
	return p.cmd.ProcessState.ExitCode()
}

// until waits for what p does. The end of p is the end of waiting.
func (p *process) until(what string, done func() bool) {
	p.t.Helper()
	ended := false
	until(p.t, what, func() bool {
		ended = !p.running() // first: its last words count
		return done() || ended
	})
	if ended && !done() {
		p.t.Fatalf("%s has ended (%s), waiting for %s is in vain", p.name, p.cmd.ProcessState, what)
	}
}

// until waits until done, which is called again and again.
func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	limit := time.After(patience)
	looks := time.NewTicker(glance)
	defer looks.Stop()
	for !done() {
		select {
		case <-looks.C:
		case <-limit:
			t.Fatalf("in vain waited for %s", what)
		}
	}
}

// A transcript is what a process has printed, line by line.
type transcript struct {
	only []string // beginnings of the lines that are kept; none for all

	mu    sync.Mutex // guards the rest
	lines []string
	rest  []byte // begins a line
}

// Write takes in what is printed.
func (tr *transcript) Write(text []byte) (int, error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.rest = append(tr.rest, text...)
	for {
		line, rest, ok := bytes.Cut(tr.rest, []byte("\n"))
		if !ok {
			return len(text), nil
		}
		tr.rest = rest
		if tr.wanted(string(line)) {
			tr.lines = append(tr.lines, string(line))
		}
	}
}

func (tr *transcript) wanted(line string) bool {
	return len(tr.only) == 0 ||
		slices.ContainsFunc(tr.only, func(begin string) bool { return strings.HasPrefix(line, begin) })
}

// all returns the lines that are complete.
func (tr *transcript) all() []string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return slices.Clone(tr.lines)
}

// with returns the lines that hold text.
func (tr *transcript) with(text string) []string {
	return slices.DeleteFunc(tr.all(), func(line string) bool { return !strings.Contains(line, text) })
}
