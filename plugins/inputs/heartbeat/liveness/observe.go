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
	FullHost              // from a new peer, and its host has no room for another one
	Replayed              // signed, and said before or too long ago
	Foreign               // from another user than the peer belongs to
	Nobody                // a goodbye for a peer that is not known
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
	if t.Foreign(b) {
		return Outcome{Fate: Foreign}
	}
	if t.forNobody(b) {
		return Outcome{Fate: Nobody, Silence: t.SilenceFor(b)}
	}
	p := t.find(b, now)
	if p == nil {
		return Outcome{Fate: t.full(b.ID.Source), Silence: t.SilenceFor(b)}
	}
	p.own(b.User)
	t.noteSigned(p, b, now)
	run := p.runs[0]
	place, steps := p.runs.place(b.Run, b.Seq)
	if place != fresh {
		return t.stale(p, b, place, now)
	}
	return t.take(p, b, run, steps, now)
}

// take takes in a beat of p that is not known to be older than one before. run is
// what was heard last, which steps are counted from.
func (t *Tracker) take(p *peer, b *Beat, run Run, steps int64, now time.Time) Outcome {
	out := Outcome{Lost: max(steps-1, 0), Handle: Handle{p}}
	at := now.Sub(t.epoch)
	first, ended := p.beats == 0, p.state.over() && !p.reason.inferred()
	o, who := t.identify(p, b, at)
	anew := who == newOne || who == bootedOne
	at = max(at, o.heard) // a gap is never negative
	if !first && who != strangeOne {
		out.Gap = at - o.heard
		out.Jitter = jitter(out.Gap, b.Interval, out.Lost)
	}
	p.beats++
	if out.Lost > 0 {
		t.noteMishaps(p, &p.remember().Lost, uint64(out.Lost))
	}
	event := t.note(p, b, who, at)
	if who != strangeOne {
		t.visit(p, o, b, first || anew)
		t.hear(p, o, b, at, now)
	}
	if b.Status == SaysAlive {
		n := int64(0)
		if !ended && !anew {
			n = p.steps(o, b, steps, run)
		}
		p.changed = p.changed || o.interval != b.Interval || o.margin != b.Margin
		t.learn(o, b, n, out.Gap, t.lost(now))
	}
	out.Silence = t.silence(p, o)
	if p.rate.take(at, t.opts.MaxBeatsPerSecond) {
		t.relabel(p, b.Labels, now)
		out.At = p.nextStamp(now)
	} else {
		out.Fate = Limited
		t.noteMishaps(p, &p.remember().Limited, 1)
	}
	t.quiet = out.Fate == Limited
	t.believe(p, b, o, who, steps > 0, now)
	if event != noEvent && !t.quiet {
		t.tell(p, Transition{Event: event, Previous: p.state, Other: b.Addr}, now)
	}
	t.quiet = false
	t.noteBeat(p)
	t.rewake(p)
	out.Transitions = t.out
	return out
}

// hear notes when and over what a beat came.
func (t *Tracker) hear(p *peer, o *body, b *Beat, at time.Duration, now time.Time) {
	p.noteSpeaker(b)
	p.changed = p.changed || o.cutLong
	o.heard, o.heardV, o.lostLong, o.cutLong = at, t.verdict(now), false, false
	p.forgetHold()
	p.host.heard = at
	t.forgive(o)
	t.isolation.speaks(p.host)
	t.hearOver(p, o, b.Conn, at)
	p.lone = p.lone && !p.onLong()
	t.wakeWaiting(p)
}

// jitter returns how far a gap is off so many declared intervals.
func jitter(gap, interval time.Duration, lost int64) time.Duration {
	if interval == 0 || lost >= int64(never/interval) {
		return 0
	}
	return (gap - interval*time.Duration(lost+1)).Abs()
}

