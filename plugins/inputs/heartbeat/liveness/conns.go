package liveness

import "time"

// longConn is how far apart two beats over one connection make it a long one.
const longConn = 100 * time.Millisecond

// hearOver notes over which connection the latest beat of p came. The peers
// of a connection are a list, so that its end costs no search.
func (t *Tracker) hearOver(p *peer, conn ConnID, at time.Duration) {
	if conn == p.conn {
		p.connLong = p.connLong || conn != 0 && at-p.connFrom >= longConn
		return
	}
	t.leaveConn(p)
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

// ConnEnded tells that a connection has ended. byPeer is false if the
// collector ended it itself: that says nothing about anybody.
func (t *Tracker) ConnEnded(conn ConnID, byPeer bool) {
	for p := t.conns[conn]; p != nil; p = t.conns[conn] {
		t.leaveConn(p)
		if byPeer && p.connLong {
			t.vacant.add(p)
		}
	}
}
