package liveness

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A hold that has ended is not begun again by those who fell silent while it
// lasted, or nobody is ever told.
func TestHoldIsNotRenewedByWhoFellSilentInIt(t *testing.T) {
	c := newRig(t)
	all := c.join(time.Second, hosts(20)...)
	c.pass(10 * time.Second)
	pause(all[:10]...)
	c.pass(3 * time.Second)
	require.True(t, c.tracker.Isolated())
	c.pass(time.Minute)
	require.Len(t, c.deaths(), 10, "told after the hold of a minute")
}

// An expectation named twice has one placeholder.
func TestExpectedTwice(t *testing.T) {
	c := newRig(t)
	c.expect([]Expected{{Source: "10.0.0.5"}, {Source: "10.0.0.5"}}...)
	c.observe(Beat{ID: ID{Source: "10.0.0.5", PID: 4711}, Addr: netip.MustParseAddr("10.0.0.5")})
	require.Equal(t, 1, c.tracker.Len())
}

// Anybody at an address, and the host there, share a placeholder; who meets
// the one does not meet the other.
func TestExpectedAddressAndItsHost(t *testing.T) {
	c := newRig(t)
	addr := netip.MustParseAddr("10.0.0.5")
	c.expect([]Expected{{Source: "10.0.0.5"}, {Source: "10.0.0.5", Service: HostService}}...)
	c.observe(Beat{ID: peerID("web-5", "nginx"), Addr: addr})
	require.Equal(t, 2, c.tracker.Len(), "the host is still expected")
	c.observe(Beat{ID: peerID("web-5", HostService), Addr: addr})
	require.Equal(t, 2, c.tracker.Len(), "and now it is met")
}

// A placeholder stands as long as somebody is expected, dead or not.
func TestPlaceholderIsNotForgotten(t *testing.T) {
	c := newRig(t, func(o *Options) { o.ForgetDead = time.Minute })
	c.expect([]Expected{{Source: "web-1"}}...)
	c.pass(5 * time.Minute)
	require.Equal(t, "dead never_seen", c.is(peerID("web-1", HostService)))
	c.observe(Beat{ID: peerID("web-1", HostService), Interval: time.Second})
	require.Equal(t, 1, c.tracker.Len())
	require.Equal(t, "alive beat", c.is(peerID("web-1", HostService)))
}

// A short stall soon after a long one does not end what the long one began:
// its backlog teaches nothing.
func TestShortStallDoesNotEndALongOne(t *testing.T) {
	c := newRig(t)
	c.join(time.Second, hosts(1)...)
	c.pass(2 * time.Minute)
	before := c.tracker.teachFrom
	require.Zero(t, before)
	c.now = c.now.Add(40 * time.Second)
	c.hear(c.tracker.Tick(c.now))
	long := c.tracker.teachFrom
	c.now = c.now.Add(250 * time.Millisecond)
	c.hear(c.tracker.Tick(c.now))
	require.GreaterOrEqual(t, c.tracker.teachFrom, long)
}

// After a hold all who were held have more time, those too whom the collector
// knows only from before it was restarted.
func TestRestoredAreGivenTheBonusOfAHold(t *testing.T) {
	c := newRig(t)
	all := c.join(time.Second, hosts(20)...)
	c.pass(10 * time.Second)
	pause(all...) // the network goes, and the collector is restarted
	c.restart(10 * time.Second)
	c.pass(30 * time.Second)
	require.True(t, c.tracker.Isolated())
	resume(all[1:]...)
	c.pass(10 * time.Second) // the last one's TCP still backs off
	require.False(t, c.tracker.Isolated())
	resume(all[0])
	c.pass(10 * time.Second)
	require.Empty(t, c.deaths())
}

// Who was suspect when the collector stopped is silent for the next one.
func TestRestoredSuspectsAreSilent(t *testing.T) {
	c := newRig(t)
	all := c.join(time.Second, hosts(20)...)
	for i, a := range all {
		a.beat.Conn, a.beat.Watched = ConnID(i+1), false
	}
	c.pass(10 * time.Second)
	pause(all...)
	for i := range all {
		c.ended(ConnID(i+1), Reset)
	}
	require.Equal(t, 20, c.tracker.Count(Suspect))
	c.restart(time.Second)
	c.pass(time.Minute)
	require.True(t, c.tracker.Isolated())
	require.Empty(t, c.deaths())
}

