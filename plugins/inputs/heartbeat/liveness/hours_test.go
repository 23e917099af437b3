package liveness

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/calendar"
)

func officeHours(t testing.TB) *calendar.Hours {
	hours, err := calendar.ParseHours("Mon-Fri 06:00-20:00", berlin)
	require.NoError(t, err)
	return hours
}

// inOfficeHours makes hosts whose name begins with desk- expected only in office hours.
func inOfficeHours(t testing.TB) func(*Options) {
	return ruled("desk-", func(terms *Terms) { terms.Hours = officeHours(t) })
}

// ruled changes the terms of hosts whose name begins with prefix.
func ruled(prefix string, change func(*Terms)) func(*Options) {
	return func(o *Options) {
		terms := o.Terms
		change(&terms)
		o.TermsOf = func(id ID, _ netip.Addr) *Terms {
			if len(id.Source) < len(prefix) || id.Source[:len(prefix)] != prefix {
				return nil
			}
			return &terms
		}
	}
}

func desks(n int) []ID {
	ids := make([]ID, n)
	for i := range ids {
		ids[i] = peerID(fmt.Sprint("desk-", i+1), HostService)
	}
	return ids
}

// This test simulates a year in an office: desks are switched on and off at all hours, and
// over weekends. There is no alert outside the hours. A death within the hours is reported,
// and so is a desk that does not come up in the morning.
func TestOfficeHoursOfAYear(t *testing.T) {
	r := newRig(t, inOfficeHours(t))
	r.atWall("2026-01-01T00:00:00+01:00")
	zone, err := time.LoadLocation(berlin)
	require.NoError(t, err)
	hours := r.tracker.termsOf(desks(1)[0], netip.Addr{}).Hours
	beat := func(desk ID) {
		r.observe(Beat{ID: desk, Interval: time.Minute, Conn: ConnID(r.now.Unix()), Watched: true})
	}
	deaths := 0
	for day := range 365 {
		midnight := time.Date(2026, 1, 1+day, 0, 0, 0, 0, zone)
		at := func(hour, minute int) time.Time {
			return time.Date(2026, 1, 1+day, hour, minute, 0, 0, zone)
		}
		workday := midnight.Weekday() != time.Saturday && midnight.Weekday() != time.Sunday
		run := func(desk ID, from, until time.Time) {
			for r.leap(from); r.now.Before(until); r.leap(r.now.Add(time.Minute)) {
				beat(desk)
			}
		}
		desk := desks(3)[day%3]
		others := desks(3)[(day+1)%3]
		run(desk, at(5, 50), at(6, 2)) // on before the hours, and dead in them
		if workday {
			r.leap(at(6, 30))
			run(desk, at(9, 0), at(9, 2)) // back
		}
		run(others, at(19, 50), at(20, 10)) // off after them
		run(desk, at(22, 0), at(22, 3))     // on late at night
		if workday {
			deaths++ // the death of desk, reported at 6
		}
	}
	r.leap(r.now.Add(time.Hour))
	for _, d := range r.deaths() {
		require.True(t, hours.At(d.at).Within, "%s is reported dead at %s", d.ID, d.at.In(zone))
	}
	require.GreaterOrEqual(t, len(r.deaths()), deaths)
}

