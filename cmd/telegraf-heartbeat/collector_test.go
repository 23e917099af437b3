package main

import (
	"cmp"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/web/api"
)

// A collector answers as one that knows some peers.
type collector struct {
	mu       sync.Mutex
	peers    []api.Peer
	isolated bool
	asked    []string // the queries for peers
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch r.URL.Path {
	case api.PathCollector:
		answer := api.Collector{Peers: make(map[string]int), Isolated: c.isolated}
		for i := range c.peers {
			answer.Peers[c.peers[i].State]++
		}
		json.NewEncoder(w).Encode(answer) //nolint:errcheck // the client says what it lacks
	case api.PathPeers:
		c.asked = append(c.asked, r.URL.RawQuery)
		var answer api.Peers
		for i := range c.peers {
			if p := &c.peers[i]; cmp.Or(r.FormValue("state"), p.State) == p.State {
				answer.Peers = append(answer.Peers, *p)
			}
		}
		answer.Total = len(answer.Peers)
		json.NewEncoder(w).Encode(answer) //nolint:errcheck // likewise
	default:
		http.NotFound(w, r)
	}
}

// set changes what is known.
func (c *collector) set(peers ...api.Peer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.peers = peers
}

// overHTTP serves c and returns its URL.
func (c *collector) overHTTP(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	return server.URL
}

// stateDir returns a directory whose paths are short enough for a socket, and a
// configuration whose state is in it.
func stateDir(t *testing.T) (dir, config string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "hb") //nolint:usetesting // its paths are too long for a socket
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	config = filepath.Join(dir, "heartbeat.conf")
	text := "[[inputs.heartbeat]]\n  state_file = '" + filepath.Join(dir, "heartbeat.state") + "'\n"
	require.NoError(t, os.WriteFile(config, []byte(text), 0o600))
	return dir, config
}

// overSocket serves c beside the state file in dir.
func (c *collector) overSocket(t *testing.T, dir string) *httptest.Server {
	t.Helper()
	socket, err := net.Listen("unix", filepath.Join(dir, "heartbeat.sock"))
	require.NoError(t, err)
	server := httptest.NewUnstartedServer(c)
	server.Listener.Close()
	server.Listener = socket
	server.Start()
	t.Cleanup(server.Close)
	return server
}

// copyFleet puts the state of a collector into dir.
func copyFleet(t *testing.T, dir string) {
	t.Helper()
	text, err := os.ReadFile(fleet)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "heartbeat.state"), text, 0o600))
}

var (
	exitedWith int64 = 3

	nginx = api.Peer{
		Source: "web-1", Service: "nginx", PID: 4711, IP: "10.0.0.1", State: "dead", Reason: "exited", Since: unixSeconds(night) - 125,
		Heard: unixSeconds(night) - 130, Age: 130, SuspectAfter: 16.25, DeadAfter: 35, Rule: "adaptive", ExitCode: &exitedWith, Flapping: true,
	}
	web = api.Peer{
		Source: "web-1", Service: "host", IP: "10.0.0.1", State: "alive", Reason: "beat", Since: unixSeconds(night) - 3*86400,
		Heard: unixSeconds(night) - 12, Age: 12.4, SuspectAfter: 16.25, DeadAfter: 35, Rule: "rule 2", Status: "warning", Connected: true,
	}
	mail = api.Peer{
		Source: "mail-1", Service: "host", State: "left", Reason: "leaving", Since: unixSeconds(night) - 60, Heard: unixSeconds(night) - 60, Age: 60,
		DeadAfter: 35, Rule: "interval", Promised: 600, Runs: 2, HeardBy: "collector-2",
	}
	nameless = api.Peer{
		Source: "10.0.0.5", PID: 17, State: "suspect", Reason: "silence", Since: unixSeconds(night) - 5, Heard: unixSeconds(night) - 20, Age: 20,
		SuspectAfter: 2.5, DeadAfter: 5, Rule: "dead_after",
	}
)
