package grafana

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var view = View{From: time.Unix(1000, 0), To: time.Unix(1060, 0), Step: 5 * time.Second, Variables: map[string]string{"source": ".*"}}

func TestQueriesGetWhatTheyName(t *testing.T) {
	require.Equal(t, `time >= 1000000ms AND time <= 1060000ms AND source =~ /^.*$/ GROUP BY time(5s) - 1060000ms $other`,
		view.InfluxQL(`$timeFilter AND source =~ /^$source$/ GROUP BY time($__interval) - ${__to}ms $other`))
	require.Equal(t, `rate(x{source=~".*"}[10s]) + x[60s] / 60`, view.PromQL(`rate(x{source=~"${source:regex}"}[$__rate_interval]) + x[$__range] / $__range_s`))
}

func TestVariablesAreThoseOfTheBeginning(t *testing.T) {
	board := `{"templating": {"list": [
		{"name": "datasource", "type": "datasource", "query": "influxdb"},
		{"name": "source", "type": "query", "allValue": ".*", "current": {"value": "$__all"}},
		{"name": "recent", "type": "custom", "query": "1m,30s"},
		{"name": "host", "type": "query", "current": {"value": ["a", "b"]}}]}}`
	require.Equal(t, map[string]string{"datasource": "influxdb", "source": ".*", "recent": "3m", "host": "a"},
		variables(t, []byte(board), map[string]string{"recent": "3m"}))
}

// A variable stays in an alias if the series has no such tag, but becomes empty in a legend if
// the series has no such label.
func TestLinesAreNamedByTagsAndLabels(t *testing.T) {
	influx := FromInfluxQL(&Target{Alias: "$tag_source [[tag_service]] $col $tag_pid"}, []InfluxSeries{{
		Name: "peer", Tags: map[string]string{"source": "a", "service": ""}, Columns: []string{"time", "min"}, Values: [][]any{{1.0, 2.0}},
	}})
	require.Equal(t, "a  min $tag_pid", influx[0].Fields[1].Config["displayNameFromDS"])
	prom := FromPromQL([]Target{{LegendFormat: "{{source}} {{ pid }}!"}}, [][]PromSeries{{{
		Metric: map[string]string{"source": "a"}, Values: [][]any{{1.0, "2"}, {6.0, "NaN"}},
	}}}, view)
	require.Equal(t, "a !", prom[0].Fields[1].Config["displayNameFromDS"])
	require.Equal(t, []any{2.0, "NaN"}, prom[0].Fields[1].Values)
	require.Equal(t, map[string]any{"interval": int64(5000)}, prom[0].Fields[0].Config)
}

func TestTablesHaveTagsOrLabelsBeforeValues(t *testing.T) {
	columns := func(f Frame) (names []string) {
		for _, field := range f.Fields {
			names = append(names, field.Name+" "+field.Type)
		}
		return names
	}
	influx := FromInfluxQL(&Target{ResultFormat: "table"}, []InfluxSeries{{
		Tags: map[string]string{"source": "a", "host": "h"}, Columns: []string{"time", "down", "why"}, Values: [][]any{{1.0, nil, "x"}, {2.0, 3.0, "y"}},
	}})
	require.Equal(t, []string{"Time time", "source string", "host string", "down number", "why string"}, columns(influx[0]))
	require.Equal(t, []any{"a", "a"}, influx[0].Fields[1].Values)
	one := []PromSeries{{Metric: map[string]string{"source": "a", "ip": "b"}, Value: []any{1.0, "2"}}}
	prom := FromPromQL([]Target{{RefID: "A", Format: "table"}, {RefID: "B", Format: "table"}}, [][]PromSeries{one, nil}, view)
	require.Equal(t, []string{"Time time", "ip string", "source string", "Value #A number"}, columns(prom[0]))
	require.Equal(t, []string{"Time time", "Value #B number"}, columns(prom[1]))
	require.Equal(t, "Value", FromPromQL([]Target{{RefID: "A", Format: "table"}}, [][]PromSeries{one}, view)[0].Fields[3].Name)
}
