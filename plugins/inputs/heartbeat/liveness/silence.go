// This file decides how long a peer may be silent. The operator's terms set the rule; the
// declarations of a process, and the schedule learned from its beats, complete the rule. A
// declared interval is never shortened: the margin is added to it. Terms may also set a
// calendar: when beats are due, or the hours at which the peer is expected.

package liveness

import (
	"net/netip"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/calendar"
)

const (
	// MinSilence is the shortest silence that should count as death. With a shorter one, a
	// lost packet would cause a death: TCP waits a second before its first retransmission (RFC
	// 6298).
	MinSilence = 2 * time.Second
	// maxMargin is the longest margin beyond a declared interval: a daily job is reported
	// missing after 25 hours, not after 3.5 days.
	maxMargin = time.Hour
	// marginUnit is how many units of Terms.Margin make one interval.
	marginUnit = 256
	// maxStretch is how far lateness can stretch a margin.
	maxStretch = 4

	// A missed beat of a peer without an open connection is ignored if its allowed silence is
	// at most mayMiss: the next beat comes soon.
	mayMiss = 5 * time.Minute
	// aroundAway extends the time without a listening collector at both ends: a beat due
	// shortly before or after that time may also have been lost.
	aroundAway = time.Minute
	// soonBack limits how much the allowed silence is prolonged after a restart of the
	// collector, because the sender must reconnect.
	soonBack = time.Minute
)

// Terms are the rules that the operator sets for a peer.
type Terms struct {
	DeadAfter    time.Duration // silence allowed to a peer that declares no interval; > 0
	MaxDeadAfter time.Duration // upper limit for a peer that declares an interval; 0 for none
	Margin       int           // time added to a declared interval, in 1/256 of that interval; > 0; see MarginOf
	Patience     time.Duration // accepted delay beyond an interval or a due time, instead of Margin; 0 for none
	Grace        time.Duration // from the end of a long connection without a goodbye to death; >= 0
	ForgetDead   time.Duration // how long a dead peer is kept, but at least for three of its intervals; 0 keeps it forever

	Schedule  *calendar.Schedule // when beats are due, with Patience; nil for the declared interval
	Hours     *calendar.Hours    // the hours at which the peer is expected; nil for always
	Ephemeral bool               // a peer that falls silent counts as left

	Fixed bool   // DeadAfter applies even if the peer declares an interval
	Rule  string // the name of the rule for this peer; empty if an option applies
}

// MarginOf returns the margin that allows missedBeats beats, at least 1, to be missed. The
// margin ends halfway between two beats. If it ended at a whole multiple of the interval, it
// would be a matter of chance whether the beat after a lost one arrives before the deadline.
func MarginOf(missedBeats int) int { return (2*missedBeats - 1) * marginUnit / 2 }

// A Silence is how long a peer may be silent. Suspect is less than Dead.
type Silence struct {
	Suspect time.Duration // the silence after which the peer is suspect
	Dead    time.Duration // the silence after which the peer is dead; at least Options.MinSilence
	Rule    string        // its origin: an option, a declaration, or Terms.Rule
}

// SilenceFor returns the silence that would be allowed to the peer of b, if b were its first
// beat.
func (t *Tracker) SilenceFor(b *Beat) Silence {
	terms := t.termsOf(b.ID, b.Addr)
	if terms.Schedule != nil {
		silence, _ := terms.awaited(t.wall(t.tickV))
		return silence
	}
	return terms.silence(b.Interval, b.Margin, nil, 0).atLeast(t.opts.MinSilence, b.Interval)
}

// silence returns the silence allowed to o, a process of p.
func (t *Tracker) silence(p *peer, o *process) Silence {
	if p.onSchedule(o) {
		return p.terms.named(Silence{Suspect: o.suspectV - o.heardV, Dead: o.deadV - o.heardV}, "schedule")
	}
	var learnt *schedule
	if o.schedule.interval > 0 {
		learnt = &o.schedule
	}
	return p.terms.silence(o.interval, o.margin, learnt, o.heard).atLeast(t.opts.MinSilence, o.interval)
}

