// Observe processes a beat. First it decides whether to trust the beat, so that a refused beat
// changes nothing. Then it finds the peer that the beat is about, places the beat in the order
// of its run, finds the process that the beat is about, notes when the beat arrived, learns the
// schedule, and applies what the beat reports. Transitions are reported last, so that they show
// the peer as it is after the beat. Nearly all beats only report that their peer is still
// alive; they take a shorter path with the same result.

package liveness

import (
	"net/netip"
	"slices"
	"time"
)

// A Fate is the decision of the tracker on a beat.
type Fate uint8

// The fates of a beat.
const (
	Accepted         Fate = iota // a sign of life that becomes a metric
	Limited                      // a sign of life, but above the limit for metrics
	Duplicate                    // received before
	Late                         // a later beat of its run was received before
	Full                         // from a new peer, and there is no room for another peer
	FullHost                     // from a new peer, and there is no room for another peer of its host
	Replayed                     // signed, but received before or too old
	OwnedByOtherUser             // sent by another user than the one that owns the peer
	UnknownPeer                  // a goodbye for a peer that is not known
	Unlisted                     // for a peer that is neither known nor listed
	Begun                        // it reports the start of a job
)

// An Outcome is the result of Observe.
type Outcome struct {
	Fate        Fate
	At          time.Time     // the stamp for its metric
	Gap         time.Duration // since the previous beat; 0 for the first
	Jitter      time.Duration // the difference between Gap and the declared interval
	Lost        int64         // beats of its run that are missing before it
	Silence     Silence       // the silence allowed from now on
	Handle      Handle        // for the next beat over the same connection
	After       int64         // for Replayed: SentMS must exceed it; 0 if Seq is the problem
	Transitions []Transition
}

// Observe processes a beat received now. It returns the fate of the beat and every transition
// that the beat causes. Only the fates Accepted, Limited, Duplicate, Late and Begun change
// anything; nothing is kept of any other beat.
func (t *Tracker) Observe(now time.Time, b *Beat) Outcome {
	t.out, t.continued = t.out[:0], continued{}
	if p, at := t.peerOf(b), now.Sub(t.epoch); p != nil && t.isRoutine(p, b, at, now) {
		return t.noteRoutine(p, b, at, now)
	}
	return t.observeAny(now, b)
}

// observeAny is Observe for any beat; isRoutine decides which beats can take the short path.
func (t *Tracker) observeAny(now time.Time, b *Beat) Outcome {
	if after, replayed := t.Replayed(b, now); replayed {
		return Outcome{Fate: Replayed, After: after}
	}
	if t.OwnedByOtherUser(b) {
		return Outcome{Fate: OwnedByOtherUser}
	}
	if t.Unlisted(b, now) {
		return Outcome{Fate: Unlisted}
	}
	t.noteCarrier(b)
	place, carried := t.placeCarried(b, now)
	if place != fresh {
		return t.staleCarried(b, place, carried, now)
	}
	if t.unknownGoodbye(b) {
		return Outcome{Fate: UnknownPeer, Silence: t.SilenceFor(b)}
	}
	p := t.find(b, now)
	if p == nil {
		return Outcome{Fate: t.checkRoom(b.ID.Source), Silence: t.SilenceFor(b)}
	}
	t.noteCarried(p, b, carried)
	p.setOwner(b.User)
	t.noteSigned(p, b, now)
	switch {
	case b.Begins && p.beats > 0:
		return t.begin(p, b, now)
	case p.hasFailed(b, now.Sub(t.epoch)):
		return t.stale(p, b, duplicate, now)
	}
	run := p.run
	place, steps := p.judgeOrder(b.Run, b.Seq)
	if place == fresh && p.isLate(b, now.Sub(t.epoch)) {
		place = late
	}
	if place != fresh {
		return t.stale(p, b, place, now)
	}
	return t.accept(p, b, run, steps, now)
}