// A service that has taken to beating by itself does not die with the sender
// that spoke for it before.
func TestServiceThatSpeaksForItselfDoesNotFollow(t *testing.T) {
	c := newRig(t)
	host := c.join(time.Second, peerID("web-1", HostService))
	nginx := c.join(time.Second, peerID("web-1", "nginx"))
	c.pass(10 * time.Second)
	nginx[0].beat.Run, nginx[0].beat.Seq = "", 0
	nginx[0].lost = func() bool { nginx[0].beat.Seq = 0; return false } // it does not number its beats
	c.pass(10 * time.Second)
	pause(host...)
	c.pass(10 * time.Second)
	require.Equal(t, []string{"alive beat"}, c.statesOf(nginx[0].beat.ID))
}

// A service that is still heard is not dead, even if no beat of its host
// comes through.
func TestServiceThatIsHeardDoesNotDieWithItsHost(t *testing.T) {
	c := newRig(t)
	host := c.join(time.Second, peerID("web-1", HostService))
	nginx := c.join(time.Second, peerID("web-1", "nginx"))
	c.pass(10 * time.Second)
	pause(host...)
	c.pass(10 * time.Second)
	require.Equal(t, []string{"alive beat"}, c.statesOf(nginx[0].beat.ID))
}

// A service that falls silent while its host goes on is told when its own
// silence is over, whichever of them beats first.
func TestServiceAloneIsToldInTime(t *testing.T) {
	for _, first := range []string{"host", "service"} {
		c := newRig(t)
		host := c.join(10*time.Second, peerID("web-1", HostService))
		c.now = c.now.Add(10 * time.Millisecond)
		nginx := c.join(10*time.Second, peerID("web-1", "nginx"))
		if first == "service" {
			nginx[0].next = host[0].next.Add(-10 * time.Millisecond)
		}
		c.pass(105 * time.Second)
		pause(nginx...)
		heard := c.now.Add(-c.view(nginx[0].beat.ID).Age)
		p := c.tracker.peers[nginx[0].beat.ID]
		silence := c.tracker.silence(p, &p.body)
		c.pass(2 * time.Minute)
		require.Len(t, c.deaths(), 1)
		require.LessOrEqual(t, c.deaths()[0].at.Sub(heard), silence.Dead+3*TickInterval, "the %s beats first", first)
	}
}

// After a hold a service of a host that is still silent is not alive: nobody
// has heard it.
func TestServicesAreNotGreenAfterAHold(t *testing.T) {
	c := newRig(t)
	all := c.join(time.Second, hosts(20)...)
	nginx := c.join(time.Second, peerID("web-1", "nginx"))
	c.pass(10 * time.Second)
	pause(all[:10]...)
	pause(nginx...)
	c.pass(80 * time.Second)
	require.NotContains(t, c.statesOf(nginx[0].beat.ID)[1:], "alive beat")
}

// A promise that has just run out when the collector stops is a promise still.
func TestPromiseThatRunsOutAtTheStopIsKept(t *testing.T) {
	c := newRig(t)
	id := peerID("web-1", HostService)
	c.observe(Beat{ID: id})
	c.observe(Beat{ID: id, Status: SaysLeaving, BackIn: time.Second})
	c.pass(time.Second)
	require.Equal(t, "left leaving", c.is(id))
	c.restart(time.Second)
	c.pass(time.Minute)
	require.Equal(t, "dead overdue", c.is(id))
}

// A host is not silent because the connection of one of its services ended,
// while the others are not even due.
func TestHostWithOneLostConnectionIsNotSilent(t *testing.T) {
	c := newRig(t)
	c.join(10*time.Second, hosts(10)...)
	for i := range 10 {
		app := c.join(10*time.Second, peerID(hosts(10)[i].Source, "app"))[0]
		app.beat.Run, app.beat.Conn, app.beat.Watched = "own", ConnID(i+1), false
	}
	c.pass(31 * time.Second)
	pause(c.senders[10:]...)
	for i := range 10 { // a bad release ends all of them at once
		c.ended(ConnID(i+1), Closed)
	}
	c.pass(6 * time.Second)
	require.False(t, c.tracker.Isolated())
	require.Len(t, c.deaths(), 10, "told after the grace of 5 s")
}

// A collector that is restarted all the time still reaches its verdicts when
// many have died.
func TestHoldGoesOnOverRestarts(t *testing.T) {
	c := newRig(t)
	all := c.join(time.Second, hosts(20)...)
	c.pass(10 * time.Second)
	pause(all[:10]...)
	for range 30 {
		c.pass(10 * time.Second)
		c.restart(time.Second)
	}
	require.Len(t, c.deaths(), 10)
}

