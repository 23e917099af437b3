// This file processes Words, the short reports of mates about peers. Mates send them in
// answers, in rounds, and when a state changes. A Word about a peer that beats here is compared
// with what this collector knows. Any other peer gets the state in the Word. If a Word is not
// enough, this collector requests the record of the peer.

package liveness

import (
	"time"
)

// HearWords processes the Words of a mate about peers. ago is how long ago the mate sent them;
// their ages are as of that time. HearWords returns the hashes of the peers whose records are
// needed.
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
	case w.Reason == ReasonForgotten: // there is no answer: two collectors that have forgotten the peer would answer each other forever
		t.forgetAsMate(p, heard, now)
		return false
	case p == nil && t.marked(w.ID, heard):
		t.gone = append(t.gone, t.goneWord(w.ID, now))
		return false
	case p == nil:
		return true
	case p.expected:
		return w.Heard
	case t.endedAway(p, w.State, heard, since):
		return true
	}
	p.mergeDeaths(w)
	switch {
	case !w.Heard: // the mate may know an end that another mate has received and forgotten
		if !p.foreign() && w.State != p.state {
			t.noteNews(p) // the mate has missed the change
		}
		wanted = p.foreign() && p.state == Unknown && w.State.over() && w.Reason.reported()
	case p.foreign():
		wanted = t.lacks(p, w, heard, since, at)
		t.follow(p, w, mate, heard, since, now)
	default:
		wanted = t.lacks(p, w, heard, since, at)
		t.compare(p, w, mate, heard, ago, now)
	}
	t.rewake(p)
	return wanted
}

// goneWord returns a report that this collector has forgotten a peer, with the age of its last
// beat.
func (t *Tracker) goneWord(hash uint64, now time.Time) Word {
	return Word{ID: hash, Reason: ReasonForgotten, Age: now.Sub(t.epoch) - t.marks[hash]}
}

// forgetAsMate forgets p if p is unchanged since it was restored and a mate has forgotten it:
// the end of p was reported while this collector was away.
func (t *Tracker) forgetAsMate(p *peer, heard time.Duration, now time.Time) {
	if p != nil && p.here == 0 && !p.foreign() && p.lastBeatAnywhere()-t.doubt(p) <= heard+sameBeat {
		t.forget(p, now)
	}
}

// endedAway reports whether p, unchanged since it was restored, has ended while this collector
// was away or was still reading its state file. A mate that has received the last beat of p says
// so, and that end has been reported already.
func (t *Tracker) endedAway(p *peer, state State, heard, since time.Duration) bool {
	return p.asRestored() && state.over() && heard >= p.lastHeard()-sameRecord && since < t.restoredAt-justBefore
}

// mergeDeaths sets the total of deaths of p to the larger of the totals of p and w, unless one
// of them includes a death that the other does not include yet.
func (p *peer) mergeDeaths(w *Word) {
	counted := w.State == p.state || !w.Heard && !p.foreign() && (p.state == Alive || p.state == Unknown)
	if counted && w.Deaths > p.Deaths {
		p.editPast().Deaths, p.changed = w.Deaths, true
	}
}

// asRestored reports whether p has not ended and is unchanged since this collector started: no
// beat was received, and no other state was reported.
func (p *peer) asRestored() bool {
	return !p.foreign() && p.here == 0 && !p.state.over() && (p.since < 0 || p.unknown(ReasonRestored))
}

// lacks reports whether a mate knows a fact about p that is not known here: another process,
// an end, a promise, or events.
func (t *Tracker) lacks(p *peer, w *Word, heard, since, at time.Duration) bool {
	last := p.lastHeard()
	switch {
	case p.differs(w.State, w.Reason):
		return true
	case w.Process != p.fingerprint():
		return heard > last+sameBeat || p.foreign() && heard >= last || w.State.over() && p.state == Left
	case w.State.over() && w.Reason.reported() && !(w.State == p.state && p.reason.reported()):
		return !p.wasOverdue(w.State, heard) && (t.isRecent(p, since) || w.State == p.state)
	case w.Promise > 0 && p.promisedBefore(at-w.Promise), w.Jobs != p.jobs.fingerprint():
		return true
	}
	return w.State == p.state && w.Events != p.trail.fingerprint()
}

