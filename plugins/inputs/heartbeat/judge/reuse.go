package judge

import (
	"sync"

	"github.com/influxdata/telegraf"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// A reuser is an accumulator that, after writing a metric, calls its Reuse method, if it has one.
// Telegraf's own accumulator only passes metrics on, and does not know when they are written.
type reuser interface {
	// Reuses only marks the accumulator as a reuser.
	Reuses()
}

// A reusable is a metric of a peer that is reused for another peer after it is written.
type reusable struct {
	telegraf.Metric
	free *sync.Pool // the pool of metrics of the same template
}

// Reuse makes the metric available for another peer with the same template. The caller must not use
// the metric afterwards.
func (r *reusable) Reuse() { r.free.Put(r) }

// reusedMetric returns the metric of one peer, like peerMetric, for an accumulator that is a
// reuser.
func (f *peerTemplate) reusedMetric(v *liveness.View) telegraf.Metric {
	r, ok := f.free.Get().(*reusable)
	if !ok {
		return &reusable{f.fill(f.empty.Copy(), v), &f.free}
	}
	for tags := r.TagList(); len(tags) > 0; tags = r.TagList() { // remove the tags of the previous peer and of the plugin's table
		r.RemoveTag(tags[0].Key)
	}
	f.fill(r.Metric, v)
	return r
}
