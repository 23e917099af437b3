package heartbeat

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/influxdata/telegraf/config"
	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/judge"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/serve"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// The article's client, byte for byte, in pieces and several in one write.
func TestArticlesClientWorksUnchanged(t *testing.T) {
	const beat = `{"ip": "10.0.0.5", "status": "alive", "pid": 4711}`
	for name, writes := range map[string][]string{
		"one by one": {beat, beat, beat},
		"coalesced":  {beat + beat + beat},
		"torn":       {beat[:1], beat[1:7], beat[7:] + beat[:20], beat[20:], beat[:len(beat)-1], "}"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newPlugin(t)
			acc := start(t, h)
			c := dial(t, h)
			for _, bytes := range writes {
				c.send(bytes)
			}
			require.Eventually(t, func() bool { return status(h).Beats == 3 }, patience, time.Millisecond)
			gather(t, h)
			beats := metricsOf(acc, "heartbeat", "ip", "10.0.0.5")
			require.Len(t, beats, 3)
			require.Equal(t, map[string]string{"ip": "10.0.0.5", "pid": "4711", "source": "10.0.0.5"}, beats[0].Tags())
			require.Equal(t, []string{"alive beat"}, eventsOf(acc, "10.0.0.5"))
			peers := metricsOf(acc, "heartbeat_peer", "source", "10.0.0.5")
			require.Equal(t, beats[0].Tags(), peers[0].Tags(), "a peer without a name is known by ip and pid")
		})
	}
}

func TestBareStreamGetsTheWelcomeAndNothingElse(t *testing.T) {
	h := newPlugin(t)
	h.Welcome = "Welcome to the server!"
	start(t, h)
	c := dial(t, h)
	c.send(`{"pid":1,"ack":true}{"pid":"wrong"}`)
	got := make([]byte, len(h.Welcome))
	_, err := c.Read(got)
	require.NoError(t, err)
	require.Equal(t, h.Welcome, string(got))
	c.send(strings.Repeat(`{"pid":"wrong"}`, inARow))
	c.closed()

	framed := dial(t, h)
	require.NotContains(t, framed.beat(`{"pid":1,"ack":true}`), "Welcome")
}

func TestAcknowledgementTellsTheVerdictsRule(t *testing.T) {
	h := newPlugin(t)
	start(t, h)
	c := dial(t, h)
	for beat, want := range map[string]string{
		`{"host":"WEB-1","service":"nginx","pid":5,"seq":7,"run":"a","interval_ms":10000,"ack":true}`://
		`"dead_after_ms":35000,"rule":"adaptive","id":"web-1/nginx"`,
		`{"ip":"10.0.0.5","pid":5,"ack":true}`://
		`"dead_after_ms":210000,"rule":"dead_after","id":"10.0.0.5/5"`,
		`{"host":"web-1","pid":0,"interval_ms":86400000,"check":true}`://
		`"dead_after_ms":90000000,"rule":"interval","id":"web-1/host"`,
	} {
		require.Contains(t, c.beat(beat), want)
	}
	// A repeated beat is acknowledged, or its sender would repeat it for ever.
	again := `{"host":"web-1","service":"nginx","pid":5,"seq":7,"run":"a","interval_ms":10000,"ack":true}`
	require.Contains(t, c.beat(again), `{"ack":7,"now_ms":`)
}

func TestCheckRecordsNothing(t *testing.T) {
	h := newPlugin(t)
	acc := start(t, h)
	c := dial(t, h)
	require.Contains(t, c.beat(`{"host":"web-1","pid":0,"check":true,"ack":true}`), `"id":"web-1/host"`)
	gather(t, h)
	require.Empty(t, metricsOf(acc, "heartbeat_peer", "source", "web-1"))
	require.Empty(t, metricsOf(acc, "heartbeat", "source", "web-1"))
}

// Every payload that the codec refuses is answered and counted, and the
// honest sender beside it notices nothing.
func TestBadPayloadsCostNobodyElse(t *testing.T) {
	text, err := os.ReadFile("wire/testdata/beats.json")
	require.NoError(t, err)
	var vectors []struct {
		Name, Payload string
		Refuse        wire.Reason
	}
	require.NoError(t, json.Unmarshal(text, &vectors))

	log := &testutil.CaptureLogger{}
	h := newPlugin(t)
	h.Log = log
	start(t, h)
	honest := dial(t, h)
	want := make(map[wire.Reason]int64)
	for i, v := range vectors {
		if v.Refuse == "" || v.Payload == "" {
			continue
		}
		bad := dial(t, h)
		require.Contains(t, bad.beat(v.Payload), `{"error":"`, v.Name)
		require.Contains(t, bad.beat(`{"pid":1,"ack":true}`), `{"ack":0`, "a bad payload costs the payload only: %s", v.Name)
		want[v.Refuse]++
		require.Contains(t, honest.beat(fmt.Sprintf(`{"host":"honest","pid":1,"run":"r","seq":%d,"ack":true}`, i+1)), `{"ack":`)
	}
	require.Greater(t, len(want), 5)
	for reason, n := range want {
		require.Equal(t, n, rejected(h, reason), reason)
	}
	require.LessOrEqual(t, len(log.Warnings()), len(want), "each reason is logged once a minute for an address")
	for _, line := range log.Warnings() {
		require.NotContains(t, line, "\n")
		require.Less(t, len(line), 500)
	}
}

