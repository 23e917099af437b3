// A peer and its host: what is kept of them, and how the services of a host follow it. A
// service shares the silence of its host if one sender beats for both. Then the host is
// judged, and the service with it: one alert for a dead machine, not fifty.

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

// A peer is what is known of one peer. What every beat needs is here; what many peers share,
// or do not have at all, is in their traits.
type peer struct {
	host      *host  // never nil
	service   string // the ID consists of the source of host, service and pid
	pid       uint32
	index     int32      // in Tracker.order; -1 once it is forgotten, for good
	hostIndex int32      // in host.peers
	terms     *Terms     // never nil
	addr      netip.Addr // of its process

	state  State
	reason Reason // ReasonIsolated only in Unknown, and only during isolation
	// reported is the state that was reported last. It differs from state only while the peer
	// is in Tracker.unreported, and while it is unknown because a beat of it may have been
	// missed, which is no event.
	reported      State
	unreported    bool  // it is in Tracker.unreported, once
	reportedApart bool  // reported did not begin at since, but at past.reportedSince
	expected      bool  // a placeholder: it has never beaten, only the operator names it
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

	process // the one that holds its place; former ones are in past

	run   Run // the latest run that beat for it
	rate  rate
	stamp int64  // unix ms of the latest statement about it; the next one exceeds it
	beats uint64 // total, including those to other collectors

	*traits // never nil; noTraits until there are any
}

// id returns the ID of p.
func (p *peer) id() ID { return ID{Source: p.host.source, Service: p.service, PID: p.pid} }

// isNamed reports whether id is the ID of p itself.
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

// Mishaps count what happens to few peers.
type Mishaps struct {
	Lost, Late, Duplicates, Limited, Restarts, Deaths, Mistakes, Conflicts uint64
}

// totals returns all counters of m.
func (m *Mishaps) totals() [8]*uint64 {
	return [...]*uint64{&m.Lost, &m.Late, &m.Duplicates, &m.Limited, &m.Restarts, &m.Deaths, &m.Mistakes, &m.Conflicts}
}

// A remote tells whether a peer beats from the address that it claims. Most do; the real
// addresses of the others are in Tracker.remotes.
type remote uint8

const (
	remoteUnknown remote = iota
	remoteAsClaimed
	remoteDiffers
)

// observed returns the address that p beats from, as the collector sees it; invalid if
// unknown.
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

// traits are what is known of a peer beyond the fact that it beats.
type traits struct {
	labels []Label // never modified, only replaced: views share them
	before Run     // the run before the last one, so that a one-shot sender beside a daemon does not displace the daemon's run
	proof  *proof  // nil for most: neither signed nor owned by a user
	trail  Trail
	*past  // never nil; noPast until there is one
}

// Peers share traits while they have none of their own, or while nothing but Alive was
// reported of them. The shared ones are never modified.
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

