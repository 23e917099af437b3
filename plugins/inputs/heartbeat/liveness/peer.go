// This file defines a peer and its host, and how the services of a host follow it. A service
// shares the silence of its host if one sender beats for both. Then the verdict on the host
// applies to the service too: a dead machine causes one alert instead of fifty.

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
	flapTime    = 10 * time.Minute // within this time they make a peer flap
	never       = time.Duration(1<<63 - 1)
)

// A peer is the state of one peer. It contains the fields that every beat needs. Data that many
// peers share, or do not have, is in their traits.
type peer struct {
	host      *host  // never nil
	service   string // the ID consists of the source of host, service and pid
	pid       uint32
	index     int32      // in Tracker.order; -1 once it is forgotten, for good
	hostIndex int32      // in host.peers
	terms     *Terms     // never nil
	addr      netip.Addr // the address of its process

	state  State
	reason Reason // ReasonIsolated only in Unknown, and only during isolation
	// reported is the state that was reported last. It differs from state in two cases: while
	// the peer is in Tracker.unreported, and while the peer is unknown because a beat may have
	// been missed, which is not an event.
	reported      State
	unreported    bool  // it is in Tracker.unreported, once
	reportedApart bool  // reported did not begin at since, but at past.reportedSince
	expected      bool  // a placeholder: the operator names the peer, and it has never beaten
	lone          bool  // nameless, and all beats of its process came over one short connection or in one datagram
	here          uint8 // beats that this collector has received, up to fewBeats
	shift         uint8 // offset of total
	changed       bool  // its record has changed, and touch is still to be called; set only during a call
	listed        bool  // in unsaved.peers, once
	late          uint8 // its class in unsaved.late; 0 if it is not late
	health        Health
	remote        remote        // whether it beats from addr
	since         time.Duration // of state
	sinceUTC      int64         // likewise, unix ns, on the wall clock of that time

	process // the current process; former ones are in past

	run   Run // the latest run that beat for it
	rate  rate
	stamp int64  // unix ms of its latest metric or event; the next stamp is greater
	beats uint64 // total, including beats to other collectors

	*traits // never nil; noTraits until there are any
}

// id returns the ID of p.
func (p *peer) id() ID { return ID{Source: p.host.source, Service: p.service, PID: p.pid} }

// isNamed reports whether id is the ID of p itself.
func (p *peer) isNamed(id ID) bool {
	return p.service == id.Service && p.pid == id.PID && p.host.source == id.Source
}

// nameless reports whether p names no service. If so, its pid identifies it.
func (p *peer) nameless() bool { return p.service == "" }

// Counters are totals for as long as a peer is known.
type Counters struct {
	Beats uint64
	Mishaps
}

// Mishaps count events that few peers have.
type Mishaps struct {
	Lost, Late, Duplicates, Limited, Restarts, Deaths, Mistakes, Conflicts uint64
}

// totals returns all counters of m.
func (m *Mishaps) totals() [8]*uint64 {
	return [...]*uint64{&m.Lost, &m.Late, &m.Duplicates, &m.Limited, &m.Restarts, &m.Deaths, &m.Mistakes, &m.Conflicts}
}

// A remote states whether a peer beats from the address that it claims. Most peers do; the
// real addresses of the others are in Tracker.remotes.
type remote uint8

const (
	remoteUnknown remote = iota
	remoteAsClaimed
	remoteDiffers
)

// observed returns the address that p beats from, as the collector sees it. The address is
// invalid if it is unknown.
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

// traits is the data that most peers do not need.
type traits struct {
	labels []Label // never modified, only replaced, because views share them
	before Run     // the run before the latest, so that a one-shot sender beside a daemon does not displace the daemon's run
	proof  *proof  // nil for most peers, which are neither signed nor owned by a user
	trail  Trail
	*past  // never nil; noPast until there is one
}

// Peers share these traits while they have none of their own, or while only Alive was reported
// about them. Shared traits are never modified.
var (
	noTraits  = traits{past: &noPast}
	onlyAlive = traits{past: &noPast, trail: Trail{Counts: [eventKinds]uint32{Alive: 1}}}
)

// editTraits returns the traits of p for writing.
func (p *peer) editTraits() *traits {
	if p.traits == &noTraits || p.traits == &onlyAlive {
		own := *p.traits
		p.traits = &own
	}
	return p.traits
}

// setTrail sets the trail of p.
func (p *peer) setTrail(trail Trail) {
	switch {
	case p.trail == trail:
	case p.traits == &noTraits && trail == onlyAlive.trail:
		p.traits = &onlyAlive
	default:
		p.editTraits().trail = trail
	}
}

