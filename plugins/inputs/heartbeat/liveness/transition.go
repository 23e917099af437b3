// This file defines the output of a tracker: views of peers, and transitions. A state changes
// in become and is reported by announce, which reports no state twice. Each event has an ID,
// so that reports of several collectors can be recognized as the same event.

package liveness

import (
	"net/netip"
	"time"
)

// A Transition is a change of state of a peer, or another event.
type Transition struct {
	View  // after the transition
	Event Event

	// EventID identifies the event: a number from 0 to 2^53-1, which a float64 holds exactly.
	// Collectors that have observed the same history of a peer assign the same ID, before and
	// after a restart. It is an FNV-1a hash of the peer's ID, the run of its sender or else
	// its process, the kind of event (for a change, the new state; for Ended, also the pid),
	// the number of deaths after it, the number of earlier events of that kind, and
	// Options.Origin. When a peer is forgotten, its count of events starts over.
	EventID int64

	Previous State
	Lasted   time.Duration // how long Previous lasted
	Other    netip.Addr    // of a conflict: the address of the other process
	Ending   Ending        // of Ended
}

// An Ending is the end of a process while another process of its peer is alive. It changes
// no state.
type Ending struct {
	PID         uint32
	Reason      Reason
	ExitCode    int64
	HasExitCode bool
}

// A View describes a peer at one instant. The caller may keep it.
type View struct {
	ID     ID
	At     time.Time // the stamp for its metrics; increases by at least 1 ms
	Addr   netip.Addr
	Labels []Label // must not be modified
	PID    uint32  // the pid of the process that beat last; 0 if unknown

	State  State
	Reason Reason
	Since  time.Time // wall clock
	Health Health    // the health that was reported last

	Age       time.Duration // since the last beat
	Lasting   time.Duration // since Since
	DeadAfter time.Duration // the silence after which it is dead
	Deadline  time.Duration // the silence left until it is dead; 0 if no deadline is running
	Suspicion float64       // 0 while a beat is not due, 1 at death
	Connected bool          // it beats over an open connection
	Flapping  bool

	ExitCode    int64
	HasExitCode bool
	DeadFor     time.Duration // total, including the current death
	Counters
}

// Details are a View plus the fields that are shown only on request.
type Details struct {
	View                   // At is not set
	Never    bool          // it is expected, and no beat has arrived yet
	Suspect  time.Duration // the silence after which it is suspect
	Rule     string        // the option or declaration that set DeadAfter
	Observed netip.Addr    // the address that sent its latest beat; invalid if unknown
	HeardBy  string        // the mate that received its latest beat; "" for this collector
	BackIn   time.Duration // time left until its promise to be back ends; 0 for none
	Jobs     int           // jobs that have begun and not ended

	Schedule  string        // when its beats are due, with the time zone; "" for none
	Due       time.Time     // when the next beat is due, wall clock; zero without Schedule
	Patience  time.Duration // accepted delay beyond that, or beyond an interval, if a rule or a check sets it
	Hours     string        // when it is expected, with the time zone; "" for always
	OffUntil  time.Time     // when it is expected again, wall clock; zero if it is expected now
	Ephemeral bool          // it counts as left instead of dead when it falls silent
}

// Details returns the details of peer number i, 0 <= i < Len. Details uses no stamp, because no
// metric or event is sent.
func (t *Tracker) Details(i int, now time.Time) Details {
	p := t.order[i]
	stamp, silence := p.stamp, t.silence(p, &p.process)
	d := Details{
		View: t.viewOf(p, now), Never: p.expected, Suspect: silence.Suspect, Rule: silence.Rule,
		Observed: t.observed(p), HeardBy: p.heardBy(), BackIn: p.backIn(t.verdict(now)), Jobs: len(p.jobs.open),
	}
	d.At, p.stamp = time.Time{}, stamp
	d.addCalendar(p, now)
	return d
}

// addCalendar adds the schedule and the hours of p.
func (d *Details) addCalendar(p *peer, now time.Time) {
	d.Patience, d.Ephemeral = p.terms.Patience, p.terms.Ephemeral
	if p.terms.Schedule != nil && p.due != nil {
		d.Schedule, d.Due = p.terms.Schedule.String(), p.due.At
	}
	if p.terms.Hours == nil {
		return
	}
	d.Hours = p.terms.Hours.String()
	if span := p.terms.Hours.At(now); !span.Within {
		d.OffUntil = span.Until
	}
}

// backIn returns how much is left of the promise of p, or 0 if there is none.
func (p *peer) backIn(verdict time.Duration) time.Duration {
	if p.windowV == 0 {
		return 0
	}
	return max(p.windowV-verdict, 1)
}

