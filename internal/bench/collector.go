package main

import (
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/cluster"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/herald"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// A collector is one in virtual time: the tracker, the circle and the herald of the plugin,
// and instead of its clock, its bus and its outputs what is below. It is the cluster.Peers
// of its circle.
type collector struct {
	cluster.Peers // nothing of it: what a simulation does not need is not there

	now     time.Time
	tracker *liveness.Tracker
	circle  *cluster.Circle // nil for one that is alone
	sent    [][]byte        // messages that are yet to be received
	ticks   uint64
	tell    func(*liveness.Transition) // an event
	herald  *herald.Herald
}

// newCollector returns a collector that starts now; number is another one for each. One
// with mates talks to them.
func newCollector(name string, number uint64, mates bool, now time.Time, tell func(*liveness.Transition)) *collector {
	c := &collector{now: now, tell: tell, herald: herald.New(true, now)}
	rules := verdictRules()
	rules.Mates = mates
	c.tracker = liveness.New(rules, now)
	if mates {
		options := cluster.Options{Name: name, Secret: []byte("of a simulation"), Peers: c, Log: silent{}}
		c.circle = cluster.NewCircle(&options, number, now, func(message []byte) { c.sent = append(c.sent, message) })
	} else {
		c.herald.Speak(false, now)
	}
	return c
}

// verdictRules returns the defaults of the plugin.
func verdictRules() liveness.Options {
	return liveness.Options{
		Terms: liveness.Terms{
			DeadAfter: 210 * time.Second, Margin: liveness.MarginOf(3), Grace: 5 * time.Second, ForgetDead: 336 * time.Hour,
		},
		MinSilence: liveness.MinSilence, ForgetLeft: time.Hour,
		IsolationPercent: 30, IsolationHold: time.Minute,
		MaxPeers: 10_000, MaxBeatsPerSecond: 10,
	}
}

// silent is a log that nobody reads.
type silent struct{}

func (silent) Infof(string, ...any) {}
func (silent) Warnf(string, ...any) {}

// observe takes in a beat.
func (c *collector) observe(b *liveness.Beat) { c.take(c.tracker.Observe(c.now, b).Transitions) }

// tick lets the tracker judge silence.
func (c *collector) tick() {
	c.ticks++
	c.tellAll(c.herald.Settle(c.now))
	c.take(c.tracker.Tick(c.now))
}

// talk lets the circle say what is to be said.
func (c *collector) talk() {
	if c.circle != nil {
		c.circle.Tick(c.now)
	}
}

// take tells events, or keeps them where a mate tells them.
func (c *collector) take(changes []liveness.Transition) {
	for _, change := range changes {
		if c.herald.Admit(&change, c.now) {
			c.tell(&change)
		}
	}
}

func (c *collector) tellAll(changes []*liveness.Transition) {
	for _, change := range changes {
		c.tell(change)
	}
}

func (c *collector) Ticks() uint64                      { return c.ticks }
func (c *collector) Able() (able, isolated bool)        { return true, c.tracker.Isolated() }
func (c *collector) Flows() bool                        { return true }
func (c *collector) Said() liveness.Said                { return c.tracker.TakeSaid(c.now) }
func (c *collector) Settle(question uint32)             { c.tracker.Settle(question) }
func (c *collector) Count() int                         { return c.tracker.Len() }
func (c *collector) MatesChanged()                      { c.tracker.MatesChanged() }
func (c *collector) Asked() (asked, spared int64)       { return c.tracker.Asked() }
func (c *collector) Join(until time.Time)               { c.herald.Join(until) }
func (c *collector) KeepSpeaking(until time.Time)       { c.herald.KeepSpeaking(until) }
func (c *collector) TellAgain()                         { c.herald.TellAgain() }
func (c *collector) Hush()                              { c.herald.Hush(c.now) }
func (c *collector) TakeTold() []liveness.ReportedEvent { return c.herald.TakeTold(c.now) }
func (c *collector) Told(ago time.Duration, events []liveness.ReportedEvent) {
	c.herald.NoteTold(events, ago, c.now)
}

func (c *collector) Contained(_ string, do func()) bool {
	do()
	return true
}

// Words returns what is to be told of all peers below number next: they are few.
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
	c.take(changes)
	return wanted
}

func (c *collector) HearFact(mate string, f *liveness.Fact) {
	c.take(c.tracker.HearFact(c.now, f, mate))
}

func (c *collector) HearRecords(mate string, ago time.Duration, records []liveness.Record) []uint64 {
	needed, changes := c.tracker.HearRecords(c.now, records, mate, ago)
	c.take(changes)
	return needed
}

func (c *collector) Speak(again bool) { c.tellAll(c.herald.Speak(again, c.now)) }
