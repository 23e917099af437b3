package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/web/api"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

const (
	uuid    = "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278"
	unknown = "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea279"
	key     = "web-1-has-this-ping-key"
	fleet   = "all-telegrafs-have-this"
)

// A site is a Server whose beats and refusals are recorded.
type site struct {
	*Server
	taken   []Ping
	answers Result
	refused []wire.Reason
	texts   []string
}

func newSite(t testing.TB, change func(*Options)) *site {
	t.Helper()
	s := new(site)
	checks, err := NewChecks([]Check{
		{Token: uuid, Peer: "Web-1/backup", Every: 24 * time.Hour, Grace: time.Hour, MaxRuntime: 2 * time.Hour},
		{Token: key, Peers: []string{"web-1/*"}},
		{Token: fleet, Peers: []string{"*/telegraf", "db-?/x*"}, Every: time.Minute},
	}, nil, testutil.Logger{Quiet: true})
	require.NoError(t, err)
	options := &Options{
		Checks: checks, ReadTimeout: 10 * time.Second, MaxBeat: 1000, Log: testutil.Logger{Quiet: true},
		Receive: func(p *Ping) Result {
			s.taken = append(s.taken, *p)
			return s.answers
		},
		ReceiveBeat: func(payload []byte, _ *Speaker) Result {
			return Result{Answer: fmt.Appendf(nil, `{"ack":%d}`, len(payload)), Recorded: true}
		},
		Refused: func(reason wire.Reason, _, text string) {
			s.refused, s.texts = append(s.refused, reason), append(s.texts, text)
		},
		Recorded: func(net.Conn) {},
		Panicked: func(_ string, cause any) { t.Errorf("panic: %v", cause) },
		Read:     http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "page ", r.URL.Path) }),
	}
	if change != nil {
		change(options)
	}
	s.Server = New(nil, options)
	return s
}

// local returns a request from this host.
func local(method, target, body string) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.RemoteAddr, r.Host = "127.0.0.1:4711", "localhost:7879"
	return r
}

// remote returns one from elsewhere.
func remote(method, target, body string) *http.Request {
	r := local(method, target, body)
	r.RemoteAddr, r.Host = "10.0.0.5:4711", "collector:7879"
	return r
}

