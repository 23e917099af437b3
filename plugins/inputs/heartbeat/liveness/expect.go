// A configuration. Expect names the peers that the operator expects. Until such a
// peer is heard a placeholder holds its place in lists and series, and is dead when its
// silence has been too long. And what a mistyped name may have meant.

package liveness

import (
	"cmp"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/calendar"
)

// An Expected names a peer that the operator expects: a service of a host or of an
// address, a host, or any peer at an address.
type Expected struct {
	Source  string // host name in lower case, or an address as netip prints it
	Service string // empty for the host itself, or any peer at an address

	Interval, Margin time.Duration      // that its beats will declare, if that is known; else 0
	Schedule         *calendar.Schedule // when they are due, with Margin; nil for Interval
}

// Equal reports whether both expect the same.
func (e Expected) Equal(other Expected) bool {
	a, b := e, other
	if a.Schedule != nil && b.Schedule != nil && a.Schedule.String() == b.Schedule.String() {
		a.Schedule, b.Schedule = nil, nil
	}
	return a == b
}

// An expectation is met as long as a peer is known that fits. Until then a
// placeholder holds its place: a peer that is expected, with the ID of the
// expectation. Several expectations may share one.
type expectation struct {
	Expected
	addr        netip.Addr // Source, if that is one
	placeholder *peer      // the placeholder

	base, terms *Terms // the latter are the former with Schedule
}

// scheduled returns base with the schedule of e.
func (e *expectation) scheduled(base *Terms) *Terms {
	if e.base != base {
		terms := *base
		terms.Schedule, terms.Patience, terms.Rule = e.Schedule, e.Margin, "check"
		terms.Hours, terms.Ephemeral = nil, false // it is a job
		e.base, e.terms = base, &terms
	}
	return e.terms
}

func (e *expectation) id() ID { return ID{Source: e.Source, Service: cmp.Or(e.Service, HostService)} }

// fits reports whether p meets the expectation.
func (e *expectation) fits(p *peer) bool {
	switch {
	case p.expected:
		return false
	case p.isNamed(e.id()):
		return true
	case !e.addr.IsValid():
		return false
	}
	return p.addr == e.addr && (e.Service == "" || e.Service == p.service)
}

// expectations are found by the ID of their placeholder, and those of an address
// also by that, so that neither a beat nor a configuration of thousands searches.
type expectations struct {
	byID   map[ID][]*expectation
	byAddr map[netip.Addr][]*expectation
}

func (all *expectations) add(e *expectation) {
	all.byID[e.id()] = append(all.byID[e.id()], e)
	if e.addr.IsValid() {
		all.byAddr[e.addr] = append(all.byAddr[e.addr], e)
	}
}

// of returns the expectations that p may meet, or of which it may be the
// placeholder.
func (all *expectations) of(p *peer) iter.Seq[*expectation] {
	return func(yield func(*expectation) bool) {
		goOn := true
		for _, e := range all.byID[p.id()] {
			goOn = goOn && yield(e)
		}
		for _, e := range all.byAddr[p.addr] {
			goOn = goOn && yield(e)
		}
	}
}

// list reports whether the operator names the host of b, with all that runs there, or
// its address. A peer that is named itself is known: its placeholder is.
func (all *expectations) list(b *Beat) bool {
	if len(all.byID[ID{Source: b.ID.Source, Service: HostService}]) > 0 {
		return true
	}
	return slices.ContainsFunc(all.byAddr[b.Addr], func(e *expectation) bool {
		return e.id().Service == HostService || e.Service == b.ID.Service
	})
}

// Expect sets which peers the operator expects, in place of those before. One that
// is not known gets a placeholder, unknown until its silence has lasted too long.
// The transitions are those of placeholders that are not needed any more.
func (t *Tracker) Expect(all []Expected, now time.Time) []Transition {
	t.out = t.out[:0]
	before := t.expectations.byID
	t.expectations = expectations{make(map[ID][]*expectation), make(map[netip.Addr][]*expectation)}
	named := make([]*expectation, len(all))
	for i, expected := range all {
		addr, _ := netip.ParseAddr(expected.Source) //nolint:errcheck // no address is a name
		named[i] = &expectation{Expected: expected, addr: addr}
		t.expectations.add(named[i])
	}
	t.rescheduleAll(before, now)
	met := t.met()
	stands := make(map[*peer]bool)
	for _, e := range named {
		if !met[e] {
			e.placeholder = t.placeholder(e, now)
			stands[e.placeholder] = true
		}
	}
	t.dropPlaceholders(stands, now)
	return t.out
}

// rescheduleAll lets the schedules of expectations apply, in place of those before.
func (t *Tracker) rescheduleAll(before map[ID][]*expectation, now time.Time) {
	for _, byID := range []map[ID][]*expectation{before, t.expectations.byID} {
		for id, all := range byID {
			p := t.lookUp(id)
			if p != nil && p.isNamed(id) && slices.ContainsFunc(all, func(e *expectation) bool { return e.Schedule != nil }) {
				t.reschedule(p, now)
			}
		}
	}
}

// met returns the expectations that known peers meet.
func (t *Tracker) met() map[*expectation]bool {
	met := make(map[*expectation]bool)
	for _, p := range t.order {
		for e := range t.expectations.of(p) {
			if e.fits(p) {
				met[e] = true
			}
		}
	}
	return met
}

