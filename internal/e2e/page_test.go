//go:build linux

package e2e

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

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
	require.True(t, b.holds(`getComputedStyle(`+firstRow+`).backgroundColor !== getComputedStyle(document.body).backgroundColor`))
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
		window.asked = 0; const fetched = window.fetch; window.fetch = (...all) => { window.asked++; return fetched(...all); };
		document.dispatchEvent(new Event('visibilitychange')); setTimeout(() => window.waited = true, 3 * 2000)`)
	b.until("three pauses", `window.waited`)
	require.True(t, b.holds(`window.asked === 0`))
	b.set(`window.away = false; document.dispatchEvent(new Event('visibilitychange'))`)
	b.until("a question", `window.asked > 0`)
}
