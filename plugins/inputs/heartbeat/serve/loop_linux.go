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

// A loop serves plain connections of TCP without a goroutine for each: it waits with epoll(7)
// until some have something to read, and reads, judges and answers in place.
//
//   - A connection belongs to one loop, from add until it is closed. Only that loop reads it,
//     writes to it and closes it.
//   - A turn of a connection is one read, however much has come: it keeps nobody waiting. Epoll
//     is level-triggered, so what is left is another turn.
//   - A turn never waits. It ends with an answer for which there is no room: that stays with the
//     connection, which now waits to be written to. Its next turn begins by writing.
//   - Who has something to read has a turn before a deadline of his counts.
//   - No lock is held over a system call or a call of Options: the one that there is belongs to the
//     roster.
type loop struct {
	roster
	listener *listener
	epoll    int
	wakeup   int // an eventfd(2), watched as the connections are
	events   []unix.EpollEvent
	buffer   []byte    // what a turn reads into
	woke     time.Time // from waiting

	ahead  int       // how many events came, where there were more, before deadlines counted
	period uint32    // counts the times in which turns are counted
	began  time.Time // this one
	turns  int       // of different connections in it
}

const (
	// mostEvents is of how many connections epoll tells at once.
	mostEvents = 256
	// turnSize is how much a turn reads at most, in bytes.
	turnSize = 16 << 10
	// breather is how long a loop rests that has had manyTurns in that time: then more connections
	// have their next turns at once. Waking for each of 70,000 beats a second takes as much time as
	// all that is done with them. A few that wait for each answer are not held up by it.
	breather  = 500 * time.Microsecond
	manyTurns = 4
)

func newLoop(l *listener) (_ *loop, err error) {
	o := &loop{
		listener: l, epoll: -1, wakeup: -1,
		events: make([]unix.EpollEvent, mostEvents), buffer: make([]byte, turnSize),
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

// free closes its own descriptors.
func (l *loop) free() {
	unix.Close(l.epoll)
	unix.Close(l.wakeup)
}

// run serves the connections until end.
func (l *loop) run() {
	for until, goesOn := l.roster.wait(); goesOn; until, goesOn = l.roster.wait() {
		ready := l.wait(until)
		for _, event := range l.events[:ready] {
			l.attend(int(event.Fd))
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

// end has run close all connections and return.
func (l *loop) end() {
	l.roster.close()
	l.wake()
}

// add has the loop serve a connection from now on. After an error it is the caller's.
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

// watch changes for what a descriptor is watched.
func (l *loop) watch(change, fd int, events uint32) error {
	event := unix.EpollEvent{Events: events, Fd: int32(fd)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(l.epoll, change, fd, &event))
}

// wait returns of how many descriptors there is an event; of none after until, if that is set.
func (l *loop) wait(until time.Time) int {
	patience := -1
	if !until.IsZero() {
		patience = int(min(max(time.Until(until)+time.Millisecond-1, 0), time.Hour).Milliseconds())
	}
	ready, err := unix.EpollWait(l.epoll, l.events, patience)
	if err != nil { // interrupted: if this process was stopped, for long
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

// turn writes what waits to be written to a connection, and reads once.
func (l *loop) turn(s *socket) error {
	if err := s.conn.unlessGone(s.flush()); err != nil {
		return err
	}
	s.mayRead, s.conn.chunk = true, l.buffer
	defer func() { s.mayRead, s.conn.chunk = false, nil }()
	return s.conn.readAvailable()
}

// turnsLeft reports whether some may wait for their turn still after so many events: if there was
// no room for more, unless as many came as there are connections. Epoll lets them take turns.
func (l *loop) turnsLeft(ready int) bool {
	if l.ahead += ready; ready == len(l.events) && l.ahead < l.count() {
		return true
	}
	l.ahead = 0
	return false
}

// expire ends a connection whose deadline has passed, if that is what the deadline was for.
func (l *loop) expire(s *socket) {
	late := s.conn.overdue
	if len(s.unsent) > 0 {
		late = s.conn.unread
	}
	if err := late(); err != nil {
		l.listener.finish(s.conn, err)
	}
}

// setDue has the deadline of a connection count that it has now.
func (l *loop) setDue(s *socket) {
	if l.roster.setDue(s, s.due()) {
		l.wake()
	}
}

// forget lets go of a connection, which is about to be closed.
func (l *loop) forget(s *socket) {
	//nolint:errcheck // closing does it too, unless a process that is just being started has the socket
	l.watch(unix.EPOLL_CTL_DEL, s.fd, 0)
	l.remove(s)
}

// rest is a break if there is much to do.
func (l *loop) rest() {
	switch {
	case l.turns >= manyTurns:
		time.Sleep(breather)
	case l.woke.Sub(l.began) < breather:
		return
	}
	l.period++
	l.began, l.turns = time.Now(), 0
}
