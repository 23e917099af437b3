// This file processes the full reports of mates. Facts are beats that report more than a sign
// of life. If the Words of a mate show that it knows more about a peer, this collector requests
// the record of the peer. This file also settles ends that differ: collectors may have seen
// different ends of a peer, such as a goodbye that reached only one of them, a silence, the end
// of the process, or the end of an earlier run of the sender. The rules here make them agree
// on one end. A late report over a slow path does not override better knowledge. No wall clock
// is used to decide.

package liveness

import (
	"cmp"
	"slices"
	"time"
)

// HearFact processes a beat that a mate received. f.Ago is how long ago that was. The beat is
// no sign of life for this collector, but what it reports applies: another process, an end, or
// a promise.
func (t *Tracker) HearFact(now time.Time, f *Fact, mate string) []Transition {
	t.out = t.out[:0]
	b := &f.Beat
	at := now.Sub(t.epoch) - f.Ago
	p, first := t.findElsewhere(f, mate, now)
	if p != nil {
		p.noteJob(b, at, t.verdict(now)-f.Ago)
		t.rewake(p)
		if b.Begins && !first {
			return t.out
		}
	}
	if p == nil || !first && p.isOldNews(b, at, f.Doubt) {
		if p != nil && b.Status != SaysAlive && p.process.is(b) {
			p.noteDoubtfulGoodbye(b.life(), reasonOf(b), at)
		}
		return t.out
	}
	if b.Status != SaysAlive {
		e := p.editElsewhere()
		e.endLife, e.endAt, e.endMS = b.life(), at, b.SentMS
	}
	o, match := t.identify(p, b, at)
	event := p.countRestart(match)
	t.copyBeat(p, o, b, at, now)
	if first || match == newProcess || match == bootedProcess {
		o.unheard, p.lone = true, f.Visit && p.nameless()
	}
	t.applyReport(p, b, o, match, f.Known, now)
	if b.Status != SaysAlive {
		p.noteEnd(o, true)
	}
	if b.Status == SaysAlive {
		silence := t.silence(p, o)
		t.noteBeatElsewhere(p, mate, at, now)
		heardV := t.verdict(now) - f.Ago
		t.prolong(p, mate, at, heardV+silence.Suspect, heardV+silence.Dead)
	}
	t.emitEvent(p, event, b.Addr, now)
	p.changed = true
	t.rewake(p)
	return t.out
}

