package liveness

import (
	"net/netip"
	"slices"
	"time"
)

// A Record is what of one peer outlives the collector. It holds spans instead
// of instants of the verdict clock, so that another collector can go on from
// it at any time.
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
	Expected bool   // nobody yet: only the operator names it
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
	Bonus    time.Duration // that it was granted beyond Dead's rule

	Held       time.Duration // for how long it was held as silent together with others
	HeldPartly time.Duration // of that, while only a part of the hosts was silent
	Spared     time.Duration // for how long its silence was held and prolonged in all
	Window     time.Duration // of its promise to be back that is left; 0 for none
	WindowBy   string        // the life of the sender that promised so for itself
	Shared     bool          // that sender beat for the host, too
	Rule       string        // the option or declaration that set Dead

	Phase    time.Duration // of its schedule, after Heard
	Learnt   time.Duration // interval of its schedule; 0 if it has none
	Lateness time.Duration
	Taught   uint8 // beats that the schedule was learnt from

	Process  Process
	Others   []Other
	Replaced []Replaced
	Runs     []Run
	Signed   []SignedRun
	SentMS   int64     // the latest time at which the signed runs were sent that were forgotten, unix ms; 0 for none
	Owner    uint32    // the user that it belongs to; 0 for none
	Speaker  string    // the life of the sender that beats for it
	Speakers []Speaker // of a host: who beats for it, the latest first

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
	Ended    Reason // how, if that was told
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
func (t *Tracker) Record(i int, now time.Time) Record { return t.record(t.order[i], now) }

func (t *Tracker) record(p *peer, now time.Time) Record {
	at, verdict := now.Sub(t.epoch), t.verdict(now)
	r := Record{
		ID: p.id, Addr: p.addr, Labels: p.labels,
		State: p.state, Reason: p.reason, Since: time.Unix(0, p.sinceUTC),
		Health: p.health, Events: p.trail, Evidence: p.evidence, Expected: p.nobody, Watched: p.watched, Long: p.onLong() || p.cutLong,
		Lone: p.lone, Crowded: p.loss != nil && p.loss.crowded,
		Interval: p.interval, Margin: p.margin, Heard: now.Add(p.heard - at), Used: max(verdict-p.heardV, 0), Dead: max(p.deadV-p.heardV, 0),
		Extended: p.extended, Held: p.held, HeldPartly: p.heldPartly, Spared: p.spared, Rule: t.silence(p, &p.body).Rule,
		Learnt: p.schedule.interval, Lateness: p.schedule.lateness, Taught: p.schedule.taught,
		Process: p.process, Signed: slices.Clone(p.proven().runs), SentMS: p.proven().floor, Owner: p.proven().owner, Speaker: p.life, ExitCode: p.exitCode, HasExitCode: p.hasExitCode, DeadFor: p.deadFor, Counters: p.counters(),
	}
	if r.Learnt > 0 {
		r.Phase = p.schedule.phase - p.heard
	}
	if p.windowV > 0 {
		r.Window, r.WindowBy, r.Shared = max(p.windowV-verdict, 1), p.windowBy, p.shared
	}
	for _, o := range p.others {
		r.Others = append(r.Others, Other{
			Process: o.process, Life: o.life, Interval: o.interval, Margin: o.margin, Used: max(verdict-o.heardV, 0), Dead: max(o.deadV-o.heardV, 0),
			Watched: o.watched, Evidence: o.evidence, Insists: o.insists, Lives: o.lives(), Ended: o.ended,
		})
	}
	for _, before := range p.replaced {
		r.Replaced = append(r.Replaced, Replaced{before.pid, max(verdict-before.heardV, 0), max(before.deadV-before.heardV, 0)})
	}
	if p.host.own == p {
		for _, s := range p.host.speakers {
			if s.life != "" {
				r.Speakers = append(r.Speakers, Speaker{s.life, s.since})
			}
		}
	}
	if p.reason == ReasonIsolated {
		r.Held, r.HeldPartly = verdict-t.isolation.since, verdict-t.isolation.partial
	}
	r.Bonus = t.bonus(p)
	for _, run := range p.runs {
		if run.High > 0 {
			r.Runs = append(r.Runs, run)
		}
	}
	for i := max(p.changeCount-flapChanges, 0); i < p.changeCount; i++ {
		r.Flaps = append(r.Flaps, now.Add(p.changes[i%flapChanges]-at))
	}
	return r
}

