package heartbeat

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/influxdata/telegraf/config"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/serve"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/verify"
)

// A host without a key keeps no connection longer than read_timeout, and an honest signer is
// always served.
func TestHostWithoutAKeyHoldsNothing(t *testing.T) {
	h := transport(t, "tcp://127.0.0.1:0", func(h *Heartbeat) {
		requiring(h)
		h.MaxConnections = 80
	})
	honest := dial(t, h)
	require.Empty(t, honest.decoded(signedBy("web-1", secretOne, signedBeat("web-1", "a", 1, ""))).Error)
	for range 10 {
		c := dial(t, h)
		require.Contains(t, c.beat(`{"host":"web-2","pid":0}`), "is not signed")
	}
	for range 5 {
		dial(t, h).closed()
	}
	require.EqualValues(t, 5, rejected(h, serve.ReasonUnproven))
	require.EqualValues(t, 11, status(h).Connections)
	require.Empty(t, honest.decoded(signedBy("web-1", secretOne, signedBeat("web-1", "a", 2, ""))).Error)
}

// A connection is unproven until it has ended, whatever ends it.
func TestEveryEndIsCounted(t *testing.T) {
	h := transport(t, "tcp://127.0.0.1:0", func(h *Heartbeat) { h.MaxConnections = 40 }) // 5 of them unproven
	for i := range 50 {
		c := dial(t, h)
		switch i % 5 {
		case 1:
			c.beat(`{}`)
		case 2:
			c.beat(fmt.Sprintf(`{"host":"web-%d","pid":0,"ack":true}`, i))
		case 3:
			c.send("\x16\x03\x01")
			c.closed()
		case 4:
			c.beat(`{"host":"web-1","pid":0,"check":true}`)
		}
		c.Close()
	}
	require.Eventually(t, func() bool { return status(h).Connections == 0 }, patience, time.Millisecond)
	require.Zero(t, rejected(h, serve.ReasonUnproven))
}

// Refusals that are no fault of the sender cost it no connection, but do not keep
// one open: not even if there is always another message to read.
func TestFloodOfRefusalsIsNoProof(t *testing.T) {
	h := transport(t, "tcp://127.0.0.1:0", func(h *Heartbeat) {
		requiring(h)
		h.ReadTimeout = config.Duration(300 * time.Millisecond)
	})
	c := dial(t, h)
	flood := strings.Repeat(frame(signedBy("web-1", secretOne, signedBeat("web-1", "a", 1, to("hb-2")))), 100)
	over := make(chan error)
	go func() { // ends when the connection does
		var err error
		for err == nil {
			_, err = c.Write([]byte(flood))
		}
		over <- err
	}()
	io.Copy(io.Discard, c) //nolint:errcheck // ends when the connection does
	require.NotErrorIs(t, <-over, os.ErrDeadlineExceeded, "it was never closed")
	require.EqualValues(t, 1, rejected(h, serve.ReasonReadTimeout))
	require.Zero(t, rejected(h, serve.ReasonUnread))
	require.Greater(t, rejected(h, verify.ReasonRecipient), int64(8))
}
