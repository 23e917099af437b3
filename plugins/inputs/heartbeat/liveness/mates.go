// This file exchanges reports with the other collectors of a cluster, the mates. They report
// to each other which beats they receive, and ask before they declare a peer dead: a peer that
// is silent here may beat to another collector. A report of a mate never counts as a beat
// received here. It can postpone deadlines and carry facts (beats that report more than a sign
// of life), but it proves nothing about our network.
//
// Collectors exchange ages, never times: what a mate received a second ago counts here as a
// second old. Ages come from the monotonic clock, so a mate that was stopped does not make a
// silence look shorter.

package liveness

import (
	"math"
	"net/netip"
	"slices"
	"time"
)

const (
	// The mates are asked about a peer askLead before it would be suspect.
	askLead = time.Second
	// The mates are asked about a peer once it is late by 1/lateShare of its interval.
	lateShare = 10
	// AnswerTime is how long to wait for answers.
	AnswerTime = 3 * time.Second
	// answerHolds is how long an answer is valid. If a death was held back for longer, mates
	// are asked again.
	answerHolds = AnswerTime + 2*time.Second
	// When a peer has beaten only to mates for strangeAfter times its allowed silence, they
	// judge it instead of this collector.
	strangeAfter = 10
	// sameBeat is how much later the same beat may reach a mate over another path.
	sameBeat = 100 * time.Millisecond
	// sameRecord is how much earlier a mate may have received the beat that one of our records
	// contains: the age of that beat was continued on the wall clock.
	sameRecord = 2 * time.Second
	// sameEnd is how far apart two collectors may receive the same end from one sender.
	sameEnd = 5 * time.Second
	// sentAtOnce is the most peers that one message to the mates covers.
	sentAtOnce = 1024
	// maxBeginnings is how many facts may wait. Above that limit, a fact that only reports a
	// new peer is not sent, and the next round reports that peer: when many hosts start, all
	// collectors receive their beats anyway.
	maxBeginnings = 4096
	// unsent is the number of a question that is not asked yet: it is not settled.
	unsent = math.MaxUint32
	// backlog is how late a beat may arrive over a path that was interrupted. If it seems to
	// be later, the clock of its sender may have been set.
	backlog = time.Minute
	// A sender may send its last beat over one connection and its goodbye over another up to
	// sameInstant ms apart.
	sameInstant = 20
	// An end is still to be reported if this collector started within justBefore of it: a mate
	// that has just started too has not reported it yet.
	justBefore = 5 * time.Second
	// maxLives is how many earlier runs of the senders of a peer are remembered.
	maxLives = 4
	// marksKept is how long a forgotten peer stays in Tracker.marks.
	marksKept = 7 * 24 * time.Hour
)

// A Word is a short report of a collector about a peer.
type Word struct {
	ID      uint64 // ID.Hash of the peer
	Process uint32 // hash of its current process and of the run of its sender
	Events  uint16 // hash of its event counts
	Jobs    uint16 // hash of its running jobs

	State     State
	Reason    Reason
	Heard     bool // the reporting collector receives the beats of the peer; otherwise it knows the peer through mates
	Verified  bool // the last beat was signed, or a certificate named its host
	Connected bool // it beats over an open connection to that collector
	Vacant    bool // it is nameless, and continues as the next process of its address
	Lone      bool // all its beats there came over one short connection

	Age     time.Duration // since the last beat received there
	Doubt   time.Duration // how much older that beat may be, because that collector was restarted or stopped
	Since   time.Duration // how long State has lasted
	Suspect time.Duration // silence left until it is suspect, according to the beats received there; may be negative
	Dead    time.Duration // silence left until it is dead
	Window  time.Duration // time left until its promise to be back ends; 0 for none
	Promise time.Duration // since the promise was made, changed, kept or withdrawn; 0 for never
	Deaths  uint64        // total
}

// A Fact is a beat that reports more than a sign of life: a new peer or process, a return, an
// end or a promise.
type Fact struct {
	Beat   Beat          // Conn, Handle and Remote have no meaning in another collector
	Known  bool          // its run is known from earlier beats
	Before ID            // the nameless peer that Beat.ID continues; the zero ID for none
	Lone   bool          // all beats of Before came over one short connection
	Ago    time.Duration // since it was received
	Doubt  time.Duration // how much earlier it may have been sent, because that collector was stopped
	Visit  bool          // all beats of its process came over one short connection
}

// A Said is a message for the mates.
type Said struct {
	Question uint32   // number of the question, to be settled; 0 for none
	Asked    []uint64 // ID.Hash of the peers that the question is about
	Facts    []Fact
	Words    []Word // reports about peers whose state has changed
	More     bool   // more is waiting
}

