package page

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/web/api"
)

var since = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// A world is a collector that a Page shows.
type world struct {
	peers     []liveness.Details
	collector api.Collector
	deaf      bool
	looks     int // at all peers
	*Page
}

func newWorld(peers ...liveness.Details) *world {
	w := &world{peers: peers, collector: api.Collector{ID: "c", Peers: make(map[string]int)}}
	w.Page = New(Options{
		Peers:     func() []liveness.Details { w.looks++; return slices.Clone(w.peers) },
		Collector: func() api.Collector { return w.collector },
		Listening: func() bool { return !w.deaf },
	})
	return w
}

// peer returns a peer by a name like web-1/nginx.
func peer(name string, state liveness.State, reason liveness.Reason) liveness.Details {
	source, service, _ := strings.Cut(name, "/")
	return liveness.Details{Suspect: 16 * time.Second, Rule: "interval", View: liveness.View{
		ID: liveness.ID{Source: source, Service: service}, State: state, Reason: reason, Since: since,
		Age: 12 * time.Second, DeadAfter: 35 * time.Second, Counters: liveness.Counters{Beats: 7},
	}}
}

func dead(name string) liveness.Details { return peer(name, liveness.Dead, liveness.ReasonConnClosed) }

func alive(name string) liveness.Details { return peer(name, liveness.Alive, liveness.ReasonBeat) }

// ask returns the answer to a request, whose header has the given fields.
func (w *world) ask(method, target string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, http.NoBody)
	for field := range slices.Chunk(header, 2) {
		r.Header.Set(field[0], field[1])
	}
	answer := httptest.NewRecorder()
	w.ServeHTTP(answer, r)
	return answer
}

// get returns what is answered with 200.
func (w *world) get(t *testing.T, target string) string {
	t.Helper()
	answer := w.ask(http.MethodGet, target)
	require.Equal(t, http.StatusOK, answer.Code, answer.Body)
	return answer.Body.String()
}

// later lets the snapshot grow old. It is called in a bubble.
func later() { time.Sleep(freshFor) }

func (w *world) list(t *testing.T, query string) (names []string, all api.Peers) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(w.get(t, "/api/peers"+query)), &all))
	for _, p := range all.Peers {
		names = append(names, p.Name())
	}
	return names, all
}

func TestPeersAreListedByUrgency(t *testing.T) {
	w := newWorld(
		alive("a/x"), peer("b/x", liveness.Left, liveness.ReasonLeaving), peer("c/x", liveness.Unknown, liveness.ReasonIsolated),
		peer("d/x", liveness.Suspect, liveness.ReasonSilence), dead("e/y"), dead("e/x"), dead("a/z"), dead("e/x"),
	)
	names, all := w.list(t, "")
	require.Equal(t, []string{"a/z", "e/x", "e/y", "d/x", "c/x", "b/x", "a/x"}, names, "and one that was seen twice is there once")
	require.Equal(t, 7, all.Total)
	require.Empty(t, all.Next)
}

func TestPeersAreChosen(t *testing.T) {
	nameless := alive("10.0.0.5/")
	nameless.ID.PID = 4711
	w := newWorld(dead("web-1/shop/eu"), dead("web-2/nginx"), peer("web-1/nginx", liveness.Suspect, liveness.ReasonSilence), alive("db-1/host"), nameless)
	for query, want := range map[string][]string{
		"?state=dead":                           {"web-1/shop/eu", "web-2/nginx"},
		"?state=suspect,alive":                  {"web-1/nginx", "10.0.0.5/4711", "db-1/host"},
		"?state=suspect&state=alive":            {"web-1/nginx", "10.0.0.5/4711", "db-1/host"},
		"?state=left":                           nil,
		"?source=web-*":                         {"web-1/shop/eu", "web-2/nginx", "web-1/nginx"},
		"?source=web-1&service=nginx":           {"web-1/nginx"},
		"?service=shop*":                        {"web-1/shop/eu"},
		"?service=*eu":                          {"web-1/shop/eu"},
		"?service=[ns]*x&state=dead":            {"web-2/nginx"},
		"?service=4711":                         {"10.0.0.5/4711"},
		"?source=":                              {"web-1/shop/eu", "web-2/nginx", "web-1/nginx", "10.0.0.5/4711", "db-1/host"},
		"?source=web-" + strings.Repeat("?", 1): {"web-1/shop/eu", "web-2/nginx", "web-1/nginx"},
	} {
		names, all := w.list(t, query)
		require.Equal(t, want, names, query)
		require.Equal(t, len(want), all.Total, query)
		require.NotNil(t, all.Peers, "[] and not null")
	}
}

