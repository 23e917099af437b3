package heartbeat

import (
	"crypto/tls"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/influxdata/telegraf/config"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/serve"
)

const greeting = "Welcome to the server!"

// greeted reads the greeting.
func (c *client) greeted() {
	c.t.Helper()
	got := make([]byte, len(greeting))
	_, err := io.ReadFull(c, got)
	require.NoError(c.t, err)
	require.Equal(c.t, greeting, string(got))
}

// A client that waits for the greeting gets it after a second, a sender of bare JSON at its
// first byte, and a sender of frames never. The timeout for a message does not change.
func TestWhoIsGreetedAndWhen(t *testing.T) {
	const bare = `{"host":"a","pid":0}`
	for _, c := range []struct {
		name    string
		timeout time.Duration
		play    func(c *client)
		beats   int64
		cut     time.Duration // after which it is cut; 0 if never
	}{
		{"waits and then sends JSON", 0, func(c *client) {
			begin := time.Now()
			c.greeted()
			require.Equal(c.t, time.Second, time.Since(begin))
			c.send(bare + bare)
		}, 2, 0},
		{"waits and then sends frames", 0, func(c *client) {
			c.greeted()
			require.Contains(c.t, c.beat(`{"host":"a","pid":0,"ack":true}`), `"ack"`)
		}, 1, 0},
		{"waits for ever", 0, func(c *client) { c.greeted() }, 0, 10 * time.Second},
		{"sends a brace", 0, func(c *client) {
			begin := time.Now()
			c.send(bare[:1])
			c.greeted()
			require.Zero(c.t, time.Since(begin))
			time.Sleep(9 * time.Second)
			c.send(bare[1:])
		}, 1, 0},
		{"sends an object at once", 0, func(c *client) {
			c.send(bare)
			c.greeted()
			time.Sleep(time.Hour)
			c.send(bare)
		}, 2, 0},
		{"sends half an object and no more", 0, func(c *client) {
			c.send(bare[:5])
			c.greeted()
		}, 0, 10 * time.Second},
		{"sends a frame at once", 0, func(c *client) {
			require.Contains(c.t, c.beat(`{"host":"a","pid":0,"ack":true}`), `"ack"`)
			time.Sleep(time.Hour)
			require.Contains(c.t, c.beat(`{"host":"a","pid":0,"ack":true}`), `"ack"`)
		}, 2, 0},
		{"sends a frame in pieces", 0, func(c *client) {
			f := frame(`{"host":"a","pid":0,"ack":true}`)
			c.send(f[:1])
			time.Sleep(9 * time.Second)
			c.send(f[1:])
			require.Contains(c.t, c.answer(), `"ack"`)
		}, 1, 0},
		{"sends a frame that is refused", 0, func(c *client) {
			require.Contains(c.t, c.beat(`{}`), `"error"`)
			time.Sleep(5 * time.Second)
			require.Contains(c.t, c.beat(`{"host":"a","pid":0,"ack":true}`), `"ack"`)
		}, 1, 0},
		{"sends a frame that is refused and no more", 0, func(c *client) {
			require.Contains(c.t, c.beat(`{}`), `"error"`)
		}, 0, 10 * time.Second},
		{"sends a piece of a frame and no more", 0, func(c *client) { c.send(frame(bare)[:3]) }, 0, 10 * time.Second},
		{"waits where there is no second to wait", time.Second, func(*client) {}, 0, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newPlugin(t)
				h.Welcome = greeting
				if c.timeout > 0 {
					h.ReadTimeout = config.Duration(c.timeout)
				}
				_, connect, stop := startInBubble(t, h)
				defer stop()
				begin := time.Now()
				client := connect()
				c.play(client)
				synctest.Wait()
				require.Equal(t, c.beats, status(h).Beats)
				if c.cut > 0 {
					client.closed()
					require.Equal(t, c.cut, time.Since(begin).Truncate(100*time.Millisecond)) // then it is looked once more
					return
				}
				time.Sleep(time.Hour)
				require.Equal(t, 1, status(h).Connections)
				client.Close()
			})
		})
	}
}

// The same over sockets: one that waits is served, and one that never reads the
// greeting and is killed is a connection that was closed.
func TestGreetingOverSockets(t *testing.T) {
	for _, w := range transportsOf(t, func(h *Heartbeat) { h.Welcome = greeting }) {
		if w.secure != nil {
			continue
		}
		t.Run(w.name, func(t *testing.T) {
			near, far := w.connect(t)
			w.pipes.conns <- far
			newClient(t, near).greeted()
			beats := status(w.plugin).Beats
			_, err := near.Write([]byte(streamBeat))
			require.NoError(t, err)
			waitUntil(t, func() bool { return status(w.plugin).Beats == beats+1 }, "a beat after the greeting")
			require.NoError(t, near.Close())
			require.Equal(t, serve.Closed, <-w.ended)

			near, far = w.connect(t)
			w.pipes.conns <- far
			_, err = near.Write([]byte(streamBeat + streamBeat))
			require.NoError(t, err)
			waitUntil(t, func() bool { return status(w.plugin).Beats == beats+3 }, "two beats before the end")
			require.NoError(t, near.Close())
			require.Equal(t, serve.Closed, <-w.ended, "the greeting is unread")
		})
	}
}

// There is no greeting over TLS.
func TestNoGreetingOverTLS(t *testing.T) {
	a := newAuthority(t)
	h := secureTransport(t, a, func(h *Heartbeat) { h.Welcome = greeting })
	c := mustDialSecure(t, h, a.trust())
	c.send(streamBeat)
	waitUntil(t, func() bool { return status(h).Beats == 1 }, "a beat")
	require.NoError(t, c.Conn.(*tls.Conn).CloseWrite())
	said, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Empty(t, said)
}
