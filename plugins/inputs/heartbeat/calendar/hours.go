package calendar

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	dayMinutes  = 24 * 60
	weekMinutes = 7 * dayMinutes
)

// Hours are the times of the week at which a peer is expected. They must not be used
// concurrently.
type Hours struct {
	text   string
	zone   *time.Location
	within [weekMinutes]bool // by minute of local time, from Sunday 00:00
	cached Span              // the span that At returned last
}

// A Span is a period inside or outside of the hours.
type Span struct {
	Within      bool
	From, Until time.Time // at most a week away, if the hours have no gap
}

// ParseHours parses days and times like "Mon-Fri 06:00-20:00", or "Mon-Fri 06:00-12:00,13:00-18:00
// Sat,Sun 22:00-06:00". The zone has the same form as for ParseSchedule. Times without days apply
// to every day. If the end of a time range is earlier than its beginning, the range ends on the
// next day.
func ParseHours(text, zone string) (*Hours, error) {
	location, err := loadZone(zone)
	if err != nil {
		return nil, err
	}
	h := &Hours{text: text, zone: location}
	days, timed := everyDay, true
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ',' }) {
		if word[0] >= '0' && word[0] <= '9' {
			err, timed = h.add(days, word), true
		} else {
			if timed {
				days, timed = nil, false
			}
			days, err = addDays(days, word)
		}
		if err != nil {
			return nil, fmt.Errorf("%.64q: %w: write hours like \"Mon-Fri 06:00-20:00\"", text, err)
		}
	}
	if !timed || !slices.Contains(h.within[:], true) {
		return nil, fmt.Errorf("%.64q has no time range: write hours like \"Mon-Fri 06:00-20:00\"", text)
	}
	return h, nil
}

// String returns the text and the zone.
func (h *Hours) String() string { return h.text + " " + h.zone.String() }

var (
	everyDay = []time.Weekday{0, 1, 2, 3, 4, 5, 6}
	dayNames = []string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}
)

// addDays adds a day or a range of days, like "Mon" or "Fri-Sun".
func addDays(days []time.Weekday, word string) ([]time.Weekday, error) {
	from, to, isRange := strings.Cut(word, "-")
	first, last := dayOf(from), dayOf(to)
	if !isRange {
		last = first
	}
	if first < 0 || last < 0 {
		return nil, fmt.Errorf("%.32q is not a day", word)
	}
	for day := first; ; day = (day + 1) % 7 {
		days = append(days, time.Weekday(day))
		if day == last {
			return days, nil
		}
	}
}

// dayOf returns the day with the given name. The first three letters of a name are enough. dayOf
// returns -1 for any other text.
func dayOf(name string) int {
	name = strings.ToLower(name)
	return slices.IndexFunc(dayNames, func(day string) bool { return name == day || name == day[:3] })
}

// add adds a time range like "06:00-20:00" on the given days.
func (h *Hours) add(days []time.Weekday, word string) error {
	from, to, _ := strings.Cut(word, "-")
	first, err := minuteOf(from)
	last, err2 := minuteOf(to)
	if err := errors.Join(err, err2); err != nil || first == last || first == dayMinutes {
		return fmt.Errorf("%.32q is not a time range", word)
	}
	if last < first {
		last += dayMinutes
	}
	for _, day := range days {
		for minute := first; minute < last; minute++ {
			h.within[(int(day)*dayMinutes+minute)%weekMinutes] = true
		}
	}
	return nil
}

// minuteOf returns the minute of the day for a time like "06:00". The time "24:00" is also allowed.
func minuteOf(text string) (int, error) {
	hour, minute, _ := strings.Cut(text, ":")
	h, err := strconv.ParseUint(hour, 10, 8)
	m, err2 := strconv.ParseUint(minute, 10, 8)
	if len(minute) != 2 || m > 59 || h*60+m > dayMinutes {
		return 0, strconv.ErrRange
	}
	return int(h*60 + m), errors.Join(err, err2)
}

// At returns the span that contains t. The hours follow local time: when clocks are set back, the
// repeated hour counts twice.
func (h *Hours) At(t time.Time) Span {
	if c := &h.cached; !t.Before(c.From) && t.Before(c.Until) {
		return *c
	}
	minute := t.Truncate(time.Minute)
	s := Span{Within: h.isWithin(minute), From: minute, Until: minute.Add(time.Minute)}
	for s.From.After(t.AddDate(0, 0, -7)) && h.isWithin(s.From.Add(-time.Minute)) == s.Within {
		s.From = s.From.Add(-time.Minute)
	}
	for s.Until.Before(t.AddDate(0, 0, 7)) && h.isWithin(s.Until) == s.Within {
		s.Until = s.Until.Add(time.Minute)
	}
	h.cached = s
	return s
}

// isWithin reports whether t, in local time of the zone, is within the hours.
func (h *Hours) isWithin(t time.Time) bool {
	local := t.In(h.zone)
	return h.within[int(local.Weekday())*dayMinutes+local.Hour()*60+local.Minute()]
}
