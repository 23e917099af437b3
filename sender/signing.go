package sender

import (
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// clockBlur is how much the clock of this host may differ from that of a
// collector and still be right. The shortest replay window is a second.
const clockBlur = 500 * time.Millisecond

// A clock is what a collector says about the clock of this host.
type clock struct {
	ahead     time.Duration // of the collector's time before ours
	corrected bool          // since the last acknowledgement
}

// A recipient is the collector that signed beats are for: a beat that was
// recorded on its way must not work at another one.
type recipient struct {
	to        string // host of the URL, and then the collector's id
	knownID   string // id of the collector; empty if it has not told one
	corrected bool   // since the last acknowledgement
	accepted  bool   // a beat ever was
	hungUp    bool   // the collector closed a connection before it answered
}

// recipientOf returns what to call a collector that has not told its id.
// Nobody records what goes through a unix socket: it needs no name.
func recipientOf(s server) recipient {
	name, err := wire.Host(s.host())
	if s.local() || err != nil {
		return recipient{}
	}
	return recipient{to: name}
}

// correct learns from a refusal the time of the collector and its id. It
// reports whether a signed beat is worth another try. Each of the two is
// corrected once until a beat is acknowledged.
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

// learnID takes the id of the collector. A new id is normal after a collector
// was reinstalled, and worth a look otherwise.
func (s *session) learnID(id string) {
	if known := s.recipient.knownID; known != "" && known != id {
		s.warnf("the collector at %s is a different one: its id is %q, it was %q", s.server, id, known)
	}
	s.recipient.knownID, s.recipient.to = id, id
}

// oneUntilAccepted narrows a choice to its last report while a sender that
// signs does not know whether the collector accepts its clock and recipient: a
// collector closes the connection after some refusals.
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

// accepted notes that a beat was acknowledged.
func (s *session) accepted(answer *wire.Answer) {
	s.clock.corrected, s.recipient.corrected, s.recipient.accepted = false, false, true
	if answer.Collector != "" {
		s.learnID(answer.Collector)
	}
}
