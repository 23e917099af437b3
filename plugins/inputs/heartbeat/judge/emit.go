package judge

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/influxdata/telegraf"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// watched returns acc so that it is known whether metrics are taken from it.
func (j *Judge) watched(acc telegraf.Accumulator) *handing {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.flow.reader, _ = acc.(reader)
	_, reuses := acc.(reuser)
	return &handing{acc, &j.flow, reuses}
}

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
	to := j.watched(acc)
	for {
		select {
		case <-j.queue.filled:
			j.add(to, j.queue.take())
		case done := <-j.gathers:
			j.Contained("gathering the metrics of peers", func() { j.emitPeers(to) })
			j.Contained("gathering the metrics of the collector", func() {
				j.emitOwn(to, own, time.Now().Truncate(time.Millisecond))
			})
			close(done)
		case <-ctx.Done():
			j.add(to, j.queue.take())
			return
		}
	}
}

// emitPeers emits all peers. What is queued is older than the views taken in
// the same moment and goes first. It goes from the end: when a peer is
// forgotten meanwhile, the last one, already emitted, takes its number and is
// emitted again.
func (j *Judge) emitPeers(acc *handing) {
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
func (j *Judge) add(acc *handing, items []waiting) {
	for len(items) > 0 {
		j.Contained("emitting", func() {
			for len(items) > 0 {
				item := items[0]
				items = items[1:]
				addItem(acc, &item)
			}
		})
	}
}

// A handing is an accumulator that tells whether metrics are taken from it.
type handing struct {
	telegraf.Accumulator
	flow   *flow
	reuses bool // it is a reuser
}

// AddMetric hands m over.
func (h *handing) AddMetric(m telegraf.Metric) {
	begun := h.flow.begun.Add(1)
	h.Accumulator.AddMetric(m)
	h.flow.ended.Store(begun)
}

// A reader is an accumulator that writes to a pipe.
type reader interface {
	// Unread returns for how long nothing was read of what waits in it.
	Unread() time.Duration
}

// A flow counts the metrics that were handed over, one after the other.
type flow struct {
	begun, ended atomic.Uint64

	reader reader    // nil if the accumulator is none
	seen   uint64    // begun, when it was looked at last and had not ended
	since  time.Time // when it was first seen so
}

// runs reports whether metrics are taken: none has been waiting for long. It is not to be
// called concurrently.
func (f *flow) runs(now time.Time) bool {
	if begun := f.begun.Load(); f.ended.Load() >= begun || f.seen != begun {
		f.seen, f.since = begun, now
	}
	if f.reader != nil && f.reader.Unread() >= blockedAfter {
		return false
	}
	return now.Sub(f.since) < blockedAfter
}

// taken reports whether all metrics are taken. It may be called at any time.
func (f *flow) taken() bool {
	return f.ended.Load() >= f.begun.Load() && (f.reader == nil || f.reader.Unread() < readPause)
}

func addItem(acc *handing, item *waiting) {
	if item.change == nil {
		acc.AddMetric(item.metric)
		return
	}
	if item.event {
		acc.AddMetric(eventMetric(item.change))
	}
	if !item.late {
		addPeer(acc, &item.change.View)
	}
}

func addPeer(acc *handing, v *liveness.View) {
	if acc.reuses {
		acc.AddMetric(formOf(v).reused(v))
	} else {
		acc.AddMetric(peerMetric(v))
	}
	if isDown(v) {
		acc.AddMetric(downMetric(v))
	}
}
