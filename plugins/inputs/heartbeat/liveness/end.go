// An end: of a connection, which is evidence (ConnEnded), or one that a beat reports,
// which is a fact (finish). Both concern one process. The peer has ended with the last
// of its processes; until then the end of one is an event of its own.
//
// A goodbye may promise that the peer will be back. That opens a window, in which an
// end was announced and is no death.

package liveness

import (
	"net/netip"
	"time"
)

const (
	// longConn is how far apart two beats over one connection have to be to make it a
	// long one: a one-shot that sends twice at once does not.
	longConn = 100 * time.Millisecond
	// maxLinks is how many connections of one process are remembered. A sender
	// has one for each URL, and for a moment one more.
	maxLinks = 16
	// resetGrace is how much longer than its interval a peer whose connection was
	// reset has to dial anew: what cut it may have informed only us, so that the
	// sender notices at its next beat.
	resetGrace = 2 * time.Second
)

// An End is how a connection ended.
type End uint8

// The ends of a connection.
const (
	EndedByUs End = iota // proves nothing
	Closed               // by the other side
	Reset                // by the other side or by something in between
	GivenUp              // by our kernel, because nothing answers
)

// ConnEnded takes in that a connection from an address has ended at now; the zero
// Addr is that of a Unix socket. A closed connection proves the end of the process
// that held it, and nothing else. So a process is lost with its last connection, and
// only if that, or one that has ended since its latest beat, was a long one: a
// sender that connects for each beat is not lost after each. What held a carrier is
// none of the processes that it speaks for. If the peers of a connection are many, they are
// left to the tick.
func (t *Tracker) ConnEnded(now time.Time, conn ConnID, end End, from netip.Addr) []Transition {
	t.out = t.out[:0]
	if _, carries := t.carriers[carrier{conn: conn}]; carries {
		delete(t.carriers, carrier{conn: conn})
		end = EndedByUs // which says as little of them
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

// A connEnd is that a connection has ended.
type connEnd struct {
	conn    ConnID
	end     End
	from    netip.Addr
	at      time.Duration
	verdict time.Duration // at on the verdict clock
}

// endSome is endLinks for n of the peers of a connection. It returns how many that were.
func (t *Tracker) endSome(e *connEnd, n int) int {
	some := t.conns.takeSome(e.conn, n)
	for _, p := range some {
		t.endLinks(p, e, t.tickNow)
	}
	return len(some)
}

// endLinks takes in for all processes of p that a connection has ended.
func (t *Tracker) endLinks(p *peer, e *connEnd, now time.Time) {
	for o := p.holder(e.conn); o != nil; o = p.holder(e.conn) {
		if o.heard > e.at { // over another one, before this was looked at
			o.dropLink(e.conn)
			continue
		}
		t.endLink(p, o, e, now)
	}
}

// endLink takes in that a connection of o, a process of p, has ended.
func (t *Tracker) endLink(p *peer, o *process, e *connEnd, now time.Time) {
	long := o.over(e.conn).long
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
	case !o.overAny() && !o.connless:
		t.lose(p, o, e, now)
	}
}

// lose draws from the end of its last connection what that says of o, a process of
// p. The peer is suspect at once; how soon it is dead depends on the kind of end.
func (t *Tracker) lose(p *peer, o *process, e *connEnd, now time.Time) {
	t.vacant.add(p)
	if p.state.over() || p.waits() || t.loseFormer(p, o, now) {
		return
	}
	t.noteLoss(p, o, e.end.evidence(), e.from, e.verdict)
	p.changed = true
	o.suspectV = min(o.suspectV, e.verdict)
	if grace, yes := o.grace(e.end, p.terms); yes && !o.loss.crowded {
		o.deadV = min(o.deadV, e.verdict+grace)
	}
	switch {
	case e.verdict < p.ownSuspicionV():
	case t.opts.Mates && p.state == Alive: // the next tick will find it so, unless one of them still has a connection
		t.ask(p, t.verdict(now))
	default:
		t.suspect(p, now)
	}
	t.rewake(p)
}

// loseFormer deals with the end of the connection of a process whose place another
// one has taken, and reports whether that is all it means. If such a process has
// said nothing since, and ends soon, its end is part of the restart; the end of a
// watcher is the death of no peer. Any other has lived until now.
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

// evidence returns what the end of a long connection says of its peers.
func (e End) evidence() Reason {
	return [...]Reason{Closed: ReasonConnClosed, Reset: ReasonConnReset, GivenUp: ReasonUnreachable}[e]
}

// grace returns how long o has to be heard again, if the end of its connection makes
// that shorter. It does not if o is watched from outside, because then it was its
// watcher that ended, nor if our kernel gave up: it has waited long enough already.
func (o *process) grace(end End, terms *Terms) (time.Duration, bool) {
	switch {
	case o.watched, end == GivenUp:
		return 0, false
	case end == Reset:
		return max(terms.Grace, o.span(terms)+resetGrace), true
	}
	return terms.Grace, true
}

// finish takes in an end that b reports. It concerns the process that b names; if b
// names none, those for which its sender beats, or all if it beats for none. The
// peer has ended with the last process that lives.
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

// finishFormer takes in the end of a former process that b reports. lives tells
// whether another process goes on.
func (t *Tracker) finishFormer(p *peer, other *former, b *Beat, lives bool, now time.Time) {
	if lives && other.ended == ReasonNone {
		t.tellEnding(p, &other.process, reasonOf(b), b, now)
	}
	t.endFormer(p, other, reasonOf(b))
	if by := b.life(); by != "" && other.life != by && b.Process.PID == 0 {
		other.ended = ReasonNone // said by hand of all: it beats on until it is stopped
	}
	p.changed = true
}

// finishLast takes in the end of the last process of p that lived: now the peer has
// ended.
func (t *Tracker) finishLast(p *peer, b *Beat, known bool, now time.Time) {
	if b.Status == SaysDead {
		t.exit(p, b, now)
		return
	}
	t.promise(p, b, known, now)
	if p.terms.Schedule != nil && reasonOf(b) == ReasonFinished && p.windowV == 0 { // else it has said when it is back
		silence, due := p.terms.awaited(now)
		p.await(due)
		p.setWindow(t.verdict(now)+silence.Dead, b.life())
		t.notePromise(p, now.Sub(t.epoch))
	}
	t.leave(p, b, now)
}

// rests reports whether p has finished, and is awaited again when its schedule says.
func (p *peer) rests() bool {
	return p.terms.Schedule != nil && p.due != nil && p.state == Left && p.reason == ReasonFinished && p.windowV > 0
}

// forgetDue forgets when the next beat of p is due.
func (p *peer) forgetDue() {
	if p.due != nil {
		p.editPast().due, p.changed = nil, true
	}
}

// exit takes in that p was seen to end unplanned. Of a peer that is dead already
// that is the better evidence, but no other death.
func (t *Tracker) exit(p *peer, b *Beat, now time.Time) {
	t.keepPromise(p, b, now)
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

// leave takes in that p has ended as planned.
func (t *Tracker) leave(p *peer, b *Beat, now time.Time) {
	p.setExit(b.ExitCode, b.HasExitCode)
	t.become(p, Left, reasonOf(b), now)
	if p.reason.reported() { // of the process before
		p.changed = p.changed || p.reason != reasonOf(b)
		p.reason = reasonOf(b)
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

// endFormer notes that o, a former process of p, has ended. It stays among the formers, so
// that a second report of its end is none.
func (t *Tracker) endFormer(p *peer, o *former, reason Reason) {
	t.unlink(p, &o.process)
	t.clearLoss(&o.process)
	o.beatsOn, o.presumed, o.ended, o.endedAt = false, false, reason, t.tick
}

// tellEnding reports the end of o, while another process of p lives. b reported it,
// or is nil if it was concluded from silence. Of a peer that sends too much it is
// reported at the next tick.
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

// promise notes what a goodbye says of coming back: it opens a window from now on,
// or makes it longer. A goodbye without a promise changes no window, so that a
// planned stop in a window does not close it. The exception is one by hand for a
// peer that has left already: that one will not come back. known reports whether the
// run was heard before, that is, whether the sender speaks for itself.
func (t *Tracker) promise(p *peer, b *Beat, known bool, now time.Time) {
	switch {
	case b.BackIn > 0:
		by := p.windowBy
		if p.windowV == 0 && known {
			by = b.life()
		}
		p.setWindow(max(p.windowV, t.verdict(now)+b.BackIn), by)
		p.forgetDue() // that is what holds
		t.notePromise(p, now.Sub(t.epoch))
		p.editPast().shared, p.changed = p.host.hears(by), true
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

// keepPromise closes the window of p, which was heard in it, if that is what was
// promised. A peer that was announced by hand has to come back as another process or
// after a boot, because the same process beats on until it is stopped
// (Tracker.believe). A sender that promised it for itself has kept it when its next
// run speaks of p, be it of its death.
func (t *Tracker) keepPromise(p *peer, b *Beat, now time.Time) {
	if p.windowBy != "" && b.life() != "" && b.life() != p.windowBy {
		t.endPromise(p, now.Sub(t.epoch))
	}
}

// cancel takes back the promise of p, and with that of a host those of its services.
// What has left because of it is expected again.
func (t *Tracker) cancel(p *peer, now time.Time) {
	if t.endWindow(p, now); p.host.own == p {
		t.withServices(p, taking, now, func(service *peer, now time.Time) {
			if service.follows() {
				t.endWindow(service, now)
			}
		})
	}
}

// endWindow ends the window of p: at once if it beats, else when its silence has been
// as long as it may be.
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
