//go:build linux

package faults

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
	"golang.org/x/sys/unix"
)

const (
	// patience is at least ten times what is waited for without a time of its
	// own.
	patience = 90 * time.Second
	glance   = 20 * time.Millisecond // between two looks at what is waited for
)

// program returns the path of a program of this project.
func program(t testing.TB, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", "bin", name))
	require.NoError(t, err)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("needs bin/%s, which \"make build\" builds", name)
	}
	return path
}

// A process is a program that a test has started. It is killed at the end of
// the test if it still runs, and a test that failed shows what it said.
type process struct {
	t      testing.TB
	name   string
	diary  *diary
	cmd    *exec.Cmd
	stdin  io.Closer // open as long as this process lives
	stdout transcript
	stderr transcript

	waiting sync.WaitGroup
	ended   chan struct{} // closed when nothing of it is left
}

func (n *network) start(name string, cmd *exec.Cmd) *process {
	t := n.t
	t.Helper()
	p := &process{t: t, name: name, diary: n.diary, cmd: cmd, ended: make(chan struct{})}
	// Nothing from outside: no HEARTBEAT_SERVER, no state of a collector that
	// runs here for real. And nothing outlasts the test, however that ends.
	cmd.Env = append(cmd.Env, "PATH="+os.Getenv("PATH"), "STATE_DIRECTORY="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stdout, cmd.Stderr = &p.stdout, &p.stderr
	var err error
	p.stdin, err = cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	p.waiting.Go(func() { // ends when cleanUp kills it, at the latest
		defer close(p.ended)
		var exit *exec.ExitError
		if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
			t.Errorf("%s: %v", name, err)
		}
	})
	t.Cleanup(p.cleanUp)
	return p
}

func (p *process) cleanUp() {
	if p.running() {
		p.signal(syscall.SIGKILL)
	}
	p.waiting.Wait()
	if p.t.Failed() {
		p.t.Logf("%s (%s) said on stderr:\n%s", p.name, p.cmd.ProcessState, strings.Join(p.stderr.texts(), "\n"))
	}
}

func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

func (p *process) signal(s syscall.Signal) {
	p.diary.note("kill -%s <%s>", strings.TrimPrefix(unix.SignalName(s), "SIG"), p.name)
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("%s: %v", p.name, err)
	}
}

// kill gives p no time for anything, and returns when p is gone.
func (p *process) kill() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
	until(p.t, "the end of "+p.name, func() bool { return !p.running() })
}

// until waits until done, which is called again and again.
func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	if !within(patience, done) {
		t.Fatalf("in vain waited for %s", what)
	}
}

// within waits until done, no longer than limit, and reports whether it is.
func within(limit time.Duration, done func() bool) bool {
	over := time.After(limit)
	looks := time.NewTicker(glance)
	defer looks.Stop()
	for !done() {
		select {
		case <-looks.C:
		case <-over:
			return done()
		}
	}
	return true
}

// A line is what a process has printed, and when it came.
type line struct {
	text string
	at   time.Time
}

// A transcript is what a process has printed, line by line.
type transcript struct {
	mu    sync.Mutex // guards the rest
	lines []line
	rest  []byte // begins a line
}

// Write takes in what is printed.
func (tr *transcript) Write(text []byte) (int, error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	now := time.Now()
	tr.rest = append(tr.rest, text...)
	for {
		text, rest, ok := bytes.Cut(tr.rest, []byte("\n"))
		if !ok {
			break
		}
		tr.rest = rest
		tr.lines = append(tr.lines, line{string(text), now})
	}
	return len(text), nil
}

// from returns the complete lines from the given one on.
func (tr *transcript) from(first int) []line {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return slices.Clone(tr.lines[first:])
}

func (tr *transcript) texts() []string {
	lines := tr.from(0)
	texts := make([]string, 0, len(lines))
	for _, l := range lines {
		texts = append(texts, l.text)
	}
	return texts
}

// says reports whether a line holds text.
func (tr *transcript) says(text string) bool {
	return slices.ContainsFunc(tr.from(0), func(l line) bool { return strings.Contains(l.text, text) })
}
