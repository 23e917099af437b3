package judge

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// However slow an output is, no change of a peer is lost, and beats do not displace changes.
func TestNoChangeIsDropped(t *testing.T) {
	const changes, beats = 10 * queueLimit, 6 * queueLimit
	q := newQueue()
	metric := startedMetric(time.Unix(0, 0))
	for i := range changes {
		id := liveness.ID{Source: fmt.Sprint("host-", i%7)}
		q.pushChange(liveness.Transition{View: liveness.View{ID: id, PID: uint32(i)}}, true)
		if i < beats {
			q.pushBeat(liveness.ID{Source: fmt.Sprint("host-", i)}, metric)
		}
		if i%queueLimit == 0 {
			q.pushEvent(metric)
		}
	}
	next, metrics := uint32(0), 0
	for _, item := range q.take() {
		if item.change == nil {
			metrics++
			continue
		}
		require.Equal(t, next, item.change.PID, "changes stay in order")
		next++
	}
	require.EqualValues(t, changes, next)
	const events = changes / queueLimit
	require.Equal(t, 4*queueLimit+events, metrics)
	require.EqualValues(t, beats-4*queueLimit, q.coalescedTotal(), "only beats are counted as coalesced")
}
