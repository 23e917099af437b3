package serve

import (
	"crypto/tls"
	"net"
	"runtime/debug"
	"sync"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// An HTTPListener is a net.Listener for one http:// or https:// address. This package admits,
// secures and counts its connections. It does not know HTTP.
type HTTPListener struct {
	listener *listener
	waiting  chan net.Conn
	closing  sync.Once
	closed   chan struct{}
}

func newHTTPListener(l *listener) *HTTPListener {
	return &HTTPListener{listener: l, waiting: make(chan net.Conn), closed: make(chan struct{})}
}

// HTTPListeners returns the listeners of all http:// and https:// addresses, in order. Call their
// Accept after Start, and their Close before End.
func (s *Server) HTTPListeners() []*HTTPListener {
	var all []*HTTPListener
	for _, l := range s.listeners {
		if l.http != nil {
			all = append(all, l.http)
		}
	}
	return all
}

// Accept returns the next connection. For https:// it is a *tls.Conn after its handshake. The
// error is net.ErrClosed after Close.
func (h *HTTPListener) Accept() (net.Conn, error) {
	select {
	case conn := <-h.waiting:
		return conn, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

// Close ends accepting. The address stays bound until the Server is closed.
func (h *HTTPListener) Close() error {
	h.closing.Do(func() { close(h.closed) })
	return nil
}

// Addr returns the bound address.
func (h *HTTPListener) Addr() net.Addr { return h.listener.addr() }

// Recorded counts a beat over conn, which Accept returned.
func (h *HTTPListener) Recorded(conn net.Conn) {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	if accepted, ok := conn.(*httpConn); ok {
		h.listener.beats.Add(1)
		accepted.proof.Do(accepted.conn.prove)
	}
}

// Refuse counts a refusal and passes it on.
func (h *HTTPListener) Refuse(reason wire.Reason, from, text string) {
	h.listener.refuse(reason, from, text)
}

// Panicked logs a recovered panic as an internal error. from is the client that was being served.
func (h *HTTPListener) Panicked(from string, cause any) {
	h.listener.panicked(from, cause, debug.Stack())
}

// admit admits a connection within the limits. Its address does not matter, because a token
// is valid from everywhere.
func (h *HTTPListener) admit(socket net.Conn) {
	l, accepted := h.listener, &httpConn{Conn: socket}
	c := newConn(l.shared, l.secure, accepted, ipOf(socket.RemoteAddr()))
	accepted.listener, accepted.conn = l, c
	if reason, text := l.limits.enterFromAnywhere(&c.origin); reason != "" {
		l.refuse(reason, c.origin.From(), text)
		socket.Close()
		return
	}
	l.keep(c)
	l.wg.Go(func() { h.receive(c) }) // ends with the handshake, or with end
	if l.isClosed() {                // end may have missed it
		c.close()
	}
}

// receive secures a connection and passes it to Accept.
func (h *HTTPListener) receive(c *conn) {
	defer h.listener.recoverPanic(&c.origin)
	if err := c.handshake(c.newDeadline()); err != nil {
		c.refuseHandshake(err)
		c.close()
		return
	}
	select {
	case h.waiting <- c.stream:
	case <-h.closed:
		c.close()
	case <-h.listener.closed:
		c.close()
	}
}

// An httpConn is the socket of a connection that an HTTPListener accepts. Closing it releases its
// place in the limits.
type httpConn struct {
	net.Conn
	listener *listener
	conn     *conn // for its origin and limits; it reads nothing
	proof    sync.Once
	gone     sync.Once
}

// Read counts the bytes that it reads.
func (h *httpConn) Read(p []byte) (int, error) {
	n, err := h.Conn.Read(p)
	h.conn.shared.bytes.Add(int64(n))
	return n, err
}

// Close closes the socket, and may be called more than once.
func (h *httpConn) Close() error {
	err := h.Conn.Close()
	h.gone.Do(h.release)
	return err
}

func (h *httpConn) release() {
	h.proof.Do(h.conn.prove)
	h.listener.drop(h.conn)
}
