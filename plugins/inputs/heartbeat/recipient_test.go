package heartbeat

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/serve"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/verify"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// to is the member that names a collector.
func to(name string) string {
	if name == "" {
		return ""
	}
	return `,"to":"` + name + `"`
}

// decoded sends a payload and returns the answer.
func (c *client) decoded(payload string) wire.Answer {
	c.t.Helper()
	answer, err := wire.DecodeAnswer([]byte(c.beat(payload)))
	require.NoError(c.t, err)
	return answer
}

// The collectors that a signed beat may be for, over every transport. ID means the id of the
// collector.
func TestWhomASignedBeatIsFor(t *testing.T) {
	const taken, refused = true, false
	for _, c := range []struct {
		names    []string
		required bool
		to       string
		stream   bool // whether it is taken over a connection
		datagram bool
	}{
		{nil, false, "", taken, taken},
		{nil, true, "", refused, refused},
		{nil, false, "ID", taken, taken},
		{nil, true, "ID", taken, taken},
		{nil, false, "hb-1", refused, taken},
		{nil, true, "hb-1", refused, taken},
		{[]string{"hb-1"}, false, "", taken, taken},
		{[]string{"hb-1"}, true, "", refused, refused},
		{[]string{"hb-1"}, false, "ID", taken, refused},
		{[]string{"hb-1"}, false, "hb-1", taken, taken},
		{[]string{"hb-1"}, true, "hb-1", taken, taken},
		{[]string{"hb-1"}, false, "HB-1.", taken, taken},
		{[]string{"HB-1."}, false, "hb-1", taken, taken},
		{[]string{"hb-1", "192.0.2.1", "2001:DB8::1"}, false, "192.0.2.1", taken, taken},
		{[]string{"hb-1", "192.0.2.1", "2001:DB8::1"}, false, "2001:db8:0::1", taken, taken},
		{[]string{"hb-1"}, false, "hb-2", refused, refused},
		{[]string{"hb-1"}, false, "hb-1.example.com", refused, refused},
		{[]string{"hb-1"}, true, "hb", refused, refused},
	} {
		a := newAuthority(t)
		own := a.issue("collector", "collector")
		h := transport(t, "tcp://127.0.0.1:0", func(h *Heartbeat) {
			requiring(h)
			h.Names, h.RequireRecipient = c.names, c.required
			h.ServiceAddresses = []string{"tcp://127.0.0.1:0", "tls://127.0.0.1:0", "udp://127.0.0.1:0"}
			h.TLSCert, h.TLSKey = own.cert, own.key
		})
		name := strings.Replace(c.to, "ID", h.recipient.ID(), 1)
		secure := newClient(t, mustSecure(t, dialListener(t, h.server.Status()[1].Address), a))
		for i, over := range []*client{dial(t, h), secure} {
			for _, check := range []string{`,"check":true`, ""} { // each is taken or refused alike
				answer := over.decoded(signedBy("web-1", secretOne, signedBeat("web-1", string(rune('a'+i)), 1, to(name)+check)))
				require.Equal(t, c.stream, answer.Error == "", "%+v: %s", c, answer.Error)
				require.Equal(t, h.recipient.ID(), answer.Collector, "an answer tells the id")
			}
		}
		require.Equal(t, c.stream, rejected(h, verify.ReasonRecipient) == 0)
		gram := dialListener(t, h.server.Status()[2].Address)
		_, err := gram.Write([]byte(signedBy("web-1", secretOne, signedBeat("web-1", "c", 1, to(name)))))
		require.NoError(t, err)
		udp := func() serve.Status { return h.server.Status()[2] }
		require.Eventually(t, func() bool { return udp().Beats+udp().Refused[verify.ReasonRecipient] == 1 }, patience, time.Millisecond)
		require.Equal(t, c.datagram, udp().Beats == 1, "%+v", c)

		unnamed := int64(0)
		if c.to == "" && c.stream {
			unnamed = 3
		}
		require.Equal(t, unnamed, h.recipient.Unnamed(), "%+v", c)
	}
}

func mustSecure(t *testing.T, conn net.Conn, a *authority) net.Conn {
	t.Helper()
	secure := tls.Client(conn, a.trust())
	require.NoError(t, secure.HandshakeContext(t.Context()))
	return secure
}

