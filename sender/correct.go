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
	met       string // id of the collector; empty if it has not told one
	corrected bool   // since the last acknowledgement
	accepted  bool   // a beat ever was
	shy       bool   // the collector has hung up before it told anything
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
func (l *line) correct(answer *wire.Answer) bool {
	if !l.sender.signs() {
		return false
	}
	clock := l.setClock(answer.NowMS)
	to := l.readdress(answer.Collector)
	return clock || to
}

func (l *line) setClock(nowMS int64) bool {
	ahead := time.Until(time.UnixMilli(nowMS))
	if nowMS == 0 || l.clock.corrected || (ahead-l.clock.ahead).Abs() < clockBlur {
		return false
	}
	l.clock = clock{ahead: ahead, corrected: true}
	return true
}

func (l *line) readdress(id string) bool {
	if id == "" || l.recipient.corrected || id == l.recipient.to {
		return false
	}
	l.recipient.corrected = true
	l.meet(id)
	return true
}

// meet takes in the id of the collector. That it changes is normal where the
// collector was set up anew, and should be known where it was not.
func (l *line) meet(id string) {
	if met := l.recipient.met; met != "" && met != id {
		l.warnf("the collector at %s is another one: its id is %q, it was %q", l.server, id, met)
	}
	l.recipient.met, l.recipient.to = id, id
}

// introduce leaves of a choice the last word, as long as a sender that signs does
// not know whether the collector accepts its clock and what it calls it: a
// collector closes the connection after some refusals.
func (l *line) introduce(which choice) choice {
	if l.recipient.accepted || !l.sender.signs() {
		return which
	}
	var last *word
	for i := range l.words {
		if which(&l.words[i], &l.told[i]) {
			last = &l.words[i]
		}
	}
	return func(w *word, _ *told) bool { return w == last }
}

// accepted takes in that a beat was acknowledged.
func (l *line) accepted(answer *wire.Answer) {
	l.clock.corrected, l.recipient.corrected, l.recipient.accepted = false, false, true
	if answer.Collector != "" {
		l.meet(answer.Collector)
	}
}