// A ReportedEvent is an event that a collector has reported.
type ReportedEvent struct {
	EventID int64         // of the Transition
	Ago     time.Duration // how long before this message it happened
	Peer    uint64        // ID.Hash, if it is a change of state; else 0
}

// An elsewhere is what this collector knows about a peer through mates. A peer has one only if
// mates were asked about it, or if its beats are not received here.
type elsewhere struct {
	foreign bool   // its beats are not received here: mates judge it
	by      string // the mate that received its latest beat
	lost    bool   // that mate is not reachable; matters for a foreign peer

	heard, heardV time.Duration // the latest beat that a mate received; -longAgo for none
	waits         []mateWait    // one for each mate that has received a beat since the last one here

	askedV   time.Duration // when mates were last asked about it
	question uint32        // the number of that question; 0 for none, or unsent
	asked    bool          // mates were asked, and no mate has reported a later deadline since

	promiseAt time.Duration // when its promise was made, changed, kept or withdrawn; -longAgo for never

	// The last end that was reported, here or to a mate: the run of the sender that reported
	// it, when that was, and the time by the sender's clock.
	endLife string
	endAt   time.Duration
	endMS   int64
	endAway bool // it was reported to a mate, and not here yet

	livesBefore []string      // earlier runs of its senders, the latest last; at most maxLives
	lifeAt      time.Duration // when the first beat of the current run was received
	goodbye     Reason        // the reason of a goodbye of an earlier run that may still count; ReasonNone for none
	goodbyeAt   time.Duration
	doubt       time.Duration // how long before its arrival here its latest beat may have been sent
	wanted      bool          // a mate has asked about it, and is to be informed when it beats here again
	fresh       bool          // its state has changed since TakeSaid: it is in Tracker.news, once
}

// A mateWait holds the deadlines of a peer according to the beats that a mate received.
type mateWait struct {
	mate            string
	heard           time.Duration
	suspectV, deadV time.Duration
}

// suspicionV returns the latest time at which a mate makes the peer suspect, or 0 if no mate
// has received a beat since the last one here.
func (e *elsewhere) suspicionV() (latest time.Duration) {
	for i := range e.waits {
		latest = max(latest, e.waits[i].suspectV)
	}
	return latest
}

// deadlineV returns the latest time at which a mate makes the peer dead, or 0 as suspicionV
// does.
func (e *elsewhere) deadlineV() (latest time.Duration) {
	for i := range e.waits {
		latest = max(latest, e.waits[i].deadV)
	}
	return latest
}

// await notes the deadlines at a mate, unless the mate has already reported a later beat.
func (e *elsewhere) await(w mateWait) {
	if !e.correct(w) {
		e.waits = append(e.waits, w)
	}
}

// correct replaces the earlier wait of a mate, and reports whether there was one.
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

// foreign reports whether mates judge p: its beats are not received here.
func (p *peer) foreign() bool { return p.elsewhere != nil && p.elsewhere.foreign }

// heardBy returns the mate that received the latest beat of p, or "" for this collector.
func (p *peer) heardBy() string {
	if e := p.elsewhere; e != nil && (e.foreign || e.heard > p.lastHeard()) {
		return e.by
	}
	return ""
}

// editElsewhere returns the elsewhere of p for writing.
func (p *peer) editElsewhere() *elsewhere {
	if p.elsewhere == nil {
		p.editPast().elsewhere = &elsewhere{heard: -longAgo, heardV: -longAgo, promiseAt: -longAgo}
	}
	return p.elsewhere
}

// lastBeatAnywhere returns the time at which the latest beat of p was received, here or by a
// mate.
func (p *peer) lastBeatAnywhere() time.Duration {
	heard := p.lastHeard()
	if e := p.elsewhere; e != nil {
		heard = max(heard, e.heard)
	}
	return heard
}

// ask schedules a question to the mates about p, at a time on the verdict clock.
func (t *Tracker) ask(p *peer, verdict time.Duration) {
	e := p.editElsewhere()
	if e.question != unsent {
		e.question = unsent
		t.asking = append(t.asking, p)
		t.asked++
	}
	e.askedV, e.asked = verdict, true
}

// askV returns the time at which to ask the mates about p: shortly before p would be suspect,
// but only once it is late both here and at the mate that received its last beat. When p is
// suspect, the mates are asked once more, because one of them may have received a beat since.
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

// unasked reports whether the mates are still to be asked about p before its deadline.
func (p *peer) unasked() bool { return p.elsewhere == nil || p.elsewhere.askedV < p.askV() }

// askEarly asks the mates about p when it is late, so that the answer arrives before p is
// suspect.
func (t *Tracker) askEarly(p *peer) {
	if t.opts.Mates && (p.state == Alive || p.state == Suspect) && t.tickV >= p.askV() && p.unasked() {
		t.ask(p, t.tickV)
		if t.tickV >= p.ownSuspicionV() {
			t.countSilent(p, t.tickV) // it is silent here even if it beats to mates
			t.leaveToMates(p)
		}
	}
}