// View returns what is known about peer number i, 0 <= i < Len. Numbers change when a peer is
// forgotten: the last peer gets its number.
func (t *Tracker) View(i int, now time.Time) View { return t.viewOf(t.order[i], now) }

func (t *Tracker) viewOf(p *peer, now time.Time) View {
	at := now.Sub(t.epoch)
	v := View{
		ID: p.id(), At: p.nextStamp(now), Addr: p.addr, Labels: p.labels, PID: p.ident.PID,
		State: p.state, Reason: p.reason, Since: time.Unix(0, p.sinceUTC), Health: p.health,
		Age: p.age(at), Lasting: at - p.since, DeadAfter: t.silence(p, &p.process).Dead,
		Connected: p.connected(), Flapping: p.flapping(at),
		ExitCode: p.exitCode, HasExitCode: p.hasExitCode,
		DeadFor: p.deadFor, Counters: p.counters(),
	}
	switch {
	case p.state == Dead:
		v.Suspicion = 1
		v.DeadFor += v.Lasting
	case p.hasDeadline():
		v.Deadline = max(p.deadlineV()-t.verdict(now), 0)
		v.Suspicion = p.suspicion(t.verdict(now))
	}
	return v
}

// age returns the time since the last known beat of p. If only a mate receives its beats, p
// counts as having beaten in time, because the mate would have reported a late beat.
func (p *peer) age(at time.Duration) time.Duration {
	age := at - p.lastBeatAnywhere()
	if p.foreign() && p.state == Alive {
		return min(age, p.span())
	}
	return age
}

// hasDeadline reports whether this collector waits for a beat of p and will report it dead if none
// comes.
func (p *peer) hasDeadline() bool {
	if p.foreign() {
		return false
	}
	return p.state == Alive || p.state == Suspect || p.state == Unknown && (p.expected || p.reason == ReasonRestored)
}

// suspicion returns how much of the time between the due beat and death has passed, from 0 to
// 1.
func (p *peer) suspicion(verdict time.Duration) float64 {
	heard, dead := p.lastHeardV(), p.deadlineV()
	due := heard + min(p.interval, dead-heard)
	if verdict <= due {
		return 0
	}
	if verdict >= dead {
		return 1
	}
	return float64(verdict-due) / float64(dead-due)
}

// become changes the state of p and applies the consequences: services follow their host, and
// a dead nameless peer may continue as another process. Only Restore changes states without
// become, and reports no change.
func (t *Tracker) become(p *peer, state State, reason Reason, now time.Time) {
	if p.state == state {
		return
	}
	at, before := now.Sub(t.epoch), p.state
	if before == Dead {
		p.editPast().deadFor += at - p.since
		p.noteChange(at)
	}
	if state == Dead {
		p.editPast().Deaths++
		p.noteChange(at)
		t.vacant.add(p)
	}
	t.put(p, state, reason)
	t.noteNews(p)
	since := p.stateReportedSince()
	p.since, p.sinceUTC = at, now.UnixNano()
	t.noteVerdictTime(p, state, t.verdict(now))
	t.announceOnce(p, since, now)
	if p.host.own == p {
		t.updateServices(p, before, now)
	}
}

// needsVerdictTime reports whether the verdict time of the change to state is needed. It decides
// how long the peer is kept, and whether mates judge it.
func (t *Tracker) needsVerdictTime(state State) bool { return state.over() || t.opts.Mates }

// noteVerdictTime notes the verdict time at which p changed to state, if that is needed.
func (t *Tracker) noteVerdictTime(p *peer, state State, verdict time.Duration) {
	if t.needsVerdictTime(state) {
		p.editPast().sinceV = verdict
	}
}

// stateReportedSince returns the time at which the last reported state began.
func (p *peer) stateReportedSince() time.Duration {
	if p.reportedApart {
		return p.reportedSince
	}
	return p.since
}

// noteReportedSince notes when the last reported state began, because the current state differs
// from it and is not reported yet.
func (p *peer) noteReportedSince(since time.Duration) {
	if p.reportedApart = since != p.since; p.reportedApart {
		p.editPast().reportedSince = since
	}
}

// put sets the state of p and updates the counts. A host without a living peer does not count
// as silent.
func (t *Tracker) put(p *peer, state State, reason Reason) {
	t.counts[p.state]--
	t.counts[state]++
	if was, is := p.state.over(), state.over(); was && !is {
		p.host.living++
	} else if is && !was {
		p.host.living--
	}
	p.state, p.reason = state, reason
	t.touch(p)
	if p.host.living == 0 {
		t.isolation.removeSilent(p.host)
	}
}

