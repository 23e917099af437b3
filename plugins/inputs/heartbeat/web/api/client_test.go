package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fleet answers as a collector that knows so many peers, two of each page again on the next
// one, as if they had moved down.
func fleet(t *testing.T, count int) http.Handler {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/peers", func(w http.ResponseWriter, r *http.Request) {
		limit, err := strconv.Atoi(r.FormValue("limit"))
		if err != nil || limit < 1 || limit > MaxLimit {
			t.Errorf("the limit is %q", r.FormValue("limit"))
			return
		}
		from, _ := strconv.Atoi(r.FormValue("after")) //nolint:errcheck // without one from the beginning
		page := Peers{Total: count}
		for n := max(from-2, 0); n < min(from+limit, count); n++ {
			page.Peers = append(page.Peers, Peer{Source: "web-" + strconv.Itoa(n), Service: "host", State: r.FormValue("state")})
		}
		if from+limit < count {
			page.Next = strconv.Itoa(from + limit)
		}
		assert.NoError(t, json.NewEncoder(w).Encode(page))
	})
	mux.HandleFunc("GET /api/collector", func(w http.ResponseWriter, _ *http.Request) {
		assert.NoError(t, json.NewEncoder(w).Encode(Collector{ID: "c1", Peers: map[string]int{"alive": count}}))
	})
	return mux
}

// over returns a client of a handler, whose URL ends in path.
func over(t *testing.T, handler http.Handler, path string) *Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	c, err := OverHTTP(server.URL + path)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func TestEveryPageIsAskedForAndNobodyToldTwice(t *testing.T) {
	const count = 2*MaxLimit + 7
	all, err := over(t, fleet(t, count), "").Peers(t.Context(), Query{State: "dead"})
	require.NoError(t, err)
	require.Equal(t, count, all.Total)
	require.Len(t, all.Peers, count)
	require.Equal(t, "web-0", all.Peers[0].Source)
	require.Equal(t, "web-"+strconv.Itoa(count-1), all.Peers[count-1].Source)
	require.Equal(t, "dead", all.Peers[0].State)
	require.Empty(t, all.Next)
}

func TestOnlyAsManyAsAreWantedAreAskedFor(t *testing.T) {
	all, err := over(t, fleet(t, 100), "").Peers(t.Context(), Query{Most: 3})
	require.NoError(t, err)
	require.Len(t, all.Peers, 3)
	require.Equal(t, 100, all.Total)
}

func TestCollectorIsAskedOverItsSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "hb") //nolint:usetesting // its paths are too long for a socket
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	path := SocketBeside(filepath.Join(dir, "x.state"))
	require.Equal(t, filepath.Join(dir, "x.sock"), path)
	c := OverSocket(path)
	defer c.Close()
	_, err = c.Collector(t.Context())
	require.EqualError(t, err, "no collector listens on "+path)

	socket, err := net.Listen("unix", path)
	require.NoError(t, err)
	server := httptest.NewUnstartedServer(fleet(t, 3))
	server.Listener = socket
	server.Start()
	collector, err := c.Collector(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[string]int{"alive": 3}, collector.Peers)
	require.Equal(t, path, c.String())

	c.Close()
	server.Close()
	file, err := os.Create(path) // as if a collector had been killed
	require.NoError(t, err)
	require.NoError(t, file.Close())
	_, err = c.Collector(t.Context())
	require.EqualError(t, err, "no collector listens on "+path)
}

// A reverse proxy has a path, and needs a user and a password.
func TestPathAndPasswordOfAProxy(t *testing.T) {
	proxy := http.StripPrefix("/beats", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "me" || password != "secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fleet(t, 1).ServeHTTP(w, r)
	}))
	c := over(t, proxy, "/beats/")
	_, err := c.Collector(t.Context())
	require.EqualError(t, err, c.String()+" answers 401 Unauthorized: it needs a user and a password")
	c.Authenticate("me", "wrong")
	_, err = c.Collector(t.Context())
	require.EqualError(t, err, c.String()+` answers 401 Unauthorized: the user "me" or the password is wrong`)
	c.Authenticate("me", "secret")
	_, err = c.Collector(t.Context())
	require.NoError(t, err)
	require.Equal(t, "me", c.User())

	server := httptest.NewServer(proxy)
	defer server.Close()
	inURL, err := OverHTTP(strings.Replace(server.URL, "http://", "http://me:secret@", 1) + "/beats")
	require.NoError(t, err)
	defer inURL.Close()
	require.True(t, inURL.HasPassword())
	require.Equal(t, server.URL+"/beats", inURL.String())
	_, err = inURL.Collector(t.Context())
	require.NoError(t, err)
}

