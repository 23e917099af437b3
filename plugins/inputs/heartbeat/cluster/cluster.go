// Package cluster lets several collectors give one answer: before one of them tells a
// death it asks the others, what one is told all know, and one of them tells events. It
// knows what liveness knows of a peer, and other collectors, its mates; it never knows
// beats as bytes, metrics or files.
package cluster

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"sync"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/cluster/bus"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// Options of a Cluster.
type Options struct {
	Name   string      // of this collector
	Listen string      // where its mates come in, host:port
	Mates  []string    // where they listen, host:port
	Secret []byte      // what all have in common
	TLS    *tls.Config // of the routes, for both directions; nil for plaintext
	Rules  uint64      // hash of all options that decide verdicts or series
	Peers  Peers
	Log    Logger
}

// Logger is what a Cluster says.
type Logger interface {
	// Infof says that a mate was found or is back.
	Infof(format string, args ...any)
	// Warnf says that a mate is lost, differs or is refused.
	Warnf(format string, args ...any)
}

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
	// HearRecords takes in records that were wanted, as of ago before now.
	HearRecords(mate string, ago time.Duration, records []liveness.Record)
	// Settle notes that all mates that are reachable have answered a question.
	Settle(question uint32)
	// Reach notes which mates are reachable.
	Reach(mates []string)
}

// Events are those of peers: one of the collectors tells them.
type Events interface {
	// Speak lets this collector tell them. Those of the time before that are told now which
	// no mate has told, and if again is set the others, too.
	Speak(before time.Duration, again bool)
	// Hush ends that.
	Hush()
	// TakeTold returns which events were told since it was called last.
	TakeTold() []liveness.Telling
	// Told notes that a mate has told events, as it said ago before now.
	Told(ago time.Duration, events []liveness.Telling)
}

// Status is what a Cluster says about itself.
type Status struct {
	Mates  int   // that are reachable
	Differ int   // that are there, but have another version, other rules, or another clock
	Speaks bool  // it tells the events of peers
	Asked  int64 // peers of which the mates were asked, in all
	Spared int64 // peers of which a mate had heard more, in all
}

// A Cluster is this collector among its mates.
type Cluster struct {
	bus    *bus.Bus
	circle *Circle // of Run alone
	peers  Peers

	mu     sync.Mutex // guards status
	status Status
}

// Open listens for the mates and begins to connect to them. It does not wait for any.
func Open(o *Options) (*Cluster, error) {
	b, err := bus.Open(&bus.Options{Listen: o.Listen, Mates: o.Mates, Secret: o.Secret, TLS: o.TLS, Log: o.Log})
	if err != nil {
		return nil, err
	}
	c := &Cluster{bus: b, peers: o.Peers}
	c.circle = NewCircle(o, drawStart(), time.Now(), b.Send)
	return c, nil
}

// drawStart returns a number that no other start of a collector has.
func drawStart() uint64 {
	var start [8]byte
	rand.Read(start[:]) // which never fails
	return binary.BigEndian.Uint64(start[:])
}

const tickPause = 100 * time.Millisecond

// Run talks to the mates until ctx ends, and then says goodbye.
func (c *Cluster) Run(ctx context.Context) {
	ticker := time.NewTicker(tickPause)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			c.peers.Contained("saying goodbye to mates", func() { c.circle.Bye(time.Now()) })
			return
		case message := <-c.bus.Received():
			c.peers.Contained("hearing a mate", func() { c.circle.Receive(message, time.Now()) })
		case <-c.peers.News():
			c.peers.Contained("talking to mates", func() { c.circle.Tick(time.Now()) })
		case <-ticker.C:
			c.peers.Contained("talking to mates", func() { c.circle.Tick(time.Now()) })
		}
		c.publish()
	}
}

func (c *Cluster) publish() {
	status := c.circle.status
	status.Asked, status.Spared = c.peers.Asked()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status = status
}

// Status returns how it stands with the mates. It may be called at any time.
func (c *Cluster) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// Close ends all connections and returns when nothing runs any more. Run has to have
// ended.
func (c *Cluster) Close() { c.bus.Close() }
