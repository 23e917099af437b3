//go:build linux

package faults

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

func TestSilentHostIsUnreachable(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	c := n.startCollector()
	n.startSender("", time.Second)
	n.startSender("app", time.Second)
	c.know(host, app)
	tr := c.suffer("host: silent, all packets dropped", func() {
		n.filter(toCollector+drop, toHost+drop)
	}, host, app)
	tr.expect("suspect unreachable|silence", "dead unreachable")
	require.Positive(t, n.caught())
	tr.then("healed", func() { n.filter() })
	tr.expect("alive beat")
}

func TestHostWithoutLinkIsUnreachable(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	c := n.startCollector()
	n.startSender("app", time.Second)
	c.know(app)
	tr := c.suffer("host: link down", func() { runIP(t, n.host, "link set side down") }, app)
	tr.expect("suspect unreachable|silence", "dead unreachable")
	tr.then("up", func() { runIP(t, n.host, "link set side up", "route add default via 10.99.1.254") })
	tr.expect("alive beat")
}

func TestHostBehindUnreachableIsUnreachable(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	c := n.startCollector()
	n.startSender("app", time.Second)
	c.know(app)
	const reject = " counter reject with icmp type host-unreachable"
	tr := c.suffer("host: cut off, router says host unreachable", func() {
		n.filter(toCollector+reject, toHost+reject)
	}, app)
	tr.expect("suspect unreachable|silence", "dead unreachable")
	require.Positive(t, n.caught())
	tr.then("healed", func() { n.filter() })
	tr.expect("alive beat")
}

// The host that is there again knows nothing of the connection and resets it
// when the collector's kernel asks.
func TestRebootedHostResetsItsOldConnection(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	c := n.startCollector()
	p := n.startSender("app", 10*time.Second)
	c.know(app)
	tr := c.suffer("host: rebooted, sender starts later", func() {
		n.switchOff(n.host, p)
		n.boot()
	}, app)
	took := tr.expect("suspect conn_reset")
	require.Less(t, took[0], 35*time.Second, "silence")
	tr.then("sender starts", func() { n.startSender("app", 10*time.Second) })
	tr.expect("alive beat", "alive rebooted")
	testkit.Until(t, "the old connection to be gone", func() bool { return c.connections() == 1 })
	c.hear(app)
	tr.expectNothing()
}

func TestRebootedHostThatBeatsAtOnceIsNeverDead(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	c := n.startCollector()
	p := n.startSender("app", 10*time.Second)
	c.know(app)
	tr := c.suffer("host: rebooted, sender starts at once", func() {
		n.switchOff(n.host, p)
		n.boot()
		n.startSender("app", 10*time.Second)
	}, app)
	tr.expect("alive rebooted")
	testkit.Until(t, "the old connection to be gone", func() bool { return c.connections() == 1 })
	c.hear(app)
	tr.expectNothing()
}

func TestHalfOpenConnectionsAreFreed(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	c := n.startCollector()
	for _, service := range []string{"a", "b", "c"} {
		n.startSender(service, time.Second)
	}
	peers := []string{"web-1/a", "web-1/b", "web-1/c"}
	c.know(peers...)
	testkit.Until(t, "three connections", func() bool { return c.connections() == 3 })
	tr := c.suffer("host: silent, its three connections", func() {
		n.filter(toCollector+drop, toHost+drop)
	}, peers...)
	tr.expect("suspect unreachable|silence", "dead unreachable")
	took := tr.await("no connection open", func() bool { return c.connections() == 0 })
	require.Greater(t, took, 3500*time.Millisecond, "no sooner than the peer is dead")
	require.Less(t, took, time.Minute, "twice the silence, 7 s")
	require.Positive(t, n.caught())
	tr.expectNothing()
}

// A datagram leaves no trace in the kernel that could tell more than silence.
func TestSilentHostOverUDPIsSilent(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	c := n.startCollector(`dead_after = "5s"`)
	_, peer := n.startArticle("udp", time.Second)
	c.know(peer)
	tr := c.suffer("host: silent, all packets dropped, beats over UDP", func() {
		n.filter(toCollector+drop, toHost+drop)
	}, peer)
	tr.expect("suspect silence", "dead silence")
	require.Positive(t, n.caught())
	tr.then("healed", func() { n.filter() })
	tr.expect("alive beat")
}

// Its connections end without a word, and its next ones come from elsewhere.
func TestHostWithAnotherAddressIsTheSameHost(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	c := n.startCollector()
	n.startSender("", 4*time.Second)
	c.know(host)
	tr := c.suffer("host: another address", func() {
		runIP(t, n.host, "address delete "+hostAddr+"/24 dev side",
			"address add 10.99.1.3/24 dev side", "route add default via 10.99.1.254")
	}, host)
	testkit.Until(t, "a connection from there", func() bool { return len(n.clientPorts()) > 0 })
	c.hear(host)
	c.hear(host)
	tr.expectNoDeath()
	require.Zero(t, c.counted(host, "restarts_total"))
}

// Each dial but the first after a success resolves the name again.
func TestCollectorIsFoundAtItsNewAddress(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	n.server = net.JoinHostPort("collector.test", port)
	n.nameCollector(collectorAddr + " collector.test")
	c := n.startCollector()
	n.startSender("app", 10*time.Second)
	c.know(app)
	const moved = "10.99.0.3"
	tr := c.suffer("host: collector moves to another address, its name follows", func() {
		runIP(t, n.collector, "address delete "+collectorAddr+"/24 dev side",
			"address add "+moved+"/24 dev side", "route add default via 10.99.0.254")
		n.nameCollector(moved + " collector.test")
	}, app)
	tr.await("heard at the new address", func() bool { return strings.Contains(n.host.established(), moved+":"+port) })
	c.hear(app)
	tr.expectAlive(app)
}

func TestSenderWaitsForTheNameOfTheCollector(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	n.server = net.JoinHostPort("collector.test", port)
	c := n.startCollector()
	tr := c.suffer("host: cannot resolve the name of the collector at its start", func() {
		n.startSender("app", time.Second)
	}, app)
	pause(8 * time.Second)
	require.Empty(t, c.told(app))
	tr.then("named", func() { n.nameCollector(collectorAddr + " collector.test") })
	tr.expect("alive beat")
	c.hear(app)
	tr.expectNothing()
}
