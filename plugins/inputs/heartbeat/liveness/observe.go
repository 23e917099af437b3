package liveness

import (
	"net/netip"
	"time"
)

// A Fate is what became of a beat.
type Fate uint8

// The fates of a beat.
const (
	Accepted  Fate = iota // life, and worth a metric
	Limited               // life, but one too many for a metric
	Duplicate             // heard already
	Late                  // a later one of its run was heard
	Full                  // from a new peer that has no room
	Replayed              // signed, and said before or too long ago
)

// An Outcome is what Observe makes of a beat.
type Outcome struct {
	Fate        Fate
	At          time.Time     // the stamp for its metric
	Gap         time.Duration // since the beat before; 0 for the first
	Jitter      time.Duration // how far Gap is off the declared interval
	Lost        int64         // beats of its run that are missing before it
	Silence     Silence       // what is allowed from now on
	Handle      Handle        // for the next beat over the same connection
	After       int64         // of Replayed: what SentMS has to exceed; 0 if Seq is what is wrong
	Transitions []Transition
}

// Observe takes in a beat.
func (t *Tracker) Observe(now time.Time, b *Beat) Outcome {
	t.out = t.out[:0]
	if after, replayed := t.Replayed(b, now); replayed {
		return Outcome{Fate: Replayed, After: after}
	}
	p := t.find(b, now)
	if p == nil {
		return Outcome{Fate: Full, Silence: t.SilenceFor(b)}
	}
	t.noteSent(p, b, now)
	run := p.runs[0]
	place, steps := p.runs.place(b.Run, b.Seq)
	if place != fresh {
		return t.stale(p, place)
	}
	out := Outcome{Lost: max(steps-1, 0), Handle: Handle{p}}
	at := max(now.Sub(t.epoch), p.heard) // a gap is never negative
	if p.beats > 0 {
		out.Gap = at - p.heard
		out.Jitter = jitter(out.Gap, b.Interval, out.Lost)
	}
	p.beats++
	if out.Lost > 0 {
		t.noteMishaps(p, &p.remember().Lost, uint64(out.Lost))
	}
	t.hear(p, b, at, t.verdict(now))
	if b.Status == SaysAlive {
		t.learn(p, b, p.steps(b, steps, run), out.Gap, t.lost(now))
	}
	out.Silence = t.silence(p)
	if p.rate.take(at, t.opts.MaxBeatsPerSecond) {
		t.relabel(p, b.Labels, now)
		out.At = p.nextStamp(now)
	} else {
		out.Fate = Limited
		t.noteMishaps(p, &p.remember().Limited, 1)
	}
	t.quiet = out.Fate == Limited
	t.believe(p, b, steps > 0, now)
	t.quiet = false
	t.noteBeat(p)
	t.rewake(p)
	out.Transitions = t.out
	return out
}

// hear notes when and over what a beat came.
func (t *Tracker) hear(p *peer, b *Beat, at, verdict time.Duration) {
	p.noteSpeaker(b)
	p.heard, p.heardV, p.speaker = at, verdict, b.Run
	p.forgetHold()
	p.host.heard = at
	t.isolation.speaks(p.host)
	t.hearOver(p, b.Conn, at)
	t.wakeWaiting(p)
}

// jitter returns how far a gap is off so many declared intervals.
func jitter(gap, interval time.Duration, lost int64) time.Duration {
	if interval == 0 || lost >= int64(never/interval) {
		return 0
	}
	return (gap - interval*time.Duration(lost+1)).Abs()
}

func (t *Tracker) stale(p *peer, place order) Outcome {
	out := Outcome{Fate: Duplicate, Silence: t.silence(p), Transitions: t.out}
	if place == late {
		out.Fate = Late
		t.noteMishaps(p, &p.remember().Late, 1)
		return out
	}
	t.noteMishaps(p, &p.remember().Duplicates, 1)
	return out
}

