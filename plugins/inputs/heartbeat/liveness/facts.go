// What mates know in full: facts, which are beats that are more than life, and records of
// peers of which their words have shown that more is known there. And ends that differ:
// collectors may take different things for the end of one peer, a goodbye that has reached
// one of them, a silence, the end of the process or of the life of a sender before. They
// settle that; and what comes over a way that took long changes nothing that is known better.
// Nobody's wall clock is asked.

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
	if p != nil {
		p.noteJob(b, at, t.verdict(now)-f.Ago)
		t.rewake(p)
		if b.Begins && !first {
			return t.out
		}
	}
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
		o.unheard, p.lone = true, f.Visit && p.nameless()
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
	switch p = t.lookUp(b.ID); {
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

// HearRecords takes in the records that a mate has of peers, as of ago before now: those of
// which its words said that more is known there.
// It returns the hashes of those of which more is known here: the mate needs their records.
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
	if t.full(r.ID.Source) != Accepted && t.lookUp(r.ID) == nil {
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
	p := t.lookUp(r.ID)
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
	if !later || p.process.ident.is(r.Process) || p.nameless() {
		return false
	}
	b := Beat{ID: p.id(), Addr: p.addr, Process: r.Process, Run: r.Speaker, Interval: r.Interval, Margin: r.Margin, Watched: r.Watched}
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
	p.told, p.toldApart, p.since, p.sinceUTC = r.State, false, since, r.Since.UnixNano()
	t.noteSinceV(p, r.State, t.verdict(now))
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
	p.setTrail(p.trail.merged(r.Events))
}

// knowsMore reports whether more has become of p than a record of a mate says.
func (p *peer) knowsMore(r *Record) bool {
	if p.differs(r.State, r.Reason) {
		return true
	}
	return p.state == r.State && (p.Deaths > r.Deaths || p.trail != r.Events)
}

// differs reports whether p has ended otherwise for a mate.
func (p *peer) differs(state State, reason Reason) bool {
	return p.state.over() && state.over() && !p.endedAs(state, reason)
}

// agree lets p have ended as a record says, if that is known better there. Of two collectors
// that differ one yields, so that they do not for ever.
func (t *Tracker) agree(p *peer, r *Record, heard, since time.Duration, now time.Time) {
	counts := t.endsBefore(p, r, heard, since)
	p.heard = max(p.heard, heard) // the same everywhere in the end, so that none goes round in circles
	if counts {
		t.adoptEnd(p, r, since, now)
	}
}

// endedAs reports whether p has ended as a mate says. How a silence was seen is of no matter.
func (p *peer) endedAs(state State, reason Reason) bool {
	return p.state == state && p.reason.weight() == reason.weight()
}

// weight says which of two ends that collectors tell of one process is the one that counts:
// what was said comes before what was concluded, and a broken promise after that.
func (r Reason) weight() int {
	return slices.Index([]Reason{ReasonFinished, ReasonLeaving, ReasonExited, ReasonOverdue}, r)
}

// endsBefore reports whether a record tells an end of p that counts more than the one that is
// known here: of a later process, of a later life of its sender, of one that was certainly
// heard later, or by its reason.
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
	if p.extended != r.Extended { // one of both is from before a restart: it may be longer ago than it seems
		return p.extended
	}
	if later, earlier := heard > p.heard+sameEnd, p.heard-t.doubt(p) > heard+sameEnd; later != earlier {
		return later
	}
	return p.weighsLess(r)
}

// knows reports whether o has beaten for p before another process took its place.
func (p *peer) knows(o Process) bool {
	return slices.ContainsFunc(p.formers, func(former *former) bool { return former.ident.is(o) })
}

// knows reports whether o had the place of the peer of r before the process that has it.
func (r *Record) knows(o Process) bool {
	return slices.ContainsFunc(r.Others, func(other Other) bool { return other.Process.is(o) })
}

// lifeEndsBefore is endsBefore where both were told by one life of a sender. When it has said
// its end, what is heard of it was on its way, unless it is heard for long.
func (p *peer) lifeEndsBefore(r *Record, heard, since time.Duration) bool {
	switch {
	case p.reason.reported() && r.Reason.inferred():
		return heard > p.since+backlog
	case p.reason.inferred() && r.Reason.reported():
		return p.heard <= since+backlog
	case (since - p.since).Abs() > backlog: // not one end, told otherwise
		return since > p.since
	}
	return p.weighsLess(r)
}

// weighsLess reports whether the reason of a record counts more than that of p.
func (p *peer) weighsLess(r *Record) bool {
	if ours, theirs := p.reason.weight(), r.Reason.weight(); ours != theirs {
		return ours < theirs
	}
	return p.state < r.State
}

