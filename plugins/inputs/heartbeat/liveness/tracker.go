// Package liveness decides who is alive. It is a state machine: beats, ends
// of connections and ticks of a clock go in, transitions come out. Time is an
// argument of every call; the package holds no clock, no lock, no goroutine,
// no socket and no logger, and knows nothing of bytes or metrics.
//
// Silence is measured on the verdict clock, which goes on only while the
// collector was really listening. A process that was stopped, a machine that
// was suspended or starved therefore declares nobody dead.
package liveness

import (
	"net/netip"
	"time"
)

const (
	// TickInterval is how often Tick wants to be called.
	TickInterval = 100 * time.Millisecond
	// maxTick is the most that one tick adds to the verdict clock. What is
	// beyond it the collector did not listen.
	maxTick = 2 * TickInterval

	// afterStall is for how long after a stall what comes is not learnt from,
	// but no longer than the stall.
	afterStall = 5 * time.Second

	forgetNameless = time.Hour
	conflictPause  = time.Minute
)

// Options are the rules of the operator.
type Options struct {
	Terms                                       // for all
	TermsOf func(id ID, addr netip.Addr) *Terms // for some; nil, or what returns nil, leaves them to Terms

	Adaptive   bool          // a margin is stretched by the lateness of its peer
	MinSilence time.Duration // what no silence is shorter than
	ForgetLeft time.Duration // 0 for never

	IsolationPercent int           // more silent hosts than these isolate; 0 for never
	IsolationHold    time.Duration // of a partial silence

	MaxPeers          int // > 0
	MaxBeatsPerSecond int // of one peer; 0 for as many as stamps allow

	Ask func(ConnID) Path // what the kernel knows of a connection; may be nil
}

// A Tracker holds what is believed of each peer. Its methods may not be called
// concurrently. Slices that they return are valid until the next call.
type Tracker struct {
	opts      Options
	epoch     time.Time
	tick      time.Duration // when the last tick was
	tickWall  int64         // likewise, unix ns
	tickV     time.Duration // the verdict clock at that tick
	ticks     uint64
	stalled   time.Duration // what the verdict clock left out
	teachFrom time.Duration // before, no schedule is learnt
	earliest  time.Duration // nobody's wake is before

	peers    map[ID]*peer
	order    []*peer
	wake     []time.Duration // of order[i], on the verdict clock
	due      []*peer         // in a sweep
	bySource map[string]*host
	hosts    []*host
	vacant   vacancies
	counts   [len(States)]int

	isolation    isolation
	expectations []*expectation

	conns  map[ConnID]*peer // the first in the list of each connection
	quiet  bool             // what happens is told at the next tick
	untold []*peer          // of whom something is to be told then

	out []Transition
}

// New returns a Tracker that knows nobody and listens from now on.
func New(opts Options, now time.Time) *Tracker {
	return &Tracker{
		opts: opts, epoch: now, tickWall: now.UnixNano(), ticks: 1, earliest: never,
		peers: make(map[ID]*peer), bySource: make(map[string]*host),
		vacant: make(vacancies), conns: make(map[ConnID]*peer),
	}
}

// Len returns how many peers are known.
func (t *Tracker) Len() int { return len(t.order) }

// Count returns how many peers are in state s.
func (t *Tracker) Count(s State) int { return t.counts[s] }

// Stalled returns how long the collector did not listen though it ran.
func (t *Tracker) Stalled() time.Duration { return t.stalled }

// Isolated tells whether the collector is probably cut off.
func (t *Tracker) Isolated() bool { return t.isolation.on }

// SilenceFor returns what would be allowed to whom b is about, if it were its
// first beat.
func (t *Tracker) SilenceFor(b *Beat) Silence {
	return t.termsOf(b.ID, b.Addr).silence(b.Interval, nil, 0).atLeast(t.opts.MinSilence, b.Interval)
}

// silence returns what is allowed to p.
func (t *Tracker) silence(p *peer) Silence {
	var learnt *schedule
	if t.opts.Adaptive && p.schedule.interval > 0 {
		learnt = &p.schedule
	}
	return p.terms.silence(p.interval, learnt, p.heard).atLeast(t.opts.MinSilence, p.interval)
}

