package liveness

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/calendar"
)

const berlin = "Europe/Berlin"

var payroll = peerID("web-1", "payroll")

// leap advances the time to until, and leaves out the ticks at which nothing can change.
func (r *rig) leap(until time.Time) {
	for t := r.tracker; r.now.Before(until); {
		idle := min(until.Sub(r.now), t.earliest-t.tickV) - time.Second
		if idle > 0 {
			r.now, t.tick, t.tickV = r.now.Add(idle), t.tick+idle, t.tickV+idle
			t.tickWall += idle.Nanoseconds()
		}
		r.pass(min(until.Sub(r.now), 2*time.Second))
	}
}

// setBack sets back the wall clock, on which all times of the rig are based.
func (r *rig) setBack(d time.Duration) {
	r.tracker.epoch = r.tracker.epoch.Add(-d)
	r.tracker.tickWall -= d.Nanoseconds()
	r.now, r.start = r.now.Add(-d), r.start.Add(-d)
}

func scheduled(t testing.TB, text string) func(*Options) {
	s, err := calendar.ParseSchedule(text, berlin)
	require.NoError(t, err)
	return func(o *Options) {
		o.TermsOf = func(id ID, _ netip.Addr) *Terms {
			if id != payroll {
				return nil
			}
			terms := o.Terms
			terms.Schedule, terms.Patience = s, time.Hour
			return &terms
		}
	}
}

// atWall starts the tracker at a wall time.
func (r *rig) atWall(text string) {
	at, err := time.Parse(time.RFC3339, text)
	require.NoError(r.t, err)
	r.start, r.now = at.UTC(), at.UTC()
	r.tracker = New(r.opts, r.now)
}

// A crontab describes how one host runs a job.
type crontab struct {
	schedule string
	from, to string        // RFC 3339
	skew     time.Duration // of its clock
	lasts    time.Duration // until the job beats
	longer   time.Duration // how much longer all runs but the first last
	reading  string        // when it runs if a time of day occurs twice or not at all: "first", "second", "both", "after" the skipped hour
	restart  time.Duration // when the collector is restarted, after the job is due; the restart lasts restartFor
	away     time.Duration // for how long the collector is away; 0 for never
	misses   int           // number of the run that never happens, from 1; 0 for none
}

// runs returns the times at which the job runs for one due time.
func (c *crontab) runs(due calendar.Due) []time.Time {
	at := []time.Time{due.At}
	switch {
	case due.From.Equal(due.At):
	case c.reading == "first":
		at = []time.Time{due.From}
	case c.reading == "both":
		at = []time.Time{due.From, due.At}
	case c.reading == "after":
		at = []time.Time{due.From.Truncate(time.Hour).Add(time.Hour)}
	}
	for i := range at {
		at[i] = at[i].Add(c.skew + c.lasts)
	}
	return at
}

// tell returns the reported deaths, each with the time since the job was due.
func (c *crontab) tell(t *testing.T) (deaths []string) {
	r := newRig(t, scheduled(t, c.schedule))
	r.atWall(c.from)
	s := r.tracker.termsOf(payroll, netip.Addr{}).Schedule
	end, err := time.Parse(time.RFC3339, c.to)
	require.NoError(t, err)
	beat := Beat{ID: payroll, Watched: true}
	run := func() {
		beat.Run, beat.Process = fmt.Sprint("run", r.now.Unix()), Process{Boot: "b", PID: uint32(r.now.Unix())}
		r.observe(beat)
	}
	first := s.After(r.now)
	r.leap(c.runs(first)[0])
	run()
	r.told = nil
	for n, due := 1, s.After(first.At); due.At.Before(end); n, due = n+1, s.After(due.At) {
		events := map[time.Time]func(){}
		if n != c.misses {
			for _, at := range c.runs(due) {
				events[at.Add(c.longer)] = run
			}
		}
		if c.away > 0 {
			events[due.At.Add(c.restart)] = func() { r.restart(c.away) }
		}
		for _, at := range slices.SortedFunc(maps.Keys(events), time.Time.Compare) {
			if r.leap(at); !r.now.After(at) { // otherwise the collector is away at that time
				events[at]()
			}
		}
		r.leap(due.At.Add(3 * time.Hour))
		for _, d := range r.told {
			if d.State == Alive && d.Previous == Unknown {
				deaths = append(deaths, "that it was missed is no event")
			}
		}
		for _, d := range r.deaths() {
			deaths = append(deaths, fmt.Sprintf("run %d, %s after it was due: %s", n, d.at.Sub(due.At).Truncate(time.Second), d.Reason))
		}
		r.told = nil
	}
	return deaths
}