func TestWrongRequestsAreRefusedByName(t *testing.T) {
	w := newWorld(dead("web-1/nginx"))
	for target, want := range map[string]string{
		"/api/peers?sate=dead":                `"sate" is not a parameter: use state, source, service, limit, after`,
		"/api/peers?state=ded":                `state: "ded" is not one of dead, suspect, unknown, left, alive`,
		"/api/peers?limit=0":                  `limit: "0" is not a number from 1 to 5000`,
		"/api/peers?limit=5001":               `limit: "5001" is not a number from 1 to 5000`,
		"/api/peers?limit=all":                `limit: "all" is not a number from 1 to 5000`,
		"/api/peers?limit=1&limit=2":          "limit is given more than once",
		"/api/peers?after=x":                  `after: "x" is not the 'next' of an answer`,
		"/api/peers?after=eyJVcmdlbmN5Ijo5fQ": `after: "eyJVcmdlbmN5Ijo5fQ" is not the 'next' of an answer`,
		"/api/peers?source=%5B":               `source: "[" is not a glob`,
		"/api/peers/web-1/nginx?x=1":          `"x" is not a parameter: this path takes none`,
		"/api/collector?x=1":                  `"x" is not a parameter: this path takes none`,
		"/?state=ded":                         `state: "ded" is not one of dead, suspect, unknown, left, alive`,
		"/?q=%5B":                             `q: "[" is not a glob`,
	} {
		answer := w.ask(http.MethodGet, target)
		require.Equal(t, http.StatusBadRequest, answer.Code, target)
		requireError(t, answer, want)
	}
	requireError(t, w.ask(http.MethodGet, "/api/peers/web-1/apache"), `no peer is named "web-1/apache"`)
	require.Equal(t, http.StatusNotFound, w.ask(http.MethodGet, "/api/peers/web-1/apache").Code)
	require.Equal(t, http.StatusNotFound, w.ask(http.MethodGet, "/api/peers/web-1").Code)
	require.Equal(t, http.StatusNotFound, w.ask(http.MethodGet, "/page").Code)
	answer := w.ask(http.MethodPost, "/api/peers")
	require.Equal(t, http.StatusMethodNotAllowed, answer.Code)
	require.Equal(t, "GET, HEAD", answer.Header().Get("Allow"))
	requireError(t, answer, `method "POST" is not allowed: use GET or HEAD`)
}

func requireError(t *testing.T, answer *httptest.ResponseRecorder, want string) {
	t.Helper()
	var refused api.Error
	require.Equal(t, "application/json", answer.Header().Get("Content-Type"))
	require.NoError(t, json.Unmarshal(answer.Body.Bytes(), &refused))
	require.Equal(t, want, refused.Error)
}

// A reader of all pages sees each peer that does not change once, whatever happens to others
// meanwhile.
func TestCursorHoldsOverChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		for i := range 10 {
			w.peers = append(w.peers, dead(fmt.Sprintf("web-%d/nginx", i)))
		}
		seen, all := w.list(t, "?limit=4")
		require.Equal(t, 10, all.Total)
		time.Sleep(keptFor)
		w.peers[3] = alive("web-3/nginx")                            // where the page has ended
		w.peers = slices.Delete(w.peers, 0, 1)                       // was seen
		w.peers = append(w.peers, dead("a/x"), dead("web-30/nginx")) // before and behind
		for all.Next != "" {
			var names []string
			names, all = w.list(t, "?limit=4&after="+all.Next)
			seen = append(seen, names...)
		}
		require.Equal(t, []string{
			"web-0/nginx", "web-1/nginx", "web-2/nginx", "web-3/nginx", "web-30/nginx", "web-4/nginx", "web-5/nginx", "web-6/nginx", "web-7/nginx",
			"web-8/nginx", "web-9/nginx", "web-3/nginx",
		}, seen, "web-3 has changed and is told again")
	})
}

