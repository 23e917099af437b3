// Package bus carries messages between collectors. Each collector has an embedded NATS
// server; routes join them. It knows bytes, addresses and the secret, and never what a
// message says.
//
// Only collectors with the same secret can open a route to this one. The reverse is not
// certain without TLS: whatever listens at the address of a mate can answer as one, and
// learns the password of the routes. So the receiver verifies each message.
package bus

import (
	"crypto/rand"
	"crypto/tls"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/loglimit"
)

// MaxMessage is the size of the largest message, in bytes.
const MaxMessage = 256 << 10

const (
	subject = "heartbeat" // of every message: so those of one sender stay in order
	waiting = 1024        // messages that may wait for the receiver
)

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
type Bus struct {
	log    Logger
	server *server.Server
	client *nats.Conn // in this process, without a socket

	arrived  chan *nats.Msg // from the client
	received chan []byte    // for the receiver
	lost     loglimit.Limiter

	closed chan struct{}  // closed by Close, for forward
	gone   chan struct{}  // closed when the client has ended
	wg     sync.WaitGroup // forward
	once   sync.Once      // guards Close
}

// Open listens for the others and begins to connect to them. It does not wait for any.
// An error names the address.
func Open(o *Options) (*Bus, error) {
	token := rand.Text()
	s, err := startServer(o, token)
	if err != nil {
		return nil, err
	}
	b := &Bus{
		log:      o.Log,
		server:   s,
		arrived:  make(chan *nats.Msg, waiting),
		received: make(chan []byte, waiting),
		closed:   make(chan struct{}),
		gone:     make(chan struct{}),
	}
	if err := b.connect(token); err != nil {
		stopServer(s)
		return nil, err
	}
	b.wg.Go(b.forward) // ends when Close closes b.closed
	return b, nil
}

// Send sends a message of at most MaxMessage to all others that are connected now. It
// does not wait, and keeps nothing for those that are not. It does not keep the message
// either.
func (b *Bus) Send(message []byte) {
	_ = b.client.Publish(subject, message) //nolint:errcheck // fails when closed: then nobody is connected
}

// Received returns where messages of the others come in: those are the receiver's. If
// it does not take them, the newest are lost. The channel is never closed.
func (b *Bus) Received() <-chan []byte { return b.received }

// Close ends all routes and returns when nothing runs any more. It waits for a
// connection that is being made to a mate, at most the time it takes to look up a name.
func (b *Bus) Close() {
	b.once.Do(func() {
		b.client.Close()
		<-b.gone
		close(b.closed)
		b.wg.Wait()
		stopServer(b.server)
	})
}

// forward hands on what has arrived, and never waits for the receiver.
func (b *Bus) forward() {
	for {
		select {
		case m := <-b.arrived:
			b.hand(m.Data)
		case <-b.closed:
			return
		}
	}
}

func (b *Bus) hand(message []byte) {
	select {
	case b.received <- message:
	default:
		if more, ok := b.lost.Allow(time.Now()); ok {
			b.log.Warnf("Dropped a message from another collector: this collector is overloaded%s", more)
		}
	}
}
