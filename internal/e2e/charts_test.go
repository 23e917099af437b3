//go:build linux

package e2e

import (
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/charts"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/charts/grafana"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// Every query of every panel is run on the databases, and gives what happened
// in the story.
func TestChartsTellTheStory(t *testing.T) {
	t.Parallel()
	s := tellCharts(t)
	s.alerts(t) // first: a death is shown only for so long after the peer is back
	to := time.Now()
	for _, p := range charts.Panels() {
		want, ok := drawn[p.Title]
		require.True(t, ok, "what should %q show?", p.Title)
		for name, lines := range s.draw(&p, to) {
			t.Run(p.Title+", "+name, func(t *testing.T) { want(t, lines) })
		}
	}
	s.see(t, to)
	s.marks(t, to)
	s.variables(t)
	s.vmui(t)
	s.queriesOfTheDocuments(t)
}

// vmui asks VictoriaMetrics what the dashboard of its own page asks.
func (s *toldStory) vmui(t *testing.T) {
	t.Run("vmui", func(t *testing.T) {
		var board struct {
			Rows []struct {
				Panels []struct {
					Title string
					Expr  []string
				}
			}
		}
		require.NoError(t, json.Unmarshal(charts.VMUI(), &board))
		now, asked := time.Now(), 0
		for _, row := range board.Rows {
			for _, p := range row.Panels {
				lines := s.victoria.promQL(p.Expr[0], now, now, 0)
				require.Equal(t, p.Title != "Refused" && p.Title != "Other collectors", len(lines) > 0, p.Title)
				asked++
			}
		}
		require.Greater(t, asked, 15)
	})
}

// draw runs the queries of a panel on all databases.
func (s *toldStory) draw(p *charts.Panel, to time.Time) map[string][]line {
	at, span := to, to.Sub(s.from)
	if p.Kind == charts.Lines || p.Kind == charts.Timeline {
		at = s.from
	}
	scraped := func(db *server) []line {
		if p.Kind != charts.Table {
			return db.promQL(prometheusText(p.Few(), span), at, to, step)
		}
		rows := make(map[string]*line)
		for _, c := range p.Columns {
			if c.PromQL == "" {
				continue
			}
			for _, l := range db.promQL(prometheusText(c.PromQL, span), to, to, 0) {
				row := rows[l.name()]
				if row == nil {
					row = &line{labels: l.labels, values: make(map[string][]float64)}
					rows[l.name()] = row
				}
				row.values[c.Name] = l.values["value"]
			}
		}
		var table []line
		for _, row := range rows {
			table = append(table, *row)
		}
		return table
	}
	return map[string][]line{
		"InfluxDB":        s.influx.influxQL(influxText(p.InfluxQL, s.from, to)),
		"Prometheus":      scraped(s.prom),
		"VictoriaMetrics": scraped(s.victoria),
	}
}

// step is the resolution of lines.
const step = 5 * time.Second

// all is what the reader of a dashboard has chosen at first.
var all = map[string]string{"recent": "1m", "source": ".*", "service": ".*"}

func influxText(query string, from, to time.Time) string {
	return grafana.View{From: from, To: to, Step: step, Variables: all}.InfluxQL(query)
}

func prometheusText(query string, span time.Duration) string {
	return grafana.View{To: time.Time{}.Add(span), Step: step, Variables: all}.PromQL(query)
}

// value returns the newest of the only number that a line has.
func (l *line) value(t *testing.T) float64 {
	t.Helper()
	require.Len(t, l.values, 1)
	for column := range l.values {
		return l.latest(column)
	}
	return 0
}

// byName returns the lines of peers.
func byName(t *testing.T, lines []line) map[string]*line {
	t.Helper()
	named := make(map[string]*line)
	for i := range lines {
		require.NotContains(t, named, lines[i].name(), "it is there twice")
		named[lines[i].name()] = &lines[i]
	}
	return named
}

func names(lines []line) []string {
	all := make([]string, len(lines))
	for i := range lines {
		all[i] = lines[i].name()
	}
	slices.Sort(all)
	return all
}

// everybody is who took part, by name.
var everybody = []string{
	"10.0.0.5/4711", "db-1/app", "db-1/host", "gone-1/old", "slow-1/job", "web-1/nginx", "web-2/shop", "web-4/back", "web-5/polite", "web-6/shop",
	"web-7/loop", "web-8/moved",
}

// number wants one line with this value.
func isNumber(want float64) func(*testing.T, []line) {
	return func(t *testing.T, lines []line) {
		t.Helper()
		require.Len(t, lines, 1)
		require.InDelta(t, want, lines[0].value(t), 1e-9)
	}
}

// between wants lines that are all in a range.
func between(least, most float64) func(*testing.T, []line) {
	return func(t *testing.T, lines []line) {
		t.Helper()
		require.NotEmpty(t, lines)
		for i := range lines {
			for _, values := range lines[i].values {
				require.NotEmpty(t, values)
				for _, value := range values {
					require.GreaterOrEqual(t, value, least, lines[i].labels)
					require.LessOrEqual(t, value, most, lines[i].labels)
				}
			}
		}
	}
}

// drawn is what each panel has to show at the end of the story.
var drawn = map[string]func(t *testing.T, lines []line){
	"Dead":         isNumber(3),
	"Suspect":      isNumber(1),
	"Unknown":      isNumber(1),
	"Left":         isNumber(1),
	"Alive":        isNumber(7),
	"Availability": between(50, 99.9),
	"Collectors":   isNumber(0),
	"Who is down, since when, why": func(t *testing.T, lines []line) {
		rows := byName(t, lines)
		require.Equal(t, []string{"db-1/app", "db-1/host", "web-2/shop"}, names(lines))
		require.Contains(t, []string{"conn_closed", "conn_reset"}, rows["web-2/shop"].why())
		require.Equal(t, "host", rows["db-1/app"].why())
		require.Contains(t, []string{"silence", "hung", "unreachable", "conn_closed", "conn_reset"}, rows["db-1/host"].why())
		for _, row := range rows {
			since := time.UnixMilli(int64(row.latest("since")))
			require.WithinDuration(t, time.Now(), since, time.Minute)
			require.InDelta(t, time.Since(since).Seconds(), row.latest("down"), 30)
		}
	},
	"State of each peer": func(t *testing.T, lines []line) {
		rows := byName(t, lines)
		require.Equal(t, everybody, names(lines))
		const alive, suspect, left, dead, unknown = 0, 2, 6, 7, 8
		for name, want := range map[string]float64{
			"web-1/nginx": alive, "slow-1/job": suspect, "web-2/shop": dead, "db-1/app": dead, "web-5/polite": left, "gone-1/old": unknown, "10.0.0.5/4711": alive,
		} {
			require.InDelta(t, want, rows[name].value(t), 0, name)
		}
		for _, values := range rows["web-6/shop"].values {
			require.NotContains(t, values, float64(dead), "it was restarted only")
		}
	},
	"Each peer in the time shown": func(t *testing.T, lines []line) {
		rows := byName(t, lines)
		require.Equal(t, everybody, names(lines))
		for name, want := range map[string]map[string]float64{
			"web-1/nginx":   {"availability": 100, "deaths": 0, "restarts": 0, "mistakes": 0, "flapping": 0},
			"web-6/shop":    {"availability": 100, "deaths": 0, "restarts": 4, "mistakes": 0, "flapping": 0},
			"web-7/loop":    {"deaths": 2, "restarts": 2, "flapping": 1},
			"web-4/back":    {"deaths": 1, "restarts": 1, "mistakes": 0, "flapping": 0},
			"web-8/moved":   {"availability": 100, "deaths": 0, "restarts": 0},
			"10.0.0.5/4711": {"availability": 100, "deaths": 0, "restarts": 0},
			"web-2/shop":    {"deaths": 1},
		} {
			for column, value := range want {
				require.InDelta(t, value, rows[name].latest(column), 1e-6, "%s of %s", column, name)
			}
		}
		require.Less(t, rows["web-2/shop"].latest("availability"), 99.0)
		require.Greater(t, rows["web-2/shop"].latest("availability"), 10.0)
	},
	"Beats lost":           between(0, 100),
	"Allowed silence used": between(0, 1.2),
	"Round trip":           between(1e-6, 1),
	"Clock skew":           between(-2, 2),
	"Peers by state": func(t *testing.T, lines []line) {
		counts := make(map[string]float64)
		for i := range lines {
			counts[lines[i].labels["state"]] = lines[i].value(t)
		}
		require.Equal(t, map[string]float64{"alive": 6, "suspect": 1, "dead": 3, "left": 1, "unknown": 0}, counts)
	},
	"Isolation":             between(0, 0),
	"Beats":                 between(0, 100),
	"Connections":           between(0, 20),
	"Refused":               func(t *testing.T, lines []line) { require.Empty(t, lines, "nothing was refused") },
	"Stalls":                between(0, 100),
	"Age of the state file": between(0, 60),
	"Other collectors":      func(t *testing.T, lines []line) { require.Empty(t, lines, "it was given none") },
}

// marks looks at the annotations.
func (s *toldStory) marks(t *testing.T, to time.Time) {
	for _, a := range charts.Annotations() {
		t.Run("annotation "+a.Name, func(t *testing.T) {
			want := map[string][]string{
				"Deaths":   {"db-1/app", "db-1/host", "gone-1/old", "web-2/shop", "web-4/back", "web-7/loop"},
				"Restarts": {"web-4/back", "web-6/shop", "web-7/loop"},
			}[a.Name]
			for _, db := range []*server{s.prom, s.victoria} {
				lines := db.promQL(prometheusText(a.PromQL, to.Sub(s.from)), s.from, to, step)
				require.Equal(t, want, peersOf(lines), db.Name)
			}
			lines := s.influx.influxQL(influxText(a.InfluxQL, s.from, to))
			if a.Name == "Collector" {
				require.Equal(t, 2, rowsOf(lines), "the collector was started twice")
				return
			}
			require.Equal(t, want, s.marked(a.InfluxQL, to), "InfluxDB")
		})
	}
}

// peersOf returns the names of lines, without those of nobody.
func peersOf(lines []line) []string {
	var all []string
	for _, name := range names(lines) {
		if name != "" {
			all = append(all, name)
		}
	}
	return all
}

// why returns the reason in a row of the dead: a code in InfluxDB, a label in
// the others.
func (l *line) why() string {
	if codes := l.values["why"]; len(codes) > 0 {
		return liveness.Reason(last(codes)).String()
	}
	return l.labels["reason"]
}

func rowsOf(lines []line) int {
	rows := 0
	for i := range lines {
		rows += len(lines[i].values["last_pid"])
	}
	return rows
}

// marked returns whose marks InfluxDB gives: source and service are columns
// there, not tags.
func (s *toldStory) marked(query string, to time.Time) []string {
	grouped := influxText(query, s.from, to) + " GROUP BY source, service"
	grouped = strings.Replace(grouped, "last_pid, source, service, state, reason", "last_pid", 1)
	return names(s.influx.influxQL(grouped))
}

// variables asks for what the reader can choose from.
func (s *toldStory) variables(t *testing.T) {
	for key, want := range map[string]string{"source": "web-1", "service": "nginx"} {
		values := s.influx.influxQL(`SHOW TAG VALUES FROM "heartbeat_peer" WITH KEY = "` + key + `"`)
		require.Len(t, values, 1, key)
		for _, db := range []*server{s.prom, s.victoria} {
			var answer struct{ Data []string }
			db.get("/api/v1/label/"+key+"/values", url.Values{"match[]": {"heartbeat_peer_alive"}}, &answer)
			require.Contains(t, answer.Data, want)
		}
	}
}

// alerts looks at what Prometheus has fired: who is dead, and nobody who left
// or was restarted.
func (s *toldStory) alerts(t *testing.T) {
	t.Run("alerts", func(t *testing.T) {
		var answer struct {
			Data struct {
				Alerts []struct {
					Labels, Annotations map[string]string
					State               string
				}
			}
		}
		s.prom.get("/api/v1/alerts", nil, &answer)
		fired := make(map[string][]string)
		for _, a := range answer.Data.Alerts {
			l := line{labels: a.Labels}
			fired[a.Labels["alertname"]] = append(fired[a.Labels["alertname"]], l.name())
			if a.Labels["source"] == "web-2" {
				require.Regexp(t, `^shop on web-2 died: conn_(closed|reset)$`, a.Annotations["summary"])
			}
		}
		for _, whose := range fired {
			slices.Sort(whose)
		}
		require.Equal(t, map[string][]string{
			"HeartbeatHostDead": {"db-1/host"}, "HeartbeatServiceDead": {"web-2/shop", "web-4/back", "web-7/loop"}, // the last two are back, but not for long
			"HeartbeatFlapping":       {"web-7/loop"},
			"HeartbeatStatusCritical": {"web-8/moved"}, "HeartbeatStatusWarning": {"slow-1/job"}, // pending, as that is not for a minute yet
		}, fired)
		now := time.Now()
		fired["HeartbeatServiceDead"] = []string{"web-2/shop"} // as those ask who keep no waves
		for _, r := range charts.Rules() {
			if r.InfluxQL != "" {
				s.influx.influxQL(r.InfluxQL)
			}
			require.Equal(t, fired[r.Name], peersOf(s.victoria.promQL(r.PromQL, now, now, 0)), "%s, as Grafana asks it", r.Name)
		}
		require.Equal(t, []string{"web-2/shop"}, s.above("HeartbeatServiceDead"))
		require.Equal(t, []string{"db-1/host"}, s.above("HeartbeatHostDead"))
		require.Equal(t, []string{"web-7/loop"}, s.above("HeartbeatFlapping"))
		require.Equal(t, []string{"web-8/moved"}, s.above("HeartbeatStatusCritical"))
		require.Equal(t, []string{"slow-1/job"}, s.above("HeartbeatStatusWarning"))
		require.Empty(t, s.above("HeartbeatConflict"))
	})
}

// above returns whose alert Grafana would fire from InfluxDB.
func (s *toldStory) above(name string) []string {
	s.t.Helper()
	for _, r := range charts.Rules() {
		if r.Name != name {
			continue
		}
		var fired []line
		for _, l := range s.influx.influxQL(r.InfluxQL) {
			for _, values := range l.values {
				if last(values) > r.Above {
					fired = append(fired, l)
				}
			}
		}
		return names(fired)
	}
	s.t.Fatalf("there is no rule %s", name)
	return nil
}

// queriesOfTheDocuments runs those in docs/charts.md. The counters were not
// reset by anything in the story.
func (s *toldStory) queriesOfTheDocuments(t *testing.T) {
	t.Run("queries of the documents", func(t *testing.T) {
		text, err := os.ReadFile(filepath.Join("..", "..", "docs", "charts.md"))
		require.NoError(t, err)
		for _, query := range blocks(string(text), "sql") {
			if !strings.HasPrefix(query, "--") {
				require.NotEmpty(t, s.influx.influxQL(query), query)
			}
		}
		now := time.Now()
		for _, query := range blocks(string(text), "promql") {
			for _, db := range []*server{s.prom, s.victoria} {
				require.True(t, len(db.promQL(query, now, now, 0)) > 0 || strings.Contains(query, "[30d:1h]"), query)
				require.NotEmpty(t, db.promQL(strings.Replace(query, "[30d:1h]", "[1h:5s]", 1), now, now, 0), query)
			}
		}
		for _, db := range []*server{s.prom, s.victoria} {
			lines := db.promQL(`round(increase(heartbeat_peer_restarts_total{source="web-6"}[6h]))`, now, now, 0)
			require.Len(t, lines, 1)
			require.InDelta(t, 4, lines[0].value(t), 0, db.Name)
		}
	})
}

// blocks returns the lines in code of a language in a document.
func blocks(document, language string) []string {
	var lines []string
	for i, part := range strings.Split(document, "```") {
		if code, ok := strings.CutPrefix(part, language+"\n"); ok && i%2 == 1 {
			lines = append(lines, strings.Split(strings.TrimSpace(code), "\n")...)
		}
	}
	return lines
}