// isRecent reports whether p has not beaten since a report to a mate. since is the time of that
// report.
func (t *Tracker) isRecent(p *peer, since time.Duration) bool {
	return since+sameEnd+t.doubt(p) > p.lastHeard()
}

// wasOverdue reports whether p is dead because it broke a promise, while a mate still reports
// it as left: the window is still open there.
func (p *peer) wasOverdue(state State, heard time.Duration) bool {
	return p.overdue() && state == Left && heard <= p.lastHeard()+sameBeat
}

// overdue reports whether p is dead because it broke a promise. Such a peer had left before,
// so a report that it left is not new.
func (p *peer) overdue() bool { return p.state == Dead && p.reason == ReasonOverdue }

// follow updates p, which does not beat here, from a Word of a mate that receives its beats.
func (t *Tracker) follow(p *peer, w *Word, mate string, heard, since time.Duration, now time.Time) {
	e := p.elsewhere
	if p.knowsBetter(w, mate, heard, since) {
		return
	}
	if w.State == Suspect && p.state == Alive { // a mate that the reporting one cannot reach may receive its beats
		t.ask(p, t.verdict(now))
	}
	p.changed = p.changed || e.by != mate
	e.by, e.lost, e.heard = mate, false, heard
	p.heard, p.heardV = heard, t.verdict(now)-(now.Sub(t.epoch)-heard)
	t.renew(p, &p.process, p.heardV)
	if w.Promise == 0 { // its host made the promise, or there is none
		t.followWindow(p, w, now)
	}
	t.becomeAs(p, w, now)
	if p.lone = w.Lone && p.nameless(); w.Vacant {
		t.vacant.add(p)
	} else {
		t.vacant.remove(p)
	}
}

func (t *Tracker) followWindow(p *peer, w *Word, now time.Time) {
	if w.Window == 0 {
		p.closeWindow()
	} else if p.windowV == 0 {
		p.setWindow(t.verdict(now)+w.Window, p.windowBy)
	}
}

// knowsBetter reports whether this collector knows more about p, which mates judge, than one
// mate reports: another mate has received a later beat, or p has ended later.
func (p *peer) knowsBetter(w *Word, mate string, heard, since time.Duration) bool {
	e := p.elsewhere
	switch {
	case e.by != mate && heard < e.heard-sameBeat && (!e.lost || w.State.over() && since < e.heard):
		return true
	case p.differs(w.State, w.Reason): // the records decide which end counts
		return true
	case p.overdue() && w.State == Left:
		return heard <= e.heard+sameBeat // the mate reports that it left before it was overdue
	}
	return p.state.over() && !w.State.over() && !w.later(heard, e.heard)
}

// becomeAs gives p, which mates judge, the state that one mate reports. If that mate is
// isolated, this collector is not isolated because of it.
func (t *Tracker) becomeAs(p *peer, w *Word, now time.Time) {
	reason := w.Reason
	if reason == ReasonIsolated {
		reason = ReasonRestored
	}
	if deaths := max(p.Deaths, w.Deaths); w.State == Dead && p.state != Dead { // the total includes that death
		p.editPast().Deaths = max(deaths, 1) - 1
	} else if deaths > p.Deaths {
		p.editPast().Deaths = deaths
	}
	t.become(p, w.State, reason, now)
	if p.reason != ReasonIsolated {
		p.reason = reason
	}
}

// later reports whether the beat that a mate received at the time heard is certainly later than
// another one. than is the time of the other beat.
func (w *Word) later(heard, than time.Duration) bool { return heard > than+w.Doubt+sameBeat }

