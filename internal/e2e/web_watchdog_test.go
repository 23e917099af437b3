//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/web/api"
)

// The recipe of our documents, in seconds.
const watchdogRoute = `route:
  receiver: nobody
  routes:
    - matchers: ['alertname = "Watchdog"']
      receiver: heartbeat
      group_wait: 0s
      group_interval: 2s
      repeat_interval: 1s
receivers:
  - name: nobody
  - name: heartbeat
    webhook_configs:
      - url: %s
        send_resolved: false
`

const watchdogRule = `groups:
  - name: watchdog
    interval: 1s
    rules:
      - alert: Watchdog
        expr: vector(1)
`

// The alert that always fires is the heartbeat of Prometheus and Alertmanager: it stops with
// either of them, and is back with it.
func TestWatchdogStopsWithPrometheus(t *testing.T) {
	t.Parallel()
	p := newPings(t, check(pingID, "monitoring/watchdog", `every = "2s"`, `grace = "30s"`))
	p.start()
	dir, alerts := t.TempDir(), testkit.FreeAddress(t)
	routes, config := filepath.Join(dir, "alertmanager.yml"), filepath.Join(dir, "prometheus.yml")
	require.NoError(t, os.WriteFile(routes, fmt.Appendf(nil, watchdogRoute, p.url("/ping/"+pingID)), 0o600))
	require.NoError(t, os.WriteFile(config, []byte("rule_files: [watchdog.yml]\nalerting: {alertmanagers: [{static_configs: [{targets: [\""+alerts+"\"]}]}]}\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "watchdog.yml"), []byte(watchdogRule), 0o600))
	start := func() *server { return startAlerting(t, config) }
	serve(t, alerts, "/-/ready", built(t, "alertmanager-v0.28.1", "alertmanager"), "--config.file="+routes,
		"--storage.path="+filepath.Join(dir, "data"), "--web.listen-address="+alerts, "--cluster.listen-address=")
	prometheus := start()
	p.untilStates("monitoring", "watchdog", "alive beat")
	p.untilPeer("monitoring/watchdog", "five beats", func(peer *api.Peer) bool { return peer.Beats >= 5 })
	require.Equal(t, []string{"alive beat"}, p.states("monitoring", "watchdog"))
	prometheus.Kill()
	p.untilStates("monitoring", "watchdog", "alive beat", "suspect silence", "dead silence")
	start()
	p.untilStates("monitoring", "watchdog", "alive beat", "suspect silence", "dead silence", "alive beat")
	require.Empty(t, p.now().Stderr.With("Refused"))
}

// startAlerting starts a Prometheus with this configuration. Alertmanager forgets its alerts
// after four seconds without news of them: after four minutes, as it is by default.
func startAlerting(t *testing.T, config string) *server {
	t.Helper()
	address, dir := testkit.FreeAddress(t), t.TempDir()
	return serve(t, address, "/-/ready", "prometheus", "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--rules.alert.resend-delay=1s", "--web.listen-address="+address, "--web.console.libraries="+dir, "--web.console.templates="+dir)
}
