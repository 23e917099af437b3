package charts

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "write the files in deploy")

// files returns the content of the files in deploy that are generated from the panels and rules.
func files() map[string][]byte {
	all := map[string][]byte{"prometheus/heartbeat.rules.yml": RulesFile(), "victoriametrics/heartbeat.json": VMUI()}
	for _, s := range Sources {
		all["grafana/dashboards/heartbeat-"+s.Name+".json"] = Dashboard(s, false)
		all["grafana/import/heartbeat-"+s.Name+".json"] = Dashboard(s, true)
		all["grafana/provisioning/alerting/heartbeat-"+s.Name+".yaml"] = Provisioned(s)
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
		require.True(t, bytes.Equal(want, got), "%s is out of date: run go test ./internal/charts -update", name)
	}
}

// The sample data sources have the uids that the alerts use.
func TestAlertsAskTheDataSourcesOfTheSamples(t *testing.T) {
	for _, s := range Sources {
		var sources struct {
			Datasources []struct{ Name, Type, UID string }
		}
		parse(t, "grafana/provisioning/datasources/heartbeat-"+s.Name+".yaml", &sources)
		require.Len(t, sources.Datasources, 1)
		require.Equal(t, s.Type, sources.Datasources[0].Type)
		require.Equal(t, "heartbeat-"+s.Name, sources.Datasources[0].UID)
		require.Contains(t, string(Provisioned(s)), "datasourceUid: "+sources.Datasources[0].UID)
	}
	var dashboards struct {
		Providers []struct{ Options struct{ Path string } }
	}
	parse(t, "grafana/provisioning/dashboards/heartbeat.yaml", &dashboards)
	require.Equal(t, "/var/lib/grafana/dashboards/heartbeat", dashboards.Providers[0].Options.Path)
}

func parse(t *testing.T, name string, value any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", filepath.FromSlash(name)))
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(text, value))
}