// A sender that uses a name that the collector does not have gets the id, and is accepted over
// the same connection.
func TestRefusalTellsTheID(t *testing.T) {
	h := transport(t, "tcp://127.0.0.1:0", requiring)
	c := dial(t, h)
	for seq := 1; seq <= 2*inARow; seq++ { // one for each peer that it speaks for
		answer := c.decoded(signedBy("web-1", secretOne, signedBeat("web-1", "a", seq, to("hb.example.com"))))
		require.Contains(t, answer.Error, `"hb.example.com" is not this collector`)
		require.Equal(t, h.recipient.ID(), answer.Collector)
		require.NotZero(t, answer.NowMS)
	}
	require.Zero(t, status(h).Beats)
	require.Empty(t, c.decoded(signedBy("web-1", secretOne, signedBeat("web-1", "a", 2*inARow+1, to(h.recipient.ID())))).Error)
	require.Equal(t, h.recipient.ID(), c.decoded(`{}`).Collector, "so does any other refusal")
	h = transport(t, "tcp://127.0.0.1:0", func(h *Heartbeat) {
		requiring(h)
		h.RequireSignature = false
	})
	c = dial(t, h)
	unsigned := c.decoded(`{"host":"web-2","pid":0,"ack":true,"to":"another one"}`)
	require.NotEmpty(t, unsigned.Error)
	require.Empty(t, c.decoded(`{"host":"web-2","pid":0,"ack":true,"to":"another-one"}`).Error, "an unsigned beat is for anybody")
}

// A collector is the same one after a restart, and another one with another
// state file.
func TestIDIsKeptBesideTheState(t *testing.T) {
	dir := t.TempDir()
	idOf := func(state string) string {
		h := newPlugin(t)
		h.StateFile = state
		require.NoError(t, h.Init())
		require.NoError(t, h.Start(new(testutil.Accumulator)))
		defer h.Stop()
		require.Regexp(t, `^[a-z2-7]{26}$`, h.recipient.ID())
		return h.recipient.ID()
	}
	first := idOf(filepath.Join(dir, "state"))
	require.Equal(t, first, idOf(filepath.Join(dir, "state")))
	require.NotEqual(t, first, idOf(filepath.Join(dir, "other")), "two collectors may share a directory")
	one, another := idOf("none"), idOf("none")
	require.NotEqual(t, one, another)
	require.NotEqual(t, first, idOf(filepath.Join(dir, "no", "such", "directory", "state")))

	file := filepath.Join(dir, "state"+".id")
	for _, damaged := range []string{"", "\n", "two words\n", "UPPER\n", "\x00\x00", "a..\n"} {
		require.NoError(t, os.WriteFile(file, []byte(damaged), 0o600))
		fresh := idOf(filepath.Join(dir, "state"))
		require.NotEqual(t, first, fresh)
		require.Equal(t, fresh, idOf(filepath.Join(dir, "state")), "a damaged one is replaced")
	}
	require.NoError(t, os.Remove(file))
	require.NoError(t, os.Mkdir(file, 0o700))
	one, another = idOf(filepath.Join(dir, "state")), idOf(filepath.Join(dir, "state"))
	require.NotEqual(t, one, another, "it is drawn at each start")
	left, err := filepath.Glob(filepath.Join(dir, "*"+".id"+".*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// The warnings about senders that name no collector, and about datagrams.
func TestMissingNamesAreTold(t *testing.T) {
	for _, c := range []struct {
		url   string
		names []string
		warns bool
	}{
		{"udp://127.0.0.1:0", nil, true},
		{"udp://127.0.0.1:0", []string{"hb-1"}, false},
		{"tcp://127.0.0.1:0", nil, false},
	} {
		log := new(testutil.CaptureLogger)
		h := transport(t, c.url, func(h *Heartbeat) {
			requiring(h)
			h.Names, h.Log = c.names, log
		})
		require.Equal(t, c.warns, strings.Contains(strings.Join(log.Warnings(), "\n"), "Signed datagrams for any collector are accepted"))
		conn := dialURL(t, h)
		for seq := range 3 {
			payload := signedBy("web-1", secretOne, signedBeat("web-1", "a", seq+1, ""))
			if strings.HasPrefix(c.url, "tcp") {
				payload = frame(payload)
			}
			_, err := conn.Write([]byte(payload))
			require.NoError(t, err)
		}
		require.Eventually(t, func() bool { return h.recipient.Unnamed() == 3 }, patience, time.Millisecond)
		require.Equal(t, 1, strings.Count(strings.Join(log.Warnings(), "\n"), `A signed beat of "web-1" from 127.0.0.1:`))
	}
}
