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

// A host says beside its running sender that it will be back within 20
// minutes, reboots and returns.
func TestMaintenanceTellsNobodyDead(t *testing.T) {
	for _, downtime := range []time.Duration{time.Minute, 15 * time.Minute} {
		c := newRig(t)
		all := c.join(10*time.Second, append(services(3), peerID("web-1", HostService))...)
		for _, a := range all {
			a.beat.Process.Boot = "one"
		}
		c.pass(time.Minute)
		c.announce(all[3], 20*time.Minute)
		c.pass(30 * time.Second) // the sender goes on a little
		require.Equal(t, "alive beat", c.is(all[0].beat.ID), "beats inside the window show it alive")
		pause(all...)
		c.pass(downtime)
		if downtime > time.Minute {
			require.Equal(t, len(all), c.tracker.Count(Left))
		}
		resume(all...)
		for _, a := range all {
			a.beat.Process.Boot, a.beat.Run, a.beat.Seq = "two", "after the boot", 0
		}
		c.pass(30 * time.Minute)
		require.Empty(t, c.deaths(), "down for %v", downtime)
		require.Equal(t, len(all), c.tracker.Count(Alive))
		pause(all...) // the window is closed: this is no maintenance any more
		c.pass(time.Minute)
		require.Len(t, c.deaths(), len(all))
	}
}

func TestWhoDoesNotReturnFromMaintenanceIsOverdue(t *testing.T) {
	c := newRig(t)
	all := c.join(10*time.Second, append(services(3), peerID("web-1", HostService))...)
	c.pass(time.Minute)
	c.announce(all[3], 20*time.Minute)
	said := c.now
	pause(all...)
	c.pass(20 * time.Minute)
	require.Empty(t, c.deaths())
	c.pass(slack)
	require.Len(t, c.deaths(), 4)
	require.LessOrEqual(t, c.now.Sub(said), 20*time.Minute+slack)
	require.Equal(t, "dead overdue", c.is(all[3].beat.ID))
	for _, a := range all[:3] {
		require.Equal(t, "dead host", c.is(a.beat.ID))
	}
}

// A service that does not come back with its host is overdue by itself.
func TestServiceThatDoesNotReturnIsOverdue(t *testing.T) {
	c := newRig(t)
	all := c.join(10*time.Second, peerID("web-1", HostService), peerID("web-1", "nginx"))
	all[0].beat.Process.Boot, all[1].beat.Process.Boot = "one", "one"
	c.pass(time.Minute)
	c.announce(all[0], 20*time.Minute)
	pause(all...)
	c.pass(5 * time.Minute)
	resume(all[0])
	all[0].beat.Process.Boot, all[0].beat.Run, all[0].beat.Seq = "two", "after the boot", 0
	c.pass(14 * time.Minute)
	require.Empty(t, c.deaths())
	c.pass(2 * time.Minute)
	require.Len(t, c.deaths(), 1)
	require.Equal(t, "dead overdue", c.is(all[1].beat.ID))
}

// What ends inside a window has ended as announced: by silence, an exit, a
// lost connection or another goodbye.
func TestEndsInsideAWindowArePlanned(t *testing.T) {
	for name, end := range map[string]func(c *rig, a *sender){
		"silence": func(*rig, *sender) {},
		"exit":    func(c *rig, a *sender) { c.observe(Beat{ID: a.beat.ID, Status: SaysDead, Conn: 1}) },
		"goodbye": func(c *rig, a *sender) { c.observe(Beat{ID: a.beat.ID, Status: SaysLeaving, Conn: 1}) },
		"closed":  func(c *rig, _ *sender) { c.ended(1, Closed) },
	} {
		c := newRig(t)
		a := c.join(10*time.Second, peerID("web-1", "nginx"))[0]
		a.beat.Conn, a.beat.Watched = 1, false
		c.pass(time.Minute)
		c.announce(a, 10*time.Minute)
		a.beat.Process.PID = 0
		c.pass(30 * time.Second)
		require.Equal(t, "alive beat", c.is(a.beat.ID))
		pause(a)
		end(c, a)
		c.pass(2 * time.Minute)
		require.Equal(t, Left, c.view(a.beat.ID).State, name)
		c.pass(8 * time.Minute)
		require.Equal(t, "dead overdue", c.is(a.beat.ID), name)
	}
}

