package sender

import (
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// told is what one server was told of one word.
type told struct {
	seq   int64 // of the last beat
	sent  int   // version that was sent last
	heard int   // version that was acknowledged last
}

// A mention is a version of a word that was sent.
type mention struct {
	word    int // its index
	version int
}

// A choice is which words a batch is made of.
type choice func(w *word, t *told) bool

// due chooses what is said with every beat: all but goodbyes that were heard.
func due(w *word, t *told) bool { return !w.Silent && !(w.leaving() && t.heard == w.version) }

// unsaid chooses what has changed.
func unsaid(w *word, t *told) bool { return !w.Silent && t.sent < w.version }

// final chooses the ends that were not heard yet.
func final(w *word, t *told) bool { return w.ended() && t.heard < w.version }

// compose numbers the beats that are to be sent over link, and notes that they
// are.
func (l *line) compose(which choice, link *link) (beats []wire.Beat, about []mention) {
	for i := range l.words {
		w, t := &l.words[i], &l.told[i]
		if !which(w, t) {
			continue
		}
		t.seq++
		t.sent = w.version
		beat := w.beat()
		beat.Run, beat.Seq = l.run, t.seq
		beat.SentMS = time.Now().UnixMilli()
		beat.IntervalMS = l.sender.Interval.Milliseconds()
		beat.RTTMicros = l.rtt.Microseconds()
		if !beat.IP.IsValid() && !w.NoIP {
			beat.IP = link.local
		}
		beats, about = append(beats, beat), append(about, mention{i, w.version})
	}
	return beats, about
}
