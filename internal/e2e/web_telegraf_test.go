//go:build linux

package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/web/api"
)

// startReporting starts a Telegraf that tells by outputs.heartbeat how it is, every second. What
// it would write goes to a server that is not there, so its log has errors to send along.
func startReporting(t *testing.T, url, id, token string, include string) *testkit.Process {
	t.Helper()
	config := fmt.Sprintf(`[agent]
  interval = "1s"
  flush_interval = "1s"
  omit_hostname = true
[[inputs.internal]]
[[outputs.influxdb]]
  urls = ["http://%s"]
  skip_database_creation = true
[[outputs.heartbeat]]
  url = %q
  instance_id = %q
  token = %q
  interval = "1s"
  include = [%s]
  [outputs.heartbeat.logs]
    level = "info"
  [outputs.heartbeat.status]
    warn = "log_errors > 0"
    order = ["warn"]
`, testkit.FreeAddress(t), url, id, token, include)
	file := filepath.Join(t.TempDir(), "telegraf.conf")
	require.NoError(t, os.WriteFile(file, []byte(config), 0o600))
	return testkit.StartProgram(t, "telegraf", "--config", file)
}

// A stock Telegraf that reports on itself is a peer: it dies, comes back under its id as the one
// it was, and is retired.
func TestTelegrafReportsOnItself(t *testing.T) {
	t.Parallel()
	const token = "a-secret-of-edge-7"
	p := newPings(t, check(token, "edge-7/telegraf"))
	p.start()
	everything := `"statistics", "configs", "logs", "status"`
	url := p.url("/heartbeat?every=1s")
	first := startReporting(t, url, "edge-7", token, everything)
	p.untilStates("edge-7", "telegraf", "alive beat")
	p.untilPeer("edge-7/telegraf", "an error in its log", func(peer *api.Peer) bool { return peer.Status == "warning" })
	require.False(t, first.Stderr.Says("outputs.heartbeat"), "it has a complaint about us")

	first.Kill()
	p.untilStates("edge-7", "telegraf", "alive beat", "suspect silence", "dead silence")
	startReporting(t, url, "edge-7", token, everything)
	p.untilStates("edge-7", "telegraf", "alive beat", "suspect silence", "dead silence", "alive beat")
	require.Zero(t, p.untilNoRun("edge-7/telegraf").Conflicts)
	require.Empty(t, p.now().Stderr.With("Refused"))
}

// Where it says its host name, that is who it is, and a goodbye from the collector retires it.
func TestTelegrafIsRetired(t *testing.T) {
	t.Parallel()
	p := newPings(t)
	p.start()
	name, err := os.Hostname()
	require.NoError(t, err)
	telegraf := startReporting(t, p.url("/heartbeat?every=1s"), "1", "", `"hostname"`)
	p.untilStates(name, "telegraf", "alive beat")
	telegraf.Kill()
	require.Zero(t, p.curl("/ping/"+name+"/telegraf/leave").Exit())
	p.now().Until("its goodbye", func() bool { return last(p.states(name, "telegraf")) == "left leaving" })
	require.NotContains(t, p.states(name, "telegraf"), "dead silence")
}

// One that the collector does not know is told so, and goes on.
func TestTelegrafWithAWrongTokenIsTold(t *testing.T) {
	t.Parallel()
	p := newPings(t, check("a-secret-of-edge-7", "edge-7/telegraf"))
	p.start()
	telegraf := startReporting(t, p.url("/heartbeat"), "edge-7", "another-secret", "")
	telegraf.Until("it to complain", func() bool { return telegraf.Stderr.Says("received status " + fmt.Sprint(http.StatusUnauthorized)) })
	p.requireNoToken("another-secret")
}
