//go:build linux

package faults

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

func TestPathThatLosesBeatsIsUnreachable(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	c := n.startCollector()
	n.startSender("app", time.Second)
	c.know(app)
	tr := c.suffer("path: packets to the collector lost", func() { n.filter(toCollector + drop) }, app)
	tr.expect("suspect unreachable|silence", "dead unreachable")
	require.Positive(t, n.caught())
	tr.then("healed", func() { n.filter() })
	tr.expect("alive beat")
}

// Some beats get through, because a sender may send before it is answered;
// then its kernel repeats only the oldest. The process is never to blame.
func TestPathThatLosesAnswersIsNoFaultOfTheProcess(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	c := n.startCollector()
	n.startSender("app", time.Second)
	c.know(app)
	tr := c.suffer("path: packets to the host lost, for 30 s", func() { n.filter(toHost + drop) }, app)
	tr.note("neither hung nor a lost connection")
	pause(30 * time.Second)
	for _, e := range c.told(app) {
		require.NotContains(t, []string{"hung", "conn_closed", "conn_reset", "restarted"}, e.reason)
	}
	require.Positive(t, n.caught())
	tr.then("healed", func() { n.filter() })
	tr.note("alive")
	c.hear(app)
	tr.expectAlive(app)
}

// With an interval of 1 or 2 s this would be a matter of luck. What is lost is a
// beat and its repetitions, then the SYN of a new connection or the first beat
// over it, and so on: about once in an hour of such loss that lasts for longer
// than the silence of 3.5 or 7 s. With 5 s there is time for more tries.
func TestLossIsNoDeath(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	c := n.startCollector()
	for _, service := range []string{"a", "b", "c"} {
		n.startSender(service, 5*time.Second)
	}
	peers := []string{"web-1/a", "web-1/b", "web-1/c"}
	c.know(peers...)
	tr := c.suffer("path: 30 % of the packets lost both ways, for 60 s, interval 5 s", func() {
		n.filter("numgen random mod 100 < 30" + drop)
	}, peers...)
	pause(time.Minute)
	require.Positive(t, n.caught())
	tr.then("healed", func() { n.filter() })
	tr.expectNoDeath()
}

// cut loses everything for a while. It begins right after a beat, but for the
// time that ip and nft take, which is as long at its end.
func cut(t *testing.T, interval, length time.Duration) {
	t.Parallel()
	n := newNetwork(t)
	c := n.startCollector()
	n.startSender("app", interval)
	c.know(app)
	c.hear(app)
	tr := c.suffer(fmt.Sprintf("path: cut of %s right after a beat, interval %s", length, interval), func() {
		n.filter(toCollector+drop, toHost+drop)
	}, app)
	pause(time.Until(tr.phases[0].at.Add(length)))
	caught := n.caught()
	tr.then("healed", func() { n.filter() })
	tr.expectNoDeath()
	if length > interval {
		require.Positive(t, caught)
	}
}

func TestCutShorterThanTheSilenceIsNoDeath(t *testing.T) {
	t.Parallel()
	cuts := []struct{ interval, length time.Duration }{
		{2 * time.Second, 2500 * time.Millisecond},
		{6 * time.Second, 3 * time.Second},
		{6 * time.Second, 6 * time.Second},
		{6 * time.Second, 12 * time.Second},
	}
	if *long {
		cuts = append(cuts, []struct{ interval, length time.Duration }{
			{time.Second, 2 * time.Second}, // the rest of the silence is little for a busy machine
			{time.Second, 2500 * time.Millisecond},
		}...)
		for _, length := range []time.Duration{31 * time.Second, time.Minute, 2 * time.Minute} {
			cuts = append(cuts, struct{ interval, length time.Duration }{time.Minute, length})
		}
	}
	for _, tt := range cuts {
		t.Run(fmt.Sprintf("%s of %s", tt.length, tt.interval), func(t *testing.T) { cut(t, tt.interval, tt.length) })
	}
}

// The client of the article ends with the first error of its connection: to
// reset it would be a death of our making.
func TestClientOfTheArticleSurvivesACut(t *testing.T) {
	t.Parallel()
	for _, period := range []time.Duration{5 * time.Second, 50 * time.Second} {
		t.Run(period.String(), func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t)
			c := n.startCollector(`dead_after = "210s"`)
			client, peer := n.startArticle("tcp", period)
			c.hear(peer)
			pause(min(15*time.Second, period/2)) // so that a beat is due in the cut
			tr := c.suffer(fmt.Sprintf("path: cut of 40 s, the article's client, a beat each %s", period), func() {
				n.filter(toCollector+drop, toHost+drop)
			}, peer)
			pause(40 * time.Second)
			require.Positive(t, n.caught())
			tr.then("healed", func() { n.filter() })
			c.hear(peer)
			tr.expectNothing()
			require.True(t, client.Running(), "the client has ended")
			require.EqualValues(t, 1, c.connections())
		})
	}
}

func TestResetOfOurSideAloneIsNoDeath(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	c := n.startCollector()
	n.startSender("app", 4*time.Second)
	c.know(app)
	own := n.clientPort()
	tr := c.suffer("path: firewall resets the collector's side alone", func() {
		n.filter(
			toHost+" tcp dport "+own+" counter reject with tcp reset",
			toCollector+" tcp sport "+own+drop,
		)
	}, app)
	tr.expect("suspect conn_reset", "alive beat")
	require.Positive(t, n.caught())
	c.hear(app)
	tr.expectNothing()
}

