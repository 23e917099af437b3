package liveness

import (
	"slices"
	"time"
)

// longConn is how far apart two beats over one connection make it a long one.
const longConn = 100 * time.Millisecond

// resetGrace is how much longer than its interval a peer whose connection was
// reset has to dial anew: who cut it may have told only us.
const resetGrace = 2 * time.Second

// An End is how a connection ended.
type End uint8

// The ends of a connection.
const (
	EndedByUs End = iota // proves nothing
	Closed               // by the other side
	Reset                // by the other side or by something in between
	GivenUp              // by our kernel, because nothing answers
)

// evidence returns what the end says of the peers of a long connection.
func (e End) evidence() Reason {
	return [...]Reason{Closed: ReasonConnClosed, Reset: ReasonConnReset, GivenUp: ReasonUnreachable}[e]
}

// A Path is what the kernel knows of the other side of a connection.
type Path uint8

// The paths.
const (
	PathUnknown  Path = iota
	PathAnswers       // its kernel was heard after its last beat
	PathIsSilent      // it was asked and did not answer
)

// hearOver notes over which connection the latest beat of p came. The peers
// of a connection are a list, so that its end costs no search.
func (t *Tracker) hearOver(p *peer, conn ConnID, at time.Duration) {
	if conn == p.conn && conn != 0 {
		if !p.connLong && at-p.connFrom >= longConn {
			p.connLong, p.changed = true, true
		}
		return
	}
	t.leaveConn(p)
	p.changed = p.changed || p.connLong
	p.conn, p.connFrom, p.connLong = conn, at, false
	if conn == 0 {
		return
	}
	if p.connNext = t.conns[conn]; p.connNext != nil {
		p.connNext.connPrev = p
	}
	t.conns[conn] = p
}

// leaveConn takes p out of the list of its connection.
func (t *Tracker) leaveConn(p *peer) {
	switch {
	case p.conn == 0:
		return
	case p.connPrev != nil:
		p.connPrev.connNext = p.connNext
	case p.connNext != nil:
		t.conns[p.conn] = p.connNext
	default:
		delete(t.conns, p.conn)
	}
	if p.connNext != nil {
		p.connNext.connPrev = p.connPrev
	}
	p.conn, p.connPrev, p.connNext = 0, nil, nil
}

// ConnEnded tells that a connection has ended. That proves the end of the
// process that held it, and nothing else: it is evidence about a peer whose
// latest beat came over it, if it was a long one.
func (t *Tracker) ConnEnded(now time.Time, conn ConnID, end End) []Transition {
	t.out = t.out[:0]
	for p := t.conns[conn]; p != nil; p = t.conns[conn] {
		t.leaveConn(p)
		if end != EndedByUs && p.connLong {
			t.lostConn(p, end, now)
		}
	}
	return t.out
}

// lostConn draws from the end of its long connection what it says of p.
func (t *Tracker) lostConn(p *peer, end End, now time.Time) {
	t.vacant.add(p)
	if p.state.over() || p.waits() {
		return
	}
	if grace, yes := p.grace(end); yes {
		p.deadV = min(p.deadV, t.verdict(now)+grace)
	}
	t.suspect(p, end.evidence(), now)
	t.rewake(p)
}

// grace returns how long p has to be heard again, if the end of its
// connection makes that shorter. It does not if p is watched from outside: then
// it was its watcher that ended. Who gives up has waited long enough before.
func (p *peer) grace(end End) (time.Duration, bool) {
	switch {
	case p.watched, end == GivenUp:
		return 0, false
	case end == Reset:
		return max(p.terms.Grace, p.span()+resetGrace), true
	}
	return p.terms.Grace, true
}

// suspect notes that something speaks against p. What is known to have
// happened is better evidence than silence.
func (t *Tracker) suspect(p *peer, evidence Reason, now time.Time) {
	p.changed = p.changed || p.evidence != evidence
	p.evidence = evidence
	if evidence != ReasonConnClosed && evidence != ReasonConnReset || p.alone(t.verdict(now)) {
		t.isolation.falls(p)
	}
	if t.holds(p) {
		t.become(p, Unknown, ReasonIsolated, now)
		return
	}
	if p.state == Suspect {
		p.reason = evidence
		return
	}
	t.become(p, Suspect, evidence, now)
}

// alone tells whether no other peer of the host of p speaks for the host: the
// end of one connection says nothing about a host that has more. Of an address
// that thousands share only the first ones are asked.
func (p *peer) alone(verdict time.Duration) bool {
	const enough = 100
	return !slices.ContainsFunc(p.host.peers[:min(enough, len(p.host.peers))], func(other *peer) bool {
		return other != p && other.state == Alive && !other.waits() && verdict < other.heardV+other.span()
	})
}

// inquire asks what the kernel knows of the host of p, which is silent. Once
// the connection has ended there is nothing to ask.
func (t *Tracker) inquire(p *peer) Reason {
	if t.opts.Ask == nil || p.conn == 0 || !p.connLong {
		return p.evidence
	}
	switch t.opts.Ask(p.conn) {
	case PathAnswers:
		return ReasonHung
	case PathIsSilent:
		return ReasonUnreachable
	}
	return ReasonSilence
}
