// A peer and its host: what is kept of them, and how the services of a host follow it.
// A service shares the silence of its host if one sender beats for both. Then the
// host is judged, and the service with it: one alarm for a dead machine, not fifty.

package liveness

import (
	"container/list"
	"net/netip"
	"slices"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/calendar"
)

const (
	flapChanges = 3                // into or out of dead
	flapTime    = 10 * time.Minute // within which they make a peer flap
	never       = time.Duration(1<<63 - 1)
)

// A peer is all that is known of one peer. What every beat needs is here, what many peers
// have alike or not at all is in their traits.
type peer struct {
	host      *host  // never nil
	service   string // with the source of host and pid it is the ID
	pid       uint32
	index     int32      // in Tracker.order; -1 once it is forgotten, and then for good
	hostIndex int32      // in host.peers
	terms     *Terms     // never nil
	addr      netip.Addr // of its process

	state  State
	reason Reason // isolated only in Unknown, and only during isolation
	// told is the state that was reported last. It differs from state only while the
	// peer is untold: in Tracker.untold, once; and while it is unknown because a beat of it
	// may have been missed, which is no event.
	told      State
	untold    bool
	toldApart bool  // told did not begin to be the state at since, but at past.toldSince
	expected  bool  // a placeholder: it has never beaten, only the operator names it
	lone      bool  // nameless, and all that was heard of its process came over one short connection or in one datagram
	here      uint8 // beats that this collector has heard, up to fewBeats
	shift     uint8 // of total
	changed   bool  // its record has, and touch is yet to be called; set only while a call runs
	listed    bool  // in unsaved.peers, once
	late      uint8 // its class in unsaved.late; 0 if it is not late
	health    Health
	remote    remote        // whether addr is where it really beats from
	since     time.Duration // of state
	sinceUTC  int64         // likewise, unix ns, by the clock of then

	process // the one that holds its place; its former ones are in past

	run   Run // that spoke for it last
	rate  rate
	stamp int64  // unix ms of the last statement about it, which the next one exceeds
	beats uint64 // in all, those to other collectors included

	*traits // never nil; noTraits until there are some
}

// id returns what p is known by.
func (p *peer) id() ID { return ID{Source: p.host.source, Service: p.service, PID: p.pid} }

// isNamed reports whether p is known by id, its own one.
func (p *peer) isNamed(id ID) bool {
	return p.service == id.Service && p.pid == id.PID && p.host.source == id.Source
}

// nameless reports whether p is known by its pid only.
func (p *peer) nameless() bool { return p.service == "" }

// Counters count over the whole life of a peer.
type Counters struct {
	Beats uint64
	Mishaps
}

// Mishaps count what most peers have none of.
type Mishaps struct {
	Lost, Late, Duplicates, Limited, Restarts, Deaths, Mistakes, Conflicts uint64
}

// totals returns all of them.
func (m *Mishaps) totals() [8]*uint64 {
	return [...]*uint64{&m.Lost, &m.Late, &m.Duplicates, &m.Limited, &m.Restarts, &m.Deaths, &m.Mistakes, &m.Conflicts}
}

// A remote says whether a peer beats from the address that it claims. Most do: the others
// are in Tracker.remotes.
type remote uint8

const (
	remoteUnknown remote = iota
	remoteAsClaimed
	remoteDiffers
)

// observed returns where p beats from as the collector sees it, invalid if that is not known.
func (t *Tracker) observed(p *peer) netip.Addr {
	switch p.remote {
	case remoteAsClaimed:
		return p.addr
	case remoteDiffers:
		return t.remotes[p]
	case remoteUnknown:
	}
	return netip.Addr{}
}

// traits are what is known of a peer beyond that it beats.
type traits struct {
	labels []Label // never written to, only replaced: views share them
	before Run     // that spoke for it before the last one: with a one-shot beside a daemon neither makes the other forgotten
	proof  *proof  // nil for most: neither signed, nor of a user
	trail  Trail
	*past  // never nil; noPast until there is one
}

// Peers share their traits as long as there is nothing to tell them apart: they have none, or
// nothing was reported of them but that they live. These are never written to.
var (
	noTraits  = traits{past: &noPast}
	onlyAlive = traits{past: &noPast, trail: Trail{Counts: [eventKinds]uint32{Alive: 1}}}
)

