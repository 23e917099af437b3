package liveness

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// window is how far the tests allow a clock to be off.
const window = 5 * time.Minute

// newSignedRig returns a rig that judges signed beats.
func newSignedRig(t *testing.T) *rig {
	return newRig(t, func(o *Options) { o.ReplayWindow = window })
}

// signed returns a signed beat that is sent now, by a clock that is wrong by off.
func (r *rig) signed(run string, seq int64, off time.Duration) Beat {
	return Beat{
		ID: peerID("web-1", "host"), Run: run, Seq: seq, Interval: time.Minute,
		Signed: true, SentMS: r.now.Add(off).UnixMilli(),
	}
}

func TestReplayIsRefused(t *testing.T) {
	for name, try := range map[string]struct {
		again func(l *rig, old Beat) Beat // the beat that is sent after old, "a" 7, and "b" 1
		after bool                        // the refusal gives a time
	}{
		"the latest once more":      {again: func(l *rig, _ Beat) Beat { return l.signed("b", 1, 0) }},
		"one of the run before":     {again: func(_ *rig, old Beat) Beat { return old }},
		"a number less":             {again: func(l *rig, _ Beat) Beat { return l.signed("a", 6, 0) }},
		"a clock too far behind":    {again: func(l *rig, _ Beat) Beat { return l.signed("c", 1, -window-time.Second) }, after: true},
		"a clock too far ahead":     {again: func(l *rig, _ Beat) Beat { return l.signed("c", 1, window+time.Second) }, after: true},
		"its clock was set to 1970": {again: func(l *rig, b Beat) Beat { b = l.signed("c", 1, 0); b.SentMS = 1; return b }, after: true},
	} {
		t.Run(name, func(t *testing.T) {
			l := newSignedRig(t)
			old := l.signed("a", 7, 0)
			require.Equal(t, Accepted, l.observe(old).Fate)
			l.pass(10 * time.Second)
			require.Equal(t, Accepted, l.observe(l.signed("b", 1, 0)).Fate)
			counted := l.view(old.ID).Counters
			out := l.observe(try.again(l, old))
			require.Equal(t, Replayed, out.Fate)
			require.Equal(t, try.after, out.After > 0)
			require.Equal(t, counted, l.view(old.ID).Counters, "a replay reports nothing")

			if try.after { // a sender that follows the answer is accepted
				next := l.signed("c", 1, 0)
				next.SentMS = out.After + 1
				require.Equal(t, Accepted, l.observe(next).Fate)
			}
		})
	}
}

// No beat of a sender that continues its run is lost because of a wrong clock, and no beat of
// a new run because our clock was set.
func TestClocksDoNotEndRuns(t *testing.T) {
	l := newSignedRig(t)
	seq := int64(0)
	accepted := func(run string, off time.Duration) {
		t.Helper()
		seq++
		require.Equal(t, Accepted, l.observe(l.signed(run, seq, off)).Fate)
		l.pass(10 * time.Second)
	}
	accepted("a", 0)
	for _, off := range []time.Duration{24 * time.Hour, -24 * time.Hour, 0, -time.Hour, 9000 * time.Hour, 0} {
		accepted("a", off)
	}
	accepted("b", 0)
	accepted("c", window-time.Second)
	accepted("d", 0)
	accepted("e", time.Second-window)
	accepted("c", -24*time.Hour)
}

// A run continues although its clock is wrong and other runs begin and end beside it.
func TestWrongClockBesideOneShots(t *testing.T) {
	l := newSignedRig(t)
	require.Equal(t, Accepted, l.observe(l.signed("daemon", 1, 0)).Fate)
	for i := range int64(20) {
		for j := range 3 {
			l.pass(time.Minute)
			require.Equal(t, Accepted, l.observe(l.signed(string(rune('A'+3*i))+string(rune('a'+j)), 1, 0)).Fate)
		}
		require.Equal(t, Accepted, l.observe(l.signed("daemon", 2+i, -24*time.Hour)).Fate)
	}
}

// A sender that is restarted after its clock was set back is accepted at once: over datagrams
// it cannot learn the time.
func TestClockOfASenderMayBeSetBack(t *testing.T) {
	l := newSignedRig(t)
	before := l.signed("a", 9, 0)
	require.Equal(t, Accepted, l.observe(before).Fate)
	l.pass(time.Second)
	after := l.signed("b", 1, -4*time.Minute)
	require.Equal(t, Accepted, l.observe(after).Fate)
	for range 10 {
		l.pass(time.Minute)
		require.Equal(t, Replayed, l.observe(before).Fate)
		require.Equal(t, Replayed, l.observe(after).Fate)
	}
}

