package liveness

import "time"

const (
	// MinSilence is the shortest silence that should be death.
	MinSilence = 2 * time.Second
	// maxMargin is the longest patience beyond a declared interval: a job
	// that runs daily is told missing after 25 hours, not after 3.5 days.
	maxMargin = time.Hour
	// marginUnit is how many units of Terms.Margin make one interval.
	marginUnit = 256
	// maxStretch is how far lateness stretches a margin at the most.
	maxStretch = 4
)

// Terms are what the operator allows a peer.
type Terms struct {
	DeadAfter    time.Duration // silence allowed to who declares no interval
	MaxDeadAfter time.Duration // ceiling for who does; 0 for none
	Margin       int           // patience beyond a declared interval, in 1/256 of it; >= 0
	Grace        time.Duration // from the end of a connection without goodbye to death
	ForgetDead   time.Duration // 0 for never

	Fixed bool   // DeadAfter holds whatever interval is declared
	Rule  string // what to name as the origin of a silence; empty for the option that set it
}

// MarginOf returns the margin that lets so many beats be missed. It ends half
// way between two beats: at a whole multiple of the interval the beat after a
// lost one would race the verdict.
func MarginOf(missedBeats int) int { return (2*missedBeats - 1) * marginUnit / 2 }

// A Silence is how long a peer may say nothing.
type Silence struct {
	Suspect time.Duration // after which it is suspect
	Dead    time.Duration // after which it is dead
	Rule    string        // what set it
}

// silence returns what the terms allow a peer that declares interval, or
// declares none if that is 0, and keeps to its schedule. A schedule is given
// once it is learnt; heard is when the silence began. A margin that is declared
// holds as it is.
func (t *Terms) silence(interval, declared time.Duration, s *schedule, heard time.Duration) Silence {
	if interval == 0 || t.Fixed {
		return t.named(split(interval, t.DeadAfter), "dead_after")
	}
	margin := t.margin(interval)
	rule, dead := "interval", interval+margin
	switch {
	case declared > 0:
		rule, dead = "grace_ms", interval+declared
	case s != nil:
		rule, dead = "adaptive", s.stretch(interval, margin, heard)
	}
	if t.MaxDeadAfter > 0 && dead > t.MaxDeadAfter {
		rule, dead = "max_dead_after", t.MaxDeadAfter
	}
	return t.named(split(interval, dead), rule)
}

func (t *Terms) named(s Silence, rule string) Silence {
	s.Rule = rule
	if t.Rule != "" {
		s.Rule = t.Rule
	}
	return s
}

// split returns the silence that ends in death after so long. A quarter of
// the time in which no beat comes though one is due makes a suspect.
func split(interval, dead time.Duration) Silence {
	if interval == 0 || dead <= interval { // or a ceiling below the interval
		return Silence{Suspect: dead / 2, Dead: dead}
	}
	return Silence{Suspect: interval + (dead-interval)/4, Dead: dead}
}

// atLeast returns s, made not shorter than floor.
func (s Silence) atLeast(floor, interval time.Duration) Silence {
	if s.Dead >= floor {
		return s
	}
	longer := split(interval, floor)
	longer.Rule = s.Rule
	return longer
}

// margin returns the patience beyond interval. Where it has to be cut, the
// largest odd number of half intervals is taken that fits.
func (t *Terms) margin(interval time.Duration) time.Duration {
	units := time.Duration(t.Margin)
	if interval/marginUnit <= maxMargin/units { // else the product may be too large
		return interval/marginUnit*units + interval%marginUnit*units/marginUnit
	}
	half := interval / 2
	fit := maxMargin / half // half intervals that fit
	if fit < 1 {
		return maxMargin
	}
	return (fit - 1 + fit%2) * half
}
