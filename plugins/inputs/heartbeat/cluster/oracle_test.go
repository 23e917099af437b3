package cluster

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/herald"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

const (
	// meeting is how long two collectors need from when they can talk until each knows
	// that the other is there.
	meeting = 4 * time.Second
	// slack is what ticks and ways cost beside what is promised.
	slack = 600 * time.Millisecond
	// crossing is by how much events of two collectors may be stamped in another order.
	crossing = time.Second
	// calmFor is for how long nothing must have been wrong so that each event is told once.
	calmFor = 10 * time.Second
)

// An oracle knows all that really happens in a world, and judges what collectors make of
// it.
type oracle struct {
	w     *world
	wrong string // what was found first
	peers map[liveness.ID]*truth

	disturbed time.Duration // when something among the collectors was other than before last
	ids       map[int64]*telling
	born      map[*liveness.Transition]time.Duration // when they happened

	// Figures.
	tellings, deaths, twice, otherID, stale, late int
}

// A truth is what really became of a peer.
type truth struct {
	s       *sender
	heard   []time.Duration // by each collector, when last in its life; 0 for never
	closed  []time.Duration // when each was told that a connection was closed or reset by the other side
	own     []int           // the life of the collector that has heard it; 1 if it has lost that, 0 for never
	process []int           // the life of it that each has heard
	saved   []int           // the one that each had heard when it saved last
	last    *telling        // what was told of its state last
	lastEnd time.Duration   // when a collector was told an end of it last
	before  time.Duration   // likewise, of a process before the present one
	deadID  []int64         // of its last death for each collector
}

// A telling is an event that a collector has told.
type telling struct {
	change *liveness.Transition
	born   time.Duration // when it happened
	at     time.Duration // when it was told last
	by     *collector
	author *collector // who took it for the latest
	life   int        // of author
	times  int
}

func newOracle(w *world) *oracle {
	return &oracle{w: w, peers: make(map[liveness.ID]*truth), ids: make(map[int64]*telling), born: make(map[*liveness.Transition]time.Duration)}
}

func (o *oracle) failf(format string, args ...any) {
	if o.wrong == "" {
		o.wrong = fmt.Sprintf("at %.3f: ", o.w.now.Seconds()) + fmt.Sprintf(format, args...)
		o.w.tracef("WRONG: %s", o.wrong)
	}
}

// disturb notes that something among the collectors is other than before.
func (o *oracle) disturb() { o.disturbed = o.w.now }

// calm reports whether nothing among the collectors is wrong, and was for a while.
func (o *oracle) calm(d time.Duration) bool {
	if o.w.now-o.disturbed < d {
		return false
	}
	for _, a := range o.w.collectors {
		if a.blocked > 0 || a.cutOff > 0 && o.w.now-a.cutOff < d { // who was cut off lets others tell
			return false
		}
		for _, b := range o.w.collectors {
			if _, yes := o.w.linked(a, b); !yes {
				return false
			}
		}
	}
	return true
}

func (o *oracle) know(s *sender) {
	n := len(o.w.collectors)
	o.peers[s.id] = &truth{
		s: s, heard: make([]time.Duration, n), closed: make([]time.Duration, n), own: make([]int, n), process: make([]int, n),
		saved: make([]int, n), deadID: make([]int64, n),
	}
}

// heard notes that a collector was given a beat.
func (o *oracle) heard(c *collector, s *sender, b *liveness.Beat, fate liveness.Fate) {
	if fate != liveness.Accepted && fate != liveness.Limited {
		o.w.tracef("%s hears %s: fate %d", c.name, s.id, fate)
		return
	}
	t := o.peers[s.id]
	if b.Status != liveness.SaysAlive {
		if t.lastEnd = o.w.now; b.Process != s.process {
			t.before = o.w.now
		}
		o.w.tracef("%s hears the end of %s", c.name, s.id)
		if t.own[c.number] == c.life && t.process[c.number] == s.lives && b.Process == s.process && o.w.now-max(s.began, s.broken) > 25*time.Second {
			o.expectEnd(c, t)
		}
		return
	}
	if o.w.traced {
		o.w.tracef("%s hears %s #%d", c.name, b.Run, b.Seq)
	}
	t.heard[c.number], t.own[c.number], t.process[c.number] = o.w.now, c.life, s.lives
}

// ended notes that a collector was told how a connection has ended.
func (o *oracle) ended(c *collector, s *sender, end liveness.End) {
	if end == liveness.Closed || end == liveness.Reset {
		o.peers[s.id].closed[c.number] = o.w.now
	}
}

