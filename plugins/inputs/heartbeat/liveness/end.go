// This file processes ends. The end of a connection is evidence (ConnEnded); an end that a
// beat reports is a fact (finish). Both concern one process. A peer has ended when its last
// process has; until then the end of a process is an event of its own.
//
// A goodbye may promise that the peer will be back. The promise opens a maintenance window: an
// end within the window was announced and is not a death.

package liveness

import (
	"net/netip"
	"time"
)

const (
	// longConn is how far apart two beats over one connection must be for the connection to
	// count as long. The connection of a one-shot sender that sends two beats at once is not
	// long.
	longConn = 100 * time.Millisecond
	// maxLinks is how many connections of one process are remembered. A sender has one
	// connection for each URL and, for a moment, one more.
	maxLinks = 16
	// resetGrace is how much longer than its interval a peer has to reconnect after a reset.
	// The reset may have reached only the collector; the sender then notices at its next beat.
	resetGrace = 2 * time.Second
)

// An End is the way a connection ended.
type End uint8

// The ends of a connection.
const (
	EndedByUs End = iota // by the collector; proves nothing
	Closed               // by the remote side
	Reset                // by the remote side or by something in between
	GivenUp              // by the collector's kernel, because nothing answers
)

// ConnEnded notes that a connection has ended. from is its remote address; the zero Addr stands
// for a Unix socket. A closed connection proves only that the process at its other end has
// ended. So a process is lost with its last connection, and only if that connection, or another
// one that has ended since its latest beat, was long: a sender that connects for each beat is
// not lost after each beat. The end of a carrier's connection proves nothing about the
// processes whose beats it delivers. If the connection has many peers, the tick processes them.
func (t *Tracker) ConnEnded(now time.Time, conn ConnID, end End, from netip.Addr) []Transition {
	t.out = t.out[:0]
	if _, carries := t.carriers[carrier{conn: conn}]; carries {
		delete(t.carriers, carrier{conn: conn})
		end = EndedByUs // which proves as little
	}
	e := &connEnd{conn, end, from, now.Sub(t.epoch), t.verdict(now)}
	if t.conns.count(conn) > atOnce {
		t.chores = append(t.chores, func(n int) int { return t.endSome(e, n) })
		return t.out
	}
	for _, p := range t.conns.take(conn) {
		t.endLinks(p, e, now)
	}
	return t.out
}

// A connEnd is the end of a connection.
type connEnd struct {
	conn    ConnID
	end     End
	from    netip.Addr
	at      time.Duration
	verdict time.Duration // at on the verdict clock
}

// endSome calls endLinks for at most n peers of a connection, and returns their number.
func (t *Tracker) endSome(e *connEnd, n int) int {
	some := t.conns.takeSome(e.conn, n)
	for _, p := range some {
		t.endLinks(p, e, t.tickNow)
	}
	return len(some)
}

// endLinks notes, for all processes of p, that a connection has ended.
func (t *Tracker) endLinks(p *peer, e *connEnd, now time.Time) {
	for o := p.holder(e.conn); o != nil; o = p.holder(e.conn) {
		if o.heard > e.at { // a beat came over another connection before this end was processed
			o.dropLink(e.conn)
			continue
		}
		t.endLink(p, o, e, now)
	}
}

// endLink removes from o, a process of p, a connection that has ended, and applies the
// consequences.
func (t *Tracker) endLink(p *peer, o *process, e *connEnd, now time.Time) {
	long := o.linkOver(e.conn).long
	o.dropLink(e.conn)
	if e.end == EndedByUs {
		o.cutLong = o.cutLong || long
	} else {
		o.lostLong = o.lostLong || long
	}
	if long || o != &p.process {
		t.touch(p)
	}
	switch {
	case e.end == EndedByUs || !o.lostLong:
		t.endVisit(p)
	case !o.hasConn() && !o.connless:
		t.connectionLost(p, o, e, now)
	}
}

// connectionLost handles the end of the last connection of o, a process of p. The peer is
// suspect at once; how soon it is dead depends on the kind of end.
func (t *Tracker) connectionLost(p *peer, o *process, e *connEnd, now time.Time) {
	t.vacant.add(p)
	if p.state.over() || p.waits() || t.loseFormer(p, o, now) {
		return
	}
	t.noteLoss(p, o, e.end.evidence(), e.from, e.verdict)
	p.changed = true
	o.suspectV = min(o.suspectV, e.verdict)
	if grace, ok := o.grace(e.end, p.terms); ok && !o.loss.crowded {
		o.deadV = min(o.deadV, e.verdict+grace)
	}
	switch {
	case e.verdict < p.ownSuspicionV():
	case t.opts.Mates && p.state == Alive: // the next tick makes it suspect, unless a mate still has a connection
		t.ask(p, t.verdict(now))
	default:
		t.suspect(p, now)
	}
	t.rewake(p)
}

