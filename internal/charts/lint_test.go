package charts

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// A board is a dashboard, with the fields that these tests check.
type board struct {
	UID           string
	Title         string
	SchemaVersion int
	Inputs        []any `json:"__inputs"`
	Templating    struct{ List []variable }
	Annotations   struct{ List []annotation }
	Panels        []panel
}

type variable struct {
	Name, Type string
	Refresh    int
	Datasource reference
}

type annotation struct {
	Name       string
	Datasource reference
	Query      string
	Expr       string
}

type reference struct{ Type, UID string }

type panel struct {
	Panels      []panel // of a collapsed row
	Collapsed   bool
	ID          int
	Type        string
	Title       string
	Description string
	Datasource  reference
	GridPos     struct{ X, Y, W, H int }
	Targets     []struct {
		RefID       string
		Datasource  reference
		Query, Expr string
	}
	FieldConfig struct {
		Defaults struct {
			Unit     string
			Mappings []any
		}
	}
}

// boards calls check for each dashboard.
func boards(t *testing.T, check func(t *testing.T, s Source, b board)) {
	t.Helper()
	for _, s := range Sources {
		for name, byHand := range map[string]bool{"provisioned": false, "by hand": true} {
			t.Run(s.Name+", "+name, func(t *testing.T) {
				var b board
				require.NoError(t, json.Unmarshal(Dashboard(s, byHand), &b))
				b.Panels = opened(b.Panels)
				require.Equal(t, byHand, b.Inputs != nil)
				check(t, s, b)
			})
		}
	}
}

// opened moves the panels of collapsed rows behind their rows.
func opened(panels []panel) (all []panel) {
	for i := range panels {
		p := panels[i]
		all = append(append(all, p), p.Panels...)
	}
	return all
}

func TestDashboardsAreWellMade(t *testing.T) {
	boards(t, func(t *testing.T, s Source, b board) {
		chosen := reference{s.Type, "${datasource}"} // every panel queries the data source that the reader selected
		require.NotEmpty(t, b.Title)
		require.LessOrEqual(t, len(b.UID), 40)
		for _, v := range b.Templating.List {
			require.Contains(t, []string{"datasource", "query", "custom"}, v.Type)
			if v.Type == "query" {
				require.Equal(t, chosen, v.Datasource)
				require.Equal(t, 2, v.Refresh, "%s is refreshed when the time range changes", v.Name)
			}
		}
		for _, a := range b.Annotations.List {
			require.Equal(t, chosen, a.Datasource)
			require.NotEmpty(t, a.Query+a.Expr, a.Name)
		}
		for i := range b.Panels {
			p := &b.Panels[i]
			require.Equal(t, i+1, p.ID)
			require.NotEmpty(t, p.Title)
			if p.Type == "row" {
				continue
			}
			require.NotEmpty(t, p.Description, p.Title)
			require.Equal(t, chosen, p.Datasource, p.Title)
			require.NotEmpty(t, p.Targets, p.Title)
			require.NotEmpty(t, p.FieldConfig.Defaults.Unit, p.Title)
			for _, target := range p.Targets {
				require.Equal(t, chosen, target.Datasource, p.Title)
				require.NotEmpty(t, target.Query+target.Expr, p.Title)
			}
		}
	})
}

func TestPanelsDoNotOverlap(t *testing.T) {
	boards(t, func(t *testing.T, _ Source, b board) {
		taken := make(map[[2]int]string)
		for i := range b.Panels {
			p := &b.Panels[i]
			require.Positive(t, p.GridPos.W*p.GridPos.H, p.Title)
			for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
				require.Less(t, x, 24, p.Title)
				for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
					require.Empty(t, taken[[2]int{x, y}], "%s overlaps it", p.Title)
					taken[[2]int{x, y}] = p.Title
				}
			}
		}
	})
}

// The dashboards of both sources have the same panels in the same positions.
func TestSourcesShowTheSame(t *testing.T) {
	shown := make(map[string]Source)
	boards(t, func(t *testing.T, s Source, b board) {
		var titles []string
		for i := range b.Panels {
			titles = append(titles, b.Panels[i].Type+" "+b.Panels[i].Title)
		}
		shown[strings.Join(titles, "\n")] = s
	})
	require.Len(t, shown, 1)
}

// Grafana sends the name of an undefined variable to the database unchanged.
func TestQueriesKnowTheirVariables(t *testing.T) {
	name := regexp.MustCompile(`\$\{?(\w+)`)
	builtin := []string{"__from", "__to", "__interval", "__range", "__range_s", "__rate_interval", "timeFilter"}
	boards(t, func(t *testing.T, _ Source, b board) {
		known := append([]string(nil), builtin...)
		for _, v := range b.Templating.List {
			known = append(known, v.Name)
		}
		for i := range b.Panels {
			for _, target := range b.Panels[i].Targets {
				for _, match := range name.FindAllStringSubmatch(target.Query+target.Expr, -1) {
					require.Contains(t, known, match[1], b.Panels[i].Title)
				}
			}
		}
	})
}

