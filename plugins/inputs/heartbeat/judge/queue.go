package judge

import (
	"sync"

	"github.com/influxdata/telegraf"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// queueLimit is how many beats may wait for a slow output. Beyond it, a newer beat of a peer
// replaces the waiting one. Beyond four times as many, the newest beats are dropped. Changes
// are always kept: they are few, and a lost one is never reported again.
const queueLimit = 1 << 16

// A queueItem is an item of a queue: a metric, or a change whose metrics are built later so that
// judging does not wait for that.
type queueItem struct {
	metric telegraf.Metric
	change *liveness.Transition
	event  bool // the change is also reported as an event
	late   bool // report it as an event only: the gauges of that time were emitted before
}

// A queue holds what is to be emitted, in order. Pushing never blocks.
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

// pushChange queues a change of a peer: its gauges, and if event is set also the event.
func (q *queue) pushChange(change liveness.Transition, event bool) {
	q.push(queueItem{change: &change, event: event})
}

// pushLate queues events whose gauges were already emitted at their time.
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
