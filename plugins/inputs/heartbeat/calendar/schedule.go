// Package calendar knows time as people mean it: when a job is due, and at which hours somebody is
// expected. It holds no clock: time is an argument.
package calendar

import (
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // for machines without a database of time zones

	"github.com/robfig/cron/v3"
)

// maxShift is more than twice what clocks are set by when summer time begins or ends, which is an
// hour, or half of one on Lord Howe Island.
const maxShift = 3 * time.Hour

// crontab reads five fields. Where both a day of the month and a day of the week are given, either
// is one, as crontab(5) says.
var crontab = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)

// A Schedule is when a job is due, as crontab(5) says it. It may be used concurrently.
type Schedule struct {
	text string
	expr cron.Schedule
	zone *time.Location

	apart time.Duration // the longest time between two due instants of several in a row
}

// ParseSchedule reads five fields as in crontab(5), like "15 2 * * 1-5", or one of @hourly, @daily,
// @weekly, @monthly and @yearly. They are times in a zone, like "Europe/Berlin"; "" is that of this
// machine.
func ParseSchedule(text, zone string) (*Schedule, error) {
	location, err := locate(zone)
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(text)
	if name := len(fields) == 1 && fields[0][0] == '@'; !name && len(fields) != 5 {
		return nil, fmt.Errorf("%.64q has %d fields, not five: write a crontab schedule like \"15 2 * * 1-5\"", text, len(fields))
	}
	expr, err := crontab.Parse(strings.Join(fields, " "))
	if err != nil {
		return nil, fmt.Errorf("%.64q is not a crontab schedule like \"15 2 * * 1-5\": %w", text, err)
	}
	s := &Schedule{text: strings.Join(fields, " "), expr: expr, zone: location}
	first := expr.Next(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))
	if first.IsZero() {
		return nil, fmt.Errorf("%.64q is never due", text)
	}
	for range 40 { // a month of days
		next := expr.Next(first)
		if next.IsZero() {
			break
		}
		s.apart, first = max(s.apart, next.Sub(first)), next
	}
	return s, nil
}

func locate(zone string) (*time.Location, error) {
	if zone == "" {
		return time.Local, nil
	}
	location, err := time.LoadLocation(zone)
	if err != nil {
		return nil, fmt.Errorf("%.64q is not a time zone: write one like \"Europe/Berlin\" or \"UTC\"", zone)
	}
	return location, nil
}

// String returns the fields and the zone.
func (s *Schedule) String() string { return s.text + " " + s.zone.String() }

// A Due is when a job is due. In the night in which clocks are set a time on the clock may come
// twice or never: then it has two readings, and the job may run at either.
type Due struct{ From, At time.Time } // the earlier and the later reading; mostly the same

// After returns the first due instant after t, by its later reading. Once the schedule is over,
// which no schedule without a year is, it is the zero Due.
func (s *Schedule) After(t time.Time) (first Due) {
	if next := s.expr.Next(s.clock(t)); !next.IsZero() {
		if due := s.read(next); !s.isSet(t, due.At) {
			return due
		}
	}
	clock := s.clock(t).Add(-maxShift)
	for end := clock; ; {
		clock = s.expr.Next(clock)
		if clock.IsZero() || !first.At.IsZero() && clock.After(end) {
			return first
		}
		due := s.read(clock)
		if due.At.After(t) && (first.At.IsZero() || due.At.Before(first.At)) {
			first, end = due, clock.Add(maxShift) // one that is later on the clock may be earlier
		}
	}
}

// isSet reports whether clocks in the zone are set between two times, or near them.
func (s *Schedule) isSet(from, to time.Time) bool {
	start, end := from.In(s.zone).ZoneBounds()
	return from.Add(-maxShift).Before(start) || !end.IsZero() && to.Add(maxShift).After(end)
}

// Before returns the last due instant before t, by its later reading, or the zero Due if there
// was none in years.
func (s *Schedule) Before(t time.Time) (last Due) {
	for back := max(s.apart, time.Hour); back < 8*366*24*time.Hour; back *= 4 {
		for due := s.After(t.Add(-back)); due.At.Before(t) && !due.At.IsZero(); due = s.After(due.At) {
			last = due
		}
		if !last.At.IsZero() {
			return last
		}
	}
	return last
}

// Apart returns for how long nothing is due at the most, or nearly so.
func (s *Schedule) Apart() time.Duration { return s.apart }

// Awaited returns when the beat after one at t is due. A beat counts for the instant before it, but
// up to early before an instant, and not more than a quarter of the time since the one before,
// for that: so a clock that is ahead of ours makes nobody late.
func (s *Schedule) Awaited(t time.Time, early time.Duration) Due {
	next := s.After(t)
	if last := s.Before(next.At); !last.At.IsZero() {
		early = min(early, next.At.Sub(last.At)/4)
	}
	if t.Before(next.From.Add(-early)) {
		return next
	}
	return s.After(next.At)
}

// clock returns what a clock in the zone shows at t, as a time in UTC: there no clock is set.
func (s *Schedule) clock(t time.Time) time.Time {
	local := t.In(s.zone)
	_, offset := local.Zone()
	return local.UTC().Add(time.Duration(offset) * time.Second)
}

// read returns when a clock in the zone shows that, or would: one that is set ahead skips an hour,
// in which it is read as before and as after.
func (s *Schedule) read(clock time.Time) Due {
	offset := func(near time.Time) time.Duration {
		_, seconds := near.In(s.zone).Zone()
		return time.Duration(seconds) * time.Second
	}
	before, after := clock.Add(-offset(clock.Add(-14*time.Hour))), clock.Add(-offset(clock.Add(14*time.Hour)))
	if s.clock(before).Equal(clock) && !s.clock(after).Equal(clock) {
		after = before
	}
	if s.clock(after).Equal(clock) && !s.clock(before).Equal(clock) {
		before = after
	}
	if before.After(after) {
		before, after = after, before
	}
	return Due{before, after}
}
