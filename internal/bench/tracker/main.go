// Command tracker measures what a million peers cost the tracker itself, without
// sockets, bytes and metrics: memory of each, time and allocations of a beat, of a
// sweep, of a look at everybody, and of a restart.
//
//	go run ./internal/bench/tracker
//
// Beats come in an order that no cache foresees; what that costs the loop which
// sends them is not counted.
package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

const interval = 10 * time.Second

func main() {
	peers := flag.Int("peers", 1_000_000, "how many")
	flag.Parse()
	c := newCrowd(*peers)
	fmt.Printf("\n%d peers, one on each host, each over a connection of its own.\n\n| what | cost |\n|---|--:|\n", *peers)
	before := inUse()
	first := c.round(false)
	row("memory of a peer, its strings included", "%.0f B", float64(inUse()-before)/float64(*peers))
	row("first beat of a peer", "%.0f ns", perBeat(first, *peers))
	allocated := allocations()
	byID, known, loop := c.round(false), c.round(true), c.idleRound()
	row("beat, its peer found by ID", "%.0f ns", perBeat(byID-loop, *peers))
	row("beat, its peer known by the connection", "%.0f ns", perBeat(known-loop, *peers))
	row("allocations of a beat", "%.2f", float64(allocations()-allocated)/float64(2**peers))
	calm, sweep := c.ticks()
	row("tick while no deadline is due", "%.3f ms", milliseconds(calm))
	row("tick that has to look at everybody", "%.2f ms", milliseconds(sweep))
	took, saved := c.records()
	row("a peer to be saved", "%.0f ns", perBeat(took, *peers))
	row("a peer restored", "%.0f ns", perBeat(restore(saved), *peers))
}

func row(what, format string, value any) { fmt.Printf("| %s | "+format+" |\n", what, value) }

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }

func perBeat(d time.Duration, peers int) float64 { return float64(d.Nanoseconds()) / float64(peers) }

func inUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func allocations() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}

func options(peers int) liveness.Options {
	return liveness.Options{
		Terms:      liveness.Terms{DeadAfter: 210 * time.Second, Margin: liveness.MarginOf(3), Grace: 5 * time.Second},
		MinSilence: liveness.MinSilence, MaxPeers: peers + 1, MaxBeatsPerSecond: 10,
		IsolationPercent: 30, IsolationHold: time.Minute,
	}
}

// A crowd is a tracker and whoever beats to it. The texts of a sender are those
// that its first beat brought, as they are over a connection.
type crowd struct {
	tracker *liveness.Tracker
	now     time.Time
	sources []string
	runs    []string
	handles []liveness.Handle
	order   []int
	seq     int64
}

func newCrowd(peers int) *crowd {
	now := time.Now()
	c := &crowd{tracker: liveness.New(options(peers), now), now: now, handles: make([]liveness.Handle, peers)}
	c.sources, c.runs = make([]string, peers), make([]string, peers)
	c.order = rand.New(rand.NewPCG(1, 2)).Perm(peers)
	return c
}

// round has each peer beat once and returns how long the tracker took.
func (c *crowd) round(known bool) time.Duration {
	c.seq++
	c.pass(interval)
	beat := liveness.Beat{Process: liveness.Process{Boot: "6d1c0f5e", PID: 4711}, Seq: c.seq, Interval: interval}
	begin := time.Now()
	for _, i := range c.order {
		if c.seq == 1 { // each sender brings texts of its own
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

// idleRound returns how long a round takes by itself: what a sender says is not
// in a cache either.
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

// pass lets so much time pass.
func (c *crowd) pass(d time.Duration) {
	for end := c.now.Add(d); c.now.Before(end); {
		c.now = c.now.Add(liveness.TickInterval)
		c.tracker.Tick(c.now)
	}
}

// ticks returns how long a tick takes while nothing is due, and one that finds
// something due: whoever has been heard last falls silent before all others.
func (c *crowd) ticks() (calm, sweep time.Duration) {
	brief := liveness.Beat{ID: liveness.ID{Source: "brief", Service: "shop"}, Run: "r", Seq: 1, Interval: 100 * time.Millisecond}
	c.tracker.Observe(c.now, &brief)
	tick := func() time.Duration {
		c.now = c.now.Add(liveness.TickInterval)
		begin := time.Now()
		c.tracker.Tick(c.now)
		return time.Since(begin)
	}
	for range 5 {
		calm = max(calm, tick())
	}
	for range 20 {
		sweep = max(sweep, tick())
	}
	return calm, sweep
}

// records returns what is to be saved of everybody.
func (c *crowd) records() (time.Duration, []liveness.Record) {
	all := make([]liveness.Record, c.tracker.Len())
	begin := time.Now()
	for i := range all {
		all[i] = c.tracker.Record(i, c.now)
	}
	return time.Since(begin), all
}

// restore has another tracker go on from what was saved.
func restore(saved []liveness.Record) time.Duration {
	for i := range saved { // they come from a file
		saved[i].ID.Source = strings.Clone(saved[i].ID.Source)
	}
	now := time.Now()
	tracker := liveness.New(options(len(saved)), now)
	for i := range saved {
		tracker.Restore(&saved[i], now, now)
	}
	return time.Since(now)
}
