package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	patience = 5 * time.Second // for one answer: monitoring usually allows 10 s for a check
	maxBody  = 64 << 20        // bytes of one answer: MaxLimit peers with the longest names and tags
	maxError = 4 << 10         // bytes of the answer to a refused request
	maxPages = 1000            // of one list: five million peers
)

// SocketBeside returns the Unix socket of the collector that keeps its state at path:
// heartbeat.sock beside heartbeat.state.
func SocketBeside(path string) string { return strings.TrimSuffix(path, filepath.Ext(path)) + ".sock" }

// A Client asks one collector. Its errors name the collector.
type Client struct {
	place    string // the socket or URL, without a password
	base     *url.URL
	user     string
	password string
	http     http.Client
}

// OverSocket returns a client of the collector that serves the Unix socket at path.
func OverSocket(path string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	c := newClient(&url.URL{Scheme: "http", Host: "localhost"}, &http.Transport{DialContext: dial})
	c.place = path
	return c
}

// OverHTTP returns a client of the collector at an http:// or https:// address, which may
// have a user, a password and the path of a reverse proxy. Like curl, it uses the proxies of
// the environment.
func OverHTTP(address string) (*Client, error) {
	base, err := url.Parse(address)
	switch {
	case err != nil: // it may quote a password
		return nil, errors.New("not a URL: write one like \"http://collector.example.com:7879\"")
	case base.Scheme != "http" && base.Scheme != "https" || base.Hostname() == "":
		return nil, fmt.Errorf("%.64q is not an HTTP URL: write one like \"http://collector.example.com:7879\"", base.Redacted())
	case base.RawQuery != "" || base.Fragment != "":
		return nil, fmt.Errorf("%.64q has a query or a fragment: write the URL of the page without it", base.Redacted())
	}
	user := base.User
	base.User = nil
	base.Path, base.RawPath = strings.TrimSuffix(base.Path, "/"), ""
	c := newClient(base, &http.Transport{Proxy: http.ProxyFromEnvironment})
	c.place = base.String()
	if user != nil {
		password, _ := user.Password()
		c.Authenticate(user.Username(), password)
	}
	return c, nil
}

func newClient(base *url.URL, transport *http.Transport) *Client {
	return &Client{base: base, http: http.Client{
		Transport: transport,
		Timeout:   patience,
		// No redirects: they would send the password elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Authenticate sets the user and the password, see 'basic_username' and 'basic_password'.
func (c *Client) Authenticate(user, password string) { c.user, c.password = user, password }

// User returns the user, or "" without one.
func (c *Client) User() string { return c.user }

// HasPassword reports whether c has a password.
func (c *Client) HasPassword() bool { return c.password != "" }

// String returns the address of the collector: a socket or a URL, without a password.
func (c *Client) String() string { return c.place }

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// A Query selects peers. Its zero value selects all.
type Query struct {
	State  string
	Source string // a glob
	Most   int    // the limit of peers; 0 for all
}

// Peers returns the peers that match, and their total number. A peer whose state changes
// between two pages is returned once.
func (c *Client) Peers(ctx context.Context, q Query) (*Peers, error) {
	all, seen, after := &Peers{}, make(map[string]bool), ""
	for range maxPages {
		var page Peers
		if err := c.get(ctx, PathPeers, q.values(after), &page); err != nil {
			return nil, err
		}
		if after == "" && q.Most == 0 {
			all.Peers = make([]Peer, 0, min(max(page.Total, 0), maxPages*MaxLimit))
		}
		for i := range page.Peers {
			if name := page.Peers[i].Name(); !seen[name] {
				seen[name] = true
				all.Peers = append(all.Peers, page.Peers[i])
			}
		}
		all.Total = page.Total
		if page.Next == "" || q.Most > 0 && len(all.Peers) >= q.Most {
			return all, nil
		}
		if page.Next == after {
			return nil, fmt.Errorf("%s: the list of peers does not end", c.place)
		}
		after = page.Next
	}
	return nil, fmt.Errorf("%s: it has more than %d peers", c.place, maxPages*MaxLimit)
}

func (q *Query) values(after string) url.Values {
	limit := MaxLimit
	if q.Most > 0 {
		limit = min(q.Most, limit)
	}
	values := url.Values{"limit": {strconv.Itoa(limit)}}
	for key, text := range map[string]string{"state": q.State, "source": q.Source, "after": after} {
		if text != "" {
			values.Set(key, text)
		}
	}
	return values
}

// Collector returns the status of the collector.
func (c *Client) Collector(ctx context.Context) (*Collector, error) {
	var all Collector
	if err := c.get(ctx, PathCollector, nil, &all); err != nil {
		return nil, err
	}
	return &all, nil
}

// get decodes the answer at path.
func (c *Client) get(ctx context.Context, path string, query url.Values, answer any) error {
	at := *c.base
	at.Path += path
	at.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), http.NoBody)
	if err != nil {
		return fmt.Errorf("asking %s: %w", c.place, err)
	}
	if c.user != "" || c.password != "" {
		request.SetBasicAuth(c.user, c.password)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return c.unanswered(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return c.refused(response)
	}
	if err := json.NewDecoder(http.MaxBytesReader(nil, response.Body, maxBody)).Decode(answer); err != nil {
		return c.notUnderstood(err)
	}
	return nil
}

// unanswered explains why there is no answer. It drops the URL and the query from the error of
// package http.
func (c *Client) unanswered(err error) error {
	var whole *url.Error
	if errors.As(err, &whole) {
		err = whole.Err
	}
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no collector listens on %s", c.place)
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return fmt.Errorf("this user may not connect to the collector on %s: permission denied", c.place)
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("no answer from %s within %s", c.place, patience)
	}
	return fmt.Errorf("asking %s: %w", c.place, err)
}

// refused explains an answer with a status other than 200.
func (c *Client) refused(response *http.Response) error {
	var said Error
	body := http.MaxBytesReader(nil, response.Body, maxError)
	if json.NewDecoder(body).Decode(&said) == nil && said.Error != "" {
		return fmt.Errorf("%s answers %s: %.400q", c.place, status(response), said.Error)
	}
	switch to := response.Header.Get("Location"); {
	case response.StatusCode == http.StatusUnauthorized && c.user == "":
		return fmt.Errorf("%s answers %s: it needs a user and a password", c.place, status(response))
	case response.StatusCode == http.StatusUnauthorized:
		return fmt.Errorf("%s answers %s: the user %.64q or the password is wrong", c.place, status(response), c.user)
	case to != "":
		return fmt.Errorf("%s answers %s: it redirects to %.200q", c.place, status(response), to)
	}
	return fmt.Errorf("%s answers %s: it may not be a collector, or the path is wrong", c.place, status(response))
}

// status returns the code of an answer with its standard text: the text in the answer may be
// anything.
func status(response *http.Response) string {
	return strings.TrimSpace(strconv.Itoa(response.StatusCode) + " " + http.StatusText(response.StatusCode))
}

// notUnderstood explains why an answer could not be decoded.
func (c *Client) notUnderstood(err error) error {
	var (
		long    *http.MaxBytesError
		timeout net.Error
	)
	switch {
	case errors.As(err, &long):
		return fmt.Errorf("%s: the answer is longer than %d MiB", c.place, maxBody>>20)
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("no complete answer from %s within %s", c.place, patience)
	}
	return fmt.Errorf("%s does not answer like a collector: %.200q", c.place, err.Error())
}
