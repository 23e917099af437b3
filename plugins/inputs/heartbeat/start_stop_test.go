package heartbeat

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/serve"
)

// Each stop meets a connection that has beaten and is inside the next frame,
// one that has said nothing, and a state to save.
func TestThousandStartsAndStopsLeaveNothing(t *testing.T) {
	const cycles = 1000
	all := carriers(t)
	log := &quietLog{}
	h := newPlugin(t)
	h.Log = log
	h.StateFile = filepath.Join(t.TempDir(), "heartbeat.state")
	h.ServiceAddresses = nil
	for _, c := range all {
		h.ServiceAddresses = append(h.ServiceAddresses, c.url(t))
		if c.set != nil {
			c.set(h)
		}
	}
	require.NoError(t, h.Init())
	begin := time.Now()
	var before footprint
	for cycle := range cycles {
		cycleOnce(t, h, &all[cycle%len(all)], cycle%len(all))
		if cycle == len(all) {
			before = footprintOf(t, h) // with what the runtime opens once
		}
	}
	t.Logf("%d times over %d transports in %s: %+v", cycles, len(all), time.Since(begin).Round(time.Millisecond), footprintOf(t, h))
	before.untilBack(t, h)
	require.Empty(t, log.Warnings(), "a stop is nobody's fault")
	require.Empty(t, log.Errors())
}

func cycleOnce(t *testing.T, h *Heartbeat, c *carrier, number int) {
	t.Helper()
	require.NoError(t, h.Start(new(testutil.Accumulator)))
	status := func() serve.Status { return h.server.Status()[number] }
	silent := dialListener(t, status().Address) // not even a TLS handshake
	defer silent.Close()
	beats := c.dial(t, status().Address)
	defer beats.Close()
	bytes := plainBeat
	if !c.datagrams {
		bytes = frame(plainBeat) + frame(plainBeat)[:7]
	}
	_, err := beats.Write([]byte(bytes))
	require.NoError(t, err)
	waitUntil(t, func() bool { return status().Beats > 0 }, "a beat over "+c.name)
	h.Stop()
}
