//go:build linux && !goroutines

package serve

import (
	"container/heap"
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// A loop serves plain connections of TCP without a goroutine for each: it waits with epoll(7)
// until some have something to read, and reads, judges and answers in place.
//
//   - A connection belongs to one loop, from add to its end. Only its loop reads it, writes to it
//     and closes it.
//   - A turn of a connection is one read, be there more: nobody keeps the others waiting. Epoll
//     is level-triggered, so what was left gives it another turn.
//   - Nothing here waits. Answers for which there is no room stay with their connection, which is
//     not read until they are gone.
//   - mu is held for the bookkeeping alone, never over a system call or a call of Options.
type loop struct {
	listener *listener
	epoll    *os.File // waited for like a socket, by Go's own poller: no thread hangs in it
	waiting  syscall.RawConn
	events   []unix.EpollEvent
	buffer   []byte // what a turn reads into

	mu        sync.Mutex // guards the rest
	sockets   map[int32]*socket
	deadlines deadlines
	wakes     time.Time // when epoll is left because of deadlines; zero for never
	over      bool
}

const (
	// mostEvents is for how many connections a loop is told at once that they can be read.
	mostEvents = 256
	// turnSize is how much a connection reads in one turn at the most, in bytes.
	turnSize = 64 << 10
)

func newLoop(l *listener) (*loop, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // os.NewFile asks for it
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	epoll := os.NewFile(uintptr(fd), "epoll")
	waiting, err := epoll.SyscallConn()
	if err == nil {
		err = epoll.SetReadDeadline(time.Time{}) // fails if Go does not poll it
	}
	if err != nil {
		epoll.Close()
		return nil, err
	}
	return &loop{
		listener: l, epoll: epoll, waiting: waiting,
		events: make([]unix.EpollEvent, mostEvents), buffer: make([]byte, turnSize), sockets: make(map[int32]*socket),
	}, nil
}

// run serves the connections until end.
func (l *loop) run() {
	for l.rearm() {
		for _, event := range l.events[:l.wait()] {
			if s := l.socket(event.Fd); s != nil {
				l.turn(s, event.Events)
			}
		}
		for s := l.expired(); s != nil; s = l.expired() {
			l.expire(s)
		}
	}
	for s := l.any(); s != nil; s = l.any() {
		l.finish(s, net.ErrClosed)
	}
}

// end has run close all connections and return.
func (l *loop) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	l.wakeAt(time.Unix(1, 0))
}

// add has the loop serve a connection from now on. After an error it is the caller's.
func (l *loop) add(s *socket) error {
	if err := l.watch(unix.EPOLL_CTL_ADD, s, unix.EPOLLIN); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return net.ErrClosed
	}
	s.loop, l.sockets[s.fd] = l, s
	l.set(s, s.due)
	return nil
}

// watch changes for what a connection is watched.
func (l *loop) watch(change int, s *socket, events uint32) (err error) {
	failed := l.waiting.Control(func(epoll uintptr) {
		err = unix.EpollCtl(int(epoll), change, int(s.fd), &unix.EpollEvent{Events: events, Fd: s.fd})
	})
	return errors.Join(failed, os.NewSyscallError("epoll_ctl", err))
}

// wait returns for how many connections there is an event, or 0 if a deadline has passed.
func (l *loop) wait() (ready int) {
	//nolint:errcheck // only a deadline ends it, or that there is nothing to wait for any more
	l.waiting.Read(func(epoll uintptr) bool {
		ready, _ = unix.EpollWait(int(epoll), l.events, 0)
		return ready > 0
	})
	return max(ready, 0)
}

// turn does what an event asks for.
func (l *loop) turn(s *socket, events uint32) {
	if len(s.unsent) > 0 {
		if err := s.flush(); err != nil {
			l.finish(s, err)
		}
		return
	}
	s.conn.chunk, s.turn = l.buffer, true
	err := s.conn.readAvailable()
	s.conn.chunk = nil
	if !errors.Is(err, wire.ErrAgain) {
		l.finish(s, err)
	}
}

// expire ends a connection whose deadline has passed, if that was one to end it.
func (l *loop) expire(s *socket) {
	switch {
	case len(s.unsent) > 0:
		l.finish(s, s.conn.unread())
	case !s.conn.goesOn(os.ErrDeadlineExceeded):
		l.finish(s, os.ErrDeadlineExceeded)
	}
}

// finish tells that a connection has ended, and closes it.
func (l *loop) finish(s *socket, err error) {
	l.listener.finish(s.conn, err)
}

func (l *loop) socket(fd int32) *socket {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sockets[fd]
}

// any returns one of the connections, or nil if there is none.
func (l *loop) any() *socket {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.sockets {
		return s
	}
	return nil
}

// forget lets go of a connection, which is about to be closed.
func (l *loop) forget(s *socket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.sockets, s.fd)
	l.set(s, time.Time{})
}

// setDue sets when the deadline of a connection is; zero for none.
func (l *loop) setDue(s *socket, due time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.set(s, due)
}

// set is setDue under mu. A deadline that is nearer than the others is heeded at once.
func (l *loop) set(s *socket, due time.Time) {
	l.deadlines.set(s, due)
	if l.deadlines.first() == s && !l.over && (l.wakes.IsZero() || due.Before(l.wakes)) {
		l.wakeAt(due)
	}
}

// expired returns a connection whose deadline has passed, and takes that from it; or nil.
func (l *loop) expired() *socket {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.deadlines.first()
	if s == nil || s.due.After(time.Now()) {
		return nil
	}
	l.deadlines.set(s, time.Time{})
	return s
}

// rearm sets when epoll is to be left next. It reports false once the loop is over.
func (l *loop) rearm() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return false
	}
	due := time.Time{}
	if s := l.deadlines.first(); s != nil {
		due = s.due
	}
	if !due.Equal(l.wakes) {
		l.wakeAt(due)
	}
	return true
}

func (l *loop) wakeAt(due time.Time) {
	l.wakes = due
	//nolint:errcheck // newLoop has seen that it can be set
	l.epoll.SetReadDeadline(due)
}

// deadlines are the sockets that have one, as a heap: the first one is due first.
type deadlines []*socket

func (d deadlines) first() *socket {
	if len(d) == 0 {
		return nil
	}
	return d[0]
}

// set sets the deadline of s; zero for none.
func (d *deadlines) set(s *socket, due time.Time) {
	s.due = due
	switch has := !due.IsZero(); {
	case s.queued && has:
		heap.Fix(d, s.at)
	case s.queued:
		heap.Remove(d, s.at)
	case has:
		heap.Push(d, s)
	}
}

func (d deadlines) Len() int           { return len(d) }
func (d deadlines) Less(i, j int) bool { return d[i].due.Before(d[j].due) }
func (d deadlines) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].at, d[j].at = i, j
}

// Push is for heap.
func (d *deadlines) Push(s any) {
	s.(*socket).at, s.(*socket).queued = len(*d), true
	*d = append(*d, s.(*socket))
}

// Pop is for heap.
func (d *deadlines) Pop() any {
	last := len(*d) - 1
	s := (*d)[last]
	(*d)[last], s.queued = nil, false
	*d = (*d)[:last]
	return s
}
