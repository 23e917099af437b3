package cluster

import (
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// Peers are the judge's peers, on which the collectors agree. Its methods may take a lock.
type Peers interface {
	Sayings
	Hearings
	Events

	// Ticks returns how many times silence was judged.
	Ticks() uint64
	// Able reports whether Telegraf accepts metrics from this collector, and whether it is
	// probably cut off.
	Able() (able, isolated bool)
	// Flows reports whether Telegraf has accepted all metrics of this collector.
	Flows() bool
	// Asked returns about how many peers mates were asked, and how many of those were spared
	// because a mate had later news.
	Asked() (asked, spared int64)
	// Contained calls do. If do panics, it logs that and returns false.
	Contained(what string, do func()) bool
}

// Sayings return what to send to mates.
type Sayings interface {
	// News has an entry when there is something to send.
	News() <-chan struct{}
	// Said returns what to send to mates since the last call, or a part of it.
	Said() liveness.Said
	// Count returns the number of known peers.
	Count() int
	// Words returns what to send about some peers below number next, and the number to
	// continue with.
	Words(next int) ([]liveness.Word, int)
	// Answer appends to words what is known of the peers with these hashes.
	Answer(words []liveness.Word, asked []uint64) []liveness.Word
	// RecordsOf returns the records of the peers with these hashes that are known.
	RecordsOf(hashes []uint64) []liveness.Record
}

// Hearings process what mates send.
type Hearings interface {
	// HearWords processes what a mate sent ago before now. It returns the hashes of the peers
	// whose records are wanted.
	HearWords(mate string, ago time.Duration, words []liveness.Word) (wanted []uint64)
	// HearFact processes a beat that a mate has received.
	HearFact(mate string, f *liveness.Fact)
	// HearRecords processes records that were wanted, as of ago before now. It returns the
	// hashes of the peers whose records the mate needs from here.
	HearRecords(mate string, ago time.Duration, records []liveness.Record) (needed []uint64)
	// Settle notes that all reachable mates have answered a question.
	Settle(question uint32)
	// MatesChanged notes that the set of reachable mates has changed.
	MatesChanged()
}

// Events are the events of peers. One of the collectors reports them.
type Events interface {
	// Join leaves to the mates the events seen before until, when a message from a mate that
	// spoke was last received: that mate has seen them too.
	Join(until time.Time)
	// Speak lets this collector report events. It reports now those of the last 30 s that no mate
	// has reported, and if again is set the others too: they may not have left the mate.
	Speak(again bool)
	// KeepSpeaking lets this collector report events only until the given time: if it hangs, a
	// mate takes over.
	KeepSpeaking(until time.Time)
	// Hush ends what Speak began.
	Hush()
	// TakeTold returns the events reported since the last call.
	TakeTold() []liveness.ReportedEvent
	// TellAgain lets TakeTold return the events of the last 30 s once more, for a mate that may
	// have missed them.
	TellAgain()
	// Told notes that a mate has reported events, in a message sent ago before now.
	Told(ago time.Duration, events []liveness.ReportedEvent)
}