// isRoutine reports whether b only reports that p, its peer, is still alive: b is the next
// beat of its run, and nothing is pending that b could end. Nearly all beats are routine, and
// most checks of observeAny can be skipped for them.
func (t *Tracker) isRoutine(p *peer, b *Beat, at time.Duration, now time.Time) bool {
	return p.state == Alive && !p.lone && p.isNext(b) && p.reportsSame(b) && b.Addr == p.addr && b.Remote == t.observed(p) &&
		p.undisturbed() && !p.host.waitedFor && !p.host.silent() &&
		(!b.Watched || b.SentMS == 0 || b.Handle.p == p && len(t.carriers) == 0 && len(t.strangers) == 0) &&
		(!t.opts.Mates || t.waited(at, now) == 0)
}

// isNext reports whether b follows the latest beat of p, and is from the same process and the
// same sender.
func (p *peer) isNext(b *Beat) bool {
	numbered := p.run.High > 0 && b.Seq == p.run.High+1 && b.Run == p.run.Name
	return (numbered || b.Seq == 0) && b.Process == p.ident && (b.ID.PID == 0 || b.ID.PID == p.ident.PID) && p.life == b.life()
}

// reportsSame reports whether b reports the same about p as the previous beat.
func (p *peer) reportsSame(b *Beat) bool {
	health := b.Health == p.health || b.Health == HealthUnreported && p.health == HealthOK
	plain := b.Status == SaysAlive && !b.Begins && b.Job == "" && !b.Signed && b.User == 0
	return health && plain && b.Interval == p.interval && b.Margin == p.margin &&
		b.Watched == p.watched && b.Verified == p.verified
}

// undisturbed reports whether p has no suspicion, announcement or open question that its next
// beat would end.
func (p *peer) undisturbed() bool {
	return !p.unheard && !p.lostLong && !p.cutLong && !p.extended && p.evidence == ReasonSilence && p.rare == &noRare &&
		!p.expected && p.proof == nil && p.terms.Schedule == nil && (p.past == &noPast || p.past.undisturbed())
}

// undisturbed reports whether p contains nothing that the next beat would end.
func (p *past) undisturbed() bool {
	e := p.elsewhere
	return p.windowV == 0 && p.windowBy == "" && !p.postponed && !p.shared && p.held == 0 && p.spared == 0 &&
		!slices.ContainsFunc(p.formers, (*former).lives) && len(p.jobs.open) == 0 && !p.jobs.overran &&
		!p.hasExitCode && p.due == nil && p.vacancy == nil &&
		(e == nil || !e.foreign && !e.lost && e.by == "" && len(e.waits) == 0 && e.goodbye == ReasonNone && e.doubt == 0 && !e.endAway && !e.wanted)
}

// noteRoutine processes b, a routine beat of p. The result is the same as from observeAny.
func (t *Tracker) noteRoutine(p *peer, b *Beat, at time.Duration, now time.Time) Outcome {
	at = max(at, p.heard)
	gap, verdict := at-p.heard, t.verdictAt(at)
	p.run.High = max(p.run.High, b.Seq)
	p.beats++
	p.heard, p.heardV, p.host.heard = at, verdict, at
	t.noteConn(p, &p.process, b.Conn, at)
	t.learn(&p.process, b, p.steps(&p.process, b, min(b.Seq, 1), p.run), gap, t.notListened(now))
	if p.host.own == p {
		p.changed = p.host.addSpeaker(p.life, verdict, now) || p.changed
	}
	out := Outcome{Gap: gap, Jitter: jitter(gap, b.Interval, 0), Silence: t.silence(p, &p.process), Handle: Handle{p}}
	out.Fate, out.At = t.admit(p, b, at, now)
	p.suspectV, p.deadV = verdict+out.Silence.Suspect, verdict+out.Silence.Dead
	t.noteBeat(p)
	t.rewake(p)
	out.Transitions = t.out
	return out
}

// unknownGoodbye reports whether b is a goodbye from an unknown sender for an unknown peer.
// Such a goodbye changes nothing. The first beat of a job that ended at once is a goodbye too,
// but it carries an exit code.
func (t *Tracker) unknownGoodbye(b *Beat) bool {
	if b.Status != SaysLeaving || b.HasExitCode || t.peerOf(b) != nil {
		return false
	}
	host := t.bySource[b.ID.Source]
	if host == nil || b.life() == "" {
		return true
	}
	speaks := func(p *peer) bool { return p.life == b.life() }
	return !host.hasSpeaker(b.life()) && !slices.ContainsFunc(host.peers[:min(maxNearby, len(host.peers))], speaks)
}

