//go:build linux

package faults

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
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
