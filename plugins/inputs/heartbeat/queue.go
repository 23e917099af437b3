package heartbeat

import (
	"sync"

	"github.com/influxdata/telegraf"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// queueLimit is how many beats, and how many changes, wait for a slow output
// in full. Beyond it a peer's newer metric takes the place of the waiting one
// of the same measurement, so that the queue grows no more than with the
// peers. Changes are counted apart: a flood of beats must not cost one.
const queueLimit = 1 << 16

// A queue holds metrics in the order of their facts. Pushing never waits.
type queue struct {
	filled chan struct{} // has an entry while something may be queued

	mu        sync.Mutex // guards the rest
	metrics   []telegraf.Metric
	keys      []queueKey       // of metrics
	last      map[queueKey]int // where each key stands last; nil below the limits
	beats     int              // among metrics
	coalesced int64
}

// A queueKey says which metrics may take each other's place.
type queueKey struct {
	id          liveness.ID
	measurement string
}

func newQueue() *queue {
	return &queue{filled: make(chan struct{}, 1)}
}

func (q *queue) push(m telegraf.Metric, key queueKey) {
	q.mu.Lock()
	q.add(m, key)
	q.mu.Unlock()
	select {
	case q.filled <- struct{}{}:
	default:
	}
}

func (q *queue) add(m telegraf.Metric, key queueKey) {
	if q.full(key.measurement == measurementBeat) {
		q.indexKeys()
		if at, ok := q.last[key]; ok {
			q.metrics[at] = m
			q.coalesced++
			return
		}
	}
	if q.last != nil {
		q.last[key] = len(q.metrics)
	}
	if key.measurement == measurementBeat {
		q.beats++
	}
	q.metrics = append(q.metrics, m)
	q.keys = append(q.keys, key)
}

func (q *queue) full(ofBeats bool) bool {
	if ofBeats {
		return q.beats >= queueLimit
	}
	return len(q.metrics)-q.beats >= queueLimit
}

func (q *queue) indexKeys() {
	if q.last != nil {
		return
	}
	q.last = make(map[queueKey]int)
	for i, key := range q.keys {
		q.last[key] = i
	}
}

// take returns what is queued, the oldest first.
func (q *queue) take() []telegraf.Metric {
	q.mu.Lock()
	defer q.mu.Unlock()
	metrics := q.metrics
	q.metrics, q.last, q.beats = nil, nil, 0
	q.keys = q.keys[:0]
	return metrics
}

func (q *queue) coalescedTotal() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.coalesced
}
