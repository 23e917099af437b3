package liveness

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRateSavesNoCredit(t *testing.T) {
	var r rate
	for _, at := range []time.Duration{0, time.Hour} {
		n := 0
		for r.take(at, 10) {
			n++
		}
		require.Equal(t, 20, n)
	}
	r = 0
	n := 0
	for r.take(0, 0) {
		n++
	}
	require.Equal(t, 2*maxRate, n, "0 is as many as stamps allow")
	r, n = 0, 0
	for r.take(0, 1<<30) {
		n++
	}
	require.Equal(t, 2*maxRate, n, "and more cannot be")
}

func TestSilenceAtTheEdges(t *testing.T) {
	terms := defaults().Terms
	terms.MaxDeadAfter = 10 * time.Second
	require.Equal(t, 5*time.Second, terms.silence(10*time.Second, 0, nil, 0).Suspect, "the ceiling is the interval itself")
	terms = defaults().Terms
	require.Equal(t, 3*time.Hour, terms.silence(2*time.Hour, 0, nil, 0).Dead, "2h: one half step fits")
	require.Equal(t, 3*time.Hour+time.Millisecond, terms.silence(2*time.Hour+time.Millisecond, 0, nil, 0).Dead)
}

func TestOutcomesCarryTheSilence(t *testing.T) {
	l := newRig(t)
	b := Beat{ID: ID{Source: "a", Service: "x"}, Interval: 10 * time.Second, Run: "r", Seq: 5}
	want := l.tracker.SilenceFor(&b)
	require.Equal(t, "interval", want.Rule)
	first := l.observe(b).Silence
	require.Equal(t, want.Dead, first.Dead)
	want = first
	require.Equal(t, want, l.observe(b).Silence, "duplicate")
	b.Seq = 4
	require.Equal(t, want, l.observe(b).Silence, "late")
	l.tracker.opts.MaxPeers = 1
	b.ID.Service = "y"
	want.Rule = "interval" // nothing is learnt of it
	require.Equal(t, want, l.observe(b).Silence, "full")
}

func TestFirstBeatHasNoGap(t *testing.T) {
	l := newRig(t)
	l.pass(time.Minute)
	out := l.observe(Beat{ID: ID{Source: "a", Service: "x"}, Process: Process{PID: 1}, Interval: 10 * time.Second})
	require.Zero(t, out.Gap)
	require.Zero(t, out.Jitter)
	l.pass(time.Second)
	out = l.observe(Beat{ID: ID{Source: "a", Service: "x"}, Process: Process{PID: 2}, Run: "r", Seq: 1, Status: SaysLeaving})
	require.NotEmpty(t, out.Transitions)
	require.Zero(t, out.Gap, "of a process that was not heard before")
}

func TestExitCodeAndAddress(t *testing.T) {
	l := newRig(t)
	id := ID{Source: "a", Service: "x"}
	view := func() View { return l.tracker.View(0, l.now) }
	l.observe(Beat{ID: id, Status: SaysDead, ExitCode: 137, HasExitCode: true, Addr: netip.MustParseAddr("10.0.0.1")})
	require.EqualValues(t, 137, view().ExitCode)
	require.InDelta(t, 1.0, view().Suspicion, 0)
	l.observe(Beat{ID: id, Addr: netip.MustParseAddr("10.0.0.2")})
	require.False(t, view().HasExitCode, "it lives again")
	require.Equal(t, "10.0.0.2", view().Addr.String())
	l.observe(Beat{ID: id, Status: SaysLeaving, ExitCode: 3, HasExitCode: true})
	require.EqualValues(t, 3, view().ExitCode)
	require.Equal(t, ReasonLeaving, view().Reason)
}