func (s *site) ask(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// said returns what was taken of the latest request, in short.
func said(p *Ping) string {
	text := fmt.Sprintf("%s/%s %s every=%s grace=%s", p.Host, p.Service, p.Status,
		formatDuration(time.Duration(p.IntervalMS)*time.Millisecond), formatDuration(time.Duration(p.GraceMS)*time.Millisecond))
	if p.HasExitCode {
		text += fmt.Sprintf(" exit=%d", p.ExitCode)
	}
	if p.BackInMS > 0 {
		text += fmt.Sprintf(" back=%dms", p.BackInMS)
	}
	if p.Job != "" {
		text += " job=" + p.Job[:4]
	}
	if p.Begins {
		text += fmt.Sprintf(" begins max=%s", p.MaxRuntime)
	}
	return text
}

// Every path and verb of clients of Healthchecks and Uptime Kuma.
func TestPingsAreUnderstood(t *testing.T) {
	const notFound = "not found: use /ping/TOKEN with a token of [[inputs.heartbeat.check]] or 'check_files', or /ping/HOST/SERVICE"
	const rid = "?rid=0F66A1C3-1E3A-4C6B-8B7A-2E0B1E3A4C6B"
	for target, want := range map[string]string{
		"/ping/" + uuid:                            "200 OK | web-1/backup alive every=24h grace=1h",
		"/ping/" + strings.ToUpper(uuid):           "200 OK | web-1/backup alive every=24h grace=1h",
		"/ping/" + uuid + "/":                      "200 OK | web-1/backup alive every=24h grace=1h",
		"/ping/" + uuid + "/0":                     "200 OK | web-1/backup alive every=24h grace=1h",
		"/ping/" + uuid + "/fail":                  "200 OK | web-1/backup dead every=24h grace=1h",
		"/ping/" + uuid + "/3":                     "200 OK | web-1/backup dead every=24h grace=1h exit=3",
		"/ping/" + uuid + "/255":                   "200 OK | web-1/backup dead every=24h grace=1h exit=255",
		"/ping/" + uuid + "/256":                   "400 invalid url format |",
		"/ping/" + uuid + "/log":                   "200 OK |",
		"/ping/" + uuid + "/start" + rid:           "200 OK | web-1/backup alive every=24h grace=1h job=0f66 begins max=2h0m0s",
		"/ping/" + uuid + "/7" + rid:               "200 OK | web-1/backup dead every=24h grace=1h exit=7 job=0f66",
		"/ping/" + uuid + "?rid=x":                 "400 invalid url format |",
		"/ping/" + uuid + "?every=5m":              "200 OK | web-1/backup alive every=24h grace=1h",
		"/ping/" + uuid + "/leave?back_in=5m":      "200 OK | web-1/backup leaving every=24h grace=1h back=300000ms",
		"/ping/" + uuid + "/slug":                  `400 the check of this token needs peers = ["HOST/*"] |`,
		"/ping/" + unknown:                         "404 not found |",
		"/ping/" + unknown + "/fail":               "404 not found |",
		"/ping/" + key + "/backup":                 "200 OK | web-1/backup alive every=24h grace=1h",
		"/ping/" + key + "/backup/fail":            "200 OK | web-1/backup dead every=24h grace=1h",
		"/ping/" + key + "/backup?every=10m":       "200 OK | web-1/backup alive every=10m grace=0s",
		"/ping/" + key + "/x?every=7d&grace=2h":    "200 OK | web-1/x alive every=168h grace=2h",
		"/ping/" + key + "/x?grace=90":             "200 OK | web-1/x alive every=24h grace=1m30s",
		"/ping/" + key + "/x/start?max_runtime=5m": "200 OK | web-1/x alive every=24h grace=1h begins max=5m0s",
		"/ping/" + uuid + "/start?max_runtime=5m":  "200 OK | web-1/backup alive every=24h grace=1h begins max=2h0m0s",
		"/ping/" + uuid + "/start?max_runtime=x":   "400 max_runtime: \"x\" is not a duration: write one like \"5m\", \"24h\" or \"7d\" |",
		"/ping/aKeyThatIsNotKnownHere/x": "404 not found: it looks like a token, but is not one of [[inputs.heartbeat.check]] or 'check_files'; " +
			"a host of 16 letters or more without . or - needs a bearer token |",
		"/ping/" + key + "/x?every=400d&grace=400d":       "200 OK | web-1/x alive every=9600h grace=9600h",
		"/ping/" + key + "/x/start?max_runtime=400d":      "200 OK | web-1/x alive every=24h grace=1h begins max=9600h0m0s",
		"/ping/" + key + "/x/leave?back_in=400d":          "200 OK | web-1/x leaving every=24h grace=1h back=34560000000ms",
		"/ping/" + key + "/x?every=401d":                  `400 every: "401d" is too long: at most 400d is allowed |`,
		"/ping/" + key + "/x?every=1h&grace=34560001":     `400 grace: "34560001" is too long: at most 400d is allowed |`,
		"/ping/" + key + "/x/start?max_runtime=401d":      `400 max_runtime: "401d" is too long: at most 400d is allowed |`,
		"/ping/" + key + "/x/leave?back_in=9601h":         `400 back_in: "9601h" is too long: at most 400d is allowed |`,
		"/ping/" + key + "/x?every=106751d":               `400 every: "106751d" is too long: at most 400d is allowed |`,
		"/ping/" + key + "/x?every=106752d":               `400 every: "106752d" is not a duration: write one like "5m", "24h" or "7d" |`,
		"/ping/" + key + "/x?every=-1d":                   `400 every: "-1d" is not a duration: write one like "5m", "24h" or "7d" |`,
		"/ping/" + key + "/x?every=1ns":                   "400 every: must be at least 100ms |",
		"/ping/" + key + "/x?every=0":                     "400 every: must be at least 100ms |",
		"/ping/" + key + "/x?every=1m;grace=2m":           "400 invalid url format |",
		"/ping/" + key + "/x?every=soon":                  `400 every: "soon" is not a duration: write one like "5m", "24h" or "7d" |`,
		"/ping/" + key:                                    "400 invalid url format |",
		"/ping/" + key + "/fail":                          "400 invalid url format |",
		"/ping/" + fleet + "/backup":                      `400 the check of this token needs peers = ["HOST/*"] |`,
		"/ping/web-2/nginx":                               "200 OK | web-2/nginx alive every=24h grace=1h",
		"/ping/WEB-2./a/b%2Fc":                            "200 OK | web-2/a/b/c alive every=24h grace=1h",
		"/ping/web-2/nginx/0":                             "200 OK | web-2/nginx alive every=24h grace=1h",
		"/ping/web-2/a%20b":                               `400 service: ' ' in "a b" is not allowed |`,
		"/ping/web-2//x":                                  "400 invalid url format |",
		"/ping/web-2/fail":                                "404 " + notFound + " |",
		"/ping/":                                          "400 invalid url format |",
		"/api/push/" + uuid:                               `200 {"ok":true} | web-1/backup alive every=24h grace=1h`,
		"/api/push/" + uuid + "?status=up&msg=OK&ping=12": `200 {"ok":true} | web-1/backup alive every=24h grace=1h`,
		"/api/push/" + uuid + "?status=down":              `200 {"ok":true} | web-1/backup dead every=24h grace=1h`,
		"/api/push/" + unknown:                            `404 {"ok":false,"msg":"Monitor not found or not active."} |`,
		"/api/push/" + key:                                `404 {"ok":false,"msg":"Monitor not found or not active."} |`,
		"/api/push/":                                      `404 {"ok":false,"msg":"Monitor not found or not active."} |`,
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodHead} {
			s := newSite(t, nil)
			w := s.ask(local(method, target, "a body"))
			got := fmt.Sprintf("%d %s |", w.Code, w.Body)
			if len(s.taken) > 0 {
				got += " " + said(&s.taken[0])
			}
			require.Equal(t, want, got, "%s %s", method, target)
			require.Equal(t, w.Code >= 400, len(s.refused) == 1, "every refusal is counted")
			for _, text := range s.texts {
				for segment := range strings.SplitSeq(strings.TrimPrefix(target, "/ping/"), "/") {
					require.False(t, len(segment) >= MinToken && strings.Contains(text, segment), text)
				}
			}
		}
	}
}