// loseFormer handles the end of a former process's connection. It reports whether the caller
// can ignore that end. If the process has not beaten since it was replaced, and the connection
// ends soon, that end is part of the restart. The end of a watcher's connection is not the end
// of a peer. Any other former process was alive until now.
func (t *Tracker) loseFormer(p *peer, o *process, now time.Time) bool {
	for _, other := range p.formers {
		switch {
		case o != &other.process || other.beatsOn:
		case o.watched, other.ended != ReasonNone, now.Sub(t.epoch)-other.replaced <= t.opts.Grace:
			return true
		default:
			other.beatsOn = true
		}
	}
	return false
}

// evidence returns the reason that this end of a long connection gives for the silence of its
// peers.
func (e End) evidence() Reason {
	return [...]Reason{Closed: ReasonConnClosed, Reset: ReasonConnReset, GivenUp: ReasonUnreachable}[e]
}

// grace returns how long o has to beat again, and whether the end of its connection shortens
// its deadline. If o is watched from outside, the deadline does not change, because only the
// watcher has ended. If the collector's kernel gave up, the deadline does not change either,
// because the kernel has already waited long enough.
func (o *process) grace(end End, terms *Terms) (time.Duration, bool) {
	switch {
	case o.watched, end == GivenUp:
		return 0, false
	case end == Reset:
		return max(terms.Grace, o.span(terms)+resetGrace), true
	}
	return terms.Grace, true
}

// finish processes an end that b reports. The end concerns the process that b names. If b
// names none, the end concerns the processes that the sender of b beats for, or all processes
// if that sender beats for none. The peer has ended when its last living process has.
func (t *Tracker) finish(p *peer, b *Beat, o *process, match match, known bool, now time.Time) {
	if match == strangeProcess {
		t.reportEnding(p, o, reasonOf(b), b, now)
		t.addEnded(p, o, reasonOf(b))
		return
	}
	meant := p.affected(b, o)
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
		t.reportEnding(p, &p.process, reasonOf(b), b, now)
		t.promote(p, reasonOf(b))
	}
}

// affected returns a function that reports whether a process of p has ended, given that b
// reports the end of o.
func (p *peer) affected(b *Beat, o *process) func(*process) bool {
	if b.Process.PID != 0 {
		return func(x *process) bool { return x == o }
	}
	speaks := false
	for x := range p.processes {
		speaks = speaks || x.is(b) && x.life == b.life()
	}
	return func(x *process) bool { return x.is(b) && (!speaks || x.life == b.life()) }
}

// finishFormer processes the end of a former process that b reports. lives is true if another
// process is still alive.
func (t *Tracker) finishFormer(p *peer, other *former, b *Beat, lives bool, now time.Time) {
	if lives && other.ended == ReasonNone {
		t.reportEnding(p, &other.process, reasonOf(b), b, now)
	}
	t.endFormer(p, other, reasonOf(b))
	if by := b.life(); by != "" && other.life != by && b.Process.PID == 0 {
		other.ended = ReasonNone // the end was reported by hand for all processes: this process beats until it is stopped
	}
	p.changed = true
}

// finishLast processes the end of the last living process of p: the peer has ended.
func (t *Tracker) finishLast(p *peer, b *Beat, known bool, now time.Time) {
	if b.Status == SaysDead {
		t.exit(p, b, now)
		return
	}
	t.promise(p, b, known, now)
	if p.terms.Schedule != nil && reasonOf(b) == ReasonFinished && p.windowV == 0 { // otherwise it has reported when it will be back
		silence, due := p.terms.awaited(now)
		p.await(due)
		p.setWindow(t.verdict(now)+silence.Dead, b.life())
		t.notePromise(p, now.Sub(t.epoch))
	}
	t.leave(p, b, now)
}

// waitsForSchedule reports whether p has finished and is next expected at the time that its schedule
// gives.
func (p *peer) waitsForSchedule() bool {
	return p.terms.Schedule != nil && p.due != nil && p.state == Left && p.reason == ReasonFinished && p.windowV > 0
}

// forgetDue forgets when the next beat of p is due.
func (p *peer) forgetDue() {
	if p.due != nil {
		p.editPast().due, p.changed = nil, true
	}
}

// exit notes that p was seen to end unplanned. If p is dead already, this is better evidence,
// but not another death.
func (t *Tracker) exit(p *peer, b *Beat, now time.Time) {
	t.keepPromise(p, b, now)
	p.setExit(b.ExitCode, b.HasExitCode)
	if p.state != Dead {
		t.end(p, ReasonExited, now)
	}
	if p.state == Dead {
		p.changed = p.changed || p.reason != ReasonExited
		p.reason = ReasonExited // better evidence than silence
		t.vacant.add(p)         // p may have left the queue of vacancies when this process began
	}
}

