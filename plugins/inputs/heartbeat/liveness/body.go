package liveness

import (
	"slices"
	"time"
)

// maxOthers is how many processes of one peer are remembered beside the one
// that holds its place.
const maxOthers = 8

// A body is one process of a peer, with all that its beats say of it and all
// that its connections tell. Nothing of that is ever believed of another
// process, though both have one name.
type body struct {
	process  Process
	life     string        // of the sender that beats for it
	interval time.Duration // as declared; 0 if not
	margin   time.Duration // likewise
	schedule schedule
	heard    time.Duration // last beat
	heardV   time.Duration
	suspectV time.Duration // when silence makes it suspect
	deadV    time.Duration // when silence makes it dead
	evidence Reason        // of its silence
	watched  bool          // its connection proves nothing about it
	extended bool          // its silence has outlived a collector
	loose    bool          // its latest beat came over no connection
	lostLong bool          // a long connection has ended since its latest beat
	cutLong  bool          // likewise, and we have ended it
	links    *link         // the connections over which it beats that have not ended, the latest first
	loss     *loss         // how it was last lost; nil once it is heard again
}

// An other is a process that held the place of its peer before.
type other struct {
	body
	replaced time.Duration // when another one took the place
	insists  bool          // it has beaten since
	stands   bool          // its watcher, which has no connection or has lost it with another collector, has not said that it ended
	ended    Reason        // how, if that was told
}

// is reports whether b is about the process o. A sender that beats for itself is
// another process in each of its lives, even where all of them are pid 1 of one
// container: it starts anew within the tolerance of Process. What is watched may be
// the same in several lives of its watchers, which read its start from the system,
// to the tick.
func (o *body) is(b *Beat) bool {
	if !o.process.is(b.Process) {
		return false
	}
	reborn := o.process.PID != 0 && o.process.PID == b.Process.PID && o.life != b.life() && o.life != "" && b.life() != ""
	told := o.process.Start != 0 && b.Process.Start != 0
	if told {
		return !reborn || o.process.Start == b.Process.Start
	}
	return !reborn || o.watched || b.Watched
}

// bySame reports whether b comes from who has beaten for o: of two processes
// that one sender names in turn only the latter lives.
func (o *body) bySame(b *Beat) bool {
	if o.life != "" || b.life() != "" {
		return o.life == b.life()
	}
	return o.over(b.Conn) != nil
}

// lives reports whether an other lives beside the one that holds the place: it
// beats, or its connection stands, or nothing has been said of its end.
func (o *other) lives() bool { return o.insists || o.stands || o.links != nil }

// span is within how long a process that lives is expected to beat: it has
// declared that, or it is guessed.
func (o *body) span(terms *Terms) time.Duration {
	if o.interval > 0 {
		return o.interval
	}
	return min(terms.DeadAfter/4, time.Minute)
}

func (p *peer) span() time.Duration { return p.body.span(p.terms) }

// living returns the others of p that live.
func (p *peer) living(yield func(*other) bool) {
	for _, o := range p.others {
		if o.lives() && !yield(o) {
			return
		}
	}
}

// latest returns the latest of what holds for each process of p that may live.
func (p *peer) latest(of func(*body) time.Duration) time.Duration {
	latest := of(&p.body)
	for o := range p.living {
		latest = max(latest, of(&o.body))
	}
	return latest
}

// lastHeard returns when any process of p was heard last.
func (p *peer) lastHeard() time.Duration {
	return p.latest(func(o *body) time.Duration { return o.heard })
}

// lastHeardV is lastHeard on the verdict clock.
func (p *peer) lastHeardV() time.Duration {
	return p.latest(func(o *body) time.Duration { return o.heardV })
}

// suspicionV returns when silence makes p suspect: all its processes.
func (p *peer) suspicionV() time.Duration {
	return p.latest(func(o *body) time.Duration { return o.suspectV })
}