func TestOtherMethodsAreRefused(t *testing.T) {
	for target, allowed := range map[string]string{
		"/ping/" + uuid: "GET, HEAD, POST", "/api/push/" + uuid: "GET, HEAD, POST", "/beat": "POST", "/heartbeat": "POST", "/": "GET, HEAD",
	} {
		s := newSite(t, nil)
		w := s.ask(local(http.MethodDelete, target, ""))
		require.Equal(t, 405, w.Code)
		require.Equal(t, allowed, w.Header().Get("Allow"))
		require.Equal(t, []wire.Reason{ReasonRequest}, s.refused)
		require.Empty(t, s.taken)
	}
}

func TestAnswersTellTheSilenceThatIsAllowed(t *testing.T) {
	s := newSite(t, nil)
	for d, want := range map[time.Duration]string{
		25 * time.Hour: "25h", 90 * time.Minute: "1h30m", 181 * time.Second: "3m1s", 10 * time.Minute: "10m", 30 * time.Second: "30s",
	} {
		s.answers.DeadAfter = d
		require.Equal(t, want, s.ask(local("GET", "/ping/"+uuid, "")).Header().Get("Heartbeat-Dead-After"))
	}
	require.Equal(t, "10000", s.ask(local("GET", "/ping/"+uuid, "")).Header().Get("Ping-Body-Limit"))
}

func TestWhatTheJudgeSaysIsTheStatus(t *testing.T) {
	for want, answers := range map[string]Result{
		"503": {Refusal: &wire.Refusal{Reason: "max_peers", Text: "full"}, Blameless: true},
		"403": {Refusal: &wire.Refusal{Reason: "host", Text: "no"}},
		"400": {Refusal: &wire.Refusal{Reason: wire.ReasonValue, Text: "bad"}},
		"404": {Unknown: true},
		"201": {New: true},
		"200": {},
	} {
		s := newSite(t, nil)
		s.answers = answers
		require.Equal(t, want, strconv.Itoa(s.ask(remote("GET", "/ping/"+key+"/x?create=1", "")).Code))
	}
}

