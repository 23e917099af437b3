package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/cli"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/web/api"
)

// checkPeerAt returns what check-peer prints and its exit code.
func checkPeerAt(t *testing.T, now time.Time, args ...string) (string, int) {
	t.Helper()
	var out, said bytes.Buffer
	c := consoleAt(&out)
	c.stderr, c.now = &said, func() time.Time { return now }
	err := checkPeer(t.Context(), args, c)
	require.Empty(t, said.String())
	if err != nil {
		require.Empty(t, err.Error(), "it would be printed once more")
	}
	require.Equal(t, 1, strings.Count(out.String(), "\n"))
	require.LessOrEqual(t, strings.Count(out.String(), "|"), 1)
	return strings.TrimSuffix(out.String(), "\n"), cli.ExitCode(err)
}

func TestCheckPeerSpeaksAsMonitoringPluginsDo(t *testing.T) {
	unknown, never, minutes, closed := web, web, web, web
	closed.Source, closed.State, closed.Reason = "web-5", "unknown", "off_hours"
	unknown.Source, unknown.State, unknown.Reason = "web-2", "unknown", "isolated"
	never.Source, never.State, never.Reason, never.Heard, never.Age = "web-3", "dead", "never_seen", 0, 0
	minutes.Source, minutes.State = "web-4", "another"
	c := &collector{peers: []api.Peer{nginx, web, mail, nameless, unknown, never, minutes, closed}}
	url := c.overHTTP(t)
	for _, tt := range []struct {
		args string
		want string
		code int
	}{
		{"-H web-1", "HEARTBEAT OK - web-1/host alive for 3d | age=12s;16;35;0", 0},
		{"-H WEB-1. -service host", "HEARTBEAT OK - web-1/host alive for 3d | age=12s;16;35;0", 0},
		{"-H web-1 -service nginx", "HEARTBEAT CRITICAL - web-1/nginx dead for 2m5s: exited, exit code 3 | age=130s;16;35;0", 2},
		{"-H 10.0.0.5 -service 17", "HEARTBEAT WARNING - 10.0.0.5/17 suspect for 5s: silence | age=20s;2.5;5;0", 1},
		{"-H mail-1", "HEARTBEAT OK - mail-1/host left for 1m: leaving, back in 10m | age=60s;;35;0", 0},
		{"-left 2 -H mail-1", "HEARTBEAT CRITICAL - mail-1/host left for 1m: leaving, back in 10m | age=60s;;35;0", 2},
		{"-left 2 -H web-1", "HEARTBEAT OK - web-1/host alive for 3d | age=12s;16;35;0", 0},
		{"-H web-2", "HEARTBEAT UNKNOWN - web-2/host unknown for 3d: isolated | age=12s;16;35;0", 3},
		{"-H web-5", "HEARTBEAT OK - web-5/host unknown for 3d: off_hours | age=12s;16;35;0", 0},
		{"-H web-3", "HEARTBEAT CRITICAL - web-3/host dead for 3d: never_seen", 2},
		{"-H web-4", "HEARTBEAT UNKNOWN - web-4/host another for 3d: beat | age=12s;16;35;0", 3},
		{"-H web-1 -service shop", "HEARTBEAT UNKNOWN - no peer web-1/shop is known; known on this host: nginx, host", 3},
		{"-H web-9", "HEARTBEAT UNKNOWN - no peer web-9/host is known", 3},
		{"-service nginx", "HEARTBEAT UNKNOWN - '-service' needs '-H'", 3},
		{"-H web_1|x", `HEARTBEAT UNKNOWN - '-H': host: '\x7c' in "web_1\x7cx" is not allowed`, 3},
		{"-left 4", `HEARTBEAT UNKNOWN - '-left' must be an exit code, 0 to 3, not "4"`, 3},
		{"-hist x", "HEARTBEAT UNKNOWN - flag provided but not defined: -hist", 3},
		{"web-1", `HEARTBEAT UNKNOWN - unexpected argument "web-1": did you mean -H web-1?`, 3},
	} {
		line, code := checkPeerAt(t, night, append([]string{"-url", url}, strings.Fields(tt.args)...)...)
		require.True(t, strings.HasPrefix(line, tt.want), "%s: %s", tt.args, line)
		require.Equal(t, tt.code, code, tt.args)
	}
}

