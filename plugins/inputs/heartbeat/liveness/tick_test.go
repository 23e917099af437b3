package liveness

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

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

func TestClockOfReadersAndTicks(t *testing.T) {
	l := newRig(t)
	b := Beat{ID: ID{Source: "a", Service: "x"}, Interval: 10 * time.Second}
	l.pass(10 * time.Second)
	before := l.now
	l.now = l.now.Add(time.Second) // no tick happens
	l.observe(b)
	require.Equal(t, 35*time.Second, l.tracker.View(0, l.now).Deadline)
	require.Equal(t, 35*time.Second, l.tracker.View(0, before.Add(300*time.Millisecond)).Deadline, "the clock stops after 200 ms")
	l.tracker.Tick(before) // the clock never goes back
	require.Equal(t, 10*time.Second, l.tracker.tickV)
	l.tracker.Tick(before.Add(150 * time.Millisecond))
	require.Zero(t, l.tracker.Stalled(), "a late tick is no stall")
	b.Seq = 0
	out := l.tracker.Observe(before, &b)
	require.Zero(t, out.Gap, "a reader that was overtaken")
}

// A short stall soon after a long one does not shorten the time in which the schedule learns
// nothing from the backlog.
func TestShortStallDoesNotEndALongOne(t *testing.T) {
	c := newRig(t)
	c.join(time.Second, hosts(1)...)
	c.pass(2 * time.Minute)
	before := c.tracker.teachFrom
	require.Zero(t, before)
	c.now = c.now.Add(40 * time.Second)
	c.hear(c.tracker.Tick(c.now))
	long := c.tracker.teachFrom
	c.now = c.now.Add(250 * time.Millisecond)
	c.hear(c.tracker.Tick(c.now))
	require.GreaterOrEqual(t, c.tracker.teachFrom, long)
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