// The pages of one listing are about one instant: to look at a million peers for each of 200
// pages took two minutes.
func TestPagesOfAListingAreOfOneInstant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, query := range []string{"", "&source=web-*"} {
			w := newWorld()
			for i := range 10 {
				w.peers = append(w.peers, dead(fmt.Sprintf("web-%d/nginx", i)))
			}
			seen, all := w.list(t, "?limit=4"+query)
			for later(); all.Next != ""; later() {
				w.peers = w.peers[:5]
				var names []string
				names, all = w.list(t, "?limit=4&after="+all.Next+query)
				require.Equal(t, 10, all.Total)
				seen = append(seen, names...)
			}
			require.Len(t, seen, 10)
			require.Equal(t, 1, w.looks)
			_, all = w.list(t, "?limit=4"+query)
			require.Equal(t, 5, all.Total, "another listing is of now")
		}
	})
}

func TestLimitIsFiveHundredUnlessAskedFor(t *testing.T) {
	w := newWorld()
	for i := range 6000 {
		w.peers = append(w.peers, alive(fmt.Sprint("web-", i, "/nginx")))
	}
	names, all := w.list(t, "")
	require.Len(t, names, api.DefaultLimit)
	require.NotEmpty(t, all.Next)
	names, all = w.list(t, "?limit=5000")
	require.Len(t, names, api.MaxLimit)
	require.Equal(t, 6000, all.Total)
}

func TestPeerIsToldInFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := dead("web-1/nginx")
		d.PID, d.Addr, d.Labels = 4711, netip.MustParseAddr("10.0.0.7"), []liveness.Label{{Key: "site", Value: "north"}}
		d.ExitCode, d.HasExitCode, d.Health, d.HeardBy = -1, true, liveness.HealthWarning, "collector-2"
		d.Jobs, d.Observed = 2, netip.MustParseAddr("203.0.113.9")
		d.Schedule, d.Due, d.Patience, d.Ephemeral = "15 2 * * * UTC", since.Add(time.Hour), time.Hour, true
		d.Hours, d.OffUntil = "06:00-20:00 UTC", since.Add(2*time.Hour)
		d.Suspicion, d.BackIn, d.Deadline, d.DeadFor = 1, time.Minute, 5*time.Second, 90*time.Second
		d.Mishaps = liveness.Mishaps{Lost: 1, Late: 2, Duplicates: 3, Limited: 4, Restarts: 5, Deaths: 6, Mistakes: 7, Conflicts: 8}
		w := newWorld(d)
		heard := float64(time.Now().Add(-12*time.Second).UnixMilli()) / 1e3
		code := int64(-1)
		want := api.Peer{
			Source: "web-1", Service: "nginx", PID: 4711, IP: "10.0.0.7", Observed: "203.0.113.9", Tags: map[string]string{"site": "north"},
			State: "dead", Reason: "conn_closed", Since: float64(since.Unix()), Status: "warning",
			Heard: heard, Age: 12, SuspectAfter: 16, DeadAfter: 35, Left: 5, Suspicion: 1, Rule: "interval", Promised: 60,
			HeardBy: "collector-2", ExitCode: &code, Runs: 2,
			Schedule: "15 2 * * * UTC", Due: float64(since.Unix() + 3600), Grace: 3600,
			Hours: "06:00-20:00 UTC", OffUntil: float64(since.Unix() + 7200), Class: "ephemeral",
			Beats: 7, Lost: 1, Late: 2, Duplicates: 3, Limited: 4, Restarts: 5, Deaths: 6, Mistakes: 7, Conflicts: 8, DeadSeconds: 90,
		}
		for _, path := range []string{"/api/peers/web-1/nginx", "/api/peers/WEB-1/nginx", "/api/peers/web-1/%6eginx"} {
			var got api.Peer
			require.NoError(t, json.Unmarshal([]byte(w.get(t, path)), &got))
			require.Equal(t, want, got)
		}
	})
}

