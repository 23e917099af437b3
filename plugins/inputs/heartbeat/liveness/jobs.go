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

const (
	// maxJobs is how many jobs of one peer are known that have begun, and how many that have
	// ended.
	maxJobs = 16
	// lateStart is for how long after the end of a job its start may still be on its way.
	lateStart = time.Minute
	// retriedFor is for how long after a failure a client may say it again. One that uses the
	// same id for each of its jobs mostly says when they begin; if not, they are further apart.
	retriedFor = 6 * time.Hour
)

// A Job is the record of one that has begun and not ended.
type Job struct {
	ID     string        // as its client calls it; "" if it does not
	Ago    time.Duration // since it began
	Limit  time.Duration // of its runtime that is left; 0 for no limit
	Unsure bool          // it may have ended while no collector listened
}

// An EndedJob is the record of one that has ended.
type EndedJob struct {
	ID     string
	Failed bool
	Ago    time.Duration // since then
}

// A job is one that has begun and not ended.
type job struct {
	id     string
	began  time.Duration
	limitV time.Duration // when it has run for too long; never if that has no limit
	unsure bool          // it may have ended while no collector listened
}

// An endedJob is one that has an id.
type endedJob struct {
	id     string
	failed bool
	at     time.Duration
}

// jobs are what is known of the jobs of one peer.
type jobs struct {
	open    []job      // the oldest first
	ended   []endedJob // the latest last
	overran bool       // one has run for too long since the last success
}

// begin takes in that a job of p begins.
func (t *Tracker) begin(p *peer, b *Beat, now time.Time) Outcome {
	out := Outcome{Fate: Begun, Silence: t.silence(p, &p.process), Handle: Handle{p}}
	p.openJob(b, now.Sub(t.epoch), t.verdict(now))
	if mistaken := p.state == Dead && p.reason.inferred(); b.MaxRuntime > 0 && (p.state != Dead || mistaken) {
		t.become(p, Alive, ReasonBeat, now)
	}
	t.noteFact(p, b, true, p.state, false, now)
	t.rewake(p)
	out.Transitions = t.out
	return out
}

// openJob notes that the job of b has begun. That of one with its id which is open moves no limit,
// and if one has ended just before it is that one's, which came late.
func (p *peer) openJob(b *Beat, at, nowV time.Duration) {
	p.dropExpired(nowV)
	late := func(e endedJob) bool { return e.id == b.Job && at-e.at < lateStart }
	if p.isOpen(b.Job) || slices.ContainsFunc(p.jobs.ended, late) {
		return
	}
	limitV := limitOf(b.MaxRuntime, nowV)
	if lastV, limited := p.limited(); p.jobs.overran && limited {
		limitV = min(limitV, lastV) // else a job that hangs each time would never be one
	}
	p.addJob(job{id: b.Job, began: at, limitV: limitV})
}

// addJob adds one that is open. If there is no room for it one without a limit is forgotten, or
// else it is not noted itself: the limits of those before hold.
func (p *peer) addJob(j job) {
	past := p.editPast()
	if len(past.jobs.open) >= maxJobs {
		i := slices.IndexFunc(past.jobs.open, func(j job) bool { return j.limitV == never })
		if i < 0 {
			return
		}
		past.jobs.open = slices.Delete(past.jobs.open, i, i+1)
	}
	past.jobs.open, p.changed = append(past.jobs.open, j), true
}

// limitOf returns when a job has run for too long that has so much left; 0 is no limit.
func limitOf(left, nowV time.Duration) time.Duration {
	if left == 0 {
		return never
	}
	return nowV + left
}

// hasFailed reports whether b says that a job has failed of which that was said before, and which
// has not begun again since.
func (p *peer) hasFailed(b *Beat, at time.Duration) bool {
	said := func(e endedJob) bool { return e.id == b.Job && e.failed && at-e.at < retriedFor }
	return b.Job != "" && b.Status == SaysDead && !p.isOpen(b.Job) && slices.ContainsFunc(p.jobs.ended, said)
}

func (p *peer) isOpen(id string) bool {
	return slices.ContainsFunc(p.jobs.open, func(j job) bool { return j.id == id })
}

// noteJob notes what b says of a job of p, and reports whether it says anything.
func (p *peer) noteJob(b *Beat, at, nowV time.Duration) (news bool) {
	switch {
	case b.Begins:
		p.openJob(b, at, nowV)
		return true
	case b.Job == "" && len(p.jobs.open) == 0 && !p.jobs.overran:
		return false
	}
	p.dropExpired(nowV)
	if b.Job != "" {
		p.noteEnded(endedJob{b.Job, b.Status == SaysDead, at})
	}
	// A mate may tell the end of an earlier one.
	news = p.dropJobs(func(j *job) bool { return j.id == b.Job && j.began <= at })
	// One without a limit does not outvote what fails after a success.
	if b.Status == SaysAlive {
		p.editPast().jobs.overran = false
		p.dropJobs(func(j *job) bool { return j.limitV == never && j.began <= at })
	}
	return news
}

// noteEnded notes how a job has ended, in place of what was said of it before.
func (p *peer) noteEnded(e endedJob) {
	past := p.editPast()
	others := slices.DeleteFunc(past.jobs.ended, func(other endedJob) bool { return other.id == e.id })
	past.jobs.ended, p.changed = append(others[max(len(others)-maxJobs+1, 0):], e), true
}