// A past contains the failures, announcements and doubts of a peer. Few peers have one: as a
// separate structure it saves half of the memory of the others.
type past struct {
	dueTick       uint64        // the last tick that found it past its deadline; <= Tracker.ticks
	sinceV        time.Duration // when state began, if that is over or there are mates; later if a lastExpected peer was kept
	reportedSince time.Duration // when reported began, if reportedApart

	held       time.Duration // how long earlier collectors held back the verdict on its silence
	heldPartly time.Duration // the part of held in which only some of the hosts were silent
	spared     time.Duration // how long in total the verdict on its silence was held back, and its deadline prolonged after that; 0 once it beats

	// The window of its promise to be back ends at windowV; 0 stands for no window. windowBy
	// is the run of the sender, if that made the promise for itself; it is empty if the
	// promise was made by hand, or if there is no window.
	windowV   time.Duration
	windowBy  string
	shared    bool // the sender in windowBy beat for the host too
	postponed bool // the end of the window was postponed, which happens once

	// formers are processes that another one has replaced, at most maxFormers. A nameless peer
	// has none, because another pid is another name. Such a peer has entries in replaced
	// instead, at most maxReplaced.
	formers        []*former
	replaced       []replaced
	jobs           jobs
	unreportedEnds uint8 // how many endings of its processes are in Tracker.endings, at most maxFormers

	hasExitCode      bool
	exitCode         int64
	conflictReported time.Duration

	due         *calendar.Due // its next beat that is due, if there is a schedule
	elsewhere   *elsewhere    // what mates know about it; nil if that does not matter
	deadFor     time.Duration // total, without the current death
	changes     [flapChanges]time.Duration
	changeCount int           // into or out of dead; changes[changeCount%flapChanges] is the oldest kept
	vacancy     *list.Element // in the queue of its source in Tracker.vacant; nil if it is not there
	Mishaps
}

// noPast is shared by all peers that have no past. It is never modified.
var noPast past

// editPast returns the past of p for writing.
func (p *peer) editPast() *past {
	if p.past == &noPast {
		p.editTraits().past = new(past)
	}
	return p.past
}

func (p *peer) counters() Counters { return Counters{p.beats, p.Mishaps} }

// setWindow opens the window of p, moves its end, or closes it with 0 and "".
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

// forgetHold forgets how long the verdict on the silence of p was held back, because the
// silence is over.
func (p *peer) forgetHold() {
	if p.held > 0 || p.spared > 0 {
		past := p.editPast()
		past.held, past.heldPartly, past.spared = 0, 0, 0
	}
}

// unknown reports whether p is unknown for the given reason.
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

// nextStamp returns the stamp of a metric or event of the peer: the wall time in whole
// milliseconds, the resolution of the coarsest database. InfluxDB needs a quarter of the space
// for such samples (BENCHMARKS.md). Each stamp is greater than the previous one, unless the
// clock was set back: stamps follow the clock.
func (p *peer) nextStamp(now time.Time) time.Time {
	const setBack = 5_000
	stamp := now.UnixMilli()
	if least := p.stamp + 1; stamp < least && least-stamp < setBack {
		stamp = least
	}
	p.stamp = stamp
	return time.UnixMilli(stamp)
}

// A host is the set of all peers of one source. It has at least one peer, and is forgotten
// with its last peer.
type host struct {
	source   string
	own      *peer         // the peer of the host itself, which its services follow; nil if there is none
	peers    []*peer       // each at its hostIndex
	heard    time.Duration // last beat of any of them; -never if there was none
	speakers *speakers     // never nil; noSpeakers until a sender beats for the host itself
	living   int32         // how many of its peers are neither dead nor left
	index    int32         // in Tracker.hosts
	silence  int32         // 1 + index in isolation.silent; 0 if it is not silent or nothing on it is alive
	crowded  bool          // its peers are in Tracker.peers, because it once had more than maxSearched
	// waitedFor is set while a service that is past its own deadline waits for own.
	waitedFor bool
}

// maxSearched is how many peers a host may have before they are searched with the map
// Tracker.peers.
const maxSearched = 8

// speakers are the runs of senders that beat for the host itself, the latest first, each
// once. Two are enough for a daemon and a one-shot sender beside it.
type speakers [2]speaker

// noSpeakers is shared by all hosts that have none. It is never modified.
var noSpeakers speakers

// A speaker is a run of a sender that beats for a host.
type speaker struct {
	life   string        // empty for an unused entry
	since  int64         // when it first beat for the host, unix ns
	sinceV time.Duration // likewise
	heardV time.Duration // its latest beat
}