// saved notes that a collector has saved what it has heard.
func (o *oracle) saved(c *collector) {
	for _, t := range o.peers {
		t.saved[c.number] = t.process[c.number]
	}
}

// lost notes that a collector has lost what it had not saved, or all that it knew.
func (o *oracle) lost(c *collector, all bool) {
	for _, t := range o.peers {
		if all {
			t.saved[c.number] = 0
		}
		if t.process[c.number] = t.saved[c.number]; t.process[c.number] == 0 {
			t.heard[c.number] = 0
			t.own[c.number] = min(t.own[c.number], 1) // a mate may tell it that it has heard it once
		}
	}
}

// expectEnd checks that an end that one collector was told is soon known to all that it
// can talk to.
func (o *oracle) expectEnd(c *collector, t *truth) {
	at, lives := o.w.now, t.s.lives
	o.w.after(1100*time.Millisecond, func() {
		for _, other := range o.w.collectors {
			v, known := other.view(t.s.id)
			if t.s.lives != lives || t.lastEnd != at || t.heard[other.number] >= at || !o.w.settled(c, other, meeting+o.w.now-at) || !other.readyBefore(at) {
				continue
			}
			if !known || v.State != liveness.Dead && v.State != liveness.Left {
				o.failf("%s was told the end of %s a second ago, for %s it is %s %s", c.name, t.s.id, other.name, v.State, v.Reason)
			}
		}
	})
}

// readyBefore reports whether c has long been running at a time.
func (c *collector) readyBefore(at time.Duration) bool {
	return c.up && at-c.started >= startPatience+meeting
}

func (c *collector) view(id liveness.ID) (liveness.View, bool) {
	if c.tracker == nil {
		return liveness.View{}, false
	}
	for i := range c.tracker.Len() {
		if v := c.tracker.View(i, c.clock()); v.ID == id {
			return v, true
		}
	}
	return liveness.View{}, false
}

// changed looks at what has changed for a collector.
func (o *oracle) changed(c *collector, tr *liveness.Transition, told bool) {
	o.w.tracef("%s: %s %s: %s -> %s %s, deaths %d, id %d, told %t",
		c.name, tr.ID, tr.Event, tr.Previous, tr.State, tr.Reason, tr.Deaths, tr.EventID%100000, told)
	o.born[tr] = o.w.now
	t := o.peers[tr.ID]
	if t == nil || tr.Event != liveness.Changed {
		return
	}
	if tr.State == liveness.Dead {
		t.deadID[c.number] = tr.EventID
		o.judgeDeath(c, t, tr)
	}
}

// judgeDeath checks that a death is one: no collector that this one can talk to has heard
// the peer of late.
func (o *oracle) judgeDeath(c *collector, t *truth, tr *liveness.Transition) {
	switch tr.Reason {
	case liveness.ReasonExited, liveness.ReasonLeaving, liveness.ReasonFinished:
		return
	}
	w := o.w
	if t.s.fins {
		return // it has really ended, and that could be seen
	}
	for _, other := range w.collectors {
		if !w.settled(c, other, meeting) || !other.readyBefore(w.now) || !c.readyBefore(w.now) {
			continue
		}
		heard, own := t.heard[other.number], t.own[other.number] == other.life
		if silent := w.now - heard; own && heard > 0 && t.closed[other.number] < heard && silent < t.s.allowed()-slack/2 && (silent > slack || other == c) {
			o.failf("%s is dead for %s (%s), but %s has heard it %v ago, of %v allowed", tr.ID, c.name, tr.Reason, other.name, silent, t.s.allowed())
		}
	}
	o.judgeWhoJudges(c, t, tr)
}

// judgeWhoJudges checks that a death by silence is told by who has heard the peer, or on the
// word of one who has.
func (o *oracle) judgeWhoJudges(c *collector, t *truth, tr *liveness.Transition) {
	anybody := t.own[c.number] > 0
	for _, other := range o.w.collectors {
		anybody = anybody || t.own[other.number] > 0 && o.w.hears(c, other)
	}
	if !anybody && c.readyBefore(o.w.now) && o.w.now-o.disturbed > meeting {
		o.failf("%s is dead for %s (%s), but nobody that it can talk to has ever heard it", tr.ID, c.name, tr.Reason)
	}
}

