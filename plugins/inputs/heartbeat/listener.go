package heartbeat

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

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// A listener takes in what comes to one address, over connections or in
// datagrams.
type listener struct {
	plugin    *Heartbeat
	address   string         // as a URL, with the port that was bound
	streams   net.Listener   // nil if there are datagrams
	datagrams net.PacketConn // nil if there are connections
	secure    *tls.Config    // nil for plaintext

	beats   atomic.Int64
	bytes   atomic.Int64
	refused map[wire.Reason]*atomic.Int64

	wg     sync.WaitGroup
	closed chan struct{}
	mu     sync.Mutex // guards conns
	conns  map[liveness.ConnID]*conn
}

func listen(h *Heartbeat, url string) (*listener, error) {
	network, address, err := splitAddress(url)
	if err != nil {
		return nil, err
	}
	if isUnix(network) {
		if err := removeStale(network, address); err != nil {
			return nil, err
		}
	}
	l := newListener(h, network)
	if network == "tls" {
		l.secure, network = h.certificates.over(), "tcp"
	}
	if isDatagram(network) {
		err = l.openDatagrams(network, address)
	} else {
		err = l.openStreams(network, address)
	}
	if err == nil && isUnix(network) {
		giveAway(address)
		err = setMode(address, h.SocketMode)
	}
	if err != nil {
		l.closeSocket()
		return nil, err
	}
	return l, nil
}

func newListener(h *Heartbeat, network string) *listener {
	return &listener{
		plugin: h, address: network + "://", refused: newCounts(),
		closed: make(chan struct{}), conns: make(map[liveness.ConnID]*conn),
	}
}

func (l *listener) openStreams(network, address string) error {
	options := net.ListenConfig{KeepAliveConfig: l.plugin.probing().config()}
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
		l.wg.Go(l.receiveAll) // ends when close closes the socket
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
// returns, but the address stays taken until closeSocket.
func (l *listener) end() {
	close(l.closed)
	l.interrupt()
	for _, c := range l.all() {
		c.Close()
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
		l.refuse(reasonAccept, l.address, err.Error())
		select {
		case <-l.closed:
			return
		case <-time.After(pause):
		}
	}
}

func (l *listener) admit(socket net.Conn) {
	c := newConn(l, socket, ipOf(socket.RemoteAddr()))
	if reason, text := l.plugin.doors.enter(c.remote, c.user); reason != "" {
		l.refuse(reason, c.from(), text)
		c.Close()
		return
	}
	l.mu.Lock()
	l.conns[c.id] = c
	l.mu.Unlock()
	l.wg.Go(func() { // ends when the connection does, at the latest by close
		defer l.dismiss(c)
		c.serve()
	})
	if l.isClosed() { // it may have come too late to be closed there
		c.Close()
	}
}

func (l *listener) dismiss(c *conn) {
	c.Close()
	l.mu.Lock()
	delete(l.conns, c.id)
	l.mu.Unlock()
	c.prove()
	l.plugin.doors.leave(c.remote)
}

// conn returns the open connection with this id, or nil.
func (l *listener) conn(id liveness.ConnID) *conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conns[id]
}

// all returns the open connections. Closing one waits until nothing is taken in
// from it, which may take both locks: l.mu must not be held.
func (l *listener) all() []*conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Values(l.conns))
}

// connections returns how many are open.
func (l *listener) connections() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns)
}

// refuse counts what was refused and says so, not too often.
func (l *listener) refuse(reason wire.Reason, from, text string) {
	l.refused[reason].Add(1)
	l.plugin.refusals.note(reason, from, text)
}

// local tells whether only this host reaches it.
func (l *listener) local() bool {
	addr := ipOf(l.addr())
	return !addr.IsValid() || addr.IsLoopback()
}

// isOpen tells whether nobody has to show who he is.
func (l *listener) isOpen() bool {
	h := l.plugin
	certified := l.secure != nil && len(h.TLSAllowedCACerts) > 0
	return len(h.allowed) == 0 && !h.RequireSignature && h.HostFrom != "verified" && !certified
}

// ipOf returns the address of a host, or none for a unix socket.
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
		return placeOf(netip.Addr{})
	}
	return addr.String()
}

// placeOf is nameOf of an address without a port.
func placeOf(addr netip.Addr) string {
	if !addr.IsValid() {
		return "a unix socket"
	}
	return addr.String()
}