// Unlisted reports whether b would add a peer that is not listed, although only listed peers
// may be added.
func (t *Tracker) Unlisted(b *Beat, now time.Time) bool {
	if !t.opts.KnownOnly || b.Listed || t.peerOf(b) != nil {
		return false
	}
	return !t.expectations.lists(b) && t.vacancyFor(b, now) == nil && !t.unknownGoodbye(b)
}

// find returns the peer that b is about: a known peer, a nameless peer that continues as the
// process of b, or a new peer. It returns nil if there is no room for a new peer. An expected
// peer replaces its placeholder, so it needs no room.
func (t *Tracker) find(b *Beat, now time.Time) *peer {
	if p := t.peerOf(b); p != nil {
		if p.expected {
			t.meet(p, now)
		}
		if p.nameless() && p.ident.PID != 0 && p.ident.PID != b.ID.PID {
			return t.separate(p, b, now)
		}
		return p
	}
	if p := t.vacated(b, now); p != nil {
		return p
	}
	if t.checkRoom(b.ID.Source) != Accepted && !t.awaits(b) {
		return nil
	}
	return t.addFor(b, now)
}

// addFor adds a new peer for b and returns it.
func (t *Tracker) addFor(b *Beat, now time.Time) *peer {
	p := t.add(b.ID, b.Addr)
	p.ident, p.life = b.Process, b.life()
	t.meet(p, now)
	return p
}

// staleCarried is stale for a beat that a carrier delivered. The peer of the beat may be
// unknown.
func (t *Tracker) staleCarried(b *Beat, place order, c *carried, now time.Time) Outcome {
	p := t.peerOf(b)
	t.noteCarried(p, b, c)
	if p == nil {
		return Outcome{Fate: Late, Silence: t.SilenceFor(b)}
	}
	return t.stale(p, b, place, now)
}

// stale handles a beat that is a duplicate or out of order. It is no sign of life, but it
// shows that the process has another connection: a sender sends the same beat over each of
// its paths.
func (t *Tracker) stale(p *peer, b *Beat, place order, now time.Time) Outcome {
	if p.process.is(b) {
		t.noteConn(p, &p.process, b.Conn, now.Sub(t.epoch))
	}
	if p.changed {
		t.touch(p)
	}
	out := Outcome{Fate: Duplicate, Silence: t.silence(p, &p.process), Transitions: t.out}
	if place == late {
		out.Fate = Late
		t.noteMishaps(p, &p.editPast().Late, 1)
		return out
	}
	t.noteMishaps(p, &p.editPast().Duplicates, 1)
	return out
}

// accept processes a beat of p that is not known to be older than the previous one. steps is 1
// if it directly follows the previous one, 2 if one beat is missing between them, and so on; 0
// if that is unknown. run is the latest run of p before b.
func (t *Tracker) accept(p *peer, b *Beat, run Run, steps int64, now time.Time) Outcome {
	out := Outcome{Lost: max(steps-1, 0), Handle: Handle{p}}
	at, numbered := now.Sub(t.epoch), steps > 0
	first, ended, was, foreign := p.beats == 0, p.state.over() && !p.reason.inferred(), p.state, p.foreign()
	o, match := t.identify(p, b, at)
	anew := match == newProcess || match == bootedProcess
	at = max(at, o.heard) // a gap is never negative
	if !first && match != strangeProcess {
		out.Gap = at - o.heard
		out.Jitter = jitter(out.Gap, b.Interval, out.Lost)
	}
	t.countBeat(p, out.Lost)
	event := t.countEvent(p, b, match, at, now)
	job := p.noteJob(b, at, t.verdict(now))
	if match != strangeProcess {
		p.noteVisit(o, b, first || anew || o.unheard)
		t.noteArrival(p, o, b, at, now)
	}
	if b.Status == SaysAlive {
		if !ended && !anew {
			steps = p.steps(o, b, steps, run)
		} else {
			steps = 0
		}
		p.changed = p.changed || o.interval != b.Interval || o.margin != b.Margin
		t.learn(o, b, steps, out.Gap, t.notListened(now))
	}
	out.Silence = t.silence(p, o)
	out.Fate, out.At = t.admit(p, b, at, now)
	t.overRate = out.Fate == Limited
	t.applyReport(p, b, o, match, numbered, now)
	if p.terms.Schedule != nil {
		out.Silence = t.silence(p, &p.process)
	}
	p.noteEnd(o, false)
	t.emitEvent(p, event, b.Addr, now)
	t.noteFact(p, b, first || anew || foreign || job, was, numbered, now)
	t.overRate = false
	t.noteBeat(p)
	t.rewake(p)
	out.Transitions = t.out
	return out
}