// A past is what has gone wrong with a peer, was announced, or was doubted. Few peers have
// one: keeping it apart saves half of the memory of the others.
type past struct {
	dueTick       uint64        // the last tick that found it past its deadline; <= Tracker.ticks
	sinceV        time.Duration // of state, if that is over or there are mates; later if a lastExpected peer was kept
	reportedSince time.Duration // of reported, if reportedApart

	held       time.Duration // for how long earlier collectors held its silence
	heldPartly time.Duration // the part of held while only some of the hosts were silent
	spared     time.Duration // for how long its silence was held, and prolonged for it, in total; 0 once it beats

	// The window of its promise to be back: it ends at windowV, or there is none if that is
	// 0. windowBy is the life of the sender that made the promise for itself; it is empty if
	// the promise was made by hand, or if there is no window.
	windowV   time.Duration
	windowBy  string
	shared    bool // that sender beat for the host, too
	postponed bool // the end of the window was postponed, which happens once

	// formers are processes whose place was taken, at most maxFormers. A nameless peer has
	// none, because another pid is another name. It has replaced instead, at most
	// maxReplaced.
	formers        []*former
	replaced       []replaced
	jobs           jobs
	unreportedEnds uint8 // how many of its endings are in Tracker.endings, at most maxFormers

	hasExitCode      bool
	exitCode         int64
	conflictReported time.Duration

	due         *calendar.Due // its next due beat, if there is a schedule
	elsewhere   *elsewhere    // what mates know; nil if that does not matter
	deadFor     time.Duration // total, without the current death
	changes     [flapChanges]time.Duration
	changeCount int           // into or out of dead; changes[changeCount%flapChanges] is the oldest kept
	vacancy     *list.Element // in the queue of its source in Tracker.vacant; nil if its place is not vacant
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

// nextStamp returns the wall time of a statement about the peer, in whole milliseconds, the
// resolution of the coarsest database. InfluxDB needs a quarter of the space for such samples
// (BENCHMARKS.md). Each stamp exceeds the previous one, but stamps follow a clock that was
// set back.
func (p *peer) nextStamp(now time.Time) time.Time {
	const setBack = 5_000
	stamp := now.UnixMilli()
	if least := p.stamp + 1; stamp < least && least-stamp < setBack {
		stamp = least
	}
	p.stamp = stamp
	return time.UnixMilli(stamp)
}

// A host is all peers of one source. It has at least one peer, and is forgotten with its
// last.
type host struct {
	source   string
	own      *peer         // the peer of the host itself, which its services follow; nil if there is none
	peers    []*peer       // each at its hostIndex
	heard    time.Duration // last beat of any of them; -never if there was none
	speakers *speakers     // never nil; noSpeakers until a sender beats for the host itself
	living   int32         // how many of its peers are neither dead nor left
	index    int32         // in Tracker.hosts
	silence  int32         // 1 + index in isolation.silent; 0 if it is not silent or nothing on it lives
	crowded  bool          // its peers are in Tracker.peers: at some time there were more than maxSearched
	// waitedFor is set while a service whose own silence is over waits for own.
	waitedFor bool
}

// maxSearched is the most peers of a host that are searched without the map Tracker.peers.
const maxSearched = 8

// speakers are the lives of senders that beat for the host itself, the latest first, each
// once. Two are enough for a one-shot sender beside a daemon.
type speakers [2]speaker

// noSpeakers is shared by all hosts that have none. It is never modified.
var noSpeakers speakers

// A speaker is a life of a sender that beats for a host.
type speaker struct {
	life   string        // empty for an unused entry
	since  int64         // its first beat for the host, unix ns
	sinceV time.Duration // likewise
	heardV time.Duration // its latest beat
}

// addSpeaker notes that a life of a sender beats for h, if the beat names one. It reports
// whether that is new.
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

// hasSpeaker reports whether that life of a sender beats for h.
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
	case p.nameless(): // another peer may have had its pid as an alias
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

// leaveHost removes p, which is unknown, from its host, and the host with its last peer.
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

// follows reports whether p is a service that shares the silence of its host: one sender
// beats for both, and that is so for all living processes of p.
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

// heardAfter reports whether p has beaten after other should have.
func (p *peer) heardAfter(other *peer) bool { return p.lastHeard() > other.lastHeard()+other.span() }

// waits reports whether the silence of p is that of its host, which is judged instead: a dead
// host is one alert, not fifty. A service that is silent while its host beats has a silence
// of its own.
func (p *peer) waits() bool {
	return p.follows() && !p.host.own.state.over() && !p.host.own.heardAfter(p)
}

// wakeWaiting makes the tick check the services that have waited for a beat of own.
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
	if before == Dead && own.state == Left && !t.learning { // mates report on its services, too
		kind = retiring
	}
	t.withServices(own, kind, now, func(p *peer, now time.Time) {
		t.updateService(p, own, kind == retiring && own.state == Left, now)
	})
}

// updateService makes p follow the state of its host. retired tells whether the host was dead
// and has left.
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
		t.renew(p, &p.process, t.verdict(now)) // its own beat is still on its way
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

// afterHost returns the state of p that follows from that of own, its host, and whether p
// takes it. When a host beats again, its services are not alive until they beat too.
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

// endedLike reports whether the end of p was that of own, its host, so that it changes when
// that of own does.
func (p *peer) endedLike(own *peer) bool {
	if own.state == Left {
		return p.state == Dead && p.reason == ReasonHost
	}
	return p.state == Left && (p.windowV > 0 || p.reason == ReasonHost)
}