// The window of a rate must contain at least two samples.
func TestRatesAreTakenOfEnough(t *testing.T) {
	for _, p := range Panels() {
		queries := []string{p.PromQL}
		for _, c := range p.Columns {
			queries = append(queries, c.PromQL)
		}
		for _, window := range regexp.MustCompile(`rate\([^[]*\[([^]]*)\]`).FindAllStringSubmatch(strings.Join(queries, "\n"), -1) {
			require.Equal(t, "$__rate_interval", window[1], p.Title)
		}
	}
}

func TestRulesAreComplete(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "charts.md"))
	require.NoError(t, err)
	names := make(map[string]bool)
	for _, r := range Rules() {
		require.False(t, names[r.Name], r.Name)
		names[r.Name] = true
		require.Contains(t, []string{"critical", "warning"}, r.Severity, r.Name)
		require.NotEmpty(t, r.Summary, r.Name)
		require.NotEmpty(t, r.About, r.Name)
		require.NotEmpty(t, r.PromQL, r.Name)
		_, anchor, _ := strings.Cut(r.annotations(Prometheus, "")["runbook_url"].(string), "charts.md#")
		require.Equal(t, strings.ToLower(r.Name), anchor)
		severity := strings.ToUpper(r.Severity[:1]) + r.Severity[1:]
		require.Contains(t, string(text), "\n#### "+r.Name+"\n\n"+severity+": ", "each alert has a section that its runbook URL points to")
	}
}

// The link of an alert leads to a dashboard that is shipped, and sets a variable that this
// dashboard has.
func TestAlertsLinkToTheDashboards(t *testing.T) {
	boards(t, func(t *testing.T, s Source, b board) {
		link := regexp.MustCompile(`^/d/(.+?)(?:\?var-(.+)=\{\{ .* }})?$`)
		for _, r := range Rules() {
			match := link.FindStringSubmatch(r.annotations(s, "")["dashboard"].(string))
			require.NotNil(t, match, r.Name)
			require.Equal(t, b.UID, match[1], r.Name)
			known := slices.ContainsFunc(b.Templating.List, func(v variable) bool { return v.Name == match[2] })
			require.True(t, match[2] == "" || known, r.Name)
		}
	})
}

// The rules have the format of Grafana's provisioning. Only the format is checked, because
// Grafana does not run here.
func TestProvisionedRulesAreWellMade(t *testing.T) {
	type step struct {
		RefID             string                 `yaml:"refId"`
		DatasourceUID     string                 `yaml:"datasourceUid"`
		RelativeTimeRange struct{ From, To int } `yaml:"relativeTimeRange"`
		Model             map[string]any
	}
	type provisioned struct {
		APIVersion int `yaml:"apiVersion"`
		Groups     []struct {
			OrgID                  int `yaml:"orgId"`
			Name, Folder, Interval string
			Rules                  []struct {
				UID, Title, Condition, For string
				NoDataState                string `yaml:"noDataState"`
				ExecErrState               string `yaml:"execErrState"`
				Labels, Annotations        map[string]string
				Data                       []step
			}
		}
	}
	for _, s := range Sources {
		var file provisioned
		decoder := yaml.NewDecoder(bytes.NewReader(Provisioned(s)))
		decoder.KnownFields(true)
		require.NoError(t, decoder.Decode(&file))
		require.Equal(t, 1, file.APIVersion)
		require.Len(t, file.Groups, 1)
		known := make(map[string]bool)
		for _, r := range file.Groups[0].Rules {
			require.LessOrEqual(t, len(r.UID), 40, "Grafana refuses %s", r.UID)
			require.False(t, known[r.UID], r.UID)
			known[r.UID] = true
			require.Contains(t, []string{"critical", "warning"}, r.Labels["severity"], r.Title)
			require.NotEmpty(t, r.Annotations["runbook_url"], r.Title)
			require.Contains(t, []string{"OK", "Alerting"}, r.NoDataState, r.Title)
			require.Equal(t, "Error", r.ExecErrState, r.Title)
			_, err := time.ParseDuration(r.For)
			require.NoError(t, err, r.Title)
			require.Equal(t, "C", r.Condition, r.Title)
			require.Len(t, r.Data, 3, r.Title)
			for i, step := range r.Data {
				require.Equal(t, string(rune('A'+i)), step.RefID, r.Title)
				require.Equal(t, step.RefID, step.Model["refId"], r.Title)
			}
			require.Equal(t, "heartbeat-"+s.Name, r.Data[0].DatasourceUID, r.Title)
			require.NotContains(t, fmt.Sprint(r.Data[0].Model), "heartbeat:", "Grafana does not evaluate recording rules")
			require.Equal(t, "A", r.Data[1].Model["expression"], r.Title)
			require.Equal(t, "B", r.Data[2].Model["expression"], r.Title)
		}
	}
}
