package cluster

import (
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// Peers are the peers about which a Circle exchanges information with the mates. Its methods may
// lock a mutex.
type Peers interface {
	Outgoing
	Incoming
	Events

	// Ticks returns how often the judge has judged silence.
	Ticks() uint64
	// CanReport reports whether Telegraf accepts metrics from this collector, and whether this
	// collector is probably isolated from its peers.
	CanReport() (able, isolated bool)
	// Flows reports whether Telegraf has accepted all metrics of this collector.
	Flows() bool
	// Asked returns the total of peers about which mates were asked, and the total of peers that were
	// not declared dead because a mate had later news.
	Asked() (asked, spared int64)
	// CatchPanic calls do. If do panics, CatchPanic logs the panic and returns false.
	CatchPanic(what string, do func()) bool
}

// Outgoing returns the information to send to mates.
type Outgoing interface {
	// News returns a channel that has an entry when there is something to send.
	News() <-chan struct{}
	// Said returns the news since the last call that must be sent to mates, or a part of that news.
	Said() liveness.Said
	// Count returns the number of known peers.
	Count() int
	// Words returns the Words of some of the peers with numbers below next, and the value of next for
	// the following call.
	Words(next int) ([]liveness.Word, int)
	// Answer appends the Words of the known peers with these hashes to words.
	Answer(words []liveness.Word, asked []uint64) []liveness.Word
	// RecordsOf returns the records of the known peers with these hashes.
	RecordsOf(hashes []uint64) []liveness.Record
}

// Incoming processes the information that mates send.
type Incoming interface {
	// HearWords processes Words from a mate; ago is how long ago it sent them. It returns the
	// hashes of the peers whose records the mate must send.
	HearWords(mate string, ago time.Duration, words []liveness.Word) (wanted []uint64)
	// HearFact processes a fact: a beat that a mate has received.
	HearFact(mate string, f *liveness.Fact)
	// HearRecords processes requested records from a mate; ago is how long ago it sent them. It
	// returns the hashes of the peers whose records the mate needs from this collector.
	HearRecords(mate string, ago time.Duration, records []liveness.Record) (needed []uint64)
	// Settle notes that all reachable mates have answered the question with this number.
	Settle(question uint32)
	// MatesChanged notes that the set of reachable mates has changed.
	MatesChanged()
}

// Events controls which collector reports the events of peers. See package herald.
type Events interface {
	// DeferToMate leaves the events that this collector saw until the given time to the mate that
	// reported events at that time. The mate has seen these events, too.
	DeferToMate(until time.Time)
	// StartReporting lets this collector report events. It reports at once the events of the last 30 s
	// that no mate has reported. If again is set, it also reports the others, because the mate may
	// have been lost before it sent them to Telegraf.
	StartReporting(again bool)
	// ReportUntil lets this collector report events only until the given time. If this collector
	// hangs, a mate can take over then.
	ReportUntil(until time.Time)
	// StopReporting leaves events to a mate from now on.
	StopReporting()
	// TakeReported returns the events reported since the last call.
	TakeReported() []liveness.ReportedEvent
	// RepeatRecent makes the next TakeReported return the events of the last 30 s again, for a mate
	// that may have missed them.
	RepeatRecent()
	// NoteReported notes that a mate has reported events; ago is how long ago it sent the message
	// about them.
	NoteReported(ago time.Duration, events []liveness.ReportedEvent)
}
