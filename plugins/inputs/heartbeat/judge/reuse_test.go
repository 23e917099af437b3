package judge

import (
	"testing"
	"time"

	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/metric"
	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// A reusing copies metrics before they are reused, like the runner of execd, which first adds
// the tags of the plugin's table.
type reusing struct {
	testutil.Accumulator
	seen []telegraf.Metric
}

func (*reusing) Reuses() {}

func (r *reusing) AddMetric(m telegraf.Metric) {
	r.seen = append(r.seen, m.Copy())
	m.AddTag("rack", "7")
	m.AddTag("site", "of the table")
	m.(interface{ Reuse() }).Reuse()
}

// A reused metric equals a new one, including the order of tags and fields, and keeps nothing of
// the previous peer.
func TestReusedMetricIsLikeANewOne(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_000)
	views := []liveness.View{
		{ID: liveness.ID{Source: "web-1", Service: "shop"}, Labels: []liveness.Label{{Key: "site", Value: "a"}, {Key: "env", Value: "b"}}},
		{ID: liveness.ID{Source: "web-2", Service: "shop"}, State: liveness.Alive, PID: 4711, Age: 1234 * time.Millisecond},
		{ID: liveness.ID{Source: "10.0.0.5", PID: 4711}, DeadAfter: 35 * time.Second, Health: liveness.HealthWarning},
		{ID: liveness.ID{Source: "web-3", Service: "host"}, Health: liveness.HealthOK, Counters: liveness.Counters{Beats: 1 << 60}},
		{ID: liveness.ID{Source: "web-4", PID: 1}, Flapping: true, DeadFor: time.Hour},
	}
	acc := &reusing{}
	to := &meter{acc, new(flow), true}
	for i := range 50 {
		v := &views[i%len(views)]
		v.At, v.Since, v.Reason = now.Add(time.Duration(i)*time.Second), now, liveness.ReasonBeat
		addPeer(to, v)
		want, got := peerMetric(v), acc.seen[i]
		require.Equal(t, want.TagList(), got.TagList())
		require.Equal(t, want.FieldList(), got.FieldList())
		require.Equal(t, want.Name(), got.Name())
		require.Equal(t, want.Type(), got.Type())
		require.Equal(t, want.Time(), got.Time())
	}
}

// Field values have the types that AddField produces: Telegraf does not write others.
func TestFieldsOfAPeerAreOfTelegrafsTypes(t *testing.T) {
	for _, v := range []*liveness.View{{}, {Health: liveness.HealthOK}} {
		got := peerMetric(v)
		want := metric.New(got.Name(), nil, nil, got.Time(), got.Type())
		for _, field := range got.FieldList() {
			want.AddField(field.Key, field.Value)
		}
		require.Equal(t, want.FieldList(), got.FieldList())
		_, told := got.GetField("status_code")
		require.Equal(t, v.Health == liveness.HealthOK, told)
	}
}
