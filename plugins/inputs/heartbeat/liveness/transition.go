// What comes out of a tracker: views of peers and transitions. A state changes in
// become, and is reported through announce, which reports no state twice; each report
// has an id, so that several collectors can report the same event as one.

package liveness

import (
	"net/netip"
	"time"
)

// A Transition is a change of what is believed of a peer, or an event in its
// life.
type Transition struct {
	View  // after it
	Event Event

	// EventID names the event: a number from 0 to 2^53-1, which a float64 holds
	// exactly. Collectors that have seen the same of a peer give the same one, before
	// and after a restart. It is a hash (FNV-1a) of the ID of the peer, the life of
	// its sender or else its process, the kind of event (of a change: the new state;
	// of Ended: the pid, too), the deaths after it, how many events of that kind there
	// were before, and Options.Origin. Once a peer is forgotten that count begins anew.
	EventID int64

	Previous State
	Lasted   time.Duration // how long Previous was the state
	Other    netip.Addr    // of a conflict: where the other process beats from
	Ending   Ending        // of Ended
}

// An Ending is the end of a process while another one of its peer lives. It
// changes no state.
type Ending struct {
	PID         uint32
	Reason      Reason
	ExitCode    int64
	HasExitCode bool
}

// A View is what is known of a peer at one instant. It may be kept.
type View struct {
	ID     ID
	At     time.Time // the stamp for its metrics; grows by at least 1 ms
	Addr   netip.Addr
	Labels []Label // not to be written to
	PID    uint32  // of the process heard last; 0 if none is known

	State  State
	Reason Reason
	Since  time.Time // wall clock
	Health Health    // as it said last

	Age       time.Duration // since the last beat
	Lasting   time.Duration // since Since
	DeadAfter time.Duration // of silence it would be dead
	Deadline  time.Duration // of silence left until death; 0 if none is running
	Suspicion float64       // 0 while a beat is not due, 1 at death
	Connected bool          // it has a connection over which it beats
	Flapping  bool

	ExitCode    int64
	HasExitCode bool
	DeadFor     time.Duration // in all, this death included
	Counters
}

// Details are a View with what is only shown to those that ask for it.
type Details struct {
	View                   // without At
	Never    bool          // it is expected, and was not heard yet
	Suspect  time.Duration // of silence it would be suspect
	Rule     string        // the option or declaration that set DeadAfter
	Observed netip.Addr    // where its latest beat really came from; invalid if that is not known
	HeardBy  string        // the mate that has heard it last; "" for this collector itself
	BackIn   time.Duration // what is left of its promise to be back; 0 for none
	Jobs     int           // that have begun and not ended

	Schedule  string        // when its beats are due, with the time zone; "" for none
	Due       time.Time     // the next of them, wall clock; zero without Schedule
	Patience  time.Duration // beyond that, or an interval, if a rule or a check has set it
	Hours     string        // when it is expected, with the time zone; "" for always
	OffUntil  time.Time     // it is not expected before then, wall clock; zero if it is
	Ephemeral bool          // its silence is no death
}

// Details returns them of the peer with number i, 0 <= i < Len. To look is no statement
// about the peer: it takes none of its stamps.
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

// addCalendar adds what the terms of p say of time as people mean it.
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

// backIn returns what is left of the promise of p, or 0 if there is none.
func (p *peer) backIn(verdict time.Duration) time.Duration {
	if p.windowV == 0 {
		return 0
	}
	return max(p.windowV-verdict, 1)
}

// View returns what is known of the peer with number i, 0 <= i < Len. Numbers
// change when a peer is forgotten: the last one takes its number.
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
	case p.runsOut():
		v.Deadline = max(p.deadlineV()-t.verdict(now), 0)
		v.Suspicion = p.suspicion(t.verdict(now))
	}
	return v
}

// age returns since when p was not heard, as far as is known. A mate that hears it, and
// this collector does not, would have said that it is late.
func (p *peer) age(at time.Duration) time.Duration {
	age := at - p.heardAnywhere()
	if p.foreign() && p.state == Alive {
		return min(age, p.span())
	}
	return age
}

// runsOut reports whether a silence is running here that ends in death.
func (p *peer) runsOut() bool {
	if p.foreign() {
		return false
	}
	return p.state == Alive || p.state == Suspect || p.state == Unknown && (p.expected || p.reason == ReasonRestored)
}

// suspicion returns which part of the patience with p is used up.
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

// become changes the state of p. No state changes anywhere else, except in Restore,
// of which nothing is reported. What follows from it is done here: the services of a
// host follow, and a dead nameless peer is vacant.
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
	told := p.toldSinceWhen()
	p.since, p.sinceUTC = at, now.UnixNano()
	t.noteSinceV(p, state, t.verdict(now))
	t.announceOnce(p, told, now)
	if p.host.own == p {
		t.leadServices(p, before, now)
	}
}

