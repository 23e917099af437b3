// A restart of the collector. Record says what of a peer outlives it, Restore goes on
// from that. Times become spans on the way, because neither clock of a tracker goes on
// in the next one. Nothing of a restart is an event: the dead stay dead, and what was
// well stays well as long as its silence is not too long.

package liveness

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/calendar"
)

// A Record is what of one peer outlives the collector. It holds spans instead of
// times on the verdict clock, so that another collector can go on from it at any
// time. What a state file holds of it never changes its meaning
// (docs/decisions/0020).
type Record struct {
	ID     ID
	Addr   netip.Addr
	Labels []Label

	State    State
	Reason   Reason
	Since    time.Time // wall clock
	Health   Health
	Events   Trail
	Evidence Reason // of a suspicion
	Expected bool   // a placeholder: only the operator names it
	Watched  bool
	Long     bool // a long connection of it stood, until the collector ended it
	Lone     bool // all that was heard came over one short connection
	Crowded  bool // it was lost together with others behind one address

	Interval time.Duration // as declared; 0 if not
	Margin   time.Duration // likewise
	Heard    time.Time     // last beat, wall clock
	Used     time.Duration // silence since then, on the verdict clock
	Dead     time.Duration // silence allowed
	Extended bool          // this silence has outlived a collector before
	Fresh    bool          // heard by the collector that took the record, and not late: more of its beats need no record
	Guessed  bool          // Heard and Used are what After made of a fresh one
	Crashed  time.Duration // before it was saved, in which its collector may have crashed, or gone on
	Bonus    time.Duration // that it was granted beyond Dead's rule
	Due      time.Time     // of the next beat, if that has a schedule; wall clock
	Patience time.Duration // beyond that

	Held       time.Duration // for how long it was held as silent together with others
	HeldPartly time.Duration // of that, while only a part of the hosts was silent
	Spared     time.Duration // for how long its silence was held and prolonged in all
	Window     time.Duration // of its promise to be back that is left; 0 for none
	Promise    time.Time     // when that was made, moved, kept or taken back; zero for never, or if there are no mates
	WindowBy   string        // the life of the sender that promised so for itself
	Foreign    bool          // never heard by the collector that took the record
	HeardBy    string        // the mate that has heard it last; "" for that collector itself
	EndedBy    string        // the life of the sender that has said its end; "" if that is not known, or there are no mates
	Shared     bool          // that sender beat for the host, too
	Rule       string        // the option or declaration that set Dead

	Phase    time.Duration // of its schedule, after Heard
	Learnt   time.Duration // interval of its schedule; 0 if it has none
	Lateness time.Duration
	Taught   uint8 // beats that the schedule was learnt from

	Jobs      []Job      // that have begun and not ended
	JobsEnded []EndedJob // that have an id, the latest last

	Process  Process
	Others   []Other
	Replaced []Replaced
	Runs     []Run
	Signed   []SignedRun
	SentMS   int64     // the latest time at which the signed runs were sent that were forgotten, unix ms; 0 for none
	Owner    uint32    // the user that it belongs to; 0 for none
	Lag      int64     // by how much its carried beats came later than they were sent, by both clocks, at least; ms
	Carried  int64     // when the latest of those was sent, unix ms; 0 for none
	Speaker  string    // the life of the sender that beats for it
	Speakers []Speaker // of a host: what beats for it, the latest first

	ExitCode    int64
	HasExitCode bool
	DeadFor     time.Duration // in all deaths before this one
	Flaps       []time.Time   // last changes into or out of dead
	Counters
}

// An Other is the record of a process whose place another one has taken.
type Other struct {
	Process  Process
	Life     string // of the sender that beats for it
	Interval time.Duration
	Margin   time.Duration
	Used     time.Duration // silence
	Dead     time.Duration // silence allowed
	Watched  bool
	Evidence Reason
	Insists  bool   // it has beaten since
	Lives    bool   // as far as is known
	Ended    Reason // how, if that was reported
}

// A Speaker is the record of a life of a sender that beats for a host.
type Speaker struct {
	Life    string
	SinceNS int64 // its first beat for the host, unix ns
}

// A Replaced is the record of a process without a name whose place the next one
// has taken.
type Replaced struct {
	PID        uint32
	Used, Dead time.Duration
}

// Record returns what is to outlive the collector of the peer with number i,
// 0 <= i < Len.
func (t *Tracker) Record(i int, now time.Time) Record { return t.recordOf(t.order[i], now) }