// announceOnce reports the new state of p: at once, or at the next tick if p sends too much.
// since is when the last reported state began.
func (t *Tracker) announceOnce(p *peer, since time.Duration, now time.Time) {
	if !t.overRate {
		t.announce(p, since, now)
		return
	}
	if p.noteReportedSince(since); !p.unreported {
		p.unreported = true
		t.unreported = append(t.unreported, p)
	}
}

// announce reports the state of p, unless that state was reported last. If the mate that
// receives the beats of p is unreachable, only the view shows this. It is not an event of p,
// because other collectors do not see it.
func (t *Tracker) announce(p *peer, since time.Duration, now time.Time) {
	if p.reported == p.state || p.unknown(ReasonMateLost) {
		p.noteReportedSince(since)
		return
	}
	change := Transition{Event: Changed, Previous: p.reported}
	if p.reported != Unknown {
		change.Lasted = p.since - since
	}
	p.reported, p.reportedApart = p.state, false
	t.emit(p, change, now)
}

// emit reports a transition of p.
func (t *Tracker) emit(p *peer, tr Transition, now time.Time) {
	tr.View = t.viewOf(p, now)
	t.report(p, tr)
}

// closeSeries reports the last point of the series of p under its current name and labels.
func (t *Tracker) closeSeries(p *peer, now time.Time) {
	tr := Transition{View: t.viewOf(p, now), Event: Changed, Previous: p.state, Lasted: now.Sub(t.epoch) - p.since}
	tr.State, tr.Reason = Left, ReasonReplaced
	t.report(p, tr)
}

// report assigns an ID to tr, which is otherwise complete, and adds it to the result of the
// current call.
func (t *Tracker) report(p *peer, tr Transition) {
	tr.EventID = p.nextEventID(&tr, t.opts.Origin)
	t.touch(p)
	t.out = append(t.out, tr)
}

// eventKinds is the number of kinds of events: a change to each state, the last point of a
// series, and every other Event.
const eventKinds = len(States) + 1 + int(Ended-Changed)

// kind returns the kind of event of tr, below eventKinds.
func (tr *Transition) kind() int {
	switch {
	case tr.Event != Changed:
		return len(States) + int(tr.Event-Changed)
	case tr.Reason == ReasonReplaced:
		return len(States)
	}
	return int(tr.State)
}

// A Trail counts the events of a peer, so that events can be numbered.
type Trail struct {
	Counts [eventKinds]uint32 // events of each kind
}

// fingerprint returns a hash of t.
func (t *Trail) fingerprint() uint16 {
	sum := newDigest
	for _, count := range t.Counts {
		sum = sum.number(uint64(count))
	}
	return uint16(sum.fold())
}

// merged returns the maximum of each count of t and other.
func (t Trail) merged(other Trail) Trail {
	for kind := range t.Counts {
		t.Counts[kind] = max(t.Counts[kind], other.Counts[kind])
	}
	return t
}

// nextEventID returns the ID of tr, the next event of p, and counts the event.
func (p *peer) nextEventID(tr *Transition, origin uint64) int64 {
	kind, trail := tr.kind(), p.trail
	id := newDigest.text(p.host.source).text(p.service).number(uint64(p.pid))
	if p.life != "" {
		id = id.text(p.life)
	} else {
		id = id.text(p.ident.Boot).number(uint64(p.ident.PID))
	}
	id = id.number(origin).number(uint64(kind)).number(p.Deaths).number(uint64(trail.Counts[kind]))
	if tr.Event == Ended {
		id = id.number(uint64(tr.Ending.PID))
	}
	trail.Counts[kind]++
	p.setTrail(trail)
	return int64(id % (1 << 53))
}

// A digest is a 64-bit FNV-1a hash. It is the same on every machine and in every version,
// unlike hash/maphash, and needs no allocation, unlike hash/fnv.
type digest uint64

const newDigest digest = 14695981039346656037

func (d digest) octet(b byte) digest { return (d ^ digest(b)) * 1099511628211 }

// text adds s and a terminator that does not occur in texts.
func (d digest) text(s string) digest {
	sum := d
	for i := range len(s) {
		sum = sum.octet(s[i])
	}
	return sum.octet(0xff)
}

// fold returns the hash folded to 32 bits.
func (d digest) fold() uint32 { return uint32(d>>32) ^ uint32(d) }

// number adds the bytes of n, the lowest first.
func (d digest) number(n uint64) digest {
	sum := d
	for shift := 0; shift < 64; shift += 8 {
		sum = sum.octet(byte(n >> shift))
	}
	return sum
}
