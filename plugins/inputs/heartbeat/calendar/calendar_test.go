package calendar

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const berlin = "Europe/Berlin"

func instant(t testing.TB, text string) time.Time {
	at, err := time.Parse(time.RFC3339, text)
	require.NoError(t, err)
	return at.UTC()
}

func schedule(t testing.TB, text string) *Schedule {
	s, err := ParseSchedule(text, berlin)
	require.NoError(t, err)
	return s
}

// When clocks are set, a local time may occur twice or never. Both readings are returned.
func TestScheduleIsDue(t *testing.T) {
	for _, c := range []struct{ text, after, from, at string }{
		{"15 2 * * 1-5", "2026-11-27T02:15:00+01:00", "", "2026-11-30T02:15:00+01:00"}, // Friday
		{"15 2 * * 1-5", "2026-11-27T02:14:59+01:00", "", "2026-11-27T02:15:00+01:00"},
		{"15 2 * * *", "2026-03-28T12:00:00+01:00", "2026-03-29T01:15:00+01:00", "2026-03-29T03:15:00+02:00"}, // skipped
		{"15 2 * * *", "2026-03-29T03:15:00+02:00", "", "2026-03-30T02:15:00+02:00"},
		{"15 2 * * *", "2026-10-24T12:00:00+02:00", "2026-10-25T02:15:00+02:00", "2026-10-25T02:15:00+01:00"}, // repeated
		{"15 2 * * *", "2026-10-25T02:14:00+02:00", "2026-10-25T02:15:00+02:00", "2026-10-25T02:15:00+01:00"},
		{"15 2 * * *", "2026-10-25T02:15:00+02:00", "2026-10-25T02:15:00+02:00", "2026-10-25T02:15:00+01:00"},
		{"15 2 * * *", "2026-10-25T02:15:00+01:00", "", "2026-10-26T02:15:00+01:00"},
		{"30 3 * * *", "2026-03-28T12:00:00+01:00", "", "2026-03-29T03:30:00+02:00"},
		{"0 * * * *", "2026-10-25T01:30:00+02:00", "2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00"},
		{"*/20 * * * *", "2026-03-29T01:50:00+01:00", "2026-03-29T01:00:00+01:00", "2026-03-29T03:00:00+02:00"},
		{"*/20 * * * *", "2026-03-29T03:00:00+02:00", "2026-03-29T01:20:00+01:00", "2026-03-29T03:20:00+02:00"},
		{"0 3 1 * *", "2026-11-30T00:00:00+01:00", "", "2026-12-01T03:00:00+01:00"},
		{"0 3 1 1,4,7,10 *", "2026-10-01T03:00:00+02:00", "", "2027-01-01T03:00:00+01:00"},
		{"0 3 29 2 *", "2026-03-01T00:00:00+01:00", "", "2028-02-29T03:00:00+01:00"},
		{"0 3 1 * 1", "2026-12-01T03:00:00+01:00", "", "2026-12-07T03:00:00+01:00"}, // both: either, as crontab(5) says
		{"@daily", "2026-11-30T02:00:00+01:00", "", "2026-12-01T00:00:00+01:00"},
	} {
		if c.from == "" {
			c.from = c.at
		}
		want := Due{instant(t, c.from), instant(t, c.at)}
		due := schedule(t, c.text).After(instant(t, c.after))
		require.Equal(t, want, Due{due.From.UTC(), due.At.UTC()}, "%s after %s", c.text, c.after)
	}
}

func TestScheduleHasNoOrderButTime(t *testing.T) {
	for _, text := range []string{"15 2 * * *", "*/7 * * * *", "30 1-3 * * *", "0 0 1 * *"} {
		s := schedule(t, text)
		for _, start := range []string{"2026-03-28T22:00:00Z", "2026-10-24T22:00:00Z"} {
			at := instant(t, start)
			for end := at.Add(8 * time.Hour); at.Before(end); at = at.Add(77 * time.Second) {
				due := s.After(at)
				require.True(t, due.At.After(at), "%s after %s", text, at)
				require.False(t, due.From.After(due.At))
				before := s.Before(due.At)
				require.False(t, before.At.After(at), "%s: nothing is due between %s and %s", text, at, due.At)
				require.Equal(t, due, s.After(before.At), "%s after %s", text, before.At)
			}
		}
	}
}

// A peer whose clock is ahead of ours or behind is not late.
func TestBeatCountsForItsInstant(t *testing.T) {
	for _, c := range []struct{ text, heard, awaited string }{
		{"15 2 * * 1-5", "2026-11-30T02:15:30+01:00", "2026-12-01T02:15:00+01:00"},
		{"15 2 * * 1-5", "2026-11-30T02:14:30+01:00", "2026-12-01T02:15:00+01:00"}, // ahead
		{"15 2 * * 1-5", "2026-11-30T01:15:00+01:00", "2026-12-01T02:15:00+01:00"},
		{"15 2 * * 1-5", "2026-11-30T01:14:59+01:00", "2026-11-30T02:15:00+01:00"}, // more than an hour early
		{"15 2 * * 1-5", "2026-11-30T18:00:00+01:00", "2026-12-01T02:15:00+01:00"},
		{"15 2 * * *", "2026-10-25T02:15:10+02:00", "2026-10-26T02:15:00+01:00"}, // the first of two
		{"15 2 * * *", "2026-10-25T02:15:10+01:00", "2026-10-26T02:15:00+01:00"},
		{"15 2 * * *", "2026-03-29T03:00:02+02:00", "2026-03-30T02:15:00+02:00"}, // cron makes up for what was skipped
		{"*/5 * * * *", "2026-11-30T12:03:44+01:00", "2026-11-30T12:05:00+01:00"},
		{"*/5 * * * *", "2026-11-30T12:03:45+01:00", "2026-11-30T12:10:00+01:00"}, // a quarter of five minutes
	} {
		due := schedule(t, c.text).Awaited(instant(t, c.heard), time.Hour)
		require.Equal(t, instant(t, c.awaited), due.At.UTC(), "%s heard at %s", c.text, c.heard)
	}
}