// find returns the peer that b is about: a known one, one whose place it
// takes, or a new one. It returns nil if there is no room.
func (t *Tracker) find(b *Beat, now time.Time) *peer {
	if p := t.known(b); p != nil {
		if p.nobody {
			t.meet(p, now)
		}
		return p
	}
	if b.ID.Nameless() && b.Status == SaysAlive {
		p := t.vacant.first(b.ID.Source)
		if p != nil && !p.rate.used(now.Sub(t.epoch), t.opts.MaxBeatsPerSecond) {
			t.replace(p, b.ID, now)
			return p
		}
	}
	if len(t.order)-t.placeholders >= t.opts.MaxPeers && !t.awaits(b) {
		return nil
	}
	p := t.add(b.ID, b.Addr)
	p.process = b.Process
	t.meet(p, now)
	return p
}

// known returns the peer that b names, or nil.
func (t *Tracker) known(b *Beat) *peer {
	if p := b.Handle.p; p != nil && p.index >= 0 && p.id == b.ID {
		return p
	}
	return t.peers[b.ID]
}

// add takes a new peer in, of which nothing is believed.
func (t *Tracker) add(id ID, addr netip.Addr) *peer {
	p := &peer{id: id, addr: addr, terms: t.termsOf(id, addr), evidence: ReasonSilence, index: int32(len(t.order)), shift: uint8(len(t.order)), past: &noPast}
	t.peers[id] = p
	t.order = append(t.order, p)
	t.wake = append(t.wake, never)
	t.counts[Unknown]++
	t.moveIn(p)
	return p
}

// locate notes where the process of p beats from.
func (t *Tracker) locate(p *peer, addr netip.Addr, now time.Time) {
	if p.addr == addr {
		return
	}
	p.addr, p.terms, p.changed = addr, t.termsOf(p.id, addr), true
	t.meet(p, now)
}

// replace lets p go on under another id. Its old series ends with a last
// word.
func (t *Tracker) replace(p *peer, id ID, now time.Time) {
	t.closeSeries(p, now)
	t.vacant.remove(p)
	delete(t.peers, p.id)
	t.lose(p.id)
	p.id = id
	p.runs = runs{}  // the order of another sender says nothing
	p.forgetFormer() // another pid has another id here, so none can conflict
	t.peers[id] = p
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
	p.labels, p.changed = merged, true
}

// believe draws from a beat what it says of its peer.
func (t *Tracker) believe(p *peer, b *Beat, known bool, now time.Time) {
	if p.windowV <= p.heardV {
		p.closeWindow()
	}
	who := t.identify(p, b, now)
	switch {
	case b.Status == SaysAlive:
		t.revive(p, b, who, now)
	case who == formerOne:
		// Its end is not the end of the one that holds the place.
	case b.Status == SaysLeaving:
		t.promise(p, b, known)
		t.leave(p, b, now)
	case b.Status == SaysDead:
		t.exit(p, b, now)
	}
	if event := t.eventOf(p, b, who, now); event != noEvent && !t.quiet {
		t.tell(p, Transition{Event: event, Previous: p.state, Other: b.Addr}, now)
	}
}

func (t *Tracker) revive(p *peer, b *Beat, who who, now time.Time) {
	if p.state == Dead && p.reason.inferred() && who == sameOne {
		p.remember().Mistakes++
	}
	p.keepPromise(b)
	t.renew(p, p.heardV)
	p.evidence, p.watched, p.extended = ReasonSilence, b.Watched, false
	p.setExit(0, false)
	t.vacant.remove(p)
	t.become(p, Alive, ReasonBeat, now)
}

func (t *Tracker) leave(p *peer, b *Beat, now time.Time) {
	p.setExit(b.ExitCode, b.HasExitCode)
	reason := ReasonLeaving
	if b.HasExitCode && b.ExitCode == 0 {
		reason = ReasonFinished
	}
	t.become(p, Left, reason, now)
}

func (t *Tracker) exit(p *peer, b *Beat, now time.Time) {
	p.keepPromise(b)
	p.setExit(b.ExitCode, b.HasExitCode)
	if p.state != Dead {
		t.end(p, ReasonExited, now)
	}
	if p.state == Dead {
		p.changed = p.changed || p.reason != ReasonExited
		p.reason = ReasonExited // better evidence than silence
		t.vacant.add(p)         // it may have taken the place of a dead one
	}
}
