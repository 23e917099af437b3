package liveness

import "time"

// maxRate is the most metrics a second that one peer can make: their stamps
// are a millisecond apart.
const maxRate = 1000

// A rate lets through so many beats a second and twice as many at once. It is
// the generic cell rate algorithm (ITU-T I.371, A.2): the time when the next
// beat would be due if all came evenly.
type rate time.Duration

// take reports whether a beat at the given time is within perSecond; 0 stands
// for maxRate.
func (r *rate) take(at time.Duration, perSecond int) bool {
	if perSecond == 0 {
		perSecond = maxRate
	}
	step := time.Second / time.Duration(min(perSecond, maxRate))
	due := max(time.Duration(*r), at)
	if due-at > 2*time.Second-step {
		return false
	}
	*r = rate(due + step)
	return true
}