// This test runs jobs with a calendar over both nights in which clocks change. A job that runs
// is never dead, even if its clock is wrong or the collector is away when it is due. A job
// that does not run is reported at the end of its grace period.
func TestJobsByCalendar(t *testing.T) {
	t.Parallel()
	for _, when := range []struct{ schedule, from, to string }{
		{"15 2 * * 1-5", "2026-10-12T12:00:00+02:00", "2026-11-10T12:00:00+01:00"},
		{"15 2 * * 1-5", "2026-03-20T12:00:00+01:00", "2026-04-10T12:00:00+02:00"},
		{"15 2 * * *", "2026-10-20T12:00:00+02:00", "2026-10-30T12:00:00+01:00"},
		{"15 2 * * *", "2026-03-25T12:00:00+01:00", "2026-04-02T12:00:00+02:00"},
		{"30 2 1 * *", "2026-02-15T12:00:00+01:00", "2027-01-15T12:00:00+01:00"},
		{"30 2 1 1,4,7,10 *", "2026-02-15T12:00:00+01:00", "2028-01-15T12:00:00+01:00"},
		{"15 2 29 3 *", "2025-01-01T12:00:00+01:00", "2027-05-01T12:00:00+02:00"}, // the night of the change itself
	} {
		for name, c := range map[string]crontab{
			"on time":                                            {},
			"its clock is ahead":                                 {skew: -30 * time.Second},
			"its clock is behind":                                {skew: 30 * time.Second},
			"it takes 20 minutes":                                {lasts: 20 * time.Minute},
			"at the first reading":                               {reading: "first", skew: -30 * time.Second},
			"at both readings":                                   {reading: "both", skew: 30 * time.Second},
			"after the hour is skipped":                          {reading: "after"},
			"the collector is away when it is due":               {restart: -10 * time.Second, away: time.Minute, lasts: 10 * time.Second},
			"the collector is away for the night":                {restart: -5 * time.Hour, away: 10 * time.Hour, lasts: 20 * time.Minute},
			"the collector is away just after it was due":        {restart: 20 * time.Second, away: 20 * time.Second, skew: 30 * time.Second},
			"the collector is away just before it is due":        {restart: -40 * time.Second, away: 20 * time.Second, skew: -30 * time.Second},
			"the collector is away when it ends later than ever": {restart: 33 * time.Minute, away: 3 * time.Minute, longer: 35 * time.Minute},
			"the collector is away just when it ends":            {restart: 25 * time.Second, away: 20 * time.Second, longer: 35 * time.Second},
			"the collector is away when it ends":                 {restart: 19 * time.Minute, away: 2 * time.Minute, lasts: 20 * time.Minute},
			"the collector is restarted long before it is due":   {restart: -time.Hour, away: 5 * time.Second},
			"the collector is away long before it is due":        {restart: -5 * time.Hour, away: 3 * time.Hour},
			"the collector is restarted long after it was heard": {restart: time.Hour, away: time.Minute},
		} {
			t.Run(when.schedule+" "+when.from[:10]+" "+name, func(t *testing.T) {
				t.Parallel()
				c.schedule, c.from, c.to = when.schedule, when.from, when.to
				require.Empty(t, c.tell(t))

				c.misses = 2
				switch deaths := c.tell(t); {
				case c.away > 0 && c.restart < 0 && c.restart+c.away > -time.Minute, c.restart > 0 && c.restart < time.Hour:
					require.Empty(t, deaths, "no collector knows")
				case c.restart == time.Hour:
					require.Equal(t, []string{"run 2, 1h1m0s after it was due: silence"}, deaths, "when the collector is back")
				default:
					require.Equal(t, []string{"run 2, 1h0m0s after it was due: silence"}, deaths)
				}
			})
		}
	}
}

