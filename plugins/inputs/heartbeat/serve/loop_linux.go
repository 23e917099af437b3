//go:build linux && !goroutines

package serve

import (
	"errors"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// A loop serves plain connections of TCP without a goroutine for each: it waits with epoll(7)
// until some have something to read, and reads, judges and answers in place.
//
//   - A connection belongs to one loop, from add until it is closed. Only that loop reads it,
//     writes to it and closes it.
//   - A turn of a connection is one read, however much has come: it keeps nobody waiting. Epoll
//     is level-triggered, so what is left is another turn.
//   - A turn never waits. An answer for which there is no room stays with its connection, which
//     is not read until the answer has gone; meanwhile it waits to be written to.
//   - mu is held for the bookkeeping alone, never over a system call or a call of Options.
type loop struct {
	listener *listener
	epoll    int
	wakeup   int // an eventfd(2), watched as the connections are
	events   []unix.EpollEvent
	buffer   []byte // what a turn reads into

	mu        sync.Mutex // guards the rest
	sockets   []*socket  // by descriptor
	deadlines deadlines
	waits     bool      // in epoll_wait(2),
	until     time.Time // until then; zero for no limit
	over      bool
}

const (
	// mostEvents is of how many connections epoll tells at once.
	mostEvents = 256
	// turnSize is how much a turn reads at most, in bytes.
	turnSize = 16 << 10
	// breather is how long a loop rests before it waits again if it has had to wait for less than
	// that: then more connections have their turns at once. Waking for each of 70,000 beats a second
	// takes as much time as all that is done with them.
	breather = 500 * time.Microsecond
)

func newLoop(l *listener) (_ *loop, err error) {
	o := &loop{listener: l, epoll: -1, wakeup: -1, events: make([]unix.EpollEvent, mostEvents), buffer: make([]byte, turnSize)}
	if o.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if o.wakeup, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err == nil {
		err = o.watch(unix.EPOLL_CTL_ADD, o.wakeup, unix.EPOLLIN)
	}
	if err != nil {
		o.close()
		return nil, err
	}
	return o, nil
}

func (l *loop) close() {
	unix.Close(l.epoll)
	unix.Close(l.wakeup)
}

// run serves the connections until end.
func (l *loop) run() {
	for rested := time.Now(); l.plan(); rested = time.Now() {
		ready := l.wait()
		busy := time.Since(rested) < breather && ready < mostEvents
		for _, event := range l.events[:ready] {
			l.attend(int(event.Fd))
		}
		for s := l.expired(); s != nil; s = l.expired() {
			l.expire(s)
		}
		if busy {
			time.Sleep(breather)
		}
	}
	for _, s := range l.all() {
		l.listener.finish(s.conn, net.ErrClosed)
	}
}

// end has run close all connections and return.
func (l *loop) end() {
	l.mu.Lock()
	l.over = true
	l.mu.Unlock()
	l.wake()
}

// add has the loop serve a connection from now on. After an error it is the caller's.
func (l *loop) add(s *socket) error {
	if err := l.watch(unix.EPOLL_CTL_ADD, s.fd, unix.EPOLLIN); err != nil {
		return err
	}
	l.mu.Lock()
	if l.over {
		l.mu.Unlock()
		return net.ErrClosed
	}
	s.loop = l
	l.sockets = append(l.sockets, make([]*socket, max(s.fd+1-len(l.sockets), 0))...)
	l.sockets[s.fd] = s
	nearer := l.set(s, s.due)
	l.mu.Unlock()
	if nearer {
		l.wake()
	}
	return nil
}

// watch changes for what a descriptor is watched.
func (l *loop) watch(change, fd int, events uint32) error {
	event := unix.EpollEvent{Events: events, Fd: int32(fd)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(l.epoll, change, fd, &event))
}

// plan sets until when to wait. It reports false once the loop is over.
func (l *loop) plan() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waits, l.until = true, time.Time{}
	if s := l.deadlines.first(); s != nil {
		l.until = s.due
	}
	return !l.over
}

// wait returns of how many descriptors there is an event; of none once a deadline has passed.
func (l *loop) wait() int {
	patience := -1
	if !l.until.IsZero() {
		patience = int(max(time.Until(l.until)+time.Millisecond-1, 0).Milliseconds())
	}
	ready, err := unix.EpollWait(l.epoll, l.events, patience)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waits = false
	if err != nil { // interrupted
		return 0
	}
	return ready
}

// wake ends the waiting.
func (l *loop) wake() {
	//nolint:errcheck // it fails only if it is full, which ends the waiting too
	unix.Write(l.wakeup, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

// attend does what an event asks for.
func (l *loop) attend(fd int) {
	if fd == l.wakeup {
		//nolint:errcheck // then there was nothing to be read, and it is silent again
		unix.Read(fd, make([]byte, 8))
		return
	}
	if s := l.socket(fd); s != nil {
		if err := l.turn(s); err != nil && !errors.Is(err, wire.ErrAgain) {
			l.listener.finish(s.conn, err)
		}
	}
}

// turn reads from a connection, or writes what waits to be written.
func (l *loop) turn(s *socket) error {
	if len(s.unsent) > 0 {
		return s.flush()
	}
	s.turn, s.conn.chunk = true, l.buffer
	defer func() { s.conn.chunk = nil }()
	return s.conn.readAvailable()
}

// expire ends a connection whose deadline has passed, if that is what the deadline was for.
func (l *loop) expire(s *socket) {
	switch {
	case len(s.unsent) > 0:
		l.listener.finish(s.conn, s.conn.unread())
	case !s.conn.goesOn(os.ErrDeadlineExceeded):
		l.listener.finish(s.conn, os.ErrDeadlineExceeded)
	}
}

// socket returns the connection with a descriptor, or nil.
func (l *loop) socket(fd int) *socket {
	l.mu.Lock()
	defer l.mu.Unlock()
	if fd >= len(l.sockets) { // it is only just being added
		return nil
	}
	return l.sockets[fd]
}

func (l *loop) all() []*socket {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(l.sockets), func(s *socket) bool { return s == nil })
}

// forget lets go of a connection, which is about to be closed.
func (l *loop) forget(s *socket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sockets[s.fd] = nil
	l.deadlines.set(s, time.Time{})
}

// setDue sets the deadline of a connection; zero for none.
func (l *loop) setDue(s *socket, due time.Time) {
	l.mu.Lock()
	nearer := l.set(s, due)
	l.mu.Unlock()
	if nearer {
		l.wake()
	}
}

// set is setDue, under mu. It reports whether the loop has to be waked for it.
func (l *loop) set(s *socket, due time.Time) bool {
	l.deadlines.set(s, due)
	return l.waits && l.deadlines.first() == s && (l.until.IsZero() || due.Before(l.until))
}

// expired takes the deadline from a connection for which it has passed, and returns that
// connection; or nil.
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
