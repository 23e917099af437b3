package liveness

import "time"

// sweep looks at every peer whose time has come, at hosts before those who may
// follow them.
func (t *Tracker) sweep(now time.Time) {
	t.earliest = never
	t.due = t.due[:0]
	for i := len(t.order) - 1; i >= 0; i-- {
		if t.wake[i] <= t.tickV {
			t.due = append(t.due, t.order[i])
		} else {
			t.earliest = min(t.earliest, t.wake[i])
		}
	}
	for _, hosts := range []bool{true, false} {
		for _, p := range t.due {
			if p.index >= 0 && (p.host.own == p) == hosts {
				t.lookAt(p, now)
			}
		}
	}
	clear(t.due)
}

// look applies to p what the passing of time means.
func (t *Tracker) lookAt(p *peer, now time.Time) {
	switch {
	case p.state == Left && p.windowV > 0:
		t.lookAtPromise(p, now)
	case t.tickV >= p.forgetV(&t.opts):
		if t.forget(p, now) {
			return
		}
	case !p.state.over() && p.waits():
		t.wakeWithHost(p)
		return
	default:
		t.lookAtFormers(p, now)
		t.lookAtSilence(p, now)
	}
	t.rewake(p)
}

// lookAtPromise looks whether p is back as it promised.
func (t *Tracker) lookAtPromise(p *peer, now time.Time) {
	p.setWindow(p.promiseV(), p.windowBy)
	if t.tickV < p.windowV {
		return // its host has asked for more
	}
	if !t.secondTick(p) || t.putOff(p) {
		return
	}
	dropped := t.dropped(p)
	p.closeWindow()
	if !dropped {
		t.become(p, Dead, ReasonOverdue, now)
	}
}

// lookAtSilence looks at one of whom beats are expected.
func (t *Tracker) lookAtSilence(p *peer, now time.Time) {
	switch {
	case p.state == Alive && t.tickV >= p.suspicionV():
		t.inquire(p, t.tickV)
		t.suspect(p, now)
	case p.reason == ReasonRestored && t.tickV >= p.suspicionV(), p.state == Suspect && t.tickV < p.deadlineV():
		t.countSilent(p, t.tickV) // it was so when another collector stopped
	}
	if t.pastDeadline(p) {
		t.lookAtDeath(p, now)
	}
}

// pastDeadline reports whether the silence of p has been too long, and is its own
// to be judged by.
func (t *Tracker) pastDeadline(p *peer) bool {
	open := p.state == Suspect || p.state == Unknown && p.reason != ReasonIsolated && p.reason != ReasonHost
	return open && t.tickV >= p.deadlineV()
}

// lookAtDeath looks at one whose silence has been too long.
func (t *Tracker) lookAtDeath(p *peer, now time.Time) {
	proved := p.proves()
	t.inquire(p, t.tickV)
	switch {
	case !t.secondTick(p):
		if proved && !p.proves() {
			t.countSilent(p, t.tickV)
		}
	case p.expected:
		t.become(p, Dead, ReasonNeverSeen, now)
	case t.holds(p):
		t.hold(p, now)
	default:
		t.end(p, p.evidence, now)
	}
}

func (t *Tracker) secondTick(p *peer) bool {
	again := p.dueTick == t.ticks-1
	p.dueTick = t.ticks
	return again
}

// end tells that p has ended without a goodbye. Within a window that it or
// its host asked for, that is what was announced.
func (t *Tracker) end(p *peer, reason Reason, now time.Time) {
	for o := range p.living { // all of them end with it
		t.endFormer(o, o.evidence)
	}
	if window := p.promiseV(); window > t.verdict(now) {
		p.setWindow(window, p.windowBy)
		t.become(p, Left, ReasonLeaving, now)
		return
	}
	t.become(p, Dead, reason, now)
}

// verdict returns the verdict clock.
func (t *Tracker) verdict(now time.Time) time.Duration {
	return t.tickV + min(max(now.Sub(t.epoch)-t.tick, 0), maxTick)
}

// forget gives p up, unless the operator expects it.
func (t *Tracker) forget(p *peer, now time.Time) bool {
	if t.lastExpected(p) {
		p.sinceV = t.tickV // and look again after as long
		return false
	}
	t.become(p, Unknown, ReasonForgotten, now)
	t.remove(p)
	return true
}

// remove takes p, which is unknown, out of everything.
func (t *Tracker) remove(p *peer) {
	if p.expected {
		t.placeholders--
	}
	t.noteGone(p.id)
	t.recount(p, 0)
	t.vacant.remove(p)
	for o := range p.processes {
		t.unlink(o)
		t.clearLoss(o)
	}
	t.counts[Unknown]--
	t.leaveHost(p)
	t.forgetAliases(p)
	last := len(t.order) - 1
	t.order[p.index], t.wake[p.index] = t.order[last], t.wake[last]
	t.order[p.index].index = p.index
	t.order[last] = nil
	t.order, t.wake = t.order[:last], t.wake[:last]
	p.index = -1
}

// wakeWithHost sets when p is to be looked at that waits for its host: when its
// own silence is over, then when the host is heard or its silence is over too.
func (t *Tracker) wakeWithHost(p *peer) {
	wake := p.deadlineV()
	if wake <= t.tickV {
		wake = max(p.host.own.deadV, t.tickV+TickInterval)
		p.host.waitedFor = true
	}
	t.wakeAt(p, wake)
}

// rewake sets when p is to be looked at again.
func (t *Tracker) rewake(p *peer) {
	t.wakeAt(p, p.wakeV(&t.opts))
}

func (t *Tracker) wakeAt(p *peer, verdict time.Duration) {
	if p.changed {
		t.touch(p)
	}
	t.wake[p.index] = verdict
	t.earliest = min(t.earliest, verdict)
}
