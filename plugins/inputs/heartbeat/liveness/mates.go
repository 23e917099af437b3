// A word of another collector. Several collectors, mates, tell one another what they
// hear, and ask before they bury: a peer that is silent here may be heard there. What a
// mate says never counts as heard here: it moves deadlines, and tells facts (beats that
// are more than life), but proves nothing about our network.
//
// Ages travel, never times: what was heard a second ago there was heard a second ago
// here. They are those of the monotonic clock, so that a mate that was stopped does not
// make a silence younger.

package liveness

import (
	"math"
	"net/netip"
	"slices"
	"time"
)

const (
	// askLead is how long before it would be suspect a peer is asked about.
	askLead = time.Second
	// lateShare is 1 over the part of its interval by which a peer has to be late to be
	// asked about.
	lateShare = 10
	// AnswerTime is how long an answer is waited for.
	AnswerTime = 3 * time.Second
	// answerHolds is for how long an answer holds: it is asked for anew when a death was
	// held meanwhile.
	answerHolds = AnswerTime + 2*time.Second
	// strangeAfter is after how many times the silence allowed a peer that mates hear is
	// theirs to judge.
	strangeAfter = 10
	// sameBeat is by how much later one beat may have come in at a mate, over its own
	// path, without being a later one.
	sameBeat = 100 * time.Millisecond
	// sameRecord is by how much earlier a mate may have heard what a record of ours says:
	// its age was counted on by the wall clock.
	sameRecord = 2 * time.Second
	// sameEnd is within how long two collectors are told one end by one sender.
	sameEnd = 5 * time.Second
	// toldAtOnce is of how many peers mates are told at once.
	toldAtOnce = 1024
	// maxBeginnings is how many facts may wait before those that only say that somebody is
	// there are left to the next round: a fleet that begins is heard by all collectors.
	maxBeginnings = 4096
	// unsent is the number of a question that is yet to be asked: it is not settled.
	unsent = math.MaxUint32
	// backlog is how late a beat may come at the most, over a path that was broken. The
	// clock of its sender may have been set meanwhile.
	backlog = time.Minute
	// sameInstant is within how many milliseconds a sender may send its last beat over one
	// connection and its goodbye over another one.
	sameInstant = 20
	// justBefore is how long before this collector began an end may be that is yet to be told:
	// a mate that had just begun, too, tells nothing yet.
	justBefore = 5 * time.Second
	// maxLives is how many lives of senders are remembered that others have followed on.
	maxLives = 4
	// marksKept is for how long it is remembered that a peer was forgotten.
	marksKept = 7 * 24 * time.Hour
)

// A Word is what a collector says of a peer in short.
type Word struct {
	ID      uint64 // ID.Hash of the peer
	Process uint32 // fingerprint of the process that holds its place and of who beats for it
	Events  uint16 // fingerprint of what numbers its events
	Jobs    uint16 // fingerprint of its jobs that are open

	State     State
	Reason    Reason
	Heard     bool // by the collector that says it; else it knows the peer through mates
	Verified  bool // the last beat was signed, or a certificate named its host
	Connected bool // a connection over which it beats stands there
	Vacant    bool // the next process of its address takes its place, as it has no name
	Lone      bool // all that was heard there came over one short connection

	Age     time.Duration // since the last beat that was heard there
	Doubt   time.Duration // by which it may have been earlier: before a restart, or while that collector was stopped
	Since   time.Duration // for how long State
	Suspect time.Duration // of silence that is left until it is suspect, by what was heard there; may be negative
	Dead    time.Duration // likewise, until it is dead
	Window  time.Duration // of its promise to be back that is left; 0 for none
	Promise time.Duration // since that was made, moved, kept or taken back; 0 for never
	Deaths  uint64        // in all
}

// A Fact is a beat that is more than life: of a new peer or process, of one that is
// back, an end, or a promise.
type Fact struct {
	Beat   Beat          // Conn, Handle and Remote mean nothing elsewhere
	Known  bool          // its run was heard before
	Before ID            // of the nameless peer that Beat.ID continues; the zero ID for none
	Lone   bool          // that one was known by one short connection
	Ago    time.Duration // since it was heard
	Doubt  time.Duration // by which it may have been sent earlier, as that collector was stopped
	Visit  bool          // all that was heard of its process came over one short connection
}

// A Said is what is to be told to mates.
type Said struct {
	Question uint32   // number of the question, to be settled; 0 for none
	Asked    []uint64 // ID.Hash of the peers that it is about
	Facts    []Fact
	Words    []Word // of peers whose state has changed
	More     bool   // there is more
}

