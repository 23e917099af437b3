package sender

import (
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// told is what one server was told of one word.
type delivery struct {
	seq   int64 // of the last beat
	sent  int   // version that was sent last
	acked int   // version that was acknowledged last
	times int   // that the version sent last was sent
}

// A mention is a version of a word that was sent.
type reportVersion struct {
	report    int // its index
	version int
}

// A choice is which words a batch is made of.
type choice func(w *report, t *delivery) bool

// due chooses what is said with every beat: all but goodbyes that were heard.
func due(w *report, t *delivery) bool { return !w.Silent && !(w.leaving() && t.acked == w.version) }

// unsaid chooses what has changed.
func unsent(w *report, t *delivery) bool { return !w.Silent && t.sent < w.version }

// final chooses the ends that were not heard yet.
func unheardEnd(w *report, t *delivery) bool { return w.ended() && t.acked < w.version }

// compose returns the beats that are to be sent over link, with the last one
// asking for an answer, and expects that. Of those that live one answer is
// enough: what came before it has then been heard too. Each end asks for its
// own, as it may be refused. They come last: before a service, its host should
// be known to be spoken for again.
func (s *session) compose(which choice, link *link) []wire.Beat {
	var living, ends []wire.Beat
	about := batch{at: time.Now()}
	var each []batch
	for i := range s.reports {
		w, t := &s.reports[i], &s.deliveries[i]
		if !which(w, t) {
			continue
		}
		beat := s.next(w, t, link)
		said := reportVersion{i, w.version}
		if w.ended() {
			beat.Ack = true
			ends = append(ends, beat)
			each = append(each, batch{seq: beat.Seq, at: about.at, versions: []reportVersion{said}})
			continue
		}
		living = append(living, beat)
		about.versions = append(about.versions, said)
	}
	if n := len(living); n > 0 {
		living[n-1].Ack = true
		about.seq = living[n-1].Seq
		link.expect(about)
	}
	for _, b := range each {
		link.expect(b)
	}
	return append(living, ends...)
}

// next returns the next beat about a word.
func (s *session) next(w *report, t *delivery, link *link) wire.Beat {
	t.seq++
	if t.sent != w.version {
		t.sent, t.times = w.version, 0
	}
	beat := w.beat()
	beat.Check = s.check
	beat.Run, beat.Seq = s.run, t.seq
	beat.SentMS = time.Now().Add(s.clock.ahead).UnixMilli()
	if s.sender.signs() {
		beat.To = s.recipient.to
	}
	beat.IntervalMS = s.sender.Interval.Milliseconds()
	beat.RTTMicros = s.rtt.Microseconds()
	if !beat.IP.IsValid() && !w.NoIP {
		beat.IP = link.local
	}
	return beat
}