// A match tells which process of a peer a beat is about.
type match uint8

const (
	sameProcess    match = iota // the current one
	newProcess                  // a new one, which becomes the current one
	bootedProcess               // a new one after a reboot of its host, which becomes the current one
	formerProcess               // one that another living process has replaced
	strangeProcess              // an unknown one whose first beat reports its end, while another process is alive
)

// identify returns the process of p that b is about, and how b matches it. An unknown process
// becomes the current one, unless its first beat reports its end while another process is
// alive.
func (t *Tracker) identify(p *peer, b *Beat, at time.Duration) (*process, match) {
	if p.process.is(b) {
		if completed := p.ident.completed(b.Process); completed != p.ident {
			p.ident, p.changed = completed, true
		}
		return &p.process, sameProcess
	}
	if other := p.formerOf(b); other != nil {
		if o, match := t.identifyFormer(p, b, other); o != nil {
			return o, match
		}
	} else if b.Status != SaysAlive && !p.state.over() && !p.sameSender(b) {
		strange := processOf(b.Process, b.life())
		return &strange, strangeProcess
	}
	match := newProcess
	if p.ident.rebooted(b.Process) {
		match = bootedProcess
	}
	t.takePlace(p, b, at)
	return &p.process, match
}

// identifyFormer is identify for a beat about other, a former process of p. It returns nil if
// other has ended and b begins a new process with the same identity.
func (t *Tracker) identifyFormer(p *peer, b *Beat, other *former) (*process, match) {
	renamed := p.life != "" && p.life == b.life() // its sender now reports that the peer is this process
	switch {
	case b.Status != SaysAlive || !p.state.over() && !renamed:
		other.ident = other.ident.completed(b.Process)
		return &other.process, formerProcess
	case !renamed && !other.ended.reported():
		t.retakePlace(p, other)
		return &p.process, sameProcess
	}
	t.forgetFormer(p, other)
	return nil, newProcess
}

// jitter returns the difference between a gap and the declared interval. If beats were lost,
// it uses the corresponding number of intervals.
func jitter(gap, interval time.Duration, lost int64) time.Duration {
	if interval == 0 || lost >= int64(never/interval) {
		return 0
	}
	return (gap - interval*time.Duration(lost+1)).Abs()
}

// countBeat counts a beat of p, and the beats lost before it.
func (t *Tracker) countBeat(p *peer, lost int64) {
	p.beats++
	if lost > 0 {
		t.noteMishaps(p, &p.editPast().Lost, uint64(lost))
	}
}

// countEvent counts the event that a beat with this match implies and returns it, or noEvent.
// In a conflict, two processes beat in turn, each within the interval of the other, because
// two machines use one name. A conflict is reported at most once a minute.
func (t *Tracker) countEvent(p *peer, b *Beat, match match, at time.Duration, now time.Time) Event {
	switch {
	case p.lone: // its processes are successive runs of one job
	case match == newProcess, match == bootedProcess:
		return p.countRestart(match)
	case match == formerProcess && b.Status == SaysAlive && at-p.heard <= p.span() && t.waited(at, now) == 0:
		past := p.editPast()
		t.noteMishaps(p, &past.Conflicts, 1)
		if past.Conflicts == 1 || at-past.conflictReported >= conflictPause {
			past.conflictReported = at
			return Conflict
		}
	}
	return noEvent
}

