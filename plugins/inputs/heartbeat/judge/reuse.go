package judge

import (
	"sync"

	"github.com/influxdata/telegraf"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// A reuser is an accumulator that is done with a metric when it is written, and then calls
// its Reuse, if it has that. Telegraf's own hands metrics on, and never knows when.
type reuser interface {
	// Reuses does nothing.
	Reuses()
}

// A reusable is a metric of a peer that another one is made of when it is written.
type reusable struct {
	telegraf.Metric
	free *sync.Pool // of those of its form
}

// Reuse lets the next peer of the same form have the metric. Nothing of it may be used
// after that.
func (r *reusable) Reuse() { r.free.Put(r) }

// reused is peerMetric for a reuser.
func (f *peerForm) reused(v *liveness.View) telegraf.Metric {
	r, ok := f.free.Get().(*reusable)
	if !ok {
		return &reusable{f.fill(f.empty.Copy(), v), &f.free}
	}
	for tags := r.TagList(); len(tags) > 0; tags = r.TagList() { // of the peer before, and of its table
		r.RemoveTag(tags[0].Key)
	}
	f.fill(r.Metric, v)
	return r
}
