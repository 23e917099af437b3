package liveness

import "time"

// who tells which process of a peer has beaten.
type who uint8

const (
	sameOne   who = iota // the one that holds the place
	newOne               // one not known before; it holds the place from now on
	bootedOne            // likewise, after a boot of its host
	formerOne            // the one before, while the present one lives
)

func (t *Tracker) identify(p *peer, b *Beat, now time.Time) who {
	at := now.Sub(t.epoch)
	switch {
	case p.process.is(b.Process):
		if whole := p.process.completed(b.Process); whole != p.process {
			p.process, p.changed = whole, true
		}
		p.processHeard = at
		t.locate(p, b.Addr, now)
		return sameOne
	case p.hasFormer && p.former.is(b.Process) && at-p.processHeard <= p.span():
		return formerOne
	}
	rebooted := p.process.rebooted(b.Process)
	past := p.remember()
	past.former, past.hasFormer = p.process, true
	p.process, p.processHeard = b.Process, at
	t.locate(p, b.Addr, now)
	p.closeWindow() // it is back
	if rebooted {
		return bootedOne
	}
	return newOne
}

// eventOf counts what who means and returns the event to tell. A conflict is
// told once a minute; an end that the former one told is none.
func (t *Tracker) eventOf(p *peer, b *Beat, who who, now time.Time) Event {
	at := now.Sub(t.epoch)
	switch {
	case who == newOne:
		p.remember().Restarts++
		return Restarted
	case who == bootedOne:
		p.remember().Restarts++
		return Rebooted
	case who == formerOne && b.Status == SaysAlive:
		past := p.remember()
		t.noteMishaps(p, &past.Conflicts, 1)
		if past.Conflicts == 1 || at-past.conflictTold >= conflictPause {
			past.conflictTold = at
			return Conflict
		}
	}
	return noEvent
}