// --- hosts and their services

func TestHostWithFiftyServicesDiesAtOnce(t *testing.T) {
	c := newRig(t)
	hosts := c.join(10*time.Second, hosts(10)...)
	fifty := make([]*sender, 0, 50)
	for i, id := range services(50) {
		a := c.join(10*time.Second, id)[0]
		a.next = hosts[0].next.Add(time.Duration(i) * time.Millisecond) // right after the host
		fifty = append(fifty, a)
	}
	c.pass(time.Minute)
	pause(append(fifty, hosts[0])...)
	c.pass(time.Minute)
	deaths := c.deaths()
	require.Len(t, deaths, 51)
	for i, death := range deaths {
		require.Equal(t, deaths[0].at, death.at, "in one tick")
		if i == 0 {
			require.Equal(t, ReasonSilence, death.Reason)
			require.Equal(t, HostService, death.ID.Service)
		} else {
			require.Equal(t, ReasonHost, death.Reason)
		}
	}
	for _, said := range c.told {
		require.NotEqual(t, Unknown, said.State, "one of ten hosts isolates nobody")
	}
	require.Zero(t, c.tracker.Count(Suspect))
}

// Services follow their host out and back in.
func TestServicesLeaveWithTheirHost(t *testing.T) {
	c := newRig(t)
	all := c.join(10*time.Second, append(services(3), peerID("web-1", HostService))...)
	c.pass(time.Minute)
	goodbye := all[3].beat
	goodbye.Status, goodbye.Seq = SaysLeaving, goodbye.Seq+1
	pause(all...)
	c.observe(goodbye)
	require.Equal(t, 4, c.tracker.Count(Left))
	require.Equal(t, "left host", c.is(all[0].beat.ID))
	c.pass(10 * time.Minute)
	require.Empty(t, c.deaths(), "for good")
}

func TestServiceOfAnotherSenderDoesNotFollow(t *testing.T) {
	c := newRig(t)
	all := c.join(10*time.Second, peerID("web-1", HostService), peerID("web-1", "own"))
	all[1].beat.Run = "its own"
	c.pass(time.Minute)
	pause(all[0])
	c.pass(time.Minute)
	require.Len(t, c.deaths(), 1)
	require.Equal(t, "alive beat", c.is(all[1].beat.ID))
}

// A goodbye buries the dead of a host with it, whoever spoke for them.
func TestScrappedHostIsBuried(t *testing.T) {
	c := newRig(t)
	all := c.join(10*time.Second, peerID("web-1", HostService), peerID("web-1", "a"), peerID("web-1", "b"))
	all[2].beat.Run = "its own"
	c.pass(time.Minute)
	pause(all...)
	c.pass(5 * time.Minute)
	require.Equal(t, 3, c.tracker.Count(Dead))
	c.announce(all[0], 0)
	require.Equal(t, 3, c.tracker.Count(Left))
}

// A service whose host is forgotten has a silence of its own.
func TestServiceOutlivesItsForgottenHost(t *testing.T) {
	c := newRig(t, func(o *Options) { o.ForgetLeft = time.Minute })
	all := c.join(10*time.Second, peerID("web-1", HostService), peerID("web-1", "nginx"))
	c.pass(time.Minute)
	pause(all[0])
	c.announce(all[0], 0)
	c.pass(2 * time.Minute)
	require.Equal(t, 1, c.tracker.Len())
	pause(all[1])
	c.pass(time.Minute)
	require.Equal(t, "dead silence", c.is(all[1].beat.ID))
}

// --- isolation