func TestParseSchedule(t *testing.T) {
	for text, why := range map[string]string{
		"":              "fields",
		"15 2 * *":      "4 fields",
		"0 15 2 * * *":  "6 fields",
		"75 2 * * *":    "crontab",
		"0 0 30 2 *":    "never due",
		"@reboot":       "crontab",
		"@every 5m":     "2 fields",
		"a b c d e":     "crontab",
		"15 2 * * 1-99": "crontab",
	} {
		_, err := ParseSchedule(text, "UTC")
		require.ErrorContains(t, err, why, "%q", text)
	}
	_, err := ParseSchedule("15 2 * * *", "Europe/Bonn")
	require.EqualError(t, err, `"Europe/Bonn" is not a time zone: write one like "Europe/Berlin" or "UTC"`)
	require.Equal(t, "15 2 * * 1-5 Europe/Berlin", schedule(t, " 15  2 * * 1-5").String())
}

func TestHours(t *testing.T) {
	for _, c := range []struct {
		text, at    string
		within      bool
		from, until string
	}{
		{"Mon-Fri 06:00-20:00", "2026-11-27T19:59:59+01:00", true, "2026-11-27T06:00:00+01:00", "2026-11-27T20:00:00+01:00"},
		{"Mon-Fri 06:00-20:00", "2026-11-27T20:00:00+01:00", false, "2026-11-27T20:00:00+01:00", "2026-11-30T06:00:00+01:00"},
		{"Mon-Fri 06:00-20:00", "2026-03-29T12:00:00+02:00", false, "2026-03-27T20:00:00+01:00", "2026-03-30T06:00:00+02:00"},
		{"mon,wednesday 08:00-12:00,13:00-17:30", "2026-11-25T12:30:00+01:00", false, "2026-11-25T12:00:00+01:00", "2026-11-25T13:00:00+01:00"},
		{"Sat 22:00-06:00", "2026-11-29T05:00:00+01:00", true, "2026-11-28T22:00:00+01:00", "2026-11-29T06:00:00+01:00"},
		{"Fri-Mon 08:00-09:00 Tue 10:00-24:00", "2026-11-24T23:00:00+01:00", true, "2026-11-24T10:00:00+01:00", "2026-11-25T00:00:00+01:00"},
		{"02:00-03:00", "2026-10-25T02:30:00+02:00", true, "2026-10-25T02:00:00+02:00", "2026-10-25T03:00:00+01:00"}, // repeated
		{"02:00-03:00", "2026-03-29T03:30:00+02:00", false, "2026-03-28T03:00:00+01:00", "2026-03-30T02:00:00+02:00"},
		{"00:00-24:00", "2026-11-27T12:00:30+01:00", true, "2026-11-20T12:00:00+01:00", "2026-12-04T12:01:00+01:00"},
	} {
		h, err := ParseHours(c.text, berlin)
		require.NoError(t, err, c.text)
		want := Span{c.within, instant(t, c.from), instant(t, c.until)}
		for range 2 { // the second time it is known
			s := h.At(instant(t, c.at))
			require.Equal(t, want, Span{s.Within, s.From.UTC(), s.Until.UTC()}, "%s at %s", c.text, c.at)
		}
	}
}

func TestParseHours(t *testing.T) {
	for _, text := range []string{
		"", "Mon", "Mon-Fri", "Mon-Fri 6-20", "Mon-Fri 06:00", "Mon-Fri 06:00-25:00", "Mon-Fri 06:60-07:00", "Mön 06:00-07:00",
		"06:00-06:00", "24:00-25:00", "24:00-06:00", "Mon-Fri 06:00-20:00 Sat", "Mon-Fri 06:00-20:00-22:00", "-5:00-06:00",
	} {
		_, err := ParseHours(text, "UTC")
		require.ErrorContains(t, err, `write hours like "Mon-Fri 06:00-20:00"`, "%q", text)
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{"15 2 * * 1-5", "@daily", "0 3 L * *", "0 0 1W * 5#3", "Mon-Fri 06:00-20:00", "*/0 * * * *"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := ParseSchedule(text, berlin); err == nil {
			at := instant(t, "2026-10-25T00:00:00Z")
			due := s.Awaited(at, time.Hour)
			require.True(t, due.At.IsZero() || due.At.After(at), "%q: %s", text, due.At)
		}
		if h, err := ParseHours(text, berlin); err == nil {
			at := instant(t, "2026-10-25T00:30:00Z")
			s := h.At(at)
			require.False(t, s.From.After(at) || !s.Until.After(at), fmt.Sprint(text, s))
		}
	})
}

func BenchmarkAwaited(b *testing.B) {
	for _, text := range []string{"* * * * *", "15 2 * * *", "0 3 29 2 *"} {
		s := schedule(b, text)
		at := instant(b, "2026-11-30T02:00:00Z")
		b.Run(text, func(b *testing.B) {
			for b.Loop() {
				s.Awaited(at, time.Hour)
			}
		})
	}
}
