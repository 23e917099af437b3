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
// epoch, or on the verdict clock where their name ends in V.
type peer struct {
	id     ID
	index  int        // in Tracker.order
	addr   netip.Addr // of its process
	labels []Label    // never written to, only replaced
	terms  *Terms
	host   *host
	room   int  // in host.peers
	nobody bool // it stands for whom the operator expects

	state    State
	reason   Reason
	evidence Reason // of its silence
	since    time.Duration
	sinceV   time.Duration
	sinceUTC int64 // unix ns

	told      State // which may be older than state
	toldSince time.Duration
	untold    bool // it stands in Tracker.untold

	interval time.Duration // as declared; 0 if not
	schedule schedule
	speaker  string // the run that its latest beat names
	watched  bool   // its connection proves nothing about it
	extended bool   // its silence has outlived a collector

	spared     time.Duration // for how long its silence was held and prolonged for it in all
	held       time.Duration // for how long other collectors have held it
	heldPartly time.Duration // of that, while only a part of the hosts was silent

	heard    time.Duration // last beat
	heardV   time.Duration
	suspectV time.Duration // when silence makes it suspect
	deadV    time.Duration // when silence makes it dead
	windowV  time.Duration // when it promised to be back; 0 if it did not
	windowBy string        // the run that promised so for itself
	dueTick  uint64        // the tick that last found it past its deadline

	process      Process
	processHeard time.Duration // last beat of process
	former       Process       // the one before
	hasFormer    bool
	conflictTold time.Duration
	runs         runs
	sentMS       int64 // when the latest signed beat says that it was sent, unix ms
	rate         rate

	conn     ConnID        // of the latest beat; 0 once that has ended
	connFrom time.Duration // first beat over conn
	connLong bool
	connPrev *peer // in the list of conn
	connNext *peer

	vacancy *list.Element // in the queue of those whose place may be taken, or nil

	exitCode    int64
	hasExitCode bool
	deadFor     time.Duration // in all deaths before this one
	changes     [flapChanges]time.Duration
	changeCount int
	stamp       int64 // unix ns of the last statement about it
	Counters
}

// Counters count over the whole life of a peer.
type Counters struct {
	Beats, Lost, Late, Duplicates, Limited, Restarts, Deaths, Mistakes, Conflicts uint64
}

// span is within how long a peer that lives is expected to beat: it has
// declared that, or it is guessed.
func (p *peer) span() time.Duration {
	if p.interval > 0 {
		return p.interval
	}
	return min(p.terms.DeadAfter/4, time.Minute)
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
		return p.suspectV
	case p.state == Suspect, p.nobody && p.state == Unknown, p.reason == ReasonRestored:
		return p.deadV
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
	return max(p.sinceV, p.heardV) + keep
}

// noteChange remembers a change into or out of dead.
func (p *peer) noteChange(at time.Duration) {
	p.changes[p.changeCount%flapChanges] = at
	p.changeCount++
}

func (p *peer) flapping(at time.Duration) bool {
	oldest := p.changes[p.changeCount%flapChanges]
	return p.changeCount >= flapChanges && at-oldest <= flapTime
}

// nextStamp returns the wall time of a statement about the peer. It grows by
// at least a millisecond, the resolution of the coarsest database, but
// follows a clock that was set back.
func (p *peer) nextStamp(now time.Time) time.Time {
	const setBack = 5 * time.Second
	stamp := now.UnixNano()
	if least := p.stamp + int64(time.Millisecond); stamp < least && least-stamp < int64(setBack) {
		stamp = least
	}
	p.stamp = stamp
	return time.Unix(0, stamp)
}