func TestTenHostsDarkAtOnceAreHeld(t *testing.T) {
	c := newRig(t)
	all := c.join(time.Second, hosts(10)...)
	c.pass(10 * time.Second)
	pause(all...)
	after := c.passUntil(time.Minute, c.tracker.Isolated)
	require.LessOrEqual(t, after, 2*time.Second+TickInterval, "isolated at once")
	c.pass(2 * time.Second)
	require.Equal(t, 10, c.tracker.Count(Unknown), "never alive")
	c.pass(590 * time.Second)
	require.Empty(t, c.deaths())
	c.pass(10 * time.Second)
	require.Len(t, c.deaths(), 10, "ten times the hold of a partial silence, and then every death is told")
	require.False(t, c.tracker.Isolated())
}

func TestPartialSilenceIsHeldForAMinute(t *testing.T) {
	c := newRig(t)
	all := c.join(time.Second, hosts(10)...)
	c.pass(10 * time.Second)
	pause(all[:4]...)
	c.passUntil(time.Minute, c.tracker.Isolated)
	require.True(t, c.tracker.Isolated())
	c.pass(59 * time.Second)
	require.Empty(t, c.deaths())
	c.pass(2 * time.Second)
	require.Len(t, c.deaths(), 4)
}

// The minute of a partial silence begins when it becomes partial.
func TestTotalSilenceThatBecomesPartial(t *testing.T) {
	c := newRig(t)
	all := c.join(time.Second, hosts(20)...)
	c.pass(10 * time.Second)
	pause(all...)
	c.pass(2 * time.Minute)
	resume(all[:10]...)
	c.pass(59 * time.Second)
	require.Empty(t, c.deaths())
	c.pass(5 * time.Second)
	require.Len(t, c.deaths(), 10)
}

func TestFewOrMostlyHeardAreNotIsolated(t *testing.T) {
	for _, n := range []struct{ hosts, dark int }{{9, 9}, {10, 3}, {100, 30}} {
		c := newRig(t)
		all := c.join(time.Second, hosts(n.hosts)...)
		c.pass(10 * time.Second)
		pause(all[:n.dark]...)
		c.pass(5 * time.Second)
		require.False(t, c.tracker.Isolated(), "%d of %d", n.dark, n.hosts)
		require.Len(t, c.deaths(), n.dark, "%d of %d", n.dark, n.hosts)
	}
}

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

// At most a tenth is nearly nobody, nine tenths are nearly all.
func TestHoldAtItsEdges(t *testing.T) {
	c := newRig(t)
	all := c.join(time.Second, hosts(20)...)
	c.pass(10 * time.Second)
	pause(all[:18]...)
	c.pass(3 * time.Minute)
	require.True(t, c.tracker.Isolated(), "18 of 20 are nearly all")
	resume(all[2:18]...)
	c.pass(2 * time.Second)
	require.False(t, c.tracker.Isolated(), "2 of 20 are nearly nobody")
	require.Empty(t, c.deaths())
}

// More time after a hold is for those who were held.
func TestBonusIsForTheHeld(t *testing.T) {
	c := newRig(t)
	all := c.join(time.Second, hosts(20)...)
	c.pass(10 * time.Second)
	pause(all...)
	c.pass(5 * time.Minute)
	resume(all[1:]...)
	c.passUntil(5*time.Second, func() bool { return !c.tracker.Isolated() })
	pause(all[1])
	c.pass(5 * time.Second)
	require.Equal(t, Dead, c.view(all[1].beat.ID).State, "it was heard")
}

// Who has left, or is dead already, is not counted.
func TestHostsThatAreGoneDoNotDilute(t *testing.T) {
	c := newRig(t)
	all := c.join(time.Second, hosts(50)...)
	c.pass(10 * time.Second)
	pause(all...)
	c.pass(100 * time.Millisecond)
	for i, a := range all[:40] {
		a.beat.Seq++
		a.beat.Status = [...]Status{SaysLeaving, SaysDead}[i%2]
		c.observe(a.beat)
	}
	c.pass(10 * time.Second)
	require.True(t, c.tracker.Isolated(), "all of the ten that are left")
	require.Len(t, c.deaths(), 20)
}

