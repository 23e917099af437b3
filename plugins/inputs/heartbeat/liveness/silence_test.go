package liveness

import (
	"encoding/csv"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A margin is (missed_beats - 1/2) intervals. If that is more than an hour, the margin is the
// largest odd number of half intervals within an hour.
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

func TestSilenceAtTheEdges(t *testing.T) {
	terms := defaults().Terms
	terms.MaxDeadAfter = 10 * time.Second
	require.Equal(t, 5*time.Second, terms.silence(10*time.Second, 0, nil, 0).Suspect, "the ceiling is the interval itself")
	terms = defaults().Terms
	require.Equal(t, 3*time.Hour, terms.silence(2*time.Hour, 0, nil, 0).Dead, "2h: one half step fits")
	require.Equal(t, 3*time.Hour+time.Millisecond, terms.silence(2*time.Hour+time.Millisecond, 0, nil, 0).Dead)
}

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

// Each execution of a cron job is a separate run, but all of them share one schedule: a peer
// that is often late gets a longer margin here too.
func TestOneShotsMakeOneSchedule(t *testing.T) {
	c := newRig(t)
	b := Beat{ID: peerID("web-1", "job"), Interval: time.Minute, Seq: 1}
	var out Outcome
	for n := range 40 {
		b.Run = fmt.Sprint("run-", n)
		out = c.observe(b)
		c.pass(time.Minute + time.Duration(1-2*(n%2))*15*time.Second) // late and early in turn
	}
	require.Greater(t, out.Silence.Dead, 250*time.Second)
}

// TestScheduleAgreesWithReference plays 2,000 beats of a bad radio link and compares the
// deadlines with those of the reference in internal/verdicts. The reference intentionally
// begins with an interval that is 3 % wrong, and with a lateness.
func TestScheduleAgreesWithReference(t *testing.T) {
	t.Parallel()
	const declared = time.Second
	terms := Terms{Margin: MarginOf(3)}
	s := schedule{interval: 970 * time.Millisecond, lateness: declared / 16}
	var before int64
	for i, beat := range golden(t) {
		seq, at, want := beat[0], time.Duration(beat[1])*time.Microsecond, time.Duration(beat[2])*time.Microsecond
		if i == 0 {
			s.begin(at, declared)
		} else {
			s.learn(at, declared, seq-before)
		}
		before = seq
		got := at + terms.silence(declared, 0, &s, at).Dead
		require.InDelta(t, want.Seconds(), got.Seconds(), 0.001, "deadline after beat %d", seq)
	}
}

func golden(t *testing.T) [][3]int64 {
	t.Helper()
	file, err := os.Open("testdata/wifi101.csv")
	require.NoError(t, err)
	defer file.Close()
	lines := csv.NewReader(file)
	lines.Comment = '#'
	rows, err := lines.ReadAll()
	require.NoError(t, err)
	require.Len(t, rows[1:], 2000)
	beats := make([][3]int64, 2000)
	for i, row := range rows[1:] {
		for column, text := range row {
			beats[i][column], err = strconv.ParseInt(text, 10, 64)
			require.NoError(t, err)
		}
	}
	return beats
}

// The wait for a job that runs once a year may be longer than a year, and so may its promise.
func TestWaitsOfYearsHaveNoOverflow(t *testing.T) {
	const day = 24 * time.Hour
	r := newRig(t)
	r.checked = true
	yearly, away, runs := peerID("db-1", "inventory"), peerID("db-2", "inventory"), peerID("db-3", "inventory")
	beat := Beat{Interval: 400 * day, Margin: 400 * day}
	for _, id := range []ID{yearly, away, runs} {
		beat.ID = id
		r.observe(beat)
	}
	r.observe(Beat{ID: away, Status: SaysLeaving, BackIn: 400 * day})
	r.observe(Beat{ID: runs, Begins: true, Job: "a", MaxRuntime: 400 * day})
	r.pass(time.Second)
	require.Equal(t, 800*day, r.view(yearly).DeadAfter)
	require.Equal(t, 800*day-time.Second, r.view(yearly).Deadline)
	for _, wake := range r.tracker.wake {
		require.Greater(t, wake, 300*day, "no peer is checked before")
	}
	r.restart(399 * day)
	r.pass(time.Second)
	require.Equal(t, "alive beat", r.is(yearly))
	require.Equal(t, 800*day, r.view(yearly).DeadAfter)
	require.Greater(t, r.view(yearly).Deadline, 799*day, "time without a collector is no silence")
	require.Equal(t, "left leaving", r.is(away))
	require.Equal(t, 400*day-2*time.Second, r.tracker.Details(int(r.tracker.lookUp(away).index), r.now).BackIn)
	require.Equal(t, "alive beat", r.is(runs))
}
