// Package liveness decides who is alive. It is a state machine: beats, ends
// of connections and ticks of a clock go in, transitions come out. Time is an
// argument of every call; the package holds no clock, no lock, no goroutine,
// no socket and no logger, and knows nothing of bytes or metrics.
//
// Silence is measured on the verdict clock, which goes on only while the
// collector was really listening. A process that was stopped, a machine that
// was suspended or starved therefore declares nobody dead.
package liveness

import "time"

const (
	// TickInterval is how often Tick wants to be called.
	TickInterval = 100 * time.Millisecond
	// maxTick is the most that one tick adds to the verdict clock. What is
	// beyond it the collector did not listen.
	maxTick = 2 * TickInterval

	forgetNameless = time.Hour
	conflictPause  = time.Minute
)

// Options are the rules of the operator.
type Options struct {
	DeadAfter    time.Duration // silence allowed to who declares no interval; >= MinSilence
	MaxDeadAfter time.Duration // ceiling for who does; 0 for none, else >= MinSilence
	MissedBeats  int           // beats that may be missed; >= 1

	ForgetDead time.Duration // 0 for never
	ForgetLeft time.Duration // 0 for never

	MaxPeers          int // > 0
	MaxBeatsPerSecond int // of one peer; 0 for as many as stamps allow
}

// A Tracker holds what is believed of each peer. Its methods may not be called
// concurrently. Slices that they return are valid until the next call.
type Tracker struct {
	opts     Options
	epoch    time.Time
	tick     time.Duration // when the last tick was
	tickV    time.Duration // the verdict clock at that tick
	ticks    uint64
	stalled  time.Duration // what the verdict clock left out
	earliest time.Duration // nobody's wake is before

	peers  map[ID]*peer
	order  []*peer
	wake   []time.Duration // of order[i], on the verdict clock
	vacant vacancies
	counts [len(States)]int

	conns  map[ConnID]*peer // the first in the list of each connection
	quiet  bool             // what happens is told at the next tick
	untold []*peer          // of whom something is to be told then

	out []Transition
}

// New returns a Tracker that knows nobody and listens from now on.
func New(opts Options, now time.Time) *Tracker {
	return &Tracker{
		opts: opts, epoch: now, ticks: 1, earliest: never,
		peers: make(map[ID]*peer), vacant: make(vacancies), conns: make(map[ConnID]*peer),
	}
}

// Len returns how many peers are known.
func (t *Tracker) Len() int { return len(t.order) }

// Count returns how many peers are in state s.
func (t *Tracker) Count(s State) int { return t.counts[s] }

// Stalled returns how long the collector did not listen though it ran.
func (t *Tracker) Stalled() time.Duration { return t.stalled }

// Silence returns what is allowed to a peer that declares interval.
func (t *Tracker) Silence(interval time.Duration) Silence { return t.opts.Silence(interval) }

// Tick advances the verdict clock and returns what time has changed. A peer
// past its deadline is dead at the second tick in a row that finds it so: what
// was already received when the first one came is observed in between.
func (t *Tracker) Tick(now time.Time) []Transition {
	t.out = t.out[:0]
	at := now.Sub(t.epoch)
	step := max(at-t.tick, 0)
	t.stalled += max(step-maxTick, 0)
	t.tickV += min(step, maxTick)
	t.tick = at
	t.ticks++
	t.tellUntold(now)
	if t.tickV >= t.earliest {
		t.sweep(now)
	}
	return t.out
}

// sweep looks at every peer whose time has come. It goes from the end because
// forgetting a peer puts the last one in its place.
func (t *Tracker) sweep(now time.Time) {
	t.earliest = never
	for i := len(t.order) - 1; i >= 0; i-- {
		if t.wake[i] > t.tickV {
			t.earliest = min(t.earliest, t.wake[i])
			continue
		}
		t.look(t.order[i], now)
	}
}

// look applies to p what the passing of time means.
func (t *Tracker) look(p *peer, now time.Time) {
	if p.state == Alive && t.tickV >= p.suspectV {
		t.become(p, Suspect, ReasonSilence, now)
	}
	switch {
	case p.state == Suspect && t.tickV >= p.deadV:
		if t.secondTick(p) {
			t.end(p, ReasonSilence, now)
		}
	case p.state == Left && p.windowV > 0 && t.tickV >= p.windowV:
		if p.windowV = t.windowV(p); t.tickV < p.windowV {
			break // its host has asked for more
		}
		if t.secondTick(p) {
			p.windowV = 0
			t.become(p, Dead, ReasonOverdue, now)
		}
	case t.tickV >= p.forgetV(&t.opts):
		t.forget(p, now)
		return
	}
	t.rewake(p)
}

func (t *Tracker) secondTick(p *peer) bool {
	again := p.dueTick == t.ticks-1
	p.dueTick = t.ticks
	return again
}

// end tells that p has ended without a goodbye. Within a window that it or
// its host asked for, that is what was announced.
func (t *Tracker) end(p *peer, reason Reason, now time.Time) {
	if window := t.windowV(p); window > t.verdict(now) {
		p.windowV = window
		t.become(p, Left, ReasonLeaving, now)
		return
	}
	t.become(p, Dead, reason, now)
}

// windowV returns when the promise ends that holds for p: its own, or the one
// of its host.
func (t *Tracker) windowV(p *peer) time.Duration {
	window := p.windowV
	if host := t.peers[ID{Source: p.id.Source, Service: HostService}]; host != nil {
		window = max(window, host.windowV)
	}
	return window
}

// verdict returns the verdict clock.
func (t *Tracker) verdict(now time.Time) time.Duration {
	return t.tickV + min(max(now.Sub(t.epoch)-t.tick, 0), maxTick)
}

// become is the only place where a state changes.
func (t *Tracker) become(p *peer, state State, reason Reason, now time.Time) {
	if p.state == state {
		return
	}
	at := now.Sub(t.epoch)
	if p.state == Dead {
		p.deadFor += at - p.since
		p.noteChange(at)
	}
	if state == Dead {
		p.Deaths++
		p.noteChange(at)
		t.vacant.add(p)
	}
	t.counts[p.state]--
	t.counts[state]++
	p.state, p.reason = state, reason
	p.since, p.sinceV, p.sinceUTC = at, t.verdict(now), now.UnixNano()
	if t.quiet {
		if !p.untold {
			p.untold = true
			t.untold = append(t.untold, p)
		}
		return
	}
	t.announce(p, now)
}

// tellUntold tells what became of peers that send too much: once a tick at
// the most, so that nobody floods the outputs.
func (t *Tracker) tellUntold(now time.Time) {
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
	tr.View = t.viewOf(p, now)
	t.out = append(t.out, tr)
}

func (t *Tracker) forget(p *peer, now time.Time) {
	t.become(p, Unknown, ReasonForgotten, now)
	t.vacant.remove(p)
	t.leaveConn(p)
	delete(t.peers, p.id)
	last := len(t.order) - 1
	t.order[p.index], t.wake[p.index] = t.order[last], t.wake[last]
	t.order[p.index].index = p.index
	t.order[last] = nil
	t.order, t.wake = t.order[:last], t.wake[:last]
	t.counts[Unknown]--
}

// rewake sets when p is to be looked at again.
func (t *Tracker) rewake(p *peer) {
	t.wake[p.index] = p.wakeV(&t.opts)
	t.earliest = min(t.earliest, t.wake[p.index])
}