// What was seen or promised is told whatever the network does.
func TestWhatIsSeenIsNotHeld(t *testing.T) {
	c := newRig(t, func(o *Options) { o.DeadAfter = 20 * time.Second })
	c.expect([]Expected{{Source: "nobody"}}...)
	all := c.join(time.Second, hosts(20)...)
	back := peerID("promised", HostService)
	c.pass(10 * time.Second)
	c.observe(Beat{ID: back})
	c.observe(Beat{ID: back, Status: SaysLeaving, BackIn: 20 * time.Second})
	pause(all...)
	c.pass(5 * time.Second)
	require.True(t, c.tracker.Isolated())
	c.observe(Beat{ID: all[0].beat.ID, Status: SaysDead, Run: "by hand", Seq: 1})
	require.Equal(t, "dead exited", c.is(all[0].beat.ID))
	c.pass(30 * time.Second)
	require.True(t, c.tracker.Isolated())
	require.Equal(t, "dead overdue", c.is(back))
	require.Equal(t, "dead never_seen", c.is(peerID("nobody", HostService)))
	require.Len(t, c.deaths(), 3)
}

// Lost connections of one address are held too: a load balancer can end them all.
func TestLostConnectionsAreHeld(t *testing.T) {
	c := newRig(t)
	all := c.join(10*time.Second, hosts(20)...)
	for i, a := range all {
		a.beat.Conn, a.beat.Watched = ConnID(i+1), false
	}
	c.pass(time.Minute)
	pause(all...)
	for i := range all {
		c.endedFrom(ConnID(i+1), Closed, addrOf(1))
	}
	c.pass(20 * time.Second)
	require.True(t, c.tracker.Isolated())
	require.Empty(t, c.deaths())
	require.Equal(t, 20, c.tracker.Count(Unknown))
	resume(all...)
	c.pass(20 * time.Second)
	require.Equal(t, 20, c.tracker.Count(Alive))
	require.Empty(t, c.deaths())
}

// Who is heard again is alive at once; who is not has as much more time as
// the hold has lasted, and is no longer held meanwhile.
func TestHoldEndsWithABonus(t *testing.T) {
	for _, dark := range []time.Duration{20 * time.Second, 3 * time.Minute} {
		c := newRig(t)
		all := c.join(time.Second, hosts(20)...)
		c.pass(10 * time.Second)
		pause(all...)
		hold := dark - c.passUntil(time.Minute, c.tracker.Isolated)
		c.pass(hold)
		resume(all[1:]...)
		hold += c.passUntil(5*time.Second, func() bool { return !c.tracker.Isolated() })
		require.Empty(t, c.deaths())
		require.Equal(t, "suspect silence", c.is(all[0].beat.ID))
		bonus := min(hold, time.Minute)
		c.pass(bonus - slack)
		require.Empty(t, c.deaths())
		c.pass(2 * slack)
		require.Len(t, c.deaths(), 1)
		require.Equal(t, all[0].beat.ID, c.deaths()[0].ID)
	}
}

func TestServicesAreHeldWithTheirHost(t *testing.T) {
	c := newRig(t)
	all := c.join(time.Second, hosts(20)...)
	nginx := c.join(time.Second, peerID("web-1", "nginx"))[0]
	c.pass(10 * time.Second)
	pause(append(all, nginx)...)
	c.pass(20 * time.Second)
	require.Equal(t, "unknown isolated", c.is(all[0].beat.ID))
	require.Equal(t, "unknown host", c.is(nginx.beat.ID))
	resume(append(all, nginx)...)
	c.pass(20 * time.Second)
	require.Equal(t, []string{"alive beat", "unknown host"}, c.statesOf(nginx.beat.ID)[:2])
	require.Equal(t, "alive beat", c.is(nginx.beat.ID))
	require.Empty(t, c.deaths())
}

