//go:build unix

package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// A client speaks to a collector byte by byte.
type client struct {
	net.Conn
	t       testing.TB
	answers *wire.Reader
}

func dial(t testing.TB, address string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(testkit.Patience)))
	return &client{Conn: conn, t: t, answers: wire.NewReader(conn, wire.MaxAnswer)}
}

// send writes text, split in the given places.
func (c *client) send(text string, splits ...int) {
	c.t.Helper()
	from := 0
	for _, to := range append(splits, len(text)) {
		_, err := c.Write([]byte(text[from:to]))
		require.NoError(c.t, err)
		from = to
	}
}

// beat sends a framed beat and returns once it is acknowledged.
func (c *client) beat(beat map[string]any) wire.Answer {
	c.t.Helper()
	beat["ack"] = true
	payload, err := json.Marshal(beat)
	require.NoError(c.t, err)
	c.send(string(wire.AppendFrame(nil, payload)))
	payload, err = c.answers.Next()
	require.NoError(c.t, err)
	answer, err := wire.DecodeAnswer(payload)
	require.NoError(c.t, err)
	require.Empty(c.t, answer.Error)
	return answer
}

// burst lets many peers beat at once and returns when the last is acknowledged.
func (c *client) burst(peers int) {
	c.t.Helper()
	var frames []byte
	for i := range peers - 1 {
		payload := fmt.Sprintf(`{"host": "burst-%03d", "service": "shop", "pid": 1}`, i)
		frames = wire.AppendFrame(frames, []byte(payload))
	}
	c.send(string(frames))
	c.beat(map[string]any{"host": "burst-last", "service": "shop", "pid": 1})
}

// closed waits until the collector has closed the connection.
func (c *client) closed() {
	c.t.Helper()
	_, err := c.Read(make([]byte, 1))
	require.Error(c.t, err)
	require.NotErrorIs(c.t, err, os.ErrDeadlineExceeded, "the connection is still open")
}

// startSender starts a heartbeat-sender for a service that is itself.
func startSender(t testing.TB, address, host, service string) *testkit.Process {
	t.Helper()
	return testkit.StartProgram(t, "heartbeat-sender", "run", "-config", os.DevNull, "-server", "tcp://"+address,
		"-interval", "1s", "-host", host, "-service", service)
}

func beatOf(host string, seq int64, interval time.Duration) *wire.Beat {
	return &wire.Beat{
		Host: host, Service: "shop", PID: 1, Run: "r", Seq: seq, IntervalMS: interval.Milliseconds(), Ack: true,
	}
}

func frameOf(beat *wire.Beat) []byte {
	payload, err := wire.AppendBeat(nil, beat)
	if err != nil {
		panic(err) // a mistake of this test
	}
	return wire.AppendFrame(nil, payload)
}
