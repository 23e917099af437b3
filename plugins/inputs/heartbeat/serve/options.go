package serve

import (
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// Options say what a Server listens on, what it allows, and to whom it gives what
// it receives. Its functions are called concurrently.
type Options struct {
	Addresses      []string      // URLs as SplitAddress takes them
	Certificates   *Certificates // nil without tls://
	SocketMode     string        // of Unix sockets, octal; "" for what umask leaves
	ReadBufferSize int           // of datagram sockets, in bytes; 0 for the system's

	Allowed        []netip.Prefix // whence; empty for everywhere
	MaxConnections int            // 0 for as many as descriptors allow
	MaxPerIP       int            // of these, of one address; 0 for no limit
	MaxFrameSize   int            // in bytes
	ReadTimeout    time.Duration  // of a first frame, a started frame and a TLS handshake
	KeepAlive      KeepAlive      // of connections of which nothing more is known

	Welcome   string // greeting of bare streams; "" for none
	Collector string // the id of this collector, told in answers

	Take    func(payload []byte, from *Origin) Reply    // payload is valid until it returns
	Ended   func(conn ConnID, how End, from netip.Addr) // once for each connection that was admitted
	Refused func(reason wire.Reason, from, text string) // also what is no payload
	Reasons []wire.Reason                               // that are counted from the start
	Log     Logger
}

// Logger is what Server says beside what it refuses.
type Logger interface {
	// Debugf says what only a search for a fault needs.
	Debugf(format string, args ...any)
	// Infof says what has changed as it should.
	Infof(format string, args ...any)
	// Warnf says what the operator should mend.
	Warnf(format string, args ...any)
	// Errorf says what is our fault.
	Errorf(format string, args ...any)
}

// An Origin is where payloads come from: a connection, or all datagrams of a
// socket, one after the other.
type Origin struct {
	Conn        ConnID // 0 for datagrams
	Addr        net.Addr
	Remote      netip.Addr        // of Addr; invalid on Unix sockets
	Certificate *x509.Certificate // of the other side, verified; nil if it has shown none
	Credentials

	// Held belongs to Take, which may keep there what it knows of the stream.
	Held any
}

// From returns what to call it in messages.
func (o *Origin) From() string {
	if o.Known {
		return fmt.Sprintf("uid %d over %s", o.User, nameOf(o.Addr))
	}
	return nameOf(o.Addr)
}

// Credentials are what the kernel says of the process on the other side of a Unix
// socket, in our own namespaces.
type Credentials struct {
	PID   uint32 // 0 if the kernel does not say, or cannot in our namespace
	User  uint32 // 0 if it does not say, and for root
	Known bool   // it says
}

// A Reply is what Take makes of a payload.
type Reply struct {
	Refusal   *wire.Refusal // why it was not accepted; nil if it was
	Blameless bool          // the refusal is no fault of the sender and never costs its connection
	Answer    *wire.Answer  // to be sent where frames are answered; nil for none
	Recorded  bool          // it was a beat, and not only checked

	Interval, Silence time.Duration // of a recorded beat: as declared, and what is allowed until it is dead
}

// Why this package refuses.
const (
	ReasonAccept         wire.Reason = "accept"          // the socket gives no connection
	ReasonMaxConnections wire.Reason = "max_connections" // of the option or of the system
	ReasonMaxPerIP       wire.Reason = "max_connections_per_ip"
	ReasonUnproven       wire.Reason = "unproven"     // too many of which nothing was accepted yet
	ReasonSource         wire.Reason = "source"       // not one of 'allowed_sources'
	ReasonReadTimeout    wire.Reason = "read_timeout" // too slow
	ReasonUnread         wire.Reason = "unread"       // its answers
	ReasonHandshake      wire.Reason = "tls_handshake"
	ReasonPanic          wire.Reason = "panic" // an internal error
)

// Reasons returns all of them.
func Reasons() []wire.Reason {
	return []wire.Reason{
		ReasonAccept, ReasonMaxConnections, ReasonMaxPerIP, ReasonUnproven, ReasonSource,
		ReasonReadTimeout, ReasonUnread, ReasonHandshake, ReasonPanic,
	}
}
