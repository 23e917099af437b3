// Package bus carries messages between collectors. Each collector has an embedded NATS
// server; routes join them. It knows bytes, addresses and the secret, and never what a
// message says.
package bus

import (
	"context"
	"crypto/tls"
	"errors"
)

// MaxMessage is the size of the largest message, in bytes.
const MaxMessage = 256 << 10

// Options say where the others are.
type Options struct {
	Listen string      // where the others come in, host:port
	Mates  []string    // where the others listen, host:port
	Secret []byte      // what all have in common; never sent, in no form
	TLS    *tls.Config // of the routes, for both directions; nil for plaintext
	Log    Logger
}

// Logger is what a Bus says.
type Logger interface {
	// Infof says what has changed.
	Infof(format string, args ...any)
	// Warnf says what is wrong with the way to a collector.
	Warnf(format string, args ...any)
}

// A Bus carries messages from each collector to all others that are reachable, in the
// order in which one has sent them. A message may be lost, and none comes twice.
type Bus struct{}

// Open listens for the others and begins to connect to them. It does not wait for any.
func Open(o *Options) (*Bus, error) { return nil, errors.New("not built") }

// Send sends a message to all others that are connected now. It does not wait, and
// keeps nothing for those that are not. It does not keep the message either.
func (b *Bus) Send(message []byte) {}

// Received returns where messages of the others come in: those are the receiver's. If
// it does not take them, the newest are lost.
func (b *Bus) Received() <-chan []byte { return nil }

// Close ends all routes and returns when nothing runs any more.
func (b *Bus) Close() {}

// Probe tries whether a collector listens at an address and has the same secret. It
// says what is wrong: nobody there, no collector, another secret, TLS.
func Probe(ctx context.Context, address string, secret []byte, tls *tls.Config) error {
	return errors.New("not built")
}
