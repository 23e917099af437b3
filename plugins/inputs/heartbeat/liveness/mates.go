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
	"cmp"
	"math"
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
	// justBefore is how long before this collector began an end may be that is yet to be told:
	// a mate that had just begun, too, tells nothing yet.
	justBefore = 5 * time.Second
	// marksKept is for how long it is remembered that a peer was forgotten.
	marksKept = 7 * 24 * time.Hour
)

// A Word is what a collector says of a peer in short.
type Word struct {
	ID      uint64 // ID.Hash of the peer
	Process uint32 // fingerprint of the process that holds its place and of who beats for it
	Events  uint16 // fingerprint of what numbers its events

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
	Deaths  uint64        // in all
}

// A Fact is a beat that is more than life: of a new peer or process, of one that is
// back, an end, or a promise.
type Fact struct {
	Beat   Beat          // Conn and Handle mean nothing elsewhere
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

// A Telling is an event that a collector has told: its Transition.EventID, and how long ago
// it was as of when it was told.
type Telling struct {
	EventID int64
	Ago     time.Duration
}

// An elsewhere is what is known of a peer through mates. Only a peer that was asked
// about, or that was never heard here, has one.
type elsewhere struct {
	foreign bool   // it was never heard here: mates judge it
	by      string // the mate that has heard it last
	lost    bool   // that one is not reachable, which matters for a foreign peer

	heard, heardV   time.Duration // the latest beat that a mate has heard; 0 for none
	suspectV, deadV time.Duration // when the silence since then is over; 0 for none: it was heard here since

	askedV   time.Duration // when it was asked about last
	question uint32        // in which question; 0 for none, or unsent
	asked    bool          // and no mate has known better since

	// The last end that was said, here or there: by which life of a sender, when, and by
	// its clock.
	endLife string
	endAt   time.Duration
	endMS   int64
	wanted  bool // a mate has asked: it is told when p is heard here again
	fresh   bool // its state has changed since TakeSaid: it is in Tracker.news, once
}

// Hash returns a number for id that is the same in every collector.
func (id ID) Hash() uint64 {
	return uint64(newDigest.text(id.Source).text(id.Service).number(uint64(id.PID)))
}

// foreign reports whether p was never heard here: its silence is judged by mates.
func (p *peer) foreign() bool { return p.elsewhere != nil && p.elsewhere.foreign }

// editElsewhere returns what is known of p through mates, to write to it.
func (p *peer) editElsewhere() *elsewhere {
	if p.elsewhere == nil {
		p.editPast().elsewhere = new(elsewhere)
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
	silence := t.tickV - p.lastHeardV()
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
func (t *Tracker) Silent() bool { return len(t.asking)+len(t.facts)+len(t.news) == 0 }

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
		said.Asked = append(said.Asked, p.id.Hash())
	}
	for _, p := range takeSome(&t.news) {
		if p.elsewhere.fresh = false; p.index >= 0 {
			said.Words = append(said.Words, t.wordOf(p, now))
		}
	}
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
	fact.Beat.Conn, fact.Beat.Handle, fact.Beat.Labels = 0, Handle{}, slices.Clone(b.Labels)
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
		return b.SentMS < e.endMS && at-e.endAt < backlog
	}
	return at-e.endAt < sameEnd/5
}

// Word returns what is to be told of the peer with number i, 0 <= i < Len.
func (t *Tracker) Word(i int, now time.Time) Word { return t.wordOf(t.order[i], now) }

