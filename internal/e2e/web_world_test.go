//go:build linux

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/web/api"
)

// pingID is what other people's clients have of their check.
const pingID = "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278"

// pings is a post that other people's clients reach over HTTP, too.
type pings struct {
	*post
	http string // host:port
}

// newPings is newPost with an address for HTTP.
func newPings(t testing.TB, more ...string) *pings {
	t.Helper()
	p := &pings{post: newPost(t, more...), http: testkit.FreeAddress(t)}
	text, err := os.ReadFile(p.config)
	require.NoError(t, err)
	address := fmt.Sprintf("%q", "tcp://"+p.address)
	both := strings.Replace(string(text), address, address+fmt.Sprintf(", %q", "http://"+p.http), 1)
	require.NoError(t, os.WriteFile(p.config, []byte(both), 0o600))
	return p
}

// start starts a collector and returns when it listens over HTTP.
func (p *pings) start() {
	p.t.Helper()
	p.relieve()
	p.now().Until("it to listen over HTTP", func() bool { return p.now().Stderr.Says("Listening on http://" + p.http) })
}

// check returns the table for a client that has a token.
func check(token, peer string, more ...string) string {
	return fmt.Sprintf("[[inputs.heartbeat.check]]\ntoken = %q\npeer = %q\n%s", token, peer, strings.Join(more, "\n"))
}

// url returns a URL of the collector.
func (p *pings) url(path string) string { return "http://" + p.http + path }

// requests sends requests that are written as their clients send them, but for HOST, over one
// connection, and returns status and body of each answer, and the last one's header.
func (p *pings) requests(texts ...string) (answers []string, header http.Header) {
	p.t.Helper()
	conn := dial(p.t, p.http)
	defer conn.Close()
	reader := bufio.NewReader(conn)
	for _, text := range texts {
		conn.send(strings.ReplaceAll(text, "HOST", p.http))
		method, _, _ := strings.Cut(text, " ")
		answer, err := http.ReadResponse(reader, &http.Request{Method: method})
		require.NoError(p.t, err)
		body, err := io.ReadAll(answer.Body)
		require.NoError(p.t, err)
		answers = append(answers, fmt.Sprint(answer.StatusCode, " ", strings.TrimSpace(string(body))))
		header = answer.Header
	}
	return answers, header
}

// untilPeer waits until what the collector tells of a peer is so, and returns it. A reader may
// be shown what was there a moment ago.
func (p *pings) untilPeer(name, what string, is func(*api.Peer) bool) *api.Peer {
	p.t.Helper()
	var peer api.Peer
	p.now().Until(what, func() bool {
		answer, err := http.Get(p.url(api.PathPeer + name))
		require.NoError(p.t, err)
		defer answer.Body.Close()
		require.Equal(p.t, http.StatusOK, answer.StatusCode, name)
		peer = api.Peer{}
		require.NoError(p.t, json.NewDecoder(answer.Body).Decode(&peer))
		return is(&peer)
	})
	return &peer
}

// untilExitCode waits until a peer is shown as dead with this exit code.
func (p *pings) untilExitCode(name string, code int) {
	p.t.Helper()
	p.untilPeer(name, fmt.Sprint("exit code ", code), func(peer *api.Peer) bool {
		return peer.State == "dead" && peer.ExitCode != nil && *peer.ExitCode == int64(code)
	})
}

// untilNoRun waits until a peer is shown as alive, and none of its jobs has begun and not ended.
func (p *pings) untilNoRun(name string) *api.Peer {
	p.t.Helper()
	return p.untilPeer(name, "no run", func(peer *api.Peer) bool { return peer.State == "alive" && peer.Runs == 0 })
}

// untilStates waits until a peer was told to be in exactly these states.
func (p *pings) untilStates(source, service string, states ...string) {
	p.t.Helper()
	p.now().Until(fmt.Sprintf("%s/%s to be %s", source, service, last(states)), func() bool {
		return len(p.states(source, service)) >= len(states)
	})
	require.Equal(p.t, states, p.states(source, service))
}

// curl starts the line of a crontab, and lets it print the status of the answer.
func (p *pings) curl(path string, more ...string) *testkit.Process {
	p.t.Helper()
	args := append([]string{"-fsS", "-m", "10", "--retry", "5", "--retry-connrefused", "-w", " %{http_code}\n"}, more...)
	return testkit.Start(p.t, "curl", exec.Command(debian(p.t, "curl"), append(args, p.url(path))...))
}

// debian returns the path of a program that Debian has in a package.
func debian(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("needs %[1]s: install Debian's package %[1]s", name)
	}
	return path
}
