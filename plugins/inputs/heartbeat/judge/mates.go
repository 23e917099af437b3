package judge

import (
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// This file gives what is to be told to other collectors, and takes what they tell. Each
// call locks for as many peers as it is given.

// blockedAfter is after how long a metric that is not taken means that none is.
const blockedAfter = 3 * time.Second

// readPause is for how long a reader of metrics may be busy with others.
const readPause = 500 * time.Millisecond

// News has an entry when there is something to tell to mates; nil if there are none.
func (j *Judge) News() <-chan struct{} { return j.news }

// wakeMates says that there is something to tell. j.mu is held.
func (j *Judge) wakeMates() {
	if j.tracker.Silent() && j.herald.Silent() {
		return
	}
	select {
	case j.news <- struct{}{}:
	default: // it has an entry, or there are no mates
	}
}

// Ticks returns how often silence was judged.
func (j *Judge) Ticks() uint64 { return j.ticks.Load() }

// Able reports whether metrics are taken from this collector, and whether it is
// probably cut off.
func (j *Judge) Able() (able, isolated bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.flow.runs(time.Now()), j.tracker.Isolated()
}

// Flows reports whether all metrics that were handed over have been taken.
func (j *Judge) Flows() bool { return j.flow.taken() }

// Said returns what is to be told to mates since it was called last.
func (j *Judge) Said() liveness.Said {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.tracker.TakeSaid(time.Now())
}

// Settle notes that all mates that are reachable have answered a question.
func (j *Judge) Settle(question uint32) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.tracker.Settle(question)
}

// Words returns what is to be told of a portion of the peers below number next, and
// where to go on.
func (j *Judge) Words(next int) ([]liveness.Word, int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := time.Now()
	next = min(next, j.tracker.Len())
	words := make([]liveness.Word, 0, min(next, portion))
	for len(words) < portion && next > 0 {
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

// HearWords takes what a mate said ago before now, and returns the hashes of the peers
// whose records are wanted.
func (j *Judge) HearWords(mate string, ago time.Duration, words []liveness.Word) (wanted []uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	wanted, transitions := j.tracker.HearWords(time.Now(), words, mate, ago)
	j.tell(transitions)
	return wanted
}

// HearFact takes a beat that a mate has heard.
func (j *Judge) HearFact(mate string, f *liveness.Fact) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.tell(j.tracker.HearFact(time.Now(), f, mate))
}

// HearRecords takes records that were wanted, as of ago before now, and returns the hashes
// of the peers of which the mate needs ours.
func (j *Judge) HearRecords(mate string, ago time.Duration, records []liveness.Record) (needed []uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	needed, transitions := j.tracker.HearRecords(time.Now(), records, mate, ago)
	j.tell(transitions)
	return needed
}

// MatesChanged notes that other mates are reachable than before.
func (j *Judge) MatesChanged() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.tracker.MatesChanged()
	j.wakeMates()
}

// Join leaves to mates what was seen until one was heard last that spoke.
func (j *Judge) Join(until time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.herald.Join(until)
}

// Speak lets this collector tell the events of peers. Those of the last half minute are told
// now which no mate has told, and if again is set the others, too.
func (j *Judge) Speak(again bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.queue.pushLate(j.herald.Speak(again, time.Now()))
}

// KeepSpeaking has it told here no longer than until then: if this collector is stopped, a mate
// takes over.
func (j *Judge) KeepSpeaking(until time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.herald.KeepSpeaking(until)
}

// Hush ends that.
func (j *Judge) Hush() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.herald.Hush(time.Now())
}

// TakeTold returns which events were told since it was called last.
func (j *Judge) TakeTold() []liveness.Telling {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.herald.TakeTold(time.Now())
}

// TellAgain lets TakeTold return those of the last half minute once more.
func (j *Judge) TellAgain() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.herald.TellAgain()
}

// Told notes that a mate has told events, as it said ago before now.
func (j *Judge) Told(ago time.Duration, events []liveness.Telling) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.herald.NoteTold(events, ago, time.Now())
}

// Asked returns of how many peers mates were asked, and of how many one of them knew
// better.
func (j *Judge) Asked() (asked, spared int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.tracker.Asked()
}
