package heartbeat

import (
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// What the kernel says of the end of a connection is evidence; our own end of
// it is none.
func TestEndsOfConnections(t *testing.T) {
	for want, end := range map[string]func(c *client, l *listener){
		"suspect conn_closed": func(c *client, _ *listener) { c.Close() },
		"suspect conn_reset": func(c *client, _ *listener) {
			socket, ok := c.Conn.(*net.TCPConn)
			require.True(t, ok)
			require.NoError(t, socket.SetLinger(0))
			c.Close()
		},
		"alive beat": func(c *client, l *listener) { // eight that are refused in a row
			for range maxRefused {
				c.beat("{}")
			}
			c.closed()
			c.Close()
			require.Eventually(t, func() bool { return l.connections() == 0 }, patience, time.Millisecond)
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
				return h.intake.longConn()
			}, patience, 20*time.Millisecond)
			end(c, h.listeners[0])
			last := func() string {
				gather(t, h)
				events := eventsOf(acc, "web-1")
				return events[len(events)-1]
			}
			require.Eventually(t, func() bool { return last() == want }, patience, 10*time.Millisecond, last())
		})
	}
}

// longConn tells whether the only peer has a long connection.
func (in *intake) longConn() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.tracker.Record(0, time.Now()).Long
}

func TestErrorsTellHowAConnectionEnded(t *testing.T) {
	operation := func(err error) error { return &net.OpError{Op: "read", Err: os.NewSyscallError("read", err)} }
	for _, c := range []struct {
		err  error
		want liveness.End
	}{
		{io.EOF, liveness.Closed},
		{operation(syscall.ECONNRESET), liveness.Reset},
		{operation(syscall.EPIPE), liveness.Closed},
		{operation(syscall.ETIMEDOUT), liveness.GivenUp},
		{operation(syscall.EHOSTUNREACH), liveness.GivenUp},
	} {
		require.Equal(t, c.want, new(conn).endOf(c.err), c.err)
	}
	require.NotErrorIs(t, operation(syscall.ETIMEDOUT), os.ErrDeadlineExceeded, "it says Timeout too, but is not our deadline")
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