func (t *Tracker) termsOf(id ID, addr netip.Addr) *Terms {
	if t.opts.TermsOf != nil {
		if terms := t.opts.TermsOf(id, addr); terms != nil {
			return terms
		}
	}
	return &t.opts.Terms
}

// Tick advances the verdict clock and returns what time has changed. A peer
// past its deadline is dead at the second tick in a row that finds it so: what
// was already received when the first one came is observed in between.
func (t *Tracker) Tick(now time.Time) []Transition {
	t.out = t.out[:0]
	at := now.Sub(t.epoch)
	step := max(at-t.tick, 0)
	if lost := t.lost(now); lost > 0 {
		t.teachFrom = max(t.teachFrom, at+min(lost, afterStall))
	}
	t.stalled += max(step-maxTick, 0)
	t.tickV += min(step, maxTick)
	t.tick, t.tickWall = at, now.UnixNano()
	t.ticks++
	t.tellUntold(now)
	t.weigh(now)
	if t.tickV >= t.earliest {
		t.sweep(now)
	}
	return t.out
}

// lost returns for how long the collector has not listened since the last
// tick; it is not positive if it has. The wall clock tells what the other one
// hides: on Linux that stands still while the machine is suspended.
func (t *Tracker) lost(now time.Time) time.Duration {
	return max(now.Sub(t.epoch)-t.tick, time.Duration(now.UnixNano()-t.tickWall)) - maxTick
}

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
				t.look(p, now)
			}
		}
	}
	clear(t.due)
}

// look applies to p what the passing of time means.
func (t *Tracker) look(p *peer, now time.Time) {
	switch {
	case p.state == Left && p.windowV > 0:
		t.lookAfter(p, now)
	case t.tickV >= p.forgetV(&t.opts):
		if t.forget(p, now) {
			return
		}
	case !p.state.over() && p.waits():
		t.wakeWithHost(p)
		return
	default:
		t.lookSilent(p, now)
	}
	t.rewake(p)
}

// lookAfter looks whether p is back as it promised.
func (t *Tracker) lookAfter(p *peer, now time.Time) {
	if p.windowV = p.promiseV(); t.tickV < p.windowV {
		return // its host has asked for more
	}
	if t.secondTick(p) {
		p.windowV = 0
		t.become(p, Dead, ReasonOverdue, now)
	}
}

// lookSilent looks at one of whom beats are expected.
func (t *Tracker) lookSilent(p *peer, now time.Time) {
	switch {
	case p.state == Alive && t.tickV >= p.suspectV:
		t.suspect(p, t.inquire(p), now)
	case p.reason == ReasonRestored && t.tickV >= p.suspectV, p.state == Suspect && t.tickV < p.deadV:
		t.isolation.falls(p) // it was so when another collector stopped
	}
	if t.tickV < p.deadV || p.state != Suspect && p.state != Unknown || p.reason == ReasonIsolated || p.reason == ReasonHost {
		return
	}
	switch {
	case !t.secondTick(p):
	case p.nobody:
		t.become(p, Dead, ReasonNeverSeen, now)
	case t.isolation.on:
		t.hold(p, now)
	default:
		t.end(p, t.inquire(p), now)
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
	if window := p.promiseV(); window > t.verdict(now) {
		p.windowV = window
		t.become(p, Left, ReasonLeaving, now)
		return
	}
	t.become(p, Dead, reason, now)
}

// promiseV returns when the promise ends that holds for p: its own, or the one
// of its host.
func (p *peer) promiseV() time.Duration {
	window := p.windowV
	if own := p.host.own; own != nil {
		window = max(window, own.windowV)
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
	at, before := now.Sub(t.epoch), p.state
	if before == Dead {
		p.deadFor += at - p.since
		p.noteChange(at)
	}
	if state == Dead {
		p.Deaths++
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
	t.vacant.remove(p)
	t.leaveConn(p)
	t.counts[Unknown]--
	t.moveOut(p)
	delete(t.peers, p.id)
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
	wake := p.deadV
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
	t.wake[p.index] = verdict
	t.earliest = min(t.earliest, verdict)
}
