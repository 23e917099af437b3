package heartbeat

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// foreign are texts that must not reach a log or a terminal unchanged: they move the cursor,
// begin a line, reverse text, are not UTF-8 or are too long.
var foreign = []string{
	"\x1b[31m", "\x1b]0;title\x07", "x\nE! [inputs.heartbeat] forged", "x\r\n", "\u202egpj.exe", "\u0085", "\ufffd", "\xff\xfe", "\x00", "\x7f",
	strings.Repeat("long", 1000), strings.Repeat("ü", 3000), strings.Repeat("\x1b", 600),
}

// foreignPayloads carry text at each place of a payload, raw and as JSON
// escapes it.
func foreignPayloads(text string) []string {
	escaped, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	payloads := make([]string, 0, 40)
	payloads = append(payloads, text, `{"pid":1}`+text, string([]byte{1, byte(min(len(text), 64))})+text+strings.Repeat("s", 200))
	for _, quoted := range []string{`"` + text + `"`, string(escaped)} {
		for _, key := range []string{"ip", "host", "service", "status", "run", "boot", "signal", "pid", "v"} {
			payloads = append(payloads, `{"pid":1,"`+key+`":`+quoted+`}`)
		}
		payloads = append(payloads,
			`{"pid":1,`+quoted+`:1,`+quoted+`:2}`, `{"pid":`+quoted+`}`, `{"pid":1,"tags":{`+quoted+`:"x"}}`, `{"pid":1,"tags":{"x":`+quoted+`}}`,
			`{"pid":1,"fields":{`+quoted+`:1}}`, `{"pid":1,"fields":{"x":`+quoted+`}}`, quoted)
	}
	return payloads
}

// requireNoneRaw finds nothing of what is foreign in what was logged.
func requireNoneRaw(t *testing.T, log *testutil.CaptureLogger) {
	t.Helper()
	require.NotEmpty(t, log.Messages())
	for _, message := range log.Messages() {
		requirePrintable(t, message.Text)
	}
}

func requirePrintable(t *testing.T, text string) {
	t.Helper()
	require.LessOrEqual(t, len(text), wire.MaxAnswer)
	require.False(t, strings.ContainsFunc(text, func(char rune) bool { return !unicode.IsPrint(char) }), "%q", text)
}

// Foreign text, over any transport, is never unchanged in a log or an answer.
func TestForeignTextIsNeverRaw(t *testing.T) {
	for name, url := range map[string]string{
		"tcp": "tcp://127.0.0.1:0", "udp": "udp://127.0.0.1:0", "unix": "unix://" + socketPath(t), "unixgram": "unixgram://" + socketPath(t),
	} {
		t.Run(name, func(t *testing.T) {
			log := &testutil.CaptureLogger{}
			h := transport(t, url, func(h *Heartbeat) { h.Log, h.MaxBeatsPerSecond = log, 0 })
			for _, text := range foreign {
				for _, payload := range foreignPayloads(text) {
					if status(h).Datagrams {
						sendDatagram(t, h, payload)
						continue
					}
					c := newClient(t, dialURL(t, h))
					c.send(frame(payload) + frame(`{"host":"end","pid":1,"watched":true,"ack":true}`))
					for answer := ""; !strings.Contains(answer, `"ack"`); {
						answer = c.answer()
						requirePrintable(t, answer)
					}
					c.Close()
					bare := newClient(t, dialURL(t, h))
					bare.send(payload)
					bare.Close()
				}
			}
			h.Stop()
			requireNoneRaw(t, log)
		})
	}
}

// sendDatagram waits until it was refused or taken.
func sendDatagram(t *testing.T, h *Heartbeat, payload string) {
	t.Helper()
	done := func() int64 { return h.refused.total.Load() + status(h).Beats }
	before := done()
	conn := dialURL(t, h)
	defer conn.Close()
	_, err := conn.Write([]byte(payload[:min(len(payload), longestDatagram+1)]))
	require.NoError(t, err)
	waitUntil(t, func() bool { return done() > before }, "a datagram")
}

// The names in a certificate are text of a stranger, trusted or not.
func TestForeignTextInCertificates(t *testing.T) {
	a, stranger := newAuthority(t), newAuthority(t)
	log := &testutil.CaptureLogger{}
	h := secureTransport(t, a, func(h *Heartbeat) {
		h.Log = log
		h.TLSAllowedCACerts, h.TLSAllowedDNSNames = []string{a.file}, []string{"web-1.example.com"}
	})
	for _, text := range foreign {
		text = strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", ""), "")
		ascii := strings.Map(func(char rune) rune {
			if char >= 0x80 {
				return 'x'
			}
			return char
		}, text)
		for _, by := range []*authority{a, stranger} {
			as := a.trust()
			as.Certificates = []tls.Certificate{by.certify(text, ascii)}
			before := h.refused.total.Load()
			c, err := dialSecure(t, h, as)
			if err == nil {
				_, err = c.Read(make([]byte, 1))
			}
			require.Error(t, err)
			waitUntil(t, func() bool { return h.refused.total.Load() > before }, "a refused certificate")
		}
	}
	for _, text := range foreign {
		c := dial(t, h)
		c.send(text)
		c.Close()
	}
	h.Stop()
	requireNoneRaw(t, log)
}

// certify returns a certificate with any names.
func (a *authority) certify(commonName, dnsName string) tls.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		Subject: pkix.Name{CommonName: commonName}, DNSNames: []string{dnsName}, SerialNumber: big.NewInt(1),
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, a.cert, &a.key.PublicKey, a.key)
	require.NoError(a.t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: a.key}
}

// So are the lines of a file that others write.
func TestForeignTextInExpectFiles(t *testing.T) {
	for _, text := range foreign {
		log := &testutil.CaptureLogger{}
		path := filepath.Join(t.TempDir(), "hosts")
		require.NoError(t, os.WriteFile(path, []byte("web-1"+text+"?\nweb\x1b\n"), 0o600))
		h := newPlugin(t)
		h.Log, h.ExpectFiles, h.Expect = log, []string{path}, []string{text}
		err := h.Init()
		require.Error(t, err)
		requirePrintable(t, err.Error())
		for _, wrong := range h.Check() {
			requirePrintable(t, wire.Printable(wrong.Error()))
		}
		h.Expect = nil
		require.NoError(t, h.Init())
		require.NoError(t, h.Start(new(testutil.Accumulator)))
		h.Stop()
		requireNoneRaw(t, log)
	}
}