// termsOf returns the terms of a peer.
func (t *Tracker) termsOf(id ID, addr netip.Addr) *Terms {
	terms := &t.opts.Terms
	if t.opts.TermsOf != nil {
		if ruled := t.opts.TermsOf(id, addr); ruled != nil {
			terms = ruled
		}
	}
	for _, e := range t.expectations.byID[id] {
		if e.Schedule != nil && terms.Schedule == nil {
			return e.termsWithSchedule(terms)
		}
	}
	return terms
}

// renew restarts the deadlines of o, a process of p: its whole allowed silence begins at from.
func (t *Tracker) renew(p *peer, o *process, from time.Duration) {
	var silence Silence
	if p.terms.Schedule != nil {
		var due calendar.Due
		silence, due = p.terms.awaited(t.wall(from))
		p.await(due)
	}
	if !p.onSchedule(o) {
		silence = t.silence(p, o)
	}
	o.suspectV, o.deadV = from+silence.Suspect, from+silence.Dead
}

// silence returns the silence that the terms allow to a peer with the given interval, which is
// 0 if none is declared. declared is the declared margin, which applies unchanged. s is the
// schedule, or nil if none is learned yet. heard is the time at which the silence began.
func (t *Terms) silence(interval, declared time.Duration, s *schedule, heard time.Duration) Silence {
	if interval == 0 || t.Fixed {
		return t.named(split(interval, t.DeadAfter), "dead_after")
	}
	margin := t.margin(interval)
	rule, dead := "interval", interval+margin
	switch {
	case t.Patience > 0 && t.Schedule == nil:
		rule, dead = "grace", interval+t.Patience
	case declared > 0:
		rule, dead = "grace_ms", interval+declared
	case s != nil:
		rule, dead = "adaptive", s.stretch(interval, margin, heard)
	}
	if t.MaxDeadAfter > 0 && dead > t.MaxDeadAfter {
		rule, dead = "max_dead_after", t.MaxDeadAfter
	}
	return t.named(split(interval, dead), rule)
}

// named returns s with its Rule set to the rule of the terms, if they have one, or else to
// rule.
func (t *Terms) named(s Silence, rule string) Silence {
	s.Rule = rule
	if t.Rule != "" {
		s.Rule = t.Rule
	}
	return s
}

// split returns the Silence of a peer with the given time until death. The peer is suspect when
// a quarter of the time between the due beat and death has passed.
func split(interval, dead time.Duration) Silence {
	if interval == 0 || dead <= interval { // the upper limit may be below the interval
		return Silence{Suspect: dead / 2, Dead: dead}
	}
	return Silence{Suspect: interval + (dead-interval)/4, Dead: dead}
}

// atLeast returns s, extended to floor if it is shorter.
func (s Silence) atLeast(floor, interval time.Duration) Silence {
	if s.Dead >= floor {
		return s
	}
	longer := split(interval, floor)
	longer.Rule = s.Rule
	return longer
}

// margin returns the margin beyond interval. A margin above maxMargin is cut to the largest odd
// number of half intervals that fits.
func (t *Terms) margin(interval time.Duration) time.Duration {
	units := time.Duration(t.Margin)
	if interval/marginUnit <= maxMargin/units { // else the product may be too large
		return interval/marginUnit*units + interval%marginUnit*units/marginUnit
	}
	half := interval / 2
	fit := maxMargin / half // half intervals that fit
	if fit < 1 {
		return maxMargin
	}
	return (fit - 1 + fit%2) * half
}

