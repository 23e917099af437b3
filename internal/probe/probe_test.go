package probe

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// What is said after each run: a failure is one, two in succession are a death, and
// the next success is a life.
func TestTwoFailuresInSuccessionAreADeath(t *testing.T) {
	for name, tt := range map[string]struct {
		codes []int
		want  []State
	}{
		"what each code means": {[]int{0, 1, 3, 0}, []State{{OK, 0, false}, {Warn, 1, false}, {Unknown, 3, false}, {OK, 0, false}}},
		"critical":             {[]int{2, 2, 0}, []State{{Fail, 2, false}, {Fail, 2, true}, {OK, 0, false}}},
		"one failure":          {[]int{0, 2, 0}, []State{{OK, 0, false}, {Fail, 2, false}, {OK, 0, false}}},
		"not in succession":    {[]int{2, 1, 2, 3, 2}, []State{{Fail, 2, false}, {Warn, 1, false}, {Fail, 2, false}, {Unknown, 3, false}, {Fail, 2, false}}},
		"of two kinds":         {[]int{4, TimedOut, 139}, []State{{Fail, 4, false}, {Fail, TimedOut, true}, {Fail, 139, true}}},
		"dead, then unknown":   {[]int{127, 127, 3}, []State{{Fail, 127, false}, {Fail, 127, true}, {Unknown, 3, false}}},
		"negative, on Windows": {[]int{-1, -1}, []State{{Fail, -1, false}, {Fail, -1, true}}},
	} {
		var s State
		for i, code := range tt.codes {
			s = s.after(code)
			require.Equal(t, tt.want[i], s, "%s, run %d", name, i)
		}
	}
}

// A fake is a command that does what a test says, and the times of its runs.
type fake struct {
	begun  []time.Time
	killed int
	run    func(a *attempt) // is called for each run
}

func (f *fake) begin() *attempt {
	f.begun = append(f.begun, time.Now())
	a := &attempt{code: make(chan int, 1), gone: make(chan struct{})}
	a.kill = func() { f.killed++ }
	f.run(a)
	return a
}

// ends returns what a command does that takes a while.
func ends(takes time.Duration, code int) func(*attempt) {
	return func(a *attempt) {
		time.AfterFunc(takes, func() {
			a.code <- code
			close(a.gone)
		})
	}
}

// A report is what was said, and when.
type report struct {
	at   time.Duration
	says State
}

// play runs a probe for a while.
func play(t *testing.T, p *Probe, f *fake, lasts time.Duration) (reports []report) {
	t.Helper()
	p.begin = f.begin
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), lasts)
	defer cancel()
	p.Run(ctx, func(s State) { reports = append(reports, report{time.Since(start), s}) })
	require.LessOrEqual(t, time.Since(start), lasts+endTime)
	synctest.Wait()
	return reports
}

func TestProbeRunsOnceAnInterval(t *testing.T) {
	for name, interval := range map[string]time.Duration{
		"ten seconds": 10 * time.Second,
		"the longest": 400 * 24 * time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const takes = time.Second
				f := &fake{run: ends(takes, 0)}
				begin := time.Now()
				reports := play(t, &Probe{Interval: interval}, f, 10*interval+takes)
				require.Equal(t, []report{{takes, State{Status: OK}}}, reports, "what does not change is said once")
				require.Equal(t, begin, f.begun[0], "at once")
				require.Less(t, f.begun[1].Sub(begin), takes+interval, "after a part of the interval")
				for i := 2; i < len(f.begun); i++ {
					require.Equal(t, interval, f.begun[i].Sub(f.begun[i-1]))
				}
				require.GreaterOrEqual(t, len(f.begun), 10)
				require.Equal(t, len(f.begun), f.killed, "and what it leaves behind is killed")
			})
		})
	}
}

// The limit is the interval, or ten seconds, and the rest is killed.
func TestProbeThatTakesTooLongHasFailed(t *testing.T) {
	for name, tt := range map[string]struct{ interval, limit time.Duration }{
		"short interval": {3 * time.Second, 3 * time.Second},
		"long interval":  {time.Minute, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := new(fake)
				f.run = func(a *attempt) { close(a.gone) } // as if it were killed at once
				reports := play(t, &Probe{Interval: tt.interval}, f, 3*tt.interval+2*tt.limit)
				require.Len(t, reports, 2)
				require.Equal(t, report{tt.limit, State{Fail, TimedOut, false}}, reports[0])
				require.Equal(t, State{Fail, TimedOut, true}, reports[1].says)
				require.GreaterOrEqual(t, reports[1].at, 2*tt.limit)
				require.Less(t, reports[1].at, 2*tt.limit+tt.interval)
				for i := 2; i < len(f.begun); i++ {
					require.Equal(t, tt.interval, f.begun[i].Sub(f.begun[i-1]), "the pace stays")
				}
				require.Equal(t, len(f.begun), f.killed)
			})
		})
	}
}

// A process that waits for a disk, or runs as another user, stays: it is a failure
// each time, until it ends, and nothing is begun beside it.
func TestNothingIsBegunBesideAProbeThatCannotBeKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const hangs = time.Hour
		begin := time.Now()
		f := new(fake)
		f.run = func(a *attempt) {
			if len(f.begun) > 1 {
				ends(0, 0)(a)
				return
			}
			time.AfterFunc(hangs, func() {
				a.code <- 137
				close(a.gone)
			})
		}
		reports := play(t, &Probe{Interval: time.Minute}, f, 2*time.Hour)
		require.Len(t, reports, 3)
		require.Equal(t, report{10 * time.Second, State{Fail, TimedOut, false}}, reports[0])
		require.Equal(t, State{Fail, TimedOut, true}, reports[1].says)
		require.Less(t, reports[1].at, 2*time.Minute)
		require.Equal(t, State{OK, 0, false}, reports[2].says)
		require.GreaterOrEqual(t, f.begun[1].Sub(begin), hangs)
		require.Less(t, f.begun[1].Sub(begin), hangs+time.Minute)
	})
}

// What the command itself said counts, also if a child that it left cannot be killed.
func TestChildThatCannotBeKilledHoldsUpTheNextRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fake)
		f.run = func(a *attempt) { a.code <- 0 }
		reports := play(t, &Probe{Interval: time.Minute}, f, 4*time.Minute)
		require.Len(t, f.begun, 1)
		require.Len(t, reports, 3)
		require.Equal(t, []State{{OK, 0, false}, {Fail, TimedOut, false}, {Fail, TimedOut, true}},
			[]State{reports[0].says, reports[1].says, reports[2].says})
	})
}

// Whoever stops is not held up, and learns nothing from a run that was cut short.
func TestStopEndsTheRunThatGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{run: func(*attempt) {}}
		require.Empty(t, play(t, &Probe{Interval: time.Hour}, f, time.Second))
		require.Equal(t, 1, f.killed)
	})
}

// A command that is being started when it is no longer wanted is not left behind.
func TestStopWaitsForWhatItHasKilled(t *testing.T) {
	const soon = endTime / 5
	for takes, want := range map[time.Duration]time.Duration{soon: soon, time.Hour: endTime} {
		synctest.Test(t, func(t *testing.T) {
			p := &Probe{Interval: time.Minute, begin: func() *attempt {
				a := &attempt{code: make(chan int, 1), gone: make(chan struct{})}
				a.kill = func() { time.AfterFunc(takes, func() { close(a.gone) }) }
				return a
			}}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			begin := time.Now()
			_, ended := p.Once(ctx)
			require.False(t, ended)
			require.Equal(t, time.Second+want, time.Since(begin))
			<-p.last.gone
		})
	}
}
