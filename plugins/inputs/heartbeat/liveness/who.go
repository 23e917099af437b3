package liveness

import "time"

// who tells which process of a peer has spoken.
type match uint8

const (
	sameProcess    match = iota // the one that holds the place
	newProcess                  // one not known before; it holds the place from now on
	bootedProcess               // likewise, after a boot of its host
	formerProcess               // one whose place another one has taken that lives
	strangeProcess              // one not known before, whose first word is its end, while another one lives
)

// identify returns the process of p that b is about, and which one that is.
func (t *Tracker) identify(p *peer, b *Beat, at time.Duration) (*process, match) {
	if p.process.is(b) {
		if whole := p.ident.completed(b.Process); whole != p.ident {
			p.ident, p.changed = whole, true
		}
		return &p.process, sameProcess
	}
	if other := p.formerOf(b); other != nil {
		if o, match := t.identifyFormer(p, b, other); o != nil {
			return o, match
		}
	} else if b.Status != SaysAlive && !p.state.over() && !p.bySame(b) {
		return &process{ident: b.Process, life: b.life()}, strangeProcess
	}
	match := newProcess
	if p.ident.rebooted(b.Process) {
		match = bootedProcess
	}
	t.takePlace(p, b, at)
	return &p.process, match
}

// identifyFormer is identify for a beat that is about other, a process that held the
// place of p before. It returns nil if that is over: b begins a new process.
func (t *Tracker) identifyFormer(p *peer, b *Beat, other *former) (*process, match) {
	renamed := p.life != "" && p.life == b.life() // its sender says that it is this one now
	switch {
	case b.Status != SaysAlive || !p.state.over() && !renamed:
		other.ident = other.ident.completed(b.Process)
		return &other.process, formerProcess
	case !renamed && !other.ended.reported():
		t.retakePlace(p, other)
		return &p.process, sameProcess
	}
	t.forgetFormer(p, other)
	return nil, newProcess
}

// note counts what who means and returns the event to tell. A conflict is two
// processes that beat in turn, each within the interval of the other one; it is
// told once a minute.
func (t *Tracker) note(p *peer, b *Beat, match match, at time.Duration) Event {
	switch {
	case p.lone: // one job after another
	case match == newProcess:
		p.editPast().Restarts++
		return Restarted
	case match == bootedProcess:
		p.editPast().Restarts++
		return Rebooted
	case match == formerProcess && b.Status == SaysAlive && at-p.heard <= p.span():
		past := p.editPast()
		t.noteMishaps(p, &past.Conflicts, 1)
		if past.Conflicts == 1 || at-past.conflictTold >= conflictPause {
			past.conflictTold = at
			return Conflict
		}
	}
	return noEvent
}
