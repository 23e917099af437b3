// Package cluster lets several collectors, which are each other's mates, work as one. Before a
// collector reports a death, it asks its mates. It shares all information about peers with them.
// Only one of the collectors reports events. The package uses the types of package liveness for
// peers. It knows nothing about encoded beats, metrics or files.
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
	Name   string            // of this collector
	Listen string            // the address for its mates, host:port
	Mates  []string          // the addresses of its mates, host:port
	Secret []byte            // the same on all collectors
	TLS    *tls.Config       // of the routes, for both directions; nil for plaintext
	Rules  map[string]uint64 // hashes of the options that affect verdicts or series, by name
	Check  Check             // nil for none
	Peers  Peers
	Log    Logger
}

// A Check returns an error for a record that no collector can have made: a mate may have another
// version or a bug. It is called for each record that a mate sends. For each beat that a mate
// sends, it is called with a record made from that beat.
type Check func(*liveness.Record) error

// Logger receives the log messages of a Cluster.
type Logger interface {
	// Infof logs that a mate was found, has stopped, or was restarted.
	Infof(format string, args ...any)
	// Warnf logs that a mate was lost, differs, or sent an invalid message.
	Warnf(format string, args ...any)
}

// Status is the state of a Cluster.
type Status struct {
	Name   string   // of this collector
	Mates  []string // the reachable mates; must not be modified
	Differ int      // how many mates have another version, other rules or another clock
	Speaks bool     // this collector reports the events of peers
	Asked  int64    // total of peers about which mates were asked
	Spared int64    // total of peers not declared dead because a mate had later news
}

// A Cluster connects this collector to its mates.
type Cluster struct {
	bus    *bus.Bus
	circle *Circle // used by Run only
	peers  Peers

	mu     sync.Mutex // guards status
	status Status
}

// Open listens for mates and starts connecting to them. It does not wait for any of them.
func Open(o *Options) (*Cluster, error) {
	b, err := bus.Open(&bus.Options{Listen: o.Listen, Mates: o.Mates, Secret: o.Secret, TLS: o.TLS, Log: o.Log})
	if err != nil {
		return nil, err
	}
	c := &Cluster{bus: b, peers: o.Peers}
	c.circle = NewCircle(o, drawStart(), time.Now(), b.Send)
	c.status = c.circle.status
	return c, nil
}

// drawStart returns a random number that identifies this start of the collector.
func drawStart() uint64 {
	var start [8]byte
	rand.Read(start[:]) // never fails
	return binary.BigEndian.Uint64(start[:])
}

const tickPause = 100 * time.Millisecond

// Run exchanges messages with the mates until ctx ends, and then says goodbye.
func (c *Cluster) Run(ctx context.Context) {
	c.begin(time.Now())
	ticker := time.NewTicker(tickPause)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			c.peers.CatchPanic("sending goodbye to the mates", func() { c.circle.Bye(time.Now()) })
			return
		case message := <-c.bus.Received():
			c.peers.CatchPanic("processing a message from a mate", func() { c.circle.Receive(message, time.Now()) })
		case <-c.peers.News():
			c.peers.CatchPanic("sending messages to the mates", func() { c.circle.Tick(time.Now()) })
		case <-ticker.C:
			c.peers.CatchPanic("sending messages to the mates", func() { c.circle.Tick(time.Now()) })
		}
		c.publish()
	}
}

// begin drops the messages received since Open was called. That may be long ago, so the age of the
// messages is unknown. Mates send everything to a new collector anyway.
func (c *Cluster) begin(now time.Time) {
	for range len(c.bus.Received()) {
		<-c.bus.Received()
	}
	c.circle.Begin(now)
}

func (c *Cluster) publish() {
	status := c.circle.status
	status.Asked, status.Spared = c.peers.Asked()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status = status
}

// Status returns the current Status. It may be called at any time.
func (c *Cluster) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// Close ends all connections, and returns when all goroutines have ended. Run must have returned
// before.
func (c *Cluster) Close() { c.bus.Close() }
