package heartbeat

import (
	"testing"
	"time"

	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/serve"
)

// A panic costs the connection, or the datagram, that is being served: also
// one that happens while the tracker is locked.
func TestPanicCostsOneConnection(t *testing.T) {
	h := newPlugin(t)
	h.ServiceAddresses = []string{"tcp://127.0.0.1:0", "udp://127.0.0.1:0"}
	h.Rules = []Rule{{Host: "honest", MissedBeats: new(5)}}
	require.NoError(t, h.Init())
	h.valid.rules = append(h.valid.rules, nil) // a mistake of ours: whoever is not honest meets it
	require.NoError(t, h.Start(new(testutil.Accumulator)))
	t.Cleanup(h.Stop)

	honest := dial(t, h)
	require.Contains(t, honest.beat(`{"host":"honest","pid":0,"ack":true}`), `"ack"`)
	for i := range int64(3) {
		c := dial(t, h)
		c.send(frame(`{"host":"unlucky","pid":0,"ack":true}`))
		c.closed()
		require.Equal(t, i+1, rejected(h, serve.ReasonPanic))
		require.Contains(t, honest.beat(`{"host":"honest","pid":0,"ack":true}`), `"ack"`)
	}
	require.Eventually(t, func() bool { return status(h).Connections == 1 }, patience, time.Millisecond)

	datagrams := func() serve.Status { return h.server.Status()[1] }
	c := dialListener(t, datagrams().Address)
	for _, payload := range []string{`{"host":"unlucky","pid":0}`, `{"host":"honest","pid":0}`} {
		_, err := c.Write([]byte(payload))
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { return datagrams().Beats == 1 }, patience, time.Millisecond)
	require.EqualValues(t, 1, datagrams().Refused[serve.ReasonPanic])
}
