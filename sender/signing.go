package sender

import (
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// clockBlur is the largest difference between the clocks of this host and a
// collector that is not corrected. The shortest replay window is a second.
const clockBlur = 500 * time.Millisecond

// A clock is the correction of this host's clock for a collector.
type clock struct {
	ahead     time.Duration // how far the collector's clock is ahead
	corrected bool          // since the last acknowledgement
}

// A recipient is the collector that signed beats are for: another collector must not
// accept a recorded beat.
type recipient struct {
	to        string // host of the URL, later the collector's id
	knownID   string // id of the collector; empty if it has not sent one
	corrected bool   // since the last acknowledgement
	accepted  bool   // whether a beat was ever acknowledged
	hungUp    bool   // the collector closed a connection before it answered
}

// recipientOf returns the recipient before the collector has sent its id. Beats over
// a unix socket cannot be recorded, so they need none.
func recipientOf(s server) recipient {
	name, err := wire.Host(s.host())
	if s.local() || err != nil {
		return recipient{}
	}
	return recipient{to: name}
}

// correct takes the time and the id of the collector from a refusal, and reports
// whether a retry of a signed beat may succeed. Each of the two is corrected only
// once until a collector acknowledges a beat.
func (s *session) correct(answer *wire.Answer) bool {
	if !s.sender.Key.isSet() {
		return false
	}
	clock := s.correctClock(answer.NowMS)
	to := s.correctRecipient(answer.Collector)
	return clock || to
}

func (s *session) correctClock(nowMS int64) bool {
	ahead := time.Until(time.UnixMilli(nowMS))
	if nowMS == 0 || s.clock.corrected || (ahead-s.clock.ahead).Abs() < clockBlur {
		return false
	}
	s.clock = clock{ahead: ahead, corrected: true}
	return true
}

func (s *session) correctRecipient(id string) bool {
	if id == "" || s.recipient.corrected || id == s.recipient.to {
		return false
	}
	s.recipient.corrected = true
	s.learnID(id)
	return true
}

// learnID stores the id of the collector. A new id is normal after a reinstallation,
// and worth a warning otherwise.
func (s *session) learnID(id string) {
	if known := s.recipient.knownID; known != "" && known != id {
		s.warnf("the collector at %s is a different one: its id is %q, it was %q", s.server, id, known)
	}
	s.recipient.knownID, s.recipient.to = id, id
}

// oneUntilAccepted limits a choice to its last report as long as it is unknown
// whether the collector accepts the clock and the recipient of signed beats: a
// collector closes the connection after several refusals.
func (s *session) oneUntilAccepted(which choice) choice {
	if s.recipient.accepted || !s.sender.Key.isSet() {
		return which
	}
	var last *report
	for i := range s.reports {
		if which(&s.reports[i], &s.deliveries[i]) {
			last = &s.reports[i]
		}
	}
	return func(r *report, _ *delivery) bool { return r == last }
}

// accepted records that a beat was acknowledged.
func (s *session) accepted(answer *wire.Answer) {
	s.clock.corrected, s.recipient.corrected, s.recipient.accepted = false, false, true
	if answer.Collector != "" {
		s.learnID(answer.Collector)
	}
}
