//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/web/api"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/web/page"
)

// A shown is a page of peers that a test makes up, behind a path as a proxy gives it.
type shown struct {
	mu    sync.Mutex
	peers []liveness.Details
	url   string
}

func showPeers(t *testing.T, names ...string) *shown {
	t.Helper()
	s := &shown{}
	for _, name := range names {
		source, service, _ := strings.Cut(name, "/")
		s.peers = append(s.peers, liveness.Details{View: liveness.View{
			ID: liveness.ID{Source: source, Service: service}, State: liveness.Alive, Reason: liveness.ReasonBeat, Since: time.Now(),
		}})
	}
	answers := page.New(page.Options{
		Peers: func() []liveness.Details {
			s.mu.Lock()
			defer s.mu.Unlock()
			return append([]liveness.Details(nil), s.peers...)
		},
		Collector: func() api.Collector { return api.Collector{Name: "collector-1"} },
		Listening: func() bool { return true },
	})
	paths := http.NewServeMux()
	paths.Handle("/below/", http.StripPrefix("/below", answers))
	server := httptest.NewServer(paths)
	t.Cleanup(server.Close)
	s.url = server.URL + "/below/"
	return s
}

// kill lets the first peer be dead.
func (s *shown) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.peers[0].State, s.peers[0].Reason, s.peers[0].Since = liveness.Dead, liveness.ReasonConnClosed, time.Now()
}

const firstRow = `document.querySelector('tbody tr')`

func TestPageChangesWithoutReload(t *testing.T) {
	t.Parallel()
	s := showPeers(t, "web-1/nginx", "web-2/nginx", "db-1/host")
	b := openTab(t, s.url)
	b.set(`window.loaded = 1`)
	require.False(t, b.holds(firstRow))
	s.kill()
	b.until("the row of the dead", firstRow+`?.dataset.state === 'dead'`)
	b.set(`[red, green, blue] = getComputedStyle(` + firstRow + `).backgroundColor.match(/\d+/g).map(Number)`)
	require.True(t, b.holds(`red > green + 20 && red > blue + 20`))
	for state, color := range map[string]string{"dead": red, "suspect": yellow, "unknown": gray, "left": blue, "alive": green} {
		b.set(`window.asInGrafana = document.createElement('i'); asInGrafana.style.color = '` + color + `'`)
		require.True(t, b.holds(`getComputedStyle(document.querySelector('nav b[data-state=`+state+`]')).backgroundColor === asInGrafana.style.color`), state)
	}
	require.True(t, b.holds(`document.getElementById('news').textContent.includes('web-1/nginx is dead')`), "which a screen reader says")
	require.True(t, b.holds(`document.title.startsWith('1 dead')`))
	require.True(t, b.holds(firstRow+`.textContent.includes(' ago)')`))
	require.True(t, b.holds(`window.loaded`), "it was not loaded again")
	require.Empty(t, b.complaints())
	require.Empty(t, b.elsewhere(s.url))
}

func TestPageIsSearchedAndLinked(t *testing.T) {
	t.Parallel()
	s := showPeers(t, "web-1/nginx", "web-2/nginx", "db-1/host")
	b := openTab(t, s.url)
	b.do(chromedp.SendKeys(chromedp.CSS("#q"), "WEB-*\r"))
	b.until("the answer", `document.querySelectorAll('tbody tr').length === 2`)
	require.True(t, b.holds(`location.pathname === '/below/' && location.search.includes('q=WEB-*')`))
	b.do(chromedp.Click(chromedp.CSS("tbody tr a")))
	b.until("the peer", `document.getElementById('peer')?.textContent === 'web-1/nginx'`)
	require.True(t, b.holds(`document.querySelectorAll('tbody tr').length === 2`), "the search stays")

	b.do(chromedp.Navigate(s.url + "?peer=db-1/host"))
	b.until("the peer of the link", `document.getElementById('peer')?.textContent === 'db-1/host'`)
	require.Empty(t, b.complaints())
	require.Empty(t, b.elsewhere(s.url))
}

// The row that somebody reads stays where the keyboard is when others change.
func TestPageKeepsTheFocus(t *testing.T) {
	t.Parallel()
	s := showPeers(t, "web-1/nginx", "web-2/nginx")
	b := openTab(t, s.url+"?q=web")
	b.set(`[...document.querySelectorAll('tbody a')].at(-1).focus()`)
	require.True(t, b.holds(`document.activeElement.textContent === 'web-2/nginx'`))
	s.kill()
	b.until("the change", firstRow+`.dataset.state === 'dead'`)
	require.True(t, b.holds(`document.activeElement.textContent === 'web-2/nginx'`))
}

