package judge

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/influxdata/telegraf"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// Gather has every peer emitted and waits until that is done.
func (j *Judge) Gather() {
	done := make(chan struct{})
	select {
	case j.gathers <- done:
	case <-j.ended:
		return
	}
	select {
	case <-done:
	case <-j.ended:
	}
}

// Emit hands what is queued to acc until ctx ends and the queue is empty. own
// returns what is to be said of the collector.
func (j *Judge) Emit(ctx context.Context, acc telegraf.Accumulator, own func(time.Time) Own) {
	defer close(j.ended)
	for {
		select {
		case <-j.queue.filled:
			j.add(acc, j.queue.take())
		case done := <-j.gathers:
			j.Contained("gathering peers", func() { j.emitPeers(acc) })
			j.Contained("gathering the collector", func() {
				j.emitOwn(acc, own, time.Now().Truncate(time.Millisecond))
			})
			close(done)
		case <-ctx.Done():
			j.add(acc, j.queue.take())
			return
		}
	}
}

// emitPeers emits all peers. What is queued is older than the views taken in
// the same moment and goes first. It goes from the end: when a peer is
// forgotten meanwhile, the last one, already emitted, takes its number and is
// emitted again.
func (j *Judge) emitPeers(acc telegraf.Accumulator) {
	views := make([]liveness.View, 0, portion)
	for next, more := j.Count(), true; more; more = next > 0 {
		var queued []waiting
		views, queued, next = j.look(views[:0], next)
		j.add(acc, queued)
		for i := range views {
			addPeer(acc, &views[i])
		}
	}
}

// look appends the views of a portion of the peers below number next, and returns
// what was queued before, and where to go on.
func (j *Judge) look(views []liveness.View, next int) ([]liveness.View, []waiting, int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := time.Now()
	next = min(next, j.tracker.Len())
	for len(views) < portion && next > 0 {
		next--
		views = append(views, j.tracker.View(next, now))
	}
	return views, j.queue.take(), next
}

func (j *Judge) emitOwn(acc telegraf.Accumulator, own func(time.Time) Own, now time.Time) {
	o := own(now)
	for _, m := range collectorMetrics(j.health(), &o, now) {
		acc.AddMetric(m)
	}
	for i := range o.Listeners {
		for _, m := range listenerMetrics(&o.Listeners[i], now) {
			acc.AddMetric(m)
		}
	}
}

func (j *Judge) health() health {
	j.mu.Lock()
	defer j.mu.Unlock()
	own := health{
		stalled: j.tracker.Stalled(), isolated: j.tracker.Isolated(),
		coalesced: j.queue.coalescedTotal(), panics: j.panics.Load(), beats: j.beats,
	}
	for i, state := range liveness.States {
		own.peers[i] = j.tracker.Count(state)
	}
	return own
}

// add hands items to acc. One that cannot be handed over costs no other.
func (j *Judge) add(acc telegraf.Accumulator, items []waiting) {
	for len(items) > 0 {
		j.Contained("emitting", func() {
			for len(items) > 0 {
				item := items[0]
				items = items[1:]
				j.handing.begin()
				addItem(acc, &item)
				j.handing.end()
			}
		})
	}
}

// A handing knows whether metrics are taken: it counts those that were handed over.
type handing struct {
	begun, ended atomic.Uint64

	seen  uint64    // begun, when it was asked last, if that had not ended
	since time.Time // that
}

func (h *handing) begin() { h.begun.Add(1) }
func (h *handing) end()   { h.ended.Store(h.begun.Load()) }

// flows reports whether metrics are taken: none has been waiting for long. It is not to
// be called concurrently.
func (h *handing) flows(now time.Time) bool {
	begun := h.begun.Load()
	if h.ended.Load() >= begun || h.seen != begun {
		h.seen, h.since = begun, now
		return true
	}
	return now.Sub(h.since) < blockedAfter
}

func addItem(acc telegraf.Accumulator, item *waiting) {
	if item.change == nil {
		acc.AddMetric(item.metric)
		return
	}
	if item.event {
		acc.AddMetric(eventMetric(item.change))
	}
	addPeer(acc, &item.change.View)
}

func addPeer(acc telegraf.Accumulator, v *liveness.View) {
	acc.AddMetric(peerMetric(v))
	if isDown(v) {
		acc.AddMetric(downMetric(v))
	}
}
