package judge

import (
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// This file serves readers that ask for peers, such as the page and the API.

// Peers returns the details of all peers in no particular order. It holds the lock for some
// peers at a time, so a peer may appear twice if another one is forgotten meanwhile.
func (j *Judge) Peers() []liveness.Details {
	next := j.Count()
	all := make([]liveness.Details, 0, next)
	for next > 0 {
		all, next = j.details(all, next)
	}
	return all
}

// details appends the details of some peers below number next, and returns the number to
// continue with.
func (j *Judge) details(all []liveness.Details, next int) ([]liveness.Details, int) {
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

// A Summary is the state of the collector, as far as the Judge knows it.
type Summary struct {
	Isolated bool
	Stalled  time.Duration
	Panics   int64
	Peers    map[string]int // by state, including states without peers
}

// Summary returns the Summary as of now.
func (j *Judge) Summary() Summary {
	h := j.health()
	s := Summary{Isolated: h.isolated, Stalled: h.stalled, Panics: h.panics, Peers: make(map[string]int, len(h.peers))}
	for i, state := range liveness.States {
		s.Peers[state.String()] = h.peers[i]
	}
	return s
}