// After returns the record as it is when its collector has listened for rest
// more, and the ones after it for later, without taking another one. Of a fresh
// one that says that all was well: its last beat came an interval before the end
// of that collector, or later.
func (r Record) After(rest, later time.Duration) Record {
	const longest = 20 * 365 * 24 * time.Hour // can be added to
	used := r.Used + rest
	r.othersAfter(rest, later, longest)
	if r.Fresh {
		r.forgetNumbers(used)
		used = min(used, r.span())
		r.Heard = r.Heard.Add(r.Used + rest - used)
		r.Fresh, r.Guessed = false, true
	}
	r.Used = min(used+later, longest)
	if r.Window > 0 { // never forgotten
		r.Window = max(r.Window-rest-later, 1)
	}
	if r.Reason == ReasonIsolated {
		r.Held, r.HeldPartly = min(r.Held+rest+later, longest), min(r.HeldPartly+rest+later, longest)
	}
	return r
}

// othersAfter is After for the processes beside the one that holds the place.
func (r *Record) othersAfter(rest, later, longest time.Duration) {
	r.Others, r.Replaced = slices.Clone(r.Others), slices.Clone(r.Replaced)
	for i := range r.Others {
		o := &r.Others[i]
		o.Used += rest
		if r.Fresh && o.Insists {
			o.Used = min(o.Used, spanOf(o.Interval, o.Dead))
		}
		o.Used = min(o.Used+later, longest)
	}
	for i := range r.Replaced {
		r.Replaced[i].Used = min(r.Replaced[i].Used+rest+later, longest)
	}
}

// forgetNumbers forgets which numbers were heard, after a crash, of which that is
// not known. What is signed has to show when it was sent, by the clock of the
// sender, which has gone on for so long.
func (r *Record) forgetNumbers(used time.Duration) {
	for _, run := range r.Signed {
		r.SentMS = max(r.SentMS, run.SentMS+used.Milliseconds())
	}
	r.Signed, r.Runs = nil, unnumbered(r.Runs)
}

// unnumbered returns runs of which the numbers are not known: what comes next has
// lost none.
func unnumbered(runs []Run) []Run {
	names := make([]Run, len(runs))
	for i, run := range runs {
		names[i].Name = run.Name
	}
	return names
}

// span is peer.span of a record.
func (r *Record) span() time.Duration { return spanOf(r.Interval, r.Dead) }

func spanOf(interval, dead time.Duration) time.Duration {
	if interval > 0 {
		return interval
	}
	return min(dead/4, time.Minute)
}

// bonus returns by how much the deadline of p is later than its rule says.
func (t *Tracker) bonus(p *peer) time.Duration {
	allowed := t.silence(p, &p.body).Dead
	if p.extended && !p.nobody {
		allowed += p.span()
	}
	return max(p.deadV-p.heardV-allowed, 0)
}

// Restore takes in what another collector has recorded of a peer at the time
// saved. What has become of it is no event: who was dead or had left still is,
// and who was well still is unless its silence, the pause included, is now too
// long. Its silence goes on where it was; the pause does not count, and once
// per silence it gets an interval more, because its sender has to find us. Of a
// peer that was heard already only the totals and a promise are taken. The
// transitions are those of placeholders that nobody needs any more.
func (t *Tracker) Restore(r *Record, saved, now time.Time) []Transition {
	t.out = t.out[:0]
	p := t.peers[r.ID]
	switch {
	case p == nil || p.id != r.ID: // then it only leads to another one
		p = t.add(r.ID, r.Addr)
	case p.nobody:
		p.addr = r.Addr
	default:
		t.takeTotals(p, r)
		t.takePromise(p, r, pauseSince(saved, now))
		return nil
	}
	if r.Expected && !p.nobody {
		t.placeholders++
	} else if !r.Expected {
		t.meet(p, now)
	}
	pause := pauseSince(saved, now)
	t.teachFrom = max(t.teachFrom, t.tick+min(pause, afterStall))
	t.resurrect(p, r, saved, now)
	t.resumeSilence(p, r)
	t.resumeState(p, r, pause, now)
	if p.state == Dead || r.Long || r.Lone {
		t.vacant.add(p)
	}
	t.rewake(p)
	if p.state == Suspect { // whether its host is silent can be told when all are known
		t.wakeAt(p, t.tickV)
	}
	t.restored(p, r)
	return t.out
}

// takeTotals adds to the totals of p those that another collector has counted.
func (t *Tracker) takeTotals(p *peer, r *Record) {
	if r.Expected {
		return
	}
	p.beats += r.Beats
	past := p.remember()
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
	same := p.process.is(r.Process) && (r.WindowBy == "" || p.life == "" || p.life == lifeOf(r.WindowBy))
	if left <= 0 || !same || p.windowV > 0 {
		return
	}
	p.setWindow(t.tickV+left, lifeOf(r.WindowBy))
	p.remember().shared = r.Shared
	t.rewake(p)
}

// longAgo is longer than anybody pauses or promises.
const longAgo = 10 * 365 * 24 * time.Hour

