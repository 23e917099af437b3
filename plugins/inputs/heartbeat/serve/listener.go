package serve

import (
	"context"
	"crypto/tls"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// A listener serves one address, with connections or datagrams.
type listener struct {
	server    *Server
	address   string         // as a URL, with the port that was bound
	streams   net.Listener   // nil if there are datagrams
	datagrams net.PacketConn // nil if there are connections
	secure    *tls.Config    // nil for plaintext

	beats atomic.Int64
	bytes atomic.Int64

	wg      sync.WaitGroup
	closed  chan struct{}
	mu      sync.Mutex // guards the rest
	conns   map[ConnID]*conn
	refused map[wire.Reason]int64
}

func listen(s *Server, url string) (*listener, error) {
	network, address, err := SplitAddress(url)
	if err != nil {
		return nil, err
	}
	if isUnix(network) {
		if err := removeStale(network, address); err != nil {
			return nil, err
		}
	}
	l := newListener(s, network)
	if network == "tls" {
		l.secure, network = s.options.Certificates.config(), "tcp"
	}
	if isDatagram(network) {
		err = l.openDatagrams(network, address)
	} else {
		err = l.openStreams(network, address)
	}
	if err == nil && isUnix(network) {
		err = giveSocket(address, s.options.SocketMode)
	}
	if err != nil {
		l.closeSocket()
		return nil, err
	}
	return l, nil
}

func newListener(s *Server, network string) *listener {
	l := &listener{
		server: s, address: network + "://", closed: make(chan struct{}),
		conns: make(map[ConnID]*conn), refused: make(map[wire.Reason]int64),
	}
	for _, reason := range s.options.Reasons {
		l.refused[reason] = 0
	}
	return l
}

func (l *listener) openStreams(network, address string) error {
	options := net.ListenConfig{KeepAliveConfig: l.server.options.KeepAlive.config()}
	options.SetMultipathTCP(false) // its sockets know neither keepalive nor TCP_INFO
	socket, err := options.Listen(context.Background(), network, address)
	if err == nil {
		l.acceptFrom(socket)
	}
	return err
}

func (l *listener) acceptFrom(socket net.Listener) {
	l.streams = socket
	l.address += socket.Addr().String()
}

// addr returns what it listens on.
func (l *listener) addr() net.Addr {
	if l.datagrams != nil {
		return l.datagrams.LocalAddr()
	}
	return l.streams.Addr()
}

func (l *listener) serve() {
	if l.datagrams != nil {
		l.wg.Go(l.receiveAll) // ends when end interrupts it
		return
	}
	l.wg.Go(l.acceptAll) // likewise
}

func (l *listener) closeSocket() {
	switch {
	case l.streams != nil:
		l.streams.Close()
	case l.datagrams != nil:
		l.datagrams.Close()
		removeSocket(l.datagrams.LocalAddr())
	}
}

// end closes all connections and takes in no more. Nothing is served after it
// returns, but the address stays bound until closeSocket.
func (l *listener) end() {
	close(l.closed)
	l.interrupt()
	for _, c := range l.all() {
		c.close()
	}
	l.wg.Wait()
}

// interrupt ends the waiting for connections and datagrams.
func (l *listener) interrupt() {
	var socket any = l.streams
	if l.datagrams != nil {
		socket = l.datagrams
	}
	if s, ok := socket.(interface{ SetDeadline(t time.Time) error }); ok && s.SetDeadline(time.Unix(1, 0)) == nil {
		return
	}
	l.closeSocket()
}

// isClosed reports whether end was called.
func (l *listener) isClosed() bool {
	select {
	case <-l.closed:
		return true
	default:
		return false
	}
}

// acceptAll outlives every error but its own end: descriptors that are used
// up now come back.
func (l *listener) acceptAll() {
	pause := time.Duration(0)
	for {
		socket, err := l.streams.Accept()
		if err == nil {
			pause = 0
			l.admit(socket)
			continue
		}
		if l.isClosed() {
			return
		}
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		l.refuse(ReasonAccept, l.address, err.Error())
		select {
		case <-l.closed:
			return
		case <-time.After(pause):
		}
	}
}

func (l *listener) admit(socket net.Conn) {
	c := newConn(l, socket, ipOf(socket.RemoteAddr()))
	if reason, text := l.server.limits.enter(&c.origin); reason != "" {
		l.refuse(reason, c.origin.From(), text)
		c.close()
		return
	}
	l.mu.Lock()
	l.conns[c.origin.Conn] = c
	l.mu.Unlock()
	l.wg.Go(func() { // ends when the connection does, at the latest by end
		defer l.release(c)
		c.serve()
	})
	if l.isClosed() { // it may have come too late to be closed there
		c.close()
	}
}

func (l *listener) release(c *conn) {
	c.close()
	c.prove()
	l.server.limits.leave(c.origin.Remote)
	l.mu.Lock()
	delete(l.conns, c.origin.Conn)
	l.mu.Unlock()
}

// conn returns the open connection with this id, or nil.
func (l *listener) conn(id ConnID) *conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conns[id]
}

// all returns the open connections. Closing one waits until nothing is read from
// it, which may take l.mu.
func (l *listener) all() []*conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Values(l.conns))
}

// refuse counts what was refused and passes it on.
func (l *listener) refuse(reason wire.Reason, from, text string) {
	l.mu.Lock()
	l.refused[reason]++
	l.mu.Unlock()
	l.server.options.Refused(reason, from, text)
}

func (l *listener) status() Status {
	addr := ipOf(l.addr())
	l.mu.Lock()
	defer l.mu.Unlock()
	return Status{
		Address: l.address, Local: !addr.IsValid() || addr.IsLoopback(),
		Datagrams: l.datagrams != nil, Secure: l.secure != nil,
		Connections: len(l.conns), Beats: l.beats.Load(), Bytes: l.bytes.Load(), Refused: maps.Clone(l.refused),
	}
}

// ipOf returns the address of a host, or none for a Unix socket.
func ipOf(addr net.Addr) netip.Addr {
	switch addr := addr.(type) {
	case *net.TCPAddr:
		return addr.AddrPort().Addr().Unmap().WithZone("")
	case *net.UDPAddr:
		return addr.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// nameOf returns what to call the other side in messages.
func nameOf(addr net.Addr) string {
	if _, ok := addr.(*net.UnixAddr); ok {
		return "a unix socket"
	}
	return addr.String()
}
