//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

// sleeper starts a process that does nothing until the test ends.
func sleeper(t testing.TB) *testkit.Process {
	t.Helper()
	return testkit.Start(t, "sleep", exec.Command("sleep", "3600"))
}

// watching starts a heartbeat-sender that watches, and waits until the
// collector knows its n peers.
func watching(p *post, n int, flags ...string) *testkit.Process {
	p.t.Helper()
	args := append([]string{
		"run", "-config", os.DevNull, "-server", "tcp://" + p.address, "-host", "web-1", "-interval", "10s",
	}, flags...)
	s := testkit.StartProgram(p.t, "heartbeat-sender", args...)
	p.untilAll(n)
	return s
}

// A watched process that dies is told dead at once, with how it ended, and its
// host lives on.
func TestTargetThatDiesIsToldAtOnce(t *testing.T) {
	t.Parallel()
	p := newPost(t)
	p.relieve()
	target := sleeper(t)
	watching(p, 2, "-pid", strconv.Itoa(target.PID()))
	killed := time.Now()
	target.Signal(syscall.SIGKILL)
	p.now().Until("the death", func() bool { return len(p.events("state", "dead")) > 0 })
	require.Less(t, time.Since(killed), time.Second, "ten times what it may take")
	require.Equal(t, []string{"alive beat", "dead exited"}, p.states("web-1", "sleep"))
	require.Equal(t, []string{"alive beat"}, p.states("web-1", "host"))
}

// A process that is back within the grace was restarted, and nothing else.
func TestTargetThatComesBackWasRestarted(t *testing.T) {
	t.Parallel()
	p := newPost(t)
	p.relieve()
	file := filepath.Join(t.TempDir(), "shop.pid")
	first := sleeper(t)
	write(t, file, strconv.Itoa(first.PID()))
	const interval = time.Second
	s := watching(p, 2, "-pid-file", file, "-restart-grace", "1m", "-interval", interval.String())
	first.Kill()
	s.Until("it to notice", func() bool { return s.Stderr.Says("ended; waiting ") })
	pause(2 * silence(interval)) // the grace is the sender's, whatever silence a collector allows
	second := sleeper(t)
	write(t, file, strconv.Itoa(second.PID()))
	p.now().Until("the restart", func() bool { return restartsOfShop(p) > 0 })
	require.EqualValues(t, 1, restartsOfShop(p))
	require.Empty(t, p.events("state", "dead"))
	require.Empty(t, p.events("state", "suspect"))
	require.Empty(t, p.events("state", "left"))
	require.EqualValues(t, second.PID(), number(t, p.look(2)["web-1/shop"], "last_pid"))
}

func restartsOfShop(p *post) int64 { return number(p.t, p.look(2)["web-1/shop"], "restarts_total") }

// A unit ends in four ways, and each is told as what it is.
func TestUnits(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		then []string // what systemctl says, one after the other; PID for another process
		want []string
	}{
		"failed":  {[]string{"ActiveState=failed SubState=failed Result=signal MainPID=0 ExecMainCode=2 ExecMainStatus=9"}, []string{"alive beat", "dead exited"}},
		"stopped": {[]string{"ActiveState=inactive SubState=dead Result=success MainPID=0 ExecMainCode=1 ExecMainStatus=0"}, []string{"alive beat", "left leaving"}},
		"auto-restart": {
			[]string{"ActiveState=activating SubState=auto-restart Result=signal MainPID=0", "ActiveState=active SubState=running Result=success MainPID=PID"},
			[]string{"alive beat", "alive restarted"},
		},
		"gave up": {
			[]string{"ActiveState=activating SubState=auto-restart Result=exit-code MainPID=0", "ActiveState=failed SubState=failed Result=start-limit-hit MainPID=0 ExecMainCode=1 ExecMainStatus=3"},
			[]string{"alive beat", "dead exited"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPost(t)
			p.relieve()
			dir := t.TempDir()
			script := fmt.Sprintf("#!/bin/sh\ncase $1 in show) cat %s/shown;; esac\n", dir)
			require.NoError(t, os.WriteFile(filepath.Join(dir, "systemctl"), []byte(script), 0o700))
			target := sleeper(t)
			shows(t, dir, "ActiveState=active SubState=running Result=success MainPID="+strconv.Itoa(target.PID()))
			s := testkit.Start(t, "heartbeat-sender", exec.Command("env", "PATH="+dir+":"+os.Getenv("PATH"), testkit.Program(t, "heartbeat-sender"),
				"run", "-config", os.DevNull, "-server", "tcp://"+p.address, "-host", "web-1", "-systemd-unit", "shop"))
			p.untilAll(2)

			next := sleeper(t)
			for i, shown := range tt.then {
				shows(t, dir, string(bytes.ReplaceAll([]byte(shown), []byte("PID=PID"), fmt.Appendf(nil, "PID=%d", next.PID()))))
				if i == 0 {
					target.Kill()
					s.Until("it to notice", func() bool { return len(s.Stderr.With("shop: ")) > 1 })
				}
			}
			p.now().Until(name, func() bool { return len(p.states("web-1", "shop")) == len(tt.want) })
			require.Equal(t, tt.want, p.states("web-1", "shop"))
		})
	}
}