func TestAddressIsRefusedByWhatIsWrong(t *testing.T) {
	for address, want := range map[string]string{
		"collector:7879":              `"collector:7879" is not an HTTP URL: write one like "http://collector.example.com:7879"`,
		"":                            `"" is not an HTTP URL: `,
		"tcp://collector:7878":        `"tcp://collector:7878" is not an HTTP URL: `,
		"http://:7879":                `"http://:7879" is not an HTTP URL: `,
		"http://me:secret@a b":        "not a URL: ",
		"http://collector/?state=x":   `"http://collector/?state=x" has a query or a fragment: `,
		"ftp://me:secret@collector/x": `"ftp://me:xxxxx@collector/x" is not an HTTP URL: `,
	} {
		_, err := OverHTTP(address)
		require.ErrorContains(t, err, want, address)
		require.NotContains(t, err.Error(), "secret")
	}
}

func TestAnswerThatIsNoneIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		header string
		body   string
		want   string
	}{
		"a page of something else": {200, "", "<html>", " does not answer like a collector: \"invalid character '<' looking for beginning of value\""},
		"an answer that is cut":    {200, "", `{"peers":[`, ` does not answer like a collector: "unexpected EOF"`},
		"an explained refusal":     {403, "", `{"error":"set 'allowed_readers'\n"}`, ` answers 403 Forbidden: "set 'allowed_readers'\n"`},
		"a refusal of a proxy":     {502, "", "<html>", " answers 502 Bad Gateway: it may not be a collector, or the path is wrong"},
		"a login page":             {302, "https://login/\u202e", "", ` answers 302 Found: it redirects to "https://login/\u202e"`},
		"an unknown status":        {299, "", "", " answers 299: it may not be a collector, or the path is wrong"},
		"pages without an end":     {200, "", `{"peers":[{"source":"a"}],"next":"x","total":2}`, ": the list of peers does not end"},
		"pages without peers":      {200, "", `{"next":"x","total":2}`, ": the list of peers does not end"},
	} {
		t.Run(name, func(t *testing.T) {
			client := over(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if c.header != "" {
					w.Header().Set("Location", c.header)
				}
				w.WriteHeader(c.status)
				w.Write([]byte(c.body)) //nolint:errcheck // the client may have read enough
			}), "")
			_, err := client.Peers(t.Context(), Query{})
			require.ErrorContains(t, err, client.String()+c.want)
		})
	}
}

// An answer that never ends is given up after so many bytes, however quickly they come.
func TestEndlessAnswerIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := OverSocket("there")
		c.http.Transport = answers{io.MultiReader(strings.NewReader(`{"next":"`), endless{})}
		_, err := c.Peers(t.Context(), Query{})
		require.EqualError(t, err, "there: the answer is longer than 64 MiB")
	})
}

// Network errors do not contain the whole URL, which package http quotes.
func TestErrorOfTheWayIsTold(t *testing.T) {
	c := OverSocket("there")
	c.http.Transport = broken{}
	_, err := c.Peers(t.Context(), Query{})
	require.EqualError(t, err, "asking there: the way is broken")
}

type broken struct{}

func (broken) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("the way is broken")
}

// answers has one body for whoever asks.
type answers struct{ body io.Reader }

func (a answers) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(a.body)}, nil
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// A collector that takes the connection and says no more is given up in time for
// monitoring to hear of it.
func TestSilentCollectorIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		go io.Copy(io.Discard, theirs) //nolint:errcheck // until the client hangs up
		c := newClient(OverSocket("x").base, &http.Transport{
			DialContext: func(context.Context, string, string) (net.Conn, error) { return ours, nil },
		})
		c.place = "there"
		_, err := c.Collector(t.Context())
		require.EqualError(t, err, "no answer from there within 5s")
	})
}
