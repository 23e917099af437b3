package liveness

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Each test here keeps one promise of the design, and fails when the rule is
// taken away that keeps it.

// services names n services of the host web-1.
func services(n int) []ID {
	ids := make([]ID, n)
	for i := range ids {
		ids[i] = peerID("web-1", fmt.Sprint("s", i))
	}
	return ids
}

// announce says goodbye for a, with a promise.
func (c *rig) announce(a *sender, backIn time.Duration) {
	b := a.beat
	b.Run, b.Seq, b.Status, b.BackIn = "by hand", 1, SaysLeaving, backIn
	c.observe(b)
}

func off(o *Options) { o.IsolationPercent = 0 }

// --- maintenance

// --- hosts and their services

// --- isolation

// Who speaks rarely says nothing about now.
func TestSlowHostsDoNotDilute(t *testing.T) {
	c := newRig(t)
	all := c.join(time.Second, hosts(10)...)
	slow := make([]ID, 0, 200)
	for i := range 200 {
		slow = append(slow, peerID(fmt.Sprint("slow-", i), HostService))
	}
	c.join(time.Hour, slow...)
	c.pass(time.Hour + time.Minute)
	pause(all...)
	c.pass(time.Minute)
	require.True(t, c.tracker.Isolated())
	require.Empty(t, c.deaths())
}

// Hosts that have been silent for long, because their silence is long, do not
// bring all those in that were heard since.
func TestLongSilentHostsDoNotDilute(t *testing.T) {
	c := newRig(t)
	all := c.join(time.Second, hosts(10)...)
	slow, rare := make([]ID, 0, 200), make([]ID, 0, 3)
	for i := range 200 {
		slow = append(slow, peerID(fmt.Sprint("slow-", i), HostService))
	}
	for i := range 3 {
		rare = append(rare, peerID(fmt.Sprint("rare-", i), HostService))
	}
	c.join(10*time.Minute, slow...)
	gone := c.join(time.Hour, rare...)
	for _, a := range gone {
		a.next = c.now
	}
	c.pass(TickInterval)
	pause(gone...)
	c.pass(75 * time.Minute)
	require.Equal(t, 3, c.tracker.Count(Suspect))
	pause(all...)
	c.pass(20 * time.Second)
	require.True(t, c.tracker.Isolated())
	require.Empty(t, c.deaths())
}

// --- lost connections

// dials lets a peer beat twice over connection 1, so that it is a long one.
func dials(t *testing.T, every time.Duration, change ...func(*Options)) (*rig, Beat) {
	c := newRig(t, change...)
	b := Beat{ID: peerID("web-1", "nginx"), Interval: every, Conn: 1}
	c.observe(b)
	c.pass(longConn)
	c.observe(b)
	return c, b
}

// --- restarts of the collector

// However often the collector is restarted, who died is told within its
// silence and one interval of listening.
func TestRestartsDoNotPostponeDeath(t *testing.T) {
	for _, every := range []time.Duration{2 * time.Second, 10 * time.Second} {
		for _, interval := range []time.Duration{0, time.Second, 10 * time.Second, time.Minute} {
			c := newRig(t, off)
			gone := peerID("web-1", "nginx")
			allowed := c.observe(Beat{ID: gone, Interval: interval}).Silence.Dead + c.tracker.peers[gone].span()
			var listened time.Duration
			for ; listened < allowed+every && len(c.deaths()) == 0; listened += every {
				c.pass(every)
				c.restart(time.Second)
			}
			require.Len(t, c.deaths(), 1, "interval %v, restarted every %v", interval, every)
			require.LessOrEqual(t, listened, allowed+every+slack)
			require.GreaterOrEqual(t, listened, allowed-every)
		}
	}
}

// What is learnt of a peer is not learnt anew after a restart.
func TestScheduleSurvivesRestarts(t *testing.T) {
	c := newRig(t)
	a := c.join(10*time.Second, hosts(1)...)[0]
	n := 0
	a.lost = func() bool { n++; return n%3 > 0 } // a bad link
	c.pass(20 * time.Minute)
	p := c.tracker.order[0]
	before := c.tracker.silence(p, &p.process).Dead
	require.Greater(t, before, 60*time.Second)
	schedule := p.schedule
	c.restart(time.Second)
	p = c.tracker.order[0]
	require.Equal(t, schedule.lateness, p.schedule.lateness)
	require.Equal(t, schedule.taught, p.schedule.taught)
	require.Equal(t, before, c.tracker.silence(p, &p.process).Dead)
}