// shows makes the fake systemctl say so of the unit.
func shows(t testing.TB, dir, properties string) {
	t.Helper()
	text := bytes.ReplaceAll([]byte("Id=shop.service LoadState=loaded Job= "+properties), []byte(" "), []byte("\n"))
	write(t, filepath.Join(dir, "shown"), string(text))
}

// write replaces a file at one blow.
func write(t testing.TB, file, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(file+".new", []byte(text+"\n"), 0o600))
	require.NoError(t, os.Rename(file+".new", file))
}

// Whoever kills a sender kills nobody that it watches.
func TestKilledSenderTakesNobodyWithIt(t *testing.T) {
	t.Parallel()
	p := newPost(t, `disconnect_grace = "1s"`)
	p.relieve()
	s := watching(p, 2, "-pid", strconv.Itoa(sleeper(t).PID()))
	s.Kill()
	p.now().Until("the end of the connection", func() bool { return len(p.events("state", "suspect")) > 0 })
	pause(3 * time.Second)
	p.requireNoDeath()
}

// All that a sender speaks for leaves with it, and it may promise to be back.
func TestSenderThatIsStoppedTakesEverybodyAlong(t *testing.T) {
	t.Parallel()
	p := newPost(t)
	p.relieve()
	s := watching(p, 2, "-pid", strconv.Itoa(sleeper(t).PID()), "-back-in", "2s")
	s.Signal(syscall.SIGTERM)
	require.Zero(t, s.Exit())
	require.Equal(t, "left leaving", last(p.states("web-1", "sleep")))
	require.Equal(t, "left leaving", last(p.states("web-1", "host")))
	p.now().Until("both to be overdue", func() bool { return len(p.events("state", "dead")) == 2 })
	require.Equal(t, "dead overdue", last(p.states("web-1", "host")))
}

// Fifty services cost one small process.
func TestFiftyServicesAreCheap(t *testing.T) {
	t.Parallel()
	const services, budget = 50, 10 << 20 // bytes
	p := newPost(t)
	p.relieve()
	dir := t.TempDir()
	config := new(strings.Builder)
	fmt.Fprintf(config, "server = \"tcp://%s\"\nhost = \"web-1\"\ninterval = \"1s\"\n", p.address)
	for i := range services {
		file := filepath.Join(dir, fmt.Sprintf("service-%02d.pid", i))
		write(t, file, strconv.Itoa(sleeper(t).PID()))
		fmt.Fprintf(config, "[[watch]]\npid_file = %q\n", file)
	}
	write(t, filepath.Join(dir, "sender.toml"), config.String())
	s := testkit.StartProgram(t, "heartbeat-sender", "run", "-config", filepath.Join(dir, "sender.toml"))
	peers := p.untilAll(services + 1)
	begin := total(t, peers, "beats_total")
	p.now().Until("ten beats of all", func() bool { return total(t, p.look(services+1), "beats_total") >= begin+10*(services+1) })
	used := peak(t, s)
	t.Logf("a sender for %d services and its host: %.1f MB at most", services, float64(used)/1e6)
	require.LessOrEqual(t, used, budget)
	require.Zero(t, total(t, p.look(services+1), "lost_total"))
}

// peak returns the most memory that a process ever had resident, in bytes.
func peak(t testing.TB, p *testkit.Process) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	require.NoError(t, err)
	_, rest, found := bytes.Cut(status, []byte("VmHWM:"))
	require.True(t, found)
	kib, err := strconv.Atoi(string(bytes.Fields(rest)[0]))
	require.NoError(t, err)
	return kib << 10
}
