//go:build linux && !goroutines

package serve

import (
	"container/heap"
	"slices"
	"sync"
	"time"
)

// A roster has the connections of one loop and their deadlines. Goroutines that add a connection to
// the loop, or end it, use only the roster, which calls nothing else.
type roster struct {
	mu        sync.Mutex // guards the rest, and place of each socket
	sockets   []*socket  // by descriptor
	open      int        // of them
	deadlines deadlines
	over      bool

	waits bool      // the loop is waiting
	until time.Time // deadline of the waiting; zero for none
}

// add adds a connection. joined is false once the roster is closed. nearer reports whether the loop
// must wake up earlier than planned because of the connection's deadline.
func (r *roster) add(s *socket) (joined, nearer bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return false, false
	}
	r.sockets = append(r.sockets, make([]*socket, max(s.fd+1-len(r.sockets), 0))...)
	r.sockets[s.fd] = s
	r.open++
	return true, r.set(s, s.due())
}

// remove removes a connection, which is about to be closed.
func (r *roster) remove(s *socket) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sockets[s.fd] = nil
	r.open--
	r.deadlines.set(s, time.Time{})
}

// find returns the connection with a descriptor, or nil: it may not have been added yet.
func (r *roster) find(fd int) *socket {
	r.mu.Lock()
	defer r.mu.Unlock()
	if fd < len(r.sockets) {
		return r.sockets[fd]
	}
	return nil
}

// count returns how many connections there are.
func (r *roster) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open
}

// all returns the connections, in no order.
func (r *roster) all() []*socket {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.sockets), func(s *socket) bool { return s == nil })
}

// setDeadline sets the deadline of a connection; zero means no deadline. It reports whether the
// loop must wake up earlier than planned.
func (r *roster) setDeadline(s *socket, due time.Time) (nearer bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.set(s, due)
}

func (r *roster) set(s *socket, due time.Time) (nearer bool) {
	r.deadlines.set(s, due)
	return r.waits && r.deadlines.first() == s && (r.until.IsZero() || due.Before(r.until))
}

// expired returns a connection whose deadline had passed at that time, or nil, and clears its
// deadline.
func (r *roster) expired(at time.Time) *socket {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.deadlines.first()
	if s == nil || s.place.due.After(at) {
		return nil
	}
	r.deadlines.set(s, time.Time{})
	return s
}

// wait records that the loop waits. until is the end of the waiting; zero for no limit. goesOn is
// false once the roster is closed.
func (r *roster) wait() (until time.Time, goesOn bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waits, r.until = true, time.Time{}
	if s := r.deadlines.first(); s != nil {
		r.until = s.place.due
	}
	return r.until, !r.over
}

// waited records that the loop no longer waits.
func (r *roster) waited() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waits = false
}

// close lets add refuse connections from now on.
func (r *roster) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
}

// A place is the position of a socket in deadlines.
type place struct {
	due   time.Time // zero if it has none
	index int
}

// deadlines is a heap of the sockets that have a deadline, the earliest first.
type deadlines []*socket

func (d deadlines) first() *socket {
	if len(d) == 0 {
		return nil
	}
	return d[0]
}

// set sets the deadline of s; zero for none.
func (d *deadlines) set(s *socket, due time.Time) {
	had, has := !s.place.due.IsZero(), !due.IsZero()
	switch {
	case had && has:
		s.place.due = due
		heap.Fix(d, s.place.index)
	case had:
		heap.Remove(d, s.place.index)
		s.place.due = due
	case has:
		s.place.due = due
		heap.Push(d, s)
	}
}

func (d deadlines) Len() int           { return len(d) }
func (d deadlines) Less(i, j int) bool { return d[i].place.due.Before(d[j].place.due) }
func (d deadlines) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].place.index, d[j].place.index = i, j
}

// Push is for heap.
func (d *deadlines) Push(s any) {
	s.(*socket).place.index = len(*d)
	*d = append(*d, s.(*socket))
}

// Pop is for heap.
func (d *deadlines) Pop() any {
	last := len(*d) - 1
	s := (*d)[last]
	(*d)[last] = nil
	*d = (*d)[:last]
	return s
}
