package serve

import (
	"context"
	"crypto/tls"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// A listener serves one address, with connections or datagrams.
type listener struct {
	*shared
	address   string         // as a URL, with the port that was bound
	streams   net.Listener   // nil if there are datagrams
	datagrams net.PacketConn // nil if there are connections
	secure    *tls.Config    // nil for plaintext
	http      *HTTPListener  // of http:// and https://; nil if connections are served here
	loops     *loops         // that serve connections; nil if each has a goroutine

	wg      sync.WaitGroup
	connsMu sync.Mutex // guards conns
	conns   map[ConnID]*conn
}

func listen(c *common, url string) (*listener, error) {
	network, address, err := SplitAddress(url)
	if err != nil {
		return nil, err
	}
	if isUnix(network) {
		if err := removeStale(network, address); err != nil {
			return nil, err
		}
	}
	l := newListener(c, network)
	switch network {
	case "tls":
		l.secure, network = c.Certificates.config(), "tcp"
	case "http", "https":
		l.http = newHTTPListener(l)
		if network == "https" {
			l.secure = c.Certificates.optionalClientCert()
		}
		network = "tcp"
	}
	if isDatagram(network) {
		err = l.openDatagrams(network, address)
	} else {
		err = l.openStreams(network, address)
	}
	if err == nil && isUnix(network) {
		err = setOwnerAndMode(address, c.SocketMode)
	}
	if err != nil {
		l.closeSocket()
		return nil, err
	}
	return l, nil
}

func newListener(c *common, network string) *listener {
	l := &listener{
		shared:  &shared{common: c, closed: make(chan struct{}), refused: make(map[wire.Reason]int64)},
		address: network + "://", conns: make(map[ConnID]*conn),
	}
	for _, reason := range c.Reasons {
		l.refused[reason] = 0
	}
	return l
}

func (l *listener) openStreams(network, address string) error {
	options := net.ListenConfig{KeepAliveConfig: l.KeepAlive.config(), Control: l.KeepAlive.applyToListener}
	options.SetMultipathTCP(false) // its sockets support neither keepalive nor TCP_INFO
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

// addr returns the address it listens on.
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
	accept := l.streams.Accept
	if l.loops = openLoops(l); l.loops != nil {
		l.loops.start(l)
		accept = l.loops.accept
	}
	l.wg.Go(func() { l.acceptAll(accept) }) // ends when end interrupts it
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

// end closes all connections and accepts no more. Nothing is served after it returns, but
// the address stays bound until closeSocket.
func (l *listener) end() {
	close(l.closed)
	l.interrupt()
	if l.loops != nil {
		l.loops.end()
	} else {
		for _, c := range l.all() {
			c.close()
		}
	}
	l.wg.Wait()
	if l.loops != nil {
		l.loops.close()
	}
}

// interrupt stops the wait for connections and datagrams.
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

// acceptAll accepts connections until end. It continues after errors: if all descriptors are in
// use, some become free later.
func (l *listener) acceptAll(accept func() (net.Conn, error)) {
	pause := time.Duration(0)
	for {
		socket, err := accept()
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
	if l.http != nil {
		l.http.admit(socket)
		return
	}
	c := newConn(l.shared, l.secure, socket, ipOf(socket.RemoteAddr()))
	if reason, text := l.limits.enter(&c.origin); reason != "" {
		l.refuse(reason, c.origin.From(), text)
		c.close()
		return
	}
	l.keep(c)
	if l.loops != nil {
		l.loops.add(c)
		return
	}
	l.wg.Go(func() { // ends when the connection does, at the latest by end
		defer l.release(c)
		c.serve()
	})
	if l.isClosed() { // end may have missed it
		c.close()
	}
}

// finish reports the end of a connection because of err, and closes it.
func (l *listener) finish(c *conn, err error) {
	defer l.release(c)
	defer l.recoverPanic(&c.origin)
	l.Ended(c.origin.Conn, c.ended(err), c.origin.Remote)
}

func (l *listener) release(c *conn) {
	c.close()
	c.prove()
	l.drop(c)
}

// keep and drop maintain the set of open connections.
func (l *listener) keep(c *conn) {
	l.connsMu.Lock()
	defer l.connsMu.Unlock()
	l.conns[c.origin.Conn] = c
}

func (l *listener) drop(c *conn) {
	l.limits.leave(c.origin.Remote)
	l.connsMu.Lock()
	defer l.connsMu.Unlock()
	delete(l.conns, c.origin.Conn)
}

// conn returns the open connection with this id, or nil.
func (l *listener) conn(id ConnID) *conn {
	l.connsMu.Lock()
	defer l.connsMu.Unlock()
	return l.conns[id]
}

// all returns the open connections.
func (l *listener) all() []*conn {
	l.connsMu.Lock()
	defer l.connsMu.Unlock()
	return slices.Collect(maps.Values(l.conns))
}

// A Status is the status of one listener.
type Status struct {
	Address     string // as a URL, with the port that was bound
	Local       bool   // only this host can reach it
	Datagrams   bool
	Secure      bool // over TLS
	HTTP        bool // http:// or https://: each request is authorized on its own
	Connections int  // open ones
	Beats       int64
	Bytes       int64
	Refused     map[wire.Reason]int64 // by reason; all of Options.Reasons are present
}

func (l *listener) status() Status {
	l.connsMu.Lock()
	addr, open := ipOf(l.addr()), len(l.conns)
	l.connsMu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	return Status{
		Address: l.address, Local: !addr.IsValid() || addr.IsLoopback(),
		Datagrams: l.datagrams != nil, Secure: l.secure != nil, HTTP: l.http != nil,
		Connections: open, Beats: l.beats.Load(), Bytes: l.bytes.Load(), Refused: maps.Clone(l.refused),
	}
}

// maxDatagram is the longest payload in a datagram.
const maxDatagram = 8 << 10

func (l *listener) openDatagrams(network, address string) error {
	socket, err := new(net.ListenConfig).ListenPacket(context.Background(), network, address)
	if err != nil {
		return err
	}
	l.receiveFrom(socket)
	if size := l.ReadBufferSize; size > 0 {
		err = socket.(interface{ SetReadBuffer(int) error }).SetReadBuffer(size)
	}
	if err == nil && isUnix(network) {
		err = passCredentials(socket)
	}
	return err
}

func (l *listener) receiveFrom(socket net.PacketConn) {
	l.datagrams = socket
	l.address += socket.LocalAddr().String()
}

// receiveAll receives datagrams until the socket is closed.
func (l *listener) receiveAll() {
	var from Origin
	buffer := make([]byte, maxDatagram+1) // one more byte shows that a datagram is too long
	for {
		n, err := receive(l.datagrams, buffer, &from)
		if err == nil {
			l.bytes.Add(int64(n))
			l.takeDatagram(buffer[:n], &from)
			continue
		}
		if l.isClosed() {
			return
		}
		l.refuse(ReasonAccept, l.address, err.Error())
		select {
		case <-l.closed:
			return
		case <-time.After(5 * time.Millisecond): // the error may last
		}
	}
}

// readDatagram reads one datagram into buffer and sets from. It allocates a new from.Addr only if
// the address changes.
func readDatagram(socket net.PacketConn, buffer []byte, from *Origin) (n int, err error) {
	udp, ok := socket.(*net.UDPConn)
	if !ok {
		n, from.Addr, err = socket.ReadFrom(buffer)
		from.Remote = ipOf(from.Addr)
		return n, err
	}
	n, addr, err := udp.ReadFromUDPAddrPort(buffer)
	if known, ok := from.Addr.(*net.UDPAddr); err == nil && (!ok || known.AddrPort() != addr) {
		from.Addr = net.UDPAddrFromAddrPort(addr)
		from.Remote = ipOf(from.Addr)
	}
	return n, err
}

// takeDatagram processes one payload. Datagrams are not answered, because their source
// address may be forged.
func (l *listener) takeDatagram(payload []byte, from *Origin) {
	defer l.recoverPanic(from)
	switch {
	case !l.limits.admits(from.Remote):
		l.refuse(ReasonSource, from.From(), sourceText)
	case len(payload) > maxDatagram:
		l.refuse(wire.ReasonOversize, from.From(), "datagram is longer than 8 KiB")
	default:
		reply := l.Receive(payload, from)
		if reply.Refusal != nil {
			l.refuse(reply.Refusal.Reason, from.From(), reply.Refusal.Text)
		} else if reply.Recorded {
			l.beats.Add(1)
		}
	}
}