// If no beat was due while no collector listened, the silence continues from its length
// before, and once the peer gets a minute to reach the next collector.
func TestScheduledSilenceGoesOn(t *testing.T) {
	r := newRig(t, scheduled(t, "15 2 * * *"))
	r.atWall("2026-11-10T02:15:00+01:00")
	r.observe(Beat{ID: payroll, Watched: true})
	due := r.now.Add(24 * time.Hour)
	r.leap(due.Add(59*time.Minute + 30*time.Second))
	r.restart(40 * time.Second)
	require.Equal(t, "unknown restored", r.is(payroll))
	r.pass(soonBack)
	require.Empty(t, r.deaths())
	r.restart(0)
	r.pass(time.Second)
	require.Len(t, r.deaths(), 1)
}

// A peer whose beat was missed is expected at its next due time, even if the collector
// restarts twice.
func TestMissedIsAwaitedAtTheNextTime(t *testing.T) {
	r := newRig(t, scheduled(t, "15 2 * * *"))
	r.atWall("2026-11-10T02:15:00+01:00")
	r.observe(Beat{ID: payroll, Watched: true})
	due := r.now.Add(24 * time.Hour)
	r.leap(due.Add(-time.Minute))
	r.restart(2 * time.Minute)
	require.Equal(t, due.Add(24*time.Hour), r.tracker.lookUp(payroll).due.At.UTC())
	r.leap(due.Add(12 * time.Hour))
	r.restart(time.Hour)
	require.Equal(t, "unknown restored", r.is(payroll))
	r.leap(due.Add(25*time.Hour - time.Second))
	require.Empty(t, r.deaths())
	r.pass(2 * time.Second)
	require.Equal(t, "dead silence", r.is(payroll))
}

// Peers that declare an interval and have no open connection are handled in the same way.
func TestMissedIsAwaitedAfterAnInterval(t *testing.T) {
	for name, c := range map[string]struct {
		every       time.Duration
		conn        ConnID
		down, until time.Duration // when the collector goes down and comes back, since the beat
		want        string        // the state when the collector is back
		dead        time.Duration // time of death since the beat, if the peer sends no more beats
	}{
		"daily":                       {24 * time.Hour, 0, 23 * time.Hour, 25 * time.Hour, "unknown restored", 49 * time.Hour},
		"daily, for days":             {24 * time.Hour, 0, 23 * time.Hour, 80 * time.Hour, "unknown restored", 97 * time.Hour},
		"daily, up to when it is due": {24 * time.Hour, 0, 23 * time.Hour, 24*time.Hour - 59*time.Second, "unknown restored", 49 * time.Hour},
		"daily, before it is due":     {24 * time.Hour, 0, 2 * time.Hour, 3 * time.Hour, "alive beat", 26*time.Hour + soonBack},
		"daily, when it is late": {
			24 * time.Hour, 0, 24*time.Hour + 20*time.Minute, 24*time.Hour + 20*time.Minute + 50*time.Second,
			"suspect silence", 25*time.Hour + 50*time.Second + soonBack,
		},
		"daily, for long when it is late": {
			24 * time.Hour, 0, 24*time.Hour + 20*time.Minute, 24*time.Hour + 22*time.Minute,
			"unknown restored", 49 * time.Hour,
		},
		"every five minutes": {
			5 * time.Minute, 0, 4*time.Minute + 30*time.Second, 4*time.Minute + 32*time.Second,
			"unknown restored", 10*time.Minute + 750*time.Second,
		},
		"each minute": {time.Minute, 0, 50 * time.Second, 70 * time.Second, "alive beat", 210*time.Second + 20*time.Second + soonBack},
		"its connection stood": {
			5 * time.Minute, 1, 4*time.Minute + 30*time.Second, 4*time.Minute + 32*time.Second,
			"alive beat", 1050*time.Second + 2*time.Second + soonBack,
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			start := r.now
			b := Beat{ID: payroll, Watched: true, Interval: c.every, Conn: c.conn, Margin: r.opts.margin(c.every)}
			r.observe(b)
			if c.conn > 0 {
				r.pass(time.Second)
				start = r.now
				r.observe(b)
			}
			r.leap(start.Add(c.down))
			r.restart(c.until - c.down)
			require.Equal(t, c.want, r.is(payroll))
			r.leap(start.Add(c.dead - time.Second))
			require.Empty(t, r.deaths())
			r.pass(2 * time.Second)
			require.Len(t, r.deaths(), 1)
		})
	}
}

