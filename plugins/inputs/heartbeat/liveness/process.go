// The processes of a peer and their connections. One process holds the place of its
// peer, as a rule the one heard last that is new; those whose place was taken are
// remembered, as they may live on beside it: a conflict of two machines, or two runs
// of one job. Silence is over for the peer when it is over for the last that lives.

package liveness

import (
	"slices"
	"time"
)

// maxFormers is how many processes of one peer are remembered beside the one
// that holds its place.
const maxFormers = 8

// A process is one process of a peer, with all that its beats say of it and all
// that its connections show. Nothing of that is ever believed of another process,
// though both have one name: the silence, the interval and the end of each are its
// own (docs/decisions/0017).
type process struct {
	ident    Process
	life     string        // of the sender that beats for it; empty if it names none
	interval time.Duration // as declared; 0 if not
	margin   time.Duration // likewise
	schedule schedule      // of that interval
	heard    time.Duration // last beat
	heardV   time.Duration // <= tickV + maxTick
	suspectV time.Duration // when silence makes it suspect; <= deadV
	deadV    time.Duration // when silence makes it dead
	evidence Reason        // of its silence
	watched  bool          // from outside: the end of its connection proves nothing about it
	extended bool          // its silence has outlived a collector, and got one interval more for that
	verified bool          // its latest beat was signed, or a certificate named its host
	connless bool          // its latest beat came over no connection
	lostLong bool          // a long connection has ended since its latest beat
	cutLong  bool          // likewise, and the collector has ended it
	links    *link         // the connections over which it beats, the latest first: at most maxLinks, each once
	loss     *loss         // how it fell silent, if that says more than its silence: loss.evidence == evidence
}

// A former is a process that held the place of its peer before. It lives on if it
// beats, has a connection or is presumed to; one that has ended does neither beat
// nor is presumed to live, and is remembered so that a second report of its end is
// none.
type former struct {
	process
	replaced time.Duration // when another one took the place
	beatsOn  bool          // it has beaten since
	presumed bool          // its watcher, which has no connection or has lost it with another collector, has not reported its end
	ended    Reason        // how, if that was reported; ReasonNone while it lives
}

// is reports whether b is about the process o. A sender that beats for itself is
// another process in each of its lives, even where all of them are pid 1 of one
// container: it starts anew within the tolerance of Process. What is watched may be
// the same in several lives of its watchers, which read its start from the system,
// to the tick.
func (o *process) is(b *Beat) bool {
	if !o.ident.is(b.Process) {
		return false
	}
	reborn := o.ident.PID != 0 && o.ident.PID == b.Process.PID && o.life != b.life() && o.life != "" && b.life() != ""
	told := o.ident.Start != 0 && b.Process.Start != 0
	if told {
		return !reborn || o.ident.Start == b.Process.Start
	}
	return !reborn || o.watched || b.Watched
}

// bySame reports whether b comes from the sender that has beaten for o: of two
// processes that one sender names in turn only the latter lives.
func (o *process) bySame(b *Beat) bool {
	if o.life != "" || b.life() != "" {
		return o.life == b.life()
	}
	return o.over(b.Conn) != nil
}

// lives reports whether a former process lives beside the one that holds the place:
// it beats, or has a connection, or nothing was said of its end.
func (o *former) lives() bool { return o.beatsOn || o.presumed || o.links != nil }

// span is within how long a process that lives is expected to beat: it has
// declared that, or it is guessed.
func (o *process) span(terms *Terms) time.Duration {
	if o.interval > 0 {
		return o.interval
	}
	return min(terms.DeadAfter/4, time.Minute)
}

func (p *peer) span() time.Duration { return p.process.span(p.terms) }

// bodies returns the process that holds the place of p and all others.
func (p *peer) processes(yield func(*process) bool) {
	if !yield(&p.process) {
		return
	}
	for _, o := range p.formers {
		if !yield(&o.process) {
			return
		}
	}
}