// leaveToMates lets mates judge p from now on, if p has beaten only to them for a long time:
// its sender probably no longer uses this collector.
func (t *Tracker) leaveToMates(p *peer) {
	e := p.elsewhere
	silence := t.tickV - max(p.lastHeardV(), p.sinceV) // the silence while all collectors reported it dead does not count
	if silence > strangeAfter*t.silence(p, &p.process).Dead && e.heardV > p.lastHeardV() && !p.connected() {
		e.foreign, p.changed = true, true
		t.isolation.removeSilent(p.host)
	}
}

// confirmedSilent reports whether mates were asked about p, which is about to be suspect, and
// had one tick to report beats of it. If they were not asked, confirmedSilent asks them.
func (t *Tracker) confirmedSilent(p *peer) bool {
	if !t.opts.Mates {
		return true
	}
	if e := p.elsewhere; e != nil && e.askedV >= p.suspicionV() {
		return t.tickV-e.askedV >= TickInterval
	}
	t.ask(p, t.tickV)
	return false
}

// confirmedDead reports whether mates were asked after overV, the time at which p would be
// dead, and know of no later beat. If they were not asked, confirmedDead asks them.
func (t *Tracker) confirmedDead(p *peer, overV time.Duration) bool {
	if !t.opts.Mates {
		return true
	}
	if e := p.elsewhere; e != nil && e.question > 0 && e.askedV >= overV && t.tickV-e.askedV <= answerHolds {
		return e.question <= t.settled
	}
	t.ask(p, t.tickV)
	return false
}

// Settle notes that no more answers to a question are expected: each reachable mate has
// answered it, or will not.
func (t *Tracker) Settle(question uint32) { t.settled = max(t.settled, question) }

// GoOnAsking makes t, which replaces before, continue the numbers of the questions of before.
func (t *Tracker) GoOnAsking(before *Tracker) {
	t.question, t.settled = before.question, before.question
}

// NothingToSend reports whether there is nothing to send to mates.
func (t *Tracker) NothingToSend() bool {
	return len(t.asking)+len(t.facts)+len(t.news)+len(t.gone) == 0
}

// TakeSaid returns the message to the mates about what has changed since the last call, or a
// part of it. The caller owns the message.
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
	n := min(len(t.gone), sentAtOnce)
	said.Words, t.gone = append(said.Words, t.gone[:n]...), t.gone[n:]
	said.More = !t.NothingToSend()
	return said
}

// takeSome removes as many peers from a list as one message may cover, and returns them.
func takeSome(all *[]*peer) (some []*peer) {
	n := min(len(*all), sentAtOnce)
	some, *all = (*all)[:n], (*all)[n:]
	if len(*all) == 0 {
		*all = nil
	}
	return some
}

// noteNews notes that the state of p has changed.
func (t *Tracker) noteNews(p *peer) {
	if !t.opts.Mates || p.foreign() {
		return
	}
	if e := p.editElsewhere(); !e.fresh {
		e.fresh = true
		t.news = append(t.news, p)
	}
}

// noteFact notes b, a beat of p, as a fact for the mates if it reports more than a sign of
// life. was is the state of p before b.
func (t *Tracker) noteFact(p *peer, b *Beat, began bool, was State, known bool, now time.Time) {
	at := now.Sub(t.epoch)
	if !t.opts.Mates || t.overRate {
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
		Ago: at, Doubt: t.waited(at, now), // TakeSaid turns Ago into an age
	}
	fact.Beat.Conn, fact.Beat.Handle, fact.Beat.Remote, fact.Beat.Labels = 0, Handle{}, netip.Addr{}, slices.Clone(b.Labels)
	t.facts = append(t.facts, fact)
}

// sentBeforeOwnEnd reports whether b was sent before the end of its process, which a mate has
// received, and came later over a slower path.
func (p *peer) sentBeforeOwnEnd(b *Beat, match match, at time.Duration) bool {
	e := p.elsewhere
	if e == nil || match != sameProcess || !p.state.over() || !p.reason.reported() || e.endLife == "" || e.endLife != b.life() {
		return false
	}
	if b.SentMS > 0 && e.endMS > 0 {
		return b.SentMS < e.endMS+sameInstant && at-e.endAt < backlog
	}
	return at-e.endAt < sameEnd/5
}

// Word returns the short report about peer number i, 0 <= i < Len.
func (t *Tracker) Word(i int, now time.Time) Word { return t.wordOf(t.order[i], now) }