// leave notes that p has ended as planned.
func (t *Tracker) leave(p *peer, b *Beat, now time.Time) {
	p.setExit(b.ExitCode, b.HasExitCode)
	t.become(p, Left, reasonOf(b), now)
	if p.reason.reported() { // that was the end of the previous process
		p.changed = p.changed || p.reason != reasonOf(b)
		p.reason = reasonOf(b)
	}
}

// reasonOf returns the reason for an end that b reports.
func reasonOf(b *Beat) Reason {
	switch {
	case b.Status == SaysDead:
		return ReasonExited
	case b.HasExitCode && b.ExitCode == 0:
		return ReasonFinished
	}
	return ReasonLeaving
}

// endFormer notes that o, a former process of p, has ended. It stays among the formers, so
// that a second report of its end has no effect.
func (t *Tracker) endFormer(p *peer, o *former, reason Reason) {
	t.unlink(p, &o.process)
	t.clearLoss(&o.process)
	o.beatsOn, o.presumed, o.ended, o.endedAt = false, false, reason, t.tick
}

// reportEnding reports the end of o, while another process of p is alive. b reported the end;
// it is nil if the end was inferred from silence. If p sends too much, the end is reported at
// the next tick.
func (t *Tracker) reportEnding(p *peer, o *process, reason Reason, b *Beat, now time.Time) {
	if b == nil && p.promiseV() > t.verdict(now) {
		reason = ReasonLeaving // it was announced
	}
	ending := Ending{PID: o.ident.PID, Reason: reason}
	if b != nil {
		ending.ExitCode, ending.HasExitCode = b.ExitCode, b.HasExitCode
	}
	if reason != ReasonLeaving && reason != ReasonFinished {
		p.editPast().Deaths++
	}
	if !t.overRate {
		t.emit(p, Transition{Event: Ended, Previous: p.state, Ending: ending}, now)
		return
	}
	if past := p.editPast(); past.unreportedEnds < maxFormers {
		past.unreportedEnds++
		t.endings = append(t.endings, unreportedEnding{p, ending})
	}
}

// promise notes the promise in a goodbye. The promise opens a window now, or extends the
// current window. A goodbye without a promise changes no window, so a planned stop within a
// window does not close it. The exception is a goodbye sent by hand for a peer that has left
// already: that peer will not come back. known is true if the run is known from earlier beats,
// that is, if the sender reports for itself.
func (t *Tracker) promise(p *peer, b *Beat, known bool, now time.Time) {
	switch {
	case b.BackIn > 0:
		by := p.windowBy
		if p.windowV == 0 && known {
			by = b.life()
		}
		p.setWindow(max(p.windowV, t.verdict(now)+b.BackIn), by)
		p.forgetDue() // the promise replaces it
		t.notePromise(p, now.Sub(t.epoch))
		p.editPast().shared, p.changed = p.host.hasSpeaker(by), true
	case p.state == Left && b.life() != "" && !known:
		if t.expectNoMore(p, now); p.host.own == p {
			t.withServices(p, closing, now, func(service *peer, now time.Time) {
				if service.state == Left && service.follows() {
					t.expectNoMore(service, now)
				}
			})
		}
	}
}

// expectNoMore closes the window of p, which has left for good.
func (t *Tracker) expectNoMore(p *peer, now time.Time) {
	t.endPromise(p, now.Sub(t.epoch))
	t.rewake(p)
}

// keepPromise closes the window of p if a beat within the window keeps the promise. If the
// promise was made by hand, the peer must come back as another process or after a reboot,
// because the announced process beats until it is stopped (Tracker.applyReport). If the sender
// made the promise for itself, it keeps the promise when its next run reports on p, even if
// that run reports a death.
func (t *Tracker) keepPromise(p *peer, b *Beat, now time.Time) {
	if p.windowBy != "" && b.life() != "" && b.life() != p.windowBy {
		t.endPromise(p, now.Sub(t.epoch))
	}
}

// cancel withdraws the promise of p and, if p is a host, the promises of its services. A peer
// that has left because of the promise is expected again.
func (t *Tracker) cancel(p *peer, now time.Time) {
	if t.endWindow(p, now); p.host.own == p {
		t.withServices(p, withdrawing, now, func(service *peer, now time.Time) {
			if service.follows() {
				t.endWindow(service, now)
			}
		})
	}
}

// endWindow ends the window of p: at once if p beats, otherwise after the silence allowed to
// it.
func (t *Tracker) endWindow(p *peer, now time.Time) {
	switch {
	case p.windowV == 0:
		return
	case p.state == Left:
		p.setWindow(min(p.windowV, t.verdict(now)+t.silence(p, &p.process).Dead), "")
		t.notePromise(p, now.Sub(t.epoch))
	default:
		t.endPromise(p, now.Sub(t.epoch))
	}
	t.rewake(p)
}

// closeWindow closes the window of p, if it has one.
func (p *peer) closeWindow() {
	p.setWindow(0, "")
	if p.postponed || p.shared {
		past := p.editPast()
		past.postponed, past.shared = false, false
	}
}
