package execd

import (
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/metric"
)

// An accumulator receives the metrics of one plugin instance, adds the tags of its
// table and passes them to the output. It may be used concurrently and at any time;
// after close it accepts nothing more.
type accumulator struct {
	out    *output
	log    telegraf.Logger
	tags   []telegraf.Tag
	closed atomic.Bool
}

func newAccumulator(out *output, log telegraf.Logger, tags map[string]string) *accumulator {
	a := &accumulator{out: out, log: log}
	for key, value := range tags {
		a.tags = append(a.tags, telegraf.Tag{Key: key, Value: value})
	}
	slices.SortFunc(a.tags, func(x, y telegraf.Tag) int { return strings.Compare(x.Key, y.Key) })
	return a
}

// AddFields adds an untyped metric.
func (a *accumulator) AddFields(name string, fields map[string]any, tags map[string]string, t ...time.Time) {
	a.add(name, fields, tags, telegraf.Untyped, t)
}

// AddGauge adds a gauge.
func (a *accumulator) AddGauge(name string, fields map[string]any, tags map[string]string, t ...time.Time) {
	a.add(name, fields, tags, telegraf.Gauge, t)
}

// AddCounter adds a counter.
func (a *accumulator) AddCounter(name string, fields map[string]any, tags map[string]string, t ...time.Time) {
	a.add(name, fields, tags, telegraf.Counter, t)
}

// AddSummary adds a summary.
func (a *accumulator) AddSummary(name string, fields map[string]any, tags map[string]string, t ...time.Time) {
	a.add(name, fields, tags, telegraf.Summary, t)
}

// AddHistogram adds a histogram.
func (a *accumulator) AddHistogram(name string, fields map[string]any, tags map[string]string, t ...time.Time) {
	a.add(name, fields, tags, telegraf.Histogram, t)
}

func (a *accumulator) add(name string, fields map[string]any, tags map[string]string, kind telegraf.ValueType, t []time.Time) {
	if a.closed.Load() {
		return
	}
	stamp := time.Now()
	if len(t) > 0 {
		stamp = t[0]
	}
	a.AddMetric(metric.New(name, tags, fields, stamp, kind))
}

// AddMetric adds a metric, which then belongs to the accumulator. It waits if
// the output is behind.
func (a *accumulator) AddMetric(m telegraf.Metric) {
	if a.closed.Load() {
		m.Drop()
		return
	}
	for _, tag := range a.tags {
		if !m.HasTag(tag.Key) {
			m.AddTag(tag.Key, tag.Value)
		}
	}
	a.out.send(m)
}

// Unread returns how long Telegraf has left the waiting output unread; 0 if it is
// reading, or if that is unknown.
func (a *accumulator) Unread() time.Duration { return a.out.pipe.lasts(time.Now()) }

// Reuses marks an accumulator that calls the Reuse method of a metric, if it has one,
// once the metric is written.
func (*accumulator) Reuses() {}

// AddError logs an error of the plugin.
func (a *accumulator) AddError(err error) {
	if err != nil {
		a.log.Errorf("Error in plugin: %v", err)
	}
}

// SetPrecision does nothing: times are not rounded here, but by 'precision' of
// [[inputs.execd]].
func (*accumulator) SetPrecision(time.Duration) {}

// WithTracking returns an accumulator that reports when a metric is written. Whether
// Telegraf delivers the metric afterwards is unknown here.
func (a *accumulator) WithTracking(maxTracked int) telegraf.TrackingAccumulator {
	return &tracking{accumulator: a, delivered: make(chan telegraf.DeliveryInfo, maxTracked)}
}

// close makes a accept no more metrics.
func (a *accumulator) close() { a.closed.Store(true) }

type tracking struct {
	*accumulator
	delivered chan telegraf.DeliveryInfo
}

// AddTrackingMetric adds a metric whose delivery will be reported.
func (t *tracking) AddTrackingMetric(m telegraf.Metric) telegraf.TrackingID {
	tracked, id := metric.WithTracking(m, t.report)
	t.AddMetric(tracked)
	return id
}

// AddTrackingMetricGroup adds metrics whose delivery will be reported once.
func (t *tracking) AddTrackingMetricGroup(group []telegraf.Metric) telegraf.TrackingID {
	tracked, id := metric.WithGroupTracking(group, t.report)
	for _, m := range tracked {
		t.AddMetric(m)
	}
	return id
}

// Delivered returns the channel of the reports.
func (t *tracking) Delivered() <-chan telegraf.DeliveryInfo { return t.delivered }

// report never blocks: a plugin that tracks more metrics than announced loses
// reports, but the output continues.
func (t *tracking) report(info telegraf.DeliveryInfo) {
	select {
	case t.delivered <- info:
	default:
	}
}
