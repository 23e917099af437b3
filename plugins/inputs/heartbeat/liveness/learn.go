package liveness

import "time"

// steps returns by how many beats b follows the one before. 0 says that the
// schedule begins anew: an end that was seen is no lateness, and the schedule of
// a process or of a run that is over says nothing of another one, unless that
// was a one-shot: those make one schedule together. Numbers tell best. Beats
// without them are all there on a long connection; elsewhere their distance
// tells.
func (p *peer) steps(b *Beat, numbered int64, before Run) int64 {
	switch {
	case p.schedule.interval == 0, p.state.over() && !p.reason.inferred(), !p.process.is(b.Process):
		return 0
	case numbered > 0:
		return numbered
	case before.High > 1 && p.runs[0].Name != before.Name:
		return 0
	case p.connLong:
		return 1
	}
	s := &p.schedule
	return max(int64((p.heard-s.phase+s.interval/2)/s.interval), 1)
}

// learn learns from a beat, which came so long after the one before, when the
// next ones are due. lost is for how long the collector has just not listened.
func (t *Tracker) learn(p *peer, b *Beat, steps int64, gap, lost time.Duration) {
	if p.interval != b.Interval {
		p.interval, p.schedule, p.changed, steps = b.Interval, schedule{}, true, 0
	}
	switch at := p.heard; {
	case b.Interval == 0:
	case steps == 0 || steps > maxSteps || steps > 1 && gap < p.schedule.interval*time.Duration(steps)/2:
		p.schedule.begin(at, b.Interval) // its numbers went on, but time did not
	case p.schedule.young:
		p.schedule.phase, p.schedule.young = at, false
	case at < t.teachFrom || lost > 0:
		p.schedule.skip(at, steps)
	default:
		p.schedule.learn(at, b.Interval, steps)
	}
}

// renew grants p the whole silence that it is allowed.
func (t *Tracker) renew(p *peer, from time.Duration) {
	silence := t.silence(p)
	p.suspectV, p.deadV = from+silence.Suspect, from+silence.Dead
}
