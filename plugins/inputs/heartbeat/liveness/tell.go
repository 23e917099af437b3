package liveness

import "time"

// become is the only place where a state changes.
func (t *Tracker) become(p *peer, state State, reason Reason, now time.Time) {
	if p.state == state {
		return
	}
	at, before := now.Sub(t.epoch), p.state
	if before == Dead {
		p.remember().deadFor += at - p.since
		p.noteChange(at)
	}
	if state == Dead {
		p.remember().Deaths++
		p.noteChange(at)
		t.vacant.add(p)
	}
	t.put(p, state, reason)
	p.since, p.sinceV, p.sinceUTC = at, t.verdict(now), now.UnixNano()
	t.announceOnce(p, now)
	if p.host.own == p {
		t.lead(p, before, now)
	}
}

// put counts p in another state.
func (t *Tracker) put(p *peer, state State, reason Reason) {
	t.counts[p.state]--
	t.counts[state]++
	if was, is := p.state.over(), state.over(); was && !is {
		p.host.living++
	} else if is && !was {
		p.host.living--
	}
	p.state, p.reason = state, reason
	t.touch(p)
	if p.host.living == 0 {
		t.isolation.speaks(p.host)
	}
}

// announceOnce tells the new state of p: at once, or at the next tick if too
// much is heard from it.
func (t *Tracker) announceOnce(p *peer, now time.Time) {
	switch {
	case !t.quiet:
		t.announce(p, now)
	case !p.untold:
		p.untold = true
		t.untold = append(t.untold, p)
	}
}

// tellUntold tells what became of peers that send too much: once a tick at
// the most, so that nobody floods the outputs.
func (t *Tracker) tellUntold(now time.Time) {
	for _, e := range t.endings {
		e.peer.remember().untoldEnds = 0
		if e.peer.index >= 0 {
			t.tell(e.peer, Transition{Event: Ended, Previous: e.peer.state, Ending: e.ending}, now)
		}
	}
	clear(t.endings)
	t.endings = t.endings[:0]
	for _, p := range t.untold {
		p.untold = false
		t.announce(p, now)
	}
	clear(t.untold)
	t.untold = t.untold[:0]
}

// announce tells the state of p, unless it is the one that was told last.
func (t *Tracker) announce(p *peer, now time.Time) {
	if p.told == p.state {
		return
	}
	change := Transition{Event: Changed, Previous: p.told}
	if p.told != Unknown {
		change.Lasted = p.since - p.toldSince
	}
	p.told, p.toldSince = p.state, p.since
	t.tell(p, change, now)
}

// tell adds a transition that concerns p.
func (t *Tracker) tell(p *peer, tr Transition, now time.Time) {
	t.touch(p)
	tr.View = t.viewOf(p, now)
	t.out = append(t.out, tr)
}

// closeSeries tells the last word of the series under which p was known.
func (t *Tracker) closeSeries(p *peer, now time.Time) {
	t.tell(p, Transition{Event: Changed, Previous: p.state, Lasted: now.Sub(t.epoch) - p.since}, now)
	last := &t.out[len(t.out)-1].View
	last.State, last.Reason = Left, ReasonReplaced
}
