//go:build linux

package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// Two collectors have this one key.
var commonKey = wire.Key{ID: "web-1", Secret: []byte("correct horse battery staple")}

const oneOfTwo = `[[inputs.heartbeat]]
  service_addresses = ["tcp://127.0.0.1:0", "tls://127.0.0.1:0", "udp://127.0.0.1:0"]
  state_file = "DIR/heartbeat.state"
  tls_cert = "DIR/collector.pem"
  tls_key = "DIR/collector.key"
  require_signature = true
  names = ["NAME"]
  [inputs.heartbeat.keys]
    "web-1" = "correct horse battery staple"
`

// A recorder is on the way to a collector and keeps what passes.
type recorder struct {
	net.Listener
	mu  sync.Mutex // guards the rest
	all []byte
}

func record(t *testing.T, address string) *recorder {
	t.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &recorder{Listener: socket}
	var passing sync.WaitGroup
	passing.Go(func() { // ends when the socket is closed
		for {
			conn, err := socket.Accept()
			if err != nil {
				return
			}
			passing.Go(func() { r.pass(t, conn, address) }) // ends with conn
		}
	})
	t.Cleanup(passing.Wait)
	t.Cleanup(func() { socket.Close() })
	return r
}

func (r *recorder) pass(t *testing.T, near net.Conn, address string) {
	defer near.Close()
	far, err := net.Dial("tcp", address)
	if err != nil {
		t.Error(err)
		return
	}
	var back sync.WaitGroup
	back.Go(func() { io.Copy(near, far) }) //nolint:errcheck // ends with far
	io.Copy(io.MultiWriter(r, far), near)  //nolint:errcheck // ends with near
	far.Close()
	back.Wait()
}

func (r *recorder) Write(passed []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, passed...)
	return len(passed), nil
}

// payloads returns the frames that have passed.
func (r *recorder) payloads(t *testing.T) [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	frames := wire.NewReader(strings.NewReader(string(r.all)), wire.MaxFrame)
	var payloads [][]byte
	for {
		payload, err := frames.Next()
		if err != nil {
			require.ErrorIs(t, err, io.EOF)
			return payloads
		}
		payloads = append(payloads, append([]byte{}, payload...))
	}
}

// A signer beats as web-1, signed, to the collector that it believes it reaches.
type signer struct {
	*client
	to  string
	seq int
}

// say sends a beat and returns the answer.
func (s *signer) say(status string) wire.Answer {
	s.t.Helper()
	s.seq++
	beat := map[string]any{
		"host": "web-1", "pid": 0, "run": "9f2c41d07be85a36", "seq": s.seq, "sent_ms": time.Now().UnixMilli(),
		"interval_ms": 60_000, "status": status, "ack": true,
	}
	if s.to != "" {
		beat["to"] = s.to
	}
	payload, err := json.Marshal(beat)
	require.NoError(s.t, err)
	s.send(string(wire.AppendFrame(nil, commonKey.AppendSigned(nil, payload))))
	payload, err = s.answers.Next()
	require.NoError(s.t, err)
	answer, err := wire.DecodeAnswer(payload)
	require.NoError(s.t, err)
	return answer
}

// What is recorded on the way to one collector is worth nothing at another one
// that has the same key: no beat keeps a dead host alive there, and no goodbye
// makes its death a planned end.
func TestRecordingIsWorthNothingAtAnotherCollector(t *testing.T) {
	t.Parallel()
	first := newSiteWith(t, strings.ReplaceAll(oneOfTwo, "NAME", "hb-1.example.com"), 3)
	second := newSiteWith(t, strings.ReplaceAll(oneOfTwo, "NAME", "hb-2.example.com"), 3)
	way := record(t, hostPort(first.urls["tcp"]))

	s := &signer{client: dial(t, way.Addr().String()), to: "localhost"}
	refused := s.say("alive")
	require.NotEmpty(t, refused.Error, "that is the name in its URL, which the collector does not know")
	require.NotEmpty(t, refused.Collector)
	s.to = refused.Collector
	const beats = 40
	for range beats {
		require.Empty(t, s.say("alive").Error)
	}
	require.Empty(t, s.say("leaving").Error)
	recorded := way.payloads(t)
	require.Len(t, recorded, 1+beats+1)

	for name, dialed := range map[string]*client{"tcp": dial(t, hostPort(second.urls["tcp"])), "tls": second.dialSecure()} {
		accepted := 0
		for _, payload := range recorded {
			dialed.send(string(wire.AppendFrame(nil, payload)))
			text, err := dialed.answers.Next()
			require.NoError(t, err)
			answer, err := wire.DecodeAnswer(text)
			require.NoError(t, err)
			if answer.Error == "" {
				accepted++
			}
		}
		require.Zero(t, accepted, "of %d over %s", len(recorded), name)
	}
	gram, err := net.Dial("udp", hostPort(second.urls["udp"]))
	require.NoError(t, err)
	defer gram.Close()
	for _, payload := range recorded {
		_, err := gram.Write(payload)
		require.NoError(t, err)
	}
	own := &signer{client: dial(t, hostPort(second.urls["tcp"])), to: "hb-2.example.com", seq: 1000}
	second.plugin.until("what came in datagrams to be refused", func() bool {
		require.Empty(t, own.say("alive").Error, "its own are heard")
		return second.refused("udp", "recipient") == int64(len(recorded))
	})
	require.Equal(t, []string{"alive"}, second.told("host"))
}