// A thousand senders find the collector again after ten minutes, each within
// the back-off of at most its interval; ten have died meanwhile.
func TestTenMinutesStopTellsExactlyTheDead(t *testing.T) {
	t.Parallel()
	c := newRig(t, func(o *Options) { o.MaxPeers = 2000 })
	all := c.join(10*time.Second, hosts(1010)...)
	c.pass(30 * time.Second)
	c.restart(10 * time.Minute)
	require.Equal(t, 1010, c.tracker.Count(Unknown))
	dead, live := all[:10], all[10:]
	pause(dead...)
	for i, a := range live { // the last one just before its interval is over
		a.next = c.now.Add(a.beat.Interval * time.Duration(i) / time.Duration(len(live)))
	}
	c.told = nil
	c.pass(2 * time.Minute)
	require.Len(t, c.deaths(), 10)
	for _, a := range dead {
		require.Equal(t, Dead, c.view(a.beat.ID).State)
	}
	require.Equal(t, 1000, c.tracker.Count(Alive))
}

// --- expectations

func TestExpectedIsMet(t *testing.T) {
	addr := netip.MustParseAddr("10.0.0.5")
	for _, x := range []struct {
		expected Expected
		beat     ID
		from     netip.Addr
		met      bool
	}{
		{Expected{Source: "10.0.0.5"}, ID{Source: "10.0.0.5", PID: 4711}, addr, true},
		{Expected{Source: "10.0.0.5"}, peerID("web-5", "nginx"), addr, true},
		{Expected{Source: "10.0.0.5", Service: "nginx"}, peerID("web-5", "nginx"), addr, true},
		{Expected{Source: "10.0.0.5", Service: "nginx"}, peerID("web-5", "redis"), addr, false},
		{Expected{Source: "10.0.0.5"}, peerID("web-6", "nginx"), netip.MustParseAddr("10.0.0.6"), false},
		{Expected{Source: "web-5"}, peerID("web-5", HostService), addr, true},
		{Expected{Source: "web-5"}, peerID("web-5", "nginx"), addr, false},
		{Expected{Source: "web-5", Service: "nginx"}, peerID("web-5", "nginx"), addr, true},
		{Expected{Source: "web-5", Service: "nginx"}, peerID("web-6", "nginx"), addr, false},
	} {
		for _, first := range []bool{true, false} {
			c := newRig(t)
			beat := func() { c.observe(Beat{ID: x.beat, Addr: x.from}) }
			if first {
				beat()
			}
			c.expect([]Expected{x.expected}...)
			if !first {
				beat()
			}
			require.Equal(t, x.met, c.tracker.Len() == 1, "%v, beat %v from %v, before: %v", x.expected, x.beat, x.from, first)
		}
	}
}

// --- rules

func TestRuleReplacesTheTerms(t *testing.T) {
	rule := Terms{DeadAfter: time.Minute, Fixed: true, Rule: "rule 1", Grace: time.Second}
	c := newRig(t, func(o *Options) {
		o.TermsOf = func(id ID, addr netip.Addr) *Terms {
			if id.Service == "slow" || addr == netip.MustParseAddr("10.0.0.9") {
				return &rule
			}
			return nil
		}
	})
	slow, quick := peerID("web-1", "slow"), peerID("web-1", "quick")
	require.Equal(t, "rule 1", c.observe(Beat{ID: slow, Interval: time.Second}).Silence.Rule)
	c.observe(Beat{ID: quick, Interval: time.Second})
	c.pass(59 * time.Second)
	require.Equal(t, []string{"alive beat", "suspect silence", "dead silence"}, c.statesOf(quick))
	require.NotEqual(t, Dead, c.view(slow).State)
	c.pass(2 * time.Second)
	require.Equal(t, Dead, c.view(slow).State)
	out := c.observe(Beat{ID: quick, Interval: time.Second, Addr: netip.MustParseAddr("10.0.0.9")})
	require.Equal(t, time.Minute, c.observe(Beat{ID: quick, Interval: time.Second, Addr: netip.MustParseAddr("10.0.0.9")}).Silence.Dead, out)
}