func TestHostileNamesRunNothing(t *testing.T) {
	t.Parallel()
	names := []string{
		`x/<script>window.harm=1</script>`, `x/"><img src=x onerror=window.harm=1>`, `x/'-window.harm-'`, "x/\u202egnp.exe\u202e\u2066",
		"x/" + strings.Repeat("W", 250), `x/</title><script>window.harm=1</script>`, `x/javascript:window.harm=1`,
	}
	s := showPeers(t, names...)
	for i := range s.peers {
		s.peers[i].Labels = []liveness.Label{{Key: "site", Value: names[i]}}
	}
	b := openTab(t, s.url+"?state=alive")
	s.kill() // so that the script shows them, too
	b.until("a change", `document.getElementById('news').textContent !== ''`)
	for _, name := range names {
		b.do(chromedp.Navigate(s.url + "?state=alive&state=dead&peer=" + url.QueryEscape(name)))
		require.True(t, b.holds(`document.querySelectorAll('tbody tr').length === 7`))
		require.False(t, b.holds(`window.harm`), name)
		require.True(t, b.holds(`document.scripts.length === 1 && document.images.length === 0`))
		require.True(t, b.holds(`document.documentElement.scrollWidth <= innerWidth`), "nothing is wider than the window")
	}
	require.Empty(t, b.complaints())
	require.Empty(t, b.elsewhere(s.url))
}

// What is hidden asks nothing.
func TestPageThatIsHiddenIsQuiet(t *testing.T) {
	t.Parallel()
	s := showPeers(t, "web-1/nginx")
	b := openTab(t, s.url)
	b.set(`Object.defineProperty(document, 'hidden', {get: () => window.away, configurable: true}); window.away = true;
		window.turn = away => { window.away = away; document.dispatchEvent(new Event('visibilitychange')); };
		window.asked = 0; const fetched = window.fetch; window.fetch = (...all) => { window.asked++; window.whileAsking?.(); return fetched(...all); };
		turn(true); setTimeout(() => window.waited = true, 3 * 2000)`)
	b.until("three pauses", `window.waited`)
	require.True(t, b.holds(`window.asked === 0`))

	b.set(`window.waited = false; window.whileAsking = () => turn(true); turn(false); setTimeout(() => window.waited = true, 3 * 2000)`)
	b.until("three pauses", `window.waited`)
	require.True(t, b.holds(`window.asked === 1`), "it was hidden while it asked")
	b.set(`window.whileAsking = undefined; turn(false)`)
	b.until("more questions", `window.asked > 2`)
}

// A collector is looked at in a browser while a process is killed, and then the collector.
func TestPageOfACollector(t *testing.T) {
	t.Parallel()
	state := filepath.Join(t.TempDir(), "state")
	collector, beats, site := startWithPage(t, state, "127.0.0.1:0")
	killed := startSender(t, beats, "web-1", "nginx")
	startSender(t, beats, "web-2", "nginx")
	testkit.Until(t, "both to beat", func() bool { return len(peersAt(t, site).Peers) == 2 })

	b := openTab(t, site)
	b.set(`window.loaded = 1`)
	killed.Kill()
	b.until("the row of the dead", firstRow+`?.dataset.state === 'dead'`)
	seen := float64(time.Now().UnixMilli()) / 1e3
	dead := peersAt(t, site).Peers[0]
	require.Equal(t, "web-1/nginx", dead.Name())
	require.Less(t, seen-dead.Since, 30.0, "three seconds are needed")
	t.Logf("seen %.1f s after the verdict", seen-dead.Since)
	require.True(t, b.holds(firstRow+`.textContent.includes('its connection was closed without a goodbye')`))
	require.Empty(t, b.complaints())

	collector.Kill()
	b.until("the loss", `!document.getElementById('lost').hidden`)
	require.True(t, b.holds(firstRow+`.dataset.state === 'dead'`), "what was known is still there")
	startWithPage(t, state, strings.TrimSuffix(strings.TrimPrefix(site, "http://"), "/"))
	b.until("the collector again", `document.getElementById('lost').hidden`)
	for _, complaint := range b.complaints() {
		require.Regexp(t, "^network: ", complaint, "only that nothing answered")
	}
	require.True(t, b.holds(`window.loaded`), "it was not loaded again")
	require.True(t, b.holds(firstRow+`.dataset.state === 'dead'`))
	require.Empty(t, b.elsewhere(site))
}

// startWithPage starts a collector that shows its peers at an address, and returns where it
// takes beats, and where its page is.
func startWithPage(t *testing.T, state, address string) (collector *testkit.Process, beats, site string) {
	t.Helper()
	options := filepath.Join(t.TempDir(), "heartbeat.conf")
	require.NoError(t, os.WriteFile(options, fmt.Appendf(nil, `[[inputs.heartbeat]]
service_addresses = ["tcp://127.0.0.1:0", "http://%s"]
state_file = %q
disconnect_grace = "1s"
`, address, state), 0o600))
	collector = testkit.StartProgram(t, "telegraf-heartbeat", "-config", options)
	at := regexp.MustCompile(`Listening on (http://\S+)`)
	collector.Until("it to show its page", func() bool {
		for _, line := range collector.Stderr.All() {
			if match := at.FindStringSubmatch(line); match != nil {
				site = match[1] + "/"
			}
		}
		return site != ""
	})
	return collector, listens(collector), site
}

func peersAt(t *testing.T, site string) (all api.Peers) {
	t.Helper()
	answer, err := http.Get(site + "api/peers")
	require.NoError(t, err)
	defer answer.Body.Close()
	require.NoError(t, json.NewDecoder(answer.Body).Decode(&all))
	return all
}
