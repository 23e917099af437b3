//go:build linux

package liveness_test

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// BenchmarkHold measures, with a million peers, the most processor time of each call that the
// judge makes under its lock. It covers the time when all peers are well, a Gather, saving, a
// stall, and the silence of all peers: first in isolation, then when they are dead, then when
// they are forgotten. The shortest of several runs counts, as in BenchmarkStorm.
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
		shortest.lessen(c.holds())
	}
	shortest.report(b)
}

// BenchmarkHoldOfMany measures the same for changes that concern 100,000 peers at once, beside
// a million that are well: their common connection ends; the operator expects them, while half
// of them are known; and then the operator expects others.
func BenchmarkHoldOfMany(b *testing.B) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c := newCrowd()
	c.round(false)
	shortest := make(holds)
	for b.Loop() {
		h := make(holds)
		h.connection()
		h.expectation(c)
		shortest.lessen(h)
	}
	shortest.report(b)
}

// lessen lowers each hold to the hold of another run, if that is shorter.
func (h holds) lessen(other holds) {
	for what, took := range other {
		if before, known := h[what]; !known || took < before {
			h[what] = took
		}
	}
}

func (h holds) report(b *testing.B) {
	for what, took := range h {
		b.ReportMetric(float64(took.Nanoseconds())/1e6, "ms/"+what)
	}
	b.ReportMetric(0, "ns/op")
}

// holds lets an interval pass in which all peers are well, views and saves them, and then
// continues in silence until all are forgotten.
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

// many is how many peers the operator expects, or how many one connection has.
const many = 100_000

// expectation expects many hosts, and then others instead of them. There are a million hosts.
func (h holds) expectation(c *crowd) {
	for _, first := range []int{million - many/2, million, 0} {
		all := make([]liveness.Expected, 0, many)
		for i := range many {
			all = append(all, liveness.Expected{Source: fmt.Sprintf("web-%07d", first+i), Service: "shop"})
		}
		h.time("Expect", func() { c.tracker.Expect(all, c.now) })
		c.tickInParts("Expect", h)
	}
}

// connection makes many hosts beat over one connection, and ends it.
func (h holds) connection() {
	c := &crowd{tracker: liveness.New(options(), time.Now()), now: time.Now()}
	for seq := range int64(2) {
		c.now = c.now.Add(time.Second)
		for i := range many {
			id := liveness.ID{Source: fmt.Sprintf("web-%07d", i), Service: "shop"}
			c.tracker.Observe(c.now, &liveness.Beat{ID: id, Run: "r", Seq: seq + 1, Interval: interval, Conn: 1})
		}
		c.tracker.Observe(c.now, &liveness.Beat{ID: liveness.ID{Source: "db-1"}, Run: "r", Seq: seq + 1, Interval: interval, Conn: 2})
	}
	c.tickInParts("ConnEnded", h)
	end := func(conn liveness.ConnID) {
		h.time("ConnEnded", func() { c.tracker.ConnEnded(c.now, conn, liveness.Closed, netip.Addr{}) })
	}
	ended := c.now
	end(1)
	for c.now.Before(ended.Add(options().Grace)) {
		c.tickInParts("ConnEnded", h)
	}
	c.now = c.now.Add(1) // now those ends are too old to form a crowd with this one
	end(2)
	c.tickInParts("ConnEnded", h)
}

// tickInParts is tick as the judge does it.
func (c *crowd) tickInParts(what string, h holds) {
	c.now = c.now.Add(liveness.TickInterval)
	for more := true; more; {
		h.time(what, func() { _, more = c.tracker.TickPart(c.now, underLock) })
	}
}