// A Telling is an event that a collector has told.
type Telling struct {
	EventID int64         // of the Transition
	Ago     time.Duration // since it was, as of when it is said that it was told
	Peer    uint64        // ID.Hash, if it is a change of state; else 0
}

// An elsewhere is what is known of a peer through mates. Only a peer that was asked
// about, or that was never heard here, has one.
type elsewhere struct {
	foreign bool   // it was never heard here: mates judge it
	by      string // the mate that has heard it last
	lost    bool   // that one is not reachable, which matters for a foreign peer

	heard, heardV time.Duration // the latest beat that a mate has heard; -longAgo for none
	waits         []mateWait    // of each mate that has heard it since it was heard here

	askedV   time.Duration // when it was asked about last
	question uint32        // in which question; 0 for none, or unsent
	asked    bool          // and no mate has known better since

	promiseAt time.Duration // when its promise was made, moved, kept or taken back; -longAgo for never

	// The last end that was said, here or there: by which life of a sender, when, and by
	// its clock.
	endLife string
	endAt   time.Duration
	endMS   int64
	endAway bool // a mate was told it; it was not said here yet

	livesBefore []string      // of the senders that have beaten for it, the latest last, at most maxLives
	lifeAt      time.Duration // when the present one was heard first
	bye         Reason        // of a goodbye of one of those, which may be news; ReasonNone for none
	byeAt       time.Duration
	doubt       time.Duration // by which the latest beat may have been sent earlier than it was heard here
	wanted      bool          // a mate has asked: it is told when p is heard here again
	fresh       bool          // its state has changed since TakeSaid: it is in Tracker.news, once
}

// A mateWait is when the silence is over by what a mate has heard.
type mateWait struct {
	mate            string
	heard           time.Duration
	suspectV, deadV time.Duration
}

// suspicionV returns when the silence at the last mate makes the peer suspect; 0 if none has
// heard it since it was heard here.
func (e *elsewhere) suspicionV() (latest time.Duration) {
	for i := range e.waits {
		latest = max(latest, e.waits[i].suspectV)
	}
	return latest
}

// deadlineV is suspicionV for death.
func (e *elsewhere) deadlineV() (latest time.Duration) {
	for i := range e.waits {
		latest = max(latest, e.waits[i].deadV)
	}
	return latest
}

// await notes how long is waited by what a mate has heard.
func (e *elsewhere) await(w mateWait) {
	if !e.correct(w) {
		e.waits = append(e.waits, w)
	}
}

// correct lets the latest word of a mate count, and reports whether it has said one before.
func (e *elsewhere) correct(w mateWait) bool {
	i := slices.IndexFunc(e.waits, func(before mateWait) bool { return before.mate == w.mate })
	if i >= 0 && w.heard >= e.waits[i].heard-sameBeat {
		e.waits[i] = w
	}
	return i >= 0
}

// Hash returns a number for id that is the same in every collector.
func (id ID) Hash() uint64 {
	return uint64(newDigest.text(id.Source).text(id.Service).number(uint64(id.PID)))
}

// foreign reports whether p was never heard here: its silence is judged by mates.
func (p *peer) foreign() bool { return p.elsewhere != nil && p.elsewhere.foreign }

// heardBy returns the mate that has heard p last, or "" if that is this collector.
func (p *peer) heardBy() string {
	if e := p.elsewhere; e != nil && (e.foreign || e.heard > p.lastHeard()) {
		return e.by
	}
	return ""
}

// editElsewhere returns what is known of p through mates, to write to it.
func (p *peer) editElsewhere() *elsewhere {
	if p.elsewhere == nil {
		p.editPast().elsewhere = &elsewhere{heard: -longAgo, heardV: -longAgo, promiseAt: -longAgo}
	}
	return p.elsewhere
}

// heardAnywhere returns when p was heard last, here or by a mate.
func (p *peer) heardAnywhere() time.Duration {
	heard := p.lastHeard()
	if e := p.elsewhere; e != nil {
		heard = max(heard, e.heard)
	}
	return heard
}

// ask has mates asked about p at a time of the verdict clock.
func (t *Tracker) ask(p *peer, verdict time.Duration) {
	e := p.editElsewhere()
	if e.question != unsent {
		e.question = unsent
		t.asking = append(t.asking, p)
		t.asked++
	}
	e.askedV, e.asked = verdict, true
}