// living returns the others of p that live.
func (p *peer) living(yield func(*former) bool) {
	for _, o := range p.formers {
		if o.lives() && !yield(o) {
			return
		}
	}
}

// other returns the remembered process that b is about, or nil.
func (p *peer) formerOf(b *Beat) *former {
	for _, o := range p.formers {
		if o.is(b) {
			return o
		}
	}
	return nil
}

// latest returns the latest of what holds for each process of p that may live.
func (p *peer) latest(of func(*process) time.Duration) time.Duration {
	latest := of(&p.process)
	for o := range p.living {
		latest = max(latest, of(&o.process))
	}
	return latest
}

// lastHeard returns when any process of p was heard last.
func (p *peer) lastHeard() time.Duration {
	return p.latest(func(o *process) time.Duration { return o.heard })
}

// lastHeardV is lastHeard on the verdict clock.
func (p *peer) lastHeardV() time.Duration {
	return p.latest(func(o *process) time.Duration { return o.heardV })
}

// suspicionV returns when silence makes p suspect: all its processes, here and at mates.
func (p *peer) suspicionV() time.Duration {
	if e := p.elsewhere; e != nil {
		return max(p.ownSuspicionV(), e.suspectV)
	}
	return p.ownSuspicionV()
}

// ownSuspicionV is suspicionV by what was heard here alone.
func (p *peer) ownSuspicionV() time.Duration {
	return p.latest(func(o *process) time.Duration { return o.suspectV })
}

// deadlineV returns when silence makes p dead: the last of its processes, here and at
// mates.
func (p *peer) deadlineV() time.Duration {
	deadV := p.latest(func(o *process) time.Duration { return o.deadV })
	if e := p.elsewhere; e != nil {
		deadV = max(deadV, e.deadV)
	}
	return deadV
}

// takePlace lets the process of b take the place of the one that holds it, which is
// remembered. What was learnt of the schedule holds for the new one.
func (t *Tracker) takePlace(p *peer, b *Beat, at time.Duration) {
	old := t.asFormer(p, at)
	gone := old.ended != ReasonNone || old.bySame(b) || old.ident.rebooted(b.Process)
	if gone {
		t.unlink(&old.process)
	}
	old.presumed = !gone && (old.connless || old.extended) && old.watched && old.life != ""
	if p.id.Nameless() { // another pid has another name
		t.unlink(&old.process)
		t.clearLoss(&old.process)
	} else {
		t.addFormer(p, old)
	}
	p.process = process{
		ident: b.Process, life: b.life(), interval: old.interval, schedule: old.schedule,
		heard: old.heard, heardV: old.heardV, suspectV: old.suspectV, deadV: old.deadV, evidence: ReasonSilence,
	}
}

// asFormer returns the process that holds the place of p as a former one. If p has
// ended, so has it.
func (t *Tracker) asFormer(p *peer, at time.Duration) *former {
	o := &former{process: p.process, replaced: at}
	if p.state.over() {
		t.endFormer(o, p.reason)
	}
	return o
}

// addFormer adds o to the formers of p, in place of one that does not live or else
// of the one replaced first.
func (t *Tracker) addFormer(p *peer, o *former) {
	past := p.editPast()
	if len(past.formers) == maxFormers {
		at := max(slices.IndexFunc(past.formers, func(o *former) bool { return !o.lives() }), 0)
		t.forgetFormer(p, past.formers[at])
	}
	past.formers = append(past.formers, o)
	p.changed = true
}

// addEnded adds to the formers of p one that was not known before it ended, if none
// that lives has to be forgotten for it.
func (t *Tracker) addEnded(p *peer, o *process, reason Reason) {
	dead := func(o *former) bool { return !o.lives() }
	if p.id.Nameless() { // another pid has another name
		return
	}
	if len(p.formers) < maxFormers || slices.ContainsFunc(p.formers, dead) {
		t.addFormer(p, &former{process: *o, ended: reason})
	}
}

