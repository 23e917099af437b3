//go:build linux

package liveness_test

import (
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// BenchmarkStorm measures the most processor time of each call that the judge makes under its
// lock when 100,000 hosts fall silent at once: at a single collector, and at two that ask each
// other. The shortest of several runs counts, because other work on the machine can only make
// a run longer.
//
//	go test -run '^$' -bench Storm -benchtime 5x ./plugins/inputs/heartbeat/liveness
func BenchmarkStorm(b *testing.B) {
	for _, name := range []string{"alone", "two_collectors"} {
		b.Run(name, func(b *testing.B) {
			shortest := make(holds)
			for b.Loop() {
				for what, took := range newStorm(name != "alone").play() {
					if before, known := shortest[what]; !known || took < before {
						shortest[what] = took
					}
				}
			}
			for what, took := range shortest {
				b.ReportMetric(float64(took.Nanoseconds())/1e6, "ms/"+what)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

const (
	stormy    = 100_000
	underLock = 512 // how many peers the judge processes under one lock
)

// holds are the longest durations of calls, by kind of call.
type holds map[string]time.Duration

func (h holds) time(what string, do func()) {
	begin := usedByThread()
	do()
	h[what] = max(h[what], usedByThread()-begin)
}

// usedByThread returns the processor time used by this thread.
func usedByThread() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_THREAD, &u) //nolint:errcheck // it cannot fail for ourselves
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// A crisis has two collectors that have received the last beat of all hosts.
type crisis struct {
	now      time.Time
	trackers [2]*liveness.Tracker
	holds    holds
	dead     int
}

func newStorm(mates bool) *crisis {
	c := &crisis{now: time.Now(), holds: make(holds)}
	opts := options()
	opts.IsolationPercent, opts.Mates = 0, mates
	for k := range c.trackers {
		t := liveness.New(opts, c.now)
		c.trackers[k] = t
		for i := range stormy {
			id := liveness.ID{Source: fmt.Sprintf("web-%06d", i), Service: liveness.HostService}
			t.Observe(c.now, &liveness.Beat{ID: id, Run: "r", Seq: 1, Interval: interval})
		}
		t.TakeSaid(c.now)
	}
	return c
}

// play lets time pass until both collectors have reported all hosts dead.
func (c *crisis) play() holds {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for c.dead < 2*stormy {
		c.now = c.now.Add(liveness.TickInterval)
		for k, t := range c.trackers {
			c.tick(t)
			c.talk(t, c.trackers[1-k])
		}
	}
	return c.holds
}

func (c *crisis) tick(t *liveness.Tracker) {
	for more := true; more; {
		var changes []liveness.Transition
		c.holds.time("TickPart", func() { changes, more = t.TickPart(c.now, underLock) })
		for i := range changes {
			if changes[i].State == liveness.Dead {
				c.dead++
			}
		}
	}
}

// talk makes t ask other, and sends the news of t to other.
func (c *crisis) talk(t, other *liveness.Tracker) {
	for more := true; more; {
		var said liveness.Said
		c.holds.time("TakeSaid", func() { said = t.TakeSaid(c.now) })
		var words []liveness.Word
		c.holds.time("Answer", func() { words = other.Answer(nil, said.Asked, c.now) })
		c.holds.time("HearWords", func() { t.HearWords(c.now, words, "other", 0) })
		c.holds.time("HearWords", func() { other.HearWords(c.now, said.Words, "other", 0) })
		t.Settle(said.Question)
		more = said.More
	}
}