// What came by datagram did not come over the long connection before.
func TestDatagramAfterLongConnectionIsNotLong(t *testing.T) {
	c := newRig(t)
	b := Beat{ID: ID{Source: "10.0.0.5", PID: 1}, Conn: 1}
	c.observe(b)
	c.pass(time.Second)
	c.observe(b)
	c.ended(1, Closed)
	b.Conn = 0
	c.observe(b)
	require.False(t, c.tracker.peers[b.ID].onLong())
}

// A service that beats more often than its host is told soon after the host
// has spoken without it, not when the silence of the host would be over.
func TestFastServiceOfASlowHostIsToldInTime(t *testing.T) {
	c := newRig(t)
	c.join(time.Minute, peerID("web-1", HostService))
	nginx := c.join(time.Second, peerID("web-1", "nginx"))
	c.pass(110 * time.Second)
	pause(nginx...)
	c.pass(11 * time.Second) // the host is heard after 10 s
	require.Len(t, c.deaths(), 1)
}

// A service that is held with its host is judged when the hold ends, even if
// the sender that speaks for the host then does not know the service any more.
func TestHeldServiceIsJudgedThoughItsHostHasANewSender(t *testing.T) {
	c := newRig(t)
	all := c.join(time.Second, hosts(20)...)
	old := c.join(time.Second, peerID("web-1", "old"))
	c.pass(10 * time.Second)
	pause(all...)
	pause(old...)
	c.observe(Beat{ID: all[0].beat.ID, Interval: time.Second, Run: "by hand", Seq: 1})
	c.pass(10 * time.Second)
	require.Equal(t, "unknown host", c.is(old[0].beat.ID))
	resume(all...) // the sender was started anew, with another configuration
	all[0].beat.Run = "second"
	c.pass(time.Minute)
	require.Contains(t, c.is(old[0].beat.ID), "dead")
}

// A deadline that the end of a connection has brought near is near after a
// restart too, though the time to be suspect has not come.
func TestLostConnectionIsToldInTimeAfterARestart(t *testing.T) {
	c := newRig(t)
	b := Beat{ID: peerID("web-1", "app"), Interval: time.Minute, Conn: 1}
	c.observe(b)
	c.pass(time.Second)
	c.observe(b)
	c.ended(1, Closed)
	c.pass(4 * time.Second)
	c.restart(10 * time.Minute)
	c.pass(61*time.Second + slack) // one interval more, and what was left of the grace
	require.Equal(t, "dead conn_closed", c.is(b.ID))
}

// A host that dies just after the end of its window, and its service, are
// forgotten in one tick.
func TestHostAndServiceAreForgottenTogether(t *testing.T) {
	c := newRig(t, func(o *Options) { o.ForgetDead = time.Minute })
	all := c.join(10*time.Second, peerID("web-1", HostService), peerID("web-1", "nginx"))
	c.pass(6 * time.Second)
	leaving := all[0].beat
	leaving.Status, leaving.BackIn, leaving.Seq = SaysLeaving, 30*time.Second, 100
	c.observe(leaving)
	all[0].beat.Seq = 100
	c.pass(20 * time.Second)
	pause(all...)
	c.pass(time.Hour)
	require.Zero(t, c.tracker.Len())
}

// Nothing is heard while the expected are looked up, so that has to be quick.
func TestExpectingManyIsQuick(t *testing.T) {
	c := newRig(t, func(o *Options) { o.MaxPeers = 100_000 })
	const peers, expected = 50_000, 5_000
	for i := range peers {
		c.observe(Beat{ID: peerID(fmt.Sprint("web-", i), "nginx")})
	}
	all := make([]Expected, expected)
	for i := range all {
		all[i] = Expected{Source: fmt.Sprint("web-", i*peers/expected), Service: "nginx"}
		if i%2 == 0 {
			all[i].Source = netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}).String()
		}
	}
	start := time.Now()
	c.expect(all...)
	require.Less(t, time.Since(start), time.Second)
}

// The network comes back just when the collector is restarted: some are heard
// before it is isolated again, and those who are heard a moment later are not
// dead because all were silent for long before.
func TestNetworkReturnsWithTheCollector(t *testing.T) {
	for _, dark := range []time.Duration{30 * time.Second, 5 * time.Minute} {
		c := newRig(t)
		all := c.join(time.Second, hosts(20)...)
		c.pass(10 * time.Second)
		pause(all...)
		c.pass(dark)
		require.True(t, c.tracker.Isolated())
		c.restart(time.Second)
		resume(all...)
		c.pass(10 * time.Second)
		require.Empty(t, c.deaths(), "after %v", dark)
	}
}