// told takes an event that a collector tells.
func (o *oracle) told(c *collector, tr *liveness.Transition) {
	o.tellings++
	t := o.peers[tr.ID]
	if t == nil {
		o.failf("%s tells of %s, which nobody is", c.name, tr.ID)
		return
	}
	o.w.tracef("%s TELLS %s %s %s %s, id %d", c.name, tr.ID, tr.Event, tr.State, tr.Reason, tr.EventID%100000)
	before := o.ids[tr.EventID]
	switch {
	case before == nil:
		before = &telling{change: tr, born: o.born[tr]}
		o.ids[tr.EventID] = before
		o.tellNew(c, t, tr)
	case before.change.ID != tr.ID || before.change.Event != tr.Event || before.change.State != tr.State && tr.Event == liveness.Changed:
		o.failf("two events have the id %d: %s told %s %s %s, %s tells %s %s %s", tr.EventID,
			before.by.name, before.change.ID, before.change.Event, before.change.State, c.name, tr.ID, tr.Event, tr.State)
	default:
		o.twice++
		late := o.w.now-max(before.at, o.disturbed) > herald.Kept+calmFor+75*time.Second
		if late || o.calm(o.w.now-before.at+calmFor) || before.by == c && c.readyBefore(before.at) {
			o.failf("%s tells %s %s %s again, which %s told %v ago", c.name, tr.ID, tr.Event, tr.State, before.by.name, o.w.now-before.at)
		}
	}
	before.at, before.by = o.w.now, c
	before.times++
	if o.born[tr] >= before.born {
		before.author, before.life, before.born = c, c.life, o.born[tr]
	}
	if tr.Event == liveness.Changed && (t.last == nil || before.born >= t.last.born) {
		t.last = before
	}
}

// tellNew looks at an event that nobody has told before.
func (o *oracle) tellNew(c *collector, t *truth, tr *liveness.Transition) {
	if tr.Event != liveness.Changed {
		return
	}
	if tr.State == liveness.Dead {
		o.deaths++
	}
	if t.last == nil || t.last.change.State != tr.State || t.last.change.PID != tr.PID || t.last.at < t.latest() {
		return
	}
	o.otherID++
	if o.calm(o.w.now - t.last.at + calmFor) {
		o.failf("%s tells %s %s, and %s has told that %v ago with another id", c.name, tr.ID, tr.State, t.last.by.name, o.w.now-t.last.at)
	}
}

// latest returns when t was heard last by any collector in its life.
func (t *truth) latest() (latest time.Duration) {
	for _, at := range t.heard {
		latest = max(latest, at)
	}
	return latest
}

// look checks what has to be so at any time.
func (o *oracle) look() {
	for _, s := range o.w.senders {
		t := o.peers[s.id]
		for _, c := range o.w.collectors {
			if c.listens() {
				o.lookForDeath(c, t)
			}
		}
	}
}

// lookForDeath checks that c, and all that it can talk to, have told a death if that is
// due.
func (o *oracle) lookForDeath(c *collector, t *truth) {
	w := o.w
	if t.own[c.number] != c.life || t.heard[c.number] == 0 || !c.readyBefore(w.now) {
		return
	}
	if slices.ContainsFunc(w.collectors, func(c *collector) bool { return c.blocked > 0 }) { // it may be told later
		return
	}
	heard := time.Duration(0)
	for _, other := range w.collectors {
		if w.joined(c, other) {
			heard = max(heard, t.heard[other.number])
		} else if other != c && (w.hears(c, other) || w.lines[other.number][c.number].informed >= t.heard[other.number]) {
			heard = max(heard, t.heard[other.number])
		}
	}
	due := heard + t.s.allowed() + liveness.AnswerTime + slack
	if heard-o.disturbed < meeting+startPatience {
		due = max(heard, o.disturbed) + t.s.allowed() + t.s.interval + liveness.AnswerTime + meeting + startPatience + slack
	}
	if w.lossy() { // the word of it may be lost, and is said again in a round
		due += 65 * time.Second
	}
	lives := w.now-t.latest() < t.s.allowed()             // some collector hears it, that c does not reach
	told := t.s.state != beats && o.hasTold(t, t.s.since) // what comes in later was on its way
	another := t.process[c.number] != t.s.lives           // it has begun anew
	held := lives || told || another || c.cutOff > heard || w.hostIsBack(t.s) || t.s.state == back || t.lastEnd+slack >= heard
	if held || w.now < due || w.now > due+time.Second {
		return
	}
	v, _ := c.view(t.s.id)
	saidSo := t.s.state == said && (v.State == liveness.Left || v.State == liveness.Dead)
	if known := o.ids[t.deadID[c.number]] != nil && v.State == liveness.Dead; known || o.hasTold(t, heard) || saidSo {
		return
	}
	o.failf("%s was last heard at %.3f by who %s can talk to, its death was due at %.3f, for %s it is %s %s",
		t.s.id, heard.Seconds(), c.name, due.Seconds(), c.name, v.State, v.Reason)
}