// A collector that was suspended may have missed beats too, even if it was not restarted.
func TestMissedWhileSuspended(t *testing.T) {
	for name, opts := range map[string]func(*Options){"interval": func(*Options) {}, "schedule": scheduled(t, "15 2 * * *")} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, opts)
			r.atWall("2026-11-10T02:15:00+01:00")
			start := r.now
			r.observe(Beat{ID: payroll, Watched: true, Interval: 24 * time.Hour, Margin: time.Hour})
			r.observe(Beat{ID: peerID("web-2", "host"), Watched: true, Interval: 10 * time.Second})
			r.leap(start.Add(20 * time.Second))
			r.now = start.Add(26 * time.Hour)
			r.pass(20 * time.Second)
			require.Equal(t, "unknown restored", r.is(payroll))
			require.Equal(t, "dead silence", r.is(peerID("web-2", "host")))
			require.Len(t, r.deaths(), 1)
			r.leap(start.Add(49*time.Hour - time.Second))
			require.Len(t, r.deaths(), 1)
			r.pass(2 * time.Second)
			require.Equal(t, "dead silence", r.is(payroll))
		})
	}
}

// The deadline of a calendar follows the wall clock, even if the collector was suspended or
// the clock was set.
func TestScheduleFollowsTheWallClock(t *testing.T) {
	for name, set := range map[string]time.Duration{"suspended": 8 * time.Hour, "set back": -2 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, scheduled(t, "15 2 * * *"))
			r.atWall("2026-11-10T02:15:00+01:00")
			due := r.now.Add(24 * time.Hour)
			r.observe(Beat{ID: payroll, Watched: true})
			r.leap(r.now.Add(time.Hour))
			if set > 0 {
				r.now = r.now.Add(set)
			} else {
				r.setBack(-set)
			}
			r.pass(time.Second)
			require.Equal(t, "alive beat", r.is(payroll))
			r.leap(due.Add(time.Hour - time.Second))
			require.Empty(t, r.deaths())
			r.pass(2 * time.Second)
			require.Len(t, r.deaths(), 1)
		})
	}
}

// Several collectors share one schedule. When a collector is back, it learns which beats the
// others have received, and all collectors report a job dead that does not run.
func TestMatesKeepOneSchedule(t *testing.T) {
	t.Parallel()
	newPairAt := func(t *testing.T) *pair {
		s, err := calendar.ParseSchedule("0 * * * *", "UTC")
		require.NoError(t, err)
		p := &pair{}
		for _, r := range []**rig{&p.one, &p.two} {
			*r = newRig(t, func(o *Options) { o.Mates = true }, ruled("web-", func(terms *Terms) { terms.Schedule, terms.Patience = s, 5*time.Minute }))
			(*r).checked = true
		}
		return p
	}
	due := epoch.Add(time.Hour)
	until := func(p *pair, at time.Time) { p.pass(at.Sub(p.one.now)) }
	beat := Beat{ID: payroll, Watched: true, Run: "a"}
	for name, c := range map[string]struct {
		story  func(*pair)
		is     string
		deaths int
	}{
		"it runs": {func(p *pair) {
			until(p, due)
			p.one.observe(beat)
			p.two.observe(beat)
		}, "alive beat", 0},
		"it does not run": {func(*pair) {}, "dead silence", 1},
		"one collector hears it": {func(p *pair) {
			until(p, due)
			p.two.observe(beat)
		}, "alive beat", 0},
		"one collector is away when it runs": {func(p *pair) {
			until(p, due.Add(-10*time.Second))
			p.parted = true
			p.two.pass(20 * time.Second)
			p.two.observe(beat)
			p.one.restart(20 * time.Second)
			require.Equal(p.one.t, "unknown restored", p.one.is(payroll))
			p.parted = false
			p.round()
		}, "alive beat", 0},
		"one collector is away when it should run": {func(p *pair) {
			until(p, due.Add(-10*time.Second))
			p.parted = true
			p.two.pass(20 * time.Second)
			p.one.restart(20 * time.Second)
			p.parted = false
			p.round()
		}, "dead silence", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPairAt(t)
			p.one.observe(beat)
			p.two.observe(beat)
			c.story(p)
			until(p, due.Add(5*time.Minute+10*time.Second))
			p.round()
			for i, r := range []*rig{p.one, p.two} {
				require.Equal(t, c.is, r.is(payroll), "collector %d", i+1)
				require.Len(t, r.deaths(), c.deaths, "collector %d", i+1)
			}
		})
	}
}

