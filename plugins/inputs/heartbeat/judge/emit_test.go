package judge

import (
	"testing"
	"time"

	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"
)

// A blocked output is detected. A slow one does not count as blocked.
func TestBlockedOutputIsDetected(t *testing.T) {
	var f flow
	now := time.Now()
	require.True(t, f.accepts(now))
	require.True(t, f.accepts(now.Add(time.Hour)), "nothing is to be handed over")
	acc := &meter{new(testutil.Accumulator), &f, false}
	acc.AddMetric(startedMetric(now))
	require.EqualValues(t, 1, f.ended.Load())
	require.True(t, f.idle())
	f.begun.Add(1) // and does not return
	require.False(t, f.idle())
	require.True(t, f.accepts(now.Add(time.Hour)))
	require.True(t, f.accepts(now.Add(time.Hour+blockedAfter-time.Millisecond)))
	require.False(t, f.accepts(now.Add(time.Hour+blockedAfter)))
	f.ended.Add(1)
	require.True(t, f.accepts(now.Add(2*time.Hour)))
	require.True(t, f.idle())
	f.reader = pipe(readPause)
	require.False(t, f.idle(), "nobody reads")
}

// A pipe is a reader that has read nothing for the given time.
type pipe time.Duration

func (p pipe) Unread() time.Duration { return time.Duration(p) }