// editTraits returns the traits of p to write to them.
func (p *peer) editTraits() *traits {
	if p.traits == &noTraits || p.traits == &onlyAlive {
		own := *p.traits
		p.traits = &own
	}
	return p.traits
}

// setTrail lets p have a trail.
func (p *peer) setTrail(trail Trail) {
	switch {
	case p.trail == trail:
	case p.traits == &noTraits && trail == onlyAlive.trail:
		p.traits = &onlyAlive
	default:
		p.editTraits().trail = trail
	}
}

// A past is what has gone wrong with a peer, was announced or doubted. Few peers
// have one: keeping it apart saves half of the memory of the others.
type past struct {
	dueTick   uint64        // the last tick that found it past its deadline; <= Tracker.ticks
	sinceV    time.Duration // of state, if that is over or there are mates; later after a lastExpected peer was kept
	toldSince time.Duration // of told, if toldApart

	held       time.Duration // for how long collectors before this one have held its silence
	heldPartly time.Duration // of that, while only a part of the hosts was silent
	spared     time.Duration // for how long its silence was held, and prolonged for it, in all; 0 once it is heard

	// The window in which it has promised to be back: it ends at windowV > 0, or
	// there is none. windowBy is the life of the sender that promised so for itself,
	// and empty if the promise was made by hand, or if there is no window.
	windowV   time.Duration
	windowBy  string
	shared    bool // that sender also beat for the host
	postponed bool // its end was put off, which is done once

	// formers are processes whose place was taken, at most maxFormers. A nameless
	// peer has none: a process with another pid has another name. It has replaced
	// ones instead, at most maxReplaced.
	formers    []*former
	replaced   []replaced
	jobs       jobs
	untoldEnds uint8 // how many of its endings are in Tracker.endings, at most maxFormers

	hasExitCode  bool
	exitCode     int64
	conflictTold time.Duration

	due         *calendar.Due // its next beat, if that has a schedule
	elsewhere   *elsewhere    // what mates know; nil if that does not matter
	deadFor     time.Duration // in all deaths before this one
	changes     [flapChanges]time.Duration
	changeCount int           // into or out of dead; changes[changeCount%flapChanges] is the oldest kept
	vacancy     *list.Element // in the queue of its source in Tracker.vacant; nil if its place is not vacant
	Mishaps
}

// noPast is the past of all peers that have none. It is never written to.
var noPast past

// editPast returns the past of p to write to it.
func (p *peer) editPast() *past {
	if p.past == &noPast {
		p.editTraits().past = new(past)
	}
	return p.past
}

func (p *peer) counters() Counters { return Counters{p.beats, p.Mishaps} }

// setWindow opens the window of p, moves its end, or with 0 and "" closes it.
func (p *peer) setWindow(until time.Duration, by string) {
	if p.windowV != until || p.windowBy != by {
		past := p.editPast()
		past.windowV, past.windowBy = until, by
		p.changed = true
	}
}

func (p *peer) setExit(code int64, has bool) {
	if p.exitCode != code || p.hasExitCode != has {
		past := p.editPast()
		past.exitCode, past.hasExitCode = code, has
		p.changed = true
	}
}

// forgetHold forgets that the silence of p was held: it is over.
func (p *peer) forgetHold() {
	if p.held > 0 || p.spared > 0 {
		past := p.editPast()
		past.held, past.heldPartly, past.spared = 0, 0, 0
	}
}

// unknown reports whether p is unknown for that reason.
func (p *peer) unknown(reason Reason) bool { return p.state == Unknown && p.reason == reason }

// noteChange notes a change into or out of dead.
func (p *peer) noteChange(at time.Duration) {
	past := p.editPast()
	past.changes[past.changeCount%flapChanges] = at
	past.changeCount++
}

// flapping reports whether p changes into and out of dead too often.
func (p *peer) flapping(at time.Duration) bool {
	oldest := p.changes[p.changeCount%flapChanges]
	return p.changeCount >= flapChanges && at-oldest <= flapTime
}

