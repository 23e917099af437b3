// This file handles a restart of the collector. Record returns the saved state of a peer;
// Restore continues from that state. Records hold durations instead of times, because neither
// clock of a tracker continues in the next one. A restart causes no event: dead peers stay
// dead, and the others keep their state unless they have been silent for too long.

package liveness

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/calendar"
)

// A Record is the saved state of a peer, from which a restarted collector continues. It holds
// durations instead of times on the verdict clock, so another collector can continue from it at
// any time. What a state file contains never changes its meaning (docs/decisions/0020).
type Record struct {
	ID     ID
	Addr   netip.Addr
	Labels []Label

	State    State
	Reason   Reason
	Since    time.Time // wall clock
	Health   Health
	Events   Trail
	Evidence Reason // of its silence
	Expected bool   // a placeholder: only the operator names it
	Watched  bool
	Long     bool // it had a long connection when the collector ended it
	Lone     bool // all its beats came over one short connection
	Crowded  bool // it was lost together with other hosts behind one address

	Interval time.Duration // as declared; 0 if not declared
	Margin   time.Duration // likewise
	Heard    time.Time     // last beat, wall clock
	Used     time.Duration // silence since then, on the verdict clock
	Dead     time.Duration // silence allowed
	Extended bool          // the allowed silence has already been prolonged for a restart
	Fresh    bool          // the collector that took the record had received a beat, and the peer was not late: further beats need no new record
	Guessed  bool          // After has estimated Heard and Used of a fresh record
	Crashed  time.Duration // the time before saving in which the collector may have crashed, or still have run
	Bonus    time.Duration // allowed silence in addition to the rule of Dead
	Due      time.Time     // when the next beat is due, if there is a schedule; wall clock
	Patience time.Duration // accepted delay beyond Due

	Held       time.Duration // how long verdicts were held back because it was silent together with other hosts
	HeldPartly time.Duration // the part of Held in which only some of the hosts were silent
	Spared     time.Duration // how long in total the verdict on it was held back and its deadline prolonged
	Window     time.Duration // time left until its promise to be back ends; 0 for none
	Promise    time.Time     // when the promise was made, changed, kept or withdrawn; zero for never, or if there are no mates
	WindowBy   string        // the run of the sender, if that made the promise for itself
	Foreign    bool          // the collector that took the record receives no beats of it
	HeardBy    string        // the mate that received its latest beat; "" for the collector itself
	EndedBy    string        // the run of the sender that reported its end; "" if unknown, or if there are no mates
	Shared     bool          // the sender in WindowBy beat for the host, too
	Rule       string        // the option or declaration that set Dead

	Phase    time.Duration // when its schedule continues, after Heard
	Learnt   time.Duration // interval of its schedule; 0 if it has none
	Lateness time.Duration
	Taught   uint8 // number of beats the schedule was learned from

	Jobs      []Job      // jobs that have begun and not ended
	JobsEnded []EndedJob // ended jobs with an id, the latest last

	Process  Process
	Others   []Other
	Replaced []Replaced
	Runs     []Run
	Signed   []SignedRun
	SentMS   int64     // the latest send time of all forgotten signed runs, unix ms; 0 for none
	Owner    uint32    // the user that owns it; 0 for none
	Lag      int64     // the least delay of its beats from a carrier, by both clocks; ms
	Carried  int64     // when the latest beat from a carrier was sent, unix ms; 0 for none
	Speaker  string    // the run of the sender that beats for it
	Speakers []Speaker // of a host: the senders that beat for it, the latest first

	ExitCode    int64
	HasExitCode bool
	DeadFor     time.Duration // total, without the current death
	Flaps       []time.Time   // latest changes into or out of dead
	Counters
}

// An Other is the record of a former process.
type Other struct {
	Process  Process
	Life     string // run of the sender that beats for it
	Interval time.Duration
	Margin   time.Duration
	Used     time.Duration // silence
	Dead     time.Duration // silence allowed
	Watched  bool
	Evidence Reason
	Insists  bool   // it has beaten since it was replaced
	Lives    bool   // as far as is known
	Ended    Reason // the reason of its end, if that was reported
}

// A Speaker records one run of a sender process that beats for a host.
type Speaker struct {
	Life    string
	SinceNS int64 // when it first beat for the host, unix ns
}

