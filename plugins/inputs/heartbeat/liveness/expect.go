package liveness

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// An Expected names whom the operator expects: a service of a host or of an
// address, a host, or anybody at an address.
type Expected struct {
	Source  string // host name in lower case, or an address as netip prints it
	Service string // empty for the host itself, or anybody at an address
}

// An expectation is met as long as a peer is known that fits. Until then a
// placeholder stands for it.
type expectation struct {
	Expected
	addr   netip.Addr // Source, if that is one
	nobody *peer      // the placeholder
}

func (e *expectation) id() ID {
	return ID{Source: e.Source, Service: cmp.Or(e.Service, HostService)}
}

// fits tells whether p is one of those who are expected.
func (e *expectation) fits(p *peer) bool {
	switch {
	case p.nobody:
		return false
	case !e.addr.IsValid():
		return p.id == e.id()
	}
	return p.addr == e.addr && (e.Service == "" || e.Service == p.id.Service)
}

// Expect sets whom the operator expects. Who is not known is unknown until
// its silence has lasted too long.
func (t *Tracker) Expect(all []Expected, now time.Time) []Transition {
	t.out = t.out[:0]
	t.expectations = t.expectations[:0]
	for _, expected := range all {
		addr, _ := netip.ParseAddr(expected.Source) //nolint:errcheck // no address is a name
		e := &expectation{Expected: expected, addr: addr}
		t.expectations = append(t.expectations, e)
		e.nobody = t.placeholder(e, now)
	}
	t.disappoint(now)
	return t.out
}

// placeholder returns who stands for e, or nil if e is met.
func (t *Tracker) placeholder(e *expectation, now time.Time) *peer {
	if slices.ContainsFunc(t.order, e.fits) {
		return nil
	}
	if p := t.peers[e.id()]; p != nil {
		return p
	}
	p := t.add(e.id(), e.addr)
	p.nobody = true
	p.heard, p.heardV = now.Sub(t.epoch), t.verdict(now)
	p.since, p.sinceV, p.sinceUTC = p.heard, p.heardV, now.UnixNano()
	t.renew(p, p.heardV)
	t.rewake(p)
	return p
}

// disappoint drops the placeholders that nobody expects any more.
func (t *Tracker) disappoint(now time.Time) {
	stands := make(map[*peer]bool)
	for _, e := range t.expectations {
		stands[e.nobody] = true
	}
	for _, p := range slices.Clone(t.order) {
		if p.nobody && !stands[p] {
			t.become(p, Unknown, ReasonForgotten, now)
			t.remove(p)
		}
	}
}

// meet ends the expectations that p meets. A placeholder may stand for
// several, and p may itself have been one.
func (t *Tracker) meet(p *peer, now time.Time) {
	p.nobody = false
	for _, e := range t.expectations {
		switch nobody := e.nobody; {
		case nobody == nil:
		case nobody == p:
			e.nobody = nil
		case e.fits(p):
			e.nobody = nil
			if !t.standsForOthers(nobody) {
				t.closeSeries(nobody, now)
				t.put(nobody, Unknown, ReasonReplaced)
				t.remove(nobody)
			}
		}
	}
}

func (t *Tracker) standsForOthers(nobody *peer) bool {
	return slices.ContainsFunc(t.expectations, func(e *expectation) bool { return e.nobody == nobody })
}

// lastExpected tells whether p is the last one known that somebody expects.
func (t *Tracker) lastExpected(p *peer) bool {
	return p.nobody || slices.ContainsFunc(t.expectations, func(e *expectation) bool {
		others := func(other *peer) bool { return other != p && e.fits(other) }
		return e.fits(p) && !slices.ContainsFunc(t.order, others)
	})
}
