package cluster

import (
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// Peers are what the collectors agree on: those of the judge. Its methods may take a
// lock, and are never called while a message is underway.
type Peers interface {
	Sayings
	Hearings
	Events

	// Ticks returns how often silence was judged.
	Ticks() uint64
	// Able reports whether metrics are taken from this collector, and whether it is
	// probably cut off.
	Able() (able, isolated bool)
	// Flows reports whether all that was told has been taken from this collector.
	Flows() bool
	// Asked returns of how many peers mates were asked, and of how many one of them
	// knew better.
	Asked() (asked, spared int64)
	// Contained calls do. If do panics, that is reported, and Contained returns false.
	Contained(what string, do func()) bool
}

// Sayings are what is to be told to mates.
type Sayings interface {
	// News has an entry when there is something to say.
	News() <-chan struct{}
	// Said returns what is to be told to mates since it was called last, or a part of it.
	Said() liveness.Said
	// Count returns how many peers there are.
	Count() int
	// Words returns what is to be told of some peers below number next, and where to go
	// on.
	Words(next int) ([]liveness.Word, int)
	// Answer appends to words what is known of the peers with these hashes.
	Answer(words []liveness.Word, asked []uint64) []liveness.Word
	// RecordsOf returns the records of the peers with these hashes that are known.
	RecordsOf(hashes []uint64) []liveness.Record
}

// Hearings take what mates say.
type Hearings interface {
	// HearWords takes in what a mate said ago before now, and returns of which peers the
	// records are wanted.
	HearWords(mate string, ago time.Duration, words []liveness.Word) (wanted []uint64)
	// HearFact takes in a beat that a mate has heard.
	HearFact(mate string, f *liveness.Fact)
	// HearRecords takes in records that were wanted, as of ago before now, and returns of which
	// peers the mate needs ours.
	HearRecords(mate string, ago time.Duration, records []liveness.Record) (needed []uint64)
	// Settle notes that all mates that are reachable have answered a question.
	Settle(question uint32)
	// MatesChanged notes that other mates are reachable than before.
	MatesChanged()
}

// Events are those of peers: one of the collectors tells them.
type Events interface {
	// Join leaves to mates what was seen until one was heard last that spoke: it is no news to
	// them.
	Join(until time.Time)
	// Speak lets this collector tell them. Those of the last half minute are told now which no
	// mate has told, and if again is set the others, too: they may not have left it.
	Speak(again bool)
	// KeepSpeaking has them told no longer than until then: if this collector is stopped, a mate
	// takes over.
	KeepSpeaking(until time.Time)
	// Hush ends that.
	Hush()
	// TakeTold returns which events were told since it was called last.
	TakeTold() []liveness.Telling
	// TellAgain lets TakeTold return those of the last half minute once more: a mate may not have
	// heard of them.
	TellAgain()
	// Told notes that a mate has told events, as it said ago before now.
	Told(ago time.Duration, events []liveness.Telling)
}
