package liveness

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// If a promise changes while two collectors are separated, both know the result when they
// meet, although the peer has beaten to both meanwhile.
func TestPromiseIsKnownToAll(t *testing.T) {
	leave := func(backIn time.Duration) Beat {
		return Beat{ID: shop, Run: "hand", Status: SaysLeaving, BackIn: backIn}
	}
	cancel := Beat{ID: shop, Run: "hand", Status: SaysLeaving, Cancel: true}
	another := Beat{ID: shop, Run: "next.1", Seq: 1, Interval: time.Second, Margin: 2500 * time.Millisecond}
	another.Process = Process{Boot: "b", PID: 8, Start: time.Hour}
	for _, c := range []struct {
		name   string
		before []Beat // the beats to both
		quiet  bool   // the peer is silent after that
		parted Beat   // the beat to one of them
		want   time.Duration
	}{
		{"made", nil, false, leave(20 * time.Minute), 20 * time.Minute},
		{"longer", []Beat{leave(time.Hour)}, false, leave(2 * time.Hour), 2 * time.Hour},
		{"taken back", []Beat{leave(time.Hour)}, false, cancel, 0},
		{"kept", []Beat{leave(time.Hour)}, true, another, 0},
		{"retired", []Beat{leave(time.Hour)}, true, leave(0), 0},
	} {
		for _, hears := range []bool{true, false} {
			p := newPair(t)
			beating(p.one, 1, first)
			beating(p.two, 1, first)
			p.pass(5 * time.Second)
			one, two := p.one, p.two
			if !hears {
				one, two = two, one
			}
			for _, b := range c.before {
				p.one.observe(b)
				p.two.observe(b)
			}
			if c.quiet {
				p.one.senders, p.two.senders = nil, nil
			}
			p.pass(20 * time.Second)
			p.parted = true
			one.observe(c.parted)
			p.pass(10 * time.Second)
			p.parted = false
			p.round()
			p.round()
			for _, r := range []*rig{one, two} {
				left := time.Duration(0)
				if known := r.tracker.byHash[shop.Hash()]; known.windowV > 0 {
					left = known.windowV - r.tracker.verdict(r.now)
				}
				require.InDelta(t, max(c.want-10*time.Second, 0), left, float64(time.Second), "%s, received by the first: %t", c.name, hears)
			}
		}
	}
}

// The time of a promise survives the collector: after a restart the promise does not look
// newer than it is.
func TestPromiseOutlivesTheCollector(t *testing.T) {
	p := newPair(t)
	beating(p.one, 1, first)
	p.pass(5 * time.Second)
	p.one.observe(Beat{ID: shop, Run: "hand", Status: SaysLeaving, BackIn: time.Hour})
	p.pass(time.Minute)
	record := p.one.tracker.Record(0, p.one.now)
	require.Equal(t, p.one.now.Add(-time.Minute).Round(0), record.Promise.Round(0))
	fresh := New(p.one.opts, p.one.now)
	fresh.Restore(&record, p.one.now, p.one.now)
	require.Equal(t, time.Minute, fresh.Word(0, p.one.now).Promise)
}
