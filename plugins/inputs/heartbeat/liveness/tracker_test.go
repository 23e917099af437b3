package liveness

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What all peers without a past share is never written to.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 && !reflect.ValueOf(noPast).IsZero() {
		fmt.Printf("noPast was written to: %+v\n", noPast)
		code = 1
	}
	os.Exit(code)
}

func TestIDIsSourceAndServiceOrPID(t *testing.T) {
	for _, c := range []struct {
		source, service string
		pid             uint32
		want            string
	}{
		{"web-1", "nginx", 5, "web-1/nginx"},
		{"web-1", "nginx", 0, "web-1/nginx"},
		{"web-1", "", 5, "web-1/5"},
		{"web-1", "", 0, "web-1/host"},
		{"web-1", "host", 5, "web-1/host"},
		{"10.0.0.5", "", 4711, "10.0.0.5/4711"},
	} {
		id, ok := NewID(c.source, c.service, c.pid)
		require.True(t, ok)
		require.Equal(t, c.want, id.String())
	}
	_, ok := NewID("", "nginx", 5)
	require.False(t, ok, "a beat with neither address nor host belongs to no peer")
}

// A margin is (missed_beats - 1/2) intervals, at most an hour, and then the
// largest odd number of half intervals that fits.
func TestAllowedSilence(t *testing.T) {
	for _, c := range []struct {
		missed                  int
		interval, suspect, dead string
	}{
		{3, "0s", "105s", "210s"},
		{3, "100ms", "575ms", "2s"},
		{3, "1s", "1.625s", "3.5s"},
		{3, "10s", "16.25s", "35s"},
		{1, "10s", "11.25s", "15s"},
		{5, "10s", "21.25s", "55s"},
		{3, "5m", "8m7.5s", "17.5m"},
		{3, "24m", "39m", "84m"},
		{3, "25m", "34m22.5s", "62.5m"},
		{3, "1h", "67.5m", "90m"},
		{3, "70m", "78m45s", "105m"},
		{3, "119m", "133m52.5s", "178m30s"},
		{3, "2h", "2.25h", "3h"},
		{3, "24h", "24.25h", "25h"},
		{3, "744h", "744.25h", "745h"},
		{3, "9600h", "9600.25h", "9601h"},
		{1000, "9600h", "9600.25h", "9601h"},
		{1000, "100ms", "25.0875s", "100.05s"},
	} {
		opts := defaults()
		opts.Margin = MarginOf(c.missed)
		got := New(opts, epoch).SilenceFor(&Beat{Interval: span(t, c.interval)})
		require.Equal(t, span(t, c.suspect), got.Suspect, "suspect at %s", c.interval)
		require.Equal(t, span(t, c.dead), got.Dead, "dead at %s", c.interval)
	}
	terms := defaults().Terms
	terms.MaxDeadAfter = 30 * time.Second
	require.Equal(t, Silence{Suspect: 15 * time.Second, Dead: 30 * time.Second, Rule: "max_dead_after"}, terms.silence(time.Hour, 0, nil, 0))
	require.Equal(t, "interval", terms.silence(time.Second, 0, nil, 0).Rule)
	require.Equal(t, "dead_after", terms.silence(0, 0, nil, 0).Rule)
}

func span(t *testing.T, text string) time.Duration {
	d, err := time.ParseDuration(text)
	require.NoError(t, err)
	return d
}