// dropJobs forgets that some jobs have begun, and reports whether there are any.
func (p *peer) dropJobs(which func(*job) bool) (some bool) {
	drop := func(j job) bool { return which(&j) }
	if !slices.ContainsFunc(p.jobs.open, drop) {
		return false
	}
	past := p.editPast()
	past.jobs.open, p.changed = slices.DeleteFunc(past.jobs.open, drop), true
	return true
}

func (p *peer) dropJob(id string) { p.dropJobs(func(j *job) bool { return j.id == id }) }

// dropExpired forgets jobs of p that have run for too long while it was dead or had left.
func (p *peer) dropExpired(nowV time.Duration) {
	if p.state.over() {
		p.dropJobs(func(j *job) bool { return j.limitV <= nowV })
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
		if !over.unsure && !t.holds(p) {
			p.editPast().jobs.overran = true
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
// meanwhile, or this one is cut off, it may have ended: then that is not known, and p has as
// long as after a beat.
func (t *Tracker) overrun(p *peer, now time.Time) {
	last := p.jobs.open[0]
	p.dropJob(last.id)
	if !last.unsure && !t.holds(p) {
		t.end(p, ReasonOverrun, now)
		return
	}
	t.renew(p, &p.process, t.tickV)
	t.become(p, Unknown, ReasonRestored, now)
	p.reason, p.changed = ReasonRestored, true
}

// recordJobs notes in r the jobs of p.
func (r *Record) recordJobs(p *peer, at, nowV time.Duration) {
	for _, j := range p.jobs.open {
		left := time.Duration(0)
		if j.limitV < never {
			left = max(j.limitV-nowV, 1)
		}
		r.Jobs = append(r.Jobs, Job{j.id, max(at-j.began, 0), left, j.unsure})
	}
	for _, e := range p.jobs.ended {
		r.JobsEnded = append(r.JobsEnded, EndedJob{e.id, e.failed, max(at-e.at, 0)})
	}
}

// jobsAfter is Record.After for the jobs.
func (r *Record) jobsAfter(span, longest time.Duration) {
	r.Jobs, r.JobsEnded = slices.Clone(r.Jobs), slices.Clone(r.JobsEnded)
	for i := range r.Jobs {
		j := &r.Jobs[i]
		if j.Ago = min(j.Ago+span, longest); j.Limit > 0 {
			j.Limit = max(j.Limit-span, 1)
		}
	}
	for i := range r.JobsEnded {
		r.JobsEnded[i].Ago = min(r.JobsEnded[i].Ago+span, longest)
	}
}

// takeJobs takes over the jobs of a record. Unless a mate has taken that just now nobody has
// listened since: they may have ended.
func (t *Tracker) takeJobs(p *peer, r *Record) {
	for _, e := range r.JobsEnded {
		p.noteEnded(endedJob{e.ID, e.Failed, t.tick - e.Ago})
	}
	for _, j := range r.Jobs {
		p.addJob(job{j.ID, t.tick - j.Ago, limitOf(j.Limit, t.tickV), j.Unsure || !t.learning})
	}
}

// learnJobs notes which jobs of p have begun and ended, as a mate knew at a time that had heard p
// before. An id may be that of one job after the other. Without an id the next beat ends it.
func (p *peer) learnJobs(r *Record, heard, at, nowV time.Duration) {
	p.dropJobs(func(j *job) bool {
		open := slices.ContainsFunc(r.Jobs, func(other Job) bool { return other.ID == j.id })
		ended := slices.ContainsFunc(r.JobsEnded, func(e EndedJob) bool { return e.ID == j.id && at-e.Ago >= j.began })
		return !open && (ended || j.id == "" && heard > j.began+sameBeat)
	})
	for _, j := range r.Jobs {
		began := at - j.Ago
		open := slices.IndexFunc(p.jobs.open, func(other job) bool { return other.id == j.ID })
		if open >= 0 && !j.Unsure && p.jobs.open[open].unsure { // that one has listened
			p.editPast().jobs.open[open].unsure, p.changed = false, true
		}
		ended := slices.ContainsFunc(p.jobs.ended, func(e endedJob) bool { return e.id == j.ID && e.at >= began })
		if open < 0 && !ended && (j.ID != "" || p.lastHeard() <= began+sameBeat) {
			p.addJob(job{j.ID, began, limitOf(j.Limit, nowV), j.Unsure})
		}
	}
	for _, e := range r.JobsEnded {
		if !slices.ContainsFunc(p.jobs.ended, func(other endedJob) bool { return other.id == e.ID && other.at >= at-e.Ago }) {
			p.noteEnded(endedJob{e.ID, e.Failed, at - e.Ago})
		}
	}
}

// fingerprint tells which jobs are open, and of which that is sure.
func (j *jobs) fingerprint() uint16 {
	sum := uint64(0)
	for _, open := range j.open {
		name := newDigest.text(open.id)
		if open.unsure {
			name = name.octet(1)
		}
		sum += uint64(name) // in any order
	}
	return uint16(digest(sum).fold())
}
