package charts

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the files in deploy")

// files are those in deploy that are made of the panels and rules.
func files() map[string][]byte {
	all := map[string][]byte{"prometheus/heartbeat.rules.yml": RulesFile()}
	for _, s := range Sources {
		all["grafana/provisioning/dashboards/heartbeat-"+s.Name+".json"] = Dashboard(s, false)
		all["grafana/import/heartbeat-"+s.Name+".json"] = Dashboard(s, true)
		all["grafana/alerting/heartbeat-"+s.Name+".yaml"] = Provisioned(s)
	}
	return all
}

func TestFilesAreUpToDate(t *testing.T) {
	for name, want := range files() {
		file := filepath.Join("..", "..", "deploy", filepath.FromSlash(name))
		if *update {
			require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
			require.NoError(t, os.WriteFile(file, want, 0o600))
			require.NoError(t, os.Chmod(file, 0o644))
		}
		got, err := os.ReadFile(file)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got), "%s is old: go test ./internal/charts -update", name)
	}
}
