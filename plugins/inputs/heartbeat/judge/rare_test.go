package judge

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// A peer that beats more rarely than 'dead_after' and announces no interval is reported dead
// between beats again and again. At the second time a warning says what to do, once.
func TestWarningAboutRareBeatsSaysWhatToDo(t *testing.T) {
	for interval, want := range map[int64]int{0: 1, 300_000: 0} {
		synctest.Test(t, func(t *testing.T) {
			log := &testutil.CaptureLogger{}
			in := newCourt(t, &testutil.Accumulator{}, log, nil)
			defer in.end()
			for i := range 6 {
				in.beat(0, wire.Beat{Host: "web-1", Service: "telegraf", Status: wire.StatusAlive, IntervalMS: interval})
				require.Len(t, log.Warnings(), min(want, i/2), "after %d deaths", i)
				time.Sleep(5 * time.Minute)
			}
			if want > 0 {
				require.Contains(t, log.Warnings()[0], "web-1/telegraf beats every 5m0s")
				require.Contains(t, log.Warnings()[0], "?every=5m0s")
			}
		})
	}
}