// hasTold reports whether a death of t was told since it was heard.
func (o *oracle) hasTold(t *truth, heard time.Duration) bool {
	if t.last != nil && t.last.change.State == liveness.Dead {
		return true // nobody has told otherwise
	}
	for _, told := range o.ids {
		if told.change.ID == t.s.id && told.change.State == liveness.Dead && told.change.Event == liveness.Changed && told.at >= heard {
			return true
		}
	}
	return false
}

// differs returns what is not the same for all collectors, or nothing.
func (o *oracle) differs() string {
	for _, s := range o.w.senders {
		first, _ := o.w.collectors[0].view(s.id)
		for _, c := range o.w.collectors[1:] {
			v, _ := c.view(s.id)
			if v.State != first.State || classOf(v.Reason) != classOf(first.Reason) || v.Deaths != first.Deaths {
				return fmt.Sprintf("%s is not the same for all: %s", s.id, o.views(s))
			}
		}
	}
	return ""
}

// views returns what s is for each collector.
func (o *oracle) views(s *sender) string {
	all := make([]string, 0, len(o.w.collectors))
	for _, c := range o.w.collectors {
		v, known := c.view(s.id)
		all = append(all, fmt.Sprintf("%s: %s %s, %d deaths (known: %t)", c.name, v.State, v.Reason, v.Deaths, known))
	}
	return strings.Join(all, "; ")
}

// finish checks that in the end all collectors show the same, and what is so.
func (o *oracle) finish() {
	if what := o.differs(); what != "" {
		o.failf("in the end %s", what)
		return
	}
	for _, s := range o.w.senders {
		first, _ := o.w.collectors[0].view(s.id)
		if first.State == liveness.Unknown && (o.peers[s.id].latest() == 0 || len(s.paths) == 1) { // who has heard it has lost that
			continue
		}
		want := s.shouldBe()
		if o.ageless(s) || first.Reason == liveness.ReasonHost && o.hasTold(o.peers[s.id], s.since) {
			want += " left" // with its host, after it was told dead
		}
		if t := o.peers[s.id]; t.before+time.Second >= t.latest() { // the end of a process that came before it was on its way for longer
			want = "left dead"
		}
		if slices.Contains(o.peers[s.id].process, s.lives) && !strings.Contains(want, first.State.String()) {
			o.failf("in the end %s %s since %.3f, but: %s", s.id, s.state, s.since.Seconds(), o.views(s))
		}
		last := o.peers[s.id].last
		if last == nil && first.State == liveness.Alive {
			o.failf("in the end %s is alive, and nobody has told that it began", s.id)
		}
		if last != nil && last.change.State != first.State && !o.saidSo(s, first.State, last.born-crossing) {
			if last.life != last.author.life {
				o.stale++ // who told it has forgotten that
				continue
			}
			o.failf("in the end %s is %s %s, but told was %s", s.id, first.State, first.Reason, last.change.State)
		}
	}
}

// ageless reports whether nobody can know which end of s came last: it was on a host that has
// booted since, clocks were set, and whoever has heard it has begun anew.
func (o *oracle) ageless(s *sender) bool {
	t, set := o.peers[s.id], false
	for _, c := range o.w.collectors {
		if set = set || c.wall != 0; t.process[c.number] == s.lives && t.own[c.number] == c.life {
			return false
		}
	}
	return set && s.boot > 1
}

// saidSo reports whether s was told to be in a state since a time.
func (o *oracle) saidSo(s *sender, state liveness.State, since time.Duration) bool {
	for _, told := range o.ids {
		if told.change.ID == s.id && told.change.Event == liveness.Changed && told.change.State == state && told.born >= since {
			return true
		}
	}
	return false
}

// shouldBe returns which states s may have in the end.
func (s *sender) shouldBe() string {
	switch s.state {
	case beats:
		return "alive"
	case said:
		return "dead left"
	case back:
		return "left dead"
	}
	return "dead"
}

// classOf returns what collectors have to agree on of a reason: each may have seen a
// silence in its own way.
func classOf(r liveness.Reason) string {
	switch r {
	case liveness.ReasonSilence, liveness.ReasonHung, liveness.ReasonUnreachable, liveness.ReasonConnClosed, liveness.ReasonConnReset, liveness.ReasonHost:
		return "silence"
	case liveness.ReasonMateLost: // or was known before a restart: nobody that knows it is left
		return liveness.ReasonRestored.String()
	}
	return r.String()
}