// A job that reports that it has finished is expected at its next time. While it runs and
// stays connected, its declared interval sets its silence.
func TestExecutedByCalendar(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	type story struct {
		*rig
		due time.Time // of the first run
	}
	run := func(s *story, at time.Time, beats int, end func(*Beat)) {
		s.leap(at)
		b := Beat{
			ID: payroll, Watched: true, Interval: 10 * time.Second, Margin: 25 * time.Second, Conn: ConnID(at.Unix()),
			Run: fmt.Sprint("run", at.Unix()), Process: Process{Boot: "b", PID: uint32(at.Unix())},
		}
		for range beats {
			s.observe(b)
			s.pass(b.Interval)
		}
		if end != nil {
			b.Status, b.HasExitCode = SaysLeaving, true
			end(&b)
			s.observe(b)
			s.ended(b.Conn, Closed)
		}
	}
	well := func(*Beat) {}
	for name, c := range map[string]struct {
		tell func(*story)
		is   string
		dead time.Duration // time of death since it was first due; 0 if it is not dead
	}{
		"it runs each day": {func(s *story) {
			run(s, s.due.Add(day), 5, well)
			s.leap(s.due.Add(day + 2*time.Hour))
		}, "left finished", 0},
		"it does not run": {func(s *story) {
			s.leap(s.due.Add(day + 2*time.Hour))
		}, "dead overdue", day + time.Hour},
		"it fails": {func(s *story) {
			run(s, s.due.Add(day), 5, func(b *Beat) { b.Status, b.ExitCode = SaysDead, 3 })
		}, "dead exited", day + 50*time.Second},
		"its host dies while it runs": {func(s *story) {
			run(s, s.due.Add(day), 5, nil)
			s.pass(time.Minute)
		}, "dead silence", day + 75*time.Second},
		"its host dies while it runs, and the collector is restarted": {func(s *story) {
			run(s, s.due.Add(day), 5, nil)
			s.restart(5 * time.Second)
			s.pass(time.Minute)
		}, "dead silence", day + 90*time.Second},
		"the collector is away when it is due": {func(s *story) {
			s.leap(s.due.Add(day - time.Minute))
			s.restart(3 * time.Minute)
			s.leap(s.due.Add(day + 2*time.Hour))
		}, "left finished", 0},
		"and it does not run the day after": {func(s *story) {
			s.leap(s.due.Add(day - time.Minute))
			s.restart(3 * time.Minute)
			s.leap(s.due.Add(2*day + 2*time.Hour))
		}, "dead overdue", 2*day + time.Hour},
		"the collector is away for a while before": {func(s *story) {
			s.leap(s.due.Add(10 * time.Hour))
			s.restart(5 * time.Hour)
			s.leap(s.due.Add(day + 2*time.Hour))
		}, "dead overdue", day + time.Hour},
		"the collector is suspended for a while before": {func(s *story) {
			s.leap(s.due.Add(10 * time.Hour))
			s.now = s.now.Add(5 * time.Hour)
			s.pass(time.Second)
			s.leap(s.due.Add(day + 2*time.Hour))
		}, "dead overdue", day + time.Hour},
		"the collector is suspended when it is due": {func(s *story) {
			s.leap(s.due.Add(day - time.Minute))
			s.now = s.now.Add(time.Hour)
			s.leap(s.due.Add(day + 2*time.Hour))
		}, "left finished", 0},
		"it said that it is back later": {func(s *story) {
			run(s, s.due.Add(day), 5, func(b *Beat) { b.BackIn = 3 * day })
			s.leap(s.due.Add(3 * day))
		}, "left finished", 0},
		"it said that it is back later, and the collector is restarted": {func(s *story) {
			run(s, s.due.Add(day), 5, func(b *Beat) { b.BackIn = 3 * day })
			s.leap(s.due.Add(day + time.Hour))
			s.restart(time.Minute)
			s.leap(s.due.Add(3 * day))
		}, "left finished", 0},
		"it leaves for good": {func(s *story) {
			run(s, s.due.Add(day), 5, func(b *Beat) { b.HasExitCode = false })
			s.leap(s.due.Add(2*day + 2*time.Hour))
		}, "not known", 0},
		"one process finishes each day": {func(s *story) {
			b := Beat{ID: payroll, Status: SaysLeaving, HasExitCode: true}
			for n := 1; n < 4; n++ {
				s.leap(s.due.Add(time.Duration(n) * day))
				s.observe(b)
			}
			s.leap(s.due.Add(3*day + 2*time.Hour))
		}, "left finished", 0},
		"one process fails the day after": {func(s *story) {
			s.leap(s.due.Add(day))
			s.observe(Beat{ID: payroll, Status: SaysDead, ExitCode: 3, HasExitCode: true})
		}, "dead exited", day},
		"the clock on the wall is set back": {func(s *story) {
			s.leap(s.due.Add(time.Hour))
			s.setBack(2 * time.Hour)
			s.leap(s.due.Add(day + 2*time.Hour))
		}, "dead overdue", day + time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &story{rig: newRig(t, scheduled(t, "15 2 * * *"))}
			s.checked = true
			s.atWall("2026-11-10T02:15:00+01:00")
			s.due = s.now
			run(s, s.due, 5, well)
			require.Equal(t, "left finished", s.is(payroll))
			c.tell(s)
			require.Equal(t, c.is, s.is(payroll))
			deaths := s.deaths()
			if c.dead == 0 {
				require.Empty(t, deaths)
				return
			}
			require.Len(t, deaths, 1)
			require.InDelta(t, c.dead.Seconds(), deaths[0].at.Sub(s.due).Seconds(), 1)
		})
	}
}

