package heartbeat

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
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

const backupToken = "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278"

// startHTTP starts a plugin with an address of HTTP, and returns its URL.
func startHTTP(t *testing.T, h *Heartbeat, acc *testutil.Accumulator) string {
	t.Helper()
	h.ServiceAddresses = append(h.ServiceAddresses, "http://127.0.0.1:0")
	require.NoError(t, h.Init())
	require.NoError(t, h.Start(acc))
	t.Cleanup(h.Stop)
	status := h.server.Status()
	return status[len(status)-1].Address
}

func secretOf(text string) *config.Secret {
	secret := config.NewSecret([]byte(text))
	return &secret
}

func get(t *testing.T, url string) (int, string, http.Header) {
	t.Helper()
	client := &http.Client{Transport: new(http.Transport)}
	defer client.CloseIdleConnections()
	response, err := client.Get(url)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(body), response.Header
}

func overHTTP(h *Heartbeat) { h.ServiceAddresses = []string{"http://127.0.0.1:0"} }

func TestPingIsABeat(t *testing.T) {
	var acc testutil.Accumulator
	h := newPlugin(t)
	h.Checks = []Check{{Token: secretOf(backupToken), Peer: "web-1/backup", Every: hours(24), Grace: hours(1)}}
	url := startHTTP(t, h, &acc)
	status, body, header := get(t, url+"/ping/"+backupToken)
	require.Equal(t, 200, status)
	require.Equal(t, "OK", body)
	require.Equal(t, "25h", header.Get("Heartbeat-Dead-After"))
	status, _, _ = get(t, url+"/ping/web-1/nginx?every=5m")
	require.Equal(t, 200, status, "from this host")
	status, _, _ = get(t, url+"/ping/5bf66975-d4c7-4bf5-bcc8-b8d8a82ea279")
	require.Equal(t, 404, status)
	require.NoError(t, h.Gather(&acc))
	h.Stop()
	beats, silences := make(map[string]any), make(map[string]any)
	for _, m := range acc.GetTelegrafMetrics() {
		switch address, _ := m.GetTag("address"); {
		case m.Name() == "heartbeat_peer":
			beats[m.Tags()["service"]] = m.Fields()["beats_total"]
			silences[m.Tags()["service"]] = m.Fields()["dead_after_seconds"]
		case address == url && m.HasField("beats_total"):
			beats[address] = m.Fields()["beats_total"]
		case address == url && m.Tags()["reason"] == "token":
			beats["refused"] = m.Fields()["refused_total"]
		}
	}
	require.Equal(t, map[string]any{"backup": int64(1), "nginx": int64(1), url: int64(2), "refused": int64(1)}, beats)
	require.Equal(t, map[string]any{"backup": 90_000.0, "nginx": 1050.0}, silences)
}

func hours(n int) config.Duration { return config.Duration(time.Duration(n) * time.Hour) }

// ask sends a request of this host, and returns what is answered.
func ask(t *testing.T, client *http.Client, method, url, body string, header ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	for field := range slices.Chunk(header, 2) {
		r.Header.Set(field[0], field[1])
	}
	response, err := client.Do(r)
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(text)
}

