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
	if r.used(at, perSecond) {
		return false
	}
	*r = rate(max(time.Duration(*r), at) + step(perSecond))
	return true
}

// used reports whether take would refuse a beat at the given time.
func (r *rate) used(at time.Duration, perSecond int) bool {
	return time.Duration(*r)-at > 2*time.Second-step(perSecond)
}

func step(perSecond int) time.Duration {
	if perSecond == 0 {
		perSecond = maxRate
	}
	return time.Second / time.Duration(min(perSecond, maxRate))
}