// Checks are reloaded while the collector runs, and read after the state file. Adding,
// changing or removing a schedule makes no peer dead.
func TestScheduleOfCheckChanges(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	at := func(text string) Expected {
		s, err := calendar.ParseSchedule(text, berlin)
		require.NoError(t, err)
		return Expected{Source: payroll.Source, Service: payroll.Service, Schedule: s, Margin: time.Hour}
	}
	nightly, daily := at("15 2 * * *"), Expected{Source: payroll.Source, Service: payroll.Service, Interval: day, Margin: 30 * time.Minute}
	for name, c := range map[string]struct {
		story func(*rig)
		dead  time.Duration // time of death since its last beat, at 02:15
	}{
		"it stays": {func(r *rig) { r.expect(at("15 2 * * *")) }, day + time.Hour},
		"another time": {func(r *rig) {
			r.leap(r.now.Add(3 * time.Hour))
			r.expect(at("45 3 * * *"))
		}, day + 2*time.Hour + 30*time.Minute},
		"an interval instead": {func(r *rig) {
			r.leap(r.now.Add(3 * time.Hour))
			r.expect(daily)
		}, day + 30*time.Minute},
		"the check is removed": {func(r *rig) {
			r.leap(r.now.Add(3 * time.Hour))
			r.expect()
		}, day + time.Hour},
		"the collector is restarted": {func(r *rig) {
			r.leap(r.now.Add(3 * time.Hour))
			r.restart(time.Minute)
			r.expect(at("15 2 * * *"))
			require.Equal(r.t, "alive beat", r.is(payroll))
		}, day + time.Hour},
		"the collector is restarted for long": {func(r *rig) {
			r.leap(r.now.Add(3 * time.Hour))
			r.restart(10 * time.Hour)
			r.expect(at("15 2 * * *"))
			require.Equal(r.t, "alive beat", r.is(payroll))
		}, day + time.Hour},
		"the collector is restarted when it is due": {func(r *rig) {
			r.leap(r.now.Add(day - time.Minute))
			r.restart(2 * time.Minute)
			r.expect(at("15 2 * * *"))
			require.Equal(r.t, "unknown restored", r.is(payroll))
		}, 2*day + time.Hour},
		"the collector is restarted twice, and the checks cannot be read at first": {func(r *rig) {
			r.leap(r.now.Add(3 * time.Hour))
			r.restart(time.Minute)
			r.leap(r.now.Add(time.Hour))
			r.restart(time.Minute)
			r.leap(r.now.Add(time.Hour))
			require.Equal(r.t, "alive beat", r.is(payroll))
			r.expect(at("15 2 * * *"))
		}, day + time.Hour},
		"it is missed, and the collector is restarted once more": {func(r *rig) {
			r.leap(r.now.Add(day - time.Minute))
			r.restart(2 * time.Minute)
			r.expect(at("15 2 * * *"))
			r.leap(r.now.Add(3 * time.Hour))
			r.restart(2 * time.Minute)
			r.expect(at("15 2 * * *"))
		}, 2*day + time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.atWall("2026-11-10T02:15:00+01:00")
			r.checked = true
			heard := r.now
			r.expect(nightly)
			r.observe(Beat{ID: payroll, Verified: true})
			c.story(r)
			require.Empty(t, r.deaths())
			r.leap(heard.Add(c.dead + 2*time.Minute))
			require.Len(t, r.deaths(), 1)
			require.InDelta(t, c.dead.Seconds(), r.deaths()[0].at.Sub(heard).Seconds(), 61)
		})
	}
}