// deadlineV returns when silence makes p dead: the last of its processes.
func (p *peer) deadlineV() time.Duration {
	return p.latest(func(o *body) time.Duration { return o.deadV })
}

// connected reports whether a connection stands over which p beats.
func (p *peer) connected() bool {
	for o := range p.bodies {
		if o.links != nil {
			return true
		}
	}
	return false
}

// bodies returns the process that holds the place of p and all others.
func (p *peer) bodies(yield func(*body) bool) {
	if !yield(&p.body) {
		return
	}
	for _, o := range p.others {
		if !yield(&o.body) {
			return
		}
	}
}

// other returns the remembered process that b is about, or nil.
func (p *peer) other(b *Beat) *other {
	for _, o := range p.others {
		if o.is(b) {
			return o
		}
	}
	return nil
}

// displace lets the process of b take the place of the one that holds it,
// which is remembered. What was learnt of the schedule holds for the new one.
func (t *Tracker) displace(p *peer, b *Beat, at time.Duration) {
	old := t.stepAside(p, at)
	gone := old.ended != ReasonNone || old.bySame(b) || old.process.rebooted(b.Process)
	if gone {
		t.unlink(&old.body)
	}
	old.stands = !gone && (old.loose || old.extended) && old.watched && old.life != ""
	if p.id.Nameless() { // another pid has another name
		t.unlink(&old.body)
	} else {
		t.remember(p, old)
	}
	p.body = body{
		process: b.Process, life: b.life(), interval: old.interval, schedule: old.schedule,
		heard: old.heard, heardV: old.heardV, suspectV: old.suspectV, deadV: old.deadV, evidence: ReasonSilence,
	}
}

// stepAside returns the process that holds the place of p as an other. If p has
// ended, so has it.
func (t *Tracker) stepAside(p *peer, at time.Duration) *other {
	o := &other{body: p.body, replaced: at}
	if p.state.over() {
		t.endOther(o, p.reason)
	}
	return o
}

// remember adds o to the others of p, in place of one that does not live or
// else of the one replaced first.
func (t *Tracker) remember(p *peer, o *other) {
	past := p.remember()
	if len(past.others) == maxOthers {
		at := max(slices.IndexFunc(past.others, func(o *other) bool { return !o.lives() }), 0)
		t.dismiss(p, past.others[at])
	}
	past.others = append(past.others, o)
	p.changed = true
}

// rememberEnded adds to the others of p one that was not known before it ended, if
// none has to be forgotten that lives.
func (t *Tracker) rememberEnded(p *peer, o *body, reason Reason) {
	dead := func(o *other) bool { return !o.lives() }
	if p.id.Nameless() { // another pid has another name
		return
	}
	if len(p.others) < maxOthers || slices.ContainsFunc(p.others, dead) {
		t.remember(p, &other{body: *o, ended: reason})
	}
}

// dismiss forgets an other, which has ended.
func (t *Tracker) dismiss(p *peer, o *other) {
	t.unlink(&o.body)
	t.forgive(&o.body)
	past := p.remember()
	past.others = slices.DeleteFunc(past.others, func(x *other) bool { return x == o })
	p.changed = true
}

// takeBack lets an other have the place of p again.
func (t *Tracker) takeBack(p *peer, o *other) {
	holder := t.stepAside(p, o.replaced)
	p.body = o.body
	past := p.remember()
	past.others = append(slices.DeleteFunc(past.others, func(x *other) bool { return x == o }), holder)
	p.changed = true
}

// promote gives the place of p, whose holder has ended, to the other that was
// heard last of those that live.
func (t *Tracker) promote(p *peer, ended Reason) {
	var next *other
	for o := range p.living {
		if next == nil || o.heard > next.heard {
			next = o
		}
	}
	holder := &other{body: p.body, replaced: next.replaced}
	t.endOther(holder, ended)
	p.body = next.body
	past := p.remember()
	past.others = append(slices.DeleteFunc(past.others, func(x *other) bool { return x == next }), holder)
	p.changed = true
}
