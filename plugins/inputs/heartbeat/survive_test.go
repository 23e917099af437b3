package heartbeat

import (
	"testing"
	"time"

	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"
)

// A panic costs the connection, or the datagram, that is being served: also
// one that happens while the tracker is locked.
func TestPanicCostsOneConnection(t *testing.T) {
	h := newPlugin(t)
	h.ServiceAddresses = []string{"tcp://127.0.0.1:0", "udp://127.0.0.1:0"}
	h.Rules = []Rule{{Host: "honest", MissedBeats: new(5)}}
	require.NoError(t, h.Init())
	h.compiled = append(h.compiled, nil) // a mistake of ours: whoever is not honest meets it
	require.NoError(t, h.Start(new(testutil.Accumulator)))
	t.Cleanup(h.Stop)

	honest := dial(t, h)
	require.Contains(t, honest.beat(`{"host":"honest","pid":0,"ack":true}`), `"ack"`)
	for i := range int64(3) {
		c := dial(t, h)
		c.send(frame(`{"host":"unlucky","pid":0,"ack":true}`))
		c.closed()
		require.Equal(t, i+1, rejected(h, reasonPanic))
		require.Contains(t, honest.beat(`{"host":"honest","pid":0,"ack":true}`), `"ack"`)
	}
	require.Eventually(t, func() bool { return h.listeners[0].connections() == 1 }, patience, time.Millisecond)

	datagrams := h.listeners[1]
	c := dialListener(t, datagrams)
	for _, payload := range []string{`{"host":"unlucky","pid":0}`, `{"host":"honest","pid":0}`} {
		_, err := c.Write([]byte(payload))
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { return datagrams.beats.Load() == 1 }, patience, time.Millisecond)
	require.EqualValues(t, 1, datagrams.refused[reasonPanic].Load())
}