// Answer appends to words what this collector knows about the peers with these hashes. A mate
// has asked about them. It covers the peers that have beaten here or are forgotten.
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

// RecordByHash returns the record of a peer, or false if the peer is not known.
func (t *Tracker) RecordByHash(hash uint64, now time.Time) (Record, bool) {
	p := t.byHash[hash]
	if p == nil || p.expected {
		return Record{}, false
	}
	r := t.recordOf(p, now)
	if p.here > 0 { // the beat was certainly not earlier
		r.Heard = r.Heard.Add(-t.doubt(p))
	}
	r.Since = now.Add(p.since - now.Sub(t.epoch)) // by the present wall clock: the mate needs the age of the state
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
	if promised := p.promisedAt(); promised > -longAgo {
		w.Promise = max(at-promised, 1)
	}
	return w
}

// doubt returns how much older the last beat of p may be than it seems. A time from a record is
// uncertain by up to an interval, and entirely uncertain if the clock was set meanwhile.
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

// noteMaxDelay notes the longest time that the current beat of p may have waited before it was
// read.
func (t *Tracker) noteMaxDelay(p *peer, at time.Duration, now time.Time) {
	if doubt := t.waited(at, now); doubt > 0 && t.opts.Mates {
		p.editElsewhere().doubt = doubt
	} else if p.elsewhere != nil {
		p.elsewhere.doubt = 0
	}
}

// waited returns how long a message read at the given time may have waited because the
// collector did not listen.
func (t *Tracker) waited(at time.Duration, now time.Time) time.Duration {
	lost := t.notListened(now)
	switch {
	case lost > 0 && at >= t.tick: // no tick has noticed the stall yet
		return lost
	case at >= t.stallEnd-maxTick && at < t.teachFrom:
		return t.stall
	}
	return 0
}

// silenceLeft returns how much longer o, a process of p, may be silent. Only its last beat
// and its connections count: extra time that this collector grants because it was restarted,
// isolated or stopped is not sent to mates.
func (t *Tracker) silenceLeft(p *peer, o *process, at time.Duration) (suspect, dead time.Duration) {
	allowed := t.silence(p, o)
	suspect, dead = min(o.suspectV-o.heardV, allowed.Suspect), min(o.deadV-o.heardV, allowed.Dead)
	return suspect - (at - o.heard), dead - (at - o.heard)
}

// fingerprint returns a hash of the process of p that is the same in every collector.
func (p *peer) fingerprint() uint32 {
	sum := newDigest.text(p.ident.Boot).number(uint64(p.ident.PID))
	if !p.watched {
		sum = sum.text(p.life)
	}
	return sum.fold()
}

// MatesChanged notes that the set of reachable mates has changed. The mates are asked about
// all peers that they judge: even a mate that stayed reachable may have restarted without its
// state.
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
		t.chores = append(t.chores, each(slices.Clone(t.order), perUnit, lose))
		return
	}
	for _, p := range t.order {
		lose(p)
	}
}

// checkOrphans makes peers unknown if their mate is unreachable and no other mate knows them.
func (t *Tracker) checkOrphans(now time.Time) {
	if len(t.orphans) == 0 {
		return
	}
	orphans := t.orphans
	t.orphans = nil
	t.next(each(orphans, perUnit, func(p *peer) {
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

// awaitWord handles the end of the window of p. Mates judge p, and it is not back. If no mate
// soon reports its state, no mate receives its beats.
func (t *Tracker) awaitWord(p *peer, now time.Time) {
	if t.tickV < p.windowV+answerHolds {
		return
	}
	p.closeWindow()
	p.elsewhere.lost = true
	t.become(p, Unknown, ReasonMateLost, now)
	t.ask(p, t.tickV)
}

// noteBeatHere notes that a beat of p was received here. This collector judges p from now on, and
// earlier reports of mates no longer matter.
func (t *Tracker) noteBeatHere(p *peer) {
	if e := p.elsewhere; e != nil {
		p.changed = p.changed || e.by != ""
		if e.wanted {
			e.wanted = false
			t.noteNews(p)
		}
		e.foreign, e.lost, e.by, e.waits, e.goodbye = false, false, "", nil, ReasonNone
	}
}

// mark notes that p is forgotten, so that reports of a mate that still knows p do not add it
// again.
func (t *Tracker) mark(p *peer) {
	if t.opts.Mates {
		t.marks[p.id().Hash()] = p.lastBeatAnywhere()
	}
}

// marked reports whether this collector has forgotten the peer with this hash since a beat of
// that peer. heard is the time of the beat.
func (t *Tracker) marked(hash uint64, heard time.Duration) bool {
	last, ok := t.marks[hash]
	if ok && t.tick-last > marksKept {
		delete(t.marks, hash)
		return false
	}
	return ok && heard <= last+sameBeat
}