func TestSilenceOutsideOfHours(t *testing.T) {
	const monday, friday = "2026-11-30T", "2026-11-27T"
	desk, other := desks(1)[0], hosts(1)[0]
	shop := peerID(desk.Source, "shop")
	for name, c := range map[string]struct {
		start string
		story func(*rig)
		is    string
		told  []string // of desk
	}{
		"switched off in the night": {friday + "20:30:00+01:00", func(r *rig) {
			r.pass(30 * time.Second)
		}, "unknown off_hours", []string{"alive beat", "unknown off_hours"}},
		"its connection ends in the night": {friday + "20:30:00+01:00", func(r *rig) {
			r.ended(1, Closed)
			r.pass(time.Minute)
		}, "unknown off_hours", []string{"alive beat", "unknown off_hours"}},
		"and is not back in the morning": {friday + "20:30:00+01:00", func(r *rig) {
			r.leap(r.start.Add(57*time.Hour + 30*time.Minute + 34*time.Second))
			require.Equal(r.t, "unknown off_hours", r.is(desk))
			r.pass(2 * time.Second)
		}, "dead silence", []string{"alive beat", "unknown off_hours", "dead silence"}},
		"and is back in the morning": {friday + "20:30:00+01:00", func(r *rig) {
			r.leap(r.start.Add(57*time.Hour + 30*time.Minute + 20*time.Second))
			r.observe(Beat{ID: desk, Interval: 10 * time.Second})
		}, "alive beat", []string{"alive beat", "unknown off_hours", "alive beat"}},
		"heard last just before the hours": {monday + "05:59:40+01:00", func(r *rig) {
			r.pass(54 * time.Second) // 34 seconds of them within the hours
			require.Empty(r.t, r.deaths())
			r.pass(2 * time.Second)
		}, "dead silence", []string{"alive beat", "unknown off_hours", "dead silence"}},
		"its end is reported in the night": {friday + "20:30:00+01:00", func(r *rig) {
			r.observe(Beat{ID: desk, Status: SaysDead, ExitCode: 3, HasExitCode: true})
		}, "dead exited", []string{"alive beat", "dead exited"}},
		"who is dead stays dead": {friday + "19:50:00+01:00", func(r *rig) {
			r.pass(20 * time.Minute)
		}, "dead silence", []string{"alive beat", "suspect silence", "dead silence"}},
		"suspect when the hours end": {friday + "19:59:40+01:00", func(r *rig) {
			r.pass(18 * time.Second)
			require.Len(r.t, r.tracker.isolation.silent, 1)
			r.pass(time.Minute)
			require.Empty(r.t, r.tracker.isolation.silent)
		}, "unknown off_hours", []string{"alive beat", "suspect silence", "unknown off_hours"}},
		"it promised to be back in the night": {friday + "20:30:00+01:00", func(r *rig) {
			r.observe(Beat{ID: desk, Status: SaysLeaving, BackIn: 10 * time.Minute})
			r.pass(11 * time.Minute)
		}, "unknown off_hours", []string{"alive beat", "left leaving", "unknown off_hours"}},
		"the collector is restarted": {friday + "20:30:00+01:00", func(r *rig) {
			r.pass(time.Minute)
			r.restart(time.Hour)
			r.leap(r.start.Add(57*time.Hour + 30*time.Minute + 34*time.Second))
			require.Empty(r.t, r.deaths())
			r.pass(2 * time.Second)
		}, "dead silence", []string{"alive beat", "unknown off_hours", "dead silence"}},
		"the collector is restarted when the hours begin": {friday + "20:30:00+01:00", func(r *rig) {
			r.leap(r.start.Add(57*time.Hour + 29*time.Minute))
			r.restart(10 * time.Minute)
			r.pass(34 * time.Second)
			require.Empty(r.t, r.deaths())
			r.pass(2 * time.Second)
		}, "dead silence", []string{"alive beat", "unknown off_hours", "dead silence"}},
		"the collector is stalled for a moment again and again": {friday + "20:30:00+01:00", func(r *rig) {
			for range 100 {
				r.leap(r.now.Add(30 * time.Minute))
				r.now = r.now.Add(30 * time.Second)
			}
			r.leap(r.start.Add(57*time.Hour + 30*time.Minute + 34*time.Second))
			require.Empty(r.t, r.deaths())
			r.pass(2 * time.Second)
		}, "dead silence", []string{"alive beat", "unknown off_hours", "dead silence"}},
		"the collector is stalled when the hours begin": {friday + "20:30:00+01:00", func(r *rig) {
			r.leap(r.start.Add(57*time.Hour + 29*time.Minute))
			r.now = r.now.Add(10 * time.Minute)
			r.pass(34 * time.Second)
			require.Empty(r.t, r.deaths())
			r.pass(2 * time.Second)
		}, "dead silence", []string{"alive beat", "unknown off_hours", "dead silence"}},
		"it is expected, and never came": {friday + "20:30:00+01:00", func(r *rig) {
			r.expect(Expected{Source: "desk-9"})
			r.leap(r.start.Add(57*time.Hour + 30*time.Minute))
			r.pass(209 * time.Second)
			require.Equal(r.t, "unknown none", r.is(peerID("desk-9", "host")))
			r.pass(2 * time.Second)
			require.Equal(r.t, "dead never_seen", r.is(peerID("desk-9", "host")))
		}, "dead silence", []string{"alive beat", "unknown off_hours", "dead silence"}},
		"it dies in the hours, and ticks come late now and then": {monday + "10:00:00+01:00", func(r *rig) {
			for range 10 {
				r.pass(10 * time.Second)
				r.now = r.now.Add(350 * time.Millisecond)
			}
		}, "dead silence", []string{"alive beat", "suspect silence", "dead silence"}},
		"it dies in the hours, and the collector is restarted again and again": {monday + "10:00:00+01:00", func(r *rig) {
			for range 5 {
				r.pass(20 * time.Second)
				r.restart(time.Second)
			}
		}, "dead silence", []string{"alive beat", "suspect silence", "dead silence"}},
		"it is held as silent with others when the hours end": {friday + "19:58:50+01:00", func(r *rig) {
			all := r.keep(Beat{Interval: 10 * time.Second}, desks(20)...)
			r.pass(20 * time.Second)
			pause(all...)
			r.pass(12 * time.Minute)
			for _, s := range r.told {
				require.False(r.t, s.State == Suspect && s.at.After(r.start.Add(70*time.Second)), "%s at %s", s.ID, s.at)
			}
		}, "unknown off_hours", []string{"alive beat", "unknown isolated"}},
		"its services follow it": {friday + "20:30:00+01:00", func(r *rig) {
			for _, id := range []ID{desk, shop} {
				r.observe(Beat{ID: id, Interval: 10 * time.Second, Run: "daemon", Watched: true, Conn: 7})
			}
			r.pass(time.Minute)
			require.Equal(r.t, "unknown off_hours", r.is(shop))
			r.leap(r.start.Add(57*time.Hour + 31*time.Minute))
			require.Equal(r.t, "dead host", r.is(shop))
		}, "dead silence", []string{"alive beat", "unknown off_hours", "dead silence"}},
		"one of two processes is silent in the night": {friday + "20:30:00+01:00", func(r *rig) {
			for i := range 12 {
				for pid := range uint32(2) {
					if i < 4 || pid == 0 {
						r.observe(Beat{ID: desk, Interval: 10 * time.Second, Process: Process{PID: pid + 1}})
					}
				}
				r.pass(10 * time.Second)
			}
			for _, s := range r.told {
				require.NotEqual(r.t, Ended, s.Event)
			}
			r.pass(10 * time.Second) // now the other one is silent, too
		}, "unknown off_hours", []string{"alive beat", "unknown off_hours"}},
		"another host is not of the office": {friday + "20:30:00+01:00", func(r *rig) {
			r.observe(Beat{ID: other, Interval: 10 * time.Second})
			r.pass(time.Minute)
			require.Equal(r.t, "dead silence", r.is(other))
		}, "unknown off_hours", []string{"alive beat", "unknown off_hours"}},
		"all desks are switched off": {friday + "20:30:00+01:00", func(r *rig) {
			r.keep(Beat{Interval: 10 * time.Second}, hosts(10)...)
			all := r.keep(Beat{Interval: 10 * time.Second}, desks(30)...)
			r.pass(30 * time.Second)
			pause(all...)
			r.pass(time.Minute)
			require.False(r.t, r.tracker.Isolated())
			require.Empty(r.t, r.tracker.isolation.silent)
		}, "unknown off_hours", []string{"alive beat", "unknown off_hours"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, inOfficeHours(t))
			r.checked = true
			r.atWall(c.start)
			r.observe(Beat{ID: desk, Interval: 10 * time.Second, Conn: 1})
			r.now = r.now.Add(longConn)
			r.observe(Beat{ID: desk, Interval: 10 * time.Second, Conn: 1})
			r.now = r.start
			c.story(r)
			require.Equal(t, c.is, r.is(desk))
			require.Equal(t, c.told, r.statesOf(desk))
		})
	}
}

