package watch

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/proc"
)

const patience = 20 * time.Second // for what takes milliseconds on an idle machine

// A child is a process of ours.
type child struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.Closer
	out   *bufio.Reader
	over  bool
}

// start runs a shell script; what it waits for on stdin comes with release.
func start(t *testing.T, script string) *child {
	t.Helper()
	return startCommand(t, exec.Command("sh", "-c", script))
}

// sleeper runs until it is killed.
func sleeper(t *testing.T) *child {
	t.Helper()
	return startCommand(t, exec.Command("sleep", "3600"))
}

func startCommand(t *testing.T, cmd *exec.Cmd) *child {
	t.Helper()
	c := &child{t: t, cmd: cmd}
	var err error
	c.stdin, err = cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	c.out = bufio.NewReader(out)
	require.NoError(t, cmd.Start())
	t.Cleanup(c.kill)
	return c
}

func (c *child) pid() uint32 { return uint32(c.cmd.Process.Pid) }

func (c *child) process() Process { return Process{PID: c.pid(), StartMS: proc.StartMS(c.pid())} }

func (c *child) line() string {
	c.t.Helper()
	line, err := c.out.ReadString('\n')
	require.NoError(c.t, err)
	return strings.TrimSpace(line)
}

// release closes stdin and reaps.
func (c *child) release() {
	c.stdin.Close()
	c.reap()
}

func (c *child) kill() {
	if !c.over {
		_ = c.cmd.Process.Kill()
		c.reap()
	}
}

func (c *child) reap() {
	c.over = true
	_ = c.cmd.Wait()
}

// watchOf returns the watch over a target of a Watcher that tells nobody.
func watchOf(target Target) *watch {
	return (&Watcher{Targets: []Target{target}}).watches(func(int, State) {}, nil)[0]
}

// A watched is a Watcher that runs.
type watched struct {
	t        *testing.T
	states   chan State
	warnings chan string
	stop     func() // and wait
	history  []State
}

// run watches targets until the test ends. Their reports are not told apart.
func run(t *testing.T, targets ...Target) *watched {
	t.Helper()
	w := &watched{t: t, states: make(chan State, 1000), warnings: make(chan string, 1000)}
	watcher := &Watcher{
		Targets: targets,
		Report:  func(_ int, s State) { w.states <- s },
		Warnf:   func(format string, args ...any) { w.warnings <- fmt.Sprintf(format, args...) },
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { // ends with ctx
		defer close(done)
		watcher.Run(ctx)
	}()
	w.stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(w.stop)
	return w
}

// next returns the next report.
func (w *watched) next() State {
	w.t.Helper()
	select {
	case s := <-w.states:
		w.history = append(w.history, s)
		return s
	case <-time.After(patience):
		require.FailNow(w.t, "nothing was reported any more", "%+v", w.history)
		return State{}
	}
}

// until waits for a phase, and returns its state.
func (w *watched) until(p Phase) State {
	w.t.Helper()
	for {
		if s := w.next(); s.Phase == p {
			return s
		}
	}
}

func (w *watched) requireNever(p Phase) {
	w.t.Helper()
	require.False(w.t, slices.ContainsFunc(w.history, func(s State) bool { return s.Phase == p }), "%+v", w.history)
}

func (w *watched) warning() string {
	w.t.Helper()
	select {
	case text := <-w.warnings:
		return text
	case <-time.After(patience):
		require.FailNow(w.t, "nobody was warned")
		return ""
	}
}

// replace writes a file so that nobody reads a part of it.
func replace(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path+"~", []byte(text), 0o600))
	require.NoError(t, os.Rename(path+"~", path))
}

// A systemd is played by a script on PATH.
type systemd struct {
	t   *testing.T
	dir string
}

const fakeSystemctl = `#!/bin/sh
cd "$FAKE_SYSTEMD" || exit
echo "$LC_ALL $*" >>calls
while [ -e hanging ]; do sleep 0.01; done
if [ -e broken ]; then
	grep . broken >&2 || echo 'Failed to connect to bus' >&2
	exit 1
fi
case $1 in
is-system-running)
	cat host
	exit 1 # as for anything but "running"
	;;
list-units) cat list-units ;;
show)
	while [ "$1" != -- ]; do shift; done
	shift
	for unit; do
		cat "$unit"
		echo
	done
	;;
esac
`

func newSystemd(t *testing.T) *systemd {
	t.Helper()
	s := &systemd{t: t, dir: t.TempDir()}
	bin := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(bin, "systemctl"), []byte(fakeSystemctl), 0o700)) //nolint:gosec // it is a program
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv("FAKE_SYSTEMD", s.dir)
	s.set("host", "degraded\n")
	s.set("list-units", "")
	return s
}

func (s *systemd) set(name, text string) {
	s.t.Helper()
	replace(s.t, filepath.Join(s.dir, name), text)
}

func (s *systemd) remove(name string) {
	s.t.Helper()
	require.NoError(s.t, os.Remove(filepath.Join(s.dir, name)))
}

// unit sets what is said of a service, with active, sub and result state.
func (s *systemd) unit(name, states string, more ...string) {
	s.t.Helper()
	words := strings.Fields(states)
	lines := append([]string{
		"Result=" + words[2], "ExecMainStartTimestampMonotonic=1",
		"Id=" + name, "LoadState=loaded", "ActiveState=" + words[0], "SubState=" + words[1],
	}, more...)
	s.set(name, strings.Join(lines, "\n")+"\n")
}

func mainPID(c *child) string { return "MainPID=" + strconv.Itoa(c.cmd.Process.Pid) }

// calls returns with which arguments systemctl was called, but for the question
// whether the host is stopping.
func (s *systemd) calls() []string {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "calls"))
	if !os.IsNotExist(err) {
		require.NoError(s.t, err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return slices.DeleteFunc(lines, func(l string) bool { return l == "" || strings.Contains(l, "is-system-running") })
}