const (
	// learningBeats is the number of beats during which phase and interval are learned quickly.
	learningBeats = 32
	// maxLateness limits the lateness learned from one beat, in declared intervals. Greater
	// lateness counts as this much and is never ignored: a detector that learns only from good
	// days is wrong about bad ones.
	maxLateness = 4
	// maxLead limits how much a beat that came early prolongs the wait for the next one, in
	// declared intervals.
	maxLead = 8
	// The measured interval may be longer than the declared one by 1/maxDrift of it, and as
	// short as 1/maxDrift of it.
	maxDrift = 4
	// maxOff is how far a beat may be off schedule, in intervals. Beyond that the schedule no
	// longer applies: the sender was suspended, or restarted its numbers.
	maxOff = 64
	// maxSteps is how many beats may be missing before the next one restarts the schedule.
	maxSteps = 256
)

// A schedule is what is learned about a process that declares an interval: when its beats are
// due, and how late they usually are. It is a tracking filter whose wait is tied to when the
// next beat is due (Chen, Toueg and Aguilera, IEEE Transactions on Computers 51(5), 2002) and
// whose margin follows the lateness (Jacobson, SIGCOMM 1988, as Bertier, Marin and Sens apply
// it, DSN 2002). It needs no window of past beats, only five integers. docs/decisions/0008
// gives the reasons.
type schedule struct {
	phase    time.Duration // when the last beat was due, since the tracker's epoch
	interval time.Duration // between declared/maxDrift and declared+declared/maxDrift; 0 while nothing is known
	lateness time.Duration // smoothed over 16 beats; <= maxLateness intervals
	taught   uint8         // number of beats it was learned from, at most learningBeats+1
	young    bool          // only one beat is known; senders vary the time of their second beats, so that they do not beat at the same time
}

// steps returns 1 if b directly follows the previous beat of o, a process of p, 2 if one beat
// is missing between them, and so on. 0 means that the schedule starts over: the schedule of a
// run does not apply to another run, except that one-shot runs share one schedule. The numbers
// of beats are the best evidence. Without numbers, no beat is missing on a long connection,
// because TCP loses none; otherwise only the gap is known.
func (p *peer) steps(o *process, b *Beat, numbered int64, before Run) int64 {
	s, over := &o.schedule, o.linkOver(b.Conn)
	switch {
	case s.interval == 0:
		return 0
	case numbered > 0:
		return numbered
	case before.High > 1 && p.run.Name != before.Name:
		return 0
	case over != nil && over.long:
		return 1
	}
	return max(int64((o.heard-s.phase+s.interval/2)/s.interval), 1)
}

// learn learns from a beat of o when the next beats are due. gap is the time since the previous
// beat. lost is how long the collector did not listen just before it read the beat. A new
// interval begins a new schedule. A beat that was read late because the collector was stalled
// advances the schedule but does not change it.
func (t *Tracker) learn(o *process, b *Beat, steps int64, gap, lost time.Duration) {
	if o.interval != b.Interval {
		o.schedule, steps = schedule{}, 0
	}
	t.declare(o, b.Interval, b.Margin)
	switch at := o.heard; {
	case b.Interval == 0:
	case steps == 0 || steps > maxSteps || steps > 1 && gap/time.Duration(steps) < o.schedule.interval/2:
		o.schedule.begin(at, b.Interval) // the numbers of the beats continued, but their schedule did not
	case o.schedule.young:
		o.schedule.phase, o.schedule.young = at, false
	case at < t.teachFrom || lost > 0:
		o.schedule.skip(at, steps)
	default:
		o.schedule.learn(at, b.Interval, steps)
	}
}

// begin restarts the schedule with a beat at the given time. The known interval and lateness
// are kept.
func (s *schedule) begin(at, declared time.Duration) {
	s.phase, s.young = at, true
	if s.interval == 0 {
		s.interval = declared
	}
}

// skip advances the schedule by n beats without learning, because beats that were received
// late while the collector did not listen show nothing about the peer.
func (s *schedule) skip(at time.Duration, n int64) {
	s.phase = min(s.phase+s.interval*time.Duration(n), at)
}

