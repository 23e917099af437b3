package judge

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// dead_after_seconds is as exact as deaths are, and not more, so that it does not change with
// each beat.
func TestDeadAfterIsRoundedToTheTick(t *testing.T) {
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

func TestCollectorMetricsIncludeMates(t *testing.T) {
	alone := collectorMetrics(health{}, &Own{}, time.Now())[0].Fields()
	of := collectorMetrics(health{}, &Own{Mates: &Mates{Reachable: 2, Differ: 3, Speaks: true, Asked: 30, Spared: 4}}, time.Now())[0].Fields()
	for field, want := range map[string]int64{"mates": 2, "mates_differ": 3, "speaks": 1, "asked_total": 30, "spared_total": 4} {
		require.Equal(t, want, of[field], field)
		require.NotContains(t, alone, field)
	}
	require.Len(t, of, len(alone)+5)
}

// A peer that is down, or unknown for a reason on our side, has a heartbeat_down.
func TestWhichPeersAreDown(t *testing.T) {
	for _, c := range []struct {
		state  liveness.State
		reason liveness.Reason
		down   bool
	}{
		{liveness.Alive, liveness.ReasonBeat, false},
		{liveness.Suspect, liveness.ReasonSilence, true},
		{liveness.Dead, liveness.ReasonExited, true},
		{liveness.Left, liveness.ReasonLeaving, false},
		{liveness.Unknown, liveness.ReasonNone, false},
		{liveness.Unknown, liveness.ReasonRestored, false},
		{liveness.Unknown, liveness.ReasonIsolated, true},
		{liveness.Unknown, liveness.ReasonHost, true},
		{liveness.Unknown, liveness.ReasonMateLost, true},
		{liveness.Unknown, liveness.ReasonOffHours, false},
	} {
		require.Equal(t, c.down, isDown(&liveness.View{State: c.state, Reason: c.reason}), c.reason)
	}
}