// An ephemeral peer that falls silent has left, with its services; an end that its watcher
// sees is a death.
func TestEphemeral(t *testing.T) {
	worker := peerID("worker-7", HostService)
	shop := peerID("worker-7", "shop")
	for name, c := range map[string]struct {
		story      func(*rig)
		host, shop string
	}{
		"silent":              {func(r *rig) { r.pass(time.Minute) }, "left silence", "left host"},
		"its connection ends": {func(r *rig) { r.ended(1, Closed); r.pass(time.Minute) }, "left conn_closed", "left host"},
		"it is back":          {func(r *rig) { r.pass(time.Minute); r.observe(beatOf(worker)) }, "alive beat", "left host"},
		"it promised to be back": {func(r *rig) {
			for _, id := range []ID{worker, shop} {
				b := beatOf(id)
				b.Status, b.BackIn = SaysLeaving, time.Minute
				r.observe(b)
			}
			r.pass(5 * time.Minute)
		}, "left leaving", "left host"},
		"it is not back":       {func(r *rig) { r.pass(2 * time.Hour) }, "not known", "not known"},
		"its service is ended": {func(r *rig) { b := beatOf(shop); b.Status = SaysDead; r.observe(b) }, "alive beat", "dead exited"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, ruled("worker-", func(terms *Terms) { terms.Ephemeral = true }))
			r.checked = true
			for range 2 {
				r.observe(beatOf(worker))
				r.observe(beatOf(shop))
				r.pass(time.Second)
			}
			c.story(r)
			require.Equal(t, c.host, r.is(worker))
			require.Equal(t, c.shop, r.is(shop))
			if c.shop != "dead exited" {
				require.Empty(t, r.deaths())
			}
		})
	}
}

