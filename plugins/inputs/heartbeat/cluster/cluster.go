// Package cluster lets several collectors give one answer: before one of them tells a
// death it asks the others, what one is told all know, and one of them tells events. It
// knows what liveness knows of a peer, and other collectors, its mates; it never knows
// beats as bytes, metrics or files.
package cluster

import (
	"context"
	"crypto/tls"
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

// Peers are what the collectors agree on: those of the judge.
type Peers interface{}

// Status is what a Cluster says about itself.
type Status struct {
	Mates  int   // that are reachable
	Differ int   // that are there, but have another version, other rules, or another clock
	Speaks bool  // it tells the events of peers
	Asked  int64 // peers of which the mates were asked, in all
	Spared int64 // peers of which a mate had heard more, in all
}

// A Cluster is this collector among its mates.
type Cluster struct{}

// Open listens for the mates and begins to connect to them. It does not wait for any.
func Open(o *Options) (*Cluster, error) { return nil, nil }

// Run talks to the mates until ctx ends.
func (c *Cluster) Run(ctx context.Context) {}

// Status returns how it stands with the mates.
func (c *Cluster) Status() Status { return Status{} }

// Close says goodbye to the mates and returns when nothing runs any more.
func (c *Cluster) Close() {}