// learn learns from a beat that came n beats after the previous one.
func (s *schedule) learn(at, declared time.Duration, n int64) {
	late := at - s.phase - s.interval           // compared with the due time of the beat after the previous one
	off := late - s.interval*time.Duration(n-1) // compared with the due time of this beat
	lateness := max(off.Abs(), late)            // the extra wait that would have been enough
	phaseStep, intervalStep := s.steps(off, declared)
	s.lateness += (min(lateness, maxLateness*declared) - s.lateness) / 16
	s.phase += s.interval*time.Duration(n) + phaseStep
	s.interval += intervalStep / time.Duration(n)
	s.interval = min(max(s.interval, declared/maxDrift), declared+declared/maxDrift)
	if off.Abs() > maxOff*declared {
		s.phase = at
	}
}

// steps returns how far a beat that is off schedule moves phase and interval. Once the schedule
// is settled, one late beat hardly moves it.
func (s *schedule) steps(off, declared time.Duration) (phase, interval time.Duration) {
	if s.taught <= learningBeats {
		s.taught++
	}
	if s.taught > learningBeats {
		limit := 2*s.lateness + declared/1024
		off = min(max(off, -limit), limit)
		return off / 8, off / 1024
	}
	n := time.Duration(s.taught) + 1
	return 2 * off / min(n, 16), 2 * off / (n * n)
}

// stretch returns the silence allowed after a beat at the given time, with a margin that grows
// with lateness. The silence is at least interval + margin, and its margin is at most
// maxMargin.
//
// The wait lasts until the next beat is due by the schedule, even if this one came early, and
// then for the margin. The margin is as many intervals as the operator allows, each as long as
// the measured interval plus four times its usual lateness, but at most maxStretch measured
// intervals. TCP also waits for four deviations (RFC 6298).
func (s *schedule) stretch(interval, margin, heard time.Duration) time.Duration {
	due := s.interval + min(max(s.phase-heard, 0), maxLead*interval)
	late := min(s.interval+4*s.lateness, maxStretch*s.interval)
	stretched := margin * marginUnit / interval * late / marginUnit
	return max(min(due+stretched, interval+maxMargin), interval+margin)
}

// onSchedule reports whether the silence of o, a process of p, follows a calendar schedule. A
// process that declares an interval and stays connected is a running job: it beats at that
// interval until it ends.
func (p *peer) onSchedule(o *process) bool {
	running := func() bool { return o.interval > 0 && (o.hasLongConn() || o.lostLong || o.cutLong) }
	return p.terms.Schedule != nil && !running()
}

// wall returns the wall time that corresponds to verdict, a verdict time since the last tick.
func (t *Tracker) wall(verdict time.Duration) time.Time {
	return time.Unix(0, t.tickWall).Add(verdict - t.tickV)
}

// awaited returns the silence allowed after a beat at the given time, and the time at which the
// next beat is due.
func (t *Terms) awaited(heard time.Time) (Silence, calendar.Due) {
	due := t.Schedule.Awaited(heard, t.Patience)
	return t.named(t.until(due.At, heard), "schedule"), due
}

// until returns the silence that makes a peer suspect and dead. from is the time at which the
// silence begins, and due is the time at which the beat of the peer is due.
func (t *Terms) until(due, from time.Time) Silence {
	wait := min(max(due.Sub(from), -longAgo), longAgo)
	return Silence{Suspect: wait + t.Patience/4, Dead: wait + t.Patience}
}

// await notes when the next beat of p is due.
func (p *peer) await(due calendar.Due) {
	if p.due == nil || !p.due.At.Equal(due.At) {
		p.editPast().due, p.changed = &due, true
	}
}

// followWallClock adjusts the deadline of p to the wall clock, if the beat of p is not late yet
// or the wall clock was set back. It is needed because the verdict clock falls behind whenever
// the collector does not listen.
func (t *Tracker) followWallClock(p *peer) {
	if p.due == nil || !p.onSchedule(&p.process) {
		return
	}
	silence := p.terms.until(p.due.At, t.wall(t.tickV))
	if p.state == Alive || silence.Dead > 0 && p.deadV <= t.tickV {
		p.suspectV, p.deadV = t.tickV+silence.Suspect, t.tickV+silence.Dead
	}
}

