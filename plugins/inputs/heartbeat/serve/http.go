package serve

import (
	"crypto/tls"
	"net"
	"runtime/debug"
	"sync"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// Visitors are the connections of one http:// or https:// address. This package admits,
// secures and counts them, and returns them from Accept, as a net.Listener. It does not
// know HTTP.
type Visitors struct {
	listener *listener
	waiting  chan net.Conn
	closing  sync.Once
	closed   chan struct{}
}

func newVisitors(l *listener) *Visitors {
	return &Visitors{listener: l, waiting: make(chan net.Conn), closed: make(chan struct{})}
}

// Visitors returns the Visitors of all http:// and https:// addresses, in order. Call Accept
// after Start, and Close before End.
func (s *Server) Visitors() []*Visitors {
	var all []*Visitors
	for _, l := range s.listeners {
		if l.visitors != nil {
			all = append(all, l.visitors)
		}
	}
	return all
}

// Accept returns the next connection. For https:// it is a *tls.Conn after its handshake. The
// error is net.ErrClosed after Close.
func (v *Visitors) Accept() (net.Conn, error) {
	select {
	case conn := <-v.waiting:
		return conn, nil
	case <-v.closed:
		return nil, net.ErrClosed
	}
}

// Close ends accepting. The address stays bound until the Server is closed.
func (v *Visitors) Close() error {
	v.closing.Do(func() { close(v.closed) })
	return nil
}

// Addr returns the bound address.
func (v *Visitors) Addr() net.Addr { return v.listener.addr() }

// Recorded counts a beat over conn, which Accept returned.
func (v *Visitors) Recorded(conn net.Conn) {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	if visitor, ok := conn.(*visitor); ok {
		v.listener.beats.Add(1)
		visitor.proof.Do(visitor.conn.prove)
	}
}

// Refuse counts a refusal and passes it on.
func (v *Visitors) Refuse(reason wire.Reason, from, text string) {
	v.listener.refuse(reason, from, text)
}

// Panicked logs a recovered panic as an internal error of serving from.
func (v *Visitors) Panicked(from string, cause any) {
	v.listener.panicked(from, cause, debug.Stack())
}

// admit admits a connection within the limits. Its address does not matter, because a token
// is valid from everywhere.
func (v *Visitors) admit(socket net.Conn) {
	l, visitor := v.listener, &visitor{Conn: socket}
	c := newConn(l.shared, l.secure, visitor, ipOf(socket.RemoteAddr()))
	visitor.listener, visitor.conn = l, c
	if reason, text := l.limits.enterFromAnywhere(&c.origin); reason != "" {
		l.refuse(reason, c.origin.From(), text)
		socket.Close()
		return
	}
	l.keep(c)
	l.wg.Go(func() { v.receive(c) }) // ends with the handshake, or with end
	if l.isClosed() {                // it may have come too late for end to close it
		c.close()
	}
}

// receive secures a connection and passes it to Accept.
func (v *Visitors) receive(c *conn) {
	defer v.listener.recoverPanic(&c.origin)
	if err := c.handshake(c.newDeadline()); err != nil {
		c.refuseHandshake(err)
		c.close()
		return
	}
	select {
	case v.waiting <- c.stream:
	case <-v.closed:
		c.close()
	case <-v.listener.closed:
		c.close()
	}
}

// A visitor is the socket of one of these connections. Closing it releases its place in the
// limits.
type visitor struct {
	net.Conn
	listener *listener
	conn     *conn // for its origin and limits; it reads nothing
	proof    sync.Once
	gone     sync.Once
}

// Read counts the bytes that it reads.
func (v *visitor) Read(p []byte) (int, error) {
	n, err := v.Conn.Read(p)
	v.conn.shared.bytes.Add(int64(n))
	return n, err
}

// Close closes the socket, and may be called more than once.
func (v *visitor) Close() error {
	err := v.Conn.Close()
	v.gone.Do(v.release)
	return err
}

func (v *visitor) release() {
	v.proof.Do(v.conn.prove)
	v.listener.drop(v.conn)
}
