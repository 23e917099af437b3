// This file handles jobs that report when they begin: a ping with /start, and later another
// ping that reports how the job ended. Several jobs of one peer may overlap. The start of a
// job does not show that its peer is well, and changes no deadline. But while a job with a
// limited runtime is running, silence is not judged until the job ends or exceeds its limit.

package liveness

import (
	"cmp"
	"slices"
	"time"
)

const (
	// maxJobs is how many running jobs of one peer, and how many ended ones, are remembered.
	maxJobs = 16
	// lateStart is how long after the end of a job its start may still arrive.
	lateStart = time.Minute
	// retriedFor is how long a client may go on repeating the report of a failure. If a client
	// uses one id for all of its jobs, it usually reports their starts; if it does not, the
	// jobs are further apart than this.
	retriedFor = 6 * time.Hour
)

// A Job is the record of a job that has begun and not ended.
type Job struct {
	ID     string        // as its client reports it; "" if it reports none
	Ago    time.Duration // since it began
	Limit  time.Duration // how much longer it may run; 0 for no limit
	Unsure bool          // it may have ended while no collector listened
}

// An EndedJob is the record of a job that has ended.
type EndedJob struct {
	ID     string
	Failed bool
	Ago    time.Duration // since it ended
}

// A job has begun and not ended.
type job struct {
	id     string
	began  time.Duration
	limitV time.Duration // when it exceeds its runtime; never without a limit
	unsure bool          // it may have ended while no collector listened
}

// An endedJob has ended. It has an id.
type endedJob struct {
	id     string
	failed bool
	at     time.Duration
}

// jobs are the known jobs of one peer.
type jobs struct {
	open    []job      // the oldest first
	ended   []endedJob // the latest last
	overran bool       // a job has exceeded its runtime since the last success
}

// begin processes the start of a job of p.
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

// openJob notes that the job of b has begun. If a job with the same id is running, its limit
// does not move. If a job with that id has just ended, b is its start, which arrived late.
func (p *peer) openJob(b *Beat, at, nowV time.Duration) {
	p.dropExpired(nowV)
	late := func(e endedJob) bool { return e.id == b.Job && at-e.at < lateStart }
	if p.isOpen(b.Job) || slices.ContainsFunc(p.jobs.ended, late) {
		return
	}
	limitV := limitOf(b.MaxRuntime, nowV)
	if lastV, limited := p.limited(); p.jobs.overran && limited {
		limitV = min(limitV, lastV) // otherwise a job that hangs every time would never exceed its limit
	}
	p.addJob(job{id: b.Job, began: at, limitV: limitV})
}

// addJob adds a running job. If there are too many, the new job replaces one without a limit;
// if all have limits, the new job is ignored and the earlier limits stay in force.
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

// limitOf returns the time at which a job exceeds its limit. left is the runtime that is left
// to it; 0 stands for no limit.
func limitOf(left, nowV time.Duration) time.Duration {
	if left == 0 {
		return never
	}
	return nowV + left
}

// hasFailed reports whether b repeats a report that a job has failed. A job that has begun
// again since then can fail again.
func (p *peer) hasFailed(b *Beat, at time.Duration) bool {
	before := func(e endedJob) bool { return e.id == b.Job && e.failed && at-e.at < retriedFor }
	return b.Job != "" && b.Status == SaysDead && !p.isOpen(b.Job) && slices.ContainsFunc(p.jobs.ended, before)
}

func (p *peer) isOpen(id string) bool {
	return slices.ContainsFunc(p.jobs.open, func(j job) bool { return j.id == id })
}

// noteJob notes what b reports about jobs of p, and reports whether a job has begun or ended.
func (p *peer) noteJob(b *Beat, at, nowV time.Duration) (changed bool) {
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
	// A mate may report the end of an earlier job.
	changed = p.dropJobs(func(j *job) bool { return j.id == b.Job && j.began <= at })
	// A running job without a limit does not stop a later failure from counting.
	if b.Status == SaysAlive {
		p.editPast().jobs.overran = false
		p.dropJobs(func(j *job) bool { return j.limitV == never && j.began <= at })
	}
	return changed
}