// A request without a token counts as one of this host only if nothing says otherwise.
func TestWhoIsOfThisHost(t *testing.T) {
	for name, c := range map[string]struct {
		remote, host string
		header       http.Header
		want         int
	}{
		"loopback":                                 {"127.0.0.1:1", "localhost:7879", nil, 200},
		"loopback by address":                      {"127.0.0.1:1", "127.0.0.1", nil, 200},
		"loopback of IPv6":                         {"[::1]:1", "[::1]:7879", nil, 200},
		"mapped":                                   {"[::ffff:127.0.0.1]:1", "LOCALHOST", nil, 200},
		"elsewhere":                                {"10.9.0.1:1", "localhost", nil, 403},
		"allowed":                                  {"10.0.0.5:1", "collector:7879", nil, 200},
		"a name that was rebound":                  {"127.0.0.1:1", "evil.example:7879", nil, 403},
		"a name with a dot":                        {"127.0.0.1:1", "localhost.", nil, 403},
		"no name":                                  {"127.0.0.1:1", "", nil, 403},
		"a page of somebody else":                  {"127.0.0.1:1", "localhost", http.Header{"Sec-Fetch-Site": {"cross-site"}}, 403},
		"a page of somebody else, allowed":         {"10.0.0.5:1", "collector", http.Header{"Sec-Fetch-Site": {"cross-site"}}, 403},
		"a page of ours":                           {"127.0.0.1:1", "localhost", http.Header{"Sec-Fetch-Site": {"same-origin"}}, 200},
		"forwarded":                                {"127.0.0.1:1", "localhost", http.Header{"X-Forwarded-For": {"127.0.0.1"}}, 403},
		"forwarded, empty":                         {"127.0.0.1:1", "localhost", http.Header{"X-Forwarded-For": {""}}, 403},
		"forwarded as of RFC 7239":                 {"127.0.0.1:1", "localhost", http.Header{"Forwarded": {"for=127.0.0.1"}}, 403},
		"forwarded by nginx":                       {"127.0.0.1:1", "localhost", http.Header{"X-Real-Ip": {"127.0.0.1"}}, 403},
		"the word of a stranger":                   {"10.9.0.1:1", "x", http.Header{"X-Forwarded-For": {"10.0.0.5"}}, 403},
		"an allowed one's word":                    {"10.0.0.5:1", "x", http.Header{"X-Forwarded-For": {"10.9.0.1"}}, 200},
		"a proxy's word":                           {"10.1.0.1:1", "x", http.Header{"X-Forwarded-For": {"10.0.0.5"}}, 200},
		"a proxy's last word":                      {"10.1.0.1:1", "x", http.Header{"X-Forwarded-For": {"10.0.0.5, 10.9.0.1"}}, 403},
		"two lines":                                {"10.1.0.1:1", "x", http.Header{"X-Forwarded-For": {"10.0.0.5", "10.9.0.1"}}, 403},
		"two proxies":                              {"10.1.0.1:1", "x", http.Header{"X-Forwarded-For": {"10.9.0.1, 10.0.0.5, 10.1.0.2"}}, 200},
		"only proxies":                             {"10.1.0.1:1", "x", http.Header{"X-Forwarded-For": {"10.1.0.3, 10.1.0.2"}}, 403},
		"a proxy says loopback":                    {"10.1.0.1:1", "localhost", http.Header{"X-Forwarded-For": {"127.0.0.1"}}, 403},
		"a proxy says nothing":                     {"10.1.0.1:1", "localhost", http.Header{"X-Forwarded-For": {"unknown"}}, 403},
		"Forwarded of a proxy":                     {"10.1.0.1:1", "x", http.Header{"Forwarded": {`proto=http; For="10.0.0.5:99";by=x`}}, 200},
		"Forwarded, hidden":                        {"10.1.0.1:1", "x", http.Header{"Forwarded": {"for=10.0.0.5, for=_hidden"}}, 403},
		"X-Real-IP of a proxy":                     {"10.1.0.1:1", "x", http.Header{"X-Real-Ip": {"10.0.0.5"}}, 200},
		"one header let through":                   {"10.1.0.1:1", "x", http.Header{"X-Forwarded-For": {"10.0.0.5"}, "X-Real-Ip": {"10.9.0.1"}}, 403},
		"the other let through":                    {"10.1.0.1:1", "x", http.Header{"X-Forwarded-For": {"10.9.0.1"}, "X-Real-Ip": {"10.0.0.5"}}, 403},
		"two that agree":                           {"10.1.0.1:1", "x", http.Header{"X-Forwarded-For": {"10.0.0.5"}, "X-Real-Ip": {"10.0.0.5"}}, 200},
		"a word of the proxy, another let through": {"10.1.0.1:1", "x", http.Header{"X-Forwarded-For": {"10.1.0.2"}, "X-Real-Ip": {"10.0.0.5"}}, 403},
		"a proxy that tells nothing but itself":    {"127.0.0.1:1", "localhost", http.Header{"Via": {"1.1 proxy"}}, 403},
		"a form of somebody else":                  {"127.0.0.1:1", "localhost", http.Header{"Origin": {"http://evil.example"}}, 403},
		"a form of nobody":                         {"127.0.0.1:1", "localhost", http.Header{"Origin": {"null"}}, 403},
		"a form of somebody else, allowed":         {"10.0.0.5:1", "collector", http.Header{"Origin": {"http://evil.example"}}, 403},
		"a form of ours":                           {"127.0.0.1:1", "localhost:7879", http.Header{"Origin": {"http://localhost:7879"}}, 200},
		"a proxy for itself":                       {"10.1.0.1:1", "x", nil, 403},
	} {
		t.Run(name, func(t *testing.T) {
			for _, target := range []string{"/ping/web-2/nginx", "/beat", "/heartbeat"} {
				s := newSite(t, func(o *Options) {
					o.AllowedSources = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}
					o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.1.0.0/24")}
				})
				r := local(http.MethodPost, target, `{"id":"a","schema":1,"hostname":"web-2"}`)
				r.RemoteAddr, r.Host = c.remote, c.host
				if c.header != nil {
					r.Header = c.header
				}
				w := s.ask(r)
				require.Equal(t, c.want, w.Code, target)
				if c.want == 403 {
					require.Contains(t, w.Body.String(), "'allowed_sources'")
					require.Contains(t, w.Body.String(), "ssh -L")
					require.Equal(t, []wire.Reason{"source"}, s.refused)
				}
			}
		})
	}
}

