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

// SilenceFor returns what would be allowed to whom b is about, if it were its
// first beat.
func (t *Tracker) SilenceFor(b *Beat) Silence {
	return t.termsOf(b.ID, b.Addr).silence(b.Interval, b.Margin, nil, 0).atLeast(t.opts.MinSilence, b.Interval)
}

// silence returns what is allowed to o, a process of p.
func (t *Tracker) silence(p *peer, o *process) Silence {
	var learnt *schedule
	if t.opts.Adaptive && o.schedule.interval > 0 {
		learnt = &o.schedule
	}
	return p.terms.silence(o.interval, o.margin, learnt, o.heard).atLeast(t.opts.MinSilence, o.interval)
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
	t.expireEnds(t.tickV)
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