func beatOf(id ID) Beat {
	return Beat{ID: id, Interval: 10 * time.Second, Run: "daemon", Watched: true, Conn: 1}
}

// Several collectors use the same hours. A collector that is cut off from a desk at night
// shows the same as the others.
func TestMatesKeepOneHour(t *testing.T) {
	p := &pair{}
	for _, r := range []**rig{&p.one, &p.two} {
		*r = newRig(t, func(o *Options) { o.Mates = true }, inOfficeHours(t))
		(*r).checked = true
		(*r).atWall("2026-11-30T05:58:00+01:00")
	}
	desk := desks(1)[0]
	beat := Beat{ID: desk, Interval: 10 * time.Second, Conn: 1}
	p.one.observe(beat)
	p.two.observe(beat)
	p.pass(time.Second)
	p.one.observe(beat)
	p.two.observe(beat)
	p.one.ended(1, Closed)
	p.two.ended(1, Closed)
	p.pass(time.Minute)
	p.round()
	for _, r := range []*rig{p.one, p.two} {
		require.Equal(t, "unknown off_hours", r.is(desk))
	}
	p.pass(90 * time.Second)
	p.round()
	p.pass(10 * time.Second)
	for _, r := range []*rig{p.one, p.two} {
		require.Equal(t, "dead conn_closed", r.is(desk))
		require.Len(t, r.deaths(), 1)
	}
}

func TestStartOfHours(t *testing.T) {
	r := newRig(t)
	r.leap(r.start.Add(time.Hour))
	r.now = r.now.Add(10 * time.Minute) // a stall
	r.pass(20 * time.Minute)
	v := r.tracker.Listened(r.now)
	for _, c := range []struct {
		ago, startV time.Duration
		just        bool
	}{
		{10 * time.Minute, v - 10*time.Minute, false},
		{25 * time.Minute, v - 20*time.Minute, true}, // in the stall
		{40 * time.Minute, v - 30*time.Minute, false},
		{2 * time.Hour, -never, false}, // before this collector
	} {
		startV, just := r.tracker.startOfHours(c.ago)
		require.Equal(t, c.just, just, c.ago)
		require.InDelta(t, c.startV.Seconds(), startV.Seconds(), 0.5, c.ago)
	}
}
