// Package bus carries messages between collectors. Each collector embeds a NATS server, and routes
// connect the servers. The package knows the addresses and the secret, but not the contents of
// messages.
//
// Only collectors with the same secret can open a route to this collector. Without TLS there is no
// such protection in the other direction: any program that listens at the address of a mate can
// pretend to be the mate, and learns the password of the routes. So the receiver must verify each
// message.
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

// MaxMessage is the maximum size of a message in bytes.
const MaxMessage = 256 << 10

const (
	subject = "heartbeat" // the same for all messages, so that the messages of each sender stay in order
	waiting = 1024        // how many messages may wait for the receiver
)

// Options of a Bus.
type Options struct {
	Listen string      // the address for the other collectors, host:port
	Mates  []string    // the addresses of the other collectors, host:port
	Secret []byte      // the same on all collectors; it is never sent
	TLS    *tls.Config // of the routes, for both directions; nil for plaintext
	Log    Logger
}

// Logger receives the log messages of a Bus.
type Logger interface {
	// Infof logs a change of the connection to a collector.
	Infof(format string, args ...any)
	// Warnf logs a problem with the connection to a collector.
	Warnf(format string, args ...any)
}

// A Bus carries messages from each collector to all others that are reachable. Messages from one
// collector arrive in the order in which they were sent. A message may be lost, but it never
// arrives twice.
type Bus struct {
	log    Logger
	server *server.Server
	client *nats.Conn // connected within this process, without a socket

	arrived  chan *nats.Msg // from the client
	received chan []byte    // for the receiver
	lost     loglimit.Limiter

	closed chan struct{}  // closed by Close, for forward
	gone   chan struct{}  // closed when the client has ended
	wg     sync.WaitGroup // forward
	once   sync.Once      // guards Close
}

// Open listens for the other collectors and starts connecting to them. It does not wait for
// connections. If it returns an error, the error names the address.
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

// Send sends a message of at most MaxMessage bytes to all collectors that are connected now. It
// does not block. It stores nothing for other collectors, and does not retain the message.
func (b *Bus) Send(message []byte) {
	_ = b.client.Publish(subject, message) //nolint:errcheck // fails only when closed: then no collector is connected
}

// Received returns the channel of messages from the other collectors. The receiver may keep the
// messages. If the receiver is too slow, the newest messages are lost. The channel is never closed.
func (b *Bus) Received() <-chan []byte { return b.received }

// Close ends all routes, and returns when all goroutines have ended. If the server is trying to
// connect to a mate, Close may have to wait until the mate's host name is resolved.
func (b *Bus) Close() {
	b.once.Do(func() {
		b.client.Close()
		<-b.gone
		close(b.closed)
		b.wg.Wait()
		stopServer(b.server)
	})
}

// forward passes arrived messages to the receiver. It never waits for the receiver.
func (b *Bus) forward() {
	for {
		select {
		case m := <-b.arrived:
			b.deliver(m.Data)
		case <-b.closed:
			return
		}
	}
}

func (b *Bus) deliver(message []byte) {
	select {
	case b.received <- message:
	default:
		if more, ok := b.lost.Allow(time.Now()); ok {
			b.log.Warnf("Dropped a message from another collector: this collector is overloaded%s", more)
		}
	}
}