// A peer that gets a schedule instead of an interval is judged by the schedule at once.
func TestScheduleOfCheckComes(t *testing.T) {
	s, err := calendar.ParseSchedule("15 2 * * *", berlin)
	require.NoError(t, err)
	r := newRig(t)
	r.atWall("2026-11-10T08:00:00+01:00")
	r.observe(Beat{ID: payroll, Interval: time.Hour})
	r.pass(time.Minute)
	r.expect(Expected{Source: payroll.Source, Service: payroll.Service, Schedule: s, Margin: time.Hour})
	r.leap(r.start.Add(19*time.Hour + 15*time.Minute - time.Second))
	require.Empty(t, r.deaths())
	r.pass(2 * time.Second)
	require.Len(t, r.deaths(), 1)
}

// A wall clock that is wrong for some minutes and then right again hides no death.
func TestScheduleOutlivesAWrongClock(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for name, finished := range map[string]bool{"it beat": false, "it has finished": true} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, scheduled(t, "15 2 * * *"))
			r.checked = true
			r.atWall("2026-11-10T02:15:00+01:00")
			heard := r.now
			r.observe(Beat{ID: payroll, Watched: true, Run: "a"})
			if finished {
				r.observe(Beat{ID: payroll, Watched: true, Run: "a", Status: SaysLeaving, HasExitCode: true})
			}
			was := r.is(payroll)
			r.leap(r.now.Add(5 * time.Hour))
			r.setWall(year)
			r.pass(10 * time.Minute)
			r.setWall(-year)
			r.pass(time.Second)
			require.Equal(t, was, r.is(payroll))
			r.leap(heard.Add(25*time.Hour - time.Second))
			require.Empty(t, r.deaths())
			r.pass(2 * time.Second)
			require.Len(t, r.deaths(), 1)
		})
	}
}

