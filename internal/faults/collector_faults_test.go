//go:build linux

package faults

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

// An operator, or a kernel out of memory, destroys the socket.
func TestDestroyedConnectionIsNoDeath(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	c := n.startCollector()
	n.startSender("app", 4*time.Second)
	c.know(app)
	own := n.clientPort()
	tr := c.suffer("collector: its socket destroyed", func() {
		n.collector.do("ss", "-K", "state", "established", "sport", "=", ":"+port)
	}, app)
	testkit.Until(t, "another connection in its place", func() bool {
		ports := n.clientPorts()
		return len(ports) == 1 && ports[0] != own
	})
	c.hear(app)
	tr.expectNoDeath()
}

// Who is connected goes on, and who comes is served as soon as it can be.
func TestCollectorWithoutFreeDescriptorsKillsNobody(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	c := n.startCollector()
	n.startSender("app", time.Second)
	c.know(app)
	const newcomer = "web-1/newcomer"
	tr := c.suffer("collector: no free descriptor, a sender comes", func() {
		c.limitDescriptors(c.usedDescriptors())
		n.startSender("newcomer", time.Second)
	}, app)
	testkit.Until(t, "a complaint", func() bool { return c.Stderr.Says("too many open files") })
	pause(7 * time.Second) // twice the silence
	require.Empty(t, c.told(newcomer))
	tr.then("limit lifted", func() { c.limitDescriptors(1024) })
	tr.await("the newcomer is heard", func() bool { return len(c.told(newcomer)) > 0 })
	tr.expectNothing()
}

// usedDescriptors returns the lowest limit that leaves p what it has and no
// more.
func (p *process) usedDescriptors() int {
	for fd := 0; ; fd++ {
		if _, err := os.Lstat(fmt.Sprintf("/proc/%d/fd/%d", p.Cmd.Process.Pid, fd)); err != nil {
			return fd
		}
	}
}

func (p *process) limitDescriptors(limit int) {
	p.T.Helper()
	p.diary.note("prlimit --pid <%s> --nofile=%d:", p.Name, limit)
	_, err := output(exec.Command("prlimit", "--pid", strconv.Itoa(p.Cmd.Process.Pid), fmt.Sprintf("--nofile=%d:", limit)))
	require.NoError(p.T, err)
}

// Nobody is blamed for what the collector could not hear: twelve hosts do not
// fall silent together.
func TestCollectorCutOffFromAllIsIsolated(t *testing.T) {
	t.Parallel()
	lengths := []time.Duration{15 * time.Second}
	if *long {
		lengths = append(lengths, 90*time.Second)
	}
	for _, length := range lengths {
		t.Run(length.String(), func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t)
			c := n.startCollector()
			var hosts []string
			for i := range 12 {
				name := fmt.Sprintf("web-%d", i+1)
				n.startSenderAs("sender of "+name, "-interval", "1s", "-host", name)
				hosts = append(hosts, name+"/host")
			}
			c.know(hosts...)
			tr := c.suffer(fmt.Sprintf("collector: its link down for %s, twelve hosts", length), func() {
				runIP(t, n.collector, "link set side down")
			}, hosts...)
			tr.await("isolated", func() bool { return saidOf(c.told(itself), "on isolated") })
			pause(time.Until(tr.phases[0].at.Add(length)))
			tr.then("up", func() { runIP(t, n.collector, "link set side up", "route add default via 10.99.0.254") })
			tr.await("no longer isolated", func() bool { return saidOf(c.told(itself), "off isolated") })
			tr.expectNoDeath()
		})
	}
}

func saidOf(events []event, what string) bool {
	for _, e := range events {
		if e.String() == what {
			return true
		}
	}
	return false
}

// The clock that counts from the boot is a day behind afterwards: the first
// collector runs in a time namespace that is a day ahead.
func TestCollectorWhoseMachineRebootsKillsNobody(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	c := n.startCollectorAs([]string{"unshare", "--time", "--monotonic", "86400", "--boottime", "86400", "--fork", "--kill-child"})
	n.startSender("app", 4*time.Second)
	c.know(app)
	c.untilSaved()
	tr := c.suffer("collector: its machine reboots, away for 5 s", func() {
		n.switchOff(n.collector, c.process)
		c.read()
		pause(5 * time.Second)
		n.bootCollector()
		c.begin()
	}, app)
	c.listens()
	c.hear(app)
	c.hear(app)
	tr.expectNothing()
	require.Positive(t, c.counted(app, "beats_total"))
}

// untilSaved waits until the peer app is in the state file.
func (c *collector) untilSaved() {
	c.T.Helper()
	testkit.Until(c.T, "its peer to be in the state file", func() bool {
		text, err := os.ReadFile(c.state)
		return err == nil && strings.Contains(string(text), `"Service":"app"`)
	})
}

// What takes the port listens and answers nothing, so nobody finds the
// collector, and the collector hears nobody: that is nobody's death.
func TestCollectorWhosePortIsTakenKillsNobody(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	c := n.startCollector()
	n.startSender("app", time.Second)
	c.know(app)
	c.untilSaved()
	var squatter *process
	tr := c.suffer("collector: killed, another program has its port for 10 s", func() {
		c.end()
		squatter = n.start("squatter", n.role(n.collector, roleSquatter, ":"+port))
		testkit.Until(t, "the port to be taken", func() bool { return squatter.Stdout.Says("listening") })
		n.diary.note("another program listens on :%s", port)
		c.begin()
	}, app)
	testkit.Until(t, "a complaint", func() bool { return c.Stderr.Says("address already in use") })
	pause(10 * time.Second)
	require.Empty(t, strings.Join(squatter.Stderr.All(), "\n"))
	tr.then("free", squatter.kill)
	c.listens()
	require.True(t, c.Stderr.Says("Restored 1 peer from"))
	c.hear(app)
	tr.expectNoDeath()
}