func TestLongConnectionAt100ms(t *testing.T) {
	for gap, long := range map[time.Duration]bool{99 * time.Millisecond: false, 100 * time.Millisecond: true} {
		for _, end := range []End{Closed, Reset, GivenUp, EndedByUs} {
			l := newRig(t)
			b := Beat{ID: ID{Source: "10.0.0.5", PID: 1}, Conn: 1}
			l.observe(b)
			l.now = l.now.Add(gap)
			l.observe(b)
			l.tracker.ConnEnded(l.now, 1, end, addrOf(1))
			b.ID.PID, b.Conn = 2, 2
			l.observe(b)
			require.Equal(t, !long || end != EndedByUs, l.tracker.Len() == 1, fmt.Sprint(gap, end))
		}
	}
	l := newRig(t) // no connection is none of length
	b := Beat{ID: ID{Source: "10.0.0.5", PID: 1}}
	l.observe(b)
	l.now = l.now.Add(time.Second)
	l.observe(b)
	l.tracker.ConnEnded(l.now, 0, Closed, addrOf(0))
	b.ID.PID = 2
	l.observe(b)
	require.Equal(t, 2, l.tracker.Len())
}

func TestFlappingForTenMinutes(t *testing.T) {
	p := &peer{past: &noPast}
	for range flapChanges {
		p.noteChange(time.Minute)
	}
	require.True(t, p.flapping(11*time.Minute))
	require.False(t, p.flapping(11*time.Minute+1))
	p = &peer{past: &noPast}
	p.noteChange(time.Minute)
	require.False(t, p.flapping(time.Minute+1))
}

func TestStampsFollowOnlyAClockSetBackFar(t *testing.T) {
	p := &peer{past: &noPast}
	require.Equal(t, epoch, p.nextStamp(epoch.Add(999*time.Microsecond)).UTC(), "whole milliseconds")
	require.Equal(t, epoch.Add(time.Millisecond), p.nextStamp(epoch.Add(-4*time.Second)).UTC())
	require.Equal(t, epoch.Add(-6*time.Second), p.nextStamp(epoch.Add(-6*time.Second)).UTC())
}

func TestClockOfReadersAndTicks(t *testing.T) {
	l := newRig(t)
	b := Beat{ID: ID{Source: "a", Service: "x"}, Interval: 10 * time.Second}
	l.pass(10 * time.Second)
	before := l.now
	l.now = l.now.Add(time.Second) // nothing ticks
	l.observe(b)
	require.Equal(t, 35*time.Second, l.tracker.View(0, l.now).Deadline)
	require.Equal(t, 35*time.Second, l.tracker.View(0, before.Add(300*time.Millisecond)).Deadline, "the clock stands still beyond 200 ms")
	l.tracker.Tick(before) // and never goes back
	require.Equal(t, 10*time.Second, l.tracker.tickV)
	l.tracker.Tick(before.Add(150 * time.Millisecond))
	require.Zero(t, l.tracker.Stalled(), "a late tick is no stall")
	b.Seq = 0
	out := l.tracker.Observe(before, &b)
	require.Zero(t, out.Gap, "a reader that was overtaken")
}

func TestViewsHandedOutKeepTheirLabels(t *testing.T) {
	l := newRig(t)
	b := Beat{ID: ID{Source: "a", Service: "x"}, Labels: []Label{{"a", "1"}, {"b", "1"}, {"c", "1"}}}
	l.observe(b)
	one := l.tracker.peers[b.ID]
	one.labels = append(make([]Label, 0, 8), one.labels...) // room behind
	before := one.labels[:4:4]
	b.Labels = []Label{{"d", "1"}}
	l.observe(b)
	require.Zero(t, before[3])
}

func TestForgottenPeerHandsItsWakeOn(t *testing.T) {
	l := newRig(t)
	l.observe(Beat{ID: ID{Source: "a", Service: "gone"}, Status: SaysLeaving})
	l.pass(59 * time.Minute)
	l.observe(Beat{ID: ID{Source: "a", Service: "x"}, Interval: time.Hour})
	l.pass(2 * time.Minute) // gone is forgotten, x takes its number
	require.Equal(t, l.tracker.order[0].wakeV(&l.tracker.opts), l.tracker.wake[0])
}
