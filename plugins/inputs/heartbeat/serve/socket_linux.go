//go:build linux && !goroutines

package serve

import (
	"errors"
	"hash/maphash"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// loops accept the connections of a listener and serve them.
type loops struct {
	all       []*loop // each source address belongs to one loop, so that its beats stay in order over successive connections
	seed      maphash.Seed
	listening *os.File // a second descriptor of the listener's socket
	waiting   syscall.RawConn
}

// openLoops returns loops, one for each core, for a listener of plain TCP. It returns nil if each
// connection needs a goroutine.
func openLoops(l *listener) *loops {
	socket, ok := l.streams.(*net.TCPListener)
	if !ok || l.secure != nil || l.http != nil {
		return nil
	}
	o := new(loops)
	if err := o.open(l, socket); err != nil {
		l.Log.Warnf("Connections to %s take more memory, because epoll cannot be used: %v", l.address, err)
		o.close()
		return nil
	}
	return o
}

// start starts the loops, which serve until end.
func (o *loops) start(l *listener) {
	for _, loop := range o.all {
		l.wg.Go(loop.run)
	}
}

func (o *loops) open(l *listener, socket *net.TCPListener) (err error) {
	if o.listening, err = socket.File(); err != nil {
		return err
	}
	if o.waiting, err = o.listening.SyscallConn(); err != nil {
		return err
	}
	o.seed = maphash.MakeSeed()
	for range min(runtime.GOMAXPROCS(0), maxLoops) {
		loop, err := newLoop(l)
		if err != nil {
			return err
		}
		o.all = append(o.all, loop)
	}
	return nil
}

// maxLoops is the limit of loops of a listener: each takes two descriptors, and one can serve a
// hundred thousand beats a second.
const maxLoops = 8

func (o *loops) close() {
	if o.listening != nil {
		o.listening.Close()
	}
	for _, loop := range o.all {
		loop.free()
	}
}

// end makes the loops close all connections, and makes accept return.
func (o *loops) end() {
	for _, loop := range o.all {
		loop.end()
	}
	//nolint:errcheck // if it cannot be set, accept cannot wait either
	o.listening.SetReadDeadline(time.Unix(1, 0))
}

// accept returns the next connection. add serves it.
func (o *loops) accept() (net.Conn, error) {
	var s *socket
	var failed error
	waiting := o.waiting.Read(func(listening uintptr) bool {
		s, failed = acceptNow(int(listening))
		return !errors.Is(failed, unix.EAGAIN)
	})
	return s, errors.Join(waiting, failed)
}

func acceptNow(listening int) (*socket, error) {
	for {
		fd, from, err := unix.Accept4(listening, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch {
		case err == nil:
			return &socket{fd: fd, remote: tcpAddr(from)}, nil
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ECONNABORTED): // the client has gone
			continue
		}
		return nil, os.NewSyscallError("accept4", err)
	}
}

func tcpAddr(from unix.Sockaddr) *net.TCPAddr {
	var addr netip.Addr
	port := 0
	switch from := from.(type) {
	case *unix.SockaddrInet4:
		addr, port = netip.AddrFrom4(from.Addr), from.Port
	case *unix.SockaddrInet6:
		addr, port = netip.AddrFrom16(from.Addr).Unmap(), from.Port
		if from.ZoneId != 0 {
			addr = addr.WithZone(strconv.Itoa(int(from.ZoneId)))
		}
	}
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, uint16(port)))
}

// add lets one of the loops serve a connection that accept returned.
func (o *loops) add(c *conn) {
	s := c.socket.(*socket)
	s.conn = c
	c.begin(c.newDeadline())
	loop := o.all[maphash.Comparable(o.seed, c.origin.Remote)%uint64(len(o.all))]
	if err := loop.add(s); err != nil {
		if !errors.Is(err, net.ErrClosed) {
			c.shared.refuse(ReasonAccept, c.origin.From(), err.Error())
			time.Sleep(5 * time.Millisecond) // the error may last
		}
		loop.listener.finish(c, net.ErrClosed)
	}
}

// A socket is a TCP connection that never blocks: a net.Conn whose Read and Write return
// wire.ErrAgain instead. Until it has a loop, it belongs to the goroutine that accepted it.
type socket struct {
	fd      int    // -1 once it is closed
	mayRead bool   // it may read once more in this turn
	counted uint32 // the latest period of its loop in which it was counted
	remote  *net.TCPAddr
	conn    *conn
	loop    *loop // that serves the socket; nil before that
	place   place // in the roster of the loop

	unsent            []byte    // pending output, for which there was no room yet
	readDue, writeDue time.Time // zero for none
}

