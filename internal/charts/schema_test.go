package charts

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Grafana's published types, and the compiler that checks the dashboards with them.
const (
	grafanaSchema = "@grafana/schema@13.2.3"
	typeScript    = "typescript@5.9.3"
)

// A dashboard must conform to Grafana's own types, and the options and custom settings of a panel
// to the types of its kind. JSON has strings where the types have enumerations, and leaves out
// fields that have a default.
const typesHead = `
import type { Dashboard } from '@grafana/schema';
import type { Options as Stat } from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type { Options as Table, FieldConfig as TableField } from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type { Options as Lines, FieldConfig as LinesField } from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';
import type { Options as Timeline, FieldConfig as TimelineField } from '@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen';
type Plain<T> = T extends string ? ` + "`${T}`" + ` : T extends number | boolean | null | undefined ? T
  : T extends Array<infer U> ? Plain<U>[] : T extends object ? { [K in keyof T]?: Plain<T[K]> } : T;
`

var optionTypes = map[string]string{"stat": "Stat", "table": "Table", "timeseries": "Lines", "state-timeline": "Timeline"}

var untyped = []string{"query", "textColumn", "tagsColumn", "expr", "step", "titleFormat", "tagKeys"}

func TestDashboardsHaveTheTypesOfGrafana(t *testing.T) {
	npm, err := exec.LookPath("npm")
	if err != nil {
		t.Skip("needs npm, to install Grafana's types")
	}
	dir, err := filepath.Abs(filepath.Join("..", "..", "build", "grafana-schema"))
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(dir, 0o755))
	run(t, dir, npm, "install", "--no-package-lock", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", grafanaSchema, typeScript)
	text := bytes.NewBufferString(typesHead)
	for _, s := range Sources {
		for _, byHand := range []bool{false, true} {
			typed(t, text, fmt.Sprintf("%s_%t", s.Name, byHand), Dashboard(s, byHand))
		}
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "check.ts"), text.Bytes(), 0o600))
	run(t, dir, filepath.Join(dir, "node_modules", ".bin", "tsc"), "--noEmit", "--strict", "--skipLibCheck",
		"--module", "nodenext", "--moduleResolution", "nodenext", "check.ts")
}

// typed writes a dashboard and its parts as typed TypeScript constants.
func typed(t *testing.T, text *bytes.Buffer, name string, dashboard []byte) {
	t.Helper()
	var d map[string]any
	require.NoError(t, json.Unmarshal(dashboard, &d))
	delete(d, "__inputs") // only for the import dialogue
	delete(d, "__requires")
	for _, a := range d["annotations"].(map[string]any)["list"].([]any) {
		for _, key := range untyped { // fields of a data source; Grafana moves them into target
			delete(a.(map[string]any), key)
		}
	}
	for i, p := range d["panels"].([]any) {
		p := p.(map[string]any)
		kind := optionTypes[p["type"].(string)]
		if kind == "" {
			continue
		}
		fmt.Fprintf(text, "const %s_%d_options: Plain<%s> = %s;\n", name, i, kind, asJSON(t, p["options"]))
		defaults := p["fieldConfig"].(map[string]any)["defaults"].(map[string]any)
		if custom, ok := defaults["custom"].(map[string]any); ok {
			fmt.Fprintf(text, "const %s_%d_custom: Plain<%sField> = %s;\n", name, i, kind, asJSON(t, custom))
		}
	}
	fmt.Fprintf(text, "const %s: Plain<Dashboard> = %s;\n", name, asJSON(t, d))
}

func asJSON(t *testing.T, value any) []byte {
	t.Helper()
	text, err := json.Marshal(value)
	require.NoError(t, err)
	return text
}

func run(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	command := exec.Command(name, args...)
	command.Dir = dir
	said, err := command.CombinedOutput()
	require.NoError(t, err, "%s", said)
}