// What a firewall has forgotten it drops, and the sender is told nothing.
func TestConnectionForgottenByAFirewallIsNoDeath(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	c := n.startCollector()
	n.startSender("app", time.Second)
	c.know(app)
	own := n.clientPort()
	tr := c.suffer("path: firewall drops the connection silently", func() {
		n.filter("tcp dport "+own+drop, "tcp sport "+own+drop)
	}, app)
	testkit.Until(t, "another connection in its place", func() bool {
		ports := n.clientPorts()
		return len(ports) == 1 && ports[0] != own
	})
	require.Positive(t, n.caught())
	for range 5 {
		c.hear(app)
	}
	tr.expectNoDeath()
}

// The sender finds another way while the collector still has the old one.
func TestResetOfTheSendersSideAloneIsNoDeath(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	c := n.startCollector()
	n.startSender("app", time.Second)
	c.know(app)
	own := n.clientPort()
	tr := c.suffer("path: firewall resets the sender's side alone", func() {
		n.filter(
			toCollector+" tcp sport "+own+" counter reject with tcp reset",
			toHost+" tcp dport "+own+drop,
		)
	}, app)
	testkit.Until(t, "another connection in its place", func() bool {
		ports := n.clientPorts()
		return len(ports) == 1 && ports[0] != own
	})
	require.Positive(t, n.caught())
	testkit.Until(t, "the old connection to be gone", func() bool { return c.connections() == 1 })
	tr.expectNoDeath()
}

// However it is told that it cannot connect, or if it is told nothing.
func TestSenderThatStartsWithoutAWayFindsOneLater(t *testing.T) {
	t.Parallel()
	for name, verdict := range map[string]string{
		"refused":     " counter reject with tcp reset",
		"no route":    " counter reject with icmp net-unreachable",
		"all dropped": drop,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t)
			c := n.startCollector()
			tr := c.suffer("path: to the collector "+name+" while the sender starts", func() {
				n.filter(toCollector + " meta l4proto tcp" + verdict)
				n.startSender("app", time.Second)
			}, app)
			pause(8 * time.Second)
			require.Positive(t, n.caught())
			require.Empty(t, c.told(app))
			tr.then("healed", func() { n.filter() })
			tr.expect("alive beat")
			c.hear(app)
			tr.expectNothing()
		})
	}
}

// Ten senders need half of it.
func TestSlowLineIsNoDeath(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	c := n.startCollector()
	var peers []string
	for i := range 10 {
		service := fmt.Sprintf("app-%d", i)
		n.startSender(service, time.Second)
		peers = append(peers, "web-1/"+service)
	}
	c.know(peers...)
	tr := c.suffer("path: 64 kbit/s each way, for 30 s, ten senders", func() {
		for _, dev := range []string{"to-collector", "to-host"} {
			n.router.do("tc", "qdisc", "add", "dev", dev, "root", "tbf", "rate", "64kbit", "burst", "1600", "latency", "400ms")
		}
	}, peers...)
	pause(30 * time.Second)
	tr.expectNoDeath()
}

// A link that comes and goes leaves gaps shorter than the silence.
func TestFlappingLinkIsNoDeath(t *testing.T) {
	t.Parallel()
	flaps := 6
	if *long {
		flaps = 24
	}
	n := newNetwork(t)
	c := n.startCollector()
	n.startSender("app", 2*time.Second)
	c.know(app)
	tr := c.suffer(fmt.Sprintf("path: link down for 2 s of each 5 s, %d times, interval 2 s", flaps), func() {
		runIP(t, n.router, "link set to-host down")
	}, app)
	for range flaps {
		pause(2 * time.Second)
		runIP(t, n.router, "link set to-host up")
		pause(3 * time.Second)
		runIP(t, n.router, "link set to-host down")
	}
	pause(2 * time.Second)
	tr.then("healed", func() { runIP(t, n.router, "link set to-host up") })
	tr.expectNoDeath()
}

// startProxy lets senders send through a proxy on the router.
func (n *network) startProxy(what string) {
	n.t.Helper()
	address := net.JoinHostPort("10.99.1.254", port)
	p := n.start("proxy", n.role(n.router, roleProxy, address, n.server, what))
	testkit.Until(n.t, "the proxy to listen", func() bool { return p.Stdout.Says("listening") })
	n.server = address
}

func TestMischiefOfAProxyIsNoDeath(t *testing.T) {
	t.Parallel()
	beats := 5
	if *long {
		beats = 60
	}
	tests := []struct {
		fault, what, kind string
		interval          time.Duration
	}{
		{"path: proxy lets each frame come twice", "twice", "duplicate", time.Second},
		{"path: proxy lets every other frame come after its successor", "late", "late", 2 * time.Second},
		{"path: proxy lets each frame come 3 s late, interval 1 s", "slow", "", time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t)
			c := n.startCollector()
			n.startProxy(tt.what)
			tr := c.suffer(tt.fault, func() {
				n.diary.note("a proxy on the router")
				n.startSender("app", tt.interval)
			}, app)
			if tt.kind != "" {
				tr.await("three beats of kind "+tt.kind, func() bool { return c.ofKind(tt.kind) >= 3 })
			}
			for range beats {
				c.hear(app)
			}
			tr.expectNoDeath()
		})
	}
}

// A beat that was heard before is no life.
func TestRepeatedFramesDoNotHideADeath(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	c := n.startCollector()
	n.startProxy("echo")
	p := n.startSender("app", time.Second)
	c.know(app)
	tr := c.suffer("path: process killed, a proxy repeats its last frame each second", p.kill, app)
	tr.expect("suspect hung|silence", "dead hung|silence")
	require.Positive(t, c.ofKind("duplicate"))
	pause(3 * time.Second)
	tr.expectNothing()
}
