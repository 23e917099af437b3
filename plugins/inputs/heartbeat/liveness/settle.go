// Ends that differ. Collectors may take different things for the end of one peer: a goodbye
// that has reached one of them, a silence, the end of the process or of the life of a sender
// before. They settle that; and what comes over a way that took long changes nothing that is
// known better. Nobody's wall clock is asked.

package liveness

import (
	"cmp"
	"slices"
	"time"
)

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
	p.reason, p.since, p.toldSince, p.sinceUTC, p.changed = r.Reason, since, since, r.Since.UnixNano(), true
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
	stands := p.links != nil && p.links.from >= e.lifeAt
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
