package main

import (
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/cluster"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/herald"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// A collector is a simulated collector in virtual time. It uses the tracker, the circle and the
// herald of the plugin; this type replaces the plugin's clock, bus and outputs. It is also the
// cluster.Peers of its circle.
type collector struct {
	cluster.Peers // nil: methods that a simulation does not need are missing

	now      time.Time
	tracker  *liveness.Tracker
	circle   *cluster.Circle // nil for a collector without mates
	sent     [][]byte        // messages that have not been received yet
	ticks    uint64
	report   func(*liveness.Transition) // reports an event
	reporter *herald.Reporter
}

// newCollector returns a collector that starts now. The number must differ between collectors. A
// collector with mates exchanges messages with them.
func newCollector(name string, number uint64, mates bool, now time.Time, report func(*liveness.Transition)) *collector {
	c := &collector{now: now, report: report, reporter: herald.New(true, now)}
	rules := defaultOptions()
	rules.Mates = mates
	c.tracker = liveness.New(rules, now)
	if mates {
		options := cluster.Options{Name: name, Secret: []byte("of a simulation"), Peers: c, Log: noLog{}}
		c.circle = cluster.NewCircle(&options, number, now, func(message []byte) { c.sent = append(c.sent, message) })
	} else {
		c.reporter.StartReporting(false, now)
	}
	return c
}

// defaultOptions returns the plugin's default options.
func defaultOptions() liveness.Options {
	return liveness.Options{
		Terms: liveness.Terms{
			DeadAfter: 210 * time.Second, Margin: liveness.MarginOf(3), Grace: 5 * time.Second, ForgetDead: 336 * time.Hour,
		},
		MinSilence: liveness.MinSilence, ForgetLeft: time.Hour,
		IsolationPercent: 30, IsolationHold: time.Minute,
		MaxPeers: 10_000, MaxBeatsPerSecond: 10,
	}
}

// noLog discards all log lines.
type noLog struct{}

func (noLog) Infof(string, ...any) {}
func (noLog) Warnf(string, ...any) {}

// observe processes a beat.
func (c *collector) observe(b *liveness.Beat) {
	c.handleEvents(c.tracker.Observe(c.now, b).Transitions)
}

// tick lets the tracker judge silence.
func (c *collector) tick() {
	c.ticks++
	c.reportAll(c.reporter.TakeOverdue(c.now))
	c.handleEvents(c.tracker.Tick(c.now))
}

// talk lets the circle send its messages.
func (c *collector) talk() {
	if c.circle != nil {
		c.circle.Tick(c.now)
	}
}

// handleEvents reports events, unless a mate reports them.
func (c *collector) handleEvents(changes []liveness.Transition) {
	for _, change := range changes {
		if c.reporter.Admit(&change, c.now) {
			c.report(&change)
		}
	}
}

func (c *collector) reportAll(changes []*liveness.Transition) {
	for _, change := range changes {
		c.report(change)
	}
}

func (c *collector) Ticks() uint64                          { return c.ticks }
func (c *collector) CanReport() (able, isolated bool)       { return true, c.tracker.Isolated() }
func (c *collector) Flows() bool                            { return true }
func (c *collector) Said() liveness.Said                    { return c.tracker.TakeSaid(c.now) }
func (c *collector) Settle(question uint32)                 { c.tracker.Settle(question) }
func (c *collector) Count() int                             { return c.tracker.Len() }
func (c *collector) MatesChanged()                          { c.tracker.MatesChanged() }
func (c *collector) Asked() (asked, spared int64)           { return c.tracker.Asked() }
func (c *collector) DeferToMate(until time.Time)            { c.reporter.DeferToMate(until) }
func (c *collector) ReportUntil(until time.Time)            { c.reporter.ReportUntil(until) }
func (c *collector) RepeatRecent()                          { c.reporter.RepeatRecent() }
func (c *collector) StopReporting()                         { c.reporter.StopReporting(c.now) }
func (c *collector) TakeReported() []liveness.ReportedEvent { return c.reporter.TakeReported(c.now) }
func (c *collector) NoteReported(ago time.Duration, events []liveness.ReportedEvent) {
	c.reporter.NoteReported(events, ago, c.now)
}

func (c *collector) CatchPanic(_ string, do func()) bool {
	do()
	return true
}

// Words returns the Words about all peers with numbers below next. There are few, so one call
// returns them all.
func (c *collector) Words(next int) (words []liveness.Word, goOn int) {
	for i := min(next, c.tracker.Len()) - 1; i >= 0; i-- {
		words = append(words, c.tracker.Word(i, c.now))
	}
	return words, 0
}

func (c *collector) Answer(words []liveness.Word, asked []uint64) []liveness.Word {
	return c.tracker.Answer(words, asked, c.now)
}

func (c *collector) RecordsOf(hashes []uint64) (records []liveness.Record) {
	for _, hash := range hashes {
		if r, known := c.tracker.RecordByHash(hash, c.now); known {
			records = append(records, r)
		}
	}
	return records
}

func (c *collector) HearWords(mate string, ago time.Duration, words []liveness.Word) (wanted []uint64) {
	wanted, changes := c.tracker.HearWords(c.now, words, mate, ago)
	c.handleEvents(changes)
	return wanted
}

func (c *collector) HearFact(mate string, f *liveness.Fact) {
	c.handleEvents(c.tracker.HearFact(c.now, f, mate))
}

func (c *collector) HearRecords(mate string, ago time.Duration, records []liveness.Record) []uint64 {
	needed, changes := c.tracker.HearRecords(c.now, records, mate, ago)
	c.handleEvents(changes)
	return needed
}

func (c *collector) StartReporting(again bool) { c.reportAll(c.reporter.StartReporting(again, c.now)) }
