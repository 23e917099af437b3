package judge

import (
	"sync"

	"github.com/influxdata/telegraf"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// queueLimit is how many beats wait for a slow output in full. Beyond it the
// newer one of a peer takes the place of the waiting one. Four times as many are
// the end; then the newest are lost. A change is kept in any case: there are few
// of them, and what a lost one told nobody tells again.
const queueLimit = 1 << 16

// A waiting is what a queue holds: a metric, as each beat makes one, or a change whose
// metrics are yet to be made, so that judging does not wait for that.
type waiting struct {
	metric telegraf.Metric
	change *liveness.Transition
	event  bool // the change is told as an event, too
	late   bool // it is told as an event only: what the peer is now was told before
}

// A queue holds what is to be emitted, in the order of the facts. Pushing
// never waits.
type queue struct {
	filled chan struct{} // has an entry while something may be queued

	mu        sync.Mutex // guards the rest
	items     []waiting
	beats     []beatAt            // where beats stand among items
	last      map[liveness.ID]int // where the newest one of each peer stands; nil below the limit
	coalesced int64
}

// A beatAt says where in the queue a beat of a peer stands.
type beatAt struct {
	id liveness.ID
	at int
}

func newQueue() *queue {
	return &queue{filled: make(chan struct{}, 1)}
}

// pushBeat queues the metric of a beat.
func (q *queue) pushBeat(id liveness.ID, m telegraf.Metric) {
	q.mu.Lock()
	q.addBeat(id, waiting{metric: m})
	q.mu.Unlock()
	q.wake()
}

// pushChange queues what has become of a peer, as an event or only as what it is now.
func (q *queue) pushChange(change liveness.Transition, event bool) {
	q.push(waiting{change: &change, event: event})
}

// pushLate queues events that were told as what a peer is at their time.
func (q *queue) pushLate(changes []*liveness.Transition) {
	for _, change := range changes {
		q.push(waiting{change: change, event: true, late: true})
	}
}

// pushEvent queues what has become of the collector.
func (q *queue) pushEvent(m telegraf.Metric) { q.push(waiting{metric: m}) }

func (q *queue) push(item waiting) {
	q.mu.Lock()
	q.items = append(q.items, item)
	q.mu.Unlock()
	q.wake()
}

func (q *queue) wake() {
	select {
	case q.filled <- struct{}{}:
	default:
	}
}

func (q *queue) addBeat(id liveness.ID, item waiting) {
	if len(q.beats) >= queueLimit {
		q.indexBeats()
		at, ok := q.last[id]
		if ok {
			q.items[at] = item
		}
		if ok || len(q.beats) >= 4*queueLimit {
			q.coalesced++
			return
		}
		q.last[id] = len(q.items)
	}
	q.beats = append(q.beats, beatAt{id, len(q.items)})
	q.items = append(q.items, item)
}

func (q *queue) indexBeats() {
	if q.last != nil {
		return
	}
	q.last = make(map[liveness.ID]int)
	for _, beat := range q.beats {
		q.last[beat.id] = beat.at
	}
}

// take returns what is queued, the oldest first.
func (q *queue) take() []waiting {
	q.mu.Lock()
	defer q.mu.Unlock()
	items := q.items
	q.items, q.last, q.beats = nil, nil, q.beats[:0]
	return items
}

func (q *queue) coalescedTotal() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.coalesced
}