// longestInterval returns how far apart two beats of the schedule can be, or 0 without a
// schedule.
func (t *Terms) longestInterval() time.Duration {
	if t.Schedule == nil {
		return 0
	}
	return t.Schedule.Apart()
}

// An awaitedBeat is the beat that the tracker waits for.
type awaitedBeat struct {
	due      calendar.Due
	late     time.Duration // how much later than due the previous beat came
	early    time.Duration // how early it may come
	patience time.Duration // how late it may come
}

// awaitedBeatOf returns the beat of p that the tracker waits for at the given time. heard is
// the time of the last beat. next is the first due time that is later than both that beat's due
// time and the time after. ok is false if these are unknown.
func (t *Tracker) awaitedBeatOf(p *peer, heard, at, after time.Time) (w awaitedBeat, next time.Time, ok bool) {
	if s := p.terms.Schedule; s != nil {
		w.due, w.patience = s.Awaited(heard, p.terms.Patience), p.terms.Patience
		if late := heard.Sub(s.Before(w.due.At).At); !p.expected && late > 0 && late <= p.terms.Patience {
			w.late = late
		}
		if p.due != nil {
			w.due = *p.due
		} else if w.due.At.Add(p.terms.Patience + aroundAway).Before(at) {
			w.due = s.After(at.Add(-p.terms.Patience - aroundAway))
		}
		return w, s.After(later(w.due.At, after)).At, true
	}
	every, margin := p.interval, t.silence(p, &p.process).Dead-p.interval
	if every == 0 || margin <= 0 || p.expected {
		return w, next, false
	}
	due := heard.Add(every)
	if gone := at.Sub(due.Add(margin + aroundAway)); gone > 0 {
		due = due.Add((gone/every + 1) * every)
	}
	next = due.Add(every)
	if gone := after.Sub(next); gone >= 0 {
		next = next.Add((gone/every + 1) * every)
	}
	return awaitedBeat{due: calendar.Due{From: due, At: due}, early: min(margin, every/4, maxMargin), patience: margin}, next, true
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// noteMissed reports whether a beat of p may have been lost while no collector listened,
// between from and to. heard is the time of the last beat of p, and to is the present. If a
// beat may have been lost, it is unknown whether p is alive, and p is not dead before its next
// beat is due.
func (t *Tracker) noteMissed(p *peer, heard, from, to time.Time) bool {
	if !p.onSchedule(&p.process) && (p.terms.Schedule != nil || t.silence(p, &p.process).Dead <= mayMiss) {
		return false
	}
	if _, limited := p.limited(); limited {
		return false // the limit of a running job applies
	}
	w, next, known := t.awaitedBeatOf(p, heard, from, to.Add(aroundAway))
	early, late := aroundAway, w.late+aroundAway
	if to.Sub(from) >= aroundAway { // no client retries for that long
		early, late = max(early, w.early), max(late, w.patience)
	}
	if !known || w.due.From.Add(-early).After(to) || !w.due.At.Add(late).After(from) {
		return false
	}
	terms := *p.terms
	if p.terms.Schedule == nil {
		terms.Patience = t.silence(p, &p.process).Dead - p.interval
	} else {
		p.await(calendar.Due{From: next, At: next})
	}
	silence := terms.until(next, to)
	p.suspectV, p.deadV, p.changed = t.tickV+silence.Suspect, t.tickV+silence.Dead, true
	return true
}

// continueWaiting adjusts the deadline of p to the wall clock, after a time in which no
// collector listened. If the deadline has passed, p gets some time to reconnect, unless had is
// set: then it got that time before.
func (t *Tracker) continueWaiting(p *peer, now time.Time, had bool) {
	silence := p.terms.until(p.due.At, now)
	if !had {
		silence.Dead = max(silence.Dead, soonBack)
	}
	p.suspectV, p.deadV = t.tickV+min(silence.Suspect, silence.Dead), t.tickV+silence.Dead
}

// missStalled makes p unknown if one of its beats may have been lost while this collector did
// not listen. The last tick before that was at from by the wall clock, and at since epoch. This change is not an event.
func (t *Tracker) missStalled(p *peer, from, now time.Time, at time.Duration) {
	heard := from.Add(p.lastHeard() - at)
	switch alone := !p.connected(); {
	case p.index < 0, p.lastHeard() > now.Sub(t.epoch): // it has beaten since
		return
	case p.waitsForSchedule():
		if !t.noteMissed(p, heard, from, now) {
			t.continueWaiting(p, now, false)
		}
		p.setWindow(p.deadV, p.windowBy)
	case p.state.over(), p.foreign():
		return
	case p.terms.Hours != nil && p.unknown(ReasonOffHours):
		t.restartOffHours(p, now)
	case alone && t.noteMissed(p, heard, from, now):
		if !p.expected {
			t.put(p, Unknown, ReasonRestored)
		}
	case alone && p.due != nil:
		t.continueWaiting(p, now, false)
	}
	t.rewake(p)
}

// reschedule applies new terms to p, because its schedule has changed.
func (t *Tracker) reschedule(p *peer, now time.Time) {
	terms := t.termsOf(p.id(), p.addr)
	if p.terms == terms || p.terms.sameSchedule(terms) {
		p.terms = terms
		return
	}
	before := p.terms
	p.terms = terms
	rested := p.due != nil && p.state == Left && p.reason == ReasonFinished && p.windowV > 0
	finished := rested && terms.Schedule != nil
	p.changed = true
	if p.dropOtherDue(); rested && !finished {
		p.closeWindow()
		t.rewake(p)
	}
	if p.state.over() && !finished || p.foreign() {
		return
	}
	heard := t.wall(t.tickV).Add(p.lastHeard() - t.tick)
	justBack := now.Sub(t.back) < aroundAway
	switch missed := justBack && t.noteMissed(p, heard, t.away, now); {
	case terms.Schedule == nil: // it waits until the peer declares an interval
		interval, margin := t.intervalWithoutSchedule(p.id(), before)
		t.declare(&p.process, interval, margin)
		t.renew(p, &p.process, p.heardV)
	case !justBack && p.due == nil: // an earlier due time does not concern this schedule
		p.await(terms.Schedule.After(now))
		t.continueWaiting(p, now, false)
	case !missed:
		t.waitAnew(p, heard, t.away, now)
	case !p.expected && !finished:
		t.put(p, Unknown, ReasonRestored)
	}
	if finished {
		p.setWindow(p.deadV, p.windowBy)
	}
	t.rewake(p)
}

// waitAnew makes the tracker wait for the beat of p that, by its schedule, was due next at the
// time at. heard is the time of the last beat.
func (t *Tracker) waitAnew(p *peer, heard, at, now time.Time) {
	w, _, _ := t.awaitedBeatOf(p, heard, at, now)
	p.await(w.due)
	t.continueWaiting(p, now, false)
	if p.unknown(ReasonRestored) && p.reported != Unknown && p.deadV > t.tickV+soonBack { // nothing was missed
		t.put(p, p.reported, ReasonBeat)
	}
}

// setBack adjusts the deadline of p after the wall clock was set back: the clock may have been
// wrong for a long time.
func (t *Tracker) setBack(p *peer, now time.Time) {
	rests := p.waitsForSchedule()
	if p.index < 0 || p.due == nil || p.terms.Schedule == nil || p.state.over() && !rests || p.foreign() {
		return
	}
	if p.due.At.Before(now.Add(p.terms.Schedule.Apart() + aroundAway)) {
		t.continueWaiting(p, now, false)
	} else { // the due time is from the wrong clock
		p.forgetDue()
		t.waitAnew(p, now.Add(p.lastHeard()-t.tick), now, now)
	}
	if rests {
		p.setWindow(p.deadV, p.windowBy)
	}
	t.rewake(p)
}

// dropOtherDue forgets the due time of the next beat of p, unless it is a due time of the
// schedule of p.
func (p *peer) dropOtherDue() {
	if p.due != nil && (p.terms.Schedule == nil || !p.terms.Schedule.After(p.due.At.Add(-1)).At.Equal(p.due.At)) {
		p.forgetDue()
	}
}

// intervalWithoutSchedule returns the interval and the margin of a peer whose terms no longer have a schedule.
// They come from its expectation or from the former schedule.
func (t *Tracker) intervalWithoutSchedule(id ID, before *Terms) (interval, margin time.Duration) {
	for _, e := range t.expectations.byID[id] {
		if e.Interval > 0 {
			return e.Interval, e.Margin
		}
	}
	return before.Schedule.Apart(), before.Patience
}

// sameSchedule reports whether beats are due at the same times under t and other.
func (t *Terms) sameSchedule(other *Terms) bool {
	if t.Schedule == nil || other.Schedule == nil {
		return t.Schedule == other.Schedule
	}
	return t.Schedule.String() == other.Schedule.String() && t.Patience == other.Patience
}

// restartOffHours reports whether p is not expected at this hour. If so, its silence counts
// from the start of its next hours. Otherwise, if it was silent before the current hours
// began, its silence counts from their start.
func (t *Tracker) restartOffHours(p *peer, now time.Time) bool {
	span := p.terms.Hours.At(now)
	startV, just := t.tickV+span.Until.Sub(now), true
	if span.Within {
		startV, just = t.startOfHours(now.Sub(span.From))
	}
	for o := range p.processes {
		silence := t.silence(p, o)
		switch suspectV, deadV := startV+silence.Suspect, startV+silence.Dead; {
		case o.heardV >= startV:
		case just && p.unknown(ReasonOffHours): // the verdict clock may have fallen behind meanwhile
			o.suspectV, o.deadV = suspectV, deadV
		default:
			o.suspectV, o.deadV = max(o.suspectV, suspectV), max(o.deadV, deadV)
		}
	}
	return !span.Within
}

// startOfHours returns the verdict time at which the current hours began; ago is how long that
// was before the last tick. It reports true if this collector did not listen at that moment:
// then the hours begin when it listens again. If the hours began before this collector started,
// its records handle them.
func (t *Tracker) startOfHours(ago time.Duration) (startV time.Duration, just bool) {
	since := t.tick - t.stallEnd
	switch {
	case ago > t.tick:
		return -never, false
	case ago < since: // the clock has not stopped since
		return t.tickV - ago, false
	case ago <= since+t.stall+maxTick:
		return t.tickV - since, true
	}
	return t.tickV - ago + t.stall, false
}

// resumeHours continues the silence of p from the record of another collector. If the hours of
// p have begun since then, its silence starts over.
func (t *Tracker) resumeHours(p *peer, r *Record, saved, now time.Time) {
	switch span := p.terms.Hours.At(now); {
	case !span.Within:
		t.restartOffHours(p, now)
	case saved.Before(span.From):
		silence := t.silence(p, &p.process)
		p.suspectV, p.deadV = max(p.suspectV, t.tickV+silence.Suspect), max(p.deadV, t.tickV+silence.Dead)
	default:
		left := r.Dead - r.Used
		if !r.Extended {
			left += p.soonBack()
		}
		p.deadV = max(p.deadV, t.tickV+left)
		p.suspectV = min(max(p.suspectV, t.tickV), p.deadV)
	}
}

// noteOffHours makes p unknown if it is silent at an hour at which it is not expected.
func (t *Tracker) noteOffHours(p *peer, verdict time.Duration, now time.Time) bool {
	off := p.unknown(ReasonOffHours) // the deadline must be updated
	if p.terms.Hours == nil || verdict < p.suspicionV() && !off || !t.restartOffHours(p, now) {
		return false
	}
	t.isolation.removeSilent(p.host)
	if !p.expected {
		t.become(p, Unknown, ReasonOffHours, now)
		p.reason, p.changed = ReasonOffHours, true // even if it was unknown before
	}
	return true
}