// findElsewhere returns the peer that a fact is about, and whether it was unknown. An unknown
// peer is added, known through the mate. findElsewhere returns nil if there is no room for it.
func (t *Tracker) findElsewhere(f *Fact, mate string, now time.Time) (p *peer, first bool) {
	b := &f.Beat
	t.continueElsewhere(f, now)
	switch p = t.lookUp(b.ID); {
	case p == nil && t.checkRoom(b.ID.Source) != Accepted && !t.awaits(b):
		return nil, false
	case p == nil:
		p, first = t.addFor(b, now), true
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

// continueElsewhere renames the nameless peer that the fact continues, as the mate has done. If
// this collector has a peer under each name, the one under the old name ends.
func (t *Tracker) continueElsewhere(f *Fact, now time.Time) {
	before, p, id := t.lookUp(f.Before), t.lookUp(f.Beat.ID), f.Beat.ID
	switch {
	case f.Before == (ID{}) || before == nil || before == p:
	case p == nil && f.Lone:
		t.continueAs(before, id, t.verdict(now))
	case p == nil:
		t.replace(before, id, now)
	case before.isNamed(f.Before) && (before.state.over() || !before.connected()):
		t.closeSeries(before, now)
		t.put(before, Unknown, ReasonReplaced)
		t.remove(before)
	}
}

// isOldNews reports whether b, a beat of p that a mate received, reports something known or
// outdated. at is when the mate received b, and doubt is the longest time that may have passed
// between the sending of b and at.
func (p *peer) isOldNews(b *Beat, at, doubt time.Duration) bool {
	heard, known := p.heard, p.process.is(b)
	if o := p.formerOf(b); !known && o != nil {
		heard, known = o.heard, true
	}
	before, sure := p.followed(b.life())
	if b.Status == SaysAlive {
		ended := p.state.over() && at-doubt <= p.lastBeatAnywhere()+sameBeat
		return known && (ended || sure && !p.state.over() || heard >= at && !p.foreign())
	}
	e := p.elsewhere
	if before && p.process.is(b) {
		return true
	}
	repeated := e != nil && e.endLife == b.life() && (at-e.endAt).Abs() < sameEnd
	return repeated || known && heard > at+sameBeat
}

// copyBeat copies the content of a beat that a mate has received to o, a process of p.
func (t *Tracker) copyBeat(p *peer, o *process, b *Beat, at time.Duration, now time.Time) {
	if b.Status == SaysAlive {
		if o.interval != b.Interval {
			o.schedule = schedule{}
		}
		t.declare(o, b.Interval, b.Margin)
	}
	if !p.foreign() {
		return
	}
	t.declare(o, o.interval, b.Margin)
	o.heard, o.heardV = at, t.verdict(now)-(now.Sub(t.epoch)-at)
	t.renew(p, o, o.heardV)
	t.relabel(p, b.Labels, now)
}

// HearRecords processes records that a mate took some time ago; ago is that time. The Words of
// the mate have shown that it knows more about these peers. HearRecords returns the hashes of
// the peers about which this collector knows more: the mate needs their records.
func (t *Tracker) HearRecords(now time.Time, records []Record, mate string, ago time.Duration) (needed []uint64, transitions []Transition) {
	t.out = t.out[:0]
	t.learning = true
	defer func() { t.learning = false }()
	for i := range records {
		r := &records[i]
		p := t.lookUp(r.ID)
		if p == nil || !p.isNamed(r.ID) || p.expected {
			t.learnPeer(r, mate, ago, now)
			continue
		}
		if t.learnMore(p, r, ago, now); p.knowsMore(r) {
			needed = append(needed, p.id().Hash())
		}
		t.rewake(p)
	}
	return needed, t.out
}

// Move adjusts r for a collector whose wall clock is ahead by the given time.
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

// learnPeer adds an unknown peer that a mate knows. The mate has already reported the state of
// the peer.
func (t *Tracker) learnPeer(r *Record, mate string, ago time.Duration, now time.Time) {
	if t.checkRoom(r.ID.Source) != Accepted && t.lookUp(r.ID) == nil {
		return
	}
	if r.Foreign && r.HeardBy == "" { // this collector received its beats before and has lost its state
		r.Foreign = false
		if late := r.Used - r.span(); (r.State == Alive || r.State == Unknown) && late > 0 { // the mate was informed once a minute
			r.Used, r.Heard = r.Used-late, r.Heard.Add(late)
		}
	} else {
		r.Foreign, r.HeardBy = true, cmp.Or(r.HeardBy, mate)
	}
	t.restoreRecord(r, now.Add(-ago), now)
	p := t.lookUp(r.ID)
	if !p.state.over() && p.state != r.State && r.Reason != ReasonIsolated {
		t.put(p, r.State, r.Reason)
		p.reported = r.State
		t.rewake(p)
	}
	t.touch(p) // the record is saved by the mate, and not here yet
}

// learnMore adds to p what a mate knows and this collector does not.
func (t *Tracker) learnMore(p *peer, r *Record, ago time.Duration, now time.Time) {
	at, saved := now.Sub(t.epoch)-ago, now.Add(-ago)
	heard, since := at-saved.Sub(r.Heard), at-saved.Sub(r.Since)
	t.learnPromise(p, r, at-saved.Sub(r.Promise), now)
	p.learnJobs(r, heard, at, t.verdict(now)-ago)
	if t.endedAway(p, r.State, heard, since) && (p.ident.is(r.Process) || !r.unsure()) {
		t.learnEnd(p, r, since, now)
		return
	}
	if p.differs(r.State, r.Reason) {
		t.agree(p, r, heard, since, now)
		return
	}
	another := t.learnProcess(p, r, heard, now)
	if before, _ := p.followed(r.endedBy()); before && !another && r.State.over() && p.process.ident.is(r.Process) {
		p.noteDoubtfulGoodbye(r.endedBy(), r.Reason, since)
		return
	}
	if same := another || p.process.ident.is(r.Process); same && t.lacksEnd(p, r, heard, since, another) {
		p.setExit(r.ExitCode, r.HasExitCode)
		t.learnWindow(p, r, now)
		t.become(p, r.State, r.Reason, now)
		p.reason = r.Reason
		t.learnEndLife(p, r)
	}
	p.mergeTotals(r)
	p.changed = true
}

// learnProcess makes the process in a record the current process of p, if a mate has received
// a later beat of it, and reports whether it did so. A restored process may have been replaced
// while this collector was away: then the restart has been reported already.
func (t *Tracker) learnProcess(p *peer, r *Record, heard time.Duration, now time.Time) bool {
	if p.state.over() && !r.State.over() { // if the peer is alive, words report that
		return false
	}
	replaced := slices.ContainsFunc(r.Others, func(o Other) bool { return p.ident != (Process{}) && p.ident.is(o.Process) })
	followed := p.foreign() && heard >= p.lastHeard()-sameRecord // according to the previous Word
	later := replaced || followed || heard > p.lastHeard()+sameBeat && !r.unsure()
	if !later || p.process.ident.is(r.Process) || p.nameless() {
		return false
	}
	b := Beat{ID: p.id(), Addr: p.addr, Process: r.Process, Run: r.Speaker, Interval: r.Interval, Margin: r.Margin, Watched: r.Watched}
	if r.State.over() && p.formerOf(&b) != nil {
		return false // the record holds the delayed end of a process that has been replaced
	}
	o, match := t.identify(p, &b, heard)
	t.copyBeat(p, o, &b, heard, now)
	o.watched = r.Watched
	if !p.asRestored() {
		t.emitEvent(p, p.countRestart(match), p.addr, now)
	}
	return true
}

// unsure reports whether r contains an end from before a restart of the mate: that end may be
// longer ago than it seems.
func (r *Record) unsure() bool { return r.Extended && r.State.over() }

// lacksEnd reports whether r contains an end of the process of p that is not known here.
func (t *Tracker) lacksEnd(p *peer, r *Record, heard, since time.Duration, another bool) bool {
	switch {
	case !r.State.over(), p.wasOverdue(r.State, heard):
		return false
	case another:
		return true
	}
	explicit := r.Reason.reported() && (r.EndedBy != "" || since-heard < time.Second) // otherwise the peer fell silent within a window
	reported := explicit && (t.isRecent(p, since) || r.State == p.state)
	return reported && (p.state != r.State || !p.reason.reported())
}

// learnEnd notes that p has ended while this collector was away. That end has been reported
// already.
func (t *Tracker) learnEnd(p *peer, r *Record, since time.Duration, now time.Time) {
	t.put(p, r.State, r.Reason)
	p.reported, p.reportedApart, p.since, p.sinceUTC = r.State, false, since, r.Since.UnixNano()
	t.noteVerdictTime(p, r.State, t.verdict(now))
	p.setExit(r.ExitCode, r.HasExitCode)
	t.learnEndLife(p, r)
	t.learnWindow(p, r, now)
	p.mergeTotals(r)
	p.changed = true
}

// mergeTotals sets each total and each count of events of p to the larger value of p and r. If
// the states differ, it does nothing, because one side has not counted the change yet.
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
	p.setTrail(p.trail.merged(r.Events))
}

// knowsMore reports whether this collector knows events of p that a record of a mate does not
// contain.
func (p *peer) knowsMore(r *Record) bool {
	if p.differs(r.State, r.Reason) {
		return true
	}
	return p.state == r.State && (p.Deaths > r.Deaths || p.trail != r.Events)
}

// differs reports whether p has ended both here and according to a mate, but in different
// ways.
func (p *peer) differs(state State, reason Reason) bool {
	return p.state.over() && state.over() && !p.endedAs(state, reason)
}

// agree adopts the end of p from a record, if that end counts more than the one known here. If
// two collectors differ, exactly one of them adopts the end of the other.
func (t *Tracker) agree(p *peer, r *Record, heard, since time.Duration, now time.Time) {
	counts := t.endsBefore(p, r, heard, since)
	p.heard = max(p.heard, heard) // all collectors end up with the same time, so that they do not keep correcting each other
	if counts {
		t.adoptEnd(p, r, since, now)
	}
}

// endedAs reports whether p has ended in the way that a mate reports. All reasons for a death
// by silence count as the same.
func (p *peer) endedAs(state State, reason Reason) bool {
	return p.state == state && p.reason.weight() == reason.weight()
}

// weight decides which of two ends of one process counts: a reported end outweighs an
// inferred one, and a broken promise outweighs both.
func (r Reason) weight() int {
	return slices.Index([]Reason{ReasonFinished, ReasonLeaving, ReasonExited, ReasonOverdue}, r)
}

// endsBefore reports whether the end of p in a record counts more than the end known here.
// It does if it is the end of a later process, of a later run of the sender, or of a process
// that has certainly beaten later, or if its reason has more weight.
func (t *Tracker) endsBefore(p *peer, r *Record, heard, since time.Duration) bool {
	one, oneBoot := p.process.ident.is(r.Process), p.ident.Boot != "" && p.ident.Boot == r.Process.Boot
	switch {
	case !one && oneBoot && p.ident.Start != r.Process.Start:
		return p.ident.Start < r.Process.Start
	case one && p.surelyFollowed(r.endedBy()):
		return false
	case one && p.life == lifeOf(r.Speaker):
		return p.lifeEndsBefore(r, heard, since)
	case one && len(r.Runs) > 1 && lifeOf(r.Runs[1].Name) == p.life:
		return true
	}
	if ours, theirs := r.knows(p.ident), p.knows(r.Process); !one && ours != theirs {
		return ours
	}
	if p.extended != r.Extended { // one of the ends is from before a restart: it may be longer ago than it seems
		return p.extended
	}
	if later, earlier := heard > p.heard+sameEnd, p.heard-t.doubt(p) > heard+sameEnd; later != earlier {
		return later
	}
	return p.weighsLess(r)
}

// knows reports whether o is a former process of p.
func (p *peer) knows(o Process) bool {
	return slices.ContainsFunc(p.formers, func(former *former) bool { return former.ident.is(o) })
}

// knows reports whether o was a process of the peer of r before the current one.
func (r *Record) knows(o Process) bool {
	return slices.ContainsFunc(r.Others, func(other Other) bool { return other.Process.is(o) })
}

// lifeEndsBefore is endsBefore for two ends reported by one run of a sender. Beats that
// arrive after the reported end were sent before it, unless they keep arriving for a long
// time.
func (p *peer) lifeEndsBefore(r *Record, heard, since time.Duration) bool {
	switch {
	case p.reason.reported() && r.Reason.inferred():
		return heard > p.since+backlog
	case p.reason.inferred() && r.Reason.reported():
		return p.heard <= since+backlog
	case (since - p.since).Abs() > backlog: // two different ends, not two reports of one
		return since > p.since
	}
	return p.weighsLess(r)
}

// weighsLess reports whether the reason of p counts less than the reason in r.
func (p *peer) weighsLess(r *Record) bool {
	if ours, theirs := p.reason.weight(), r.Reason.weight(); ours != theirs {
		return ours < theirs
	}
	return p.state < r.State
}

// adoptEnd replaces the end of p and its time with those that a mate reports.
func (t *Tracker) adoptEnd(p *peer, r *Record, since time.Duration, now time.Time) {
	if !p.process.ident.is(r.Process) {
		p.process.ident, p.process.life = r.Process, lifeOf(r.Speaker)
	}
	p.setExit(r.ExitCode, r.HasExitCode)
	t.learnWindow(p, r, now)
	t.become(p, r.State, r.Reason, now)
	p.reason, p.since, p.reportedApart, p.sinceUTC, p.changed = r.Reason, since, false, r.Since.UnixNano(), true
	t.learnEndLife(p, r)
	p.mergeTotals(r)
}

// endedBy returns the run of the sender that last reported on the peer of r.
func (r *Record) endedBy() string { return cmp.Or(r.EndedBy, lifeOf(r.Speaker)) }

// learnEndLife notes which run of a sender has, according to r, reported the end of p.
func (t *Tracker) learnEndLife(p *peer, r *Record) {
	if t.opts.Mates && (r.EndedBy != "" || p.elsewhere != nil) {
		e := p.editElsewhere()
		e.endLife, e.endAt = r.EndedBy, p.since
	}
}

// noteLife notes that another run of a sender beats for p.
func (t *Tracker) noteLife(p *peer, life string, now time.Time) {
	if !t.opts.Mates || p.life == "" || p.life == life {
		return
	}
	e := p.editElsewhere()
	e.livesBefore = slices.DeleteFunc(e.livesBefore, func(before string) bool { return before == life || before == p.life })
	e.livesBefore = append(e.livesBefore, p.life)
	e.livesBefore = e.livesBefore[max(len(e.livesBefore)-maxLives, 0):]
	e.lifeAt = now.Sub(t.epoch)
}

// followed reports whether a later run of the sender of p has followed the given one, and
// whether that is certain: the later run has beaten again, or its connection is open. Until
// then, a report of the earlier run may still be on its way to a mate. A one-shot sender
// beside the daemon does not count as a later run.
func (p *peer) followed(life string) (ok, sure bool) {
	e := p.elsewhere
	if e == nil || life == "" || life == p.life || !slices.Contains(e.livesBefore, life) {
		return false, false
	}
	stands := p.hasConn() && p.link.from >= e.lifeAt
	return true, stands || p.lastBeatAnywhere()-e.lifeAt >= p.span()/2
}

// surelyFollowed reports whether another run has certainly followed the given one.
func (p *peer) surelyFollowed(life string) bool {
	_, sure := p.followed(life)
	return sure
}

// noteDoubtfulGoodbye notes a goodbye from a run of a sender that another run has probably
// followed. If no more beats of p arrive, p has ended with this goodbye.
func (p *peer) noteDoubtfulGoodbye(life string, reason Reason, at time.Duration) {
	if before, sure := p.followed(life); before && !sure && reason != ReasonExited {
		p.elsewhere.goodbye, p.elsewhere.goodbyeAt = reason, at
	}
}

// doubtfulGoodbye returns the reason that noteDoubtfulGoodbye has noted, if there is one.
func (p *peer) doubtfulGoodbye() (reason Reason, ok bool) {
	if e := p.elsewhere; e != nil && e.goodbye != ReasonNone {
		return e.goodbye, true
	}
	return ReasonNone, false
}

// isLate reports whether b was sent before the latest report of a mate about p.
func (p *peer) isLate(b *Beat, at time.Duration) bool {
	if b.Status != SaysAlive && p.process.is(b) {
		return p.surelyFollowed(b.life())
	}
	return p.sentBeforeEnd(b, at)
}

// sentBeforeEnd reports whether b is from a process of p whose end was reported to a mate but
// not yet to this collector. Then b was sent before that end, or is that end, and has arrived
// less than a minute later over a slower path.
func (p *peer) sentBeforeEnd(b *Beat, at time.Duration) bool {
	if b.Process.PID == 0 || b.Process.Start == 0 {
		return false
	}
	if o := p.formerOf(b); o != nil && !p.process.is(b) {
		return o.away && o.ended.reported() && o.life == b.life() && at-o.endedAt < backlog
	}
	return false
}

// noteEnd notes whether the end of o, a process of p, was reported to a mate or here.
func (p *peer) noteEnd(o *process, away bool) {
	if o == &p.process && (away || p.elsewhere != nil) {
		p.editElsewhere().endAway = away
	}
	for _, former := range p.formers {
		if o == &former.process {
			former.away = away
		}
	}
}

// promisedAt returns the time at which the promise of p was made, changed, kept or withdrawn,
// here or at a mate; -longAgo if there was none.
func (p *peer) promisedAt() time.Duration {
	if p.elsewhere == nil {
		return -longAgo
	}
	return p.elsewhere.promiseAt
}

// promisedBefore reports whether at is later than the last change of the promise of p known
// here.
func (p *peer) promisedBefore(at time.Duration) bool { return at > p.promisedAt()+sameEnd }

// notePromise notes when the promise of p was last changed.
func (t *Tracker) notePromise(p *peer, at time.Duration) {
	if t.opts.Mates {
		p.editElsewhere().promiseAt = at
		p.changed = true
	}
}

// endPromise closes the window of p, if it has one: the promise was kept or withdrawn.
func (t *Tracker) endPromise(p *peer, at time.Duration) {
	if p.windowV > 0 {
		p.closeWindow()
		t.notePromise(p, at)
	}
}

// learnPromise copies the promise of p from a record, if the mate knows a later change of the
// promise.
func (t *Tracker) learnPromise(p *peer, r *Record, at time.Duration, now time.Time) {
	if r.Promise.IsZero() || !p.promisedBefore(at) {
		return
	}
	if r.Window > 0 {
		p.setWindow(t.verdict(now)+r.Window, lifeOf(r.WindowBy))
		p.editPast().shared = r.Shared
	} else {
		p.closeWindow()
	}
	t.notePromise(p, at)
}

// If the host of p made the promise, learnWindow opens the window of p until the end that a
// mate reports.
func (t *Tracker) learnWindow(p *peer, r *Record, now time.Time) {
	if r.Promise.IsZero() && r.Window > 0 && p.windowV == 0 {
		p.setWindow(t.verdict(now)+r.Window, lifeOf(r.WindowBy))
		p.editPast().shared = r.Shared
	}
}