// A Replaced is the record of a nameless process that the next process has replaced.
type Replaced struct {
	PID        uint32
	Used, Dead time.Duration
}

// Record returns the record of peer number i, 0 <= i < Len.
func (t *Tracker) Record(i int, now time.Time) Record { return t.recordOf(t.order[i], now) }

func (t *Tracker) recordOf(p *peer, now time.Time) Record {
	at, verdict, proof := now.Sub(t.epoch), t.verdict(now), p.proofOrNone()
	r := Record{
		ID: p.id(), Addr: p.addr, Labels: p.labels,
		State: p.state, Reason: p.reason, Since: time.Unix(0, p.sinceUTC), Health: p.health, Events: p.trail,
		Evidence: p.evidence, Expected: p.expected, Watched: p.watched, Long: p.hasLongConn() || p.cutLong,
		Lone: p.lone, Crowded: p.loss != nil && p.loss.crowded, Heard: now.Add(p.heard - at),
		Process: p.ident, Runs: p.numbered(), Signed: slices.Clone(proof.runs), SentMS: proof.floor, Owner: proof.owner,
		Speaker: p.life, Speakers: p.speakers(),
		ExitCode: p.exitCode, HasExitCode: p.hasExitCode, DeadFor: p.deadFor, Counters: p.counters(),
	}
	r.Foreign, r.HeardBy = p.foreign(), p.heardBy()
	if e := p.elsewhere; e != nil && p.reason.reported() && (e.endAt-p.since).Abs() < sameEnd { // otherwise a different end was reported
		r.EndedBy = e.endLife
	}
	if c := proof.carried; c != nil {
		r.Lag, r.Carried = c.lag, c.newest
	}
	t.recordSilence(&r, p, now)
	r.recordJobs(p, at, verdict)
	r.recordProcesses(p, verdict)
	for i := max(p.changeCount-flapChanges, 0); i < p.changeCount; i++ {
		r.Flaps = append(r.Flaps, now.Add(p.changes[i%flapChanges]-at))
	}
	return r
}

// recordSilence records in r how long p has been silent, and how long it may be silent.
func (t *Tracker) recordSilence(r *Record, p *peer, now time.Time) {
	at, verdict := now.Sub(t.epoch), t.verdict(now)
	r.Interval, r.Margin, r.Used, r.Dead = p.interval, p.margin, max(verdict-p.heardV, 0), max(p.deadV-p.heardV, 0)
	r.Extended, r.Bonus, r.Rule = p.extended, t.bonus(p), t.silence(p, &p.process).Rule
	r.Learnt, r.Lateness, r.Taught = p.schedule.interval, p.schedule.lateness, p.schedule.taught
	if r.Learnt > 0 {
		r.Phase = p.schedule.phase - p.heard
	}
	if p.due != nil && p.terms.Schedule != nil {
		r.Due, r.Patience = p.due.At, p.terms.Patience
	}
	if p.windowV > 0 {
		r.Window, r.WindowBy, r.Shared = p.backIn(verdict), p.windowBy, p.shared
	}
	if promised := p.promisedAt(); promised > -longAgo {
		r.Promise = now.Add(promised - at)
	}
	r.Held, r.HeldPartly, r.Spared = p.held, p.heldPartly, p.spared
	if p.reason == ReasonIsolated {
		r.Held, r.HeldPartly = verdict-t.isolation.since, verdict-t.isolation.partial
	}
}

// bonus returns how much later the deadline of p is than its rule allows.
func (t *Tracker) bonus(p *peer) time.Duration {
	if p.terms.Hours != nil { // the next collector calculates the deadline from its own hours
		return 0
	}
	allowed := t.silence(p, &p.process).Dead
	if p.extended && !p.expected {
		allowed += p.soonBack()
	}
	return max(p.deadV-p.heardV-allowed, 0)
}

// recordProcesses records in r the processes of p other than the current one.
func (r *Record) recordProcesses(p *peer, verdict time.Duration) {
	for _, o := range p.formers {
		r.Others = append(r.Others, Other{
			Process: o.ident, Life: o.life, Interval: o.interval, Margin: o.margin, Used: max(verdict-o.heardV, 0), Dead: max(o.deadV-o.heardV, 0),
			Watched: o.watched, Evidence: o.evidence, Insists: o.beatsOn, Lives: o.lives(), Ended: o.ended,
		})
	}
	for _, before := range p.replaced {
		r.Replaced = append(r.Replaced, Replaced{before.pid, max(verdict-before.heardV, 0), max(before.deadV-before.heardV, 0)})
	}
}