// addSpeaker notes that a run of a sender beats for h, if the beat names one. It reports
// whether that run is new.
func (h *host) addSpeaker(life string, verdict time.Duration, now time.Time) bool {
	if life == "" {
		return false
	}
	if h.speakers == &noSpeakers {
		h.speakers = new(speakers)
	}
	s, isNew := h.speakers, !h.hasSpeaker(life)
	switch life {
	case s[0].life:
	case s[1].life:
		s[0], s[1] = s[1], s[0]
	default:
		s[0], s[1] = speaker{life: life, since: now.UnixNano(), sinceV: verdict}, s[0]
	}
	s[0].heardV = verdict
	return isNew
}

// hasSpeaker reports whether the given run of a sender beats for h.
func (h *host) hasSpeaker(life string) bool {
	return life != "" && (life == h.speakers[0].life || life == h.speakers[1].life)
}

// silent reports whether h counts as silent.
func (h *host) silent() bool { return h.silence > 0 }

// joinHost adds p to the peers of its host.
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
	case p.nameless(): // its pid may have been an alias of another peer
		delete(t.peers, p.id())
	}
}

// hostOf returns the host of a source, and adds the host if it is not known.
func (t *Tracker) hostOf(source string) *host {
	h := t.bySource[source]
	if h == nil {
		h = &host{source: source, index: int32(len(t.hosts)), heard: -never, speakers: &noSpeakers}
		t.bySource[source] = h
		t.hosts = append(t.hosts, h)
	}
	return h
}

// leaveHost removes p, whose state is Unknown, from its host. A host without peers is removed
// too.
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

// follows reports whether p is a service that shares the silence of its host: the sender of
// each living process of p also beats for the host.
func (p *peer) follows() bool {
	own := p.host.own
	if own == nil || own == p || p.terms.Schedule != nil || !p.host.hasSpeaker(p.life) {
		return false
	}
	for o := range p.living {
		if !p.host.hasSpeaker(o.life) {
			return false
		}
	}
	return true
}

// heardAfter reports whether p has beaten later than the next beat of other was due.
func (p *peer) heardAfter(other *peer) bool { return p.lastHeard() > other.lastHeard()+other.span() }

// waits reports whether the host of p is judged instead of p. It is if both are silent: a dead
// host causes one alert instead of fifty. A service that is silent while its host beats is
// judged by itself.
func (p *peer) waits() bool {
	return p.follows() && !p.host.own.state.over() && !p.host.own.heardAfter(p)
}

// wakeWaiting makes the tick check the services that have waited for own, which has beaten.
func (t *Tracker) wakeWaiting(own *peer, now time.Time) {
	if !own.host.waitedFor || own.host.own != own {
		return
	}
	own.host.waitedFor = false
	t.withServices(own, waking, now, func(p *peer, _ time.Time) { t.wakeAt(p, t.tickV) })
}

// updateServices makes the services of a host follow its change of state. A goodbye for a
// dead host retires its dead services, too.
func (t *Tracker) updateServices(own *peer, before State, now time.Time) {
	kind := updating
	if before == Dead && own.state == Left && !t.learning { // mates also report on its services
		kind = retiring
	}
	t.withServices(own, kind, now, func(p *peer, now time.Time) {
		t.updateService(p, own, kind == retiring && own.state == Left, now)
	})
}

// updateService makes p follow the state of its host. retired is true if the host was dead and
// has left.
func (t *Tracker) updateService(p, own *peer, retired bool, now time.Time) {
	switch state, ok := p.afterHost(own); {
	case retired && p.state == Dead:
		t.followHost(p, Left, own, now)
	case ok && state == Suspect:
		t.become(p, Suspect, p.evidence, now)
	case ok:
		t.followHost(p, state, own, now)
	}
	if own.state == Alive && p.follows() && !p.state.over() {
		t.renew(p, &p.process, t.verdict(now)) // the next beat of p itself is still to come
	}
	t.rewake(p)
}

// followHost gives p the state and the window of its host.
func (t *Tracker) followHost(p *peer, state State, own *peer, now time.Time) {
	p.setWindow(own.windowV, own.windowBy)
	reason := ReasonHost
	if own.unknown(ReasonOffHours) {
		reason = ReasonOffHours
	}
	t.become(p, state, reason, now)
}

// afterHost returns the state that own, its host, gives to p, and whether that is a change.
// When a host beats again, its services are not alive until they beat too.
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

// endedLike reports whether p ended together with own, its host. If so, a change of the end of
// own also applies to p.
func (p *peer) endedLike(own *peer) bool {
	if own.state == Left {
		return p.state == Dead && p.reason == ReasonHost
	}
	return p.state == Left && (p.windowV > 0 || p.reason == ReasonHost)
}