// Answer appends to words what is known of the peers with these hashes: of those that
// were heard here. It is an answer to a question.
func (t *Tracker) Answer(words []Word, asked []uint64, now time.Time) []Word {
	for _, hash := range asked {
		if p := t.byHash[hash]; p != nil && !p.foreign() && !p.expected {
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
	r.Since = now.Add(p.since - now.Sub(t.epoch)) // by the clock of now: the mate asks how long ago it was
	return r, true
}

func (t *Tracker) wordOf(p *peer, now time.Time) Word {
	at := now.Sub(t.epoch)
	w := Word{
		ID: p.id.Hash(), Process: p.fingerprint(), Events: p.trail.fingerprint(),
		State: p.state, Reason: p.reason, Heard: !p.foreign() && !p.expected, Verified: p.verified, Connected: p.connected(),
		Vacant: p.vacancy != nil, Lone: p.lone,
		Age: at - p.lastHeard(), Doubt: t.doubt(p, now), Since: at - p.since, Deaths: p.Deaths,
	}
	w.Suspect, w.Dead = t.silenceLeft(p, &p.process, at)
	for o := range p.living {
		suspect, dead := t.silenceLeft(p, &o.process, at)
		w.Suspect, w.Dead = max(w.Suspect, suspect), max(w.Dead, dead)
	}
	if p.windowV > 0 {
		w.Window = max(p.windowV-t.verdict(now), 1)
	}
	return w
}

// doubt returns by how much earlier than it seems p may have been heard last. What a record
// says of a beat is off by up to an interval.
func (t *Tracker) doubt(p *peer, now time.Time) time.Duration {
	if p.here == 0 {
		return p.span() + sameRecord
	}
	return t.waited(p.lastHeard(), now)
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

// HearWords takes in what a mate says of peers. Their ages are as of ago before now. It
// returns the hashes of those of which more has to be known: of them the records are
// wanted.
func (t *Tracker) HearWords(now time.Time, words []Word, mate string, ago time.Duration) (wanted []uint64, transitions []Transition) {
	t.out = t.out[:0]
	for i := range words {
		if t.hearWord(&words[i], mate, ago, now) {
			wanted = append(wanted, words[i].ID)
		}
	}
	return wanted, t.out
}

func (t *Tracker) hearWord(w *Word, mate string, ago time.Duration, now time.Time) (wanted bool) {
	p, at := t.byHash[w.ID], now.Sub(t.epoch)-ago
	heard, since := at-w.Age, at-w.Since
	switch {
	case p == nil:
		return !t.marked(w.ID, heard)
	case p.expected:
		return w.Heard
	case p.endedAway(w.State, heard, since):
		return true
	}
	p.mergeDeaths(w)
	switch {
	case !w.Heard: // but it may know an end that the one that was told has forgotten
		wanted = p.foreign() && p.state == Unknown && w.State.over() && w.Reason.reported()
	case p.foreign():
		wanted = p.lacks(w, heard, since)
		t.follow(p, w, mate, heard, now)
	default:
		wanted = p.lacks(w, heard, since)
		t.compare(p, w, mate, heard, ago, now)
	}
	t.rewake(p)
	return wanted
}

// endedAway reports whether p, which is as it was restored, has ended while this collector
// was away: a mate says so, which has heard it as late, and it was told.
func (p *peer) endedAway(state State, heard, since time.Duration) bool {
	return p.asRestored() && state.over() && heard >= p.lastHeard()-sameRecord && since < -justBefore
}

// mergeDeaths takes the larger total of deaths, unless one of both counts a death that the
// other is about to count.
func (p *peer) mergeDeaths(w *Word) {
	counted := w.State == p.state || !w.Heard && !p.foreign() && (p.state == Alive || p.state == Unknown)
	if counted && w.Deaths > p.Deaths {
		p.editPast().Deaths, p.changed = w.Deaths, true
	}
}

// asRestored reports whether p, which has not ended, is as it was when this collector
// began: neither heard nor told to be anything else since.
func (p *peer) asRestored() bool {
	return !p.foreign() && p.here == 0 && !p.state.over() && (p.since < 0 || p.unknown(ReasonRestored))
}

// lacks reports whether a mate knows a fact of p that is not known here: another process,
// an end, a promise, or events.
func (p *peer) lacks(w *Word, heard, since time.Duration) bool {
	last := p.lastHeard()
	recent := since+sameEnd > last
	switch {
	case w.Process != p.fingerprint():
		return heard > last+sameBeat || p.foreign() && heard >= last || w.State.over() && p.state == Left
	case w.State.over() && w.Reason.reported() && !(w.State == p.state && p.reason.reported()):
		late := p.overdue() && w.State == Left && heard <= last+sameBeat
		return !late && (recent || w.State == p.state)
	case w.Window > 0 && p.windowV == 0 && p.state != Alive:
		return recent
	}
	return w.State == p.state && w.Events != p.trail.fingerprint()
}

// overdue reports whether p is dead as it has not kept a promise: that it left before is
// no news.
func (p *peer) overdue() bool { return p.state == Dead && p.reason == ReasonOverdue }

// follow lets p, which was never heard here, be what a mate says that hears it.
func (t *Tracker) follow(p *peer, w *Word, mate string, heard time.Duration, now time.Time) {
	e := p.elsewhere
	if p.knowsBetter(w, mate, heard) {
		return
	}
	p.changed = p.changed || e.by != mate
	e.by, e.lost, e.heard = mate, false, heard
	p.heard, p.heardV = heard, t.verdict(now)-(now.Sub(t.epoch)-heard)
	t.renew(p, &p.process, p.heardV)
	if w.Window == 0 {
		p.closeWindow()
	} else if p.windowV == 0 {
		p.setWindow(t.verdict(now)+w.Window, p.windowBy)
	}
	t.becomeAs(p, w, now)
	if p.lone = w.Lone && p.id.Nameless(); w.Vacant {
		t.vacant.add(p)
	} else {
		t.vacant.remove(p)
	}
}

// knowsBetter reports whether more is known of p, which mates judge, than one of them says:
// another one has heard it since, or its end came after that.
func (p *peer) knowsBetter(w *Word, mate string, heard time.Duration) bool {
	e := p.elsewhere
	switch {
	case !e.lost && e.by != mate && heard < e.heard-sameBeat:
		return true
	case p.overdue() && w.State == Left:
		return heard <= e.heard+sameBeat // it left before it was overdue
	}
	return p.state.over() && !w.State.over() && !w.later(heard, e.heard)
}

// becomeAs lets p, which mates judge, be what one of them says. That one may be isolated;
// this collector is not for that.
func (t *Tracker) becomeAs(p *peer, w *Word, now time.Time) {
	reason := w.Reason
	if reason == ReasonIsolated {
		reason = ReasonRestored
	}
	if w.State == Dead && p.state != Dead { // it counts that death
		p.editPast().Deaths = max(p.Deaths, w.Deaths, 1) - 1
	}
	t.become(p, w.State, reason, now)
	if p.reason != ReasonIsolated {
		p.reason = reason
	}
}

// later reports whether a mate has heard p certainly later than another beat.
func (w *Word) later(heard, than time.Duration) bool { return heard > than+w.Doubt+sameBeat }

// compare takes in what a mate says of p, which was heard here too: whether it has
// heard it since, or still has a connection with it.
func (t *Tracker) compare(p *peer, w *Word, mate string, heard, ago time.Duration, now time.Time) {
	if t.opts.OnlyVerified && !w.Verified || w.State == Dead && t.takeDeath(p, w, mate, heard, now) {
		return
	}
	younger := heard > p.lastHeard()+sameBeat
	if p.state.over() {
		younger = w.later(heard, p.lastHeard())
	}
	asked := t.verdict(now) - ago
	if w.Reason.lost() && p.isJudgedBy(w, heard) {
		t.loseElsewhere(p, w, asked)
	}
	if !younger && (!w.Connected || p.state.over()) {
		return
	}
	if younger {
		t.hearElsewhere(p, mate, heard, now)
	}
	t.prolong(p, mate, heard, asked+w.Suspect, asked+w.Dead)
	t.reviveElsewhere(p, w, heard, now)
}

// takeDeath takes in that p is dead for a mate, and reports whether that is all that the
// word says: it is dead here, too, or now is.
func (t *Tracker) takeDeath(p *peer, w *Word, mate string, heard time.Duration, now time.Time) bool {
	back := p.state == Left && heard > p.since+sameBeat // there it was back, and that ended
	switch {
	case p.state == Dead:
		if w.Reason.tellsMore(p.reason) {
			p.reason, p.changed = w.Reason, true
		}
	case back:
		t.hearElsewhere(p, mate, heard, now)
		t.end(p, w.Reason, now)
	case p.state == Left && p.windowV > 0 && w.Reason == ReasonOverdue: // the window went on while this collector did not
		p.closeWindow()
		t.become(p, Dead, ReasonOverdue, now)
	case p.unknown(ReasonIsolated), w.Reason.inferred() && p.isJudgedBy(w, heard): // there it could be judged, and this one was asked
		t.end(p, w.Reason, now)
	default:
		return false
	}
	return true
}

// isJudgedBy reports whether a mate knows at least as much of p, which lives here, as this
// collector: it has heard the same process as late as anybody, and here is no
// connection of it.
func (p *peer) isJudgedBy(w *Word, heard time.Duration) bool {
	return !p.state.over() && w.Process == p.fingerprint() && heard >= p.heardAnywhere()-sameBeat && !p.connected()
}

// loseElsewhere takes in that the last connection of p has ended at a mate: the wait is
// shorter here, too.
func (t *Tracker) loseElsewhere(p *peer, w *Word, asked time.Duration) {
	o, e := &p.process, p.editElsewhere()
	o.suspectV, o.deadV = min(o.suspectV, asked+w.Suspect), min(o.deadV, asked+w.Dead)
	e.suspectV, e.deadV = min(e.suspectV, o.suspectV), min(e.deadV, o.deadV)
	if o.loss == nil {
		o.evidence = w.Reason
	}
	p.changed = true
	t.vacant.add(p)
}

// hearElsewhere notes that a mate has heard p.
func (t *Tracker) hearElsewhere(p *peer, mate string, heard time.Duration, now time.Time) {
	if e := p.editElsewhere(); heard >= e.heard {
		p.changed = p.changed || e.by != mate
		e.heard, e.heardV, e.by, e.lost = heard, t.verdict(now)-(now.Sub(t.epoch)-heard), mate, false
	}
}

// prolong moves suspicion and deadline of p, if they are later by what a mate says. What
// the same mate has said before of that beat, or an earlier one, is over.
func (t *Tracker) prolong(p *peer, mate string, heard, suspectV, deadV time.Duration) {
	e := p.editElsewhere()
	if e.by == mate && heard >= e.heard-sameBeat {
		e.suspectV, e.deadV = 0, 0
	}
	if deadV > p.deadlineV() && e.asked {
		e.asked = false // others may say so too
		t.spared++
	}
	e.suspectV, e.deadV = max(e.suspectV, suspectV), max(e.deadV, deadV)
}

// reviveElsewhere lets p be alive, if life that a mate has heard says so.
func (t *Tracker) reviveElsewhere(p *peer, w *Word, heard time.Duration, now time.Time) {
	verdict := t.verdict(now)
	mistaken, since := p.state == Dead && p.reason.inferred(), heard > p.since+sameBeat
	state, reason := Alive, ReasonBeat
	if verdict >= p.suspicionV() {
		state, reason = Suspect, w.Reason
	}
	late := verdict >= p.deadlineV() || state == Suspect && w.State == Alive
	switch {
	case w.State != Alive && w.State != Suspect:
	case mistaken && state == Suspect && since: // it may have died again
		p.editPast().Mistakes++
		t.become(p, Suspect, p.evidence, now)
	case late:
	case mistaken:
		p.editPast().Mistakes++
		t.become(p, state, reason, now)
	case p.state.over() && since:
		t.become(p, state, reason, now)
	case p.state.over(), state == Suspect, p.state == Alive:
	case p.state == Suspect, p.reason == ReasonIsolated, p.reason == ReasonRestored, p.reason == ReasonHost:
		t.become(p, Alive, ReasonBeat, now)
	}
}

// HearFact takes in a beat that a mate has heard, ago before now. It is no life here,
// but what it says holds: another process, an end, a promise.
func (t *Tracker) HearFact(now time.Time, f *Fact, mate string) []Transition {
	t.out = t.out[:0]
	b := &f.Beat
	at := now.Sub(t.epoch) - f.Ago
	p, first := t.findElsewhere(f, mate, now)
	if p == nil || !first && p.isNoNews(b, at, f.Doubt) {
		return t.out
	}
	if b.Status != SaysAlive {
		e := p.editElsewhere()
		e.endLife, e.endAt, e.endMS = b.life(), at, b.SentMS
	}
	o, match := t.identify(p, b, at)
	event := p.began(match)
	t.copyBeat(p, o, b, at, now)
	if first || match == newProcess || match == bootedProcess {
		o.unheard, p.lone = true, f.Visit && p.id.Nameless()
	}
	t.believe(p, b, o, match, f.Known, now)
	if b.Status == SaysAlive {
		silence := t.silence(p, o)
		t.hearElsewhere(p, mate, at, now)
		heardV := t.verdict(now) - f.Ago
		t.prolong(p, mate, at, heardV+silence.Suspect, heardV+silence.Dead)
	}
	t.tellOf(p, event, b.Addr, now)
	p.changed = true
	t.rewake(p)
	return t.out
}

// findElsewhere returns the peer that a fact is about, and whether that was not known.
// One that is not known is known through the mate from now on. It returns nil if there is
// no room for it.
func (t *Tracker) findElsewhere(f *Fact, mate string, now time.Time) (p *peer, first bool) {
	b := &f.Beat
	t.continueElsewhere(f, now)
	switch p = t.peers[b.ID]; {
	case p == nil && t.full(b.ID.Source) != Accepted && !t.awaits(b):
		return nil, false
	case p == nil:
		p, first = t.enter(b, now), true
	case p.expected:
		t.meet(p, now)
		p.ident, p.life, first = b.Process, b.life(), true
	}
	if first {
		e := p.editElsewhere()
		e.foreign, e.by = true, mate
	}
	return p, first
}

// continueElsewhere lets the nameless peer that a fact goes on from be known as it is there.
// If it has been heard here under both names, the former one ends.
func (t *Tracker) continueElsewhere(f *Fact, now time.Time) {
	before, p, id := t.peers[f.Before], t.peers[f.Beat.ID], f.Beat.ID
	switch {
	case f.Before == (ID{}) || before == nil || before == p:
	case p == nil && f.Lone:
		t.continueAs(before, id, t.verdict(now))
	case p == nil:
		t.replace(before, id, now)
	case before.id == f.Before && !before.connected():
		t.closeSeries(before, now)
		t.put(before, Unknown, ReasonReplaced)
		t.remove(before)
	}
}

// isNoNews reports whether what b says of p at a time is known already, or older than
// what is known of that process; it may have been sent earlier by doubt.
func (p *peer) isNoNews(b *Beat, at, doubt time.Duration) bool {
	heard, known := p.heard, p.process.is(b)
	if o := p.formerOf(b); !known && o != nil {
		heard, known = o.heard, true
	}
	if b.Status == SaysAlive {
		ended := p.state.over() && at-doubt <= p.heardAnywhere()+sameBeat
		return known && (ended || heard >= at && !p.foreign())
	}
	e := p.elsewhere
	told := e != nil && e.endLife == b.life() && (at-e.endAt).Abs() < sameEnd
	return told || known && heard > at+sameBeat
}

// copyBeat notes of o, a process of p, what a beat elsewhere says of it.
func (t *Tracker) copyBeat(p *peer, o *process, b *Beat, at time.Duration, now time.Time) {
	if b.Status == SaysAlive {
		if o.interval != b.Interval {
			o.interval, o.schedule = b.Interval, schedule{}
		}
		o.margin = b.Margin
	}
	if !p.foreign() {
		return
	}
	o.margin, o.heard, o.heardV = b.Margin, at, t.verdict(now)-(now.Sub(t.epoch)-at)
	t.renew(p, o, o.heardV)
	t.relabel(p, b.Labels, now)
}

// HearRecords takes in the records that a mate has of peers, as of ago before now: those of
// which its words said that more is known there.
func (t *Tracker) HearRecords(now time.Time, records []Record, mate string, ago time.Duration) []Transition {
	t.out = t.out[:0]
	t.learning = true
	defer func() { t.learning = false }()
	for i := range records {
		r := &records[i]
		if p := t.peers[r.ID]; p != nil && p.id == r.ID && !p.expected {
			t.learnMore(p, r, ago, now)
			t.rewake(p)
			continue
		}
		t.learnPeer(r, mate, ago, now)
	}
	return t.out
}

// Move makes r one of a collector whose wall clock is so far ahead of the one that took it.
func (r *Record) Move(by time.Duration) {
	r.Heard, r.Since = r.Heard.Add(by), r.Since.Add(by)
	for i := range r.Flaps {
		r.Flaps[i] = r.Flaps[i].Add(by)
	}
	for i := range r.Speakers {
		r.Speakers[i].SinceNS += int64(by)
	}
}

// learnPeer takes in a peer that was not known here: from now on it is known through a
// mate. What it is was told there.
func (t *Tracker) learnPeer(r *Record, mate string, ago time.Duration, now time.Time) {
	if t.full(r.ID.Source) != Accepted && t.peers[r.ID] == nil {
		return
	}
	if r.Foreign && r.HeardBy == "" { // by this collector, which has lost its memory
		r.Foreign = false
		if late := r.Used - r.span(); (r.State == Alive || r.State == Unknown) && late > 0 { // the mate was told once a minute
			r.Used, r.Heard = r.Used-late, r.Heard.Add(late)
		}
	} else {
		r.Foreign, r.HeardBy = true, cmp.Or(r.HeardBy, mate)
	}
	t.takeRecord(r, now.Add(-ago), now)
	p := t.peers[r.ID]
	if !p.state.over() && p.state != r.State && r.Reason != ReasonIsolated {
		t.put(p, r.State, r.Reason)
		p.told = r.State
		t.rewake(p)
	}
	t.touch(p) // what the mate has saved is not saved here
}

// learnMore takes in what a mate knows of p beyond what is known here.
func (t *Tracker) learnMore(p *peer, r *Record, ago time.Duration, now time.Time) {
	at, saved := now.Sub(t.epoch)-ago, now.Add(-ago)
	heard, since := at-saved.Sub(r.Heard), at-saved.Sub(r.Since)
	if p.endedAway(r.State, heard, since) {
		t.learnEnd(p, r, since, now)
		return
	}
	another := t.learnProcess(p, r, heard, now)
	switch same := another || p.process.ident.is(r.Process); {
	case same && p.lacksEnd(r, heard, since, another):
		p.setExit(r.ExitCode, r.HasExitCode)
		t.takeWindow(p, r, now)
		t.become(p, r.State, r.Reason, now)
		p.reason = r.Reason
	case !another && p.state != Alive && since+sameEnd > p.lastHeard():
		t.takeWindow(p, r, now)
	}
	p.mergeTotals(r)
	p.changed = true
}

// learnProcess lets the process of a record take the place of p, if a mate has heard that
// later, and reports whether it does. What was restored may have been replaced while this
// collector was away: that was told.
func (t *Tracker) learnProcess(p *peer, r *Record, heard time.Duration, now time.Time) bool {
	replaced := slices.ContainsFunc(r.Others, func(o Other) bool { return p.ident != (Process{}) && p.ident.is(o.Process) })
	followed := p.foreign() && heard >= p.lastHeard()-sameRecord               // the word before
	outlived := p.state.over() && !r.State.over() && heard <= p.since+sameBeat // what ended here may be that process
	later := replaced || followed || heard > p.lastHeard()+sameBeat
	if !later || outlived || p.process.ident.is(r.Process) || p.id.Nameless() {
		return false
	}
	b := Beat{ID: p.id, Addr: p.addr, Process: r.Process, Run: r.Speaker, Interval: r.Interval, Margin: r.Margin, Watched: r.Watched}
	if r.State.over() && p.formerOf(&b) != nil {
		return false // the end of one that another has replaced came late there
	}
	o, match := t.identify(p, &b, heard)
	t.copyBeat(p, o, &b, heard, now)
	o.watched = r.Watched
	if !p.asRestored() {
		t.tellOf(p, p.began(match), p.addr, now)
	}
	return true
}

// lacksEnd reports whether a record tells an end of the process of p that is not known here.
func (p *peer) lacksEnd(r *Record, heard, since time.Duration, another bool) bool {
	late := p.overdue() && r.State == Left && heard <= p.lastHeard()+sameBeat
	switch {
	case late || !r.State.over():
		return false
	case another:
		return true
	}
	told := r.Reason.reported() && (since+sameEnd > p.lastHeard() || r.State == p.state)
	return told && (p.state != r.State || !p.reason.reported())
}

// learnEnd takes in that p has ended while this collector was away: that was told.
func (t *Tracker) learnEnd(p *peer, r *Record, since time.Duration, now time.Time) {
	t.put(p, r.State, r.Reason)
	p.told, p.since, p.toldSince, p.sinceV, p.sinceUTC = r.State, since, since, t.verdict(now), r.Since.UnixNano()
	p.setExit(r.ExitCode, r.HasExitCode)
	t.takeWindow(p, r, now)
	p.mergeTotals(r)
	p.changed = true
}

// takeWindow opens the window of p that a mate knows, if it has none.
func (t *Tracker) takeWindow(p *peer, r *Record, now time.Time) {
	if r.Window > 0 && p.windowV == 0 {
		p.setWindow(t.verdict(now)+r.Window, lifeOf(r.WindowBy))
		p.editPast().shared = r.Shared
	}
}

// mergeTotals takes the larger one of each total and of each count of events, unless
// one of both has yet to count what has made the state another one.
func (p *peer) mergeTotals(r *Record) {
	if r.State != p.state {
		return
	}
	p.beats = max(p.beats, r.Beats)
	past := p.editPast()
	past.deadFor = max(past.deadFor, r.DeadFor)
	for i, total := range past.totals() {
		*total = max(*total, *r.totals()[i])
	}
	p.trail.merge(r.Events)
}

// MatesChanged notes that other mates are reachable than before. They are asked about all
// peers that they judge: even one that is there as before may have begun anew and know
// nothing.
func (t *Tracker) MatesChanged() {
	for _, p := range t.order {
		e := p.elsewhere
		if e == nil || !e.foreign || p.state.over() {
			continue
		}
		if !e.lost {
			e.lost = true
			t.orphans = append(t.orphans, p)
		}
		t.ask(p, t.tickV)
	}
}

// lookAtOrphans looks at the peers whose mate is lost: those of which no other one knows
// are unknown.
func (t *Tracker) lookAtOrphans(now time.Time) {
	kept := t.orphans[:0]
	for _, p := range t.orphans {
		e := p.elsewhere
		switch {
		case p.index < 0, !e.foreign, !e.lost, p.state.over():
		case e.question > t.settled:
			kept = append(kept, p)
		default:
			t.become(p, Unknown, ReasonMateLost, now)
			p.reason, p.changed = ReasonMateLost, true
			t.rewake(p)
		}
	}
	clear(t.orphans[len(kept):])
	t.orphans = kept
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
		e.foreign, e.lost, e.by, e.suspectV, e.deadV = false, false, "", 0, 0
	}
}

// mark notes that p is forgotten, so that no mate that still knows it brings it back.
func (t *Tracker) mark(p *peer) {
	if t.opts.Mates {
		t.marks[p.id.Hash()] = p.heardAnywhere()
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
