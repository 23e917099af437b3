package judge

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/influxdata/telegraf"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// metered wraps acc to record whether Telegraf accepts metrics.
func (j *Judge) metered(acc telegraf.Accumulator) *meter {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.flow.reader, _ = acc.(pipedAccumulator)
	_, reuses := acc.(reuser)
	return &meter{acc, &j.flow, reuses}
}

// Gather emits the metrics of all peers. It returns when they are emitted.
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

// Emit passes queued items to acc until ctx ends and the queue is empty. own returns the values for
// the metrics about the collector itself.
func (j *Judge) Emit(ctx context.Context, acc telegraf.Accumulator, own func(time.Time) Own) {
	defer close(j.ended)
	to := j.metered(acc)
	for {
		select {
		case <-j.queue.filled:
			j.add(to, j.queue.take())
		case done := <-j.gathers:
			j.CatchPanic("gathering the metrics of peers", func() { j.emitPeers(to) })
			j.CatchPanic("gathering the metrics of the collector", func() {
				j.emitOwn(to, own, time.Now().Truncate(time.Millisecond))
			})
			close(done)
		case <-ctx.Done():
			j.add(to, j.queue.take())
			return
		}
	}
}

// emitPeers emits the metrics of all peers. Items that are in the queue when a view is taken are
// older than the view, so they are emitted first. emitPeers goes through the peers from the last to
// the first. If a peer is forgotten meanwhile, the last peer gets its number: that peer has been
// emitted already, and may be emitted again.
func (j *Judge) emitPeers(acc *meter) {
	views := make([]liveness.View, 0, batchSize)
	for next, more := j.Count(), true; more; more = next > 0 {
		var queued []queueItem
		views, queued, next = j.nextViews(views[:0], next)
		j.add(acc, queued)
		for i := range views {
			addPeer(acc, &views[i])
		}
	}
}

// nextViews appends the views of some of the peers with numbers below next. It also returns the
// items queued before, and the value of next for the following call.
func (j *Judge) nextViews(views []liveness.View, next int) ([]liveness.View, []queueItem, int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := time.Now()
	next = min(next, j.tracker.Len())
	for len(views) < batchSize && next > 0 {
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

// add emits items to acc. If emitting one item panics, the others are still emitted.
func (j *Judge) add(acc *meter, items []queueItem) {
	for len(items) > 0 {
		j.CatchPanic("emitting", func() {
			for len(items) > 0 {
				item := items[0]
				items = items[1:]
				addItem(acc, &item)
			}
		})
	}
}

// A meter is an accumulator that records whether Telegraf accepts metrics.
type meter struct {
	telegraf.Accumulator
	flow   *flow
	reuses bool // the accumulator is a reuser
}

// AddMetric passes m to the accumulator.
func (h *meter) AddMetric(m telegraf.Metric) {
	begun := h.flow.begun.Add(1)
	h.Accumulator.AddMetric(m)
	h.flow.ended.Store(begun)
}

// A pipedAccumulator is an accumulator that writes to a pipe.
type pipedAccumulator interface {
	// Unread returns how long the reader of the pipe has read nothing, although data is waiting.
	Unread() time.Duration
}

// A flow counts the metrics passed to Telegraf, and detects whether Telegraf is blocked.
type flow struct {
	begun, ended atomic.Uint64

	reader pipedAccumulator // nil if the accumulator is no pipedAccumulator
	seen   uint64           // the last value of begun that was seen unfinished
	since  time.Time        // when it was first seen
}

// accepts reports whether Telegraf accepts metrics, that is, whether no metric has been waiting for
// long. It must not be called concurrently.
func (f *flow) accepts(now time.Time) bool {
	if begun := f.begun.Load(); f.ended.Load() >= begun || f.seen != begun {
		f.seen, f.since = begun, now
	}
	if f.reader != nil && f.reader.Unread() >= blockedAfter {
		return false
	}
	return now.Sub(f.since) < blockedAfter
}

// idle reports whether all metrics have been accepted. It may be called at any time.
func (f *flow) idle() bool {
	return f.ended.Load() >= f.begun.Load() && (f.reader == nil || f.reader.Unread() < readPause)
}

func addItem(acc *meter, item *queueItem) {
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

func addPeer(acc *meter, v *liveness.View) {
	if acc.reuses {
		acc.AddMetric(templateOf(v).reusedMetric(v))
	} else {
		acc.AddMetric(peerMetric(v))
	}
	if isDown(v) {
		acc.AddMetric(downMetric(v))
	}
}
