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
	Name   string            // of this collector
	Listen string            // where its mates come in, host:port
	Mates  []string          // where they listen, host:port
	Secret []byte            // what all have in common
	TLS    *tls.Config       // of the routes, for both directions; nil for plaintext
	Rules  map[string]uint64 // hashes of the options that decide verdicts or series, by name
	Check  Check             // nil for none
	Peers  Peers
	Log    Logger
}

// A Check refuses what no collector can have recorded: a mate may be of another version,
// or mistaken. It is called for each record, and with the ID and the labels alone for each
// beat.
type Check func(*liveness.Record) error

// Logger is what a Cluster says.
type Logger interface {
	// Infof says that a mate was found or is back.
	Infof(format string, args ...any)
	// Warnf says that a mate is lost, differs or is refused.
	Warnf(format string, args ...any)
}

// Status is what a Cluster says about itself.
type Status struct {
	Name   string   // of this one
	Mates  []string // those that are reachable; not to be written to
	Differ int      // that are there, but have another version, other rules, or another clock
	Speaks bool     // it tells the events of peers
	Asked  int64    // peers of which the mates were asked, in all
	Spared int64    // peers of which a mate had heard more, in all
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
	c.status = c.circle.status
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
	c.begin(time.Now())
	ticker := time.NewTicker(tickPause)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			c.peers.Contained("sending goodbye to the mates", func() { c.circle.Bye(time.Now()) })
			return
		case message := <-c.bus.Received():
			c.peers.Contained("processing a message from a mate", func() { c.circle.Receive(message, time.Now()) })
		case <-c.peers.News():
			c.peers.Contained("sending messages to the mates", func() { c.circle.Tick(time.Now()) })
		case <-ticker.C:
			c.peers.Contained("sending messages to the mates", func() { c.circle.Tick(time.Now()) })
		}
		c.publish()
	}
}

// begin forgets what was received since Open, which may be long ago: how long it was underway
// is not known, and mates tell all to those who are new.
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

// Status returns how it stands with the mates. It may be called at any time.
func (c *Cluster) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// Close ends all connections and returns when nothing runs any more. Run has to have
// ended.
func (c *Cluster) Close() { c.bus.Close() }