// If there are more runs within the window than are remembered, each new run must begin later
// than all forgotten runs.
func TestRunsBeyondThoseRemembered(t *testing.T) {
	l := newSignedRig(t)
	runs := make([]Beat, maxSignedRuns+4)
	for i := range runs {
		runs[i] = l.signed(string(rune('a'+i)), 1, 0)
		require.Equal(t, Accepted, l.observe(runs[i]).Fate)
		l.pass(time.Second)
	}
	require.Len(t, l.tracker.lookUp(runs[0].ID).proof.runs, maxSignedRuns)
	for _, b := range runs {
		require.Equal(t, Replayed, l.observe(b).Fate)
	}
	late := l.signed("late", 1, -17*time.Second) // later than the last forgotten run
	out := l.observe(late)
	require.Equal(t, Replayed, out.Fate)
	require.Equal(t, Accepted, l.observe(l.signed("behind", 1, -15*time.Second)).Fate)
	late.SentMS = out.After + 1
	require.Equal(t, Accepted, l.observe(late).Fate)

	l.pass(window + time.Minute)
	require.Equal(t, Accepted, l.observe(l.signed("z", 1, 0)).Fate)
	require.Len(t, l.tracker.lookUp(late.ID).proof.runs, leastSignedRuns, "the others cannot come again")
}

// An unsigned beat leaves no proof.
func TestUnsignedPeersKeepNoProof(t *testing.T) {
	l := newSignedRig(t)
	b := l.signed("a", 1, 0)
	b.Signed = false
	require.Equal(t, Accepted, l.observe(b).Fate)
	require.Nil(t, l.tracker.lookUp(b.ID).proof)
}

// Within a run a clock may be wrong; beats of other runs are not accepted because of it.
func TestWrongClocksOpenNoWay(t *testing.T) {
	l := newSignedRig(t)
	old := l.signed("a", 1, 0)
	l.observe(old)
	for _, run := range []string{"x", "b"} {
		l.pass(time.Second)
		require.Equal(t, Accepted, l.observe(l.signed(run, 1, 0)).Fate)
	}
	require.Equal(t, Accepted, l.observe(l.signed("b", 2, 24*time.Hour)).Fate)
	require.Equal(t, Replayed, l.observe(old).Fate)
	require.Equal(t, Accepted, l.observe(l.signed("b", 3, -time.Minute)).Fate)
	for i := range maxSignedRuns {
		l.pass(time.Second)
		require.Equal(t, Accepted, l.observe(l.signed(string(rune('A'+i)), 1, 0)).Fate, "none must be sent after tomorrow")
	}
	require.Equal(t, Replayed, l.observe(old).Fate)
	b := l.signed("b", 4, 0)
	b.SentMS = epoch.Add(time.Second).UnixMilli()
	require.Equal(t, Replayed, l.observe(b).Fate, "b is forgotten, but not when its last beat was")
}

// When our clock was an hour ahead and is corrected, no sender has to wait an hour before it
// can begin a run.
func TestOurClockMayBeSetBack(t *testing.T) {
	l := newSignedRig(t)
	l.observe(l.signed("a", 1, 0))
	record := l.tracker.Record(0, l.now)
	record.SentMS = l.now.Add(time.Hour).UnixMilli()
	next := newSignedRig(t)
	next.tracker.Restore(&record, l.now, next.now)
	b := next.signed("b", 1, 0)
	require.Equal(t, Accepted, next.observe(b).Fate)
	next.pass(time.Hour)
	require.Equal(t, Accepted, next.observe(next.signed("c", 1, 0)).Fate, "an hour later too")
	require.Equal(t, Replayed, next.observe(b).Fate)
}

// Each beat is accepted only once, even if runs are forgotten in between.
func TestNothingIsHeardTwice(t *testing.T) {
	l := newSignedRig(t)
	var said []Beat
	for i := range 40 {
		b := l.signed(string(rune('a'+i%23)), int64(i+1), time.Duration(i%3-1)*time.Second)
		if l.observe(b).Fate == Accepted {
			said = append(said, b)
		}
		l.pass(500 * time.Millisecond)
		for _, b := range said {
			require.Equal(t, Replayed, l.observe(b).Fate)
		}
	}
	require.Len(t, said, 40)
}