// noteEnded notes how a job has ended. It replaces an earlier note about the same id.
func (p *peer) noteEnded(e endedJob) {
	past := p.editPast()
	others := slices.DeleteFunc(past.jobs.ended, func(other endedJob) bool { return other.id == e.id })
	past.jobs.ended, p.changed = append(others[max(len(others)-maxJobs+1, 0):], e), true
}

// dropJobs forgets running jobs, and reports whether there were any.
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

// dropExpired forgets jobs of p that exceeded their runtime while p was dead or had left.
func (p *peer) dropExpired(nowV time.Duration) {
	if p.state.over() {
		p.dropJobs(func(j *job) bool { return j.limitV <= nowV })
	}
}

// limited reports whether a running job of p has a limit, and returns the time of the latest
// such limit.
func (p *peer) limited() (lastV time.Duration, ok bool) {
	for _, j := range p.jobs.open {
		if j.limitV < never {
			lastV, ok = max(lastV, j.limitV), true
		}
	}
	return lastV, ok
}

// nextOverrunV returns one tick after the earliest limit, if several jobs are running.
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

// judgeJobs reports each job of p that has exceeded its runtime. It returns true if another
// running job has a limit: then the silence of p is not judged.
func (t *Tracker) judgeJobs(p *peer, now time.Time) (goOn bool) {
	for t.tickV >= p.nextOverrunV() && !p.state.over() {
		over := slices.MinFunc(p.jobs.open, func(a, b job) int { return cmp.Compare(a.limitV, b.limitV) })
		if !t.confirmedDead(p, over.limitV) {
			return true
		}
		p.dropJob(over.id)
		if !over.unsure && !t.holdsBack(p) {
			p.editPast().jobs.overran = true
			t.reportEnding(p, &p.process, ReasonOverrun, nil, now)
		}
	}
	limitV, limited := p.limited()
	if limited && t.tickV >= limitV && !p.state.over() {
		if confirmed, again := t.confirmedDead(p, limitV), t.secondTick(p); confirmed && again {
			t.noteOverrun(p, now)
		}
	}
	return limited
}

// noteOverrun notes that the last limited job of p has exceeded its runtime. If a collector was
// away during the job, or this one is cut off, the job may have ended. In that case p becomes
// unknown, and has the same allowed silence as after a beat.
func (t *Tracker) noteOverrun(p *peer, now time.Time) {
	last := p.jobs.open[0]
	p.dropJob(last.id)
	if !last.unsure && !t.holdsBack(p) {
		t.end(p, ReasonOverrun, now)
		return
	}
	t.renew(p, &p.process, t.tickV)
	t.become(p, Unknown, ReasonRestored, now)
	p.reason, p.changed = ReasonRestored, true
}

// recordJobs records the jobs of p in r.
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

// jobsAfter updates the jobs of r for Record.After.
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

// restoreJobs restores the jobs of a record. Unless the record comes from a mate, no collector
// has listened since: the jobs may have ended.
func (t *Tracker) restoreJobs(p *peer, r *Record) {
	for _, e := range r.JobsEnded {
		p.noteEnded(endedJob{e.ID, e.Failed, t.tick - e.Ago})
	}
	for _, j := range r.Jobs {
		p.addJob(job{j.ID, t.tick - j.Ago, limitOf(j.Limit, t.tickV), j.Unsure || !t.learning})
	}
}

// learnJobs notes which jobs of p have begun and ended, according to the record of a mate. at
// is when the mate took the record, and heard is when the mate received the last beat. Several
// jobs may use the same id. A job without an id ends with the next beat.
func (p *peer) learnJobs(r *Record, heard, at, nowV time.Duration) {
	p.dropJobs(func(j *job) bool {
		open := slices.ContainsFunc(r.Jobs, func(other Job) bool { return other.ID == j.id })
		ended := slices.ContainsFunc(r.JobsEnded, func(e EndedJob) bool { return e.ID == j.id && at-e.Ago >= j.began })
		return !open && (ended || j.id == "" && heard > j.began+sameBeat)
	})
	for _, j := range r.Jobs {
		began := at - j.Ago
		open := slices.IndexFunc(p.jobs.open, func(other job) bool { return other.id == j.ID })
		if open >= 0 && !j.Unsure && p.jobs.open[open].unsure { // the mate was listening
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

// fingerprint returns a hash of the running jobs and of which of them are unsure.
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
