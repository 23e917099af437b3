// Package calendar knows when a job is due, and at which hours a peer is expected. It never reads a
// clock: callers pass the time.
package calendar

import (
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // for machines without a database of time zones

	"github.com/robfig/cron/v3"
)

// maxShift is more than twice the time by which clocks change when summer time begins or ends: an
// hour, or half an hour on Lord Howe Island.
const maxShift = 3 * time.Hour

// crontab parses five fields. If both a day of the month and a day of the week are given, either
// may match, as in crontab(5).
var crontab = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)

// A Schedule determines when a job is due, as in crontab(5). It may be used concurrently.
type Schedule struct {
	text string
	expr cron.Schedule
	zone *time.Location

	apart time.Duration // the longest time between two of the first due instants
}

// ParseSchedule parses five fields as in crontab(5), like "15 2 * * 1-5", or one of @hourly,
// @daily, @weekly, @monthly and @yearly. zone is a time zone like "Europe/Berlin". If it is "", the
// zone of this machine applies.
func ParseSchedule(text, zone string) (*Schedule, error) {
	location, err := loadZone(zone)
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
	for range 40 { // more than a month of days
		next := expr.Next(first)
		if next.IsZero() {
			break
		}
		s.apart, first = max(s.apart, next.Sub(first)), next
	}
	return s, nil
}

func loadZone(zone string) (*time.Location, error) {
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

// A Due is an instant at which a job is due. When clocks are set forward or back, a local time may
// occur never or twice. Then the local time can mean either of two instants, and the job may run at
// either of them.
type Due struct{ From, At time.Time } // the earlier and the later instant; mostly the same

// After returns the first Due whose At is after t. It would return the zero Due if there were none,
// but a crontab schedule has no year and is always due again.
func (s *Schedule) After(t time.Time) (first Due) {
	if next := s.expr.Next(s.localTime(t)); !next.IsZero() {
		if due := s.instantsOf(next); !s.clocksSetNear(t, due.At) {
			return due
		}
	}
	clock := s.localTime(t).Add(-maxShift)
	for end := clock; ; {
		clock = s.expr.Next(clock)
		if clock.IsZero() || !first.At.IsZero() && clock.After(end) {
			return first
		}
		due := s.instantsOf(clock)
		if due.At.After(t) && (first.At.IsZero() || due.At.Before(first.At)) {
			first, end = due, clock.Add(maxShift) // a later local time may be an earlier instant
		}
	}
}

// clocksSetNear reports whether clocks in the zone are set forward or back between from and to, or
// up to maxShift before or after that time.
func (s *Schedule) clocksSetNear(from, to time.Time) bool {
	start, end := from.In(s.zone).ZoneBounds()
	return from.Add(-maxShift).Before(start) || !end.IsZero() && to.Add(maxShift).After(end)
}

// Before returns the last Due whose At is before t. It returns the zero Due if there is none in the
// years before t.
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

// Apart returns approximately the longest time between two due instants.
func (s *Schedule) Apart() time.Duration { return s.apart }

// Awaited returns the time at which the next beat is due after a beat at t. A beat counts for the
// last due instant before it. But if it is only a little early for the next due instant, it counts
// for that one, so that a peer whose clock is ahead of ours is not late. At most the duration
// early, and at most a quarter of the time between the two instants, counts as a little early.
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

// localTime returns the wall-clock time of the zone at t as a time in UTC, which has no clock
// changes.
func (s *Schedule) localTime(t time.Time) time.Time {
	local := t.In(s.zone)
	_, offset := local.Zone()
	return local.UTC().Add(time.Duration(offset) * time.Second)
}

// instantsOf returns the instants at which the wall-clock time of the zone is clock. If clock is in
// a skipped hour, instantsOf uses the offsets before and after the change.
func (s *Schedule) instantsOf(clock time.Time) Due {
	offset := func(near time.Time) time.Duration {
		_, seconds := near.In(s.zone).Zone()
		return time.Duration(seconds) * time.Second
	}
	before, after := clock.Add(-offset(clock.Add(-14*time.Hour))), clock.Add(-offset(clock.Add(14*time.Hour)))
	if s.localTime(before).Equal(clock) && !s.localTime(after).Equal(clock) {
		after = before
	}
	if s.localTime(after).Equal(clock) && !s.localTime(before).Equal(clock) {
		before = after
	}
	if before.After(after) {
		before, after = after, before
	}
	return Due{before, after}
}