func TestPeersOfOddNamesAreFound(t *testing.T) {
	nameless, never := alive("10.0.0.5/"), peer("new/host", liveness.Unknown, liveness.ReasonNone)
	nameless.ID.PID, never.Never = 4711, true
	w := newWorld(nameless, never, alive("web-1/a/b"), alive("web-1/.."), alive("fe80::1/x"))
	for path, want := range map[string]string{
		"10.0.0.5/4711": "10.0.0.5/4711", "web-1/a/b": "web-1/a/b", "web-1/a%2Fb": "web-1/a/b", "web-1/%2E%2E": "web-1/..", "fe80::1/x": "fe80::1/x",
	} {
		var got api.Peer
		require.NoError(t, json.Unmarshal([]byte(w.get(t, "/api/peers/"+path)), &got), path)
		require.Equal(t, want, got.Name())
	}
	var got api.Peer
	require.NoError(t, json.Unmarshal([]byte(w.get(t, "/api/peers/new/host")), &got))
	require.Zero(t, got.Heard, "it never was")
	require.Zero(t, got.Age)
}

// Fifty open pages cost what one does, and none costs nothing.
func TestReadersShareOneSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(dead("web-1/nginx"))
		require.Zero(t, w.looks, "nobody has asked")
		for range 50 {
			w.get(t, "/")
			w.get(t, "/?q=web")
			w.list(t, "")
		}
		require.Equal(t, 1, w.looks)
		require.Len(t, w.cache.latest.answers, 3)
		later()
		w.get(t, "/")
		require.Equal(t, 2, w.looks)
		time.Sleep(keptFor)
		synctest.Wait()
		require.Nil(t, w.cache.latest, "its memory is given back")
		require.Equal(t, 2, w.looks)
	})
}

// A reader with a different request each time does not fill the memory.
func TestAnswersThatAreKeptAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		for i := range 1000 {
			w.peers = append(w.peers, alive(fmt.Sprint("web-", i, "/nginx")))
		}
		for i := range 200 {
			w.list(t, fmt.Sprint("?limit=", 800+i))
		}
		require.LessOrEqual(t, w.cache.latest.kept, maxKept)
		require.Greater(t, w.cache.latest.kept, maxKept/2)
		require.Less(t, len(w.cache.latest.answers), 200)
	})
}

func TestReaderThatKnowsTheAnswerGetsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, target := range []string{"/", "/?q=web", "/?peer=web-1/nginx", "/api/peers", "/api/peers/web-1/nginx", "/api/collector"} {
			w := newWorld(dead("web-1/nginx"))
			first := w.ask(http.MethodGet, target)
			tag := first.Header().Get("ETag")
			require.NotEmpty(t, tag)
			again := w.ask(http.MethodGet, target, "If-None-Match", tag)
			require.Equal(t, http.StatusNotModified, again.Code, target)
			require.Empty(t, again.Body.String())
			head := w.ask(http.MethodHead, target)
			require.Equal(t, http.StatusOK, head.Code)
			require.Equal(t, tag, head.Header().Get("ETag"))
			require.Empty(t, head.Body.String())

			later()
			w.peers[0].State, w.peers[0].Reason = liveness.Alive, liveness.ReasonBeat
			w.collector.Refused++
			changed := w.ask(http.MethodGet, target, "If-None-Match", tag)
			require.Equal(t, http.StatusOK, changed.Code, target)
			require.NotEqual(t, tag, changed.Header().Get("ETag"))
		}
	})
}

// A page in which nothing has changed is not sent again, though time goes on.
func TestPageStaysTheSameWhileNothingChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(dead("web-1/nginx"), alive("web-2/nginx"))
		tag := w.ask(http.MethodGet, "/").Header().Get("ETag")
		for range 60 {
			later()
			for i := range w.peers { // as a collector would say it
				w.peers[i].Age += freshFor
				w.peers[i].Lasting += freshFor
				w.peers[i].Beats++
			}
			w.collector.Now += freshFor.Seconds()
			require.Equal(t, http.StatusNotModified, w.ask(http.MethodGet, "/", "If-None-Match", tag).Code)
		}
		require.Equal(t, tag[2:], `"`+regexp.MustCompile(`data-tag="([0-9a-f]+)"`).FindStringSubmatch(w.get(t, "/"))[1]+`"`, "which the script begins with")
	})
}

