//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

// foreign returns the path of a program that is not ours: where the system has
// it, or where "make servers" has unpacked it.
func foreign(t testing.TB, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, dir := range []string{"bin", "sbin"} {
		path, err := filepath.Abs(filepath.Join("..", "..", "build", "servers", "usr", dir, name))
		require.NoError(t, err)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	t.Skipf("needs %s, which \"make servers\" unpacks from Debian's packages", name)
	return ""
}

// A server is a database that was started for a test.
type server struct {
	*testkit.Process
	url string
}

// serve starts a server and waits until it answers at path.
func serve(t testing.TB, address, path, name string, args ...string) *server {
	t.Helper()
	command := exec.Command(foreign(t, name), args...)
	command.Dir = t.TempDir()
	s := &server{testkit.Start(t, name, command), "http://" + address}
	s.Until(name+" to answer", func() bool {
		answer, err := http.Get(s.url + path)
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		return answer.StatusCode < http.StatusMultipleChoices
	})
	return s
}

func startInfluxDB(t testing.TB) *server {
	t.Helper()
	address, dir := testkit.FreeAddress(t), t.TempDir()
	file := filepath.Join(dir, "influxdb.conf")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, `reporting-disabled = true
bind-address = %q
[meta]
  dir = "%[2]s/meta"
[data]
  dir = "%[2]s/data"
  wal-dir = "%[2]s/wal"
[http]
  bind-address = %[3]q
  log-enabled = false
[monitor]
  store-enabled = false
`, testkit.FreeAddress(t), dir, address), 0o600))
	return serve(t, address, "/ping", "influxd", "-config", file)
}

// built returns the path of a program that "make servers" has built from source,
// in a directory of its version.
func built(t testing.TB, dir, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", "build", "servers", dir, name))
	require.NoError(t, err)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("needs %s, which \"make servers\" builds", dir)
	}
	return path
}

// newVictoria is a newer one than Debian's.
const newVictoria = "victoria-metrics-v1.151.0"

// startPrometheus starts one that looks at the targets every second, with these rules and
// this Alertmanager, if any.
func startPrometheus(t testing.TB, rules, alertmanager string, targets ...string) *server {
	t.Helper()
	address, dir := testkit.FreeAddress(t), t.TempDir()
	more := "rule_files: [" + rules + "]\n"
	if alertmanager != "" {
		more += "alerting: {alertmanagers: [{static_configs: [{targets: [\"" + alertmanager + "\"]}]}]}\n"
	}
	file := writeScrapeConfig(t, more, targets...)
	return serve(t, address, "/-/ready", "prometheus", "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+address, "--web.console.libraries="+dir, "--web.console.templates="+dir)
}

// startVictoriaMetrics starts the one at this path.
func startVictoriaMetrics(t testing.TB, program, target string) *server {
	t.Helper()
	address, dir := testkit.FreeAddress(t), t.TempDir()
	return serve(t, address, "/health", program, "-storageDataPath="+filepath.Join(dir, "data"), "-httpListenAddr="+address,
		"-promscrape.config="+writeScrapeConfig(t, "", target), "-search.latencyOffset=0s")
}

func writeScrapeConfig(t testing.TB, more string, targets ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "scrape.yml")
	text := "global: {scrape_interval: 1s}\n" + more +
		"scrape_configs:\n- {job_name: heartbeat, honor_labels: true, static_configs: [{targets: [" + strings.Join(targets, ", ") + "]}]}\n"
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

// get asks s and decodes what it answers.
func (s *server) get(path string, query url.Values, answer any) {
	s.T.Helper()
	response, err := http.Get(s.url + path + "?" + query.Encode())
	require.NoError(s.T, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(s.T, err)
	require.Equal(s.T, http.StatusOK, response.StatusCode, "%s\n%s", text, query)
	require.NoError(s.T, json.Unmarshal(text, answer), "%s", text)
}

// A line is one of the lines of a chart, or of the rows of a table: labels, and
// values by name, the oldest first.
type line struct {
	labels map[string]string
	values map[string][]float64
}

// latest returns the newest value of a column.
func (l *line) latest(column string) float64 { return last(l.values[column]) }

// influxQL runs a query, as Grafana does.
func (s *server) influxQL(query string) []line {
	s.T.Helper()
	var answer struct {
		Results []struct {
			Error  string
			Series []struct {
				Tags    map[string]string
				Columns []string
				Values  [][]any
			}
		}
	}
	s.get("/query", url.Values{"db": {"telegraf"}, "epoch": {"ms"}, "q": {query}}, &answer)
	require.Len(s.T, answer.Results, 1)
	require.Empty(s.T, answer.Results[0].Error, query)
	var lines []line
	for _, series := range answer.Results[0].Series {
		l := line{labels: series.Tags, values: make(map[string][]float64)}
		if l.labels == nil {
			l.labels = make(map[string]string)
		}
		for _, row := range series.Values {
			for i, value := range row {
				switch value := value.(type) {
				case float64:
					l.values[series.Columns[i]] = append(l.values[series.Columns[i]], value)
				case string:
					l.labels[series.Columns[i]] = value
				}
			}
		}
		delete(l.values, "time")
		lines = append(lines, l)
	}
	return lines
}

// promQL runs a query at one instant, or from an instant to another.
func (s *server) promQL(query string, from, to time.Time, step time.Duration) []line {
	s.T.Helper()
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
				Values [][2]any
			}
		}
	}
	seconds := func(at time.Time) []string { return []string{strconv.FormatInt(at.Unix(), 10)} }
	if from.Equal(to) {
		s.get("/api/v1/query", url.Values{"query": {query}, "time": seconds(to)}, &answer)
	} else {
		s.get("/api/v1/query_range", url.Values{"query": {query}, "start": seconds(from), "end": seconds(to), "step": {step.String()}}, &answer)
	}
	var lines []line
	for _, result := range answer.Data.Result {
		l := line{labels: result.Metric, values: make(map[string][]float64)}
		if len(result.Values) == 0 {
			result.Values = append(result.Values, result.Value)
		}
		for _, value := range result.Values {
			text, ok := value[1].(string)
			require.True(s.T, ok, "%v", value)
			number, err := strconv.ParseFloat(text, 64)
			require.NoError(s.T, err)
			if !math.IsNaN(number) { // 0 of 0, which Grafana leaves out too
				l.values["value"] = append(l.values["value"], number)
			}
		}
		if len(l.values) > 0 {
			lines = append(lines, l)
		}
	}
	return lines
}

// name tells whose line it is: source/service, or source/pid.
func (l *line) name() string {
	whose := l.labels["service"]
	if whose == "" {
		whose = l.labels["pid"]
	}
	return strings.TrimSuffix(l.labels["source"]+"/"+whose, "/")
}