// countRestart counts a restart of p, if that is what match means, and returns the event.
func (p *peer) countRestart(match match) Event {
	if p.lone || match != newProcess && match != bootedProcess {
		return noEvent
	}
	p.editPast().Restarts++
	if match == bootedProcess {
		return Rebooted
	}
	return Restarted
}

// noteArrival notes when a beat of o, a process of p, arrived, and over which connection. It
// clears every suspicion of the process.
func (t *Tracker) noteArrival(p *peer, o *process, b *Beat, at time.Duration, now time.Time) {
	p.noteSpeaker(b)
	t.noteMaxDelay(p, at, now)
	if b.Status == SaysAlive { // an end may be reported by hand, from a host whose beats do not arrive here
		t.noteBeatHere(p)
	}
	p.changed = p.changed || o.cutLong
	o.verified, o.unheard = b.Verified, false
	o.heard, o.heardV, o.lostLong, o.cutLong = at, t.verdict(now), false, false
	p.forgetHold()
	p.host.heard = at
	t.clearLoss(o)
	t.isolation.removeSilent(p.host)
	t.noteConn(p, o, b.Conn, at)
	p.lone = p.lone && !p.hasLongConn()
	t.wakeWaiting(p, now)
}

// admit decides whether a beat of p becomes a metric, and returns the stamp of the metric. A
// beat above the rate is still a sign of life: limits cause no deaths.
func (t *Tracker) admit(p *peer, b *Beat, at time.Duration, now time.Time) (Fate, time.Time) {
	if !p.rate.allow(at, t.opts.MaxBeatsPerSecond) {
		t.noteMishaps(p, &p.editPast().Limited, 1)
		return Limited, time.Time{}
	}
	t.relabel(p, b.Labels, now)
	return Accepted, p.nextStamp(now)
}

// maxRate is the most metrics per second of one peer: their stamps are at least a millisecond
// apart.
const maxRate = 1000

// A rate allows a number of beats per second, and a burst of twice as many. It is the generic
// cell rate algorithm (ITU-T I.371, A.2): its value is the time at which the next beat would
// be due if all came evenly.
type rate time.Duration

// allow reports whether a beat at the given time is within perSecond, and counts it if so. 0
// stands for maxRate.
func (r *rate) allow(at time.Duration, perSecond int) bool {
	if r.used(at, perSecond) {
		return false
	}
	*r = rate(max(time.Duration(*r), at) + step(perSecond))
	return true
}

// used reports whether allow would refuse a beat at the given time.
func (r *rate) used(at time.Duration, perSecond int) bool {
	return time.Duration(*r)-at > 2*time.Second-step(perSecond)
}

// step returns the time between two beats at the given rate.
func step(perSecond int) time.Duration {
	if perSecond == 0 {
		perSecond = maxRate
	}
	return time.Second / time.Duration(min(perSecond, maxRate))
}

// relabel merges labels into the labels of p: a label that a beat omits is kept. If a value
// changes, p continues in another series and the old series gets a last point: otherwise the
// old series would show p as alive in the database forever.
func (t *Tracker) relabel(p *peer, labels []Label, now time.Time) {
	merged := merge(p.labels, labels)
	if merged == nil {
		return
	}
	if p.state != Unknown {
		t.closeSeries(p, now)
	}
	p.editTraits().labels, p.changed = merged, true
}

// merge returns labels updated with the labels of a beat, or nil if nothing changes.
func merge(labels, added []Label) []Label {
	var merged []Label
	for _, label := range added {
		now := labels
		if merged != nil {
			now = merged
		}
		at := slices.IndexFunc(now, func(l Label) bool { return l.Key == label.Key })
		switch {
		case at < 0:
			merged = append(slices.Clip(now), label)
		case now[at].Value != label.Value:
			merged = slices.Clone(now)
			merged[at] = label
		}
	}
	return merged
}

