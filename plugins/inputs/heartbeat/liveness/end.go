package liveness

import "time"

// An Ending is the end of a process while another one of its peer lives. It
// changes no state.
type Ending struct {
	PID         uint32
	Reason      Reason
	ExitCode    int64
	HasExitCode bool
}

// An untoldEnding is to be told at the next tick: as many of a peer as processes of
// it are remembered, so that nobody floods the outputs.
type untoldEnding struct {
	peer   *peer
	ending Ending
}

// finish takes in a reported end. It concerns the process that is named and,
// where none is, those for which its sender beats, or all if it beats for none.
// The peer has ended with the last one that lives.
func (t *Tracker) finish(p *peer, b *Beat, o *process, match match, known bool, now time.Time) {
	if match == strangeProcess {
		t.tellEnding(p, o, reasonOf(b), b, now)
		t.addEnded(p, o, reasonOf(b))
		return
	}
	meant := p.meant(b, o)
	lives := !p.state.over() && !meant(&p.process)
	for _, other := range p.formers {
		lives = lives || other.lives() && !meant(&other.process)
	}
	for _, other := range p.formers {
		if meant(&other.process) {
			t.finishFormer(p, other, b, lives, now)
		}
	}
	switch {
	case !lives:
		t.finishLast(p, b, known, now)
	case meant(&p.process):
		t.tellEnding(p, &p.process, reasonOf(b), b, now)
		t.promote(p, reasonOf(b))
	}
}

// finishFormer takes in the end of an other that b reports. lives tells whether
// another process goes on.
func (t *Tracker) finishFormer(p *peer, other *former, b *Beat, lives bool, now time.Time) {
	if lives && other.ended == ReasonNone {
		t.tellEnding(p, &other.process, reasonOf(b), b, now)
	}
	t.endFormer(other, reasonOf(b))
	if by := b.life(); by != "" && other.life != by && b.Process.PID == 0 {
		other.ended = ReasonNone // said by hand of all: it beats on until it is stopped
	}
	p.changed = true
}

// meant returns which processes of p the end concerns that b reports of o.
func (p *peer) meant(b *Beat, o *process) func(*process) bool {
	if b.Process.PID != 0 {
		return func(x *process) bool { return x == o }
	}
	speaks := false
	for x := range p.processes {
		speaks = speaks || x.is(b) && x.life == b.life()
	}
	return func(x *process) bool { return x.is(b) && (!speaks || x.life == b.life()) }
}

// finishLast takes in the end of the last process of p that lived.
func (t *Tracker) finishLast(p *peer, b *Beat, known bool, now time.Time) {
	if b.Status == SaysDead {
		t.exit(p, b, now)
		return
	}
	t.promise(p, b, known)
	t.leave(p, b, now)
}

func (t *Tracker) leave(p *peer, b *Beat, now time.Time) {
	p.setExit(b.ExitCode, b.HasExitCode)
	t.become(p, Left, reasonOf(b), now)
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

// reasonOf returns the reason of an end that b reports.
func reasonOf(b *Beat) Reason {
	switch {
	case b.Status == SaysDead:
		return ReasonExited
	case b.HasExitCode && b.ExitCode == 0:
		return ReasonFinished
	}
	return ReasonLeaving
}

// tellEnding tells the end of o, while another process of p lives. b reports it,
// or is nil if it was concluded.
func (t *Tracker) tellEnding(p *peer, o *process, reason Reason, b *Beat, now time.Time) {
	if b == nil && p.promiseV() > t.verdict(now) {
		reason = ReasonLeaving // that is what was announced
	}
	ending := Ending{PID: o.ident.PID, Reason: reason}
	if b != nil {
		ending.ExitCode, ending.HasExitCode = b.ExitCode, b.HasExitCode
	}
	if reason != ReasonLeaving && reason != ReasonFinished {
		p.editPast().Deaths++
	}
	if !t.quiet {
		t.tell(p, Transition{Event: Ended, Previous: p.state, Ending: ending}, now)
		return
	}
	if past := p.editPast(); past.untoldEnds < maxFormers {
		past.untoldEnds++
		t.endings = append(t.endings, untoldEnding{p, ending})
	}
}

// endFormer notes that o has ended: it is remembered, so that a second report of
// that is none.
func (t *Tracker) endFormer(o *former, reason Reason) {
	t.unlink(&o.process)
	t.clearLoss(&o.process)
	o.beatsOn, o.presumed, o.ended = false, false, reason
}

// lookAtFormers tells the end of each process of p that has been silent for too
// long while another one lives.
func (t *Tracker) lookAtFormers(p *peer, now time.Time) {
	if p.state.over() || t.holds(p) || t.tickV < p.nextEndV() || t.tickV >= p.deadlineV() {
		return
	}
	for _, o := range p.formers {
		if o.lives() && t.tickV >= o.deadV+TickInterval {
			if o.beatsOn { // else it was replaced
				t.tellEnding(p, &o.process, o.evidence, nil, now)
			}
			t.endFormer(o, o.evidence)
			p.changed = true
		}
	}
	if t.tickV >= p.deadV+TickInterval {
		t.inquire(p, t.tickV)
		t.tellEnding(p, &p.process, p.evidence, nil, now)
		t.promote(p, p.evidence)
	}
}

// nextEndV returns when the first of several processes of p that live has been
// silent for too long, and it was seen at a tick before.
func (p *peer) nextEndV() time.Duration {
	next := never
	for o := range p.living {
		next = min(next, o.deadV, p.deadV)
	}
	if next == never {
		return never
	}
	return next + TickInterval
}