// adoptEnd lets p have ended as a mate says, and since then.
func (t *Tracker) adoptEnd(p *peer, r *Record, since time.Duration, now time.Time) {
	if !p.process.ident.is(r.Process) {
		p.process.ident, p.process.life = r.Process, lifeOf(r.Speaker)
	}
	p.setExit(r.ExitCode, r.HasExitCode)
	t.takeWindow(p, r, now)
	t.become(p, r.State, r.Reason, now)
	p.reason, p.since, p.toldApart, p.sinceUTC, p.changed = r.Reason, since, false, r.Since.UnixNano(), true
	t.learnWhoEnded(p, r)
	p.mergeTotals(r)
}

// endedBy returns the life of a sender that was the last one to speak for the peer of r.
func (r *Record) endedBy() string { return cmp.Or(r.EndedBy, lifeOf(r.Speaker)) }

// learnWhoEnded notes which life of a sender has said the end of p that a record tells.
func (t *Tracker) learnWhoEnded(p *peer, r *Record) {
	if t.opts.Mates && (r.EndedBy != "" || p.elsewhere != nil) {
		e := p.editElsewhere()
		e.endLife, e.endAt = r.EndedBy, p.since
	}
}

// noteLife notes that another life of a sender beats for p.
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

// followed reports whether another life of a sender of p has followed on one, and whether that
// is sure: it has beaten again, or its connection stands. What the one before has said may be
// on its way to a mate for longer than that. A job that beats once beside the sender follows
// on nobody.
func (p *peer) followed(life string) (yes, sure bool) {
	e := p.elsewhere
	if e == nil || life == "" || life == p.life || !slices.Contains(e.livesBefore, life) {
		return false, false
	}
	stands := p.overAny() && p.link.from >= e.lifeAt
	return true, stands || p.heardAnywhere()-e.lifeAt >= p.span()/2
}

// surelyFollowed reports whether another life has followed on one, and that is sure.
func (p *peer) surelyFollowed(life string) bool {
	_, sure := p.followed(life)
	return sure
}

// doubtBye notes the goodbye of a life on which another one has probably followed. If nothing
// more is heard of p, that is how it has ended.
func (p *peer) doubtBye(life string, reason Reason, at time.Duration) {
	if before, sure := p.followed(life); before && !sure && reason != ReasonExited {
		p.elsewhere.bye, p.elsewhere.byeAt = reason, at
	}
}

// saidBye returns the reason of such a goodbye.
func (p *peer) saidBye() (reason Reason, yes bool) {
	if e := p.elsewhere; e != nil && e.bye != ReasonNone {
		return e.bye, true
	}
	return ReasonNone, false
}

// isLate reports whether b was sent before what is known of p through mates.
func (p *peer) isLate(b *Beat, at time.Duration) bool {
	if b.Status != SaysAlive && p.process.is(b) {
		return p.surelyFollowed(b.life())
	}
	return p.posthumous(b, at)
}

// posthumous reports whether b is of a process of p whose end a mate was told, and this
// collector not yet: it was sent before that, or is that end, and its way took longer. It has
// taken no more than a minute.
func (p *peer) posthumous(b *Beat, at time.Duration) bool {
	if b.Process.PID == 0 || b.Process.Start == 0 {
		return false
	}
	if o := p.formerOf(b); o != nil && !p.process.is(b) {
		return o.away && o.ended.reported() && o.life == b.life() && at-o.endedAt < backlog
	}
	return false
}

// noteEnd notes whether the end of o, a process of p, was told to a mate or was said here.
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

// promisedAt returns when the promise of p was made, moved, kept or taken back, here or at a
// mate; -longAgo for never.
func (p *peer) promisedAt() time.Duration {
	if p.elsewhere == nil {
		return -longAgo
	}
	return p.elsewhere.promiseAt
}

// promisedBefore reports whether what is known here of the promise of p is older.
func (p *peer) promisedBefore(at time.Duration) bool { return at > p.promisedAt()+sameEnd }

// notePromise notes when something was said of the promise of p.
func (t *Tracker) notePromise(p *peer, at time.Duration) {
	if t.opts.Mates {
		p.editElsewhere().promiseAt = at
		p.changed = true
	}
}

// endPromise closes the window of p, if it has one: the promise was kept or taken back.
func (t *Tracker) endPromise(p *peer, at time.Duration) {
	if p.windowV > 0 {
		p.closeWindow()
		t.notePromise(p, at)
	}
}

// learnPromise lets the promise of p be what a mate says that knows more of it.
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

// takeWindow opens the window of p, which has ended as a mate says, if it has that of its host.
func (t *Tracker) takeWindow(p *peer, r *Record, now time.Time) {
	if r.Promise.IsZero() && r.Window > 0 && p.windowV == 0 {
		p.setWindow(t.verdict(now)+r.Window, lifeOf(r.WindowBy))
		p.editPast().shared = r.Shared
	}
}
