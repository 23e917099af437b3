//go:build linux

package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

// The first name server of the host is behind the router and can be made dead,
// the second one is beside the collector.
const (
	firstNameServer = "10.99.0.53"
	deadNames       = "ip daddr " + firstNameServer + drop
	allDeadNames    = "udp dport 53" + drop
	collectorName   = "collector.test"
)

// useNames lets the host find the collector by its name, of two name servers of
// which the first is dead.
func (n *network) useNames(addresses ...string) {
	n.t.Helper()
	n.resolv, n.zone = filepath.Join(n.t.TempDir(), "resolv.conf"), filepath.Join(n.t.TempDir(), "zone")
	text := fmt.Sprintf("nameserver %s\nnameserver %s\n", firstNameServer, collectorAddr)
	require.NoError(n.t, os.WriteFile(n.resolv, []byte(text), 0o600))
	n.server = collectorName + ":" + port
	n.name(addresses...)
	n.filter(deadNames)
	p := n.start("name server", n.role(n.collector, roleNames, collectorAddr+":53", n.zone))
	testkit.Until(n.t, "the name server to listen", func() bool { return p.Stdout.Says("listening") })
}

// name is which addresses the name of the collector has from now on.
func (n *network) name(addresses ...string) {
	n.t.Helper()
	n.diary.note("the name server says: %s is %s", collectorName, strings.Join(addresses, ", "))
	require.NoError(n.t, os.WriteFile(n.zone, []byte(strings.Join(addresses, "\n")), 0o600))
}

// restart stops the collector and starts it anew a second later.
func (c *collector) restart() {
	c.T.Helper()
	c.signal(syscall.SIGTERM)
	testkit.Until(c.T, "the end of the collector", func() bool { return !c.Running() })
	c.read()
	pause(time.Second)
	c.begin()
	c.listens()
}

func TestFirstNameServerDeadIsNoDeath(t *testing.T) {
	t.Parallel()
	for _, interval := range []time.Duration{time.Second, 3 * time.Second, 10 * time.Second} {
		t.Run(interval.String(), func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t)
			n.useNames(collectorAddr)
			c := n.startCollector()
			n.startSender("app", interval)
			c.know(app)
			tr := c.suffer(fmt.Sprintf("names: first name server dead, the collector restarts ten times, interval %s", interval), func() {
				n.filter(deadNames)
			}, app)
			for range 10 {
				c.restart()
				c.hear(app)
			}
			require.Positive(t, n.caught())
			tr.expectNoDeath()
		})
	}
}

// The connection is made over the address that is known.
func TestAllNameServersDeadIsNoDeath(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	n.useNames(collectorAddr)
	c := n.startCollector()
	n.startSender("app", time.Second)
	c.know(app)
	tr := c.suffer("names: all name servers dead, the collector restarts ten times", func() {
		n.filter(allDeadNames)
	}, app)
	for range 10 {
		c.restart()
		c.hear(app)
	}
	require.Positive(t, n.caught())
	tr.expectNoDeath()
}

// delivers runs a command of the sender on the host, and returns what it said
// and how long it took.
func (n *network) delivers(command string, args ...string) (said string, took time.Duration) {
	n.t.Helper()
	n.diary.note("host# heartbeat-sender %s %s", command, strings.Join(args, " "))
	begin := time.Now()
	said, err := output(n.onHost(command, args...))
	require.NoError(n.t, err)
	return said, time.Since(begin)
}

// Their time is over after three seconds.
func TestOneBeatIsDeliveredWhateverNameServerIsDead(t *testing.T) {
	t.Parallel()
	for fault, addresses := range map[string][]string{
		"names: first name server dead":                 {collectorAddr},
		"names: the first three of four addresses, too": {"10.99.0.201", "10.99.0.202", "10.99.0.203", collectorAddr},
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t)
			n.useNames(addresses...)
			n.filter(deadNames, "ip daddr 10.99.0.201-10.99.0.203"+drop)
			c := n.startCollector()
			tr := c.suffer(fault+"; once, check, leave", func() {
				_, took := n.delivers("once", "-host", "web-1", "-every", "1m")
				t.Logf("once took %s", took)
				said, took := n.delivers("check", "-host", "web-1")
				t.Logf("check took %s:\n%s", took, said)
				require.Contains(t, said, "nameserver "+firstNameServer+":53 does not answer")
				_, took = n.delivers("leave", "-host", "web-1")
				t.Logf("leave took %s", took)
			}, host)
			tr.expect("alive beat", "left leaving")
			require.Positive(t, n.caught())
		})
	}
}

func TestDeadAddressesOfANameAreNoObstacle(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	n.useNames("10.99.0.201", "10.99.0.202", "10.99.0.203", collectorAddr)
	n.filter("ip daddr 10.99.0.201-10.99.0.203" + drop)
	c := n.startCollector()
	tr := c.suffer("names: three of four addresses are dead", func() { n.startSender("app", time.Second) }, app)
	took := tr.expect("alive beat")
	require.Less(t, took[0], 30*time.Second)
	c.hear(app)
	tr.expectNoDeath()
}

// The old machine swallows what is sent to it.
func TestCollectorThatMovesIsFoundByDatagrams(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	n.useNames(collectorAddr)
	n.scheme = "udp"
	runIP(t, n.collector, "address add 10.99.0.2/24 dev side")
	c := n.startCollector()
	n.startSender("app", 5*time.Second)
	c.know(app)
	tr := c.suffer("names: the collector moves, beats over UDP, interval 5 s", func() {
		n.name("10.99.0.2")
		n.filter(deadNames, toCollector+" udp dport "+port+drop)
	}, app)
	testkit.Until(t, "a beat to the old machine", func() bool { return n.caught() > 0 })
	for range 3 {
		c.hear(app)
	}
	tr.expectNoDeath()
}

// A job ends at once and a sender within two seconds, whatever is dead. Of five
// tries the shortest counts: the others may have waited for a processor.
func TestDeadNameServersDelayNoEnd(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"tcp", "udp"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t)
			n.useNames(collectorAddr)
			n.scheme = scheme
			n.filter(allDeadNames)
			require.Less(t, n.shortest("true"), 500*time.Millisecond)
			require.Less(t, n.shortest("false"), 5*time.Second)
			p := n.startSender("app", time.Second)
			pause(3 * time.Second)
			begin := time.Now()
			p.signal(syscall.SIGTERM)
			testkit.Until(t, "the end of the sender", func() bool { return !p.Running() })
			t.Logf("a stop took %s", time.Since(begin))
			require.Less(t, time.Since(begin), 8*time.Second)
		})
	}
}

// shortest returns the shortest time that a job takes on the host.
func (n *network) shortest(job string) time.Duration {
	n.t.Helper()
	least := time.Hour
	for range 5 {
		cmd := n.onHost("exec", "-host", "web-1", "-quiet", "--", job)
		begin := time.Now()
		err := cmd.Run()
		require.Equal(n.t, job == "true", err == nil)
		least = min(least, time.Since(begin))
	}
	n.t.Logf("exec -- %s took %s", job, least)
	return least
}
