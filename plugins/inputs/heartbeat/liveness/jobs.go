// Jobs of a peer that say when they begin: a ping with /start, and later one that says how
// it ended. Several of one peer may overlap. That one has begun is no sign that its peer is
// well, and moves no deadline. But if its runtime is limited, silence is not judged until it
// ends or has run for too long.

package liveness

import (
	"cmp"
	"slices"
	"time"
)

// maxJobs is how many jobs of one peer are known that have begun, and how many that have ended.
// Of more the oldest are forgotten.
const maxJobs = 16

// A Job is the record of one that has begun and not ended.
type Job struct {
	ID     string        // as its client calls it; "" if it does not
	Limit  time.Duration // of its runtime that is left; 0 for no limit
	Unsure bool          // it may have ended while no collector listened
}

// A job is one that has begun and not ended.
type job struct {
	id     string
	limitV time.Duration // when it has run for too long; never if that has no limit
	unsure bool          // it may have ended while no collector listened
}

// jobs are what is known of the jobs of one peer.
type jobs struct {
	open  []job    // the oldest first
	ended []string // those with an id, the latest last
}

// begin takes in that a job of p begins.
func (t *Tracker) begin(p *peer, b *Beat, now time.Time) Outcome {
	out := Outcome{Fate: Begun, Silence: t.silence(p, &p.process), Handle: Handle{p}}
	if slices.Contains(p.jobs.ended, b.Job) { // it was sent again, and came late
		out.Fate = Duplicate
		return out
	}
	p.openJob(b, t.verdict(now))
	if mistaken := p.state == Dead && p.reason.inferred(); b.MaxRuntime > 0 && (p.state != Dead || mistaken) {
		t.become(p, Alive, ReasonBeat, now)
	}
	t.noteFact(p, b, true, p.state, false, now)
	t.rewake(p)
	out.Transitions = t.out
	return out
}

// openJob notes that the job of b has begun. One with its id that has begun before is forgotten.
func (p *peer) openJob(b *Beat, beganV time.Duration) {
	p.dropJob(b.Job)
	past := p.editPast()
	past.jobs.open = append(lastOf(past.jobs.open, maxJobs-1), job{id: b.Job, limitV: limitOf(b.MaxRuntime, beganV)})
	p.changed = true
}

// limitOf returns when a job has run for too long that has so much left; 0 is no limit.
func limitOf(left, nowV time.Duration) time.Duration {
	if left == 0 {
		return never
	}
	return nowV + left
}

// lastOf returns the last n of all, or all if there are fewer.
func lastOf[T any](all []T, n int) []T { return all[max(len(all)-n, 0):] }

// hasEnded reports whether b says of a job what was said before.
func (p *peer) hasEnded(b *Beat) bool { return b.Job != "" && slices.Contains(p.jobs.ended, b.Job) }

// endJob notes that the job of b has ended, and reports whether it was known to have begun.
func (p *peer) endJob(b *Beat) (known bool) {
	if b.Job != "" {
		past := p.editPast()
		past.jobs.ended, p.changed = append(lastOf(past.jobs.ended, maxJobs-1), b.Job), true
	}
	return p.dropJob(b.Job)
}

// dropJob forgets that a job has begun, and reports whether that was known.
func (p *peer) dropJob(id string) (known bool) {
	i := slices.IndexFunc(p.jobs.open, func(j job) bool { return j.id == id })
	if i >= 0 {
		past := p.editPast()
		past.jobs.open, p.changed = slices.Delete(past.jobs.open, i, i+1), true
	}
	return i >= 0
}

// noteJob notes what b says of a job of p, and reports whether it says anything.
func (t *Tracker) noteJob(p *peer, b *Beat, now time.Time) (news bool) {
	if b.Begins {
		p.openJob(b, t.verdict(now))
		return true
	}
	return (b.Job != "" || len(p.jobs.open) > 0) && p.endJob(b)
}

// noteJobElsewhere is noteJob for a beat that a mate has heard.
func (t *Tracker) noteJobElsewhere(p *peer, f *Fact, now time.Time) {
	switch b := &f.Beat; {
	case !b.Begins:
		p.endJob(b)
	case !p.hasEnded(b):
		p.openJob(b, t.verdict(now)-f.Ago)
	}
}

// limited reports whether the runtime of a job of p is limited, and when the last of those has
// run for too long.
func (p *peer) limited() (lastV time.Duration, yes bool) {
	for _, j := range p.jobs.open {
		if j.limitV < never {
			lastV, yes = max(lastV, j.limitV), true
		}
	}
	return lastV, yes
}

// nextOverrunV returns when a job has run for too long beside which another one goes on, and it
// was seen at a tick before.
func (p *peer) nextOverrunV() time.Duration {
	next := never
	if len(p.jobs.open) > 1 {
		for _, j := range p.jobs.open {
			next = min(next, j.limitV)
		}
	}
	if next == never {
		return never
	}
	return next + TickInterval
}

// lookAtJobs reports each job of p that has run for too long, and returns whether the runtime of
// another one is limited: then silence is not judged.
func (t *Tracker) lookAtJobs(p *peer, now time.Time) (goOn bool) {
	for t.tickV >= p.nextOverrunV() && !p.state.over() {
		over := slices.MinFunc(p.jobs.open, func(a, b job) int { return cmp.Compare(a.limitV, b.limitV) })
		if !t.confirmed(p, over.limitV) {
			return true
		}
		p.dropJob(over.id)
		if !over.unsure {
			t.tellEnding(p, &p.process, ReasonOverrun, nil, now)
		}
	}
	limitV, limited := p.limited()
	if limited && t.tickV >= limitV && !p.state.over() {
		if confirmed, again := t.confirmed(p, limitV), t.secondTick(p); confirmed && again {
			t.overrun(p, now)
		}
	}
	return limited
}

// overrun takes in that the last job of p has run for too long. If a collector was away
// meanwhile it may have ended: then that is not known, and p has as long as after a beat.
func (t *Tracker) overrun(p *peer, now time.Time) {
	last := p.jobs.open[0]
	p.dropJob(last.id)
	if !last.unsure {
		t.end(p, ReasonOverrun, now)
		return
	}
	t.renew(p, &p.process, t.tickV)
	t.become(p, Unknown, ReasonRestored, now)
	p.reason, p.changed = ReasonRestored, true
}

// recordJobs notes in r the jobs of p.
func (r *Record) recordJobs(p *peer, verdict time.Duration) {
	for _, j := range p.jobs.open {
		left := time.Duration(0)
		if j.limitV < never {
			left = max(j.limitV-verdict, 1)
		}
		r.Jobs = append(r.Jobs, Job{j.id, left, j.unsure})
	}
	r.JobsEnded = slices.Clone(p.jobs.ended)
}

// takeJobs takes over the jobs of a record. Without mates nobody has listened since: they may
// have ended.
func (t *Tracker) takeJobs(p *peer, r *Record) {
	if len(r.Jobs)+len(r.JobsEnded) == 0 {
		return
	}
	past := p.editPast()
	past.jobs = jobs{ended: slices.Clone(lastOf(r.JobsEnded, maxJobs))}
	for _, j := range lastOf(r.Jobs, maxJobs) {
		past.jobs.open = append(past.jobs.open, job{j.ID, limitOf(j.Limit, t.tickV), j.Unsure || !t.opts.Mates})
	}
}

// learnJobs notes which jobs of p have ended, as a mate knows.
func (p *peer) learnJobs(r *Record) {
	for _, id := range r.JobsEnded {
		if b := (Beat{Job: id}); !p.hasEnded(&b) {
			p.endJob(&b)
		}
	}
}