// nextStamp returns the wall time of a statement about the peer, in whole
// milliseconds, the resolution of the coarsest database: InfluxDB keeps a
// quarter as much of such samples (BENCHMARKS.md). It grows by one at least, but
// follows a clock that was set back.
func (p *peer) nextStamp(now time.Time) time.Time {
	const setBack = 5_000
	stamp := now.UnixMilli()
	if least := p.stamp + 1; stamp < least && least-stamp < setBack {
		stamp = least
	}
	p.stamp = stamp
	return time.UnixMilli(stamp)
}

// A host is all peers of one source. It has at least one, and is forgotten with the
// last.
type host struct {
	source   string
	own      *peer         // the one for the host itself, which its services follow; nil if there is none
	peers    []*peer       // each at its hostIndex
	heard    time.Duration // last beat of any of them; -never if none was heard
	speakers *speakers     // never nil; noSpeakers until something beats for the host itself
	living   int32         // how many of its peers are neither dead nor left
	index    int32         // in Tracker.hosts
	silence  int32         // 1 + index in isolation.silent; 0 if it is not silent, as it always is if nothing on it lives
	crowded  bool          // its peers are in Tracker.peers: at some time there were more than maxSearched
	// waitedFor is set while a service whose own silence is over waits for own.
	waitedFor bool
}

// maxSearched is among how many peers of a host one is found without Tracker.peers.
const maxSearched = 8

// speakers are the lives of senders that beat for a host itself, the latest first, never one
// twice. Two are remembered, enough for a one-shot beside a daemon.
type speakers [2]speaker

// noSpeakers are those of all hosts that have none. It is never written to.
var noSpeakers speakers

// A speaker is a life of a sender that beats for a host.
type speaker struct {
	life   string        // empty for a place not taken
	since  int64         // its first beat for the host, unix ns
	sinceV time.Duration // likewise
	heardV time.Duration // its latest beat
}

// hear notes that a life of a sender, if the beat names it, beats for h. It reports
// whether that is news.
func (h *host) hear(life string, verdict time.Duration, now time.Time) bool {
	if life == "" {
		return false
	}
	if h.speakers == &noSpeakers {
		h.speakers = new(speakers)
	}
	s, news := h.speakers, !h.hears(life)
	switch life {
	case s[0].life:
	case s[1].life:
		s[0], s[1] = s[1], s[0]
	default:
		s[0], s[1] = speaker{life: life, since: now.UnixNano(), sinceV: verdict}, s[0]
	}
	s[0].heardV = verdict
	return news
}

// hears reports whether that life of a sender beats for h.
func (h *host) hears(life string) bool {
	return life != "" && (life == h.speakers[0].life || life == h.speakers[1].life)
}

// silent reports whether h is counted as silent.
func (h *host) silent() bool { return h.silence > 0 }

// joinHost puts p among the peers of its host.
func (t *Tracker) joinHost(p *peer) {
	h := p.host
	p.hostIndex = int32(len(h.peers))
	h.peers = append(h.peers, p)
	h.living++
	if p.service == HostService {
		h.own = p
	}
	switch {
	case h.crowded:
		t.peers[p.id()] = p
	case len(h.peers) > maxSearched:
		h.crowded = true
		for _, p := range h.peers {
			t.peers[p.id()] = p
		}
	case p.nameless(): // another one may have been known by its pid
		delete(t.peers, p.id())
	}
}

// hostOf returns the host of a source, which is added if it is not known.
func (t *Tracker) hostOf(source string) *host {
	h := t.bySource[source]
	if h == nil {
		h = &host{source: source, index: int32(len(t.hosts)), heard: -never, speakers: &noSpeakers}
		t.bySource[source] = h
		t.hosts = append(t.hosts, h)
	}
	return h
}