func (t *Tracker) recordOf(p *peer, now time.Time) Record {
	at, verdict, proof := now.Sub(t.epoch), t.verdict(now), p.proven()
	r := Record{
		ID: p.id(), Addr: p.addr, Labels: p.labels,
		State: p.state, Reason: p.reason, Since: time.Unix(0, p.sinceUTC), Health: p.health, Events: p.trail,
		Evidence: p.evidence, Expected: p.expected, Watched: p.watched, Long: p.onLong() || p.cutLong,
		Lone: p.lone, Crowded: p.loss != nil && p.loss.crowded, Heard: now.Add(p.heard - at),
		Process: p.ident, Runs: p.numbered(), Signed: slices.Clone(proof.runs), SentMS: proof.floor, Owner: proof.owner,
		Speaker: p.life, Speakers: p.speakers(),
		ExitCode: p.exitCode, HasExitCode: p.hasExitCode, DeadFor: p.deadFor, Counters: p.counters(),
	}
	r.Foreign, r.HeardBy = p.foreign(), p.heardBy()
	if e := p.elsewhere; e != nil && p.reason.reported() && (e.endAt-p.since).Abs() < sameEnd { // else it was another end
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

// recordSilence notes in r how long p has been silent and may be.
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
	if said := p.promisedAt(); said > -longAgo {
		r.Promise = now.Add(said - at)
	}
	r.Held, r.HeldPartly, r.Spared = p.held, p.heldPartly, p.spared
	if p.reason == ReasonIsolated {
		r.Held, r.HeldPartly = verdict-t.isolation.since, verdict-t.isolation.partial
	}
}

// bonus returns by how much the deadline of p is later than its rule says.
func (t *Tracker) bonus(p *peer) time.Duration {
	if p.terms.Hours != nil { // by those of the next collector it is reckoned anew
		return 0
	}
	allowed := t.silence(p, &p.process).Dead
	if p.extended && !p.expected {
		allowed += p.soonBack()
	}
	return max(p.deadV-p.heardV-allowed, 0)
}

// recordProcesses notes in r the processes of p beside the one that holds its place.
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

// speakers returns the senders that beat for the host p, if p is one.
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

// Restore takes in what another collector has recorded of a peer at the time saved.
// What has become of the peer is no event: one that was dead or had left still is,
// and one that was well still is unless its silence, the pause included, is now too
// long. Its silence goes on where it was; the pause does not count, and once per
// silence it gets an interval more, at most soonBack, because its sender has to find
// us. One whose beat was due in the pause is unknown until the next one is. Of a peer
// that was heard already only the totals and a promise are taken. The transitions
// are those of placeholders that are not needed any more. r is not kept, but the
// labels and texts in it are.
func (t *Tracker) Restore(r *Record, saved, now time.Time) []Transition {
	t.out = t.out[:0]
	t.clockSet = t.clockSet || now.Before(saved) || saved.Before(r.Heard)
	t.restoredAt = now.Sub(t.epoch)
	t.takeRecord(r, saved, now)
	return t.out
}

func (t *Tracker) takeRecord(r *Record, saved, now time.Time) {
	p := t.lookUp(r.ID)
	switch {
	case p == nil || !p.isNamed(r.ID): // then it only leads to another one
		p = t.add(r.ID, r.Addr)
	case p.expected:
		p.addr = r.Addr
	default:
		t.takeTotals(p, r)
		t.takePromise(p, r, pauseSince(saved, now))
		return
	}
	if r.Expected && !p.expected {
		t.placeholders++
	} else if !r.Expected {
		t.meet(p, now)
	}
	pause := pauseSince(saved, now)
	from := saved.Add(-r.Crashed) // each beat of one that beats seldom is saved at once
	t.away, t.back = from, now
	t.teachFrom = max(t.teachFrom, t.tick+min(pause, afterStall))
	t.restoreFacts(p, r, saved, now)
	t.resumeSilence(p, r, saved, now)
	finished := r.State == Left && r.Reason == ReasonFinished && r.Window > 0 && !r.Due.IsZero()
	missed := pause+r.Crashed > 0 && !r.Long && (!r.State.over() || finished) && !r.Foreign && t.miss(p, r.Heard, from, now)
	t.resumeState(p, r, pause, missed, now)
	if finished && p.terms.Schedule != nil {
		p.setWindow(p.deadV, p.windowBy)
	}
	if p.state == Dead || r.Long || r.Lone {
		t.vacant.add(p)
	}
	t.rewake(p)
	if p.state == Suspect { // whether its host is silent can be told when all are known
		t.wakeAt(p, t.tickV)
	}
	t.restored(p, r)
}

// takeTotals adds to the totals of p those that another collector has counted.
func (t *Tracker) takeTotals(p *peer, r *Record) {
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

// takePromise takes over what p has promised another collector, if it has promised
// nothing since and has not kept it. What t has listened meanwhile counts.
func (t *Tracker) takePromise(p *peer, r *Record, pause time.Duration) {
	left := r.Window - min(pause, t.tickV)
	same := p.ident.is(r.Process) && (r.WindowBy == "" || p.life == "" || p.life == lifeOf(r.WindowBy))
	if left <= 0 || !same || p.windowV > 0 {
		return
	}
	p.setWindow(t.tickV+left, lifeOf(r.WindowBy))
	p.editPast().shared = r.Shared
	t.rewake(p)
}

// longAgo is longer than any pause or promise, and can be added to.
const longAgo = 10 * 365 * 24 * time.Hour

// pauseSince returns how long no collector listened. A clock that was set meanwhile
// says nothing of it.
func pauseSince(saved, now time.Time) time.Duration {
	if pause := now.Sub(saved); pause > 0 && pause < longAgo {
		return pause
	}
	return 0
}

// restoreFacts fills p with what time does not change.
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
		if p.terms.Schedule == nil { // files of checks may be read later than records
			t.declare(&p.process, cmp.Or(p.interval, min(wait, longAgo)), cmp.Or(p.margin, r.Patience))
		}
	}
	if r.Foreign {
		e := p.editElsewhere()
		e.foreign, e.by, e.heard = true, r.HeardBy, p.heard
	}
	p.since, p.sinceUTC = at-ago(r.Since), r.Since.UnixNano()
	t.learnWhoEnded(p, r)
	if t.opts.Mates && !r.Promise.IsZero() {
		t.notePromise(p, at-ago(r.Promise))
	}
	if t.opts.Mates && len(r.Runs) > 1 && lifeOf(r.Runs[1].Name) != p.life {
		e := p.editElsewhere()
		e.livesBefore, e.lifeAt = []string{lifeOf(r.Runs[1].Name)}, p.heard
	}
	if t.keepsSinceV(r.State) {
		p.editPast().sinceV = t.tickV - max(saved.Sub(r.Since), 0)
	}
	if p.host.own == p {
		for _, s := range slices.Backward(r.Speakers) {
			since := time.Unix(0, s.SinceNS)
			p.host.hear(lifeOf(s.Life), t.tickV-min(max(saved.Sub(since), 0), longAgo), since)
		}
	}
	for _, change := range r.Flaps {
		p.noteChange(at - ago(change))
	}
}

