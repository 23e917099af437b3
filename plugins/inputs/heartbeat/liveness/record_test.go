package liveness

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// However often the collector is restarted, a death is reported within the allowed silence
// and one interval of listening.
func TestRestartsDoNotPostponeDeath(t *testing.T) {
	for _, every := range []time.Duration{2 * time.Second, 10 * time.Second} {
		for _, interval := range []time.Duration{0, time.Second, 10 * time.Second, time.Minute} {
			c := newRig(t, func(o *Options) { o.IsolationPercent = 0 })
			gone := peerID("web-1", "nginx")
			allowed := c.observe(Beat{ID: gone, Interval: interval}).Silence.Dead + c.tracker.lookUp(gone).span()
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

// The schedule of a peer does not have to be learned again after a restart.
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

// A thousand senders reconnect to the collector after ten minutes, each within its back-off of
// at most its interval; ten have died meanwhile.
func TestTenMinutesStopReportsExactlyTheDead(t *testing.T) {
	t.Parallel()
	c := newRig(t, func(o *Options) { o.MaxPeers = 2000 })
	all := c.join(10*time.Second, hosts(1010)...)
	c.pass(30 * time.Second)
	c.restart(10 * time.Minute)
	require.Equal(t, 1010, c.tracker.Count(Unknown))
	dead, live := all[:10], all[10:]
	pause(dead...)
	for i, a := range live { // the last sender beats just before its interval is over
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

// After the clock was set, times in the past are not trusted.
func TestClockThatWasSetMakesNobodyDeadForDecades(t *testing.T) {
	long := time.Date(1970, 1, 1, 0, 0, 10, 0, time.UTC)
	tracker := New(defaults(), epoch)
	r := Record{ID: peerID("web-1", HostService), State: Dead, Reason: ReasonSilence, Since: long, Heard: long}
	tracker.Restore(&r, long.Add(time.Minute), epoch)
	v := tracker.View(0, epoch)
	require.Equal(t, time.Minute, v.DeadFor)
	require.Equal(t, time.Minute, v.Age)
}

// A peer that has already beaten keeps its state, and gets the totals from the file.
func TestLateRestoreAddsToWhatIsKnown(t *testing.T) {
	before := newRig(t)
	web, job, gone := peerID("web-1", HostService), peerID("web-1", "job"), peerID("web-9", HostService)
	for range 3 {
		before.observe(Beat{ID: web, Interval: 10 * time.Second})
		before.observe(Beat{ID: job, Status: SaysDead})
	}
	before.observe(Beat{ID: gone, Status: SaysDead})

	c := newRig(t)
	c.expect([]Expected{{Source: "web-9"}}...)
	c.observe(Beat{ID: web, Interval: 10 * time.Second})
	told := len(c.told)
	for i := range before.tracker.Len() {
		r := before.tracker.Record(i, before.now)
		c.restore(&r, before.now)
	}
	require.Len(t, c.told, told, "none of it is an event")
	require.EqualValues(t, 4, c.view(web).Beats)
	require.Equal(t, "alive beat", c.is(web))
	require.Equal(t, "dead exited", c.is(job))
	require.EqualValues(t, 1, c.view(job).Deaths)
	require.Equal(t, "dead exited", c.is(gone), "no longer expected, but known")
	require.Empty(t, c.tracker.Unmet())
	c.pass(time.Second)
	checkInvariants(t, c.tracker)
}

// announce sends a goodbye for a, with a promise.
func (r *rig) announce(a *sender, backIn time.Duration) {
	b := a.beat
	b.Run, b.Seq, b.Status, b.BackIn = "by hand", 1, SaysLeaving, backIn
	r.observe(b)
}

// If a promise is restored after the peer has already beaten, it applies until it ends, unless
// another process or another life of the sender has kept it, or the peer has made a later
// promise.
func TestLatePromiseHolds(t *testing.T) {
	const promised, tillRestored = 2 * time.Minute, 5 * time.Second
	nothing := func(*rig, *sender) {}
	leave := func(c *rig, a *sender) {
		pause(a)
		c.announce(a, 0)
	}
	for _, l := range []struct {
		name     string
		byItself bool
		backIn   time.Duration
		change   func(c *rig, a *sender)
		end      string
		overdue  time.Duration // after the goodbye
	}{
		{"by hand", false, promised, nothing, "left leaving", promised},
		{"its own", true, promised, nothing, "left leaving", promised},
		{"another process", false, promised, func(_ *rig, a *sender) { a.beat.Process.PID = 8 }, "dead silence", 0},
		{"another life", true, promised, func(_ *rig, a *sender) { a.beat.Run = "b" }, "dead silence", 0},
		{"a later one", false, promised, func(c *rig, a *sender) { c.announce(a, 5*time.Minute) }, "left leaving", 5*time.Minute + tillRestored/2},
		{"over", false, tillRestored / 2, nothing, "dead silence", 0},
		{"left since", false, promised, leave, "left leaving", promised},
		{"left since, over", false, tillRestored / 2, leave, "left leaving", 0},
		{"left since, none", false, 0, leave, "left leaving", 0},
	} {
		before := newRig(t)
		a := before.join(time.Second, peerID("web-1", HostService))[0]
		a.beat.Run, a.beat.Process.PID = "a", 7
		before.pass(10 * time.Second)
		said := before.now
		if l.byItself {
			goodbye := a.beat
			a.beat.Seq++
			goodbye.Seq, goodbye.Status, goodbye.BackIn = a.beat.Seq, SaysLeaving, l.backIn
			before.observe(goodbye)
		} else if l.backIn > 0 {
			before.announce(a, l.backIn)
		}
		r := before.tracker.Record(0, before.now)

		c := newRig(t)
		c.now, c.senders, c.tracker = before.now, before.senders, New(before.opts, before.now)
		c.pass(tillRestored / 2)
		l.change(c, a)
		c.pass(tillRestored / 2)
		was := c.is(a.beat.ID)
		c.restore(&r, before.now)
		require.Equal(t, was, c.is(a.beat.ID), l.name)
		pause(a)
		c.pass(time.Minute)
		require.Equal(t, l.end, c.is(a.beat.ID), l.name)
		if l.end != "left leaving" {
			continue
		}
		c.passUntil(10*time.Minute, func() bool { return len(c.deaths()) > 0 })
		if l.overdue == 0 {
			require.Empty(t, c.deaths(), l.name)
			continue
		}
		require.Equal(t, "dead overdue", c.is(a.beat.ID), l.name)
		require.InDelta(t, l.overdue, c.now.Sub(said), float64(slack), l.name)
	}
}

// A collector may read its state file after the first beats. A process that has beaten
// meanwhile is a peer. If a record says that this process has replaced another one, and the
// other one beats again, the process does not become a second peer and is not reported dead.
func TestLateRecordSplitsNoPeerInTwo(t *testing.T) {
	const source = "10.0.0.1"
	beat := func(pid uint32, conn ConnID) Beat {
		return Beat{ID: ID{Source: source, PID: pid}, Process: Process{PID: pid}, Conn: conn}
	}
	before := newRig(t)
	before.observe(beat(2, 1))
	before.ended(1, Closed)
	for range 2 {
		before.observe(beat(5, 2))
		before.pass(time.Second)
	}
	record := before.tracker.Record(0, before.now)
	require.Equal(t, ID{Source: source, PID: 2}, record.ID, "its series continues")
	require.EqualValues(t, 5, record.Process.PID)

	c := newRig(t)
	c.observe(beat(5, 1))
	c.pass(time.Second)
	c.restore(&record, c.now)
	for range 600 {
		c.observe(beat(5, 1))
		c.observe(beat(2, 2))
		c.pass(time.Second)
	}
	require.Equal(t, 2, c.tracker.Len())
	require.Empty(t, c.deaths())
	for _, tr := range c.told {
		require.NotEqual(t, Suspect, tr.State, "%+v", tr)
	}
}

// The same is true for random actions of a few processes of one address before and meanwhile:
// the invariants hold at each step, and when all processes beat, none is reported dead.
func TestLateRecordsKeepTheInvariants(t *testing.T) {
	t.Parallel()
	const pids, source = 4, "10.0.0.1"
	for seed := range uint64(400) {
		rnd := rand.New(rand.NewPCG(seed, 11))
		next := ConnID(pids)
		beat := func(c *rig, pid uint32, conn ConnID) {
			c.observe(Beat{ID: ID{Source: source, PID: pid}, Process: Process{PID: pid}, Conn: conn})
		}
		live := func(c *rig, steps int) {
			for range steps {
				pid := uint32(rnd.IntN(pids) + 1)
				switch rnd.IntN(5) {
				case 0:
					next++
					beat(c, pid, next)
					c.ended(next, Closed)
				case 1, 2:
					beat(c, pid, ConnID(pid)) // over its long connection
				case 3:
					c.ended(ConnID(pid), Closed)
				case 4:
					c.pass(time.Duration(1+rnd.IntN(20)) * 100 * time.Millisecond)
				}
			}
		}
		before := newRig(t)
		live(before, 30)
		records := make([]Record, before.tracker.Len())
		for i := range records {
			records[i] = before.tracker.Record(i, before.now)
		}
		c := newRig(t)
		c.checked, c.now = true, before.now
		c.tracker = New(c.opts, c.now)
		live(c, rnd.IntN(20))
		for i := range records {
			c.restore(&records[i], c.now)
		}
		live(c, 30)
		for range 2 { // now all beat over long connections
			for pid := range uint32(pids) {
				beat(c, pid+1, ConnID(pid+1))
			}
			c.pass(time.Second)
		}
		told := len(c.deaths())
		for range 250 {
			for pid := range uint32(pids) {
				beat(c, pid+1, ConnID(pid+1))
			}
			c.pass(time.Second)
		}
		require.Len(t, c.deaths(), told, "seed %d", seed)
	}
}
