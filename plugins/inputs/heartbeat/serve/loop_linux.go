//go:build linux && !goroutines

package serve

import (
	"errors"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// A loop serves plain TCP connections without a goroutine for each: it waits with epoll(7)
// until some are readable, and reads, judges and answers in place.
//
//   - A connection belongs to one loop, from add until it is closed. Only that loop reads it,
//     writes to it and closes it.
//   - A turn of a connection is one read, however much has arrived, so that other connections do
//     not wait. Epoll is level-triggered, so the rest is read in another turn.
//   - A turn never blocks. If there is no room for an answer, the turn ends and the connection
//     keeps the answer until it is writable. Its next turn begins by writing.
//   - A readable connection gets a turn before its deadline is enforced.
//   - No lock is held over a system call or a call of Options: the only lock is the roster's.
type loop struct {
	roster
	listener *listener
	epoll    int
	wakeup   int // an eventfd(2), watched like the connections
	events   []unix.EpollEvent
	buffer   []byte    // for the reads of a turn
	woke     time.Time // from waiting

	ahead  int       // events since deadlines were last enforced
	period uint32    // number of the current period, in which turns are counted
	began  time.Time // the period
	turns  int       // of different connections in the period
}

const (
	// maxEvents is the limit of events that epoll returns at once.
	maxEvents = 256
	// turnSize is the limit of bytes that a turn reads.
	turnSize = 16 << 10
	// restTime is how long a loop rests after manyTurns within that time, so that the loop then has
	// work for more connections at once. If it woke for each of 70,000 beats a second, waking would
	// take as much time as processing them. A few connections that wait for each answer are not
	// delayed.
	restTime  = 500 * time.Microsecond
	manyTurns = 4
)

func newLoop(l *listener) (_ *loop, err error) {
	o := &loop{
		listener: l, epoll: -1, wakeup: -1,
		events: make([]unix.EpollEvent, maxEvents), buffer: make([]byte, turnSize),
	}
	if o.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if o.wakeup, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err == nil {
		err = o.watch(unix.EPOLL_CTL_ADD, o.wakeup, unix.EPOLLIN)
	}
	if err != nil {
		o.free()
		return nil, err
	}
	return o, nil
}

// free closes the loop's own descriptors.
func (l *loop) free() {
	unix.Close(l.epoll)
	unix.Close(l.wakeup)
}

// run serves the connections until end.
func (l *loop) run() {
	for until, goesOn := l.roster.wait(); goesOn; until, goesOn = l.roster.wait() {
		ready := l.wait(until)
		for _, event := range l.events[:ready] {
			l.handleEvent(int(event.Fd))
		}
		if l.turnsLeft(ready) {
			continue
		}
		for s := l.expired(l.woke); s != nil; s = l.expired(l.woke) {
			l.expire(s)
		}
		l.rest()
	}
	for _, s := range l.all() {
		l.listener.finish(s.conn, net.ErrClosed)
	}
}

// end makes run close all connections and return.
func (l *loop) end() {
	l.roster.close()
	l.wake()
}

// add lets the loop serve a connection. After an error, the caller still owns it.
func (l *loop) add(s *socket) error {
	if err := l.watch(unix.EPOLL_CTL_ADD, s.fd, unix.EPOLLIN); err != nil {
		return err
	}
	s.loop = l
	joined, nearer := l.roster.add(s)
	if !joined {
		s.loop = nil
		return net.ErrClosed
	}
	if nearer {
		l.wake()
	}
	return nil
}

// watch changes the events for which a descriptor is watched.
func (l *loop) watch(change, fd int, events uint32) error {
	event := unix.EpollEvent{Events: events, Fd: int32(fd)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(l.epoll, change, fd, &event))
}

// wait returns the number of events. If until is set and passes first, wait returns 0.
func (l *loop) wait(until time.Time) int {
	patience := -1
	if !until.IsZero() {
		patience = int(min(max(time.Until(until)+time.Millisecond-1, 0), time.Hour).Milliseconds())
	}
	ready, err := unix.EpollWait(l.epoll, l.events, patience)
	if err != nil { // interrupted, perhaps for long, if this process was stopped
		ready, err = unix.EpollWait(l.epoll, l.events, 0)
	}
	l.waited()
	l.woke = time.Now()
	if err != nil {
		return 0
	}
	return ready
}

// wake ends the waiting.
func (l *loop) wake() {
	//nolint:errcheck // it fails only if the counter is full, which ends the waiting too
	unix.Write(l.wakeup, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

// handleEvent handles an event.
func (l *loop) handleEvent(fd int) {
	if fd == l.wakeup {
		//nolint:errcheck // it fails only if there is nothing to read
		unix.Read(fd, make([]byte, 8))
		return
	}
	s := l.find(fd)
	if s == nil {
		return
	}
	if s.counted != l.period {
		s.counted = l.period
		l.turns++
	}
	if err := l.turn(s); err != nil && !errors.Is(err, wire.ErrAgain) {
		l.listener.finish(s.conn, err)
	}
}

// turn writes pending output to a connection, and reads once.
func (l *loop) turn(s *socket) error {
	if err := s.conn.ignoreGone(s.flush()); err != nil {
		return err
	}
	s.mayRead, s.conn.chunk = true, l.buffer
	defer func() { s.mayRead, s.conn.chunk = false, nil }()
	return s.conn.readAvailable()
}

// turnsLeft reports whether more connections may be waiting for a turn. ready is how many events
// epoll has returned. If that is the maximum, more may be waiting, unless there have been as many
// events as connections: epoll treats all connections fairly.
func (l *loop) turnsLeft(ready int) bool {
	if l.ahead += ready; ready == len(l.events) && l.ahead < l.count() {
		return true
	}
	l.ahead = 0
	return false
}

// expire handles a deadline that has passed. That usually ends the connection.
func (l *loop) expire(s *socket) {
	late := s.conn.overdue
	if len(s.unsent) > 0 {
		late = s.conn.refuseUnread
	}
	if err := late(); err != nil {
		l.listener.finish(s.conn, err)
	}
}

// applyDeadline applies the current deadline of a connection.
func (l *loop) applyDeadline(s *socket) {
	if l.roster.setDeadline(s, s.due()) {
		l.wake()
	}
}

// forget removes a connection, which is about to be closed.
func (l *loop) forget(s *socket) {
	//nolint:errcheck // closing does the same, unless a process that is just being started has a copy of the socket
	l.watch(unix.EPOLL_CTL_DEL, s.fd, 0)
	l.remove(s)
}

// rest sleeps for a restTime if there were many turns.
func (l *loop) rest() {
	switch {
	case l.turns >= manyTurns:
		time.Sleep(restTime)
	case l.woke.Sub(l.began) < restTime:
		return
	}
	l.period++
	l.began, l.turns = time.Now(), 0
}