// restoreTraits lets p have the traits that a record tells.
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

// proof returns what r says that is to be kept of its peer. A record that knows
// of no signed runs but of a time is of a collector that kept no more.
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
		if run.High > 0 { // else a crash has made it forgotten
			p.runs = append(p.runs, SignedRun{run.Name, run.High, r.SentMS, r.SentMS})
		}
	}
	return p
}

// resumeSilence lets the silence of p go on, by the rules of now. A deadline
// that the end of a connection has brought nearer stays near.
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
	t.takeJobs(p, r)
	if r.Evidence == ReasonConnClosed {
		p.setRare(rare{p.earlier, &loss{peer: p, evidence: r.Evidence, deadV: p.deadV, crowded: r.Crowded}})
	}
}

// resumeInterval is resumeSilence for the deadline of p, if that is no matter of a schedule.
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

// soonBack is how much longer p may be silent because its sender has to find us.
func (p *peer) soonBack() time.Duration { return min(p.span(), soonBack) }

// resumeWaiting lets p be waited for until its beat is due by its schedule.
func (t *Tracker) resumeWaiting(p *peer, r *Record, saved, now time.Time) {
	p.keepDue()
	w, _, _ := t.waitOf(p, r.Heard, saved, now)
	p.await(w.due)
	t.goOnWaiting(p, now, r.Extended)
}

// resumeFormers lets the silence of the other processes of p go on. Those that
// live have lost their connections with the other collector, and are given as
// much time to be back.
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

// resumeState lets p be what it was, if that can still be said. Of one whose beat was missed alone
// it cannot: then what was reported is still that.
func (t *Tracker) resumeState(p *peer, r *Record, pause time.Duration, missed bool, now time.Time) {
	state, reason := r.State, r.Reason
	if !state.over() && !p.expected && (state == Unknown || missed || pause+r.Used >= r.Dead) {
		state, reason = Unknown, ReasonRestored
		p.since, p.sinceUTC = now.Sub(t.epoch), now.UnixNano()
		t.noteSinceV(p, state, t.tickV)
	}
	t.put(p, state, reason)
	if p.told, p.toldApart = state, false; missed {
		p.told = r.State
	}
}
