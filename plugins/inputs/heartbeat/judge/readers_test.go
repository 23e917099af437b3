package judge

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

func TestReadersGetAllPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCourt(t, new(testutil.Accumulator), testutil.Logger{Quiet: true}, nil)
		defer c.end()
		const peers = 2*batchSize + 3
		for i := range peers {
			c.beat(0, wire.Beat{Host: fmt.Sprint("web-", i), Service: "nginx"})
		}
		c.beat(0, wire.Beat{Host: "web-0", Service: "nginx", Status: "dead"})
		names := make(map[string]bool)
		for _, d := range c.Peers() {
			names[d.ID.String()] = true
		}
		require.Len(t, names, peers)
		summary := c.Summary()
		require.Equal(t, map[string]int{"alive": peers - 1, "dead": 1, "suspect": 0, "unknown": 0, "left": 0}, summary.Peers)
		require.False(t, summary.Isolated)
	})
}

// So a beat never waits for a reader longer than one batch takes.
func TestReadersReleaseTheLockBetweenBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCourt(t, new(testutil.Accumulator), testutil.Logger{Quiet: true}, nil)
		defer c.end()
		for i := range batchSize + 1 {
			c.beat(0, wire.Beat{Host: fmt.Sprint("web-", i), Service: "nginx"})
		}
		all, next := c.appendDetails(nil, c.Count())
		require.Len(t, all, batchSize)
		require.Equal(t, 1, next)
	})
}
