//go:build linux && !goroutines

package serve

import (
	"container/heap"
	"time"
)

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
