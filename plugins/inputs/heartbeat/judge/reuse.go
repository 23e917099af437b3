package judge

import (
	"sync"

	"github.com/influxdata/telegraf"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// A reuser is an accumulator that calls the Reuse method of a metric, if it has one, after
// writing it. Telegraf's own accumulator passes metrics on and cannot know when they are
// written.
type reuser interface {
	// Reuses only marks the accumulator as a reuser.
	Reuses()
}

// A reusable is a metric of a peer that is reused for another peer after it is written.
type reusable struct {
	telegraf.Metric
	free *sync.Pool // the pool of metrics of its form
}

// Reuse makes the metric available for the next peer of the same form. The caller must not use
// it afterwards.
func (r *reusable) Reuse() { r.free.Put(r) }

// reused is peerMetric for a reuser.
func (f *peerTemplate) reused(v *liveness.View) telegraf.Metric {
	r, ok := f.free.Get().(*reusable)
	if !ok {
		return &reusable{f.fill(f.empty.Copy(), v), &f.free}
	}
	for tags := r.TagList(); len(tags) > 0; tags = r.TagList() { // of the previous peer, and of its plugin table
		r.RemoveTag(tags[0].Key)
	}
	f.fill(r.Metric, v)
	return r
}
