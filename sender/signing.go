package sender

import (
	"net"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// clockBlur is how far the clock of this host may be off and still be right: the
// shortest window of a collector is a second.
const clockBlur = 500 * time.Millisecond

// A clock is what a collector thinks of the clock of this host.
type clock struct {
	ahead     time.Duration // of the collector's time before ours
	corrected bool          // since the last acknowledgement
}

// A recipient is whom signed beats are for: a beat that was recorded on its way
// must not work at another collector.
type recipient struct {
	to        string // host of the URL, and then the id that the collector tells
	knownID       string // id of the collector; empty if it has not told one
	corrected bool   // since the last acknowledgement
	accepted  bool   // a beat ever was
	hungUp       bool   // the collector has hung up before it told anything
}

// recipientOf returns how a collector is called as long as it has not told its
// id. Nothing is recorded on the way to a unix socket.
func recipientOf(s server) recipient {
	host, _, _ := net.SplitHostPort(s.address) //nolint:errcheck // a path has none
	name, err := wire.Host(host)
	if s.local() || err != nil {
		return recipient{}
	}
	return recipient{to: name}
}

// correct heeds what a refusal tells: the time of the collector and its id. It
// reports whether a signed beat is worth another try; each of the two is
// corrected once until a beat is acknowledged.
func (s *session) correct(answer *wire.Answer) bool {
	if !s.sender.signs() {
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

// meet takes in the id of the collector. That it changes is normal where the
// collector was set up anew, and should be known where it was not.
func (s *session) learnID(id string) {
	if met := s.recipient.knownID; met != "" && met != id {
		s.warnf("the collector at %s is another one: its id is %q, it was %q", s.server, id, met)
	}
	s.recipient.knownID, s.recipient.to = id, id
}

// introduce leaves of a choice the last word, as long as a sender that signs does
// not know whether the collector accepts its clock and what it calls it: a
// collector closes the connection after some refusals.
func (s *session) oneUntilAccepted(which choice) choice {
	if s.recipient.accepted || !s.sender.signs() {
		return which
	}
	var last *report
	for i := range s.reports {
		if which(&s.reports[i], &s.deliveries[i]) {
			last = &s.reports[i]
		}
	}
	return func(w *report, _ *delivery) bool { return w == last }
}

// accepted takes in that a beat was acknowledged.
func (s *session) accepted(answer *wire.Answer) {
	s.clock.corrected, s.recipient.corrected, s.recipient.accepted = false, false, true
	if answer.Collector != "" {
		s.learnID(answer.Collector)
	}
}
