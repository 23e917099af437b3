package cluster

import (
	"fmt"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/herald"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// A collector of the world is what a real one is without sockets, files and metrics: a
// tracker, a circle, and the herald between them. It may be stopped, continued, killed,
// and started again with what it has saved.
type collector struct {
	w      *world
	name   string
	number int

	life    int // grows with each start and end
	up      bool
	stalled bool
	reads   bool // what it has saved: mates do not hear of it yet
	started time.Duration
	steady  time.Duration          // since when it runs without a stall
	wall    time.Duration          // by how much its wall clock is off
	cutOff  time.Duration          // when it took itself for isolated last
	blocked time.Duration          // since when its output is; 0 if it is not
	held    []*liveness.Transition // what was told since then
	inbox   []func()               // what has come while it was stalled
	drained time.Duration          // until then it takes what has come while it was stalled

	tracker  *liveness.Tracker
	circle   *Circle
	reporter *herald.Reporter
	ticks    uint64
	woken    bool // there is something to be told

	journal journal
}

// A journal is what is saved while a collector runs.
type journal struct {
	entries  map[liveness.ID]noted
	listened time.Duration // mark
	ended    bool
	at       time.Time
}

type noted struct {
	record   liveness.Record
	listened time.Duration
}

func (c *collector) clock() time.Time { return instant(c.w.now, c.w.now+c.wall) }

func (c *collector) listens() bool { return c.up && !c.stalled }

// start starts it with what it has saved, if anything.
func (c *collector) start() {
	c.open()
	c.serve()
}

// startIn starts it with so much saved that to read it takes a while: what comes in meanwhile
// waits, and what mates say is lost.
func (c *collector) startIn(d time.Duration) {
	c.open()
	c.w.tracef("%s reads what it has saved for %v", c.name, d)
	c.stalled, c.reads = true, true
	life := c.life
	c.w.after(d, func() {
		if c.life == life {
			c.serve()
			c.resume()
		}
	})
}

// open lets senders and mates connect to it.
func (c *collector) open() {
	w := c.w
	c.life++
	c.up, c.stalled, c.reads, c.woken, c.blocked, c.held = true, false, false, false, 0, nil
	c.started = w.now
	now := c.clock()
	c.tracker = liveness.New(w.plan.rules, now)
	c.reporter = herald.New(true, now)
	options := &Options{Name: c.name, Secret: []byte("secret"), Peers: c, Log: logger{c}}
	c.circle = NewCircle(options, w.rnd.Uint64(), now, c.send)
	c.ticks, c.inbox, c.drained = 0, nil, 0
}

// serve lets it judge, and talk to its mates.
func (c *collector) serve() {
	w, now := c.w, c.clock()
	deaf := w.now - c.started
	c.started, c.steady, c.reads = w.now+deaf, w.now, false // before that it judges nobody
	c.restore(now)
	c.circle.Begin(now)
	w.tracef("%s starts with %d records", c.name, len(c.journal.entries))
	w.oracle.disturb()
	life := c.life
	w.after(deaf, func() { c.every(life, liveness.TickInterval, c.tick) })
	c.every(life, tickPause, func() { c.circle.Tick(c.clock()) })
	c.every(life, 200*time.Millisecond, c.save)
}

// every has something done again and again in one life of c, from some time on. While it
// is stalled that waits.
func (c *collector) every(life int, pause time.Duration, do func()) {
	var again func()
	again = func() {
		c.arriveIn(life, func() {
			do()
			c.w.after(pause, again)
		})
	}
	c.w.after(c.w.between(0, pause), again)
}

// arrive lets c take something in, as soon as it is not stalled any more, and after what
// has come before.
func (c *collector) arrive(do func()) {
	if life := c.life; !c.stalled && c.w.now < c.drained {
		c.w.at(c.drained, func() { c.arriveIn(life, do) })
		return
	}
	c.arriveIn(c.life, do)
}

func (c *collector) arriveIn(life int, do func()) {
	switch {
	case c.life != life || !c.up:
	case c.stalled:
		c.inbox = append(c.inbox, do)
	default:
		do()
	}
}

func (c *collector) restore(now time.Time) {
	j := &c.journal
	saved := now.Round(0) // it may have listened until now
	if j.ended {
		saved = j.at.Round(0)
	}
	for id, e := range j.entries { //nolint:gocritic // it is another one afterwards
		if !j.ended {
			e.record = e.record.After(j.listened-e.listened, 0)
		}
		e.listened = 0
		j.entries[id] = e
	}
	for _, s := range c.w.senders { // in an order that does not change
		if e, yes := j.entries[s.id]; yes {
			record := e.record
			c.tell(c.tracker.Restore(&record, saved, now))
			c.reporter.NoteRestored(record.ID, record.State)
		}
	}
	j.listened, j.ended = 0, false
	if j.entries == nil {
		j.entries = make(map[liveness.ID]noted)
	}
}

// save notes what has changed, as a state file does.
func (c *collector) save() {
	now := c.clock()
	listened := c.tracker.Listened(now)
	records, gone := c.tracker.TakeUnsaved(nil, 1000, now)
	for _, id := range gone {
		delete(c.journal.entries, id)
	}
	for i := range records {
		c.journal.entries[records[i].ID] = noted{records[i], listened}
	}
	if len(records)+len(gone) > 0 || listened-c.journal.listened >= c.tracker.Pace() {
		c.journal.listened = listened
	}
	c.w.oracle.saved(c)
}

// stop ends it in good order.
func (c *collector) stop() {
	c.w.tracef("%s stops", c.name)
	now := c.clock()
	c.circle.Bye(now)
	j := &c.journal
	j.entries = make(map[liveness.ID]noted)
	for i := range c.tracker.Len() {
		r := c.tracker.Record(i, now)
		j.entries[r.ID] = noted{record: r}
	}
	j.ended, j.at = true, now
	c.w.oracle.saved(c)
	c.end()
}

// crash ends it without a word. What it has not saved is lost; if all is set, all is.
func (c *collector) crash(all bool) {
	c.w.tracef("%s crashes, loses all: %t", c.name, all)
	if all {
		c.journal = journal{}
	}
	c.w.oracle.lost(c, all)
	for _, other := range c.w.collectors { // what it has sent may still arrive
		if other != c {
			c.w.lines[other.number][c.number].drop()
			if c.w.oneIn(2) {
				c.w.lines[c.number][other.number].drop()
			}
		}
	}
	c.end()
}

func (c *collector) end() {
	c.life++
	c.up, c.stalled, c.inbox = false, false, nil
	c.w.oracle.disturb()
}

// stall stops it for a while: it neither ticks nor receives, and nobody notices.
func (c *collector) stall(d time.Duration) {
	c.w.tracef("%s is stopped for %v", c.name, d)
	c.stalled = true
	c.w.oracle.disturb()
	life := c.life
	c.w.after(d, func() {
		if c.life == life {
			c.resume()
		}
	})
}

// resume lets it go on. What has come meanwhile is received in an order that does not
// change for what came one after another, and ticks come anywhere in between.
func (c *collector) resume() {
	c.w.tracef("%s goes on", c.name)
	c.stalled, c.steady = false, c.w.now
	c.w.oracle.disturb()
	inbox := c.inbox
	c.inbox = nil
	at := time.Duration(0)
	life := c.life
	for _, do := range inbox {
		at += c.w.between(0, 60*time.Millisecond/time.Duration(len(inbox)))
		c.w.after(at, func() { c.arriveIn(life, do) })
	}
	c.drained = c.w.now + at
}

// tick is that of the judge.
func (c *collector) tick() {
	if c.ticks++; c.tracker.Isolated() {
		c.cutOff = c.w.now
	}
	c.tell(c.tracker.Tick(c.clock()))
	if !c.Flows() {
		return
	}
	for _, change := range c.reporter.TakeOverdue(c.clock()) {
		c.w.tracef("%s corrects", c.name)
		c.emit(change)
	}
}

// observe takes a beat.
func (c *collector) observe(b *liveness.Beat) liveness.Fate {
	out := c.tracker.Observe(c.clock(), b)
	c.tell(out.Transitions)
	return out.Fate
}

func (c *collector) connEnded(conn liveness.ConnID, end liveness.End, s *sender) {
	c.tell(c.tracker.ConnEnded(c.clock(), conn, end, s.addr))
}

func (c *collector) send(message []byte) {
	for to, l := range c.w.lines[c.number] {
		if to != c.number {
			l.send(message)
		}
	}
}

func (c *collector) receive(message []byte) { c.circle.Receive(message, c.clock()) }

// tell takes what the tracker says.
func (c *collector) tell(transitions []liveness.Transition) {
	now := c.clock()
	for i := range transitions {
		tr := transitions[i]
		told := c.reporter.Admit(&tr, now)
		c.w.oracle.changed(c, &tr, told)
		if told {
			c.emit(&tr)
		}
	}
	c.wake()
}

// emit hands an event over to the output, or to the queue before one that is blocked.
func (c *collector) emit(tr *liveness.Transition) {
	if c.blocked > 0 {
		c.held = append(c.held, tr)
		return
	}
	c.w.oracle.told(c, tr)
}

// unblock lets the output go on.
func (c *collector) unblock() {
	c.blocked = 0
	held := c.held
	c.held = nil
	for _, tr := range held {
		c.w.oracle.told(c, tr)
	}
}

// wake lets the circle tell what there is to be told, soon.
func (c *collector) wake() {
	if c.woken || c.circle == nil || c.tracker.NothingToSend() && c.reporter.NothingReported() {
		return
	}
	c.woken = true
	life := c.life
	c.w.after(c.w.between(0, 2*time.Millisecond), func() {
		c.arriveIn(life, func() {
			c.woken = false
			c.circle.Tick(c.clock())
		})
	})
}

// hangs reports whether its output has been blocked for so long that it is known.
func (c *collector) hangs() bool { return c.blocked > 0 && c.w.now-c.blocked >= 3*time.Second }

// What follows makes it Peers.

func (c *collector) Ticks() uint64                { return c.ticks }
func (c *collector) CanReport() (able, held bool) { return !c.hangs(), c.tracker.Isolated() }
func (c *collector) Flows() bool                  { return c.blocked == 0 }
func (c *collector) Said() liveness.Said          { return c.tracker.TakeSaid(c.clock()) }
func (c *collector) Settle(question uint32)       { c.tracker.Settle(question) }
func (c *collector) Count() int                   { return c.tracker.Len() }
func (*collector) News() <-chan struct{}          { return nil }
func (c *collector) RepeatRecent()                { c.reporter.RepeatRecent() }
func (c *collector) ReportUntil(until time.Time)  { c.reporter.ReportUntil(until) }
func (c *collector) DeferToMate(until time.Time)  { c.reporter.DeferToMate(until) }
func (c *collector) StopReporting() {
	c.reporter.StopReporting(c.clock())
	c.w.tracef("%s hushes", c.name)
}

func (c *collector) TakeReported() []liveness.ReportedEvent {
	return c.reporter.TakeReported(c.clock())
}

func (c *collector) NoteReported(ago time.Duration, events []liveness.ReportedEvent) {
	c.reporter.NoteReported(events, ago, c.clock())
}

func (*collector) CatchPanic(_ string, do func()) bool { do(); return true }

func (c *collector) Asked() (asked, spared int64) { return c.tracker.Asked() }

func (c *collector) Words(next int) (words []liveness.Word, rest int) {
	for next = min(next, c.tracker.Len()); next > 0; {
		next--
		words = append(words, c.tracker.Word(next, c.clock()))
	}
	return words, next
}

func (c *collector) Answer(words []liveness.Word, asked []uint64) []liveness.Word {
	return c.tracker.Answer(words, asked, c.clock())
}

func (c *collector) RecordsOf(hashes []uint64) (records []liveness.Record) {
	for _, hash := range hashes {
		if r, known := c.tracker.RecordByHash(hash, c.clock()); known {
			records = append(records, r)
		}
	}
	return records
}

func (c *collector) HearWords(mate string, ago time.Duration, words []liveness.Word) []uint64 {
	wanted, transitions := c.tracker.HearWords(c.clock(), words, mate, ago)
	c.tell(transitions)
	return wanted
}

func (c *collector) HearFact(mate string, f *liveness.Fact) {
	c.tell(c.tracker.HearFact(c.clock(), f, mate))
}

func (c *collector) HearRecords(mate string, ago time.Duration, records []liveness.Record) []uint64 {
	needed, transitions := c.tracker.HearRecords(c.clock(), records, mate, ago)
	c.tell(transitions)
	return needed
}

func (c *collector) MatesChanged() {
	c.w.tracef("%s reaches others than before", c.name)
	c.tracker.MatesChanged()
	c.wake()
}

func (c *collector) StartReporting(again bool) {
	c.w.tracef("%s speaks, again: %t", c.name, again)
	for _, change := range c.reporter.StartReporting(again, c.clock()) {
		c.emit(change)
	}
}

type logger struct{ c *collector }

func (l logger) Infof(format string, args ...any) {
	if l.c.w.traced {
		l.c.w.tracef("%s log: %s", l.c.name, fmt.Sprintf(format, args...))
	}
}
func (l logger) Warnf(format string, args ...any) { l.Infof(format, args...) }