// forgetFormer forgets a former process, which has ended.
func (t *Tracker) forgetFormer(p *peer, o *former) {
	t.unlink(&o.process)
	t.clearLoss(&o.process)
	past := p.editPast()
	past.formers = slices.DeleteFunc(past.formers, func(x *former) bool { return x == o })
	p.changed = true
}

// retakePlace lets a former process have the place of p again.
func (t *Tracker) retakePlace(p *peer, o *former) {
	holder := t.asFormer(p, o.replaced)
	p.process = o.process
	past := p.editPast()
	past.formers = append(slices.DeleteFunc(past.formers, func(x *former) bool { return x == o }), holder)
	p.changed = true
}

// promote gives the place of p, whose holder has ended, to the former process that
// was heard last of those that live.
func (t *Tracker) promote(p *peer, ended Reason) {
	var next *former
	for o := range p.living {
		if next == nil || o.heard > next.heard {
			next = o
		}
	}
	holder := &former{process: p.process, replaced: next.replaced}
	t.endFormer(holder, ended)
	p.process = next.process
	past := p.editPast()
	past.formers = append(slices.DeleteFunc(past.formers, func(x *former) bool { return x == next }), holder)
	p.changed = true
}

// A link is a connection over which a process of a peer beats. It is in two lists:
// that of its connection, so that the end of it costs no search, and that of its
// process, where no other one is over the same connection. It is cut from both when
// the connection ends.
type link struct {
	conn       ConnID        // never 0
	peer       *peer         // of the process; known
	from       time.Duration // first beat over it
	long       bool          // a beat came over it at least longConn after the first
	prev, next *link         // in the list of the connection; prev is nil for Tracker.conns[conn]
	more       *link         // the one before, in the list of the process
}

// over returns the link of o over conn, or nil.
func (o *process) over(conn ConnID) *link {
	for l := o.links; l != nil; l = l.more {
		if l.conn == conn {
			return l
		}
	}
	return nil
}

// holder returns the process that has the link l.
func (p *peer) holder(l *link) *process {
	for _, o := range p.formers {
		if o.over(l.conn) == l {
			return &o.process
		}
	}
	return &p.process
}

// onLong reports whether p has a long connection.
func (p *peer) onLong() bool {
	for l := p.links; l != nil; l = l.more {
		if l.long {
			return true
		}
	}
	return false
}

// connected reports whether p has a connection.
func (p *peer) connected() bool {
	for o := range p.processes {
		if o.links != nil {
			return true
		}
	}
	return false
}

// hearOver notes that a beat of o, a process of p, came over conn.
func (t *Tracker) hearOver(p *peer, o *process, conn ConnID, at time.Duration) {
	if o.connless = conn == 0; o.connless {
		return
	}
	if l := o.over(conn); l != nil {
		if !l.long && at-l.from >= longConn {
			l.long, p.changed = true, true
		}
		return
	}
	l := &link{conn: conn, peer: p, from: at, next: t.conns[conn], more: o.links}
	if l.next != nil {
		l.next.prev = l
	}
	t.conns[conn], o.links = l, l
	p.changed = t.boundLinks(o) || p.changed
}

// boundLinks forgets the earliest connection of o if it has too many.
func (t *Tracker) boundLinks(o *process) bool {
	count, last := 0, o.links
	for l := o.links; l != nil; l = l.more {
		count, last = count+1, l
	}
	if count > maxLinks {
		t.cut(o, last)
	}
	return count > maxLinks
}

// cut takes l, a link of o, out of its lists.
func (t *Tracker) cut(o *process, l *link) {
	if l.prev != nil {
		l.prev.next = l.next
	} else if l.next != nil {
		t.conns[l.conn] = l.next
	} else {
		delete(t.conns, l.conn)
	}
	if l.next != nil {
		l.next.prev = l.prev
	}
	at := &o.links
	for *at != l {
		at = &(*at).more
	}
	*at = l.more
}

// unlink cuts all links of o.
func (t *Tracker) unlink(o *process) {
	for o.links != nil {
		t.cut(o, o.links)
	}
}
