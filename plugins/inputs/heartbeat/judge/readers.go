package judge

import (
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// This file is what readers are shown who ask for peers, beside the metrics.

// Peers returns the details of all peers, in no order. It locks for a portion at a time: a
// peer that takes the number of one that is forgotten meanwhile is there twice.
func (j *Judge) Peers() []liveness.Details {
	next := j.Count()
	all := make([]liveness.Details, 0, next)
	for next > 0 {
		all, next = j.details(all, next)
	}
	return all
}

// details appends the details of a portion of the peers below number next, and returns
// where to go on.
func (j *Judge) details(all []liveness.Details, next int) ([]liveness.Details, int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := time.Now()
	first := min(next, j.tracker.Len())
	end := max(first-portion, 0)
	for i := first - 1; i >= end; i-- {
		all = append(all, j.tracker.Details(i, now))
	}
	return all, end
}

// A Summary is how the collector is, as far as the Judge knows.
type Summary struct {
	Isolated bool
	Stalled  time.Duration
	Panics   int64
	Peers    map[string]int // by state; all states are there
}

// Summary returns it.
func (j *Judge) Summary() Summary {
	h := j.health()
	s := Summary{Isolated: h.isolated, Stalled: h.stalled, Panics: h.panics, Peers: make(map[string]int, len(h.peers))}
	for i, state := range liveness.States {
		s.Peers[state.String()] = h.peers[i]
	}
	return s
}