// askV returns when to ask about p: for the first time in its silence a moment before it
// is suspect, but not before it is late, here and where it was heard last. Of one that is
// suspect that is asked once more: a mate may have heard it since it was asked.
func (p *peer) askV() time.Duration {
	if p.state == Suspect {
		return p.suspicionV() + askLead
	}
	heard := p.lastHeardV()
	if e := p.elsewhere; e != nil {
		heard = max(heard, e.heardV)
	}
	due := heard + p.interval + p.interval/lateShare
	return max(p.suspicionV()-askLead, due)
}

// unasked reports whether p is yet to be asked about before its deadline.
func (p *peer) unasked() bool { return p.elsewhere == nil || p.elsewhere.askedV < p.askV() }

// askEarly asks about p when it is late, so that an answer is here before it is suspect.
func (t *Tracker) askEarly(p *peer) {
	if t.opts.Mates && (p.state == Alive || p.state == Suspect) && t.tickV >= p.askV() && p.unasked() {
		t.ask(p, t.tickV)
		if t.tickV >= p.ownSuspicionV() {
			t.countSilent(p, t.tickV) // here it is silent, whatever mates hear
			t.leaveToMates(p)
		}
	}
}

// leaveToMates lets mates judge p from now on, if it has beaten to them alone for long: its
// sender does not know this collector any more.
func (t *Tracker) leaveToMates(p *peer) {
	e := p.elsewhere
	silence := t.tickV - max(p.lastHeardV(), p.sinceV) // while it was dead for all it was nobody's
	if silence > strangeAfter*t.silence(p, &p.process).Dead && e.heardV > p.lastHeardV() && !p.connected() {
		e.foreign, p.changed = true, true
		t.isolation.removeSilent(p.host)
	}
}

// doubted reports whether mates were asked about p, which would be suspect now, and have
// had a tick to say that they hear it. It asks them if they were not.
func (t *Tracker) doubted(p *peer) bool {
	if !t.opts.Mates {
		return true
	}
	if e := p.elsewhere; e != nil && e.askedV >= p.suspicionV() {
		return t.tickV-e.askedV >= TickInterval
	}
	t.ask(p, t.tickV)
	return false
}

// confirmed reports whether the mates, asked after the time at which p would be dead,
// know no better. It asks them if they were not.
func (t *Tracker) confirmed(p *peer, overV time.Duration) bool {
	if !t.opts.Mates {
		return true
	}
	if e := p.elsewhere; e != nil && e.question > 0 && e.askedV >= overV && t.tickV-e.askedV <= answerHolds {
		return e.question <= t.settled
	}
	t.ask(p, t.tickV)
	return false
}

// Settle notes that each mate that is reachable has answered a question, or will not.
func (t *Tracker) Settle(question uint32) { t.settled = max(t.settled, question) }

// GoOnAsking lets t, which takes the place of before, ask questions under other numbers
// than that one.
func (t *Tracker) GoOnAsking(before *Tracker) {
	t.question, t.settled = before.question, before.question
}

// Silent reports whether there is nothing to be told to mates.
func (t *Tracker) Silent() bool { return len(t.asking)+len(t.facts)+len(t.news)+len(t.gone) == 0 }

// TakeSaid returns what is to be told to mates since it was taken last, or a part of it.
// The caller owns it.
func (t *Tracker) TakeSaid(now time.Time) Said {
	said := Said{Facts: t.facts}
	t.facts = nil
	for i := range said.Facts {
		said.Facts[i].Ago = now.Sub(t.epoch) - said.Facts[i].Ago
	}
	if len(t.asking) > 0 {
		t.question++
		said.Question = t.question
	}
	for _, p := range takeSome(&t.asking) {
		p.elsewhere.question = t.question
		said.Asked = append(said.Asked, p.id().Hash())
	}
	for _, p := range takeSome(&t.news) {
		if p.elsewhere.fresh = false; p.index >= 0 {
			said.Words = append(said.Words, t.wordOf(p, now))
		}
	}
	n := min(len(t.gone), toldAtOnce)
	said.Words, t.gone = append(said.Words, t.gone[:n]...), t.gone[n:]
	said.More = !t.Silent()
	return said
}

// takeSome takes as many peers from a list as are told at once.
func takeSome(all *[]*peer) (some []*peer) {
	n := min(len(*all), toldAtOnce)
	some, *all = (*all)[:n], (*all)[n:]
	if len(*all) == 0 {
		*all = nil
	}
	return some
}

// noteNews notes that the state of p is another one.
func (t *Tracker) noteNews(p *peer) {
	if !t.opts.Mates || p.foreign() {
		return
	}
	if e := p.editElsewhere(); !e.fresh {
		e.fresh = true
		t.news = append(t.news, p)
	}
}