// A peer that was forgotten, or was never known, must have a correct clock.
func TestStrangersNeedTheTime(t *testing.T) {
	l := newSignedRig(t)
	require.Equal(t, Replayed, l.observe(l.signed("a", 1, -window-time.Millisecond)).Fate)
	require.Zero(t, l.tracker.Len(), "a replay makes no peer")
	require.Equal(t, Accepted, l.observe(l.signed("a", 1, -window)).Fate)
}

// After a restart, the collector still knows which beats it has received.
func TestReplaySurvivesARestart(t *testing.T) {
	l := newSignedRig(t)
	old := l.signed("a", 7, 0)
	l.observe(old)
	l.pass(time.Second)
	once := l.signed("b", 1, 0)
	l.observe(once)
	record := l.tracker.Record(0, l.now)
	next := newSignedRig(t)
	next.now = l.now.Add(time.Second)
	next.tracker.Restore(&record, l.now, next.now)
	require.Equal(t, Replayed, next.observe(old).Fate)
	require.Equal(t, Replayed, next.observe(once).Fate)
	require.Equal(t, Accepted, next.observe(l.signed("a", 8, 0)).Fate)
}

// The record of a collector that remembered two runs, and the latest send time, is enough for
// the next one.
func TestRecordOfTwoRuns(t *testing.T) {
	l := newSignedRig(t)
	record := Record{
		ID: peerID("web-1", "host"), State: Alive, Heard: l.now, Since: l.now, Runs: []Run{{"a", 7}, {"b", 3}}, SentMS: l.now.UnixMilli(),
	}
	l.tracker.Restore(&record, l.now, l.now)
	for _, b := range []Beat{l.signed("a", 7, 0), l.signed("b", 2, 0), l.signed("forgotten", 1, 0)} {
		require.Equal(t, Replayed, l.observe(b).Fate, b.Run)
	}
	l.pass(time.Second)
	for _, b := range []Beat{l.signed("a", 8, 0), l.signed("b", 4, 0), l.signed("c", 1, 0)} {
		require.Equal(t, Accepted, l.observe(b).Fate, b.Run)
	}
}

// A peer belongs to the user that beat for it first, until it has left.
func TestPeerBelongsToAUser(t *testing.T) {
	const root, alice, bob = 0, 1000, 1001
	for name, c := range map[string]struct {
		before []uint32 // users that beat before, one after the other
		ends   Status   // status of the last beat before
		user   uint32   // user that beats then
		want   Fate
	}{
		"its own":                {[]uint32{alice}, SaysAlive, alice, Accepted},
		"another one's":          {[]uint32{alice}, SaysAlive, bob, OwnedByOtherUser},
		"another one's, dead":    {[]uint32{alice}, SaysDead, bob, OwnedByOtherUser},
		"another one's, left":    {[]uint32{alice}, SaysLeaving, bob, Accepted},
		"root":                   {[]uint32{alice}, SaysAlive, root, Accepted},
		"after root":             {[]uint32{root}, SaysAlive, alice, Accepted},
		"root takes nothing":     {[]uint32{alice, root}, SaysAlive, bob, OwnedByOtherUser},
		"root retires":           {[]uint32{alice, root}, SaysLeaving, bob, Accepted},
		"a stranger":             {nil, SaysAlive, bob, Accepted},
		"it goes to the next":    {[]uint32{alice}, SaysLeaving, alice, Accepted},
		"and belongs to nobody":  {[]uint32{root, root}, SaysAlive, bob, Accepted},
		"other transports are 0": {[]uint32{alice}, SaysDead, root, Accepted},
	} {
		for _, status := range []Status{SaysAlive, SaysLeaving, SaysDead} {
			for _, restarted := range []bool{false, true} {
				l := newRig(t)
				b := Beat{ID: peerID("web-1", "nginx"), Interval: time.Minute, HasExitCode: true}
				for i, user := range c.before {
					b.User, b.Status = user, SaysAlive
					if i == len(c.before)-1 && c.ends != SaysAlive {
						require.Equal(t, Accepted, l.observe(b).Fate, name)
						b.Status = c.ends
					}
					require.Equal(t, Accepted, l.observe(b).Fate, name)
				}
				if restarted && len(c.before) > 0 {
					record := l.tracker.Record(0, l.now)
					l = newRig(t)
					l.tracker.Restore(&record, l.now, l.now)
				}
				b.User, b.Status = c.user, status
				what := fmt.Sprintf("%s, status %d, restarted %v", name, status, restarted)
				require.Equal(t, c.want == OwnedByOtherUser, l.tracker.OwnedByOtherUser(&b), what)
				require.Equal(t, c.want, l.observe(b).Fate, what)
			}
		}
	}
}