// keepsSinceV reports whether it matters since when a peer is in that state on the verdict clock:
// for how long it is kept, and whether it is left to mates.
func (t *Tracker) keepsSinceV(state State) bool { return state.over() || t.opts.Mates }

// noteSinceV notes since when p is in that state on the verdict clock.
func (t *Tracker) noteSinceV(p *peer, state State, verdict time.Duration) {
	if t.keepsSinceV(state) {
		p.editPast().sinceV = verdict
	}
}

// toldSinceWhen returns since when told was the state of p.
func (p *peer) toldSinceWhen() time.Duration {
	if p.toldApart {
		return p.toldSince
	}
	return p.since
}

// keepTold notes since when told was the state of p, which is another one now and not reported.
func (p *peer) keepTold(since time.Duration) {
	if p.toldApart = since != p.since; p.toldApart {
		p.editPast().toldSince = since
	}
}

// put counts p in another state. A host on which nothing lives is not silent.
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

// announceOnce reports the new state of p: at once, or at the next tick if p sends
// too much. The state that was reported last was so since told.
func (t *Tracker) announceOnce(p *peer, told time.Duration, now time.Time) {
	if !t.quiet {
		t.announce(p, told, now)
		return
	}
	if p.keepTold(told); !p.untold {
		p.untold = true
		t.untold = append(t.untold, p)
	}
}

// announce reports the state of p, unless it is the one that was reported last. That the
// mate that hears p is lost is shown, but is no event of p: other collectors do not see it.
func (t *Tracker) announce(p *peer, told time.Duration, now time.Time) {
	if p.told == p.state || p.unknown(ReasonMateLost) {
		p.keepTold(told)
		return
	}
	change := Transition{Event: Changed, Previous: p.told}
	if p.told != Unknown {
		change.Lasted = p.since - told
	}
	p.told, p.toldApart = p.state, false
	t.tell(p, change, now)
}

// tell reports a transition that concerns p.
func (t *Tracker) tell(p *peer, tr Transition, now time.Time) {
	tr.View = t.viewOf(p, now)
	t.report(p, tr)
}

// closeSeries reports the last point of the series under which p was known.
func (t *Tracker) closeSeries(p *peer, now time.Time) {
	tr := Transition{View: t.viewOf(p, now), Event: Changed, Previous: p.state, Lasted: now.Sub(t.epoch) - p.since}
	tr.State, tr.Reason = Left, ReasonReplaced
	t.report(p, tr)
}

// report adds tr, which is complete but for its id, to what the call returns.
func (t *Tracker) report(p *peer, tr Transition) {
	tr.EventID = p.nextEventID(&tr, t.opts.Origin)
	t.touch(p)
	t.out = append(t.out, tr)
}

// eventKinds is how many kinds of events there are: a change to each state, the
// last word of a series, and every other Event.
const eventKinds = len(States) + 1 + int(Ended-Changed)

// kind returns the kind of event that tr is, below eventKinds.
func (tr *Transition) kind() int {
	switch {
	case tr.Event != Changed:
		return len(States) + int(tr.Event-Changed)
	case tr.Reason == ReasonReplaced:
		return len(States)
	}
	return int(tr.State)
}

// A Trail numbers the events of a peer.
type Trail struct {
	Counts [eventKinds]uint32 // how many there were of each kind
}

// fingerprint tells trails apart.
func (t *Trail) fingerprint() uint16 {
	sum := newDigest
	for _, count := range t.Counts {
		sum = sum.number(uint64(count))
	}
	return uint16(sum.fold())
}

// merged returns the larger one of each count.
func (t Trail) merged(other Trail) Trail {
	for kind := range t.Counts {
		t.Counts[kind] = max(t.Counts[kind], other.Counts[kind])
	}
	return t
}

// nextEventID returns the id of tr, the next event of p, and counts it.
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

// A digest is a hash by FNV-1a, 64 bits. It is the same on every machine and in every
// version, which hash/maphash is not, and needs no allocation, which hash/fnv does.
type digest uint64

const newDigest digest = 14695981039346656037

func (d digest) octet(b byte) digest { return (d ^ digest(b)) * 1099511628211 }

// text adds s and an end that is in no text.
func (d digest) text(s string) digest {
	sum := d
	for i := range len(s) {
		sum = sum.octet(s[i])
	}
	return sum.octet(0xff)
}

// fold returns the sum in half the bits.
func (d digest) fold() uint32 { return uint32(d>>32) ^ uint32(d) }

// number adds the bytes of n, the lowest first.
func (d digest) number(n uint64) digest {
	sum := d
	for shift := 0; shift < 64; shift += 8 {
		sum = sum.octet(byte(n >> shift))
	}
	return sum
}
