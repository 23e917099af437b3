package heartbeat

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/influxdata/telegraf/config"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// Nobody takes the place of others by connections of which nothing is accepted.
// On unix sockets each user is somebody else, if the kernel says who it is.
func TestUnprovenConnectionsOfOneAddress(t *testing.T) {
	for _, c := range []struct {
		limit     int
		from      []string // come one after the other, again and again
		users     int      // likewise; 0 if it is not known
		most      int      // so many of them get in
		withProof int      // likewise, if each proves itself before the next comes
	}{
		{limit: 80, from: []string{"192.0.2.1"}, most: 10, withProof: 80},
		{limit: 80, from: []string{"192.0.2.1", "192.0.2.2"}, most: 20, withProof: 80},
		{limit: 80, from: []string{"2001:db8::1", "2001:db8::2", "2001:db8::3:0:0:1"}, most: 10, withProof: 80},
		{limit: 80, from: []string{"2001:db8::1", "2001:db8:0:1::1"}, most: 20, withProof: 80},
		{limit: 80, from: []string{""}, most: 10, withProof: 80}, // a unix socket
		{limit: 80, from: []string{""}, users: 1, most: 10, withProof: 80},
		{limit: 80, from: []string{""}, users: 3, most: 30, withProof: 80},
		{limit: 7, from: []string{"192.0.2.1"}, most: 1, withProof: 7},
		{limit: 1, from: []string{"192.0.2.1"}, most: 1, withProof: 1},
	} {
		for _, proves := range []bool{false, true} {
			d := newDoors(&Heartbeat{MaxConnections: c.limit})
			in, want, reasons := 0, c.most, make(map[wire.Reason]int)
			if proves {
				want = c.withProof
			}
			for i := range 3 * c.limit {
				remote, user := addr(c.from[i%len(c.from)]), uint32(0)
				if c.users > 0 {
					user = 61001 + uint32(i%c.users)
				}
				reason, text := d.enter(remote, user)
				if reason != "" {
					reasons[reason]++
					require.Contains(t, text, "'max_connections'")
					continue
				}
				in++
				if proves {
					d.prove(remote, user)
				}
			}
			require.Equal(t, want, in, "%+v, proves %v", c, proves)
			require.Equal(t, 3*c.limit-want, reasons[reasonUnproven]+reasons[reasonMaxConnections])
			require.Equal(t, proves || c.most == c.limit, reasons[reasonMaxConnections] > 0)
		}
	}
}

// What has left, or has proved itself, counts no more.
func TestUnprovenConnectionsAreCountedRight(t *testing.T) {
	d := newDoors(&Heartbeat{MaxConnections: 8})
	remote := netip.MustParseAddr("192.0.2.1")
	for range 100 {
		reason, _ := d.enter(remote, 0)
		require.Empty(t, reason)
		reason, text := d.enter(remote, 0)
		require.Equal(t, reasonUnproven, reason)
		require.Equal(t, "too many connections from there have had nothing accepted yet: at most 1 may, an eighth of all ('max_connections', descriptor limit)", text)
		d.prove(remote, 0)
		d.leave(remote)
	}
	require.Empty(t, d.unproven)
	require.Zero(t, d.count())
}

// A host without a key holds no connection longer than frame_timeout, and an
// honest signer is served all the time.
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
	require.EqualValues(t, 5, rejected(h, reasonUnproven))
	require.EqualValues(t, 11, h.doors.count())
	require.Empty(t, honest.decoded(signedBy("web-1", secretOne, signedBeat("web-1", "a", 2, ""))).Error)
}

// A connection is unproven until it has ended, whatever ends it.
func TestEveryEndIsCounted(t *testing.T) {
	h := transport(t, "tcp://127.0.0.1:0", nil)
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
	require.Eventually(t, func() bool { return h.doors.count() == 0 }, patience, time.Millisecond)
	h.doors.mu.Lock()
	defer h.doors.mu.Unlock()
	require.Empty(t, h.doors.unproven)
}

// Refusals that are no fault of the sender cost it no connection, but do not keep
// one open: not even if there is always another message to read.
func TestFloodOfRefusalsIsNoProof(t *testing.T) {
	h := transport(t, "tcp://127.0.0.1:0", func(h *Heartbeat) {
		requiring(h)
		h.FrameTimeout = config.Duration(300 * time.Millisecond)
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
	require.EqualValues(t, 1, rejected(h, reasonFrameTimeout))
	require.Zero(t, rejected(h, reasonUnread))
	require.Greater(t, rejected(h, reasonRecipient), int64(maxRefused))
}