func TestCollectorIsTold(t *testing.T) {
	w := newWorld()
	w.collector = api.Collector{ID: "c", Isolated: true, Peers: map[string]int{"dead": 1}, Mates: &api.Mates{Reachable: []string{"b"}, Speaks: true}}
	var got api.Collector
	require.NoError(t, json.Unmarshal([]byte(w.get(t, "/api/collector")), &got))
	require.Equal(t, w.collector, got)
	require.Zero(t, w.looks, "no peer is looked at for it")
}

func TestHealthNamesNobody(t *testing.T) {
	w := newWorld(dead("web-1/nginx"))
	w.collector.Isolated, w.collector.Name = true, "collector-1"
	require.Equal(t, "OK\n", w.get(t, "/health"))
	w.deaf = true
	answer := w.ask(http.MethodGet, "/health")
	require.Equal(t, http.StatusServiceUnavailable, answer.Code)
	require.Equal(t, "not listening\n", answer.Body.String())
	require.Zero(t, w.looks)
}

func TestEveryAnswerIsSecured(t *testing.T) {
	w := newWorld(dead("web-1/nginx"))
	for _, target := range []string{"/", "/api/peers", "/api/peers/x/y", "/api/collector", "/health", "/nothing"} {
		header := w.ask(http.MethodGet, target).Header()
		require.Contains(t, header.Get("Content-Security-Policy"), "default-src 'none'; ", target)
		require.NotContains(t, header.Get("Content-Security-Policy"), "unsafe")
		require.Equal(t, "nosniff", header.Get("X-Content-Type-Options"))
		require.Equal(t, "private, no-cache", header.Get("Cache-Control"))
	}
}

// The policy lets a browser use exactly the style and the script that are in the page.
func TestPolicyFitsThePage(t *testing.T) {
	w := newWorld()
	answer := w.ask(http.MethodGet, "/")
	for _, kind := range []string{"style", "script"} {
		inside := regexp.MustCompile(`(?s)<` + kind + `>(.*)</` + kind + `>`).FindStringSubmatch(answer.Body.String())
		require.NotNil(t, inside)
		require.Contains(t, answer.Header().Get("Content-Security-Policy"), kind+"-src '"+sourceHash(inside[1])+"'")
	}
}

// Behind a proxy that serves it under a path, and without the Internet, the page works.
func TestPageNamesNoOtherPlace(t *testing.T) {
	page := newWorld(dead("web-1/nginx")).get(t, "/?peer=web-1/nginx")
	links := regexp.MustCompile(`(?:href|src|action)="([^"]*)"`).FindAllStringSubmatch(page, -1)
	require.NotEmpty(t, links)
	for _, link := range links {
		target, err := url.Parse(link[1])
		require.NoError(t, err)
		require.True(t, target.Host == "" && !strings.HasPrefix(link[1], "/"), link[1])
		require.Contains(t, []string{"", "data"}, target.Scheme)
	}
	require.Contains(t, page, `<link rel="icon" href="data:,">`, "else a browser asks for /favicon.ico")
	require.NotContains(t, page, "http://")
	require.NotContains(t, page, "https://")
	require.NotContains(t, page, "url(")
	require.NotContains(t, page, "@import")
}

func TestPageIsUnder60KB(t *testing.T) {
	w := newWorld()
	for i := range 20_000 {
		w.peers = append(w.peers, dead(fmt.Sprintf("web-%05d.example.org/nginx", i)))
	}
	page := w.get(t, "/")
	require.Less(t, len(page), 60_000)
	require.Equal(t, maxRows, strings.Count(page, `<tr data-state="dead">`))
	require.Contains(t, page, "Down: 20000. Only the first 200 are shown: search to find others")
	require.Less(t, len(pageCSS)+len(pageJS), 20_000)
}

