package grafana

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// An Asked is a panel with its queries.
type Asked struct {
	Title, Type string
	Targets     []Target
}

// A Target is a query of a panel.
type Target struct {
	RefID        string
	Hide         bool
	Query        string // of InfluxDB
	ResultFormat string
	Alias        string
	Expr         string // of Prometheus
	Format       string
	LegendFormat string
	Instant      bool
	Datasource   struct{ Type string }
}

// An InfluxSeries is a series in an answer of InfluxDB.
type InfluxSeries struct {
	Name    string
	Tags    map[string]string
	Columns []string
	Values  [][]any
}

// A PromSeries is a series in an answer of Prometheus.
type PromSeries struct {
	Metric map[string]string
	Value  []any
	Values [][]any
}

func (s *PromSeries) points() [][]any {
	if s.Value != nil {
		return [][]any{s.Value}
	}
	return s.Values
}

// parseNumber decodes a value in an answer of Prometheus.
func parseNumber(value any) any {
	text, _ := value.(string)
	n, err := strconv.ParseFloat(text, 64)
	if text == "NaN" || text == "+Inf" || text == "-Inf" || err != nil {
		return text
	}
	return n
}

// Ask sends the queries of a dashboard to a database and returns a drawing of the answers.
func Ask(t testing.TB, dashboard []byte, database string, v View) *Drawing {
	t.Helper()
	v.Variables = variables(t, dashboard, v.Variables)
	d := New(t, dashboard, v, func(p *Asked) []Frame {
		var frames []Frame
		var prom []Target
		var answers [][]PromSeries
		for i := range p.Targets {
			target := &p.Targets[i]
			switch {
			case target.Hide:
			case target.Datasource.Type == "influxdb":
				frames = append(frames, FromInfluxQL(target, askInflux(t, database, v.InfluxQL(target.Query)))...)
			default:
				prom = append(prom, *target)
				answers = append(answers, askProm(t, database, v.PromQL(target.Expr), target.Instant, v))
			}
		}
		return append(frames, FromPromQL(prom, answers, v)...)
	})
	d.Marks = queryMarks(t, dashboard, database, v)
	return d
}

// queryMarks queries the annotations that are shown at first.
func queryMarks(t testing.TB, dashboard []byte, database string, v View) []Mark {
	t.Helper()
	var board struct {
		Annotations struct {
			List []struct {
				Name, IconColor string
				Enable          bool
				Datasource      struct{ Type string }
				Query           string // of InfluxDB
				TextColumn      string
				Expr            string // of Prometheus
				TitleFormat     string
			}
		}
	}
	require.NoError(t, json.Unmarshal(dashboard, &board))
	all := make([]Mark, 0)
	for i := range board.Annotations.List {
		a := &board.Annotations.List[i]
		switch {
		case !a.Enable:
		case a.Datasource.Type == "influxdb":
			for _, series := range askInflux(t, database, v.InfluxQL(a.Query)) {
				text := slices.Index(series.Columns, a.TextColumn)
				for _, row := range series.Values {
					all = append(all, Mark{a.Name, int64(row[0].(float64)), a.IconColor, fmt.Sprint(row[text])})
				}
			}
		default:
			for _, series := range askProm(t, database, v.PromQL(a.Expr), false, v) {
				at := int64(1000 * series.Values[0][0].(float64)) // only the start of an annotation is drawn
				all = append(all, Mark{a.Name, at, a.IconColor, promName(&Target{LegendFormat: a.TitleFormat}, series.Metric)})
			}
		}
	}
	return all
}

func askInflux(t testing.TB, database, query string) []InfluxSeries {
	t.Helper()
	var answer struct {
		Results []struct {
			Error  string
			Series []InfluxSeries
		}
	}
	require.NotRegexp(t, variable, query)
	getJSON(t, database+"/query", url.Values{"db": {"telegraf"}, "epoch": {"ms"}, "q": {query}}, &answer)
	require.Len(t, answer.Results, 1)
	require.Empty(t, answer.Results[0].Error, query)
	return answer.Results[0].Series
}

func askProm(t testing.TB, database, query string, instant bool, v View) []PromSeries {
	t.Helper()
	require.NotRegexp(t, variable, query)
	var answer struct{ Data struct{ Result []PromSeries } }
	second := func(at time.Time) []string { return []string{strconv.FormatInt(at.Unix(), 10)} }
	if instant {
		getJSON(t, database+"/api/v1/query", url.Values{"query": {query}, "time": second(v.To)}, &answer)
	} else {
		getJSON(t, database+"/api/v1/query_range", url.Values{"query": {query}, "start": second(v.From), "end": second(v.To), "step": {v.Step.String()}}, &answer)
	}
	return answer.Data.Result
}

func getJSON(t testing.TB, address string, query url.Values, answer any) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address+"?"+query.Encode(), nil)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode, "%s\n%s", text, query)
	require.NoError(t, json.Unmarshal(text, answer), "%s", text)
}

// InfluxQL replaces the variables in a query as Grafana does for InfluxDB.
func (v View) InfluxQL(query string) string {
	from, to := strconv.FormatInt(v.From.UnixMilli(), 10), strconv.FormatInt(v.To.UnixMilli(), 10)
	return v.replace(query, map[string]string{
		"timeFilter": "time >= " + from + "ms AND time <= " + to + "ms", "__from": from, "__to": to, "__interval": v.Step.String(),
	})
}

// PromQL replaces the variables in a query as Grafana does for Prometheus.
func (v View) PromQL(query string) string {
	seconds := strconv.Itoa(int(v.To.Sub(v.From).Seconds()))
	return v.replace(query, map[string]string{
		"__from": strconv.FormatInt(v.From.UnixMilli(), 10), "__to": strconv.FormatInt(v.To.UnixMilli(), 10),
		"__range": seconds + "s", "__range_s": seconds, "__interval": v.Step.String(), "__rate_interval": (2 * v.Step).String(),
	})
}

var variable = regexp.MustCompile(`\$(\w+)|\$\{(\w+)(:\w+)?\}`)

func (v View) replace(query string, known map[string]string) string {
	return variable.ReplaceAllStringFunc(query, func(whole string) string {
		name, _, _ := strings.Cut(strings.Trim(whole, "${}"), ":")
		if value, ok := known[name]; ok {
			return value
		}
		if value, ok := v.Variables[name]; ok {
			return value
		}
		return whole
	})
}
