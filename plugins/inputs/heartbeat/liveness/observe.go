package liveness

import "time"

// A Fate is what became of a beat.
type Fate uint8

// The fates of a beat.
const (
	Accepted  Fate = iota // life, and worth a metric
	Limited               // life, but one too many for a metric
	Duplicate             // heard already
	Late                  // a later one of its run was heard
	Full                  // from a new peer that has no room
)

// An Outcome is what Observe makes of a beat.
type Outcome struct {
	Fate        Fate
	At          time.Time     // the stamp for its metric
	Gap         time.Duration // since the beat before; 0 for the first
	Jitter      time.Duration // how far Gap is off the declared interval
	Lost        int64         // beats of its run that are missing before it
	Silence     Silence       // what is allowed from now on
	Transitions []Transition
}

// Observe takes in a beat.
func (t *Tracker) Observe(now time.Time, b *Beat) Outcome {
	t.out = t.out[:0]
	p := t.find(b, now)
	if p == nil {
		return Outcome{Fate: Full, Silence: t.Silence(b.Interval)}
	}
	place, lost := p.runs.place(b.Run, b.Seq)
	if place != fresh {
		return t.stale(p, place)
	}
	out := Outcome{Lost: lost}
	at := max(now.Sub(t.epoch), p.heard) // a gap is never negative
	if p.Beats > 0 {
		out.Gap = at - p.heard
		out.Jitter = jitter(out.Gap, b.Interval, lost)
	}
	p.Beats++
	p.Lost += uint64(lost)
	p.heard, p.heardV = at, t.verdict(now)
	t.hearOver(p, b.Conn, at)
	if p.rate.take(at, t.opts.MaxBeatsPerSecond) {
		t.relabel(p, b.Labels, now)
		out.At = p.nextStamp(now)
	} else {
		out.Fate = Limited
		p.Limited++
	}
	t.quiet = out.Fate == Limited
	t.believe(p, b, now)
	t.quiet = false
	t.rewake(p)
	out.Silence = t.Silence(p.interval)
	out.Transitions = t.out
	return out
}

// jitter returns how far a gap is off so many declared intervals.
func jitter(gap, interval time.Duration, lost int64) time.Duration {
	if interval == 0 || lost >= int64(never/interval) {
		return 0
	}
	return (gap - interval*time.Duration(lost+1)).Abs()
}

func (t *Tracker) stale(p *peer, place order) Outcome {
	out := Outcome{Fate: Duplicate, Silence: t.Silence(p.interval), Transitions: t.out}
	if place == late {
		out.Fate = Late
		p.Late++
		return out
	}
	p.Duplicates++
	return out
}

// find returns the peer that b is about: a known one, one whose place it
// takes, or a new one. It returns nil if there is no room.
func (t *Tracker) find(b *Beat, now time.Time) *peer {
	if p := t.peers[b.ID]; p != nil {
		return p
	}
	if b.ID.Nameless() && b.Status == SaysAlive {
		p := t.vacant.first(b.ID.Source)
		if p != nil && !p.rate.used(now.Sub(t.epoch), t.opts.MaxBeatsPerSecond) {
			t.replace(p, b.ID, now)
			return p
		}
	}
	if len(t.order) >= t.opts.MaxPeers {
		return nil
	}
	p := &peer{id: b.ID, index: len(t.order), process: b.Process}
	t.peers[b.ID] = p
	t.order = append(t.order, p)
	t.wake = append(t.wake, never)
	t.counts[Unknown]++
	return p
}

// replace lets p go on under another id. Its old series ends with a last
// word.
func (t *Tracker) replace(p *peer, id ID, now time.Time) {
	t.closeSeries(p, now)
	t.vacant.remove(p)
	delete(t.peers, p.id)
	p.id = id
	p.runs = runs{}     // the order of another sender says nothing
	p.hasFormer = false // another pid has another id here, so none can conflict
	t.peers[id] = p
}

// closeSeries tells the last word of the series under which p was known.
func (t *Tracker) closeSeries(p *peer, now time.Time) {
	t.tell(p, Transition{Event: Changed, Previous: p.state, Lasted: now.Sub(t.epoch) - p.since}, now)
	last := &t.out[len(t.out)-1].View
	last.State, last.Reason = Left, ReasonReplaced
}

// relabel merges labels into those of p: one that a beat leaves out stays.
// With another value p goes on in another series.
func (t *Tracker) relabel(p *peer, labels []Label, now time.Time) {
	merged := merge(p.labels, labels)
	if merged == nil {
		return
	}
	if p.state != Unknown {
		t.closeSeries(p, now)
	}
	p.labels = merged
}

// believe draws from a beat what it says of its peer.
func (t *Tracker) believe(p *peer, b *Beat, now time.Time) {
	if p.windowV <= p.heardV {
		p.windowV = 0
	}
	who := t.identify(p, b, now)
	switch {
	case b.Status == SaysAlive:
		t.revive(p, b, who, now)
	case who == formerOne:
		// Its end is not the end of the one that holds the place.
	case b.Status == SaysLeaving:
		t.leave(p, b, now)
	case b.Status == SaysDead:
		t.exit(p, b, now)
	}
	if event := t.eventOf(p, b, who, now); event != noEvent && !t.quiet {
		t.tell(p, Transition{Event: event, Previous: p.state, Other: b.Addr}, now)
	}
}

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
		p.process = p.process.completed(b.Process)
		p.processHeard, p.addr = at, b.Addr
		return sameOne
	case p.hasFormer && p.former.is(b.Process) && at-p.processHeard <= p.span(&t.opts):
		return formerOne
	}
	rebooted := p.process.rebooted(b.Process)
	p.former, p.hasFormer = p.process, true
	p.process, p.processHeard, p.addr = b.Process, at, b.Addr
	p.windowV = 0 // it is back
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
		p.Restarts++
		return Restarted
	case who == bootedOne:
		p.Restarts++
		return Rebooted
	case who == formerOne && b.Status == SaysAlive:
		p.Conflicts++
		if p.Conflicts == 1 || at-p.conflictTold >= conflictPause {
			p.conflictTold = at
			return Conflict
		}
	}
	return noEvent
}

func (t *Tracker) revive(p *peer, b *Beat, who who, now time.Time) {
	if p.state == Dead && p.reason == ReasonSilence && who == sameOne {
		p.Mistakes++
	}
	p.interval = b.Interval
	silence := t.Silence(p.interval)
	p.suspectV = p.heardV + silence.Suspect
	p.deadV = p.heardV + silence.Dead
	p.exitCode, p.hasExitCode = 0, false
	t.vacant.remove(p)
	t.become(p, Alive, ReasonBeat, now)
}

func (t *Tracker) leave(p *peer, b *Beat, now time.Time) {
	if b.BackIn > 0 {
		p.windowV = max(p.windowV, p.heardV+b.BackIn)
	}
	p.exitCode, p.hasExitCode = b.ExitCode, b.HasExitCode
	reason := ReasonLeaving
	if b.HasExitCode && b.ExitCode == 0 {
		reason = ReasonFinished
	}
	t.become(p, Left, reason, now)
}

func (t *Tracker) exit(p *peer, b *Beat, now time.Time) {
	p.exitCode, p.hasExitCode = b.ExitCode, b.HasExitCode
	if p.state != Dead {
		t.end(p, ReasonExited, now)
	}
	if p.state == Dead {
		p.reason = ReasonExited // better evidence than silence
		t.vacant.add(p)         // it may have taken the place of a dead one
	}
}
