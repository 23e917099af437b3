//go:build linux

package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/web/api"
)

// proxies are the ways to run a reverse proxy with what our documents show of it: %[1]s listens
// at %[2]s and has %[3]s as a directory of its own.
var proxies = map[string]struct {
	config string
	args   []string
}{
	"nginx": {`daemon off;
master_process off;
pid %[3]s/pid;
events {}
http {
  access_log off;
  client_body_temp_path %[3]s/body;
  proxy_temp_path %[3]s/proxy;
  fastcgi_temp_path %[3]s/fastcgi;
  scgi_temp_path %[3]s/scgi;
  uwsgi_temp_path %[3]s/uwsgi;
  server {
    listen %[2]s;
    location = /ready { return 204; }
%[1]s
  }
}
`, []string{"-c"}},
	"caddy": {`{
	admin off
	storage file_system %[3]s/data
}
http://%[2]s {
	bind 127.0.0.1
	respond /ready 204
%[1]s
}
`, []string{"run", "--adapter", "caddyfile", "--config"}},
}

// startProxy starts one before the collector and returns the URL of the collector behind it.
func (p *pings) startProxy(name string) string {
	p.t.Helper()
	example, err := os.ReadFile(filepath.Join("..", "..", "deploy", "examples", name+".conf"))
	require.NoError(p.t, err)
	require.Contains(p.t, string(example), "127.0.0.1:7879")
	address, dir := testkit.FreeAddress(p.t), p.t.TempDir()
	part := strings.ReplaceAll(string(example), "127.0.0.1:7879", p.http)
	file := filepath.Join(dir, "proxy.conf")
	require.NoError(p.t, os.WriteFile(file, fmt.Appendf(nil, proxies[name].config, part, address, dir), 0o600))
	return serve(p.t, address, "/ready", name, append(proxies[name].args, file)...).url + "/heartbeat/"
}

// A caller is a client at an address of its own.
type caller struct {
	t    *testing.T
	from string
}

// get returns status and body.
func (v caller) get(url string, change func(*http.Request)) (int, string) {
	v.t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(v.from)}}
	client := http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(v.t.Context(), http.MethodGet, url, nil)
	require.NoError(v.t, err)
	if change != nil {
		change(request)
	}
	answer, err := client.Do(request)
	require.NoError(v.t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(v.t, err)
	return answer.StatusCode, string(body)
}

// asAdmin makes a request one of a person who may read.
func asAdmin(r *http.Request) { r.SetBasicAuth("admin", "a password of 16") }

// Behind a proxy the collector is at a path, and nobody is taken for this host because the proxy
// is on it.
func TestBehindAProxyNobodyIsLoopback(t *testing.T) {
	t.Parallel()
	for name := range proxies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPings(t, `basic_username = "admin"`, `basic_password = "a password of 16"`, check(pingID, "web-1/backup"))
			p.start()
			proxied, here := p.startProxy(name), caller{t, "127.0.0.1"}
			status, body := here.get(proxied+"ping/"+pingID, nil)
			require.Equal(t, "200 OK", fmt.Sprint(status, " ", body))
			p.untilStates("web-1", "backup", "alive beat")

			for _, path := range []string{"ping/web-2/sync", "ping/web-1/backup/leave"} {
				status, body = here.get(proxied+path, nil)
				require.Equal(t, http.StatusForbidden, status, path)
				require.Contains(t, body, "allowed_sources")
			}
			require.Equal(t, []string{"alive beat"}, p.states("web-1", "backup"))
			require.Empty(t, p.states("web-2", "sync"))

			status, _ = here.get(proxied, nil)
			require.Equal(t, http.StatusUnauthorized, status)
			status, page := here.get(proxied, asAdmin)
			require.Equal(t, http.StatusOK, status)
			require.Contains(t, page, "web-1")
			for _, link := range regexp.MustCompile(`(?:href|src|action)="([^"]*)"`).FindAllStringSubmatch(page, -1) {
				require.NotRegexp(t, "^(/|https?:)", link[1], "a link that leaves the path of the proxy")
			}
			status, _ = here.get(proxied+strings.TrimPrefix(api.PathPeers, "/"), asAdmin)
			require.Equal(t, http.StatusOK, status)
		})
	}
}

// Neither is whoever comes through nginx that was told nothing of headers: it sends this.
func TestBehindABareNginxNobodyIsLoopback(t *testing.T) {
	t.Parallel()
	p := newPings(t)
	p.start()
	answers, _ := p.requests("GET /ping/web-1/sync HTTP/1.0\r\nHost: HOST\r\nConnection: close\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n")
	require.Regexp(t, "^403 .*allowed_sources", answers[0])
	require.Empty(t, p.states("web-1", "sync"))
}

// Which host it is that a proxy speaks for counts if the proxy is one that we trust, and what a
// client says of itself never does.
func TestBehindATrustedProxyTheClientCounts(t *testing.T) {
	t.Parallel()
	for name := range proxies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPings(t, `trusted_proxies = ["127.0.0.1"]`, `allowed_sources = ["127.0.0.5"]`)
			p.start()
			ping := p.startProxy(name) + "ping/web-1/sync"
			known, other := caller{t, "127.0.0.5"}, caller{t, "127.0.0.6"}
			forge := func(r *http.Request) { r.Header.Set("X-Forwarded-For", "127.0.0.5") }
			for url, change := range map[string]func(*http.Request){ping: nil, ping + "?": forge, p.url("/ping/web-1/sync"): forge} {
				status, _ := other.get(url, change)
				require.Equal(t, http.StatusForbidden, status, url)
			}
			require.Empty(t, p.states("web-1", "sync"))
			status, _ := known.get(ping, nil)
			require.Equal(t, http.StatusOK, status)
			p.untilStates("web-1", "sync", "alive beat")
		})
	}
}
