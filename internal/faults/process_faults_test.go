//go:build linux

package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

const (
	app  = "web-1/app"
	host = "web-1/host"
)

// With an interval of 10 s the connection tells it long before the silence of
// 35 s would.
func TestKilledProcessIsToldByItsConnection(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	c := n.startCollector()
	p := n.startSender("app", 10*time.Second)
	c.know(app)
	tr := c.suffer("process: killed, interval 10 s", p.kill, app)
	took := tr.expect("suspect conn_closed", "dead conn_closed")
	require.Less(t, took[0], 10*time.Second, "the interval")
	require.GreaterOrEqual(t, took[1], 5*time.Second, "disconnect_grace")
	require.Less(t, took[1], 25*time.Second, "silence")
}

// With an interval of 1 s the silence of 3.5 s is over before disconnect_grace,
// which is made long here: the default is too close to tell them apart.
func TestKilledProcessIsNotGivenMoreThanItsSilence(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	c := n.startCollector(`disconnect_grace = "90s"`)
	p := n.startSender("app", time.Second)
	c.know(app)
	tr := c.suffer("process: killed, interval 1 s, disconnect_grace 90 s", p.kill, app)
	took := tr.expect("suspect conn_closed", "dead conn_closed")
	require.Less(t, took[1], 35*time.Second, "disconnect_grace")
}

func TestStoppedProcessIsHung(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	c := n.startCollector()
	p := n.startSender("app", time.Second)
	c.know(app)
	tr := c.suffer("process: stopped (SIGSTOP)", func() { p.signal(syscall.SIGSTOP) }, app)
	tr.expect("suspect hung|silence", "dead hung")
	tr.then("continued", func() { p.signal(syscall.SIGCONT) })
	tr.expect("alive beat")
}

// A sender that was killed while another one of the same host lives says
// nothing about the host.
func TestKilledSenderOfTheHostIsNoDeath(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	c := n.startCollector()
	p := n.startSender("", time.Second)
	c.know(host)
	tr := c.suffer("process: sender of the host killed and restarted at once", func() {
		p.kill()
		n.startSender("", time.Second)
	}, host)
	c.hear(host)
	tr.expectNoDeath()
}

func TestProcessThatSaysGoodbyeIsNotDead(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	c := n.startCollector()
	p := n.startSender("app", time.Second)
	c.know(app)
	tr := c.suffer("process: stopped (SIGTERM)", func() { p.signal(syscall.SIGTERM) }, app)
	tr.expect("left leaving")
	pause(7 * time.Second) // twice the silence
	tr.expectNothing()
}

// Whose answers were not read is reset by the kernel, which says less than a
// connection that is closed. The collector answers while the sender is stopped,
// so that one answer is there unread.
func TestProcessKilledWithAnUnreadAnswerIsDead(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	c := n.startCollector()
	p := n.startSender("app", 4*time.Second)
	c.know(app)
	c.freeze()
	testkit.Until(t, "an unread beat", func() bool { return n.unread(n.collector, "sport") })
	p.freeze()
	c.signal(syscall.SIGCONT)
	testkit.Until(t, "an unread answer", func() bool { return n.unread(n.host, "dport") })
	tr := c.suffer("process: killed with an unread answer", p.kill, app)
	tr.expect("suspect conn_reset", "dead conn_reset")
}

// freeze stops p and returns when none of its threads runs any more, which may
// take a moment: one that is reading finishes that.
func (p *process) freeze() {
	p.T.Helper()
	p.signal(syscall.SIGSTOP)
	testkit.Until(p.T, p.Name+" to be stopped", func() bool {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.Cmd.Process.Pid))
		require.NoError(p.T, err)
		return !slices.ContainsFunc(threads, func(file string) bool {
			stat, err := os.ReadFile(file)
			_, state, _ := strings.Cut(string(stat), ") ")
			return err == nil && !strings.HasPrefix(state, "T")
		})
	})
}

// unread reports whether the one connection of a machine holds something that
// was not read yet.
func (n *network) unread(where namespace, side string) bool {
	n.t.Helper()
	fields := strings.Fields(where.run("ss", "-Htn", "state", "established", side, "=", ":"+port))
	require.Len(n.t, fields, 4)
	return fields[0] != "0"
}

// Two containers may have copied one name.
func TestTwoProcessesWithOneNameAreAConflict(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	c := n.startCollector()
	n.startSender("app", time.Second)
	c.know(app)
	tr := c.suffer("process: two with one name", func() { n.startSender("app", time.Second) }, app)
	tr.await("conflict", func() bool { return saidOf(c.told(app), "alive conflict") })
	require.Positive(t, c.counted(app, "conflicts_total"))
	tr.expectNoDeath()
}

// Who is a new process and who a stranger is told by the pid file: the new one
// has written it anew.
func TestProcessWithTheNumberOfTheOneBefore(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, writes, expected string }{
		{"another one with the same number", "true", "alive restarted"},
		{"gone, a stranger has its number", "false", "dead exited"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sameNumber(t, tt.name, tt.writes, tt.expected)
		})
	}
}

func sameNumber(t *testing.T, name, writes, expected string) {
	const lastPID = "/proc/sys/kernel/ns_last_pid" // of a pid namespace
	if _, err := os.Stat(lastPID); err != nil {
		t.Skip("needs a kernel with ", lastPID)
	}
	n := newNetwork(t)
	c := n.startCollector()
	pidFile := filepath.Join(t.TempDir(), "app.pid")
	// The sender is stopped meanwhile: a thread of it could take the number.
	const script = `pidfile=$1 writes=$2; shift 2; sleep 1000 & pid=$!; echo $pid >$pidfile
"$@" & sender=$!
read -r end_of_stdin
kill -STOP $sender
kill $pid; wait $pid
echo $((pid - 1)) >` + lastPID + `; sleep 1000 &
test $! = $pid || { echo "the number is $!, not $pid" >&2; exit 1; }
if $writes; then echo $! >$pidfile; fi
kill -CONT $sender; wait; :`
	args := n.senderCommand("-interval", "1s", "-host", "web-1", "-service", "app", "-pid-file", pidFile).Args
	in := []string{"unshare", "--pid", "--fork", "--kill-child", "--mount-proc"}
	p := n.start("sender of app", n.host.command(append(append(in, "sh", "-c", script, "sh", pidFile, writes), args...)...))
	c.know(app)
	pause(6 * time.Second) // what began less than five seconds apart is taken for the same
	tr := c.suffer("process: "+name, func() {
		n.diary.note("kill <app>; echo $((<app> - 1)) >%s; <another> &", lastPID)
		require.NoError(t, p.Stdin.Close())
	}, app)
	tr.expect(expected)
	for range 5 {
		c.hear(app)
	}
	tr.expectNothing()
}

// It tries again until it has one.
func TestSenderWithoutFreeDescriptorsComesBack(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	c := n.startCollector()
	p := n.startSender("app", time.Second)
	c.know(app)
	tr := c.suffer("process: no free descriptor in the sender, its connection destroyed", func() {
		p.limitDescriptors(3)
		n.host.do("ss", "-K", "state", "established", "dport", "=", ":"+port)
	}, app)
	tr.expect("suspect conn_reset", "dead conn_reset")
	tr.then("limit lifted", func() { p.limitDescriptors(1024) })
	tr.expect("alive beat")
}
