package judge

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// The silence that is allowed is told as exactly as deaths are, so that it does not
// change with each beat.
func TestDeadAfterIsToldToTheTick(t *testing.T) {
	v := &liveness.View{ID: liveness.ID{Source: "web-1", Service: "shop"}, DeadAfter: 3506656038}
	require.InDelta(t, 3.5, peerMetric(v).Fields()["dead_after_seconds"], 0)
	v.DeadAfter = 41460334304
	require.InDelta(t, 41.5, peerMetric(v).Fields()["dead_after_seconds"], 0)
}

func TestEventsOfTheCollectorHaveIDsOfTheirOwn(t *testing.T) {
	now := time.Unix(1795953364, 808284868)
	started := startedMetric(now).Fields()["id"]
	require.Equal(t, started, startedMetric(now).Fields()["id"])
	require.NotEqual(t, started, startedMetric(now.Add(time.Nanosecond)).Fields()["id"])
	require.NotEqual(t, started, isolatedMetric(true, 0, now).Fields()["id"])
}
