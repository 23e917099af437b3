//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

// Hosts that send their metrics to a central Telegraf are peers once that has a block more, as
// docs/fleet.md says: the collector is in the same Telegraf, and nothing changes on the hosts.
func TestFleetIsWatchedByItsCentralTelegraf(t *testing.T) {
	t.Parallel()
	shown, err := os.ReadFile(filepath.Join("..", "..", "deploy", "examples", "fleet.conf"))
	require.NoError(t, err)
	datagrams, metrics := testkit.FreeAddress(t), testkit.FreeAddress(t)
	block := string(shown)
	for old, by := range map[string]string{"127.0.0.1:7878": datagrams, `"interval_ms":10000`: `"interval_ms":2000`} {
		require.Contains(t, block, old)
		block = strings.ReplaceAll(block, old, by)
	}
	options := filepath.Join(t.TempDir(), "heartbeat.conf")
	addresses := fmt.Appendf(nil, "[[inputs.heartbeat]]\nservice_addresses = [%q, %q]\n", anyPort, "udp://"+datagrams)
	require.NoError(t, os.WriteFile(options, addresses, 0o600))
	c := startStockWith(t, options, func(central *conf) {
		central.text += fmt.Sprintf("[[inputs.influxdb_listener]]\nservice_address = %q\n", metrics) + block
	})

	startFleetHost(t, metrics, "web-1")
	startFleetHost(t, metrics, `web "odd\`)
	killed := startFleetHost(t, metrics, "web-2")
	for _, host := range []string{"web-1", "web-2"} {
		c.Until(host+" to be alive", func() bool { return len(c.events(host)) > 0 })
	}
	killed.Kill()
	c.Until("its death", func() bool { return last(c.events("web-2")) == "dead" })
	require.Equal(t, "alive", last(c.events("web-1")))
	require.NotContains(t, c.events("web-1"), "dead")
	require.NotEmpty(t, c.metrics("heartbeat_peer", "source", "web-1", "service", "telegraf"))
	c.Until("the odd name to be refused", func() bool { return c.Stderr.Says("Refused") })
	for _, refused := range c.Stderr.With("Refused") {
		require.Contains(t, refused, " host: ")
	}
}

// startFleetHost starts the Telegraf of a host, which sends its metrics every second.
func startFleetHost(t testing.TB, metrics, name string) *testkit.Process {
	t.Helper()
	file := filepath.Join(t.TempDir(), "telegraf.conf")
	text := fmt.Sprintf(everyHost, name) + fmt.Sprintf("[[inputs.system]]\n[[outputs.influxdb]]\nurls = [\"http://%s\"]\nskip_database_creation = true\n", metrics)
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return testkit.StartProgram(t, "telegraf-stock", "--config", file)
}