// Read reads once in each turn.
func (s *socket) Read(p []byte) (int, error) {
	if !s.mayRead {
		return 0, wire.ErrAgain
	}
	s.mayRead = false
	n, err := retryInterrupted(unix.Read, s.fd, p)
	switch {
	case errors.Is(err, unix.EAGAIN):
		return 0, wire.ErrAgain
	case err != nil:
		return 0, err
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// Write accepts all of p. It returns wire.ErrAgain if there is no room for some of it, which
// flush will write later.
func (s *socket) Write(p []byte) (int, error) {
	if len(s.unsent) == 0 {
		n, err := s.writeNow(p)
		if err != nil || n == len(p) {
			return n, err
		}
		s.unsent = append(s.unsent, p[n:]...)
		if err := s.waitFor(unix.EPOLLOUT); err != nil {
			return n, err
		}
	} else {
		s.unsent = append(s.unsent, p...)
	}
	return len(p), wire.ErrAgain
}

// flush writes pending output. It returns wire.ErrAgain if there still is no room.
func (s *socket) flush() error {
	if len(s.unsent) == 0 {
		return nil
	}
	n, err := s.writeNow(s.unsent)
	if s.unsent = s.unsent[n:]; err == nil && len(s.unsent) > 0 {
		return wire.ErrAgain
	}
	s.unsent = nil
	return errors.Join(err, s.waitFor(unix.EPOLLIN))
}

// waitFor sets whether the socket waits to be readable or writable.
func (s *socket) waitFor(events uint32) error {
	s.applyDeadline()
	if err := s.loop.watch(unix.EPOLL_CTL_MOD, s.fd, events); err != nil {
		return errors.Join(net.ErrClosed, err) // the error is ours
	}
	return nil
}

// writeNow writes as much as there is room for.
func (s *socket) writeNow(p []byte) (int, error) {
	n, err := retryInterrupted(unix.Write, s.fd, p)
	if errors.Is(err, unix.EAGAIN) {
		err = nil
	}
	return max(n, 0), err
}

// retryInterrupted repeats a system call that is interrupted.
func retryInterrupted(call func(int, []byte) (int, error), fd int, p []byte) (int, error) {
	for {
		n, err := call(fd, p)
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// SetReadDeadline sets the deadline for reading; zero for none.
func (s *socket) SetReadDeadline(due time.Time) error {
	s.readDue = due
	s.applyDeadline()
	return nil
}

// SetWriteDeadline sets the deadline for pending output; zero for none.
func (s *socket) SetWriteDeadline(due time.Time) error {
	s.writeDue = due
	if len(s.unsent) > 0 {
		s.applyDeadline()
	}
	return nil
}

// SetDeadline sets both deadlines.
func (s *socket) SetDeadline(due time.Time) error {
	s.readDue, s.writeDue = due, due
	s.applyDeadline()
	return nil
}

func (s *socket) applyDeadline() {
	if s.loop != nil {
		s.loop.applyDeadline(s)
	}
}

// due returns the deadline that applies now; zero for none.
func (s *socket) due() time.Time {
	if len(s.unsent) > 0 {
		return s.writeDue
	}
	return s.readDue
}

// Close closes the socket. Pending output is lost.
func (s *socket) Close() error {
	if s.loop != nil {
		s.loop.forget(s)
	}
	fd := s.fd
	s.fd = -1
	return unix.Close(fd)
}

// LocalAddr returns the address of the listener.
func (s *socket) LocalAddr() net.Addr { return s.loop.listener.addr() }

// RemoteAddr returns the address of the other side.
func (s *socket) RemoteAddr() net.Addr { return s.remote }

// SyscallConn returns access to the descriptor. It may be used only while the socket is open.
func (s *socket) SyscallConn() (syscall.RawConn, error) { return descriptor{s}, nil }

type descriptor struct{ *socket }

// Control calls do with the descriptor.
func (d descriptor) Control(do func(fd uintptr)) error {
	if d.fd < 0 {
		return net.ErrClosed
	}
	do(uintptr(d.fd))
	return nil
}

// Read and Write are not supported, because they would block.
func (descriptor) Read(func(uintptr) bool) error  { return errors.ErrUnsupported }
func (descriptor) Write(func(uintptr) bool) error { return errors.ErrUnsupported }