func TestCheckPeerCountsAll(t *testing.T) {
	c := &collector{peers: []api.Peer{web, mail, nameless}}
	url := c.overHTTP(t)
	line, code := checkPeerAt(t, night, "-url", url)
	require.Equal(t, "HEARTBEAT OK - 0 of 3 dead | unknown=0;;;0;3 alive=1;;;0;3 suspect=1;;;0;3 dead=0;;0;0;3 left=1;;;0;3", line)
	require.Zero(t, code)

	c.isolated = true
	line, code = checkPeerAt(t, night, "-url", url)
	require.Contains(t, line, "HEARTBEAT UNKNOWN - 0 of 3 dead: the collector is isolated | ")
	require.Equal(t, 3, code)

	all := []api.Peer{web, nginx}
	for _, host := range []string{"a", "b", "c", "d", "e"} {
		down := nginx
		down.Source = host
		all = append(all, down)
	}
	c.set(all...)
	line, code = checkPeerAt(t, night, "-url", url)
	require.Contains(t, line, "HEARTBEAT CRITICAL - 6 of 7 dead: a/nginx, b/nginx, c/nginx, d/nginx, e/nginx, ... | ")
	require.Contains(t, line, " dead=6;;0;0;7 ")
	require.Equal(t, 2, code)
	require.Equal(t, "limit=6&state=dead", c.asked[len(c.asked)-1])
}

// What a collector elsewhere calls its peers neither ends the text nor the line.
func TestCheckPeerQuotesForeignText(t *testing.T) {
	evil := nginx
	evil.Source, evil.Service, evil.Reason = "a", "x", "y|z=1\n\x1b"
	c := &collector{peers: []api.Peer{evil}}
	line, code := checkPeerAt(t, night, "-url", c.overHTTP(t), "-H", "a", "-service", "x")
	require.Equal(t, `HEARTBEAT CRITICAL - a/x dead for 2m5s: y\x7cz=1\n\x1b, exit code 3 | age=130s;16;35;0`, line)
	require.Equal(t, 2, code)
	evil.Service = "|=;\n"
	c.set(evil)
	line, _ = checkPeerAt(t, night, "-url", c.overHTTP(t))
	require.Contains(t, line, `HEARTBEAT CRITICAL - 1 of 1 dead: a/\x7c=;\n | unknown=0`)
}

// A file goes on being worth something for ten minutes after the collector.
func TestCheckPeerBelievesAFileForAWhile(t *testing.T) {
	dir, config := stateDir(t)
	line, code := checkPeerAt(t, night, "-config", config, "-H", "web-1")
	require.Contains(t, line, "HEARTBEAT UNKNOWN - no collector listens on "+filepath.Join(dir, "heartbeat.sock")+", and ")
	require.Equal(t, 3, code)

	copyFleet(t, dir)
	file := filepath.Join(dir, "heartbeat.state")
	line, code = checkPeerAt(t, night, "-config", config, "-H", "web-1", "-service", "nginx")
	require.Equal(t, "HEARTBEAT CRITICAL - web-1/nginx dead for 3m22s: conn_closed (not live: "+file+", last written 3m20s ago) | age=206s;;3.5;0", line)
	require.Equal(t, 2, code)
	line, code = checkPeerAt(t, night, "-config", config)
	require.Contains(t, line, "HEARTBEAT CRITICAL - 1 of 5 dead: web-1/nginx (not live: "+file+", last written 3m20s ago) | ")
	require.Equal(t, 2, code)

	later := night.Add(7 * time.Minute)
	for _, args := range [][]string{{"-config", config}, {"-config", config, "-H", "web-4"}, {"-state-file", file, "-H", "web-4"}} {
		line, code = checkPeerAt(t, later, args...)
		require.Contains(t, line, file+" was last written 10m20s ago")
		require.Equal(t, 3, code)
	}
	line, code = checkPeerAt(t, later.Add(-time.Minute), "-config", config, "-H", "web-4")
	require.Contains(t, line, "HEARTBEAT OK - web-4/host alive for 9m26s (not live: ")
	require.Zero(t, code)
}

// Of several collectors of a host the one that knows the peer answers, whatever the others do.
func TestCheckPeerAsksAllCollectorsOfTheHost(t *testing.T) {
	dir, config := stateDir(t)
	text := "[[inputs.heartbeat]]\n  tags = {site = 'x'}\n  state_file = '" + dir + "/none/heartbeat.state'\n"
	own, err := os.ReadFile(config)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(config, append([]byte(text), own...), 0o600))
	c := &collector{peers: []api.Peer{web}}
	c.overSocket(t, dir)
	line, code := checkPeerAt(t, night, "-config", config, "-H", "web-1")
	require.Equal(t, "HEARTBEAT OK - web-1/host alive for 3d | age=12s;16;35;0", line)
	require.Zero(t, code)
	line, code = checkPeerAt(t, night, "-config", config, "-H", "web-2")
	require.Contains(t, line, "HEARTBEAT UNKNOWN - no collector listens on "+dir+"/none/heartbeat.sock")
	require.Equal(t, 3, code)
}

func TestCheckPeerPrintsItsHelp(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, checkPeer(t.Context(), []string{"-help"}, consoleAt(&out)))
	require.Equal(t, checkPeerUsage(), out.String())
}