func TestSlowIntervalsDieOnlyWhenTheyStop(t *testing.T) {
	t.Parallel()
	for interval, told := range map[time.Duration]time.Duration{
		5 * time.Minute: 17*time.Minute + 30*time.Second,
		time.Hour:       90 * time.Minute,
		24 * time.Hour:  25 * time.Hour,
	} {
		t.Run(interval.String(), func(t *testing.T) {
			t.Parallel()
			l := newRig(t)
			id := ID{Source: "web-1", Service: "backup"}
			for range 30 * 24 * time.Hour / interval {
				l.observe(Beat{ID: id, Interval: interval})
				l.pass(interval)
			}
			require.Empty(t, l.deaths())
			l.observe(Beat{ID: id, Interval: interval})
			stopped := l.now
			l.pass(26 * time.Hour)
			require.Len(t, l.deaths(), 1)
			require.Equal(t, told+TickInterval, l.deaths()[0].Since.Sub(stopped), "at the second tick past the deadline")
		})
	}
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

func TestStoppedCollectorDeclaresNobodyDead(t *testing.T) {
	l := newRig(t)
	for i := range 50 {
		l.observe(Beat{ID: ID{Source: "web-1", Service: fmt.Sprint("s", i)}, Interval: 10 * time.Second})
	}
	l.pass(10 * time.Second)
	l.now = l.now.Add(350 * time.Second)
	l.pass(time.Second)
	require.Empty(t, l.deaths())
	require.Equal(t, 50, l.tracker.Count(Alive))
	require.InDelta(t, 350, l.tracker.Stalled().Seconds(), 0.3)
}

// The stamps of a peer grow by at least a millisecond, or two points of one
// series would be one in a database; but they follow a clock set back.
func TestStampsOfAPeerGrow(t *testing.T) {
	l := newRig(t)
	b := Beat{ID: ID{Source: "a", Service: "x"}, Interval: time.Second, Process: Process{PID: 1}}
	var last time.Time
	grows := func(stamp time.Time) {
		require.GreaterOrEqual(t, stamp.Sub(last), time.Millisecond)
		last = stamp
	}
	for range 3 {
		b.Process.PID++ // each a restart: beat and event in one instant
		out := l.tracker.Observe(l.now, &b)
		grows(out.At)
		for _, tr := range out.Transitions {
			grows(tr.At)
		}
		grows(l.tracker.View(0, l.now).At)
	}
	require.Less(t, last.Sub(l.now), 20*time.Millisecond)
	back := l.now.Add(-time.Hour)
	require.Equal(t, back, l.tracker.View(0, back).At.UTC(), "a clock set back")
}

func TestLabelsStayUntilTheyChange(t *testing.T) {
	l := newRig(t)
	b := Beat{ID: ID{Source: "a", Service: "x"}, Labels: []Label{{"site", "north"}, {"rack", "7"}}}
	l.observe(b)
	before := l.tracker.View(0, l.now).Labels
	b.Labels = []Label{{"rack", "8"}}
	closing := l.observe(b).Transitions
	require.Len(t, closing, 1, "the series with the old label ends")
	require.Equal(t, []any{Left, ReasonReplaced, before}, []any{closing[0].State, closing[0].Reason, closing[0].Labels})
	require.Empty(t, l.observe(b).Transitions)
	require.Equal(t, []Label{{"site", "north"}, {"rack", "8"}}, l.tracker.View(0, l.now).Labels)
	require.Equal(t, []Label{{"site", "north"}, {"rack", "7"}}, before, "views that were handed out stay as they were")
}

func TestConnectedFollowsTheLatestBeat(t *testing.T) {
	l := newRig(t)
	b := Beat{ID: ID{Source: "a", Service: "x"}, Conn: 1}
	l.observe(b)
	require.True(t, l.tracker.View(0, l.now).Connected)
	b.Conn = 2
	l.observe(b)
	ended := func(conn ConnID) { l.tracker.ConnEnded(l.now, conn, Closed, addrOf(conn)) }
	ended(1)
	require.True(t, l.tracker.View(0, l.now).Connected, "the latest beat came over another one")
	ended(2)
	require.False(t, l.tracker.View(0, l.now).Connected)
}

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
	require.Equal(t, 200*time.Millisecond, out.Jitter, "two intervals, for one beat was lost")
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

// The numbers stand in databases and in value mappings of dashboards.
func TestCodesNeverChange(t *testing.T) {
	text := make([]string, 0, 16)
	for _, s := range States {
		text = append(text, fmt.Sprintf("%d=%v", s, s))
	}
	for _, r := range []Reason{
		ReasonNone, ReasonBeat, ReasonSilence, ReasonExited, ReasonLeaving, ReasonFinished, ReasonOverdue, ReasonReplaced, ReasonForgotten,
	} {
		text = append(text, fmt.Sprintf("%d=%v", r, r))
	}
	require.Equal(t, "0=unknown 1=alive 2=suspect 3=dead 4=left "+
		"0=none 1=beat 2=silence 7=exited 9=leaving 10=finished 11=overdue 15=replaced 16=forgotten", strings.Join(text, " "))
}

func BenchmarkObserve(b *testing.B) {
	opts := defaults()
	opts.MaxPeers = 1_000_000
	t := New(opts, epoch)
	beats := make([]Beat, 100_000)
	for i := range beats {
		beats[i] = Beat{ID: ID{Source: fmt.Sprint("host-", i*7919%len(beats)), Service: "nginx"}, Interval: 10 * time.Second, Run: "r"}
	}
	now := epoch
	for i := 0; b.Loop(); i++ {
		beat := &beats[i%len(beats)]
		beat.Seq++
		now = now.Add(time.Microsecond)
		t.Observe(now, beat)
	}
}

func BenchmarkSweep(b *testing.B) {
	opts := defaults()
	opts.MaxPeers = 1_000_000
	t := New(opts, epoch)
	for i := range 1_000_000 {
		t.Observe(epoch, &Beat{ID: ID{Source: fmt.Sprint("host-", i), Service: "nginx"}, Interval: time.Hour})
	}
	for b.Loop() {
		t.sweep(epoch)
	}
}
