package judge

import (
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// This file returns the peers and the state of the collector to readers such as the page and the
// API.

// Peers returns the details of all peers in no particular order. It releases the lock after each
// batch of peers, so a peer may appear twice if another peer is forgotten meanwhile.
func (j *Judge) Peers() []liveness.Details {
	next := j.Count()
	all := make([]liveness.Details, 0, next)
	for next > 0 {
		all, next = j.appendDetails(all, next)
	}
	return all
}

// appendDetails appends the details of some of the peers with numbers below next, and returns the
// value of next for the following call.
func (j *Judge) appendDetails(all []liveness.Details, next int) ([]liveness.Details, int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := time.Now()
	first := min(next, j.tracker.Len())
	end := max(first-batchSize, 0)
	for i := first - 1; i >= end; i-- {
		all = append(all, j.tracker.Details(i, now))
	}
	return all, end
}

// A Summary is the part of the collector's state that the Judge knows.
type Summary struct {
	Isolated bool
	Stalled  time.Duration
	Panics   int64
	Peers    map[string]int // the number of peers in each state, including 0
}

// Summary returns the current Summary.
func (j *Judge) Summary() Summary {
	h := j.health()
	s := Summary{Isolated: h.isolated, Stalled: h.stalled, Panics: h.panics, Peers: make(map[string]int, len(h.peers))}
	for i, state := range liveness.States {
		s.Peers[state.String()] = h.peers[i]
	}
	return s
}
