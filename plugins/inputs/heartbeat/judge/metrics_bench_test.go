package judge

import (
	"testing"
	"time"

	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/metric"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// BenchmarkPeerMetric builds the metric that a Gather emits for each peer.
func BenchmarkPeerMetric(b *testing.B) {
	now := time.Now()
	v := &liveness.View{
		ID: liveness.ID{Source: "web-1", Service: "shop"}, At: now, Since: now, State: liveness.Alive, Reason: liveness.ReasonBeat,
		PID: 4711, Age: 1234 * time.Millisecond, DeadAfter: 35 * time.Second,
	}
	b.ReportAllocs()
	for b.Loop() {
		peerMetric(v)
	}
}

// BenchmarkPeerMetricFromMap builds the same metric in the way inputs usually do.
func BenchmarkPeerMetricFromMap(b *testing.B) {
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		metric.New("heartbeat_peer", map[string]string{"source": "web-1", "service": "shop"}, map[string]any{
			"alive": int64(1), "dead": int64(0), "state_code": int64(1), "reason_code": int64(1),
			"since_timestamp_seconds": timestamp(now), "age_seconds": 1.234, "dead_after_seconds": 35.0,
			"flapping": int64(0), "last_pid": int64(4711), "beats_total": int64(0), "lost_total": int64(0), "restarts_total": int64(0),
			"deaths_total": int64(0), "dead_seconds_total": 0.0, "mistakes_total": int64(0), "conflicts_total": int64(0),
		}, now, telegraf.Gauge)
	}
}
