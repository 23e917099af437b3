package liveness

import "time"

// steps returns by how many beats b follows the one before of o, a process of p.
// 0 says that the schedule begins anew: that of a run that is over says nothing of
// another one, unless that was a one-shot: those make one schedule together.
// Numbers tell best. Beats without them are all there on a long connection;
// elsewhere their distance tells.
func (p *peer) steps(o *process, b *Beat, numbered int64, before Run) int64 {
	s, over := &o.schedule, o.over(b.Conn)
	switch {
	case s.interval == 0:
		return 0
	case numbered > 0:
		return numbered
	case before.High > 1 && p.runs[0].Name != before.Name:
		return 0
	case over != nil && over.long:
		return 1
	}
	return max(int64((o.heard-s.phase+s.interval/2)/s.interval), 1)
}

// learn learns from a beat of o, which came so long after the one before, when the
// next ones are due. lost is for how long the collector has just not listened.
func (t *Tracker) learn(o *process, b *Beat, steps int64, gap, lost time.Duration) {
	o.margin = b.Margin
	if o.interval != b.Interval {
		o.interval, o.schedule, steps = b.Interval, schedule{}, 0
	}
	switch at := o.heard; {
	case b.Interval == 0:
	case steps == 0 || steps > maxSteps || steps > 1 && gap < o.schedule.interval*time.Duration(steps)/2:
		o.schedule.begin(at, b.Interval) // its numbers went on, but time did not
	case o.schedule.young:
		o.schedule.phase, o.schedule.young = at, false
	case at < t.teachFrom || lost > 0:
		o.schedule.skip(at, steps)
	default:
		o.schedule.learn(at, b.Interval, steps)
	}
}

// renew grants o, a process of p, the whole silence that it is allowed.
func (t *Tracker) renew(p *peer, o *process, from time.Duration) {
	silence := t.silence(p, o)
	o.suspectV, o.deadV = from+silence.Suspect, from+silence.Dead
}
