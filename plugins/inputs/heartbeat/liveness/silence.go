package liveness

import "time"

const (
	// MinSilence is the shortest silence that can be death.
	MinSilence = 2 * time.Second
	// maxMargin is the longest patience beyond a declared interval: a job
	// that runs daily is told missing after 25 hours, not after 3.5 days.
	maxMargin = time.Hour
)

// A Silence is how long a peer may say nothing.
type Silence struct {
	Expected time.Duration // within which the next beat is due; 0 if unknown
	Suspect  time.Duration // after which it is suspect
	Dead     time.Duration // after which it is dead
	Rule     string        // the option or declaration that set it
}

// Silence returns what is allowed to a peer that declares interval, or
// declares none if that is 0.
func (o *Options) Silence(interval time.Duration) Silence {
	if interval == 0 {
		return Silence{Suspect: o.DeadAfter / 2, Dead: o.DeadAfter, Rule: "dead_after"}
	}
	s := Silence{Expected: interval, Rule: "interval"}
	s.Dead = max(interval+o.margin(interval), MinSilence)
	if o.MaxDeadAfter > 0 && s.Dead > o.MaxDeadAfter {
		s.Dead, s.Rule = o.MaxDeadAfter, "max_dead_after"
	}
	s.Suspect = interval + (s.Dead-interval)/4
	if s.Dead <= interval { // a ceiling below the interval
		s.Suspect = s.Dead / 2
	}
	return s
}

// margin returns the patience beyond interval. It ends half way between two
// beats: at a whole multiple of the interval the beat after a lost one would
// race the verdict.
func (o *Options) margin(interval time.Duration) time.Duration {
	half := interval / 2
	fit := int64(maxMargin / half) // half steps that fit
	if fit < 1 {
		return maxMargin
	}
	steps := min(int64(2*o.MissedBeats-1), fit-1+fit%2)
	return time.Duration(steps) * half
}