func TestIsolationCanBeTurnedOff(t *testing.T) {
	c := newRig(t, off)
	all := c.join(time.Second, hosts(20)...)
	c.pass(10 * time.Second)
	pause(all...)
	c.pass(5 * time.Second)
	require.Len(t, c.deaths(), 20)
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

func TestEndOfALongConnection(t *testing.T) {
	grace := func(d time.Duration) func(*Options) { return func(o *Options) { o.Grace = d } }
	for _, x := range []struct {
		name   string
		every  time.Duration
		grace  time.Duration
		end    End
		reason Reason
		told   time.Duration // after the end
	}{
		{"closed", 10 * time.Second, 5 * time.Second, Closed, ReasonConnClosed, 5 * time.Second},
		{"closed, no grace", 10 * time.Second, 0, Closed, ReasonConnClosed, 0},
		{"closed, its silence is shorter", time.Second, 5 * time.Second, Closed, ReasonConnClosed, 3500 * time.Millisecond},
		{"reset", 10 * time.Second, 5 * time.Second, Reset, ReasonConnReset, 12 * time.Second},
		{"reset, no interval", 0, 5 * time.Second, Reset, ReasonConnReset, 54500 * time.Millisecond},
		{"reset, a longer grace", 10 * time.Second, 20 * time.Second, Reset, ReasonConnReset, 20 * time.Second},
		{"given up", 10 * time.Second, 5 * time.Second, GivenUp, ReasonUnreachable, 35 * time.Second},
	} {
		c, b := dials(t, x.every, grace(x.grace), func(o *Options) { o.Adaptive = false })
		c.ended(1, x.end)
		require.Equal(t, fmt.Sprint("suspect ", x.reason), c.is(b.ID), "%s: at once", x.name)
		took := c.passUntil(10*time.Minute, func() bool { return c.tracker.Count(Dead) > 0 })
		require.Equal(t, fmt.Sprint("dead ", x.reason), c.is(b.ID), x.name)
		require.InDelta(t, x.told.Seconds(), took.Seconds(), slack.Seconds(), x.name)
	}
}

func TestEndsThatProveNothing(t *testing.T) {
	for name, ends := range map[string]func(c *rig, b Beat){
		"by us": func(c *rig, _ Beat) { c.ended(1, EndedByUs) },
		"older connection": func(c *rig, b Beat) {
			b.Conn = 2
			c.observe(b)
			c.ended(1, Reset)
		},
		"short connection": func(c *rig, b Beat) {
			b.Conn = 2
			c.observe(b)
			c.now = c.now.Add(longConn - 1)
			c.observe(b)
			c.ended(2, Closed)
		},
		"of nobody": func(c *rig, _ Beat) { c.ended(9, Closed) },
		"after a goodbye": func(c *rig, b Beat) {
			b.Status = SaysLeaving
			c.observe(b)
			b.Status = SaysAlive
			c.ended(1, Closed)
		},
	} {
		c, b := dials(t, 10*time.Second)
		ends(c, b)
		require.Zero(t, c.tracker.Count(Suspect), name)
		c.pass(13 * time.Second)
		require.Empty(t, c.deaths(), name)
	}
}

// The connection of a watcher proves only the end of the watcher.
func TestEndOfAWatchersConnection(t *testing.T) {
	for _, end := range []End{Closed, Reset} {
		c, b := dials(t, 10*time.Second)
		b.Watched = true
		c.observe(b)
		c.ended(1, end)
		require.Equal(t, 1, c.tracker.Count(Suspect))
		c.pass(34 * time.Second)
		require.Empty(t, c.deaths())
		c.pass(2 * time.Second)
		require.Len(t, c.deaths(), 1)
	}
}

func TestBeatElsewhereClearsALostConnection(t *testing.T) {
	for _, conn := range []ConnID{0, 2} {
		c, b := dials(t, 10*time.Second)
		c.ended(1, Closed)
		c.pass(4 * time.Second)
		b.Conn = conn
		c.observe(b)
		require.Equal(t, "alive beat", c.is(b.ID))
		c.pass(15 * time.Second)
		require.Equal(t, "alive beat", c.is(b.ID), "its whole silence is allowed again")
	}
}

func TestOneConnectionOfSeveralPeers(t *testing.T) {
	c := newRig(t)
	ids := services(5)
	for range 2 {
		for _, id := range ids {
			c.observe(Beat{ID: id, Interval: 10 * time.Second, Conn: 1})
		}
		c.pass(time.Second)
	}
	c.observe(Beat{ID: ids[2], Interval: 10 * time.Second, Conn: 2})
	c.ended(1, Closed)
	require.Equal(t, 4, c.tracker.Count(Suspect))
	c.pass(6 * time.Second)
	require.Len(t, c.deaths(), 4)
	require.Equal(t, "alive beat", c.is(ids[2]))
}

// What the kernel knows of the other side is asked while the connection
// stands.
func TestKernelTellsHungFromUnreachable(t *testing.T) {
	for path, reason := range map[Path]Reason{PathAnswers: ReasonHung, PathIsSilent: ReasonUnreachable, PathUnknown: ReasonSilence} {
		c, b := dials(t, 10*time.Second, func(o *Options) {
			o.Ask = func(conn ConnID) (Path, netip.Addr) {
				require.EqualValues(t, 1, conn)
				return path, addrOf(conn)
			}
		})
		c.pass(time.Minute)
		require.Equal(t, []string{"alive beat", fmt.Sprint("suspect ", reason), fmt.Sprint("dead ", reason)}, c.statesOf(b.ID))
	}
}

// --- restarts of the collector

func TestRestartTellsNothing(t *testing.T) {
	c := newRig(t, off)
	all := c.join(10*time.Second, hosts(6)...)
	c.pass(time.Minute)
	pause(all[0], all[1])
	c.announce(all[1], 0)
	c.announce(all[2], time.Hour)
	pause(all[2])
	c.pass(20 * time.Second) // one is suspect, and then dead
	pause(all[3])
	c.pass(20 * time.Second)
	before := make([]View, 6)
	for i, a := range all {
		before[i] = c.view(a.beat.ID)
	}
	require.Equal(t, [...]int{0, 2, 1, 1, 2}, c.tracker.counts)
	c.told = nil
	c.restart(2 * time.Second)
	c.pass(TickInterval)
	require.Empty(t, c.told)
	for i, a := range all {
		after := c.view(a.beat.ID)
		require.Equal(t, before[i].State, after.State)
		require.Equal(t, before[i].Reason, after.Reason)
		require.True(t, before[i].Since.Equal(after.Since))
		require.Equal(t, before[i].Counters, after.Counters)
		require.Equal(t, before[i].Age+2*time.Second+TickInterval, after.Age)
	}
}

// A pause that is longer than what was left of a silence makes unknown.
func TestLongStopMakesUnknown(t *testing.T) {
	for stop, state := range map[time.Duration]State{24 * time.Second: Alive, 25 * time.Second: Unknown} {
		c := newRig(t, func(o *Options) { o.Adaptive = false })
		id := peerID("web-1", "nginx")
		c.observe(Beat{ID: id, Interval: 10 * time.Second})
		c.pass(10 * time.Second) // of 35 s
		c.restart(stop)
		require.Equal(t, state, c.view(id).State, stop)
		c.pass(35*time.Second - slack)
		require.Empty(t, c.deaths(), "what was left, and an interval")
		c.pass(2 * slack)
		require.Len(t, c.deaths(), 1)
	}
}

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

// The deadline that a lost connection has set survives, and does not grow.
func TestLostConnectionSurvivesRestarts(t *testing.T) {
	c, b := dials(t, 10*time.Second)
	c.ended(1, Closed)
	listened := time.Duration(0)
	for ; listened < time.Minute && len(c.deaths()) == 0; listened += time.Second {
		c.pass(time.Second)
		c.restart(100 * time.Millisecond)
	}
	require.Equal(t, "dead conn_closed", c.is(b.ID))
	require.InDelta(t, 15, listened.Seconds(), 1.1, "the grace, and one interval more")
}

// A sender that is restarted, as by an upgrade, has promised to be back for all
// it speaks for. When its next run says that a service has died meanwhile, the
// promise is kept and the death is one.
func TestDeathAcrossARestartOfTheSenderIsTold(t *testing.T) {
	c := newRig(t)
	host, nginx := peerID("web-1", HostService), peerID("web-1", "nginx")
	all := c.join(10*time.Second, host, nginx)
	c.pass(time.Minute)
	for _, a := range all {
		goodbye := a.beat
		goodbye.Seq += 1000
		goodbye.Status, goodbye.BackIn = SaysLeaving, 15*time.Minute
		c.observe(goodbye)
	}
	pause(all...)
	c.pass(2 * time.Second)
	require.Equal(t, Left, c.view(nginx).State)

	all[0].beat.Run, all[0].beat.Seq = "new", 0
	resume(all[0])
	c.pass(12 * time.Second)
	require.Equal(t, Alive, c.view(host).State)
	dead := all[1].beat
	dead.Run, dead.Seq, dead.Status = "new", 1, SaysDead
	c.observe(dead)
	require.Equal(t, Dead, c.view(nginx).State)
	require.Equal(t, ReasonExited, c.view(nginx).Reason)
}

func TestPromisesSurviveRestarts(t *testing.T) {
	c := newRig(t)
	id := peerID("web-1", HostService)
	c.observe(Beat{ID: id})
	c.observe(Beat{ID: id, Status: SaysLeaving, BackIn: time.Minute})
	for range 6 {
		c.pass(9 * time.Second)
		c.restart(10 * time.Minute)
	}
	require.Equal(t, "left leaving", c.is(id))
	c.pass(5 * time.Second)
	require.Empty(t, c.deaths())
	c.pass(2 * time.Second)
	require.Equal(t, "dead overdue", c.is(id))
}

func TestCountersFlapsAndDowntimeSurvive(t *testing.T) {
	c := newRig(t, off)
	a := c.join(time.Second, hosts(1)...)[0]
	for range 2 {
		c.pass(10 * time.Second)
		pause(a)
		c.pass(10 * time.Second)
		resume(a)
	}
	c.pass(5 * time.Second)
	before := c.view(a.beat.ID)
	require.True(t, before.Flapping)
	require.EqualValues(t, 2, before.Mistakes)
	require.Positive(t, before.DeadFor)
	c.restart(time.Second)
	after := c.view(a.beat.ID)
	require.True(t, after.Flapping)
	require.Equal(t, before.Counters, after.Counters)
	require.Equal(t, before.DeadFor, after.DeadFor)
	c.restart(10 * time.Minute)
	require.False(t, c.view(a.beat.ID).Flapping)
}

// A beat that the former collector has heard is a duplicate for this one.
func TestOrderSurvivesRestarts(t *testing.T) {
	c := newRig(t)
	b := Beat{ID: peerID("web-1", "nginx"), Run: "r", Seq: 7, Process: Process{Boot: "b", PID: 5}}
	c.observe(b)
	c.restart(time.Second)
	require.Equal(t, Duplicate, c.observe(b).Fate)
	b.Seq = 9
	require.EqualValues(t, 1, c.observe(b).Lost)
	b.Process.PID, b.Seq = 6, 10
	c.told = nil
	c.observe(b)
	require.Equal(t, Restarted, c.told[0].Event)
}

func TestForgettingGoesOnOverRestarts(t *testing.T) {
	c := newRig(t)
	id := peerID("web-1", HostService)
	c.observe(Beat{ID: id})
	c.observe(Beat{ID: id, Status: SaysLeaving})
	for range 6 {
		c.pass(590 * time.Second)
		c.restart(time.Second)
	}
	require.Equal(t, 1, c.tracker.Len())
	c.pass(65 * time.Second)
	require.Zero(t, c.tracker.Len(), "an hour of listening")
}

// What is learnt of a peer is not learnt anew after a restart.
func TestScheduleSurvivesRestarts(t *testing.T) {
	c := newRig(t)
	a := c.join(10*time.Second, hosts(1)...)[0]
	n := 0
	a.lost = func() bool { n++; return n%3 > 0 } // a bad link
	c.pass(20 * time.Minute)
	p := c.tracker.order[0]
	before := c.tracker.silence(p, &p.body).Dead
	require.Greater(t, before, 60*time.Second)
	schedule := p.schedule
	c.restart(time.Second)
	p = c.tracker.order[0]
	require.Equal(t, schedule.lateness, p.schedule.lateness)
	require.Equal(t, schedule.taught, p.schedule.taught)
	require.Equal(t, before, c.tracker.silence(p, &p.body).Dead)
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

func TestExpectedIsNeverSeen(t *testing.T) {
	c := newRig(t)
	id := peerID("web-1", "nginx")
	c.expect([]Expected{{Source: "web-1", Service: "nginx"}}...)
	require.Equal(t, "unknown none", c.is(id))
	c.pass(209 * time.Second)
	c.restart(time.Hour) // not listening
	c.expect([]Expected{{Source: "web-1", Service: "nginx"}}...)
	require.Empty(t, c.deaths())
	c.pass(2 * time.Second)
	require.Equal(t, "dead never_seen", c.is(id))
	c.observe(Beat{ID: id, Interval: time.Second})
	require.Equal(t, "alive beat", c.is(id))
	require.Zero(t, c.view(id).Mistakes, "it was right at its time")
	c.pass(10 * time.Second)
	require.Equal(t, "dead silence", c.is(id))
}

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

// The series of a placeholder ends when somebody meets it.
func TestPlaceholdersSeriesEnds(t *testing.T) {
	c := newRig(t)
	c.expect([]Expected{{Source: "10.0.0.5"}}...)
	c.pass(4 * time.Minute)
	require.Len(t, c.deaths(), 1)
	c.told = nil
	c.observe(Beat{ID: ID{Source: "10.0.0.5", PID: 4711}, Addr: netip.MustParseAddr("10.0.0.5")})
	require.Equal(t, []string{"left replaced"}, c.statesOf(peerID("10.0.0.5", HostService)))
	require.Equal(t, []string{"alive beat"}, c.statesOf(ID{Source: "10.0.0.5", PID: 4711}))
}

func TestLastExpectedIsNeverForgotten(t *testing.T) {
	addr := netip.MustParseAddr("10.0.0.5")
	c := newRig(t)
	c.expect([]Expected{{Source: "10.0.0.5"}}...)
	for pid := range uint32(3) {
		c.observe(Beat{ID: ID{Source: "10.0.0.5", PID: pid + 1}, Addr: addr})
		c.pass(time.Second)
	}
	c.pass(5 * time.Hour)
	require.Equal(t, 1, c.tracker.Count(Dead), "one of the three")
	c.expect()
	c.pass(2 * time.Hour)
	require.Zero(t, c.tracker.Len(), "nobody is expected any more")
}

func TestDisappointedPlaceholderIsDropped(t *testing.T) {
	c := newRig(t)
	both := []Expected{{Source: "web-1"}, {Source: "web-2"}}
	c.expect(both...)
	c.pass(4 * time.Minute)
	c.told = nil
	c.expect(both...)
	require.Empty(t, c.told, "the same again changes nothing")
	require.Equal(t, 2, c.tracker.Len())
	c.expect(both[1:]...)
	require.Equal(t, []string{"unknown forgotten"}, c.statesOf(peerID("web-1", HostService)))
	require.Equal(t, 1, c.tracker.Len())
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