func TestPageShowsWhoIsDownSinceWhenAndWhy(t *testing.T) {
	ended := peer("job-1/backup", liveness.Dead, liveness.ReasonExited)
	ended.ExitCode, ended.HasExitCode = 3, true
	w := newWorld(dead("web-1/nginx"), ended, alive("web-2/nginx"), peer("new/host", liveness.Unknown, liveness.ReasonNone),
		peer("far/host", liveness.Unknown, liveness.ReasonMateLost), peer("desk/host", liveness.Unknown, liveness.ReasonOffHours),
		peer("slow/host", liveness.Suspect, liveness.ReasonHung))
	page := w.get(t, "/")
	rows := rowsOf(page)
	require.Equal(t, []string{"job-1/backup dead", "web-1/nginx dead", "slow/host suspect", "far/host unknown"}, rows)
	require.Contains(t, page, "Down: 4</caption>")
	require.Contains(t, page, `<td>its watcher saw it end with exit code 3`)
	require.Contains(t, page, "<td>its connection was closed without a goodbye\n")
	require.Contains(t, w.get(t, "/?peer=web-1/nginx"), "<code>conn_closed</code>: its connection was closed without a goodbye<")
	require.Contains(t, page, `<time datetime="2026-11-29T12:00:00Z">`+since.Local().Format(time.DateTime)+`</time>`)
	for state, n := range map[string]int{"dead": 2, "suspect": 1, "unknown": 3, "left": 0, "alive": 1} {
		require.Contains(t, page, fmt.Sprintf(`<span class="count">%d</span> <b data-state=%q>`, n, state))
	}
	require.Contains(t, page, "<title>2 dead, 1 suspect - heartbeats</title>")
	require.Contains(t, newWorld(alive("a/b")).get(t, "/"), "Nothing is down.")
}

// rowsOf returns peer and state of each row of the table.
func rowsOf(page string) (rows []string) {
	row := regexp.MustCompile(`<tr data-state="([a-z]+)"><th scope="row"><a href="[^"]*">([^<]*)</a>`)
	for _, match := range row.FindAllStringSubmatch(page, -1) {
		rows = append(rows, match[2]+" "+match[1])
	}
	return rows
}

func TestPageSearches(t *testing.T) {
	w := newWorld(dead("web-1/nginx"), alive("web-2/nginx"), alive("db-1/shop/web"), alive("db-2/host"))
	for query, want := range map[string][]string{
		"?q=WEB":                  {"web-1/nginx dead", "db-1/shop/web alive", "web-2/nginx alive"},
		"?q=web-*":                {"web-1/nginx dead", "web-2/nginx alive"},
		"?q=web-*&state=alive":    {"web-2/nginx alive"},
		"?q=&state=alive":         {"db-1/shop/web alive", "db-2/host alive", "web-2/nginx alive"},
		"?q=nothing":              nil,
		"?q=&state=":              {"web-1/nginx dead"},
		"?utm_source=mail":        {"web-1/nginx dead"},
		"?q=%20db-2%20&state=":    {"db-2/host alive"},
		"?state=dead&state=alive": {"web-1/nginx dead", "db-1/shop/web alive", "db-2/host alive", "web-2/nginx alive"},
	} {
		require.Equal(t, want, rowsOf(w.get(t, "/"+query)), query)
	}
	page := w.get(t, "/?q=web-*&state=alive")
	require.Contains(t, page, `value="web-*"`)
	require.Contains(t, page, `<option selected>alive</option>`)
	require.Contains(t, page, `<a href="?state=alive" aria-current="true">`)
	require.Contains(t, page, `<a href="?peer=web-2%2Fnginx&amp;q=web-%2A&amp;state=alive">`, "the search goes on behind the peer")
	require.Contains(t, w.get(t, "/?q=nothing"), "No peer matches.")
}

func TestPageShowsOnePeerByItsLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := peer("web-1/nginx", liveness.Left, liveness.ReasonLeaving)
		d.PID, d.Addr, d.BackIn, d.Labels = 4711, netip.MustParseAddr("10.0.0.7"), 20*time.Minute, []liveness.Label{{Key: "site", Value: "north"}}
		d.Observed = netip.MustParseAddr("203.0.113.9")
		d.Schedule, d.Due, d.Ephemeral = "15 2 * * * UTC", since.Add(time.Hour), true
		d.Hours, d.OffUntil = "06:00-20:00 UTC", since.Add(2*time.Hour)
		same := alive("web-2/nginx")
		same.Addr, same.Observed = d.Addr, d.Addr
		w := newWorld(d, same)
		page := w.get(t, "/?peer=web-1/nginx")
		for _, want := range []string{
			`<h2 id="peer"><bdi>web-1/nginx</bdi></h2>`, `<b data-state="left">left</b> since `,
			"<code>leaving</code>: it said goodbye", "<dt>Maintenance window</dt><dd>until <time",
			`<dt>Last beat</dt><dd><time datetime="1999-12-31T23:59:48Z">`,
			"35s of silence, set by its declared interval and the option ",
			"<dt>Schedule</dt><dd>15 2 * * * UTC</dd>", "<dt>Next beat due</dt><dd><time", "<dt>Hours</dt><dd>06:00-20:00 UTC</dd>",
			"<dt>Not expected before</dt><dd><time", "<dd>ephemeral: if it falls silent, it has left</dd>",
			"<dd>10.0.0.7</dd>", "<dt>Observed at</dt><dd>203.0.113.9</dd>", "<dd>4711</dd>", "<bdi>north</bdi>", `<a href="?">Close</a>`,
		} {
			require.Contains(t, page, want)
		}
		require.Contains(t, w.get(t, "/"), `<li><a href="?peer=web-1%2Fnginx"><bdi>web-1/nginx</bdi></a> until `, "a promise is in every page")
		require.Contains(t, w.get(t, "/?peer=web-1/apache"), "No peer has this name.")
		require.NotContains(t, w.get(t, "/?peer=web-2/nginx"), "Observed at")
	})
}

func TestPageTellsHowTheCollectorIs(t *testing.T) {
	w := newWorld()
	page := w.get(t, "/")
	require.Contains(t, page, "none: a restart forgets all peers")
	require.NotContains(t, page, "Other collectors")
	w = newWorld()
	w.collector = api.Collector{
		Name: "collector-1", Isolated: true, Stalled: 1.25, Refused: 3, Panics: 1, State: &api.State{},
		Mates: &api.Mates{Reachable: []string{"collector-2", "collector-3"}, Differ: 1, Speaks: true},
	}
	page = w.get(t, "/")
	for _, want := range []string{
		"This collector is probably cut off", "Heartbeats at <bdi>collector-1</bdi>", "probably cut off", "<strong>not saved</strong>",
		"<bdi>collector-2</bdi>, <bdi>collector-3</bdi>; 1 with a different version", "this one emits the events", "1.3s in total", "3 messages",
		"<strong>1</strong>: see the log",
	} {
		require.Contains(t, page, want)
	}
}

// The name of a peer is always shown as plain text.
func TestHostileNamesAreTexts(t *testing.T) {
	names := []string{
		`x/<script>alert(1)</script>`, `x/"><img src=x onerror=alert(1)>`, `x/'-alert(1)-'`, "x/\u202egnp.exe", "x/\u0000\x01\x7f", "x/{{.}}",
		`x/</title><script>alert(1)</script>`, `x/javascript:alert(1)`, "x/" + strings.Repeat("W", 250), "x/\xff\xfe", "x/&lt;", "x/%3Cscript%3E",
	}
	harmless := dead("x/plain")
	harmless.BackIn = time.Minute
	plain := tagsOf(newWorld(harmless).get(t, "/?peer=x/plain"))
	w := newWorld()
	for _, name := range names {
		d := dead(name)
		d.Labels = []liveness.Label{{Key: "<b>", Value: `"><script>alert(1)</script>`}}
		d.HeardBy, d.BackIn = "<script>", time.Minute
		w.peers = append(w.peers, d)
	}
	w.collector.Name, w.collector.Mates = "<script>", &api.Mates{Reachable: []string{"<script>"}}
	for _, name := range names {
		for _, target := range []string{"/?peer=" + url.QueryEscape(name), "/?q=" + url.QueryEscape(strings.TrimLeft(name, "["))} {
			page := w.get(t, target)
			require.Subset(t, plain, tagsOf(page), "no kind of element is new")
			require.Equal(t, 1, strings.Count(page, "<script>"))
			require.NotContains(t, page, "<img")
		}
		answer := w.ask(http.MethodGet, "/api/peers/x/"+url.PathEscape(name[2:]))
		require.NotContains(t, answer.Body.String(), "<", "also in JSON, for a browser that guesses")
	}
}

