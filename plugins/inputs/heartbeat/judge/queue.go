package judge

import (
	"sync"

	"github.com/influxdata/telegraf"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// queueLimit is how many beats may wait for a slow output. If more are waiting, a new beat of a
// peer replaces the waiting beat of that peer. If four times as many are waiting, new beats of
// other peers are dropped. Changes are always kept: there are few, and a lost change is never
// reported again.
const queueLimit = 1 << 16

// A queueItem is an item of a queue: a metric, or a change. The metrics of a change are built when
// the change leaves the queue, so that judging does not have to wait.
type queueItem struct {
	metric telegraf.Metric
	change *liveness.Transition
	event  bool // the change is also reported as an event
	late   bool // report only the event: the metric of the peer was emitted when the change happened
}

// A queue contains what must be emitted, in order. Pushing an item never blocks.
type queue struct {
	filled chan struct{} // has an entry while something may be queued

	mu        sync.Mutex // guards the rest
	items     []queueItem
	beats     []beatAt            // the indexes of beats in items
	last      map[liveness.ID]int // the index of the newest beat of each peer; nil below the limit
	coalesced int64
}

// A beatAt is the index of a peer's beat in the queue.
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
	q.addBeat(id, queueItem{metric: m})
	q.mu.Unlock()
	q.wake()
}

// pushChange queues a change of a peer: the metric of the peer is emitted and, if event is set,
// also the event.
func (q *queue) pushChange(change liveness.Transition, event bool) {
	q.push(queueItem{change: &change, event: event})
}

// pushLate queues the events of changes that were queued earlier without their events.
func (q *queue) pushLate(changes []*liveness.Transition) {
	for _, change := range changes {
		q.push(queueItem{change: change, event: true, late: true})
	}
}

// pushEvent queues an event of the collector.
func (q *queue) pushEvent(m telegraf.Metric) { q.push(queueItem{metric: m}) }

func (q *queue) push(item queueItem) {
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

func (q *queue) addBeat(id liveness.ID, item queueItem) {
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

// take removes and returns all items, the oldest first.
func (q *queue) take() []queueItem {
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
