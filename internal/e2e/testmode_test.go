//go:build unix

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

// "telegraf --test" prints what the plugin would write. Telegraf does not wait for
// a program that it starts, unless it is told to.
func TestTestModeOfTelegraf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		telegraf, table string
		args            []string
	}{
		{"telegraf-stock", fmt.Sprintf("[[inputs.execd]]\ncommand = [%q, \"-config\", %q]\nsignal = \"STDIN\"\ndata_format = \"influx\"\n",
			testkit.Program(t, "telegraf-heartbeat"), writeOptions(t, anyPort, `state_file = "none"`)), []string{"--test-wait", "5"}},
		{"telegraf", fmt.Sprintf("[[inputs.heartbeat]]\nservice_addresses = [%q]\nstate_file = \"none\"\n", anyPort), nil},
	} {
		t.Run(c.telegraf, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "telegraf.conf")
			require.NoError(t, os.WriteFile(file, []byte(c.table+"[[outputs.discard]]\n"), 0o600))
			p := testkit.StartProgram(t, c.telegraf, append([]string{"--config", file, "--test"}, c.args...)...)
			require.Zero(t, p.Exit())
			require.NotEmpty(t, p.Stdout.With("> heartbeat_collector"))
			require.Len(t, p.Stdout.With("> heartbeat_event"), 1)
		})
	}
}
