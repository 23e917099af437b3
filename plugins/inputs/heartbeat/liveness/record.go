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
	Evidence Reason    // of a suspicion
	Expected bool      // nobody yet: only the operator names it
	Watched  bool
	Long     bool // a long connection carried its latest beat

	Interval time.Duration // as declared; 0 if not
	Heard    time.Time     // last beat, wall clock
	Used     time.Duration // silence since then, on the verdict clock
	Dead     time.Duration // silence allowed
	Extended bool          // this silence has outlived a collector before
	Bonus    time.Duration // that it was granted beyond Dead's rule

	Held       time.Duration // for how long it was held as silent together with others
	HeldPartly time.Duration // of that, while only a part of the hosts was silent
	Spared     time.Duration // for how long its silence was held and prolonged in all
	Window     time.Duration // of its promise to be back that is left; 0 for none
	WindowBy   string        // the run that promised so for itself
	Rule       string        // the option or declaration that set Dead

	Phase    time.Duration // of its schedule, after Heard
	Learnt   time.Duration // interval of its schedule; 0 if it has none
	Lateness time.Duration
	Taught   uint8 // beats that the schedule was learnt from

	Process Process
	Runs    []Run
	Signed  []SignedRun
	SentMS  int64  // the latest time at which the signed runs were sent that were forgotten, unix ms; 0 for none
	Owner   uint32 // the user that it belongs to; 0 for none
	Speaker string // the run that its latest beat names

	ExitCode    int64
	HasExitCode bool
	DeadFor     time.Duration // in all deaths before this one
	Flaps       []time.Time   // last changes into or out of dead
	Counters
}

// Record returns what is to outlive the collector of the peer with number i,
// 0 <= i < Len.
func (t *Tracker) Record(i int, now time.Time) Record {
	p := t.order[i]
	at, verdict := now.Sub(t.epoch), t.verdict(now)
	r := Record{
		ID: p.id, Addr: p.addr, Labels: p.labels,
		State: p.state, Reason: p.reason, Since: time.Unix(0, p.sinceUTC),
		Evidence: p.evidence, Expected: p.nobody, Watched: p.watched, Long: p.onLong(),
		Interval: p.interval, Heard: now.Add(p.heard - at), Used: max(verdict-p.heardV, 0), Dead: max(p.deadV-p.heardV, 0),
		Extended: p.extended, Held: p.held, HeldPartly: p.heldPartly, Spared: p.spared, Rule: t.silence(p, &p.body).Rule,
		Learnt: p.schedule.interval, Lateness: p.schedule.lateness, Taught: p.schedule.taught,
		Process: p.process, Signed: slices.Clone(p.proven().runs), SentMS: p.proven().floor, Owner: p.proven().owner, Speaker: p.life, ExitCode: p.exitCode, HasExitCode: p.hasExitCode, DeadFor: p.deadFor, Counters: p.counters(),
	}
	if r.Learnt > 0 {
		r.Phase = p.schedule.phase - p.heard
	}
	if p.windowV > 0 {
		r.Window, r.WindowBy = max(p.windowV-verdict, 1), p.windowBy
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
// per silence it gets an interval more, because its sender has to find us.
func (t *Tracker) Restore(r *Record, saved, now time.Time) {
	if t.peers[r.ID] != nil {
		return
	}
	p := t.add(r.ID, r.Addr)
	if r.Expected {
		t.placeholders++
	}
	pause := pauseSince(saved, now)
	t.teachFrom = max(t.teachFrom, t.tick+min(pause, afterStall))
	t.resurrect(p, r, saved, now)
	t.resumeSilence(p, r)
	t.resumeState(p, r, pause, now)
	if p.state == Dead || r.Long {
		t.vacant.add(p)
	}
	t.rewake(p)
	if p.state == Suspect { // whether its host is silent can be told when all are known
		t.wakeAt(p, t.tickV)
	}
}

// pauseSince returns how long nobody listened. A clock that was set since tells
// nothing of it.
func pauseSince(saved, now time.Time) time.Duration {
	const credible = 10 * 365 * 24 * time.Hour
	if pause := now.Sub(saved); pause > 0 && pause < credible {
		return pause
	}
	return 0
}

// resurrect fills p with what time does not change.
func (t *Tracker) resurrect(p *peer, r *Record, saved, now time.Time) {
	at, pause := now.Sub(t.epoch), pauseSince(saved, now)
	ago := func(then time.Time) time.Duration { return max(saved.Sub(then), 0) + pause }
	p.labels, p.nobody, p.watched, p.process = r.Labels, r.Expected, r.Watched, r.Process
	p.interval, p.evidence, p.life = r.Interval, r.Evidence, r.Speaker
	p.heard = at - ago(r.Heard)
	if !p.nobody {
		p.host.heard = max(p.host.heard, p.heard)
	}
	if p.host.own == p {
		for _, run := range r.Runs {
			p.host.hear(lifeOf(run.Name), t.tickV)
		}
		p.host.hear(p.life, t.tickV)
	}
	p.schedule = schedule{phase: p.heard + r.Phase, interval: r.Learnt, lateness: r.Lateness, taught: r.Taught}
	copy(p.runs[:], r.Runs)
	p.proof = r.proof()
	p.beats = r.Beats
	if r.HasExitCode || r.Spared+r.Held+r.DeadFor > 0 || r.Mishaps != (Mishaps{}) {
		p.past = &past{
			spared: r.Spared, held: r.Held, heldPartly: r.HeldPartly,
			exitCode: r.ExitCode, hasExitCode: r.HasExitCode, deadFor: r.DeadFor, Mishaps: r.Mishaps,
		}
	}
	p.since, p.sinceUTC = at-ago(r.Since), r.Since.UnixNano()
	p.sinceV = t.tickV - max(saved.Sub(r.Since), 0)
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
		p.setWindow(t.tickV+r.Window, r.WindowBy)
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
