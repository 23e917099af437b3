package judge

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// What follows on our last word is not queued while the output hangs: it would come out after a
// mate has reported it.
func TestNothingIsQueuedLateWhileTheOutputHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := New(Options{Rules: liveness.Options{Mates: true}, Log: testutil.Logger{Quiet: true}}, time.Now())
		told := func() (states []liveness.State) {
			for _, item := range j.queue.items {
				if item.change != nil && item.event {
					states = append(states, item.change.State)
				}
			}
			return states
		}
		change := func(state liveness.State, id int64) {
			tr := liveness.Transition{View: liveness.View{ID: liveness.ID{Source: "web-1"}, State: state}, Event: liveness.Changed, EventID: id}
			j.enqueue([]liveness.Transition{tr})
		}
		j.StartReporting(false)
		change(liveness.Dead, 1)
		j.StopReporting()
		change(liveness.Alive, 2)
		j.flow.begun.Add(1)
		time.Sleep(20 * time.Second)
		j.tick()
		require.Equal(t, []liveness.State{liveness.Dead}, told())
		j.flow.ended.Add(1)
		j.tick()
		require.Equal(t, []liveness.State{liveness.Dead, liveness.Alive}, told())
	})
}
