package heartbeat

import (
	"crypto/tls"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/influxdata/telegraf/config"
	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/serve"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/verify"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// secureTransport starts a plugin that listens for TLS with a certificate of a.
func secureTransport(t *testing.T, a *authority, change func(*Heartbeat)) *Heartbeat {
	t.Helper()
	own := a.issue("collector", "collector")
	return transport(t, "tls://127.0.0.1:0", func(h *Heartbeat) {
		h.TLSCert, h.TLSKey = own.cert, own.key
		if change != nil {
			change(h)
		}
	})
}

// dialSecure connects to the first listener of h.
func dialSecure(t *testing.T, h *Heartbeat, as *tls.Config) (*client, error) {
	t.Helper()
	dialer := &tls.Dialer{NetDialer: &net.Dialer{Timeout: patience}, Config: as}
	conn, err := dialer.DialContext(t.Context(), "tcp", hostPort(h))
	if err != nil {
		return nil, err
	}
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	return newClient(t, conn), nil
}

func mustDialSecure(t *testing.T, h *Heartbeat, as *tls.Config) *client {
	t.Helper()
	c, err := dialSecure(t, h, as)
	require.NoError(t, err)
	return c
}

// Everything works over TLS as it does without.
func TestSecureConnection(t *testing.T) {
	a := newAuthority(t)
	h := secureTransport(t, a, nil)
	require.Regexp(t, `^tls://127\.0\.0\.1:\d+$`, address(h))
	c := mustDialSecure(t, h, a.trust())
	require.Contains(t, c.beat(`{"host":"web-1","pid":0,"ack":true}`), `"id":"web-1/host"`)
	require.Contains(t, c.beat(`{"host":"web-1","pid":-1}`), `"error"`)
	require.Contains(t, c.beat(`{"host":"web-1","pid":0,"ack":true}`), `"ack"`)
	require.NoError(t, c.Close())
	require.Eventually(t, func() bool { return status(h).Connections == 0 }, patience, time.Millisecond)
}

// Clients that are refused, and the messages about them.
func TestWhoIsNotLetIn(t *testing.T) {
	a, stranger := newAuthority(t), newAuthority(t)
	h := secureTransport(t, a, func(h *Heartbeat) {
		h.TLSAllowedCACerts = []string{a.file}
		h.TLSAllowedDNSNames = []string{"web-1.example.com"}
	})
	honest := mustDialSecure(t, h, a.trust(a.issue("web-1", "web-1.example.com")))
	require.Contains(t, honest.beat(`{"host":"web-1","pid":0,"ack":true}`), `"ack"`)

	expired := a.issueUntil(time.Now().Add(-time.Hour), "web-2", "web-1.example.com")
	for name, as := range map[string]*tls.Config{
		"no certificate":    a.trust(),
		"another authority": a.trust(stranger.issue("web-1", "web-1.example.com")),
		"expired":           a.trust(expired),
		"another name":      a.trust(a.issue("web-3", "web-3.example.com")),
		"name as CN only":   a.trust(a.issue("web-1.example.com")),
	} {
		before := rejected(h, serve.ReasonHandshake)
		c, err := dialSecure(t, h, as)
		if err == nil { // with TLS 1.3 the client learns it by the first answer
			_, err = c.Read(make([]byte, 1))
		}
		require.Error(t, err, name)
		require.Eventually(t, func() bool { return rejected(h, serve.ReasonHandshake) == before+1 }, patience, time.Millisecond, name)
	}
	old := a.trust(a.issue("web-1", "web-1.example.com"))
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	_, err := dialSecure(t, h, old)
	require.ErrorContains(t, err, "protocol version")

	plain := dial(t, h)
	plain.send(frame(`{"host":"web-1","pid":0,"ack":true}`))
	require.Eventually(t, func() bool { return rejected(h, serve.ReasonHandshake) == 7 }, patience, time.Millisecond)
	require.NoError(t, dial(t, h).Close(), "a health check")
	require.Contains(t, honest.beat(`{"host":"web-1","pid":0,"ack":true}`), `"ack"`)
	require.Eventually(t, func() bool { return status(h).Connections == 1 }, patience, time.Millisecond)
	require.EqualValues(t, 7, h.refused.total.Load(), "who only looks is not counted")
}

// The names in a stranger's certificate cannot write into the log.
func TestNamesInACertificateAreForeignText(t *testing.T) {
	a, stranger := newAuthority(t), newAuthority(t)
	log := new(testutil.CaptureLogger)
	h := secureTransport(t, a, func(h *Heartbeat) {
		h.TLSAllowedCACerts, h.TLSAllowedDNSNames = []string{a.file}, []string{"web-1.example.com"}
		h.Log = log
	})
	const evil = "web-1\x1b[2J\r\nE! [agent] fake"
	for i, certificate := range []pair{a.issue("a", evil), stranger.issue("b"+evil, evil)} {
		if c, err := dialSecure(t, h, a.trust(certificate)); err == nil { // with TLS 1.3 the client learns it by the first answer
			_, err = c.Read(make([]byte, 1))
			require.Error(t, err)
		}
		require.Eventually(t, func() bool { return rejected(h, serve.ReasonHandshake) == int64(i+1) }, patience, time.Millisecond)
	}
	require.NotEmpty(t, log.Warnings())
	for _, text := range log.Warnings() {
		require.NotContains(t, text, "\x1b")
		require.NotContains(t, strings.TrimSuffix(text, "\n"), "\n")
	}
	require.Contains(t, log.Warnings()[0], `web-1\x1b[2J\r\nE! [agent] fake`)
}

// A client without TLS on a TLS port is named in the log, and a sender of frames gets an
// answer.
func TestPlaintextOnATLSPortIsNamed(t *testing.T) {
	log := &testutil.CaptureLogger{}
	h := secureTransport(t, newAuthority(t), func(h *Heartbeat) { h.Log = log })
	for first, want := range map[string]struct {
		reason wire.Reason
		says   string
	}{
		frame(`{"host":"web-1","pid":0}`):        {serve.ReasonHandshake, "a sender without TLS on a TLS port: write tls:// instead of tcp://"},
		frame("\x01\x01k"):                       {serve.ReasonHandshake, "a sender without TLS on a TLS port"},
		`{"host":"web-1","pid":0}`:               {serve.ReasonHandshake, "bare JSON without TLS on a TLS port"},
		"\n {\"pid\":0}":                         {serve.ReasonHandshake, "bare JSON without TLS"},
		"\n\n\n\n\n\n":                           {serve.ReasonHandshake, "bare JSON without TLS"},
		"GET / HTTP/1.1\r\n\r\n":                 {wire.ReasonHTTP, "an HTTP client without TLS"},
		"OPTIONS * HTTP/1.1\r\n\r\n":             {wire.ReasonHTTP, "an HTTP client without TLS"},
		"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n": {wire.ReasonProxy, "the PROXY protocol before TLS"},
		"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c": {wire.ReasonProxy, "the PROXY protocol before TLS"},
		"SSH-2.0-\x1b[31m\r\n":                   {serve.ReasonHandshake, `connection begins with "SSH-2": not TLS, on a TLS port`},
	} {
		before := rejected(h, want.reason)
		c := dial(t, h)
		c.send(first)
		if first[0] == 0 {
			require.Contains(t, c.answer(), want.says)
		}
		c.closed()
		require.Equal(t, before+1, rejected(h, want.reason), "%q", first)
	}
	require.NotEmpty(t, log.Warnings())
	for _, line := range log.Warnings() {
		require.NoError(t, checkText(line))
	}
}

func TestHandshakeHasToBeCompleteInTime(t *testing.T) {
	a := newAuthority(t)
	h := secureTransport(t, a, func(h *Heartbeat) { h.ReadTimeout = config.Duration(200 * time.Millisecond) })
	for _, begin := range []string{"", "\x16", "\x16\x03\x01\x02\x00\x01"} {
		before := rejected(h, serve.ReasonReadTimeout)
		c := dial(t, h)
		c.send(begin)
		c.closed()
		require.Equal(t, before+1, rejected(h, serve.ReasonReadTimeout))
	}
	c := mustDialSecure(t, h, a.trust())
	c.beat(`{"host":"web-1","pid":0,"ack":true}`)
	c.send(frame(`{"host":"web-1","pid":0,"ack":true}`)[:10])
	c.closed()
	require.EqualValues(t, 4, rejected(h, serve.ReasonReadTimeout), "of a message too")
}

// With verified hosts, no host can send beats for another one.
func TestCertificateNamesTheHost(t *testing.T) {
	a, log := newAuthority(t), new(testutil.CaptureLogger)
	h := secureTransport(t, a, func(h *Heartbeat) {
		h.TLSAllowedCACerts, h.HostFrom, h.Log = []string{a.file}, "verified", log
	})
	c := mustDialSecure(t, h, a.trust(a.issue("web-1", "web-1.example.com", "*.dmz.example.com")))
	for beat, want := range map[string]string{
		`"host":"web-1"`:                `"ack"`,
		`"host":"WEB-1"`:                `"ack"`,
		`"host":"web-1.example.com"`:    `"ack"`,
		`"host":"mail.dmz.example.com"`: `"ack"`,
		`"host":"web-2"`:                `is not the host of the certificate or signature`,
		`"host":"a.b.dmz.example.com"`:  `is not the host of the certificate or signature`,
		`"ip":"10.0.0.5"`:               `host: missing`,
	} {
		for _, status := range []string{"alive", "leaving", "dead"} {
			require.Contains(t, c.beat(`{`+beat+`,"pid":0,"ack":true,"status":"`+status+`"}`), want, beat)
			if want != `"ack"` {
				c.beat(`{"host":"web-1","pid":0,"ack":true}`) // so that it is not cut
			}
		}
	}
	require.EqualValues(t, 9, rejected(h, verify.ReasonHost))
	require.Len(t, log.Warnings(), 1, "once a minute")
	require.Regexp(t, `Refused 127.0.0.1:\d+, host: ("|missing)`, log.Warnings()[0], "the name is there once")
}

// New certificates apply to new connections, and close no open one.
func TestCertificatesAreReadAgain(t *testing.T) {
	a := newAuthority(t)
	own := a.issue("collector", "collector")
	h := transport(t, "tls://127.0.0.1:0", func(h *Heartbeat) { h.TLSCert, h.TLSKey = own.cert, own.key })
	serial := func() int64 {
		c := mustDialSecure(t, h, a.trust())
		return c.Conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	first := serial()
	open := mustDialSecure(t, h, a.trust())

	require.NoError(t, os.WriteFile(own.key, []byte("half of a k"), 0o600))
	require.Equal(t, first, serial(), "while they are wrong, the old ones hold")
	a.issue("collector", "collector")
	require.Equal(t, first+1, serial())
	require.Contains(t, open.beat(`{"host":"web-1","pid":0,"ack":true}`), `"ack"`)
}

func TestWrongOptionsOfTLS(t *testing.T) {
	for want, change := range map[string]func(*Heartbeat){
		"needs 'tls_cert' and 'tls_key'":             func(h *Heartbeat) { h.ServiceAddresses = []string{"tls://:1"}; h.TLSCert = "x" },
		"need an address tls://":                     func(h *Heartbeat) { h.TLSCert, h.TLSKey = "x", "y" },
		"needs 'tls_allowed_cacerts', 'keys' or":     func(h *Heartbeat) { h.HostFrom = "verified" },
		"'tls_allowed_dns_names' needs":              func(h *Heartbeat) { h.TLSAllowedDNSNames = []string{"x"} },
		"needs 'require_signature': the source addr": func(h *Heartbeat) { h.IPFrom = "verified"; h.ServiceAddresses = []string{"udp://:1"} },
		`'host_from' must be one of`:                 func(h *Heartbeat) { h.HostFrom = "cert" },
		"'replay_window' must be at least":           func(h *Heartbeat) { h.ReplayWindow = 0 },
	} {
		h := newPlugin(t)
		change(h)
		require.ErrorContains(t, h.Init(), want)
	}
	h := newPlugin(t)
	h.ServiceAddresses = []string{"tls://127.0.0.1:0"}
	h.TLSCert, h.TLSKey = "/no/such/file", "/no/such/key"
	require.NoError(t, h.Init())
	require.ErrorContains(t, h.Start(&testutil.Accumulator{}), `reading the certificates failed: open /no/such/file: no such file`)
	h.Stop()
}
