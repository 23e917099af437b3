//go:build linux

package liveness_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// BenchmarkHold is how much processor time a call takes at the most, of those that are
// made under the lock of the judge, with a million peers: while all are well, for a Gather
// and for saving, after a stall, when all fall silent at once, which is isolation at first, when
// they are dead and when they are forgotten. Of several turns
// the shortest counts, as in BenchmarkStorm.
//
//	go test -run '^$' -bench Hold -benchtime 3x ./plugins/inputs/heartbeat/liveness
func BenchmarkHold(b *testing.B) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	shortest := make(holds)
	for b.Loop() {
		c := newCrowd()
		c.round(false)
		c.round(true)
		for what, took := range c.holds() {
			if before, known := shortest[what]; !known || took < before {
				shortest[what] = took
			}
		}
	}
	for what, took := range shortest {
		b.ReportMetric(float64(took.Nanoseconds())/1e6, "ms/"+what)
	}
	b.ReportMetric(0, "ns/op")
}

// holds lets an interval pass in which all are well, has them looked at and saved, and goes on
// in silence until all are forgotten.
func (c *crowd) holds() holds {
	h := make(holds)
	for end := c.now.Add(interval); c.now.Before(end); {
		c.tickInParts("tick", h)
	}
	views := make([]liveness.View, 0, underLock)
	for next := c.tracker.Len(); next > 0; views = views[:0] {
		h.time("Gather", func() {
			for ; len(views) < underLock && next > 0; next-- {
				views = append(views, c.tracker.View(next-1, c.now))
			}
		})
	}
	for c.tracker.Unsaved() {
		h.time("save", func() { c.tracker.TakeUnsaved(nil, underLock, c.now) })
	}
	crisis := func(what string, over func() bool) {
		for done := false; !done; done = over() {
			c.tickInParts(what, h)
		}
	}
	c.now = c.now.Add(2 * time.Minute)
	crisis("tick", func() bool { return true })
	c.round(true)
	crisis("isolation", c.tracker.Isolated)
	c.round(true)
	crisis("isolation", func() bool { return !c.tracker.Isolated() })
	crisis("deaths", func() bool { return c.tracker.Count(liveness.Dead) == million })
	crisis("forgetting", func() bool { return c.tracker.Len() == 0 })
	return h
}

// tickInParts is tick as the judge does it.
func (c *crowd) tickInParts(what string, h holds) {
	c.now = c.now.Add(liveness.TickInterval)
	for more := true; more; {
		h.time(what, func() { _, more = c.tracker.TickPart(c.now, underLock) })
	}
}