// compare processes a Word about p, which has beaten here too. It checks whether the mate has
// received a later beat or still has a connection of p.
func (t *Tracker) compare(p *peer, w *Word, mate string, heard, ago time.Duration, now time.Time) {
	if t.opts.OnlyVerified && !w.Verified || w.State == Dead && t.learnDeath(p, w, mate, heard, now) {
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
		if p.elsewhere != nil {
			p.elsewhere.correct(mateWait{mate, heard, asked + w.Suspect, asked + w.Dead}) // the connection at the mate has ended too
		}
		return
	}
	if younger {
		t.noteBeatElsewhere(p, mate, heard, now)
	}
	t.prolong(p, mate, heard, asked+w.Suspect, asked+w.Dead)
	if p.state != Suspect || w.Process == p.fingerprint() { // otherwise the beat of the other process, or the record of p, is on its way
		t.reviveElsewhere(p, w, heard, now)
	}
}

// learnDeath processes a Word that reports p dead. It reports whether p is now dead here too.
// If so, the rest of the Word can be ignored.
func (t *Tracker) learnDeath(p *peer, w *Word, mate string, heard time.Duration, now time.Time) bool {
	back := p.state == Left && heard > p.since+sameBeat // it came back to the mate, and then ended
	switch {
	case p.state == Dead:
		if w.Reason.strongerThan(p.reason) {
			p.reason, p.changed = w.Reason, true
		}
	case back:
		t.noteBeatElsewhere(p, mate, heard, now)
		t.end(p, w.Reason, now)
	case p.state == Left && p.windowV > 0 && w.Reason == ReasonOverdue: // its window continued while this collector was stopped
		p.closeWindow()
		t.become(p, Dead, ReasonOverdue, now)
	case w.Reason == ReasonOverrun && p.unknown(ReasonRestored):
		t.end(p, w.Reason, now)
	case p.unknown(ReasonIsolated), w.Reason.inferred() && p.isJudgedBy(w, heard): // the mate was able to judge it, and this collector was asked
		t.end(p, w.Reason, now)
	default:
		return false
	}
	return true
}

// isJudgedBy reports whether a mate knows at least as much about p, which is alive here, as
// this collector: it has certainly received the latest known beat of the same process, and p
// has no connection here.
func (p *peer) isJudgedBy(w *Word, heard time.Duration) bool {
	_, limited := p.limited() // if it is limited, its silence is not judged
	return !limited && !p.state.over() && w.Process == p.fingerprint() && heard-w.Doubt >= p.lastBeatAnywhere()-sameBeat && !p.connected()
}

// loseElsewhere notes that the last connection of p has ended at a mate: the deadline is
// shortened here too.
func (t *Tracker) loseElsewhere(p *peer, w *Word, asked time.Duration) {
	o := &p.process
	o.suspectV, o.deadV = min(o.suspectV, asked+w.Suspect), min(o.deadV, asked+w.Dead)
	if o.loss == nil {
		o.evidence = w.Reason
	}
	p.changed = true
	t.vacant.add(p)
}

// noteBeatElsewhere notes that a mate has received a beat of p.
func (t *Tracker) noteBeatElsewhere(p *peer, mate string, heard time.Duration, now time.Time) {
	e := p.editElsewhere()
	if heard > e.goodbyeAt {
		e.goodbye = ReasonNone
	}
	if heard >= e.heard {
		p.changed = p.changed || e.by != mate
		e.heard, e.heardV, e.by, e.lost = heard, t.verdict(now)-(now.Sub(t.epoch)-heard), mate, false
	}
}

// prolong postpones the deadlines of p, if the report of a mate gives later ones.
func (t *Tracker) prolong(p *peer, mate string, heard, suspectV, deadV time.Duration) {
	e := p.editElsewhere()
	if deadV > p.deadlineV() && e.asked {
		e.asked = false // other mates may report the same
		t.spared++
	}
	e.await(mateWait{mate, heard, suspectV, deadV})
}

// reviveElsewhere makes p alive, if a beat that a mate has received shows that it is.
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
	case mistaken && state == Suspect && since: // the peer may have died again since
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