// speakers returns the senders that beat for p, if p is a host.
func (p *peer) speakers() (all []Speaker) {
	if p.host.own != p {
		return nil
	}
	for _, s := range p.host.speakers {
		if s.life != "" {
			all = append(all, Speaker{s.life, s.since})
		}
	}
	return all
}

// Restore adds the peer of a record that another collector saved. Restoring is not an event: a
// peer that was dead or had left keeps its state, and so does any other peer whose state may
// still be true. The silence of the peer continues from its recorded length; the time between
// saving and restoring does not count. Once per silence, the allowed silence is prolonged by one
// interval, at most by soonBack, because the sender must reconnect. A peer whose beat was due
// in the pause is unknown until its next beat. If beats of the peer have already been received,
// Restore only adds the totals and applies a promise. The returned transitions concern
// placeholders that are no longer needed. r is not kept, but the labels and strings in it are.
func (t *Tracker) Restore(r *Record, saved, now time.Time) []Transition {
	t.out = t.out[:0]
	t.clockSet = t.clockSet || now.Before(saved) || saved.Before(r.Heard)
	t.restoredAt = now.Sub(t.epoch)
	t.restoreRecord(r, saved, now)
	return t.out
}

func (t *Tracker) restoreRecord(r *Record, saved, now time.Time) {
	p := t.lookUp(r.ID)
	switch {
	case p == nil || !p.isNamed(r.ID): // in the second case r.ID is an alias of another peer
		p = t.add(r.ID, r.Addr)
	case p.expected:
		p.addr = r.Addr
	default:
		t.addTotals(p, r)
		t.restorePromise(p, r, pauseSince(saved, now))
		return
	}
	if r.Expected && !p.expected {
		t.placeholders++
	} else if !r.Expected {
		t.meet(p, now)
	}
	pause := pauseSince(saved, now)
	from := saved.Add(-r.Crashed) // if a peer rarely beats, each of its beats is saved at once
	t.away, t.back = from, now
	t.teachFrom = max(t.teachFrom, t.tick+min(pause, afterStall))
	t.restoreFacts(p, r, saved, now)
	t.resumeSilence(p, r, saved, now)
	finished := r.State == Left && r.Reason == ReasonFinished && r.Window > 0 && !r.Due.IsZero()
	missed := pause+r.Crashed > 0 && !r.Long && (!r.State.over() || finished) && !r.Foreign && t.noteMissed(p, r.Heard, from, now)
	t.resumeState(p, r, pause, missed, now)
	if finished && p.terms.Schedule != nil {
		p.setWindow(p.deadV, p.windowBy)
	}
	if p.state == Dead || r.Long || r.Lone {
		t.vacant.add(p)
	}
	t.rewake(p)
	if p.state == Suspect { // the silence of its host is only known when all peers are restored
		t.wakeAt(p, t.tickV)
	}
	t.restored(p, r)
}

// addTotals adds another collector's totals to the totals of p.
func (t *Tracker) addTotals(p *peer, r *Record) {
	if r.Expected {
		return
	}
	p.beats += r.Beats
	past := p.editPast()
	past.deadFor += r.DeadFor
	for i, total := range past.totals() {
		*total += *r.totals()[i]
	}
	t.touch(p)
}

// restorePromise restores a promise that p made to another collector, unless p has made a new
// promise since or has kept the old one. The time that t has listened since the start is
// subtracted from the window.
func (t *Tracker) restorePromise(p *peer, r *Record, pause time.Duration) {
	left := r.Window - min(pause, t.tickV)
	same := p.ident.is(r.Process) && (r.WindowBy == "" || p.life == "" || p.life == lifeOf(r.WindowBy))
	if left <= 0 || !same || p.windowV > 0 {
		return
	}
	p.setWindow(t.tickV+left, lifeOf(r.WindowBy))
	p.editPast().shared = r.Shared
	t.rewake(p)
}

// longAgo is longer than any pause or promise, and so short that sums do not overflow.
const longAgo = 10 * 365 * 24 * time.Hour

// pauseSince returns how long no collector listened. If the clock was set meanwhile, that is
// unknown, and pauseSince returns 0.
func pauseSince(saved, now time.Time) time.Duration {
	if pause := now.Sub(saved); pause > 0 && pause < longAgo {
		return pause
	}
	return 0
}

