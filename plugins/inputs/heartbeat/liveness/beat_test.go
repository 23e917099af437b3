package liveness

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestGapJitterAndLost(t *testing.T) {
	l := newRig(t)
	b := Beat{ID: ID{Source: "a", Service: "x"}, Interval: 10 * time.Second, Run: "r", Seq: 1}
	require.Zero(t, l.observe(b).Gap)
	l.pass(10500 * time.Millisecond)
	b.Seq = 2
	out := l.observe(b)
	require.Equal(t, []time.Duration{10500 * time.Millisecond, 500 * time.Millisecond}, []time.Duration{out.Gap, out.Jitter})
	l.pass(19800 * time.Millisecond)
	b.Seq = 4
	out = l.observe(b)
	require.EqualValues(t, 1, out.Lost)
	require.Equal(t, 200*time.Millisecond, out.Jitter, "two intervals, because one beat was lost")
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
	require.Zero(t, out.Gap, "first beat of the process")
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
	want.Rule = "interval" // the schedule has learned nothing from the beat
	require.Equal(t, want, l.observe(b).Silence, "full")
}

func TestRateSavesNoCredit(t *testing.T) {
	var r rate
	for _, at := range []time.Duration{0, time.Hour} {
		n := 0
		for r.allow(at, 10) {
			n++
		}
		require.Equal(t, 20, n)
	}
	r = 0
	n := 0
	for r.allow(0, 0) {
		n++
	}
	require.Equal(t, 2*maxRate, n, "0 is as many as stamps allow")
	r, n = 0, 0
	for r.allow(0, 1<<30) {
		n++
	}
	require.Equal(t, 2*maxRate, n, "more is not possible")
}

func TestMinuteCronIsOnePeer(t *testing.T) {
	for _, interval := range []time.Duration{0, time.Minute} {
		l := newRig(t)
		id := ID{Source: "web-1", Service: HostService}
		for i := range 60 {
			l.observe(Beat{ID: id, Run: fmt.Sprint("run", i), Seq: 1, Interval: interval, Process: Process{Boot: "b"}})
			l.pass(time.Minute)
		}
		require.Equal(t, 1, l.tracker.Len())
		require.Equal(t, Counters{Beats: 60}, l.view(id).Counters)
	}
}

func TestRestartedSenderIsNoRestartOfItsTarget(t *testing.T) {
	l := newRig(t)
	id := ID{Source: "web-1", Service: "nginx"}
	nginx := Process{Boot: "b", PID: 815, Start: time.Minute}
	for i := range 100 {
		for seq := range int64(3) {
			l.observe(Beat{ID: id, Run: fmt.Sprint("run", i), Seq: seq + 1, Interval: 10 * time.Second, Process: nginx})
			l.pass(10 * time.Second)
		}
	}
	require.Empty(t, l.deaths())
	require.Equal(t, Counters{Beats: 300}, l.view(id).Counters)
}

func TestBeatOfKnownPeerAllocatesNothing(t *testing.T) {
	l := newRig(t)
	b := Beat{
		ID: ID{Source: "a", Service: "x"}, Interval: 10 * time.Second, Run: "r", Seq: 1,
		Labels: []Label{{"site", "north"}}, Process: Process{Boot: "b", PID: 1},
	}
	l.observe(b)
	allocs := testing.AllocsPerRun(100, func() {
		b.Seq++
		l.now = l.now.Add(time.Second)
		l.tracker.Observe(l.now, &b)
		l.tracker.Tick(l.now)
	})
	require.Zero(t, allocs)
}