// noteFact notes that b, a beat of p, is more than life: mates are told it. was is the
// state before it.
func (t *Tracker) noteFact(p *peer, b *Beat, began bool, was State, known bool, now time.Time) {
	at := now.Sub(t.epoch)
	if !t.opts.Mates || t.quiet {
		return
	}
	if b.Status != SaysAlive {
		e := p.editElsewhere()
		e.endLife, e.endAt, e.endMS = b.life(), at, b.SentMS
	}
	if b.Status == SaysAlive && (!began && (was == Alive || was == Suspect) || len(t.facts) >= maxBeginnings) {
		return
	}
	fact := Fact{
		Beat: *b, Known: known, Before: t.continued.id, Lone: t.continued.lone, Visit: p.lone,
		Ago: at, Doubt: t.waited(at, now), // TakeSaid makes a span of Ago
	}
	fact.Beat.Conn, fact.Beat.Handle, fact.Beat.Remote, fact.Beat.Labels = 0, Handle{}, netip.Addr{}, slices.Clone(b.Labels)
	t.facts = append(t.facts, fact)
}

// outlived reports whether b, a beat of a process of p, was sent before that has said its
// end, over a way that took longer: to this collector and not to the mate that was told.
func (p *peer) outlived(b *Beat, match match, at time.Duration) bool {
	e := p.elsewhere
	if e == nil || match != sameProcess || !p.state.over() || !p.reason.reported() || e.endLife == "" || e.endLife != b.life() {
		return false
	}
	if b.SentMS > 0 && e.endMS > 0 {
		return b.SentMS < e.endMS+sameInstant && at-e.endAt < backlog
	}
	return at-e.endAt < sameEnd/5
}

// Word returns what is to be told of the peer with number i, 0 <= i < Len.
func (t *Tracker) Word(i int, now time.Time) Word { return t.wordOf(t.order[i], now) }

// Answer appends to words what is known of the peers with these hashes: of those that
// were heard here, or are forgotten. It is an answer to a question.
func (t *Tracker) Answer(words []Word, asked []uint64, now time.Time) []Word {
	for _, hash := range asked {
		p := t.byHash[hash]
		switch _, gone := t.marks[hash]; {
		case p == nil && gone:
			words = append(words, t.goneWord(hash, now))
		case p != nil && !p.foreign() && !p.expected:
			words = append(words, t.wordOf(p, now))
			p.editElsewhere().wanted = true
		}
	}
	return words
}

// RecordByHash returns the record of a peer, or false if it is not known.
func (t *Tracker) RecordByHash(hash uint64, now time.Time) (Record, bool) {
	p := t.byHash[hash]
	if p == nil || p.expected {
		return Record{}, false
	}
	r := t.recordOf(p, now)
	if p.here > 0 { // certainly not before that
		r.Heard = r.Heard.Add(-t.doubt(p))
	}
	r.Since = now.Add(p.since - now.Sub(t.epoch)) // by the clock of now: the mate asks how long ago it was
	return r, true
}

func (t *Tracker) wordOf(p *peer, now time.Time) Word {
	at := now.Sub(t.epoch)
	w := Word{
		ID: p.id().Hash(), Process: p.fingerprint(), Events: p.trail.fingerprint(), Jobs: p.jobs.fingerprint(),
		State: p.state, Reason: p.reason, Heard: !p.foreign() && !p.expected, Verified: p.verified, Connected: p.connected(),
		Vacant: p.vacancy != nil, Lone: p.lone,
		Age: at - p.lastHeard(), Doubt: t.doubt(p), Since: at - p.since, Deaths: p.Deaths,
	}
	w.Suspect, w.Dead = t.silenceLeft(p, &p.process, at)
	for o := range p.living {
		suspect, dead := t.silenceLeft(p, &o.process, at)
		w.Suspect, w.Dead = max(w.Suspect, suspect), max(w.Dead, dead)
	}
	if p.windowV > 0 {
		w.Window = max(p.windowV-t.verdict(now), 1)
	}
	if said := p.promisedAt(); said > -longAgo {
		w.Promise = max(at-said, 1)
	}
	return w
}

// doubt returns by how much earlier than it seems p may have been heard last. What a record
// says of a beat is off by up to an interval, or by any time if the clock was set meanwhile.
func (t *Tracker) doubt(p *peer) time.Duration {
	switch {
	case p.here == 0 && t.clockSet:
		return longAgo
	case p.here == 0:
		return p.span() + sameRecord
	}
	if p.elsewhere == nil {
		return 0
	}
	return p.elsewhere.doubt
}

