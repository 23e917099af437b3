// This file processes the configuration. Expect sets the peers that the operator expects.
// Until such a peer beats, a placeholder represents it in lists and series, and is dead when
// its silence has been too long. Near finds the names that a mistyped name may have meant.

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

// An Expected names a peer that the operator expects: a service of a host or of an address, a
// host, or any peer at an address.
type Expected struct {
	Source  string // host name in lower case, or an address as netip prints it
	Service string // empty for the host itself, or for any peer at an address

	Interval, Margin time.Duration      // that its beats will declare, if known; else 0
	Schedule         *calendar.Schedule // when its beats are due, accepting a delay of Margin; nil for Interval
}

// Equal reports whether e and other are the same expectation.
func (e Expected) Equal(other Expected) bool {
	a, b := e, other
	if a.Schedule != nil && b.Schedule != nil && a.Schedule.String() == b.Schedule.String() {
		a.Schedule, b.Schedule = nil, nil
	}
	return a == b
}

// An expectation is met while a matching peer is known. Until then it has a placeholder: a
// peer with expected set and with the ID of the expectation. Several expectations may share
// one.
type expectation struct {
	Expected
	addr        netip.Addr // Source, if that is an address
	met         bool       // a matching peer is known, or was known since the operator added the expectation
	placeholder *peer      // nil once it is met

	base, terms *Terms // terms are base with Schedule
}

// termsWithSchedule returns base with the schedule of e.
func (e *expectation) termsWithSchedule(base *Terms) *Terms {
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

// expectations are indexed by the ID of their placeholder, and each expectation of an address
// also by that address. So neither a beat nor a configuration of thousands of peers needs a
// search.
type expectations struct {
	all    []*expectation
	byID   map[ID][]*expectation
	byAddr map[netip.Addr][]*expectation
}

func (all *expectations) add(expected Expected) {
	addr, _ := netip.ParseAddr(expected.Source) //nolint:errcheck // no address is a name
	e := &expectation{Expected: expected, addr: addr}
	all.all = append(all.all, e)
	all.byID[e.id()] = append(all.byID[e.id()], e)
	if e.addr.IsValid() {
		all.byAddr[e.addr] = append(all.byAddr[e.addr], e)
	}
}

// of returns the expectations that p may meet, or whose placeholder it may be.
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

// lists reports whether the operator names the address of b, or its host, which covers all
// services of that host. A peer that the operator names has a placeholder, so it is known
// already.
func (all *expectations) lists(b *Beat) bool {
	if len(all.byID[ID{Source: b.ID.Source, Service: HostService}]) > 0 {
		return true
	}
	return slices.ContainsFunc(all.byAddr[b.Addr], func(e *expectation) bool {
		return e.id().Service == HostService || e.Service == b.ID.Service
	})
}

// Expect replaces the list of peers that the operator expects. A peer that is not known gets a
// placeholder, which is unknown until its silence has been too long. The returned transitions
// concern placeholders that are no longer needed. If there are many peers, the next tick does
// the work. Before the first tick the work is done at once, because no beat has to wait for
// it.
func (t *Tracker) Expect(all []Expected, now time.Time) []Transition {
	t.out = t.out[:0]
	if t.ticks > 1 && len(all)+len(t.order) > atOnce {
		t.chores = append(t.chores, t.expecting(all, func() time.Time { return t.tickNow }))
		return t.out
	}
	t.expecting(all, func() time.Time { return now })(everything)
	return t.out
}

// expecting returns the portion that does the work of Expect.
func (t *Tracker) expecting(all []Expected, now func() time.Time) portion {
	var before expectations
	next := newExpectations(len(all))
	reschedule := func(e *expectation) {
		if p := t.lookUp(e.id()); e.Schedule != nil && p != nil && p.isNamed(e.id()) {
			t.reschedule(p, now())
		}
	}
	var needless []*peer
	return sequence(
		func() portion { return each(all, 1, next.add) },
		func() portion { return once(func() { before, t.expectations = t.expectations, next }) },
		func() portion { return each(before.all, 1, reschedule) },
		func() portion { return each(next.all, 1, reschedule) },
		func() portion { return t.meetAddresses(&next) },
		func() portion { return each(next.all, 1, func(e *expectation) { t.addPlaceholder(e, now()) }) },
		func() portion { return t.findNeedless(&needless) },
		func() portion { return each(needless, 1, func(p *peer) { t.dropPlaceholder(p, now()) }) },
	)
}

func newExpectations(count int) expectations {
	return expectations{make([]*expectation, 0, count), make(map[ID][]*expectation), make(map[netip.Addr][]*expectation)}
}

// peersIf returns all peers if they are needed, else none.
func (t *Tracker) peersIf(needed bool) []*peer {
	if !needed {
		return nil
	}
	return slices.Clone(t.order)
}

// meetAddresses returns the portion that finds the peers at the expected addresses.
func (t *Tracker) meetAddresses(all *expectations) portion {
	return each(t.peersIf(len(all.byAddr) > 0), perUnit, func(p *peer) {
		for _, e := range all.byAddr[p.addr] {
			e.met = e.met || p.index >= 0 && e.fits(p)
		}
	})
}

// addPlaceholder gives e a placeholder, if no matching peer is known.
func (t *Tracker) addPlaceholder(e *expectation, now time.Time) {
	if p := t.lookUp(e.id()); p != nil && e.fits(p) {
		e.met = true
	}
	if !e.met {
		e.placeholder = t.placeholder(e, now)
	}
}

// placeholder returns the placeholder of e. It adds one if there is none.
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
		t.noteVerdictTime(p, Unknown, p.heardV)
	} else if p.interval == e.Interval && p.margin == e.Margin {
		return p
	}
	t.declare(&p.process, e.Interval, e.Margin)
	t.renew(p, &p.process, p.heardV)
	t.touch(p)
	t.rewake(p)
	return p
}