// applyReport applies what a beat reports about o, a process of p: that o is alive, has ended,
// or is expected again. known is true if the run of the beat is known from earlier beats.
func (t *Tracker) applyReport(p *peer, b *Beat, o *process, match match, known bool, now time.Time) {
	if o == &p.process {
		t.locate(p, b, now)
	}
	switch {
	case match == newProcess, match == bootedProcess, p.waitsForSchedule() && !b.Cancel:
		t.endPromise(p, now.Sub(t.epoch)) // the peer is back
	case p.windowV <= t.verdict(now):
		p.closeWindow()
	}
	switch {
	case b.Status == SaysAlive && p.sentBeforeOwnEnd(b, match, now.Sub(t.epoch)):
	case b.Status == SaysAlive:
		t.revive(p, b, o, match, now)
	case b.Cancel:
		t.cancel(p, now)
	case b.Status == SaysDead && len(p.jobs.open) > 0: // another job is still running
		t.reportEnding(p, o, reasonOf(b), b, now)
	default:
		t.finish(p, b, o, match, known, now)
	}
}

// locate notes the address from which the current process of p beats, and applies the terms
// for that address.
func (t *Tracker) locate(p *peer, b *Beat, now time.Time) {
	t.observeRemote(p, b)
	if p.addr == b.Addr {
		return
	}
	p.addr, p.terms, p.changed = b.Addr, t.termsOf(p.id(), b.Addr), true
	t.meet(p, now)
}

// observeRemote notes the address that b, a beat of p, really came from.
func (t *Tracker) observeRemote(p *peer, b *Beat) {
	before := p.remote
	switch b.Remote {
	case netip.Addr{}:
		p.remote = remoteUnknown
	case b.Addr:
		p.remote = remoteAsClaimed
	default:
		p.remote = remoteDiffers
	}
	switch {
	case p.remote != remoteDiffers && before == remoteDiffers:
		delete(t.remotes, p)
	case p.remote == remoteDiffers && t.remotes[p] != b.Remote:
		t.remotes[p] = b.Remote
	}
}

// revive notes that o, a process of p, is alive. If p is dead and this is the same process, p
// was declared dead by mistake, unless its end was reported.
func (t *Tracker) revive(p *peer, b *Beat, o *process, match match, now time.Time) {
	if p.state == Dead && p.reason.inferred() && match == sameProcess {
		p.editPast().Mistakes++
	}
	t.keepPromise(p, b, now)
	p.noteHealth(b.Health)
	// A beat that has waited may have been sent before another process replaced this one.
	if match == formerProcess && t.waited(now.Sub(t.epoch), now) == 0 {
		former := p.formerOf(b)
		if former.ended.inferred() {
			p.editPast().Mistakes++
		}
		p.changed = p.changed || !former.beatsOn
		former.beatsOn, former.presumed, former.ended = true, false, ReasonNone
	}
	if p.host.own == p {
		p.changed = p.host.addSpeaker(b.life(), t.verdict(now), now) || p.changed
	}
	if o == &p.process {
		t.noteLife(p, b.life(), now)
	}
	o.life, o.watched, o.extended, o.evidence = b.life(), b.Watched, false, ReasonSilence
	t.renew(p, o, o.heardV)
	p.setExit(0, false)
	t.vacant.remove(p)
	t.become(p, Alive, ReasonBeat, now)
	if p.lone && b.Conn == 0 {
		t.vacant.add(p)
	}
}

// noteHealth notes the health that p reports. A peer that only reports that it is alive
// counts as OK if it has ever reported more.
func (p *peer) noteHealth(reported Health) {
	if reported == HealthUnreported && p.health != HealthUnreported {
		reported = HealthOK
	}
	p.changed = p.changed || p.health != reported
	p.health = reported
}

// emitEvent reports event, which a beat from addr implies, unless event is noEvent or p sends
// too much.
func (t *Tracker) emitEvent(p *peer, event Event, addr netip.Addr, now time.Time) {
	if event != noEvent && !t.overRate {
		t.emit(p, Transition{Event: event, Previous: p.state, Other: addr}, now)
	}
}