func newBrowser(t *testing.T, trust *tls.Config) *http.Client {
	transport := &http.Transport{TLSClientConfig: trust}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

// A token is as good as a signature, and as the certificate of a host.
func TestATokenIsWorthASignature(t *testing.T) {
	h := newPlugin(t)
	h.RequireSignature, h.HostFrom = true, "verified"
	h.Checks = []Check{{Token: secretOf(backupToken), Peers: []string{"web-1/*"}}}
	url := startHTTP(t, h, new(testutil.Accumulator))
	client := newBrowser(t, nil)
	status, _ := ask(t, client, "GET", url+"/ping/"+backupToken+"/nginx", "")
	require.Equal(t, 200, status)
	status, body := ask(t, client, "GET", url+"/ping/web-1/nginx", "")
	require.Equal(t, 403, status)
	require.Contains(t, body, "'require_signature'")
	const beat = `{"host":"web-1","service":"db","pid":1,"ack":true}`
	status, body = ask(t, client, "POST", url+"/beat", beat)
	require.Equal(t, 403, status)
	require.Contains(t, body, `"error"`)
	status, body = ask(t, client, "POST", url+"/beat", beat, "Authorization", "Bearer "+backupToken)
	require.Equal(t, 200, status)
	require.Contains(t, body, `"id":"web-1/db"`)
	status, body = ask(t, client, "POST", url+"/beat", `{"host":"web-2","pid":0}`, "Authorization", "Bearer "+backupToken)
	require.Equal(t, 403, status)
	require.Contains(t, body, "the token is not for")
}

func TestASignedBeatMayComeInARequest(t *testing.T) {
	h := newPlugin(t)
	key := wire.Key{ID: "web-1", Secret: []byte("sixteen bytes of it")}
	h.Keys = map[string]*config.Secret{key.ID: secretOf(string(key.Secret))}
	h.RequireSignature = true
	url := startHTTP(t, h, new(testutil.Accumulator))
	payload := key.AppendSigned(nil, fmt.Appendf(nil, `{"host":"web-1","pid":0,"run":"a","seq":1,"sent_ms":%d,"ack":true}`, time.Now().UnixMilli()))
	client := newBrowser(t, nil)
	status, body := ask(t, client, "POST", url+"/beat", string(payload))
	require.Equal(t, 200, status, body)
	answer, err := wire.DecodeAnswer([]byte(body))
	require.NoError(t, err)
	require.Equal(t, "web-1/host", answer.ID)
	require.EqualValues(t, 1, answer.Seq)
	status, body = ask(t, client, "POST", url+"/beat", strings.Replace(string(payload), `"seq":1`, `"seq":2`, 1))
	require.Equal(t, 403, status, body)
}

// Over https:// a certificate may be shown, and then names the host.
func TestACertificateNamesItsHost(t *testing.T) {
	a, stranger := newAuthority(t), newAuthority(t)
	own := a.issue("collector", "collector")
	h := newPlugin(t)
	h.ServiceAddresses = []string{"https://127.0.0.1:0"}
	h.TLSCert, h.TLSKey, h.TLSAllowedCACerts = own.cert, own.key, []string{a.file}
	h.TLSAllowedDNSNames = []string{"web-1"}
	h.RequireSignature = true
	h.Checks = []Check{{Token: secretOf(backupToken), Peer: "web-2/backup"}}
	start(t, h)
	url := address(h)
	certified, plain := newBrowser(t, a.trust(a.issue("web-1", "web-1"))), newBrowser(t, a.trust())
	status, body := ask(t, certified, "GET", url+"/ping/web-1/nginx", "")
	require.Equal(t, 200, status, body)
	status, _ = ask(t, certified, "GET", url+"/ping/web-2/nginx", "")
	require.Equal(t, 403, status)
	require.EqualValues(t, 1, rejected(h, verify.ReasonHost))
	status, _ = ask(t, plain, "GET", url+"/ping/web-1/nginx", "")
	require.Equal(t, 403, status, "nothing is shown")
	status, _ = ask(t, plain, "GET", url+"/ping/"+backupToken, "")
	require.Equal(t, 200, status, "it is not required")
	//nolint:bodyclose,noctx // it ends at once, without an answer
	_, err := newBrowser(t, a.trust(stranger.issue("web-1", "web-1"))).Get(url + "/ping/web-1/nginx")
	require.Error(t, err, "one that is shown has to be trusted")
	require.Eventually(t, func() bool { return rejected(h, serve.ReasonHandshake) == 1 }, patience, time.Millisecond)
	status, body = ask(t, newBrowser(t, nil), "GET", strings.Replace(url, "https", "http", 1)+"/ping/"+backupToken, "")
	require.Equal(t, 400, status)
	require.Contains(t, body, "use https://")
	require.EqualValues(t, 1, rejected(h, wire.ReasonHTTP))
}

// A peer of a check that never pinged is expected, for as long as the check allows.
func TestPeersOfChecksAreExpected(t *testing.T) {
	file := filepath.Join(t.TempDir(), "checks")
	require.NoError(t, os.WriteFile(file, []byte("a-token-in-a-file-of-checks web-3/weekly every=7d grace=1d\n"), 0o600))
	h := newPlugin(t)
	h.Checks = []Check{{Token: secretOf(backupToken), Peer: "web-1/backup", Every: hours(24), Grace: hours(2)}}
	h.CheckFiles = []string{file}
	var acc testutil.Accumulator
	startHTTP(t, h, &acc)
	gather(t, h)
	h.Stop()
	allowed := make(map[string]any)
	for _, m := range acc.GetTelegrafMetrics() {
		if m.Name() == "heartbeat_peer" {
			allowed[m.Tags()["source"]+"/"+m.Tags()["service"]] = m.Fields()["dead_after_seconds"]
		}
	}
	require.Equal(t, map[string]any{"web-1/backup": 26 * 3600.0, "web-3/weekly": 8 * 24 * 3600.0}, allowed)
}

// A token is nowhere but in the request: not in a log, an error, a metric or the state.
func TestTokensAreNowhere(t *testing.T) {
	log, acc := new(testutil.CaptureLogger), new(testutil.Accumulator)
	h := newPlugin(t)
	h.Log, h.StateFile = log, filepath.Join(t.TempDir(), "state")
	h.Checks = []Check{{Token: secretOf(backupToken), Peer: "web-1/backup"}}
	url := startHTTP(t, h, acc)
	client := newBrowser(t, nil)
	const other = "5bf66975-aaaa-4bf5-bcc8-b8d8a82ea278"
	for _, token := range []string{backupToken, other} {
		for _, path := range []string{"/ping/%s", "/ping/%s/fail", "/ping/%s/256", "/ping/%s/x%%20y", "/ping/%s?rid=x", "/api/push/%s", "/x/%s", "/%s"} {
			ask(t, client, "GET", url+fmt.Sprintf(path, token), "")
			ask(t, client, "DELETE", url+fmt.Sprintf(path, token), "")
		}
		ask(t, client, "POST", url+"/heartbeat", "{}", "Authorization", "Bearer "+token)
		ask(t, client, "POST", url+"/ping/web-1/nginx", "", "Authorization", "Bearer "+token)
	}
	gather(t, h)
	h.Stop()
	state, err := os.ReadFile(h.StateFile)
	require.NoError(t, err)
	require.Contains(t, string(state), "backup")
	seen := fmt.Sprint(log.Messages(), acc.GetTelegrafMetrics(), acc.Errors) + string(state)
	for _, token := range []string{backupToken, other} {
		require.NotContains(t, seen, token)
	}
	require.NotEmpty(t, log.Warnings())
}

// Connections that are open and idle cost no beat its place.
func TestIdleConnectionsHinderNobody(t *testing.T) {
	const idle = 1000
	h := newPlugin(t)
	url := startHTTP(t, h, new(testutil.Accumulator))
	for range idle {
		visit(t, url)
	}
	require.Equal(t, idle, h.server.Status()[1].Connections)
	require.Contains(t, dial(t, h).beat(`{"host":"web-1","pid":0,"ack":true}`), `"ack"`)
	status, _ := ask(t, newBrowser(t, nil), "GET", url+"/ping/web-1/nginx", "")
	require.Equal(t, 200, status)
}

// One address may have only an eighth of all connections without a beat, and a request that
// is not a beat does not count as one.
func TestOnlyABeatProvesAConnection(t *testing.T) {
	h := newPlugin(t)
	h.MaxConnections = 40
	url := startHTTP(t, h, new(testutil.Accumulator))
	beating := newBrowser(t, nil)
	status, _ := ask(t, beating, "GET", url+"/ping/web-1/nginx", "")
	require.Equal(t, 200, status)
	idle := make([]*client, 5)
	for i := range idle {
		idle[i] = visit(t, url)
	}
	_, host, _ := strings.Cut(url, "://")
	dialTo(t, host).closed()
	site := func() serve.Status { return h.server.Status()[1] }
	require.EqualValues(t, 1, site().Refused[serve.ReasonUnproven])
	status, _ = ask(t, beating, "GET", url+"/ping/web-1/nginx", "")
	require.Equal(t, 200, status)

	require.NoError(t, idle[0].Close())
	require.Eventually(t, func() bool { return site().Connections == 5 }, patience, time.Millisecond)
	visit(t, url) // takes its place
}

// visit opens a connection, over which a request is answered, and leaves it open.
func visit(t *testing.T, url string) *client {
	t.Helper()
	_, host, _ := strings.Cut(url, "://")
	conn := dialTo(t, host)
	conn.send("GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n")
	_, err := conn.Read(make([]byte, 1000))
	require.NoError(t, err)
	return conn
}

// The start of a job is not a success; a job that fails is dead, with its exit code.
func TestAJobTellsHowItEnded(t *testing.T) {
	h := newPlugin(t)
	h.Checks = []Check{{Token: secretOf(backupToken), Peer: "web-1/backup", MaxRuntime: hours(2)}}
	acc := new(testutil.Accumulator)
	url := startHTTP(t, h, acc) + "/ping/" + backupToken
	client := newBrowser(t, nil)
	const rid = "?rid=0f66a1c3-1e3a-4c6b-8b7a-2e0b1e3a4c6b"
	say := func(paths ...string) {
		for _, path := range paths {
			status, body := ask(t, client, "POST", url+path, "a log")
			require.Equal(t, 200, status)
			require.Equal(t, "OK", body)
		}
		gather(t, h)
	}
	say("/start"+rid, rid, "/start", "/3", "/start", "/log")
	require.Equal(t, []string{"alive beat", "dead exited"}, eventsOf(acc, "web-1"))
	codes := metricsOf(acc, "heartbeat_event", "reason", "exited")
	require.Equal(t, int64(3), codes[0].Fields()["exit_code"])
	say("")
	require.Equal(t, []string{"alive beat", "dead exited", "alive beat"}, eventsOf(acc, "web-1"))
}

// The password of readers may be in a file, like other secrets.
func TestPasswordOfReadersMayBeInAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte("a password of readers\n"), 0o600))
	h := newPlugin(t)
	h.BasicUsername, h.BasicPassword = "ops", secretOf("file:"+file)
	url := startHTTP(t, h, new(testutil.Accumulator))
	client := newBrowser(t, nil)
	for password, want := range map[string]int{"a password of readers": 200, "file:" + file: 401} {
		credentials := base64.StdEncoding.EncodeToString([]byte("ops:" + password))
		status, _ := ask(t, client, "GET", url+"/api/peers", "", "Authorization", "Basic "+credentials)
		require.Equal(t, want, status, password)
	}
}