// tagsOf returns which kinds of elements there are.
func tagsOf(page string) []string {
	kinds := make(map[string]bool)
	for _, match := range regexp.MustCompile(`<([a-zA-Z!][a-zA-Z0-9]*)`).FindAllStringSubmatch(page, -1) {
		kinds[match[1]] = true
	}
	return slices.Sorted(maps.Keys(kinds))
}

func TestEveryStatusAndStateHasWords(t *testing.T) {
	require.Equal(t, "other", liveness.HealthOther.String())
	for _, state := range liveness.States {
		require.Contains(t, liveness.Urgent, state)
		require.Contains(t, pageCSS, "[data-state="+state.String()+"]")
	}
}

// WCAG 2.2, 1.4.3: whoever sees little can still read it, in the dark and in the light.
func TestColorsCanBeTold(t *testing.T) {
	dark := colorsOf(t, pageCSS)
	_, after, found := strings.Cut(pageCSS, "prefers-color-scheme: light")
	require.True(t, found)
	light := maps.Clone(dark)
	maps.Copy(light, colorsOf(t, after))
	for _, colors := range []map[string]float64{dark, light} {
		for text, grounds := range map[string][]string{
			"text":     {"page", "dead-row", "suspect-row", "warning"},
			"link":     {"page", "dead-row", "suspect-row"},
			"muted":    {"page"},
			"on-state": {"dead", "suspect", "unknown", "left", "alive"},
		} {
			for _, ground := range grounds {
				require.GreaterOrEqual(t, contrast(colors[text], colors[ground]), 4.5, "%s on %s", text, ground)
			}
		}
		require.GreaterOrEqual(t, contrast(colors["focus"], colors["page"]), 3.0, "the frame of what has the focus")
	}
}

// colorsOf returns the relative luminance of each colour that a style names first.
func colorsOf(t *testing.T, style string) map[string]float64 {
	block, _, _ := strings.Cut(style, "}")
	colors := make(map[string]float64)
	for _, match := range regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{6});`).FindAllStringSubmatch(block, -1) {
		rgb, err := hex.DecodeString(match[2])
		require.NoError(t, err)
		for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
			part := float64(rgb[i]) / 255
			if part <= 0.04045 {
				part /= 12.92
			} else {
				part = math.Pow((part+0.055)/1.055, 2.4)
			}
			colors[match[1]] += weight * part
		}
	}
	require.NotEmpty(t, colors)
	return colors
}

func contrast(a, b float64) float64 { return (max(a, b) + 0.05) / (min(a, b) + 0.05) }

// The cost depends on the peers that are shown, not on those that are well.
func TestPageOfManyPeersIsCheap(t *testing.T) {
	cost := func(peers int) float64 {
		w := newWorld()
		for i := range peers {
			w.peers = append(w.peers, alive(fmt.Sprint("web-", i, "/nginx")))
		}
		for i := range 300 {
			w.peers[i].State = liveness.Dead
		}
		return testing.AllocsPerRun(5, func() {
			w.cache.latest = nil
			w.ServeHTTP(discard{}, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
		})
	}
	few, many := cost(1000), cost(21_000)
	require.InDelta(t, few, many, 100, "allocations for 20,000 peers more that are well")
}

// discard is an http.ResponseWriter.
type discard struct{}

func (discard) Header() http.Header         { return make(http.Header) }
func (discard) Write(p []byte) (int, error) { return io.Discard.Write(p) }
func (discard) WriteHeader(int)             {}

func BenchmarkPage(b *testing.B) {
	w := newWorld()
	for i := range 100_000 {
		w.peers = append(w.peers, alive(fmt.Sprint("web-", i, "/nginx")))
	}
	for _, target := range []string{"/", "/?q=web-99*", "/api/peers"} {
		b.Run(target, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w.cache.latest = nil
				w.ServeHTTP(discard{}, httptest.NewRequest(http.MethodGet, target, http.NoBody))
			}
		})
	}
}
