// What mates know in full: facts, which are beats that are more than life, and records of
// peers of which their words have shown that more is known there.

package liveness

import (
	"cmp"
	"slices"
	"time"
)

// HearFact takes in a beat that a mate has heard, ago before now. It is no life here,
// but what it says holds: another process, an end, a promise.
func (t *Tracker) HearFact(now time.Time, f *Fact, mate string) []Transition {
	t.out = t.out[:0]
	b := &f.Beat
	at := now.Sub(t.epoch) - f.Ago
	p, first := t.findElsewhere(f, mate, now)
	if p == nil || !first && p.isNoNews(b, at, f.Doubt) {
		if p != nil && b.Status != SaysAlive && p.process.is(b) {
			p.doubtBye(b.life(), reasonOf(b), at)
		}
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
	if b.Status != SaysAlive {
		p.noteEnd(o, true)
	}
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
	case before.id == f.Before && (before.state.over() || !before.connected()):
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
	before, sure := p.followed(b.life())
	if b.Status == SaysAlive {
		ended := p.state.over() && at-doubt <= p.heardAnywhere()+sameBeat
		return known && (ended || sure && !p.state.over() || heard >= at && !p.foreign())
	}
	e := p.elsewhere
	if before && p.process.is(b) {
		return true
	}
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
// It returns the hashes of those of which more is known here: the mate needs their records.
func (t *Tracker) HearRecords(now time.Time, records []Record, mate string, ago time.Duration) (needed []uint64, transitions []Transition) {
	t.out = t.out[:0]
	t.learning = true
	defer func() { t.learning = false }()
	for i := range records {
		r := &records[i]
		p := t.peers[r.ID]
		if p == nil || p.id != r.ID || p.expected {
			t.learnPeer(r, mate, ago, now)
			continue
		}
		if t.learnMore(p, r, ago, now); p.knowsMore(r) {
			needed = append(needed, p.id.Hash())
		}
		t.rewake(p)
	}
	return needed, t.out
}

// Move makes r one of a collector whose wall clock is so far ahead of the one that took it.
func (r *Record) Move(by time.Duration) {
	r.Heard, r.Since = r.Heard.Add(by), r.Since.Add(by)
	if !r.Promise.IsZero() {
		r.Promise = r.Promise.Add(by)
	}
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
	t.learnPromise(p, r, at-saved.Sub(r.Promise), now)
	if p.endedAway(r.State, heard, since) && (p.ident.is(r.Process) || !r.unsure()) {
		t.learnEnd(p, r, since, now)
		return
	}
	if p.differs(r.State, r.Reason) {
		t.agree(p, r, heard, since, now)
		return
	}
	another := t.learnProcess(p, r, heard, now)
	if before, _ := p.followed(r.endedBy()); before && !another && r.State.over() && p.process.ident.is(r.Process) {
		p.doubtBye(r.endedBy(), r.Reason, since)
		return
	}
	if same := another || p.process.ident.is(r.Process); same && t.lacksEnd(p, r, heard, since, another) {
		p.setExit(r.ExitCode, r.HasExitCode)
		t.takeWindow(p, r, now)
		t.become(p, r.State, r.Reason, now)
		p.reason = r.Reason
		t.learnWhoEnded(p, r)
	}
	p.mergeTotals(r)
	p.changed = true
}

// learnProcess lets the process of a record take the place of p, if a mate has heard that
// later, and reports whether it does. What was restored may have been replaced while this
// collector was away: that was told.
func (t *Tracker) learnProcess(p *peer, r *Record, heard time.Duration, now time.Time) bool {
	if p.state.over() && !r.State.over() { // its life is told by words
		return false
	}
	replaced := slices.ContainsFunc(r.Others, func(o Other) bool { return p.ident != (Process{}) && p.ident.is(o.Process) })
	followed := p.foreign() && heard >= p.lastHeard()-sameRecord // the word before
	later := replaced || followed || heard > p.lastHeard()+sameBeat && !r.unsure()
	if !later || p.process.ident.is(r.Process) || p.id.Nameless() {
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

// unsure reports whether a record tells an end from before a restart of that mate: it may be
// longer ago than it seems.
func (r *Record) unsure() bool { return r.Extended && r.State.over() }

// lacksEnd reports whether a record tells an end of the process of p that is not known here.
func (t *Tracker) lacksEnd(p *peer, r *Record, heard, since time.Duration, another bool) bool {
	switch {
	case !r.State.over(), p.wasOverdue(r.State, heard):
		return false
	case another:
		return true
	}
	said := r.Reason.reported() && (r.EndedBy != "" || since-heard < time.Second) // else a silence was announced
	told := said && (t.isRecent(p, since) || r.State == p.state)
	return told && (p.state != r.State || !p.reason.reported())
}

// learnEnd takes in that p has ended while this collector was away: that was told.
func (t *Tracker) learnEnd(p *peer, r *Record, since time.Duration, now time.Time) {
	t.put(p, r.State, r.Reason)
	p.told, p.since, p.toldSince, p.sinceV, p.sinceUTC = r.State, since, since, t.verdict(now), r.Since.UnixNano()
	p.setExit(r.ExitCode, r.HasExitCode)
	t.learnWhoEnded(p, r)
	t.takeWindow(p, r, now)
	p.mergeTotals(r)
	p.changed = true
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