func TestBadStreamsAreEndedByName(t *testing.T) {
	h := newPlugin(t)
	start(t, h)
	for bytes, reason := range map[string]wire.Reason{
		"\x16\x03\x01\x02\x00":                        wire.ReasonTLS,
		"GET / HTTP/1.1\r\n\r\n":                      wire.ReasonHTTP,
		"SSH-2.0-x\r\n":                               wire.ReasonProtocol,
		"\x00\x00\x00\x00":                            wire.ReasonEmptyFrame,
		"\x00\x01\x00\x00":                            wire.ReasonOversize,
		`{"pid":1}` + ",":                             wire.ReasonProtocol,
		`{"pid":1,"x":"` + strings.Repeat("a", 17000): wire.ReasonOversize,
	} {
		before := rejected(h, reason)
		c := dial(t, h)
		c.send(bytes)
		for {
			if _, err := c.Read(make([]byte, 512)); err != nil {
				break // after the answer, if there is one
			}
		}
		require.Equal(t, before+1, rejected(h, reason), "%.20q", bytes)
	}
}

func TestEightRefusedInARowCostTheConnection(t *testing.T) {
	h := newPlugin(t)
	start(t, h)
	c := dial(t, h)
	for range 3 {
		for range inARow - 1 {
			require.Contains(t, c.beat(`{}`), `"error"`)
		}
		require.Contains(t, c.beat(`{"pid":1,"ack":true}`), `"ack"`, "one good payload and it starts over")
	}
	for range inARow {
		require.Contains(t, c.beat(`{}`), `"error"`)
	}
	c.closed()
}

func TestPeersBeyondTheLimitAreRefusedNobodyIsEvicted(t *testing.T) {
	h := newPlugin(t)
	h.MaxPeers = 1
	start(t, h)
	c := dial(t, h)
	require.Contains(t, c.beat(`{"host":"a","pid":0,"ack":true}`), `"ack"`)
	for range 2 * inARow {
		require.Contains(t, c.beat(`{"host":"b","pid":0,"ack":true}`), "'max_peers'")
	}
	require.Contains(t, c.beat(`{"host":"a","pid":0,"ack":true}`), `"ack"`)
	require.EqualValues(t, 2*inARow, rejected(h, judge.ReasonMaxPeers))
}

func TestConnectionsBeyondTheLimitAreClosed(t *testing.T) {
	h := newPlugin(t)
	h.MaxConnections = 2
	start(t, h)
	first := dial(t, h)
	first.beat(`{"pid":1,"ack":true}`)
	second := dial(t, h)
	second.beat(`{"pid":2,"ack":true}`)
	dial(t, h).closed()
	require.EqualValues(t, 1, rejected(h, serve.ReasonMaxConnections))
	first.Close()
	require.Eventually(t, func() bool { return status(h).Connections == 1 }, patience, time.Millisecond)
	dial(t, h).beat(`{"pid":3,"ack":true}`)
}

// An announced length alone allocates no memory.
func TestThousandAnnouncementsOfFourGiBCostNoMemory(t *testing.T) {
	h := newPlugin(t)
	h.MaxFrameSize = config.Size(wire.MaxFrame)
	start(t, h)
	var before, after runtime.MemStats
	runtime.GC() //nolint:revive // memory is what is measured
	runtime.ReadMemStats(&before)
	for i := range 1000 {
		c := dial(t, h)
		c.send([]string{"\xff\xff\xff\xff", "\x00\x10\x00\x00"}[i%2]) // refused, or as much as allowed and then nothing
	}
	require.Eventually(t, func() bool { return rejected(h, wire.ReasonProtocol) == 500 }, patience, time.Millisecond)
	runtime.GC() //nolint:revive // memory is what is measured
	runtime.ReadMemStats(&after)
	require.Less(t, int64(after.HeapAlloc)-int64(before.HeapAlloc), int64(16<<20))
}

