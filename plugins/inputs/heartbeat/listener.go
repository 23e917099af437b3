package heartbeat

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// A listener accepts connections at one address.
type listener struct {
	net.Listener
	plugin  *Heartbeat
	address string // as a URL, with the port that was bound

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
	options := net.ListenConfig{KeepAliveConfig: h.probing().config()}
	options.SetMultipathTCP(false) // its sockets know neither keepalive nor TCP_INFO
	socket, err := options.Listen(context.Background(), network, address)
	if err != nil {
		return nil, err
	}
	return newListener(h, network, socket), nil
}

func newListener(h *Heartbeat, network string, socket net.Listener) *listener {
	return &listener{
		Listener: socket, plugin: h, address: network + "://" + socket.Addr().String(),
		refused: newCounts(), closed: make(chan struct{}), conns: make(map[liveness.ConnID]*conn),
	}
}

func (l *listener) serve() {
	l.wg.Go(l.acceptAll) // ends when close closes the socket
}

// close closes the socket and all connections. Nothing is served after it
// returns.
func (l *listener) close() {
	close(l.closed)
	l.Listener.Close()
	l.mu.Lock()
	for _, c := range l.conns {
		c.Close()
	}
	l.mu.Unlock()
	l.wg.Wait()
}

// acceptAll outlives every error but its own end: descriptors that are used
// up now come back.
func (l *listener) acceptAll() {
	pause := time.Duration(0)
	for {
		socket, err := l.Accept()
		if err == nil {
			pause = 0
			l.admit(socket)
			continue
		}
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		if !errors.Is(err, net.ErrClosed) {
			l.refuse(reasonAccept, l.address, err.Error())
		}
		select {
		case <-l.closed:
			return
		case <-time.After(pause):
		}
	}
}

func (l *listener) admit(socket net.Conn) {
	if l.plugin.connCount.Add(1) > l.plugin.connLimit {
		l.plugin.connCount.Add(-1)
		l.refuse(reasonMaxConnections, socket.RemoteAddr().String(), "as many connections as allowed are open ('max_connections', descriptor limit)")
		socket.Close()
		return
	}
	c := newConn(l, socket)
	l.mu.Lock()
	l.conns[c.id] = c
	l.mu.Unlock()
	l.wg.Go(func() { // ends when the connection does, at the latest by close
		c.serve()
		l.dismiss(c)
	})
	select {
	case <-l.closed: // it may have come too late to be closed there
		c.Close()
	default:
	}
}

func (l *listener) dismiss(c *conn) {
	c.Close()
	l.mu.Lock()
	delete(l.conns, c.id)
	l.mu.Unlock()
	l.plugin.connCount.Add(-1)
}

// conn returns the open connection with this id, or nil.
func (l *listener) conn(id liveness.ConnID) *conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conns[id]
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

func (l *listener) loopback() bool {
	addr, err := netip.ParseAddrPort(l.Addr().String())
	return err == nil && addr.Addr().IsLoopback()
}
