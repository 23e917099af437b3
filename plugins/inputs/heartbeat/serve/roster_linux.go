//go:build linux && !goroutines

package serve

import (
	"container/heap"
	"slices"
	"sync"
	"time"
)

// A roster is the connections of one loop and their deadlines. It is what those see of the loop
// that add a connection to it or end it. It calls nothing else.
type roster struct {
	mu        sync.Mutex // guards the rest, and place of each socket
	sockets   []*socket  // by descriptor
	open      int        // of them
	deadlines deadlines
	over      bool

	waits bool      // the loop does,
	until time.Time // until then; zero for no limit
}

// add takes in a connection. It returns false for joined once the roster is closed, and true for
// nearer if its deadline is before what the loop waits for.
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

// remove lets go of a connection, which is about to be closed.
func (r *roster) remove(s *socket) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sockets[s.fd] = nil
	r.open--
	r.deadlines.set(s, time.Time{})
}

// find returns the connection with a descriptor, or nil: it may only just be being added.
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

// setDue sets the deadline of a connection, or none if that is zero. It reports whether that is
// before what the loop waits for.
func (r *roster) setDue(s *socket, due time.Time) (nearer bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.set(s, due)
}

func (r *roster) set(s *socket, due time.Time) (nearer bool) {
	r.deadlines.set(s, due)
	return r.waits && r.deadlines.first() == s && (r.until.IsZero() || due.Before(r.until))
}

// expired takes the deadline from a connection for which it had passed at that time, and returns
// the connection; or nil.
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

// wait notes that the loop waits, and returns until when; zero for no limit. It reports false once
// the roster is closed.
func (r *roster) wait() (until time.Time, goesOn bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waits, r.until = true, time.Time{}
	if s := r.deadlines.first(); s != nil {
		r.until = s.place.due
	}
	return r.until, !r.over
}

// waited notes that the loop waits no longer.
func (r *roster) waited() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waits = false
}

// close lets nobody in any more.
func (r *roster) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
}

// A place is where a socket is in deadlines.
type place struct {
	due   time.Time // zero if it is not there
	index int
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