// pauseSince returns how long nobody listened. A clock that was set since tells
// nothing of it.
func pauseSince(saved, now time.Time) time.Duration {
	if pause := now.Sub(saved); pause > 0 && pause < longAgo {
		return pause
	}
	return 0
}

// resurrect fills p with what time does not change.
func (t *Tracker) resurrect(p *peer, r *Record, saved, now time.Time) {
	at, pause := now.Sub(t.epoch), pauseSince(saved, now)
	ago := func(then time.Time) time.Duration { return max(saved.Sub(then), 0) + pause }
	p.labels, p.nobody, p.watched, p.process = r.Labels, r.Expected, r.Watched, r.Process
	p.interval, p.margin, p.evidence, p.life, p.lone = r.Interval, r.Margin, r.Evidence, lifeOf(r.Speaker), r.Lone
	p.heard = at - ago(r.Heard)
	if !p.nobody {
		p.host.heard = max(p.host.heard, p.heard)
	}
	p.schedule = schedule{phase: p.heard + r.Phase, interval: r.Learnt, lateness: r.Lateness, taught: r.Taught, young: r.Guessed}
	copy(p.runs[:], r.Runs)
	p.proof = r.proof()
	p.beats, p.health, p.trail = r.Beats, r.Health, r.Events
	if r.HasExitCode || r.Spared+r.Held+r.DeadFor > 0 || r.Mishaps != (Mishaps{}) {
		p.past = &past{
			spared: r.Spared, held: r.Held, heldPartly: r.HeldPartly,
			exitCode: r.ExitCode, hasExitCode: r.HasExitCode, deadFor: r.DeadFor, Mishaps: r.Mishaps,
		}
	}
	p.since, p.sinceUTC = at-ago(r.Since), r.Since.UnixNano()
	p.sinceV = t.tickV - max(saved.Sub(r.Since), 0)
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

// resumeSilence lets the silence of p go on, by the rules of now. A deadline
// that the end of a connection has brought nearer stays near.
func (t *Tracker) resumeSilence(p *peer, r *Record) {
	p.heardV = t.tickV - r.Used
	t.renew(p, &p.body, p.heardV)
	p.extended = true
	if more := p.span(); !p.nobody {
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
	if r.Window > 0 {
		p.setWindow(t.tickV+r.Window, lifeOf(r.WindowBy))
		p.remember().shared = r.Shared
	}
	t.resumeOthers(p, r)
	if r.Evidence == ReasonConnClosed {
		p.loss = &loss{peer: p, evidence: r.Evidence, deadV: p.deadV, crowded: r.Crowded}
	}
}

// resumeOthers lets the silence of the other processes of p go on. Those that
// live have lost their connections with the other collector, and are given as
// much time to be back.
func (t *Tracker) resumeOthers(p *peer, r *Record) {
	for _, before := range r.Others {
		heardV := t.tickV - before.Used
		deadV := heardV + before.Dead + spanOf(before.Interval, before.Dead)
		past := p.remember()
		past.others = append(past.others, &other{
			body: body{
				process: before.Process, life: before.Life, interval: before.Interval, margin: before.Margin,
				heard: p.heard, heardV: heardV, suspectV: deadV, deadV: deadV, watched: before.Watched, evidence: before.Evidence, extended: true,
			},
			insists: before.Insists, stands: before.Lives, ended: before.Ended,
		})
	}
	for _, before := range r.Replaced {
		id := ID{Source: p.id.Source, PID: before.PID}
		if t.peers[id] != nil {
			continue
		}
		t.peers[id] = p
		past := p.remember()
		past.replaced = append(past.replaced, replaced{pid: before.PID, heard: p.heard, heardV: t.tickV - before.Used, deadV: t.tickV - before.Used + before.Dead + p.span()})
	}
	if id := (ID{Source: p.id.Source, PID: p.process.PID}); p.id.Nameless() && p.process.PID != 0 && t.peers[id] == nil {
		t.peers[id] = p
	}
}

// resumeState lets p be what it was, if that can still be said.
func (t *Tracker) resumeState(p *peer, r *Record, pause time.Duration, now time.Time) {
	state, reason := r.State, r.Reason
	if !state.over() && !p.nobody && (state == Unknown || pause+r.Used >= r.Dead) {
		state, reason = Unknown, ReasonRestored
		p.since, p.sinceV, p.sinceUTC = now.Sub(t.epoch), t.tickV, now.UnixNano()
	}
	t.put(p, state, reason)
	p.told, p.toldSince = state, p.since
}

// Retire gives up t, so that none of its handles is believed by another tracker
// that goes on in its place. It returns what the last call could not.
func (t *Tracker) Retire() []Transition {
	for _, p := range t.order {
		p.index = -1
	}
	return t.out
}