// A proxy that adds no header, sets Host to this server and uses HTTP/1.0, as nginx does by
// default.
func TestABareProxyIsNotThisHost(t *testing.T) {
	s := newSite(t, nil)
	r := local("GET", "/ping/web-2/nginx", "")
	r.Proto, r.ProtoMinor = "HTTP/1.0", 0
	require.Equal(t, 403, s.ask(r).Code)
	s = newSite(t, func(o *Options) { o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	require.Equal(t, 403, s.ask(local("GET", "/ping/web-2/nginx", "")).Code, "it always says where requests come from")
}

// The advice depends on what is in between.
func TestRefusalSaysWhatToDo(t *testing.T) {
	s := newSite(t, func(o *Options) { o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.1.0.0/24")} })
	for want, r := range map[string]*http.Request{
		"add it to 'allowed_readers'; or use an SSH tunnel: ssh -L 80:localhost:80 HOST":    remote("GET", "/api/peers", ""),
		"add the proxy to 'trusted_proxies', and the client behind it to 'allowed_readers'": with(local("GET", "/api/peers", ""), "127.0.0.1:1"),
		"the proxy does not send the client's address, which must be in 'allowed_readers'":  with(remote("GET", "/api/peers", ""), "10.1.0.1:1"),
		"use http://localhost:80/ with HTTP/1.1, or add it to 'allowed_readers'":            named(local("GET", "/api/peers", "")),
	} {
		local := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80}
		w := s.ask(r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(local))))
		require.Equal(t, 403, w.Code)
		require.Contains(t, w.Body.String(), want)
	}
}

// with is a request that a proxy has passed on without a word on where it comes from.
func with(r *http.Request, remote string) *http.Request {
	r.RemoteAddr = remote
	r.Header.Set("X-Forwarded-For", "unknown")
	return r
}

// named is a request for this host under another name.
func named(r *http.Request) *http.Request {
	r.Host = "collector.example.com"
	return r
}

func TestWithoutAllowedSourcesOnlyThisHostNeedsNoToken(t *testing.T) {
	s := newSite(t, nil)
	require.Equal(t, 200, s.ask(local("GET", "/ping/web-2/nginx", "")).Code)
	require.Equal(t, 403, s.ask(remote("GET", "/ping/web-2/nginx", "")).Code)
	require.Equal(t, 200, s.ask(remote("GET", "/ping/"+uuid, "")).Code)
}

func TestATokenSpeaksForItsPeersAlone(t *testing.T) {
	s := newSite(t, nil)
	ask := func(token string) int {
		r := remote("POST", "/heartbeat", `{"id":"a","schema":1,"hostname":"web-9"}`)
		r.Header.Set("Authorization", "Bearer "+token)
		return s.ask(r).Code
	}
	require.Equal(t, 200, ask(fleet))
	may := s.taken[0].From.May
	require.True(t, may("web-9", "telegraf"))
	require.True(t, may("db-1", "x/y"), "a service may have a slash")
	require.False(t, may("web-9", "nginx"))
	require.False(t, may("db-11", "x"))
	require.Equal(t, int64(60_000), s.taken[0].IntervalMS, "the check says so")
	require.Equal(t, 401, ask("not-a-token-that-is-known"))
	r := local("POST", "/heartbeat", `{"id":"a","schema":1,"hostname":"web-9"}`)
	r.Header.Set("Authorization", "Bearer nonsense")
	w := s.ask(r)
	require.Equal(t, 401, w.Code, "not even from here")
	require.Contains(t, w.Body.String(), "[[inputs.heartbeat.check]]")
	require.Contains(t, w.Body.String(), "ssh -L")
	require.NotContains(t, fmt.Sprint(s.texts), "nonsense")
}

func TestHostOfAKeyIsAServiceOfItsName(t *testing.T) {
	checks, err := NewChecks([]Check{{Token: uuid, Peer: "web-1"}, {Token: key, Peer: "web-2/host"}}, nil, nil)
	require.NoError(t, err)
	for token, host := range map[string]string{uuid: "web-1", key: "web-2"} {
		require.True(t, checks.find(token).covers(host, ""))
		require.True(t, checks.find(token).covers(host, hostService))
		require.False(t, checks.find(token).covers(host, "nginx"))
	}
}

func TestWhoMayRead(t *testing.T) {
	readers := func(o *Options) { o.AllowedReaders = []netip.Prefix{netip.MustParsePrefix("10.0.0.5/32")} }
	password := func(o *Options) { o.Username, o.Password = "ops", "secret" }
	with := func(r *http.Request, name, word string) *http.Request {
		r.SetBasicAuth(name, word)
		return r
	}
	forwarded := local("GET", "/", "")
	forwarded.Header.Set("X-Forwarded-For", "127.0.0.1")
	for _, c := range []struct {
		name   string
		change func(*Options)
		from   *http.Request
		want   int
	}{
		{"this host", nil, local("GET", "/", ""), 200},
		{"elsewhere", nil, remote("GET", "/api/peers", ""), 403},
		{"through a proxy", nil, forwarded, 403},
		{"allowed", readers, remote("GET", "/", ""), 200},
		{"no password", password, remote("GET", "/", ""), 401},
		{"no password, of this host", password, local("GET", "/", ""), 401},
		{"password", password, with(remote("GET", "/", ""), "ops", "secret"), 200},
		{"wrong password", password, with(remote("GET", "/", ""), "ops", "secre"), 401},
		{"wrong name", password, with(remote("GET", "/", ""), "op", "secret"), 401},
		{"health", password, remote("GET", "/health", ""), 200},
	} {
		s := newSite(t, c.change)
		w := s.ask(c.from)
		require.Equal(t, c.want, w.Code, c.name)
		switch c.want {
		case 403:
			if strings.HasPrefix(c.from.URL.Path, "/api/") {
				require.NoError(t, json.Unmarshal(w.Body.Bytes(), new(api.Error)))
			}
			require.Contains(t, w.Body.String(), "'allowed_readers'")
			require.Contains(t, w.Body.String(), "ssh -L")
		case 401:
			require.Contains(t, w.Header().Get("WWW-Authenticate"), "Basic")
			require.Contains(t, w.Body.String(), "'basic_password'")
		default:
			require.Equal(t, "page "+c.from.URL.Path, w.Body.String())
			continue
		}
		require.Equal(t, []wire.Reason{ReasonReader}, s.refused)
	}
}

func TestOurOwnBeatIsAnsweredInOurOwnProtocol(t *testing.T) {
	s := newSite(t, nil)
	w := s.ask(local("POST", "/beat", `{"pid":0}`))
	require.Equal(t, `{"ack":9}`, w.Body.String())
	require.Equal(t, 200, w.Code)
	w = s.ask(local("POST", "/beat", strings.Repeat("x", 1001)))
	require.Equal(t, 413, w.Code)
	answer, err := wire.DecodeAnswer(w.Body.Bytes())
	require.NoError(t, err)
	require.Contains(t, answer.Error, "'max_frame_size'")
	require.Equal(t, []wire.Reason{wire.ReasonOversize}, s.refused)
}

func TestAPanicCostsOneRequest(t *testing.T) {
	var causes []any
	s := newSite(t, func(o *Options) {
		o.Receive = func(*Ping) Result { panic("x") }
		o.Panicked = func(_ string, cause any) { causes = append(causes, cause) }
	})
	require.Equal(t, 500, s.ask(local("GET", "/ping/"+uuid, "")).Code)
	require.Equal(t, []any{"x"}, causes)
}
