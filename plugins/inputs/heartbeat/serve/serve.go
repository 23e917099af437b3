// Package serve takes payloads from sockets, and knows how connections end: it
// has the listeners, connections, datagrams, TLS, the credentials of Unix sockets,
// limits and what TCP knows of the other side. It never knows what a payload says,
// who is alive, or what Telegraf is: each payload goes to Options.Take, each end of
// a connection to Options.Ended.
package serve

import (
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// A Server listens on all its addresses.
type Server struct {
	common    *common
	listeners []*listener
}

// Open binds all addresses, and serves none of them yet.
func Open(options *Options) (*Server, error) {
	s := &Server{common: &common{Options: *options, limits: newLimits(options)}}
	for _, address := range options.Addresses {
		l, err := listen(s.common, address)
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("listening on %q of 'service_addresses' failed: %w", address, err)
		}
		s.listeners = append(s.listeners, l)
	}
	return s, nil
}

// AcceptFrom has the server accept connections from a socket that is bound already,
// over TLS if secure. Close closes the socket. Call it before Start.
func (s *Server) AcceptFrom(socket net.Listener, secure bool) {
	l := newListener(s.common, "tcp")
	if secure {
		l.secure = s.common.Certificates.config()
	}
	l.acceptFrom(socket)
	s.listeners = append(s.listeners, l)
}

// Start serves all addresses until End.
func (s *Server) Start() {
	for _, l := range s.listeners {
		l.serve()
	}
}

// End closes all connections. Nothing is taken after it returns, but the
// addresses stay bound until Close. It may be called without Start, and once.
func (s *Server) End() {
	for _, l := range s.listeners {
		l.end()
	}
}

// Close gives the addresses back. Call End before it if Start was called.
func (s *Server) Close() {
	for _, l := range s.listeners {
		l.closeSocket()
	}
}

// Ask asks the kernel what it knows of the other side of a connection, and
// returns that side's address too, which is invalid on a Unix socket.
func (s *Server) Ask(id ConnID) (Path, netip.Addr) {
	for _, l := range s.listeners {
		if c := l.conn(id); c != nil {
			return c.askKernel(), c.origin.Remote
		}
	}
	return PathUnknown, netip.Addr{}
}

// Status returns the status of all listeners, in the order of their addresses.
func (s *Server) Status() []Status {
	all := make([]Status, 0, len(s.listeners))
	for _, l := range s.listeners {
		all = append(all, l.status())
	}
	return all
}

// common is what all listeners and connections of a Server share.
type common struct {
	Options
	limits   *limits
	lastConn atomic.Uint64
}

// shared is what a listener and its connections share.
type shared struct {
	*common
	closed chan struct{} // when nothing more is to be taken
	beats  atomic.Int64
	bytes  atomic.Int64

	mu      sync.Mutex // guards the rest
	refused map[wire.Reason]int64
}

// isClosed reports whether nothing more is to be taken.
func (s *shared) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

// refuse counts what was refused and passes it on.
func (s *shared) refuse(reason wire.Reason, from, text string) {
	s.mu.Lock()
	s.refused[reason]++
	s.mu.Unlock()
	s.Refused(reason, from, text)
}

// survive logs an internal error. It is deferred: a panic costs the connection or
// the datagram that is being served.
func (s *shared) survive(from *Origin) {
	if cause := recover(); cause != nil { //nolint:revive // it is deferred, elsewhere
		s.panicked(from.From(), cause, debug.Stack())
	}
}

func (s *shared) panicked(from string, cause any, stack []byte) {
	s.refuse(ReasonPanic, from, "internal error, please report the stack trace that follows")
	s.Log.Errorf("Serving %s failed: %v\n%s", from, cause, stack)
}