// findNeedless returns the portion that finds the placeholders that are no longer needed.
func (t *Tracker) findNeedless(needless *[]*peer) portion {
	return each(t.peersIf(t.placeholders > 0), perUnit, func(p *peer) {
		if p.expected && !t.stillNeeded(p) {
			*needless = append(*needless, p)
		}
	})
}

// dropPlaceholder removes a placeholder that is not needed.
func (t *Tracker) dropPlaceholder(p *peer, now time.Time) {
	if p.index >= 0 && p.expected {
		t.become(p, Unknown, ReasonForgotten, now)
		t.remove(p)
	}
}

// Unmet returns the expected peers that have placeholders, including placeholders of an
// earlier collector. It scans all peers: call it before beats are observed.
func (t *Tracker) Unmet() []Expected {
	all := make([]Expected, 0, t.placeholders)
	for _, p := range t.order {
		if p.expected {
			all = append(all, Expected{Source: p.host.source, Service: serviceExpected(p.id()), Interval: p.interval, Margin: p.margin})
		}
	}
	return all
}

// serviceExpected is the inverse of expectation.id.
func serviceExpected(id ID) string {
	if id.Service == HostService {
		return ""
	}
	return id.Service
}

// meet ends the expectations that p meets. A placeholder may serve several expectations, and p
// may have been a placeholder itself.
func (t *Tracker) meet(p *peer, now time.Time) {
	if p.expected {
		p.expected = false
		t.placeholders--
	}
	for e := range t.expectations.of(p) {
		e.met = e.met || e.fits(p)
		placeholder := e.placeholder
		if placeholder == nil || placeholder != p && !e.fits(p) {
			continue
		}
		if e.placeholder = nil; placeholder != p && !t.stillNeeded(placeholder) {
			t.closeSeries(placeholder, now)
			t.put(placeholder, Unknown, ReasonReplaced)
			t.remove(placeholder)
		}
	}
}

// stillNeeded reports whether an unmet expectation needs the placeholder.
func (t *Tracker) stillNeeded(placeholder *peer) bool {
	return slices.ContainsFunc(t.expectations.byID[placeholder.id()], func(e *expectation) bool { return e.placeholder == placeholder })
}

// lastExpected reports whether p is a placeholder, or the last known peer that meets an
// expectation. Such a peer is never forgotten: its silence would be forgotten with it.
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

// othersAt reports whether another peer than p meets the expectation of an address. Such peers
// are usually on the host of p. The search is limited, because it runs for every peer that a
// tick would forget; if it finds no other peer within the limit, p is kept longer.
func (t *Tracker) othersAt(e *expectation, p *peer) bool {
	const far = 1000
	others := func(other *peer) bool { return other != p && e.fits(other) }
	return slices.ContainsFunc(p.host.peers[:min(far, len(p.host.peers))], others) ||
		slices.ContainsFunc(t.order[:min(far, len(t.order))], others)
}

// awaits reports whether b would meet an expectation: its peer then replaces a placeholder.
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
	// maxNearby is the most peers of a host, or the most hosts, that are searched for similar
	// names. There is a limit because the lock is held during the search.
	maxNearby = 10_000
	// maxNear is how many similar names are returned.
	maxNear = 3
	// nearby is the most letters in which similar names may differ.
	nearby = 2
)

// Near returns up to three names of peers that a mistyped ID may have meant: other services
// of its host or, if the host is unknown, other hosts.
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

// distance returns how many letters must be inserted, deleted, changed or swapped with the
// next one to turn a into b (the optimal string alignment distance). If the lengths differ by
// more than nearby, it returns nearby + 1.
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
