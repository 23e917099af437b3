package api

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

func TestEveryReasonIsExplained(t *testing.T) {
	for n := range math.MaxUint8 + 1 {
		if reason := liveness.Reason(n); reason.Valid() {
			require.NotEqual(t, reason.String(), Why(reason.String()))
		}
	}
	require.Equal(t, "another", Why("another"))
}

func TestRuleIsExplained(t *testing.T) {
	require.Equal(t, "rule 3 of [[inputs.heartbeat.rule]]", Allows("rule 3"))
	require.Equal(t, "the option 'dead_after'", Allows("dead_after"))
	require.Contains(t, Allows("adaptive"), "how late")
	require.Contains(t, Allows("grace_ms"), "grace period")
	require.Contains(t, Allows("interval"), "'missed_beats'")
}