// placeholder returns the peer that holds the place of e.
func (t *Tracker) placeholder(e *expectation, now time.Time) *peer {
	p := t.lookUp(e.id())
	if p != nil && !p.expected {
		return p
	}
	if p == nil {
		p = t.add(e.id(), e.addr)
		p.expected = true
		t.placeholders++
		p.heard, p.heardV = now.Sub(t.epoch), t.verdict(now)
		p.since, p.sinceUTC = p.heard, now.UnixNano()
		t.noteSinceV(p, Unknown, p.heardV)
	} else if p.interval == e.Interval && p.margin == e.Margin {
		return p
	}
	t.declare(&p.process, e.Interval, e.Margin)
	t.renew(p, &p.process, p.heardV)
	t.touch(p)
	t.rewake(p)
	return p
}

// dropPlaceholders removes the placeholders that are not needed.
func (t *Tracker) dropPlaceholders(stands map[*peer]bool, now time.Time) {
	if t.placeholders == 0 {
		return
	}
	for _, p := range slices.Clone(t.order) {
		if p.expected && !stands[p] {
			t.become(p, Unknown, ReasonForgotten, now)
			t.remove(p)
		}
	}
}

// Unmet returns what placeholders are there for, those of a collector before
// included.
func (t *Tracker) Unmet() []Expected {
	all := make([]Expected, 0, t.placeholders)
	for _, p := range t.order {
		if p.expected {
			all = append(all, Expected{Source: p.host.source, Service: serviceExpected(p.id()), Interval: p.interval, Margin: p.margin})
		}
	}
	return all
}

// serviceExpected is the reverse of expectation.id.
func serviceExpected(id ID) string {
	if id.Service == HostService {
		return ""
	}
	return id.Service
}

// meet ends the expectations that p meets. A placeholder may be there for several,
// and p may itself have been one.
func (t *Tracker) meet(p *peer, now time.Time) {
	if p.expected {
		p.expected = false
		t.placeholders--
	}
	for e := range t.expectations.of(p) {
		placeholder := e.placeholder
		if placeholder == nil || placeholder != p && !e.fits(p) {
			continue
		}
		if e.placeholder = nil; placeholder != p && !t.standsForMore(placeholder) {
			t.closeSeries(placeholder, now)
			t.put(placeholder, Unknown, ReasonReplaced)
			t.remove(placeholder)
		}
	}
}

// standsForMore reports whether another expectation needs the placeholder.
func (t *Tracker) standsForMore(placeholder *peer) bool {
	return slices.ContainsFunc(t.expectations.byID[placeholder.id()], func(e *expectation) bool { return e.placeholder == placeholder })
}

// lastExpected reports whether p is a placeholder, or the last peer known that meets
// an expectation: it is never forgotten, or its silence would be.
func (t *Tracker) lastExpected(p *peer) bool {
	if p.expected {
		return true
	}
	for e := range t.expectations.of(p) {
		if e.fits(p) && (!e.addr.IsValid() || !t.othersAt(e, p)) {
			return true
		}
	}
	return false
}

// othersAt reports whether another peer than p meets the expectation of an address.
// Most are found on the host of p. The search is bounded, because all peers that are
// to be forgotten in one tick search: one that finds no other is kept longer.
func (t *Tracker) othersAt(e *expectation, p *peer) bool {
	const far = 1000
	others := func(other *peer) bool { return other != p && e.fits(other) }
	return slices.ContainsFunc(p.host.peers[:min(far, len(p.host.peers))], others) ||
		slices.ContainsFunc(t.order[:min(far, len(t.order))], others)
}

// awaits reports whether b would meet an expectation: there is room for it where its
// placeholder is.
func (t *Tracker) awaits(b *Beat) bool {
	candidate := peer{host: &host{source: b.ID.Source}, service: b.ID.Service, pid: b.ID.PID, addr: b.Addr}
	for e := range t.expectations.of(&candidate) {
		if e.placeholder != nil && e.fits(&candidate) {
			return true
		}
	}
	return false
}

const (
	// maxNearby is how many peers of one host, or hosts, are looked at for what
	// may have been meant: the lock is held meanwhile.
	maxNearby = 10_000
	// maxNear is how many of those are named.
	maxNear = 3
	// nearby is by how many letters they differ at the most.
	nearby = 2
)

// Near returns the names of peers, at most three, that a mistyped id may have meant:
// other services of its host or, where that is not known, other hosts.
func (t *Tracker) Near(id ID) []string {
	var near []string
	if h := t.bySource[id.Source]; h != nil {
		for _, p := range h.peers[:min(maxNearby, len(h.peers))] {
			if !p.expected && distance(id.Service, p.service) <= nearby && len(near) < maxNear {
				near = append(near, p.id().String())
			}
		}
		return near
	}
	for _, h := range t.hosts[:min(maxNearby, len(t.hosts))] {
		if source := h.source; distance(id.Source, source) <= nearby && len(near) < maxNear {
			near = append(near, source)
		}
	}
	return near
}

// distance returns how many letters have to be inserted, deleted, changed or swapped
// with the next one to make b of a (the optimal string alignment distance), or more
// than nearby if that is more.
func distance(a, b string) int {
	if d := len(a) - len(b); d > nearby || d < -nearby {
		return nearby + 1
	}
	if strings.EqualFold(a, b) {
		return 0
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
