package liveness

import "time"

// who tells which process of a peer has spoken.
type who uint8

const (
	sameOne    who = iota // the one that holds the place
	newOne                // one not known before; it holds the place from now on
	bootedOne             // likewise, after a boot of its host
	formerOne             // one whose place another one has taken that lives
	strangeOne            // one not known before, whose first word is its end, while another one lives
)

// identify returns the process of p that b is about, and which one that is.
func (t *Tracker) identify(p *peer, b *Beat, at time.Duration) (*body, who) {
	if p.body.is(b) {
		if whole := p.process.completed(b.Process); whole != p.process {
			p.process, p.changed = whole, true
		}
		return &p.body, sameOne
	}
	if other := p.other(b); other != nil {
		if o, who := t.identifyOther(p, b, other); o != nil {
			return o, who
		}
	} else if b.Status != SaysAlive && !p.state.over() && !p.bySame(b) {
		return &body{process: b.Process, life: b.life()}, strangeOne
	}
	who := newOne
	if p.process.rebooted(b.Process) {
		who = bootedOne
	}
	t.displace(p, b, at)
	return &p.body, who
}

// identifyOther is identify for a beat that is about other, a process that held the
// place of p before. It returns nil if that is over: b begins a new process.
func (t *Tracker) identifyOther(p *peer, b *Beat, other *other) (*body, who) {
	renamed := p.life != "" && p.life == b.life() // its sender says that it is this one now
	switch {
	case b.Status != SaysAlive || !p.state.over() && !renamed:
		other.process = other.process.completed(b.Process)
		return &other.body, formerOne
	case !renamed && !other.ended.reported():
		t.takeBack(p, other)
		return &p.body, sameOne
	}
	t.dismiss(p, other)
	return nil, newOne
}

// note counts what who means and returns the event to tell. A conflict is two
// processes that beat in turn, each within the interval of the other one; it is
// told once a minute.
func (t *Tracker) note(p *peer, b *Beat, who who, at time.Duration) Event {
	switch {
	case p.lone: // one job after another
	case who == newOne:
		p.remember().Restarts++
		return Restarted
	case who == bootedOne:
		p.remember().Restarts++
		return Rebooted
	case who == formerOne && b.Status == SaysAlive && at-p.heard <= p.span():
		past := p.remember()
		t.noteMishaps(p, &past.Conflicts, 1)
		if past.Conflicts == 1 || at-past.conflictTold >= conflictPause {
			past.conflictTold = at
			return Conflict
		}
	}
	return noEvent
}
