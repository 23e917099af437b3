package serve

import (
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// Options are the options of a Server. The functions are called concurrently.
type Options struct {
	Addresses      []string      // URLs, see SplitAddress
	Certificates   *Certificates // nil without tls:// and https://
	SocketMode     string        // of Unix sockets, octal; "" for the umask
	ReadBufferSize int           // of datagram sockets, in bytes; 0 for the system's default

	Allowed        []netip.Prefix // allowed sources; empty for all
	MaxConnections int            // 0 for as many as descriptors allow
	MaxPerIP       int            // connections of one address; 0 for no limit
	MaxFrameSize   int            // in bytes
	ReadTimeout    time.Duration  // of a first frame, a started frame and a TLS handshake
	KeepAlive      KeepAlive      // of connections whose peers are not known yet

	Welcome   string // greeting of bare streams; "" for none
	Collector string // the id of this collector, sent in answers

	Receive func(payload []byte, from *Origin) Reply    // processes a payload, which is valid until it returns
	Ended   func(conn ConnID, how End, from netip.Addr) // called once for each admitted connection
	Refused func(reason wire.Reason, from, text string) // called for refused payloads and connections
	Reasons []wire.Reason                               // that are counted, each from 0
	Log     Logger
}

// Logger logs everything but refusals.
type Logger interface {
	// Debugf logs details for finding a fault.
	Debugf(format string, args ...any)
	// Infof logs a normal change.
	Infof(format string, args ...any)
	// Warnf logs a problem that the operator should fix.
	Warnf(format string, args ...any)
	// Errorf logs an internal error.
	Errorf(format string, args ...any)
}

// An Origin is the source of payloads: a connection, or a datagram socket, for one datagram at a
// time.
type Origin struct {
	Conn        ConnID // 0 for datagrams
	Addr        net.Addr
	Remote      netip.Addr        // of Addr; invalid on Unix sockets
	Certificate *x509.Certificate // of the other side, verified; nil for none
	Credentials

	// Held belongs to Receive, which may keep its state of the stream there.
	Held any
}

// From returns the name of the origin for messages.
func (o *Origin) From() string {
	if o.Known {
		return fmt.Sprintf("uid %d over %s", o.User, nameOf(o.Addr))
	}
	return nameOf(o.Addr)
}

// Credentials are the kernel's data about the process on the other side of a Unix socket, in our
// namespaces.
type Credentials struct {
	PID   uint32 // 0 if the kernel does not report it, or if it has none in our namespace
	User  uint32 // 0 for root, and if the kernel does not report it
	Known bool   // the kernel reports them
}

// A Reply is the result of Receive.
type Reply struct {
	Refusal   *wire.Refusal // why the payload was refused; nil if it was accepted
	Blameless bool          // the sender is not to blame, and the refusal never costs its connection
	Answer    *wire.Answer  // to send on a framed connection; nil for none
	Recorded  bool          // it was a beat, and not only a check

	Interval, Silence time.Duration // of a recorded beat: the declared interval, and the timeout of its peer
}

// The reasons for refusals by this package.
const (
	ReasonAccept         wire.Reason = "accept"          // accepting or receiving failed
	ReasonMaxConnections wire.Reason = "max_connections" // the limit of the option or of the system
	ReasonMaxPerIP       wire.Reason = "max_connections_per_ip"
	ReasonUnproven       wire.Reason = "unproven"     // too many connections with nothing accepted yet
	ReasonSource         wire.Reason = "source"       // not in 'allowed_sources'
	ReasonReadTimeout    wire.Reason = "read_timeout" // too slow
	ReasonUnread         wire.Reason = "unread"       // it does not read its answers
	ReasonHandshake      wire.Reason = "tls_handshake"
	ReasonPanic          wire.Reason = "panic" // an internal error
)

// Reasons returns all reasons of this package.
func Reasons() []wire.Reason {
	return []wire.Reason{
		ReasonAccept, ReasonMaxConnections, ReasonMaxPerIP, ReasonUnproven, ReasonSource,
		ReasonReadTimeout, ReasonUnread, ReasonHandshake, ReasonPanic,
	}
}
