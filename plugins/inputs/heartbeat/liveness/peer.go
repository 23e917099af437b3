package liveness

import (
	"container/list"
	"net/netip"
	"slices"
	"time"
)

const (
	flapChanges = 3                // into or out of dead
	flapTime    = 10 * time.Minute // within which they make a peer flap
	never       = time.Duration(1<<63 - 1)
)

// A peer is all that is known of one peer. Times are since the tracker's
// epoch, or on the verdict clock where their name ends in V. What every beat
// needs stands here, what most peers never need in their past.
type peer struct {
	id     ID
	index  int32 // in Tracker.order; -1 once it is forgotten
	room   int32 // in host.peers
	host   *host
	terms  *Terms
	addr   netip.Addr // of its process
	labels []Label    // never written to, only replaced

	state     State
	reason    Reason
	told      State // which may be older than state
	untold    bool  // it stands in Tracker.untold
	nobody    bool  // it stands for whom the operator expects
	lone      bool  // one process, nameless, was heard over one short connection or by one datagram
	here      uint8 // beats that this collector has heard, up to fewBeats
	shift     uint8 // of peer.total
	changed   bool  // so is its record; touch is yet to be called
	listed    bool  // in unsaved.peers
	late      uint8 // its class in unsaved.late; 0 if it is not
	health    Health
	since     time.Duration
	sinceV    time.Duration
	sinceUTC  int64 // unix ns
	toldSince time.Duration

	body           // the process that holds its place
	dueTick uint64 // the tick that last found it past its deadline

	runs  runs
	proof *proof // nil for most
	rate  rate
	stamp int64 // unix ms of the last statement about it
	beats uint64
	trail Trail

	*past // never nil
}

// A past is what has gone wrong with a peer, was announced or doubted. It is
// apart because few have one: that saves a third of the memory of the others.
type past struct {
	held       time.Duration // for how long other collectors have held its silence
	heldPartly time.Duration // of that, while only a part of the hosts was silent
	spared     time.Duration // for how long its silence was held and prolonged for it in all

	windowV   time.Duration // when it promised to be back; 0 if it did not
	windowBy  string        // the life of the sender that promised so for itself
	shared    bool          // that sender beat for the host, too
	postponed bool          // the end of the window was put off

	untoldEnds   uint8    // of it in Tracker.endings
	others       []*other // processes whose place was taken
	replaced     []replaced
	hasExitCode  bool
	exitCode     int64
	conflictTold time.Duration

	deadFor     time.Duration // in all deaths before this one
	changes     [flapChanges]time.Duration
	changeCount int
	vacancy     *list.Element // in the queue of those whose place may be taken, or nil
	Mishaps
}

// noPast is the past of all who have none. It is only read.
var noPast past

// remember returns the past of p to write to it.
func (p *peer) remember() *past {
	if p.past == &noPast {
		p.past = new(past)
	}
	return p.past
}

func (p *peer) counters() Counters { return Counters{p.beats, p.Mishaps} }

func (p *peer) setWindow(until time.Duration, by string) {
	if p.windowV != until || p.windowBy != by {
		past := p.remember()
		past.windowV, past.windowBy = until, by
		p.changed = true
	}
}

func (p *peer) setExit(code int64, has bool) {
	if p.exitCode != code || p.hasExitCode != has {
		past := p.remember()
		past.exitCode, past.hasExitCode = code, has
		p.changed = true
	}
}

func (p *peer) forgetHold() {
	if p.held > 0 || p.spared > 0 {
		past := p.remember()
		past.held, past.heldPartly, past.spared = 0, 0, 0
	}
}

// Counters count over the whole life of a peer.
type Counters struct {
	Beats uint64
	Mishaps
}

// Mishaps count what most peers have none of.
type Mishaps struct {
	Lost, Late, Duplicates, Limited, Restarts, Deaths, Mistakes, Conflicts uint64
}

// totals returns all of them.
func (m *Mishaps) totals() [8]*uint64 {
	return [...]*uint64{&m.Lost, &m.Late, &m.Duplicates, &m.Limited, &m.Restarts, &m.Deaths, &m.Mistakes, &m.Conflicts}
}

// merge returns labels with those of a beat put into them, or nil if that
// changes nothing.
func merge(labels, told []Label) []Label {
	var merged []Label
	for _, label := range told {
		now := labels
		if merged != nil {
			now = merged
		}
		at := slices.IndexFunc(now, func(l Label) bool { return l.Key == label.Key })
		switch {
		case at < 0:
			merged = append(slices.Clip(now), label)
		case now[at].Value != label.Value:
			merged = slices.Clone(now)
			merged[at] = label
		}
	}
	return merged
}

// wakeV returns when time alone may change what is believed of the peer. Who
// is held is not looked at: the hold ends for all at once.
func (p *peer) wakeV(o *Options) time.Duration {
	switch {
	case p.state == Alive, p.reason == ReasonRestored && !p.host.silent():
		return min(p.suspicionV(), p.nextEndV())
	case p.state == Suspect, p.nobody && p.state == Unknown, p.reason == ReasonRestored:
		return min(p.deadlineV(), p.nextEndV())
	case p.state == Left && p.windowV > 0:
		return p.windowV
	}
	return p.forgetV(o)
}

// forgetV returns when a peer that has ended is forgotten. A promise to be
// back keeps it.
func (p *peer) forgetV(o *Options) time.Duration {
	var keep time.Duration
	switch {
	case p.state == Left && p.windowV == 0:
		keep = o.ForgetLeft
	case p.state == Dead && p.id.Nameless():
		keep = forgetNameless
	case p.state == Dead && p.terms.ForgetDead > 0:
		keep = max(p.terms.ForgetDead, 3*p.interval)
	}
	if keep == 0 {
		return never
	}
	return max(p.sinceV, p.lastHeardV()) + keep
}

// noteChange remembers a change into or out of dead.
func (p *peer) noteChange(at time.Duration) {
	past := p.remember()
	past.changes[past.changeCount%flapChanges] = at
	past.changeCount++
}

func (p *peer) flapping(at time.Duration) bool {
	oldest := p.changes[p.changeCount%flapChanges]
	return p.changeCount >= flapChanges && at-oldest <= flapTime
}

// nextStamp returns the wall time of a statement about the peer, in whole
// milliseconds, the resolution of the coarsest database: InfluxDB keeps a
// quarter as much of such samples (BENCHMARKS.md). It grows by one at least, but
// follows a clock that was set back.
func (p *peer) nextStamp(now time.Time) time.Time {
	const setBack = 5_000
	stamp := now.UnixMilli()
	if least := p.stamp + 1; stamp < least && least-stamp < setBack {
		stamp = least
	}
	p.stamp = stamp
	return time.UnixMilli(stamp)
}
