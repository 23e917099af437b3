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
	MaxPeersPerHost   int // 0 for MaxPeers
	MaxBeatsPerSecond int // of one peer; 0 for as many as stamps allow

	ReplayWindow time.Duration // by which a clock may differ that a signed beat shows

	// Ask returns what the kernel knows of a connection, and the address of the
	// other side; the zero Addr is that of a Unix socket. It may be nil.
	Ask func(ConnID) (Path, netip.Addr)
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
	expectations expectations
	placeholders int // among peers
	unsaved      unsaved

	conns     map[ConnID]*link // the first in the list of each connection
	witnesses map[netip.Addr]*witness
	ends      []*loss // all ends of all witnesses, the earliest first

	quiet   bool           // what happens is told at the next tick
	untold  []*peer        // of whom something is to be told then
	endings []untoldEnding // to be told then

	out []Transition
}

// New returns a Tracker that knows nobody and listens from now on.
func New(opts Options, now time.Time) *Tracker {
	return &Tracker{
		opts: opts, epoch: now, tickWall: now.UnixNano(), ticks: 1, earliest: never,
		peers: make(map[ID]*peer), bySource: make(map[string]*host),
		vacant: make(vacancies), conns: make(map[ConnID]*link), witnesses: make(map[netip.Addr]*witness),
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

// Listened returns for how long the tracker has listened.
func (t *Tracker) Listened(now time.Time) time.Duration { return t.verdict(now) }

// verdict returns the verdict clock.
func (t *Tracker) verdict(now time.Time) time.Duration {
	return t.tickV + min(max(now.Sub(t.epoch)-t.tick, 0), maxTick)
}

// known returns the peer that b names, or nil.
func (t *Tracker) known(b *Beat) *peer {
	if p := b.Handle.p; p != nil && p.index >= 0 && p.id == b.ID {
		return p
	}
	return t.peers[b.ID]
}

// full returns why there is no room for another peer of a host, or Accepted.
func (t *Tracker) full(source string) Fate {
	if len(t.order)-t.placeholders >= t.opts.MaxPeers {
		return Full
	}
	if h := t.bySource[source]; h != nil && t.opts.MaxPeersPerHost > 0 && len(h.peers) >= t.opts.MaxPeersPerHost {
		return FullHost
	}
	return Accepted
}

// add takes a new peer in, of which nothing is believed.
func (t *Tracker) add(id ID, addr netip.Addr) *peer {
	p := &peer{id: id, addr: addr, terms: t.termsOf(id, addr), index: int32(len(t.order)), shift: uint8(len(t.order)), past: &noPast}
	p.evidence = ReasonSilence
	t.peers[id] = p
	t.order = append(t.order, p)
	t.wake = append(t.wake, never)
	t.counts[Unknown]++
	t.joinHost(p)
	return p
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

// Retire gives up t, so that none of its handles is believed by another tracker
// that goes on in its place. It returns what the last call could not.
func (t *Tracker) Retire() []Transition {
	for _, p := range t.order {
		p.index = -1
	}
	return t.out
}
