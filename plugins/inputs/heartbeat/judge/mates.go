package judge

import (
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// This file exchanges what is known of peers with other collectors. Each call holds the lock
// only for the peers that it is given.

// blockedAfter is how long a metric may wait before Telegraf counts as blocked.
const blockedAfter = 3 * time.Second

// readPause is how long a reader of metrics may be busy with other metrics.
const readPause = 500 * time.Millisecond

// News returns a channel that has an entry when there is something to send to mates, or nil
// without mates.
func (j *Judge) News() <-chan struct{} { return j.news }

// wakeMates signals on News that there is something to send. j.mu is held.
func (j *Judge) wakeMates() {
	if j.tracker.NothingToSend() && j.herald.Silent() {
		return
	}
	select {
	case j.news <- struct{}{}:
	default: // it has an entry, or there are no mates
	}
}

// Ticks returns how many times silence was judged.
func (j *Judge) Ticks() uint64 { return j.ticks.Load() }

// Able reports whether Telegraf accepts metrics from this collector, and whether it is
// probably cut off.
func (j *Judge) Able() (able, isolated bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.flow.accepts(time.Now()), j.tracker.Isolated()
}

// Flows reports whether Telegraf has accepted all metrics passed to it.
func (j *Judge) Flows() bool { return j.flow.idle() }

// Said returns what to send to mates since the last call.
func (j *Judge) Said() liveness.Said {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.tracker.TakeSaid(time.Now())
}

// Settle notes that all reachable mates have answered a question.
func (j *Judge) Settle(question uint32) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.tracker.Settle(question)
}

// Words returns what to send about some peers below number next, and the number to continue
// with.
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

// Answer appends to words what is known of the peers with these hashes.
func (j *Judge) Answer(words []liveness.Word, asked []uint64) []liveness.Word {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.tracker.Answer(words, asked, time.Now())
}

// RecordsOf returns the records of the peers with these hashes that are known.
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

// HearWords processes what a mate sent ago before now. It returns the hashes of the peers whose
// records are wanted.
func (j *Judge) HearWords(mate string, ago time.Duration, words []liveness.Word) (wanted []uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	wanted, transitions := j.tracker.HearWords(time.Now(), words, mate, ago)
	j.enqueue(transitions)
	return wanted
}

// HearFact processes a beat that a mate has received.
func (j *Judge) HearFact(mate string, f *liveness.Fact) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.enqueue(j.tracker.HearFact(time.Now(), f, mate))
}

// HearRecords processes records that were wanted, as of ago before now. It returns the hashes
// of the peers whose records the mate needs from here.
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

// Join leaves to the mates the events seen before until. See Events of package cluster.
func (j *Judge) Join(until time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.herald.Join(until)
}

// Speak lets this collector report the events of peers. It reports now those of the last 30 s
// that no mate has reported, and if again is set, the others too.
func (j *Judge) Speak(again bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.queue.pushLate(j.herald.Speak(again, time.Now()))
}

// KeepSpeaking lets this collector report events no longer than until the given time: if this
// collector hangs, a mate takes over.
func (j *Judge) KeepSpeaking(until time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.herald.KeepSpeaking(until)
}

// Hush ends what Speak began.
func (j *Judge) Hush() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.herald.Hush(time.Now())
}

// TakeTold returns the events reported since the last call.
func (j *Judge) TakeTold() []liveness.ReportedEvent {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.herald.TakeTold(time.Now())
}

// TellAgain lets TakeTold return the events of the last 30 s once more.
func (j *Judge) TellAgain() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.herald.TellAgain()
}

// Told notes that a mate has reported events, in a message sent ago before now.
func (j *Judge) Told(ago time.Duration, events []liveness.ReportedEvent) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.herald.NoteTold(events, ago, time.Now())
}

// Asked returns about how many peers mates were asked, and how many of those were spared
// because a mate had later news.
func (j *Judge) Asked() (asked, spared int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.tracker.Asked()
}