// restoreFacts restores the parts of p that do not depend on time.
func (t *Tracker) restoreFacts(p *peer, r *Record, saved, now time.Time) {
	at, pause := now.Sub(t.epoch), pauseSince(saved, now)
	ago := func(then time.Time) time.Duration { return max(saved.Sub(then), 0) + pause }
	p.expected, p.watched, p.ident = r.Expected, r.Watched, r.Process
	t.declare(&p.process, r.Interval, r.Margin)
	p.evidence, p.life, p.lone = r.Evidence, lifeOf(r.Speaker), r.Lone
	p.heard, p.cutLong = at-ago(r.Heard), r.Long && !r.State.over()
	if !p.expected {
		p.host.heard = max(p.host.heard, p.heard)
	}
	p.schedule = schedule{phase: p.heard + r.Phase, interval: r.Learnt, lateness: r.Lateness, taught: r.Taught, young: r.Guessed}
	t.carries = t.carries || r.Carried != 0
	p.beats, p.health = r.Beats, r.Health
	p.restoreTraits(r)
	if wait := r.Due.Sub(r.Heard); !r.Due.IsZero() && wait > 0 {
		p.await(calendar.Due{From: r.Due, At: r.Due})
		if p.terms.Schedule == nil { // check files may be read after the records are restored
			t.declare(&p.process, cmp.Or(p.interval, min(wait, longAgo)), cmp.Or(p.margin, r.Patience))
		}
	}
	if r.Foreign {
		e := p.editElsewhere()
		e.foreign, e.by, e.heard = true, r.HeardBy, p.heard
	}
	p.since, p.sinceUTC = at-ago(r.Since), r.Since.UnixNano()
	t.learnEndLife(p, r)
	if t.opts.Mates && !r.Promise.IsZero() {
		t.notePromise(p, at-ago(r.Promise))
	}
	if t.opts.Mates && len(r.Runs) > 1 && lifeOf(r.Runs[1].Name) != p.life {
		e := p.editElsewhere()
		e.livesBefore, e.lifeAt = []string{lifeOf(r.Runs[1].Name)}, p.heard
	}
	if t.needsVerdictTime(r.State) {
		p.editPast().sinceV = t.tickV - max(saved.Sub(r.Since), 0)
	}
	if p.host.own == p {
		for _, s := range slices.Backward(r.Speakers) {
			since := time.Unix(0, s.SinceNS)
			p.host.addSpeaker(lifeOf(s.Life), t.tickV-min(max(saved.Sub(since), 0), longAgo), since)
		}
	}
	for _, change := range r.Flaps {
		p.noteChange(at - ago(change))
	}
}

// restoreTraits restores the traits of p.
func (p *peer) restoreTraits(r *Record) {
	var runs [2]Run
	copy(runs[:], r.Runs)
	p.run = runs[0]
	p.setTrail(r.Events)
	if proof := r.proof(); len(r.Labels) > 0 || runs[1] != (Run{}) || proof != nil || p.labels != nil || p.proof != nil {
		traits := p.editTraits()
		traits.labels, traits.before, traits.proof = r.Labels, runs[1], proof
	}
	if r.HasExitCode || r.Spared+r.Held+r.DeadFor > 0 || r.Mishaps != (Mishaps{}) {
		p.editTraits().past = &past{
			spared: r.Spared, held: r.Held, heldPartly: r.HeldPartly,
			exitCode: r.ExitCode, hasExitCode: r.HasExitCode, deadFor: r.DeadFor, Mishaps: r.Mishaps,
		}
	}
}

// proof returns the proof in r. A record with a send time but without signed runs comes from
// an older collector that kept only the time.
func (r *Record) proof() *proof {
	if len(r.Signed) == 0 && r.SentMS == 0 && r.Owner == 0 && r.Carried == 0 {
		return nil
	}
	p := &proof{runs: slices.Clone(r.Signed), floor: r.SentMS, owner: r.Owner}
	if r.Carried != 0 {
		p.carried = &carried{lag: r.Lag, newest: r.Carried}
	}
	if len(p.runs) > 0 || p.floor == 0 {
		return p
	}
	for _, run := range r.Runs {
		if run.High > 0 { // High is 0 if a crash has erased it
			p.runs = append(p.runs, SignedRun{run.Name, run.High, r.SentMS, r.SentMS})
		}
	}
	return p
}