// The time of a crash is not recorded: beats that were due after the last record was written
// may have been lost.
func TestMissedInACrash(t *testing.T) {
	for _, crashed := range []time.Duration{0, 5 * time.Minute} {
		r := newRig(t, scheduled(t, "15 2 * * *"))
		r.atWall("2026-11-10T02:15:00+01:00")
		due := r.now.Add(24 * time.Hour)
		r.observe(Beat{ID: payroll, Watched: true})
		r.leap(due.Add(2 * time.Minute))
		record := r.tracker.Record(0, r.now)
		record.Crashed = crashed
		r.replace([]Record{record}, 0)
		require.Equal(t, crashed > 0, r.is(payroll) == "unknown restored")
	}
}

// Setting the clock back a little does not affect a peer whose beat was missed before.
func TestMissedOutlivesAClockSetBack(t *testing.T) {
	r := newRig(t, scheduled(t, "15 2 * * *"))
	r.atWall("2026-11-10T02:15:00+01:00")
	r.observe(Beat{ID: payroll, Watched: true})
	due := r.now.Add(24 * time.Hour)
	r.leap(due.Add(-time.Minute))
	r.restart(3 * time.Minute)
	r.leap(due.Add(20 * time.Minute))
	r.setWall(-5 * time.Minute)
	r.pass(time.Second)
	require.Equal(t, "unknown restored", r.is(payroll))
	r.leap(due.Add(25*time.Hour - time.Second))
	require.Empty(t, r.deaths())
	r.pass(2 * time.Second)
	require.Len(t, r.deaths(), 1)
}

// setWall sets the wall clock. The next tick notices the change.
func (r *rig) setWall(by time.Duration) {
	r.setBack(-by)
	r.tracker.tickWall -= by.Nanoseconds()
}

// A promise of the job itself takes precedence over its schedule, also after a restart.
func TestPromiseBesideASchedule(t *testing.T) {
	s, err := calendar.ParseSchedule("15 2 * * *", berlin)
	require.NoError(t, err)
	check := Expected{Source: payroll.Source, Service: payroll.Service, Schedule: s, Margin: time.Hour}
	r := newRig(t)
	r.atWall("2026-11-10T02:15:00+01:00")
	heard := r.now
	r.expect(check)
	r.observe(Beat{ID: payroll, Run: "a"})
	r.observe(Beat{ID: payroll, Run: "a", Status: SaysLeaving, HasExitCode: true, BackIn: 72 * time.Hour})
	r.leap(heard.Add(time.Hour))
	r.restart(time.Second)
	r.expect(check)
	r.leap(heard.Add(72 * time.Hour))
	require.Empty(t, r.deaths())
	r.leap(heard.Add(73 * time.Hour))
	require.Equal(t, "dead overdue", r.is(payroll))
}

// A job whose schedule was removed is not expected. Hours of a host do not apply to its jobs.
func TestFinishedWithoutASchedule(t *testing.T) {
	s, err := calendar.ParseSchedule("15 2 * * *", berlin)
	require.NoError(t, err)
	check := Expected{Source: payroll.Source, Service: payroll.Service, Schedule: s, Margin: time.Hour}
	for name, story := range map[string]func(*rig){
		"the check is removed": func(r *rig) { r.expect() },
		"and the collector is restarted": func(r *rig) {
			r.restart(time.Second)
			r.expect()
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.checked = true
			r.atWall("2026-11-10T02:15:00+01:00")
			r.expect(check)
			r.observe(Beat{ID: payroll, Run: "a"})
			r.observe(Beat{ID: payroll, Run: "a", Status: SaysLeaving, HasExitCode: true})
			r.pass(time.Second)
			story(r)
			r.leap(r.now.Add(72 * time.Hour))
			require.Equal(t, "not known", r.is(payroll))
			require.Empty(t, r.deaths())
		})
	}
	r := newRig(t, ruled("web-", func(terms *Terms) { terms.Hours = officeHours(t) }))
	r.atWall("2026-11-10T02:15:00+01:00")
	r.expect(check)
	r.observe(Beat{ID: payroll})
	r.leap(r.now.Add(25*time.Hour + time.Second))
	require.Equal(t, "dead silence", r.is(payroll))
}