// A message must be complete within read_timeout of its first byte, and the first accepted one
// within read_timeout of the connection; after that there is no limit between messages.
func TestFrameTimeout(t *testing.T) {
	beat := frame(`{"host":"a","pid":0}`)
	for _, c := range []struct {
		name string
		play func(c *client)
		cut  time.Duration // after which it is cut; 0 if never
	}{
		{"nothing is sent", func(*client) {}, 10 * time.Second},
		{"one byte a second", func(c *client) {
			for i := range 9 {
				time.Sleep(time.Second)
				c.send(beat[i : i+1])
			}
		}, 10 * time.Second},
		{"a beat, then silence", func(c *client) { c.send(beat) }, 0},
		{"a bare beat and a newline, then silence", func(c *client) { c.send(`{"host":"a","pid":0}` + "\n") }, 0},
		{"a refused beat, then silence", func(c *client) { c.send(frame(`{}`)); c.answer() }, 10 * time.Second},
		{"a refused bare beat, then silence", func(c *client) { c.send(`{}`) }, 10 * time.Second},
		{"a refused beat each three seconds", func(c *client) {
			for range 3 {
				time.Sleep(3 * time.Second)
				c.beat(`{}`)
			}
		}, 10 * time.Second},
		{"a refused beat each three seconds, then an accepted one", func(c *client) {
			for range 3 {
				time.Sleep(3 * time.Second)
				c.beat(`{}`)
			}
			c.send(beat)
		}, 0},
		{"a refused beat and a part of the next", func(c *client) {
			time.Sleep(9 * time.Second)
			c.beat(`{}`)
			c.send(beat[:7])
		}, 10 * time.Second},
		{"a beat that is only checked, then silence", func(c *client) { c.beat(`{"host":"a","pid":0,"check":true}`) }, 0},
		{"a beat, then refused ones, then silence", func(c *client) {
			c.send(beat)
			c.beat(`{}`)
			c.beat(`{}`)
		}, 0},
		{"a beat, a pause, half a beat", func(c *client) {
			c.send(beat)
			time.Sleep(time.Hour)
			c.send(beat[:7])
		}, time.Hour + 10*time.Second},
		{"a beat and half of the next at once", func(c *client) { c.send(beat + beat[:7]) }, 10 * time.Second},
		{"slow, but in time", func(c *client) {
			for i := range 3 {
				c.send(beat[:7])
				time.Sleep(9 * time.Second)
				c.send(beat[7:])
				time.Sleep(time.Duration(i) * time.Hour)
			}
		}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newPlugin(t)
				_, connect, stop := startInBubble(t, h)
				defer stop()
				begin := time.Now()
				client := connect()
				c.play(client)
				if c.cut == 0 {
					time.Sleep(24 * time.Hour)
					require.Zero(t, rejected(h, serve.ReasonReadTimeout))
					require.Equal(t, 1, status(h).Connections)
					client.Close()
					return
				}
				require.NoError(t, client.SetReadDeadline(begin.Add(24*time.Hour)))
				client.closed()
				require.Equal(t, c.cut, time.Since(begin).Truncate(100*time.Millisecond)) // then it is looked once more
				require.EqualValues(t, 1, rejected(h, serve.ReasonReadTimeout))
			})
		})
	}
}

// A client that does not read its answers is disconnected, without an effect on others.
func TestSenderThatReadsNoAnswersIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newPlugin(t)
		_, connect, stop := startInBubble(t, h)
		defer stop()
		begin := time.Now()
		deaf, other := connect(), connect()
		deaf.send(frame(`{"host":"deaf","pid":0,"ack":true}`))
		require.Contains(t, other.beat(`{"host":"other","pid":0,"ack":true}`), `"ack"`)
		require.Zero(t, time.Since(begin))
		synctest.Wait()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Equal(t, 1, status(h).Connections)
		other.Close()
	})
}

// A connection that comes before the plugin serves waits, and is not lost.
func TestAcceptOutlivesErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newPlugin(t)
		pipes := newPipes()
		begin := time.Now()
		startFrom(t, h, &failingListener{pipeListener: pipes, failures: 20}, new(testutil.Accumulator), nil)
		near, far := net.Pipe()
		pipes.conns <- far
		require.LessOrEqual(t, time.Since(begin), 14*time.Second, "pauses from 5 ms to 1 s")
		require.EqualValues(t, 20, rejected(h, serve.ReasonAccept))
		near.Close()
		h.Stop()
	})
}

type failingListener struct {
	*pipeListener
	failures int
}

func (l *failingListener) Accept() (net.Conn, error) {
	if l.failures > 0 {
		l.failures--
		return nil, os.NewSyscallError("accept", errors.New("too many open files"))
	}
	return l.pipeListener.Accept()
}

// In steady state a beat takes no memory, from its bytes to its verdict.
func TestRepeatedBeatTakesNoMemory(t *testing.T) {
	h := newPlugin(t)
	h.EmitBeats = "none"
	require.NoError(t, h.Init())
	options, err := h.prepare(time.Now())
	require.NoError(t, err)
	from := serve.Origin{Conn: 1}
	payload := []byte(`{"host":"web-1","service":"shop","pid":4711,"boot":"b","run":"r","interval_ms":10000}`)
	allocs := testing.AllocsPerRun(100, func() {
		if reply := options.Receive(payload, &from); reply.Refusal != nil {
			t.Fatal(reply.Refusal.Text)
		}
	})
	require.Zero(t, allocs)
}