// resumeSilence continues the silence of p by the current rules. A deadline that the end of a
// connection has shortened is kept.
func (t *Tracker) resumeSilence(p *peer, r *Record, saved, now time.Time) {
	p.heardV, p.extended = t.tickV-r.Used, true
	if p.onSchedule(&p.process) {
		t.resumeWaiting(p, r, saved, now)
	} else {
		t.resumeInterval(p, r)
	}
	if r.Window > 0 {
		p.setWindow(t.tickV+r.Window, lifeOf(r.WindowBy))
		p.editPast().shared = r.Shared
	}
	if p.terms.Hours != nil {
		t.resumeHours(p, r, saved, now)
	}
	t.resumeFormers(p, r)
	t.restoreJobs(p, r)
	if r.Evidence == ReasonConnClosed {
		p.setRare(rare{p.earlier, &loss{peer: p, evidence: r.Evidence, deadV: p.deadV, crowded: r.Crowded}})
	}
}

// resumeInterval is resumeSilence for a deadline that does not follow a schedule.
func (t *Tracker) resumeInterval(p *peer, r *Record) {
	t.renew(p, &p.process, p.heardV)
	if p.expected {
		return
	}
	more := p.soonBack()
	p.suspectV += more + r.Bonus
	p.deadV += more + r.Bonus
	if r.Extended {
		more = 0
	}
	if p.evidence == ReasonConnClosed || p.evidence == ReasonConnReset {
		p.deadV = min(p.deadV, p.heardV+r.Dead+more)
		p.suspectV = min(p.suspectV, p.deadV)
	}
}

// soonBack returns how much longer p may be silent because its sender must reconnect.
func (p *peer) soonBack() time.Duration { return min(p.span(), soonBack) }

// resumeWaiting continues the wait for the beat of p that is due by its schedule.
func (t *Tracker) resumeWaiting(p *peer, r *Record, saved, now time.Time) {
	p.dropOtherDue()
	w, _, _ := t.awaitedBeatOf(p, r.Heard, saved, now)
	p.await(w.due)
	t.continueWaiting(p, now, r.Extended)
}

// resumeFormers continues the silence of the former processes of p. The living processes have
// lost their connections to the earlier collector, and get the same extra time to reconnect.
func (t *Tracker) resumeFormers(p *peer, r *Record) {
	for _, before := range r.Others {
		heardV := t.tickV - before.Used
		deadV := heardV + before.Dead + min(spanOf(before.Interval, before.Dead), soonBack)
		o := processOf(before.Process, before.Life)
		t.declare(&o, before.Interval, before.Margin)
		o.heard, o.heardV, o.suspectV, o.deadV = p.heard, heardV, deadV, deadV
		o.watched, o.evidence, o.extended = before.Watched, before.Evidence, true
		past := p.editPast()
		past.formers = append(past.formers, &former{process: o, beatsOn: before.Insists, presumed: before.Lives, ended: before.Ended})
	}
	for _, before := range r.Replaced {
		id := ID{Source: p.host.source, PID: before.PID}
		if t.lookUp(id) != nil {
			continue
		}
		t.peers[id] = p
		past := p.editPast()
		heardV := t.tickV - before.Used
		past.replaced = append(past.replaced, replaced{before.PID, p.heard, heardV, heardV + before.Dead + p.soonBack()})
	}
	if id := (ID{Source: p.host.source, PID: p.ident.PID}); p.nameless() && p.ident.PID != 0 && t.lookUp(id) == nil {
		t.peers[id] = p
	}
}

// resumeState restores the state of p if it can still be true; otherwise p is unknown. If p is
// unknown only because a beat may have been missed, its former state still counts as the
// reported state.
func (t *Tracker) resumeState(p *peer, r *Record, pause time.Duration, missed bool, now time.Time) {
	state, reason := r.State, r.Reason
	if !state.over() && !p.expected && (state == Unknown || missed || pause+r.Used >= r.Dead) {
		state, reason = Unknown, ReasonRestored
		p.since, p.sinceUTC = now.Sub(t.epoch), now.UnixNano()
		t.noteVerdictTime(p, state, t.tickV)
	}
	t.put(p, state, reason)
	if p.reported, p.reportedApart = state, false; missed {
		p.reported = r.State
	}
}
