package heartbeat

import (
	"sync"

	"github.com/influxdata/telegraf"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// queueLimit is how many beats, and how many changes, wait for a slow output
// in full. Beyond it the newer one of a peer takes the place of the waiting
// one. Changes are counted apart: a flood of beats must not cost one. Four
// times as many of both are the end; then the newest are lost.
const queueLimit = 1 << 16

// A waiting is what a queue holds: a metric, as each beat makes one, or a change whose
// metrics are yet to be made, so that judging does not wait for that.
type waiting struct {
	metric telegraf.Metric
	change *liveness.Transition
}

// A queue holds what is to be emitted, in the order of the facts. Pushing
// never waits.
type queue struct {
	filled chan struct{} // has an entry while something may be queued

	mu        sync.Mutex // guards the rest
	items     []waiting
	keys      []queueKey       // of items
	last      map[queueKey]int // where each key stands last; nil below the limits
	changes   int              // among items
	coalesced int64
}

// A queueKey says which items may take each other's place.
type queueKey struct {
	id     liveness.ID
	change bool
}

func newQueue() *queue {
	return &queue{filled: make(chan struct{}, 1)}
}

func (q *queue) pushMetric(id liveness.ID, m telegraf.Metric) {
	q.push(waiting{metric: m}, queueKey{id: id})
}

func (q *queue) pushChange(change liveness.Transition) {
	q.push(waiting{change: &change}, queueKey{id: change.ID, change: true})
}

func (q *queue) push(item waiting, key queueKey) {
	q.mu.Lock()
	q.add(item, key)
	q.mu.Unlock()
	select {
	case q.filled <- struct{}{}:
	default:
	}
}

func (q *queue) add(item waiting, key queueKey) {
	if q.full(key.change) {
		q.indexKeys()
		at, ok := q.last[key]
		if ok {
			q.items[at] = item
		}
		if ok || len(q.items) >= 4*queueLimit {
			q.coalesced++
			return
		}
	}
	if q.last != nil {
		q.last[key] = len(q.items)
	}
	if key.change {
		q.changes++
	}
	q.items = append(q.items, item)
	q.keys = append(q.keys, key)
}

func (q *queue) full(ofChanges bool) bool {
	if ofChanges {
		return q.changes >= queueLimit
	}
	return len(q.items)-q.changes >= queueLimit
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
func (q *queue) take() []waiting {
	q.mu.Lock()
	defer q.mu.Unlock()
	items := q.items
	q.items, q.last, q.changes = nil, nil, 0
	q.keys = q.keys[:0]
	return items
}

func (q *queue) coalescedTotal() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.coalesced
}