func hostPort(url string) string {
	_, address, _ := strings.Cut(url, "://")
	return address
}

// dialSecure connects to the port for TLS.
func (s *site) dialSecure() *client {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "authority.pem"))
	require.NoError(s.t, err)
	trust := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "collector", MinVersion: tls.VersionTLS12}
	require.True(s.t, trust.RootCAs.AppendCertsFromPEM(text))
	conn, err := tls.Dial("tcp", hostPort(s.urls["tls"]), trust)
	require.NoError(s.t, err)
	s.t.Cleanup(func() { conn.Close() })
	require.NoError(s.t, conn.SetDeadline(time.Now().Add(patience)))
	return &client{Conn: conn, t: s.t, answers: wire.NewReader(conn, wire.MaxAnswer)}
}

// refused returns how often a listener has refused for a reason.
func (s *site) refused(scheme, reason string) (n int64) {
	s.plugin.say("\n") // is gathered
	for _, m := range parse(s.t, s.plugin.stdout.with("heartbeat_listener,")) {
		if address, _ := m.GetTag("address"); strings.HasPrefix(address, scheme) && tagged(m, "reason", reason) {
			n = int64(number(s.t, m, "refused_total"))
		}
	}
	return n
}

const needsKey = `[[inputs.heartbeat]]
  service_addresses = ["tcp://:0"]
  state_file = "DIR/heartbeat.state"
  max_connections = 1000
  read_timeout = "2s"
  require_signature = true
  [inputs.heartbeat.keys]
    "web-1" = "correct horse battery staple"
`

// A host without a key holds an eighth of the connections, each of them no longer
// than read_timeout, and takes no honest one its place.
func TestHostWithoutAKeyTakesNobodysPlace(t *testing.T) {
	t.Parallel()
	s := newSiteWith(t, needsKey, 1)
	_, port, err := net.SplitHostPort(hostPort(s.urls["tcp"]))
	require.NoError(t, err)
	from := func(address string) *client {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}, Timeout: patience}
		conn, err := dialer.DialContext(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", port))
		require.NoError(t, err)
		t.Cleanup(func() { conn.Close() })
		require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
		return &client{Conn: conn, t: t, answers: wire.NewReader(conn, wire.MaxAnswer)}
	}
	honest := &signer{client: from("127.0.0.1")}
	require.Empty(t, honest.say("alive").Error)

	began, held := time.Now(), make([]*client, 0, 1000)
	for i := range cap(held) {
		c := from("127.0.0.2")
		c.Write(wire.AppendFrame(nil, []byte(`{"host":"web-2","pid":0}`))) //nolint:errcheck // it may be refused already
		held = append(held, c)
		if i%50 == 0 {
			require.Empty(t, honest.say("alive").Error)
			newcomer := &signer{client: from("127.0.0.1"), seq: 10_000 + i}
			require.Empty(t, newcomer.say("alive").Error, "an honest one comes in, after %d", i)
			honest.seq = newcomer.seq
		}
	}
	served := 0
	for _, c := range held {
		if rest, err := io.ReadAll(c); err == nil && len(rest) > 0 {
			served++ // it has had its refusal, and was closed then
		}
	}
	require.GreaterOrEqual(t, time.Since(began), 2*time.Second)
	require.Positive(t, served)
	require.Empty(t, honest.say("alive").Error)
	require.Equal(t, []string{"alive"}, s.told("host"))
	until(t, "refusals", func() bool { return s.refused("tcp", "unproven") > 0 && s.refused("tcp", "read_timeout") > 0 })
	require.Equal(t, int64(1000), s.refused("tcp", "unproven")+s.refused("tcp", "read_timeout"), fmt.Sprint(served, " were let in"))
}
