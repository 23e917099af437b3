package judge

import (
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// This file exchanges information about peers with other collectors. The methods implement the
// interface Peers of package cluster. Each call locks the Judge only while it processes a limited
// number of peers.

// blockedAfter is how long Telegraf may take to accept a metric before it counts as blocked.
const blockedAfter = 3 * time.Second

// readPause is how long the reader of a pipe may leave data waiting while it processes other
// metrics.
const readPause = 500 * time.Millisecond

// News returns a channel that has an entry when there is something to send to mates, or nil
// without mates.
func (j *Judge) News() <-chan struct{} { return j.news }

// wakeMates signals on News if there is something to send. The caller holds j.mu.
func (j *Judge) wakeMates() {
	if j.tracker.NothingToSend() && j.reporter.NothingReported() {
		return
	}
	select {
	case j.news <- struct{}{}:
	default: // the channel has an entry already, or there are no mates
	}
}

// Ticks returns how often the Judge has judged silence.
func (j *Judge) Ticks() uint64 { return j.ticks.Load() }

// CanReport reports whether Telegraf accepts metrics from this collector, and whether this
// collector is probably isolated from its peers.
func (j *Judge) CanReport() (able, isolated bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.flow.accepts(time.Now()), j.tracker.Isolated()
}

// Flows reports whether Telegraf has accepted all metrics passed to it.
func (j *Judge) Flows() bool { return j.flow.idle() }

// Said returns the news since the last call that must be sent to mates, or a part of that news.
func (j *Judge) Said() liveness.Said {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.tracker.TakeSaid(time.Now())
}

// Settle notes that all reachable mates have answered the question with this number.
func (j *Judge) Settle(question uint32) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.tracker.Settle(question)
}

// Words returns the Words of some of the peers with numbers below next, and the value of next for
// the following call.
func (j *Judge) Words(next int) ([]liveness.Word, int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := time.Now()
	next = min(next, j.tracker.Len())
	words := make([]liveness.Word, 0, min(next, batchSize))
	for len(words) < batchSize && next > 0 {
		next--
		words = append(words, j.tracker.Word(next, now))
	}
	return words, next
}

// Answer appends the Words of the known peers with these hashes to words.
func (j *Judge) Answer(words []liveness.Word, asked []uint64) []liveness.Word {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.tracker.Answer(words, asked, time.Now())
}

// RecordsOf returns the records of the known peers with these hashes.
func (j *Judge) RecordsOf(hashes []uint64) (records []liveness.Record) {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := time.Now()
	for _, hash := range hashes {
		if r, known := j.tracker.RecordByHash(hash, now); known {
			records = append(records, r)
		}
	}
	return records
}

// HearWords processes Words from a mate; ago is how long ago it sent them. It returns the hashes of
// the peers whose records the mate must send.
func (j *Judge) HearWords(mate string, ago time.Duration, words []liveness.Word) (wanted []uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	wanted, transitions := j.tracker.HearWords(time.Now(), words, mate, ago)
	j.enqueue(transitions)
	return wanted
}

// HearFact processes a fact: a beat that a mate has received.
func (j *Judge) HearFact(mate string, f *liveness.Fact) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.enqueue(j.tracker.HearFact(time.Now(), f, mate))
}

// HearRecords processes requested records from a mate; ago is how long ago it sent them. It returns
// the hashes of the peers whose records the mate needs from this collector.
func (j *Judge) HearRecords(mate string, ago time.Duration, records []liveness.Record) (needed []uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	needed, transitions := j.tracker.HearRecords(time.Now(), records, mate, ago)
	j.enqueue(transitions)
	return needed
}

// MatesChanged notes that the set of reachable mates has changed.
func (j *Judge) MatesChanged() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.tracker.MatesChanged()
	j.wakeMates()
}

// DeferToMate leaves the events that this collector saw until the given time to the mate that
// reported events at that time.
func (j *Judge) DeferToMate(until time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.reporter.DeferToMate(until)
}

// StartReporting lets this collector report the events of peers. It reports at once the events of
// the last 30 s that no mate has reported. If again is set, it also reports the others.
func (j *Judge) StartReporting(again bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.queue.pushLate(j.reporter.StartReporting(again, time.Now()))
}

// ReportUntil lets this collector report events only until the given time. If this collector hangs,
// a mate can take over then.
func (j *Judge) ReportUntil(until time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.reporter.ReportUntil(until)
}

// StopReporting leaves events to a mate from now on.
func (j *Judge) StopReporting() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.reporter.StopReporting(time.Now())
}

// TakeReported returns the events reported since the last call.
func (j *Judge) TakeReported() []liveness.ReportedEvent {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.reporter.TakeReported(time.Now())
}

// RepeatRecent makes the next TakeReported return the events of the last 30 s again.
func (j *Judge) RepeatRecent() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.reporter.RepeatRecent()
}

// NoteReported notes that a mate has reported events; ago is how long ago it sent the message about
// them.
func (j *Judge) NoteReported(ago time.Duration, events []liveness.ReportedEvent) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.reporter.NoteReported(events, ago, time.Now())
}

// Asked returns the total of peers about which mates were asked, and the total of peers that were
// not declared dead because a mate had later news.
func (j *Judge) Asked() (asked, spared int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.tracker.Asked()
}