// leaveHost takes p, which is unknown, from its host, and the host away with
// the last one.
func (t *Tracker) leaveHost(p *peer) {
	h := p.host
	other := h.peers[len(h.peers)-1]
	h.peers[p.hostIndex], other.hostIndex = other, p.hostIndex
	h.peers = slices.Delete(h.peers, len(h.peers)-1, len(h.peers))
	h.living--
	if h.own == p {
		h.own = nil
	}
	if h.living == 0 {
		t.isolation.removeSilent(h)
	}
	if len(h.peers) > 0 {
		return
	}
	delete(t.bySource, p.host.source)
	last := len(t.hosts) - 1
	t.hosts[h.index] = t.hosts[last]
	t.hosts[h.index].index = h.index
	t.hosts[last] = nil
	t.hosts = t.hosts[:last]
}

// follows reports whether p is a service and one sender of its host beats for it:
// they share their silence. All its processes that live have to follow.
func (p *peer) follows() bool {
	own := p.host.own
	if own == nil || own == p || p.terms.Schedule != nil || !p.host.hears(p.life) {
		return false
	}
	for o := range p.living {
		if !p.host.hears(o.life) {
			return false
		}
	}
	return true
}

// heardAfter reports whether p was heard when other should have been.
func (p *peer) heardAfter(other *peer) bool { return p.lastHeard() > other.lastHeard()+other.span() }

// waits reports whether the silence of p is that of its host, which is judged
// instead: a dead host is one alarm, not fifty. A service that is silent while its
// host goes on has a silence of its own.
func (p *peer) waits() bool {
	return p.follows() && !p.host.own.state.over() && !p.host.own.heardAfter(p)
}

// wakeWaiting has the services looked at that have waited for own to be heard.
func (t *Tracker) wakeWaiting(own *peer, now time.Time) {
	if !own.host.waitedFor || own.host.own != own {
		return
	}
	own.host.waitedFor = false
	t.withServices(own, waking, now, func(p *peer, _ time.Time) { t.wakeAt(p, t.tickV) })
}

// leadServices lets the services of a host follow what has become of it. A goodbye
// for a dead host retires its dead services too.
func (t *Tracker) leadServices(own *peer, before State, now time.Time) {
	kind := leading
	if before == Dead && own.state == Left && !t.learning { // of its services mates tell, too
		kind = retiring
	}
	t.withServices(own, kind, now, func(p *peer, now time.Time) {
		t.leadService(p, own, kind == retiring && own.state == Left, now)
	})
}

// leadService lets p follow what has become of its host. retired says that this was dead.
func (t *Tracker) leadService(p, own *peer, retired bool, now time.Time) {
	switch state, yes := p.afterHost(own); {
	case retired && p.state == Dead:
		t.followHost(p, Left, own, now)
	case yes && state == Suspect:
		t.become(p, Suspect, p.evidence, now)
	case yes:
		t.followHost(p, state, own, now)
	}
	if own.state == Alive && p.follows() && !p.state.over() {
		t.renew(p, &p.process, t.verdict(now)) // its own beat is still on its way
	}
	t.rewake(p)
}

// followHost lets p become what its host is.
func (t *Tracker) followHost(p *peer, state State, own *peer, now time.Time) {
	p.setWindow(own.windowV, own.windowBy)
	reason := ReasonHost
	if own.unknown(ReasonOffHours) {
		reason = ReasonOffHours
	}
	t.become(p, state, reason, now)
}

// afterHost returns what becomes of p now that own, its host, is what it is. When a
// host is heard again its services are not alive before they are heard too.
func (p *peer) afterHost(own *peer) (State, bool) {
	withHost := p.unknown(ReasonHost) || p.unknown(ReasonOffHours) && p.terms.Hours == nil
	if !p.follows() || p.heardAfter(own) || own.state == Alive || own.state == Suspect {
		return Suspect, withHost && own.state != Unknown
	}
	running := p.state == Alive || p.state == Suspect
	if own.state == Unknown {
		return Unknown, running && (own.reason == ReasonIsolated || own.reason == ReasonOffHours)
	}
	open := running || withHost || p.unknown(ReasonRestored) || p.unknown(ReasonOffHours)
	return own.state, open || p.endedLike(own)
}

// endedLike reports whether the end of p was the one of own, its host, so that
// it is another one when that of own is.
func (p *peer) endedLike(own *peer) bool {
	if own.state == Left {
		return p.state == Dead && p.reason == ReasonHost
	}
	return p.state == Left && (p.windowV > 0 || p.reason == ReasonHost)
}
