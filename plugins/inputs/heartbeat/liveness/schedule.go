package liveness

import "time"

const (
	// youth is for how many beats phase and interval are learnt quickly.
	youth = 32
	// maxLateness is the most, in declared intervals, that is learnt of one
	// lateness. It is clipped, never dropped: a detector that learns only the
	// good days is wrong about the bad ones.
	maxLateness = 4
	// maxLead is the most, in declared intervals, by which a beat that came
	// before its time prolongs the wait for the next one.
	maxLead = 8
	// maxDrift says by which part of a declared interval, down to that part of
	// it, the measured one can differ.
	maxDrift = 4
	// astray is by how many intervals a beat is off a schedule that does not
	// hold any more: the sender was suspended, or counts anew.
	astray = 64
	// maxSteps is how many beats may be missing before the next one begins a
	// schedule anew.
	maxSteps = 256
)

// A schedule is what is learnt of a peer that declares an interval: when its
// beats are due, and how late they usually are. It is a tracking filter (as in
// Chen, Toueg and Aguilera, IEEE ToC 51(5) 2002, the wait is tied to when the
// next beat is due) whose margin follows the lateness (Jacobson, as Bertier,
// Marin and Sens have it), without a window: five numbers, only integers.
type schedule struct {
	phase    time.Duration // when the last beat was due, since the tracker's epoch
	interval time.Duration // 0 while nothing is known
	lateness time.Duration // smoothed
	taught   uint8         // beats learnt from, at most youth+1
	young    bool          // one beat is known; a sender spreads the second one, so as not to beat in step with others
}

// begin starts the schedule anew with a beat at the given time. What is known
// of interval and lateness stays.
func (s *schedule) begin(at, declared time.Duration) {
	s.phase, s.young = at, true
	if s.interval == 0 {
		s.interval = declared
	}
}

// skip goes on by n beats without learning from the one that came: what was
// received late because the collector did not listen says nothing of the peer.
func (s *schedule) skip(at time.Duration, n int64) {
	s.phase = min(s.phase+s.interval*time.Duration(n), at)
}

// learn takes in a beat, n beats after the one before.
func (s *schedule) learn(at, declared time.Duration, n int64) {
	late := at - s.phase - s.interval           // than the next beat after the last one
	off := late - s.interval*time.Duration(n-1) // than this one was due
	lateness := max(off.Abs(), late)            // what the wait would have needed
	phaseStep, intervalStep := s.steps(off, declared)
	s.lateness += (min(lateness, maxLateness*declared) - s.lateness) / 16
	s.phase += s.interval*time.Duration(n) + phaseStep
	s.interval += intervalStep / time.Duration(n)
	s.interval = min(max(s.interval, declared/maxDrift), declared+declared/maxDrift)
	if off.Abs() > astray*declared {
		s.phase = at
	}
}

// steps returns by how much an error moves phase and interval. Once the
// schedule is settled one late beat hardly moves it.
func (s *schedule) steps(off, declared time.Duration) (phase, interval time.Duration) {
	if s.taught <= youth {
		s.taught++
	}
	if s.taught > youth {
		limit := 2*s.lateness + declared/1024
		off = min(max(off, -limit), limit)
		return off / 8, off / 1024
	}
	n := time.Duration(s.taught) + 1
	return 2 * off / min(n, 16), 2 * off / (n * n)
}

// stretch returns the silence allowed after a beat at the given time, with a
// margin that lateness stretches. It is not shorter than interval + margin,
// and no margin is longer than maxMargin.
func (s *schedule) stretch(interval, margin, heard time.Duration) time.Duration {
	due := s.interval + min(max(s.phase-heard, 0), maxLead*interval)
	late := min(s.interval+4*s.lateness, maxStretch*s.interval)
	stretched := margin * marginUnit / interval * late / marginUnit
	return max(min(due+stretched, interval+maxMargin), interval+margin)
}
