package liveness_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

const (
	million  = 1_000_000
	interval = 10 * time.Second
)

// BenchmarkMillion measures the processor time and memory that the tracker needs for a million
// peers: one on each host, each with its own connection. Beats come in an order that no cache
// predicts; the time of the loop that sends them is not counted.
//
//	go test -run '^$' -bench Million -benchtime 3x ./plugins/inputs/heartbeat/liveness
func BenchmarkMillion(b *testing.B) {
	var c *crowd
	perPeer(b, "first_beat", func(b *testing.B) time.Duration {
		c = newCrowd()
		before := inUse()
		took := c.round(false)
		b.ReportMetric(float64(inUse()-before)/million, "B/peer")
		return took
	})
	beat := func(known bool) func(*testing.B) time.Duration {
		return func(b *testing.B) time.Duration {
			b.ReportAllocs()
			return c.round(known) - c.idleRound()
		}
	}
	perPeer(b, "beat,_peer_found_by_ID", beat(false))
	perPeer(b, "beat,_peer_known_by_the_connection", beat(true))
	for i, name := range []string{"tick,_nothing_due", "tick_that_looks_at_everybody"} {
		b.Run(name, func(b *testing.B) {
			var longest time.Duration
			for b.Loop() {
				c.round(true) // only the peer brief is silent
				longest = max(longest, c.ticks()[i])
			}
			b.ReportMetric(float64(longest.Nanoseconds()), "ns/tick")
			b.ReportMetric(0, "ns/op")
		})
	}
	var saved []liveness.Record
	perPeer(b, "save", func(*testing.B) (took time.Duration) { took, saved = c.records(); return took })
	perPeer(b, "restore", func(*testing.B) time.Duration { return restore(saved) })
}

// perPeer reports the mean time per peer.
func perPeer(b *testing.B, name string, all func(*testing.B) time.Duration) {
	b.Run(name, func(b *testing.B) {
		var took time.Duration
		for b.Loop() {
			took += all(b)
		}
		b.ReportMetric(float64(took.Nanoseconds())/float64(b.N)/million, "ns/peer")
		b.ReportMetric(0, "ns/op")
	})
}

func inUse() uint64 {
	runtime.GC() //nolint:revive // so that only memory in use is counted
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A crowd is a tracker and the peers that beat to it. A sender reuses the strings of its first
// beat, as the beats over a connection do.
type crowd struct {
	tracker *liveness.Tracker
	now     time.Time
	sources []string
	runs    []string
	handles []liveness.Handle
	order   []int
	seq     int64
}

func options() liveness.Options {
	return liveness.Options{
		Terms:      liveness.Terms{DeadAfter: 210 * time.Second, Margin: liveness.MarginOf(3), Grace: 5 * time.Second, ForgetDead: 10 * time.Minute},
		MinSilence: liveness.MinSilence, MaxPeers: million + 1, MaxBeatsPerSecond: 10,
		IsolationPercent: 30, IsolationHold: 10 * time.Second,
	}
}

func newCrowd() *crowd {
	now := time.Now()
	return &crowd{
		tracker: liveness.New(options(), now), now: now,
		sources: make([]string, million), runs: make([]string, million), handles: make([]liveness.Handle, million),
		order: rand.New(rand.NewPCG(1, 2)).Perm(million),
	}
}

// round makes each peer beat once, an interval after its last beat, and returns how long that
// took.
func (c *crowd) round(known bool) time.Duration {
	c.seq++
	for end := c.now.Add(interval); c.now.Before(end); {
		c.tick()
	}
	beat := liveness.Beat{Process: liveness.Process{Boot: "6d1c0f5e", PID: 4711}, Seq: c.seq, Interval: interval}
	begin := time.Now()
	for _, i := range c.order {
		if c.seq == 1 { // each sender has strings of its own
			c.sources[i], c.runs[i] = fmt.Sprintf("web-%07d", i), fmt.Sprintf("%08x", i)
		}
		beat.ID = liveness.ID{Source: c.sources[i], Service: "shop"}
		beat.Run, beat.Conn = c.runs[i], liveness.ConnID(i+1)
		beat.Handle = liveness.Handle{}
		if known {
			beat.Handle = c.handles[i]
		}
		c.handles[i] = c.tracker.Observe(c.now, &beat).Handle
	}
	return time.Since(begin)
}

// idleRound returns how long the loop of a round takes without the tracker: the beats of the
// senders are not in a cache either.
func (c *crowd) idleRound() time.Duration {
	var beat liveness.Beat
	length := 0
	begin := time.Now()
	for _, i := range c.order {
		beat.ID = liveness.ID{Source: c.sources[i], Service: "shop"}
		beat.Run, beat.Conn, beat.Handle = c.runs[i], liveness.ConnID(i+1), c.handles[i]
		length += len(beat.ID.Source) + len(beat.Run)
	}
	took := time.Since(begin)
	runtime.KeepAlive(length)
	return took
}

// ticks returns how long a tick takes at most while no peer is due, and how long a tick takes
// that finds one due: the peer that beat last exceeds its allowed silence before all others.
func (c *crowd) ticks() [2]time.Duration {
	brief := liveness.Beat{ID: liveness.ID{Source: "brief", Service: "shop"}, Run: "r", Seq: c.seq, Interval: 100 * time.Millisecond}
	c.tracker.Observe(c.now, &brief)
	var calm, sweep time.Duration
	for range 5 {
		calm = max(calm, c.tick())
	}
	for range 20 {
		sweep = max(sweep, c.tick())
	}
	return [2]time.Duration{calm, sweep}
}

func (c *crowd) tick() time.Duration {
	c.now = c.now.Add(liveness.TickInterval)
	begin := time.Now()
	c.tracker.Tick(c.now)
	return time.Since(begin)
}

// records returns the records of all peers.
func (c *crowd) records() (time.Duration, []liveness.Record) {
	all := make([]liveness.Record, c.tracker.Len())
	begin := time.Now()
	for i := range all {
		all[i] = c.tracker.Record(i, c.now)
	}
	return time.Since(begin), all
}

// restore makes another tracker continue from saved records.
func restore(saved []liveness.Record) time.Duration {
	for i := range saved { // as if they came from a file
		saved[i].ID.Source = strings.Clone(saved[i].ID.Source)
	}
	now := time.Now()
	tracker := liveness.New(options(), now)
	for i := range saved {
		tracker.Restore(&saved[i], now, now)
	}
	return time.Since(now)
}