// The time that is given after a hold is given still by the next collector.
func TestBonusSurvivesARestart(t *testing.T) {
	c := newRig(t)
	all := c.join(time.Second, hosts(20)...)
	c.pass(10 * time.Second)
	pause(all...)
	c.pass(5 * time.Minute)
	resume(all[1:]...)
	c.pass(10 * time.Second)
	require.Equal(t, "suspect silence", c.is(all[0].beat.ID))
	c.restart(time.Second)
	c.pass(10 * time.Second) // of a minute
	resume(all[0])
	c.pass(5 * time.Second)
	require.Empty(t, c.deaths())
}

// A peer that has the ID of a placeholder meets the expectation, wherever it
// beats from, and is not taken away for it.
func TestPeerWithTheIDOfAPlaceholderMeetsIt(t *testing.T) {
	c := newRig(t)
	id, other := ID{Source: "10.0.0.5", Service: HostService}, netip.MustParseAddr("10.0.0.66")
	c.observe(Beat{ID: id, Addr: other})
	c.expect([]Expected{{Source: "10.0.0.5"}}...)
	c.observe(Beat{ID: id, Addr: other, Status: SaysLeaving})
	c.pass(61 * time.Minute)
	c.observe(Beat{ID: peerID("web-5", HostService), Addr: netip.MustParseAddr("10.0.0.5")})
	require.Equal(t, 2, c.tracker.Len(), "the last one that is expected is kept")
}

// There is room for who is expected where its placeholder is, and a placeholder
// takes nobody's room, also after a restart.
func TestWhoIsExpectedHasRoom(t *testing.T) {
	c := newRig(t, func(o *Options) { o.MaxPeers = 2 })
	c.expect([]Expected{{Source: "10.0.0.5"}, {Source: "web-9"}}...)
	c.restart(time.Second)
	c.expect([]Expected{{Source: "10.0.0.5"}, {Source: "web-9"}}...)
	require.Equal(t, Accepted, c.observe(Beat{ID: peerID("web-1", HostService)}).Fate)
	require.Equal(t, Accepted, c.observe(Beat{ID: peerID("web-2", HostService)}).Fate)
	require.Equal(t, Full, c.observe(Beat{ID: peerID("web-3", HostService)}).Fate)
	require.Equal(t, Accepted, c.observe(Beat{ID: peerID("web-5", HostService), Addr: netip.MustParseAddr("10.0.0.5")}).Fate)
	require.Equal(t, Full, c.observe(Beat{ID: peerID("web-6", HostService), Addr: netip.MustParseAddr("10.0.0.5")}).Fate)
	c.expect()
	require.Zero(t, c.tracker.placeholders)
}

// Hosts that come and go all the time, by accident or on purpose, do not hide
// the death of another for ever.
func TestDeathIsNotHiddenByHostsThatComeAndGo(t *testing.T) {
	c := newRig(t)
	all := c.join(10*time.Second, hosts(200)...)
	c.pass(time.Minute)
	pause(all[7])
	fake := func(i, round int) Beat {
		return Beat{ID: peerID(fmt.Sprint("fake-", i), HostService), Interval: 10 * time.Second, Conn: ConnID(1 + i + 12*round)}
	}
	for round := range 300 { // half an hour
		for range 2 {
			for i := range 12 {
				c.observe(fake(i, round))
			}
			c.pass(200 * time.Millisecond)
		}
		for i := range 12 {
			c.ended(fake(i, round).Conn, Closed)
		}
		c.pass(6 * time.Second)
	}
	require.Contains(t, c.statesOf(all[7].beat.ID), "dead silence")
}

// What a clock that was set says of the past is not believed.
func TestClockThatWasSetMakesNobodyDeadForDecades(t *testing.T) {
	long := time.Date(1970, 1, 1, 0, 0, 10, 0, time.UTC)
	tracker := New(defaults(), epoch)
	r := Record{ID: peerID("web-1", HostService), State: Dead, Reason: ReasonSilence, Since: long, Heard: long}
	tracker.Restore(&r, long.Add(time.Minute), epoch)
	v := tracker.View(0, epoch)
	require.Equal(t, time.Minute, v.DeadFor)
	require.Equal(t, time.Minute, v.Age)
}

// Each run of a job from cron is a run of its own, but together they make one
// schedule: who is often late gets more patience here too.
func TestOneShotsMakeOneSchedule(t *testing.T) {
	c := newRig(t)
	b := Beat{ID: peerID("web-1", "job"), Interval: time.Minute, Seq: 1}
	var out Outcome
	for n := range 40 {
		b.Run = fmt.Sprint("run-", n)
		out = c.observe(b)
		c.pass(time.Minute + time.Duration(1-2*(n%2))*15*time.Second) // late, and on time again
	}
	require.Greater(t, out.Silence.Dead, 250*time.Second)
}