// stale deals with a beat that was heard already, or after a later one. It is no
// life, but shows that a process has another connection.
func (t *Tracker) stale(p *peer, b *Beat, place order, now time.Time) Outcome {
	if p.body.is(b) {
		t.hearOver(p, &p.body, b.Conn, now.Sub(t.epoch))
	}
	out := Outcome{Fate: Duplicate, Silence: t.silence(p, &p.body), Transitions: t.out}
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
		if p.id.Nameless() && p.process.PID != 0 && p.process.PID != b.ID.PID {
			return t.separate(p, b, now)
		}
		return p
	}
	if p := t.vacated(b, now); p != nil {
		return p
	}
	if t.full(b.ID.Source) != Accepted && !t.awaits(b) {
		return nil
	}
	return t.enter(b, now)
}

// enter takes the peer of b in.
func (t *Tracker) enter(b *Beat, now time.Time) *peer {
	p := t.add(b.ID, b.Addr)
	p.process, p.life = b.Process, b.life()
	t.meet(p, now)
	return p
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

// known returns the peer that b names, or nil.
func (t *Tracker) known(b *Beat) *peer {
	if p := b.Handle.p; p != nil && p.index >= 0 && p.id == b.ID {
		return p
	}
	return t.peers[b.ID]
}

// add takes a new peer in, of which nothing is believed.
func (t *Tracker) add(id ID, addr netip.Addr) *peer {
	p := &peer{id: id, addr: addr, terms: t.termsOf(id, addr), index: int32(len(t.order)), shift: uint8(len(t.order)), past: &noPast}
	p.evidence = ReasonSilence
	t.peers[id] = p
	t.order = append(t.order, p)
	t.wake = append(t.wake, never)
	t.counts[Unknown]++
	t.moveIn(p)
	return p
}

// locate notes where the process that holds the place of p beats from.
func (t *Tracker) locate(p *peer, addr netip.Addr, now time.Time) {
	if p.addr == addr {
		return
	}
	p.addr, p.terms, p.changed = addr, t.termsOf(p.id, addr), true
	t.meet(p, now)
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

// believe draws from a beat what it says of o, a process of p.
func (t *Tracker) believe(p *peer, b *Beat, o *body, who who, known bool, now time.Time) {
	if o == &p.body {
		t.locate(p, b.Addr, now)
	}
	if p.windowV <= t.verdict(now) || who == newOne || who == bootedOne {
		p.closeWindow() // it is over, or p is back
	}
	switch {
	case b.Status == SaysAlive:
		t.revive(p, b, o, who, now)
	case b.Cancel:
		t.cancel(p, now)
	default:
		t.finish(p, b, o, who, known, now)
	}
}

// takeHealth notes what a living p says of its health. One that says no more than
// that it is alive is well if it has told its health before.
func (p *peer) takeHealth(said Health) {
	if said == HealthUntold && p.health != HealthUntold {
		said = HealthOK
	}
	p.changed = p.changed || p.health != said
	p.health = said
}

func (t *Tracker) revive(p *peer, b *Beat, o *body, who who, now time.Time) {
	if p.state == Dead && p.reason.inferred() && who == sameOne {
		p.remember().Mistakes++
	}
	p.keepPromise(b)
	p.takeHealth(b.Health)
	if who == formerOne {
		former := p.other(b)
		if former.ended.inferred() {
			p.remember().Mistakes++
		}
		p.changed = p.changed || !former.insists
		former.insists, former.stands, former.ended = true, false, ReasonNone
	}
	if p.host.own == p {
		p.changed = p.host.hear(b.life(), t.verdict(now), now) || p.changed
	}
	o.life, o.watched, o.extended, o.evidence = b.life(), b.Watched, false, ReasonSilence
	t.renew(p, o, o.heardV)
	p.setExit(0, false)
	t.vacant.remove(p)
	t.become(p, Alive, ReasonBeat, now)
	if p.lone && b.Conn == 0 {
		t.vacant.add(p)
	}
}
