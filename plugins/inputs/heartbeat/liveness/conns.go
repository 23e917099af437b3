package liveness

import (
	"net/netip"
	"slices"
	"time"
)

const (
	// longConn is how far apart two beats over one connection make it a long one.
	longConn = 100 * time.Millisecond
	// maxLinks is how many connections of one process are remembered. A sender
	// has one for each URL, and for a moment one more.
	maxLinks = 16
	// resetGrace is how much longer than its interval a peer whose connection was
	// reset has to dial anew: who cut it may have told only us.
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

// A link is a connection over which a process of a peer beats.
type link struct {
	conn       ConnID
	peer       *peer
	from       time.Duration // first beat over it
	long       bool
	prev, next *link // in the list of the connection, so that its end costs no search
	more       *link // in the list of the process
}

// over returns the link of o over conn, or nil.
func (o *process) over(conn ConnID) *link {
	for l := o.links; l != nil; l = l.more {
		if l.conn == conn {
			return l
		}
	}
	return nil
}

// holder returns the process whose link l is.
func (p *peer) holder(l *link) *process {
	for _, o := range p.formers {
		if o.over(l.conn) == l {
			return &o.process
		}
	}
	return &p.process
}

// hearOver notes that a beat of o, a process of p, came over conn.
func (t *Tracker) hearOver(p *peer, o *process, conn ConnID, at time.Duration) {
	if o.connless = conn == 0; o.connless {
		return
	}
	if l := o.over(conn); l != nil {
		if !l.long && at-l.from >= longConn {
			l.long, p.changed = true, true
		}
		return
	}
	l := &link{conn: conn, peer: p, from: at, next: t.conns[conn], more: o.links}
	if l.next != nil {
		l.next.prev = l
	}
	t.conns[conn], o.links = l, l
	p.changed = t.boundLinks(o) || p.changed
}

// boundLinks forgets the earliest connection of o if it has too many.
func (t *Tracker) boundLinks(o *process) bool {
	count, last := 0, o.links
	for l := o.links; l != nil; l = l.more {
		count, last = count+1, l
	}
	if count > maxLinks {
		t.cut(o, last)
	}
	return count > maxLinks
}

// cut takes l, a link of o, out of its lists.
func (t *Tracker) cut(o *process, l *link) {
	if l.prev != nil {
		l.prev.next = l.next
	} else if l.next != nil {
		t.conns[l.conn] = l.next
	} else {
		delete(t.conns, l.conn)
	}
	if l.next != nil {
		l.next.prev = l.prev
	}
	at := &o.links
	for *at != l {
		at = &(*at).more
	}
	*at = l.more
}

// unlink cuts all links of o.
func (t *Tracker) unlink(o *process) {
	for o.links != nil {
		t.cut(o, o.links)
	}
}

// ConnEnded tells that a connection from an address has ended; the zero Addr is
// that of a Unix socket. It proves the end of the process that held it, and
// nothing else: of a process that has no other connection, if that or one that
// has ended since its latest beat was a long one.
func (t *Tracker) ConnEnded(now time.Time, conn ConnID, end End, from netip.Addr) []Transition {
	t.out = t.out[:0]
	for l := t.conns[conn]; l != nil; l = t.conns[conn] {
		p := l.peer
		o := p.holder(l)
		t.cut(o, l)
		if end == EndedByUs {
			o.cutLong = o.cutLong || l.long
		} else {
			o.lostLong = o.lostLong || l.long
		}
		if l.long || o != &p.process {
			t.touch(p)
		}
		switch {
		case end == EndedByUs || !o.lostLong:
			t.endVisit(p)
		case o.links == nil && !o.connless:
			t.lose(p, o, end, from, now)
		}
	}
	return t.out
}

// lose draws from the end of its last connection what it says of o, a process
// of p.
func (t *Tracker) lose(p *peer, o *process, end End, from netip.Addr, now time.Time) {
	t.vacant.add(p)
	if p.state.over() || p.waits() || t.loseFormer(p, o, now) {
		return
	}
	verdict := t.verdict(now)
	t.noteLoss(p, o, end.evidence(), from, verdict)
	p.changed = true
	o.suspectV = min(o.suspectV, verdict)
	if grace, yes := o.grace(end, p.terms); yes && !o.loss.crowded {
		o.deadV = min(o.deadV, verdict+grace)
	}
	if verdict >= p.suspicionV() {
		t.suspect(p, now)
	}
	t.rewake(p)
}

// loseFormer deals with the end of the connection of a process whose place
// another one has taken. It reports whether that settles it: the end of one
// that has said nothing since belongs to the restart, if it comes soon, and a
// watcher that ends is nobody's death. Any other has lived until now.
func (t *Tracker) loseFormer(p *peer, o *process, now time.Time) bool {
	for _, other := range p.formers {
		switch {
		case o != &other.process || other.beatsOn:
		case o.watched || now.Sub(t.epoch)-other.replaced <= t.opts.Grace:
			return true
		default:
			other.beatsOn = true
		}
	}
	return false
}

// grace returns how long o has to be heard again, if the end of its connection
// makes that shorter. It does not if o is watched from outside: then it was its
// watcher that ended. Who gives up has waited long enough before.
func (o *process) grace(end End, terms *Terms) (time.Duration, bool) {
	switch {
	case o.watched, end == GivenUp:
		return 0, false
	case end == Reset:
		return max(terms.Grace, o.span(terms)+resetGrace), true
	}
	return terms.Grace, true
}

// suspect notes that something speaks against p.
func (t *Tracker) suspect(p *peer, now time.Time) {
	t.countSilent(p, t.verdict(now))
	switch {
	case t.holds(p):
		t.become(p, Unknown, ReasonIsolated, now)
	case p.state == Suspect:
		p.reason = p.evidence
	default:
		t.become(p, Suspect, p.evidence, now)
	}
}

// countSilent counts the host of p as silent, unless what is known of p proves
// that our network works. The end of one connection says nothing about a host
// that has more.
func (t *Tracker) countSilent(p *peer, verdict time.Duration) {
	ended := p.evidence == ReasonConnClosed || p.evidence == ReasonConnReset
	switch {
	case p.proves():
		t.isolation.removeSilent(p.host)
	case !ended || p.alone(verdict):
		t.isolation.addSilent(p)
	}
}

// alone tells whether no other peer of the host of p speaks for the host. Of an
// address that thousands share only the first ones are asked.
func (p *peer) alone(verdict time.Duration) bool {
	const enough = 100
	return !slices.ContainsFunc(p.host.peers[:min(enough, len(p.host.peers))], func(other *peer) bool {
		return other != p && other.state == Alive && !other.waits() && verdict < other.lastHeardV()+other.span()
	})
}

// inquire asks what the kernel knows of the host of p, which is silent. Once
// its connections have ended there is nothing to ask.
func (t *Tracker) inquire(p *peer, verdict time.Duration) {
	path, from, asked := t.ask(&p.process)
	if !asked {
		return
	}
	evidence := [...]Reason{PathUnknown: ReasonSilence, PathAnswers: ReasonHung, PathIsSilent: ReasonUnreachable}[path]
	t.noteLoss(p, &p.process, evidence, from, verdict)
}

// ask returns the best that the kernel knows of any long connection of o, and
// where that comes from.
func (t *Tracker) ask(o *process) (best Path, from netip.Addr, asked bool) {
	for l := o.links; l != nil && t.opts.Ask != nil; l = l.more {
		if !l.long {
			continue
		}
		asked = true
		switch path, addr := t.opts.Ask(l.conn); path {
		case PathAnswers:
			return path, addr, true
		case PathIsSilent:
			best, from = path, addr
		case PathUnknown:
		}
	}
	return best, from, asked
}

// onLong reports whether a long connection of p stands.
func (p *peer) onLong() bool {
	for l := p.links; l != nil; l = l.more {
		if l.long {
			return true
		}
	}
	return false
}
