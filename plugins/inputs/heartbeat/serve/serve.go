// Package serve receives payloads from sockets, and finds out how connections end. It handles
// listeners, connections, datagrams, TLS, the credentials of Unix sockets and limits, and asks TCP
// whether the other side is still there. It passes each payload to Options.Receive and each end of
// a connection to Options.Ended. It knows nothing about the content of payloads, the states of
// peers, or Telegraf.
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

// Open binds all addresses. Start serves them.
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

// AcceptFrom lets the server accept connections from a socket that is already bound, over
// TLS if secure. Close closes the socket. Call it before Start.
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

// End closes all connections. Nothing is received after it returns, but the addresses stay
// bound until Close. Call it once, with or without Start.
func (s *Server) End() {
	for _, l := range s.listeners {
		l.end()
	}
}

// Close releases the addresses. If Start was called, call End first.
func (s *Server) Close() {
	for _, l := range s.listeners {
		l.closeSocket()
	}
}

// Ask returns what the kernel knows about the other side of a connection, and its address, which is
// invalid on a Unix socket.
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

// common has the data that all listeners and connections of a Server share.
type common struct {
	Options
	limits   *limits
	lastConn atomic.Uint64
}

// shared has the data that a listener and its connections share.
type shared struct {
	*common
	closed chan struct{} // closed by end
	beats  atomic.Int64
	bytes  atomic.Int64

	mu      sync.Mutex // guards the rest
	refused map[wire.Reason]int64
}

// isClosed reports whether end was called.
func (s *shared) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

// refuse counts a refusal and passes it on.
func (s *shared) refuse(reason wire.Reason, from, text string) {
	s.mu.Lock()
	s.refused[reason]++
	s.mu.Unlock()
	s.Refused(reason, from, text)
}

// recoverPanic recovers from a panic and logs it as an internal error. It is deferred: a panic ends
// only the connection, or drops only the datagram, that is being served.
func (s *shared) recoverPanic(from *Origin) {
	if cause := recover(); cause != nil { //nolint:revive // it is deferred, elsewhere
		s.panicked(from.From(), cause, debug.Stack())
	}
}

func (s *shared) panicked(from string, cause any, stack []byte) {
	s.refuse(ReasonPanic, from, "internal error, please report the stack trace that follows")
	s.Log.Errorf("Serving %s failed: %v\n%s", from, cause, stack)
}
