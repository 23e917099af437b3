package heartbeat

import (
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// The kernel's report on the end of a connection is evidence; our own end of it is not.
func TestEndsOfConnections(t *testing.T) {
	for want, end := range map[string]func(c *client, h *Heartbeat){
		"suspect conn_closed": func(c *client, _ *Heartbeat) { c.Close() },
		"suspect conn_reset": func(c *client, _ *Heartbeat) {
			socket, ok := c.Conn.(*net.TCPConn)
			require.True(t, ok)
			require.NoError(t, socket.SetLinger(0))
			c.Close()
		},
		"alive beat": func(c *client, h *Heartbeat) { // eight that are refused in a row
			for range 8 {
				c.beat("{}")
			}
			c.closed()
			c.Close()
			require.Eventually(t, func() bool { return status(h).Connections == 0 }, patience, time.Millisecond)
		},
	} {
		t.Run(want, func(t *testing.T) {
			h := newPlugin(t)
			acc := start(t, h)
			c := dial(t, h)
			c.beat(`{"host":"web-1","service":"app","pid":7,"interval_ms":600000,"ack":true}`)
			// The second beat has to come 100 ms later to make the connection long.
			require.Eventually(t, func() bool {
				c.beat(`{"host":"web-1","service":"app","pid":7,"interval_ms":600000,"ack":true}`)
				return longConn(h)
			}, patience, 20*time.Millisecond)
			end(c, h)
			last := func() string {
				gather(t, h)
				events := eventsOf(acc, "web-1")
				return events[len(events)-1]
			}
			require.Eventually(t, func() bool { return last() == want }, patience, 10*time.Millisecond, last())
		})
	}
}

// longConn reports whether the only peer has a long connection.
func longConn(h *Heartbeat) bool {
	all, _ := h.judge.Records(nil, 1, true)
	return all.Records[0].Long
}

// When too many fall silent the plugin says that it is probably cut off, and
// again when it is not.
func TestIsolationIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newPlugin(t)
		acc, connect, stop := startInBubble(t, h)
		c := connect()
		beat := func() {
			for i := range 20 {
				c.send(frame(fmt.Sprintf(`{"host":"h%d","pid":0,"interval_ms":10000}`, i)))
			}
		}
		for range 5 {
			beat()
			time.Sleep(10 * time.Second)
		}
		isolated := func() any {
			gather(t, h)
			all := acc.GetTelegrafMetrics()
			for i := len(all) - 1; i >= 0; i-- {
				if value, ok := all[i].GetField("isolated"); ok {
					return value
				}
			}
			return nil
		}
		require.EqualValues(t, 0, isolated())
		time.Sleep(10 * time.Second)
		require.EqualValues(t, 1, isolated())
		down := metricsOf(acc, "heartbeat_down", "reason", "isolated")
		require.Len(t, down, 2*20, "each at its change and at the Gather")
		beat()
		time.Sleep(time.Second)
		require.EqualValues(t, 0, isolated())
		c.Close()
		stop()
		var told []string
		for _, m := range metricsOf(acc, "heartbeat_event", "reason", "isolated") {
			if _, ofPeer := m.GetTag("source"); !ofPeer {
				told = append(told, fmt.Sprintf("%s %.1f", m.Tags()["state"], m.Fields()["lasted_seconds"]))
			}
		}
		require.Equal(t, []string{"on 0.0", "off 3.7"}, told)
	})
}