// noteDoubt notes of a beat of p that is heard for how long it may have waited.
func (t *Tracker) noteDoubt(p *peer, at time.Duration, now time.Time) {
	if doubt := t.waited(at, now); doubt > 0 && t.opts.Mates {
		p.editElsewhere().doubt = doubt
	} else if p.elsewhere != nil {
		p.elsewhere.doubt = 0
	}
}

// waited returns for how long what was read at a time may have waited, as the collector did
// not listen.
func (t *Tracker) waited(at time.Duration, now time.Time) time.Duration {
	lost := t.lost(now)
	switch {
	case lost > 0 && at >= t.tick: // the tick that will say so is still to come
		return lost
	case at >= t.stallEnd-maxTick && at < t.teachFrom:
		return t.stall
	}
	return 0
}

// silenceLeft returns how much silence is left to o, a process of p, by the evidence
// alone: by its last beat and its connections. What this collector grants because it was
// restarted, isolated or stopped is not told.
func (t *Tracker) silenceLeft(p *peer, o *process, at time.Duration) (suspect, dead time.Duration) {
	allowed := t.silence(p, o)
	suspect, dead = min(o.suspectV-o.heardV, allowed.Suspect), min(o.deadV-o.heardV, allowed.Dead)
	return suspect - (at - o.heard), dead - (at - o.heard)
}

// fingerprint tells one process of p from another one, in every collector.
func (p *peer) fingerprint() uint32 {
	sum := newDigest.text(p.ident.Boot).number(uint64(p.ident.PID))
	if !p.watched {
		sum = sum.text(p.life)
	}
	return sum.fold()
}

// MatesChanged notes that other mates are reachable than before. They are asked about all
// peers that they judge: even one that is there as before may have begun anew and know
// nothing.
func (t *Tracker) MatesChanged() {
	lose := func(p *peer) {
		e := p.elsewhere
		if p.index < 0 || e == nil || !e.foreign || p.state.over() {
			return
		}
		if !e.lost {
			e.lost = true
			t.orphans = append(t.orphans, p)
		}
		t.ask(p, t.tickV)
	}
	if len(t.order) > atOnce {
		t.chores = append(t.chores, each(slices.Clone(t.order), passed, lose))
		return
	}
	for _, p := range t.order {
		lose(p)
	}
}

// lookAtOrphans looks at the peers whose mate is lost: those of which no other one knows
// are unknown.
func (t *Tracker) lookAtOrphans(now time.Time) {
	if len(t.orphans) == 0 {
		return
	}
	orphans := t.orphans
	t.orphans = nil
	t.next(each(orphans, passed, func(p *peer) {
		e := p.elsewhere
		switch {
		case p.index < 0, !e.foreign, !e.lost, p.state.over():
		case e.question > t.settled:
			t.orphans = append(t.orphans, p)
		default:
			t.become(p, Unknown, ReasonMateLost, now)
			p.reason, p.changed = ReasonMateLost, true
			t.rewake(p)
		}
	}))
}

// awaitWord looks at p, which mates judge and which is not back as it promised: if they do
// not say soon what has become of it, none of them hears it.
func (t *Tracker) awaitWord(p *peer, now time.Time) {
	if t.tickV < p.windowV+answerHolds {
		return
	}
	p.closeWindow()
	p.elsewhere.lost = true
	t.become(p, Unknown, ReasonMateLost, now)
	t.ask(p, t.tickV)
}

// hearHere notes that p was heard here: its silence is judged here from now on, and what
// mates have heard before is over.
func (t *Tracker) hearHere(p *peer) {
	if e := p.elsewhere; e != nil {
		p.changed = p.changed || e.by != ""
		if e.wanted {
			e.wanted = false
			t.noteNews(p)
		}
		e.foreign, e.lost, e.by, e.waits, e.bye = false, false, "", nil, ReasonNone
	}
}

// mark notes that p is forgotten, so that no mate that still knows it brings it back.
func (t *Tracker) mark(p *peer) {
	if t.opts.Mates {
		t.marks[p.id().Hash()] = p.heardAnywhere()
	}
}

// marked reports whether a peer was forgotten here that was last heard at a time.
func (t *Tracker) marked(hash uint64, heard time.Duration) bool {
	last, yes := t.marks[hash]
	if yes && t.tick-last > marksKept {
		delete(t.marks, hash)
		return false
	}
	return yes && heard <= last+sameBeat
}
