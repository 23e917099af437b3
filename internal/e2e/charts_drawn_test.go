//go:build linux

package e2e

import (
	"cmp"
	"flag"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/charts"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/charts/grafana"
)

var picturesDir = flag.String("pictures", "", "draw the dashboard at the end of the story into this directory")

// What Grafana's dark theme makes of the names of colours.
const (
	green  = "#73BF69"
	yellow = "#FADE2A"
	orange = "#FF9830"
	red    = "#F2495C"
	blue   = "#5794F2"
	gray   = "#808080"
	none   = ""
)

// A sight is what has to be seen in a panel.
type sight func(t *testing.T, p *grafana.Panel)

// sights are those of all panels at the end of the story, whatever database was
// asked. Texts are regular expressions.
var sights = map[string]sight{
	"Dead":         tile("3", red),
	"Suspect":      tile("1", yellow),
	"Unknown":      tile("1", gray),
	"Left":         tile("1", blue),
	"Alive":        tile("7", green),
	"Collectors":   tile("listening", green),
	"Availability": tile(`\d\d\.\d%`, red),

	"Who is down, since when, why": table("since down", []column{
		{"source", none}, {"service", none}, {"why", none}, {"since", none}, {"down", none}, {"ip", none}, {"pid", none},
	}, map[string][]string{
		"db-1/app":   {"db-1", "app", "host", clock, length, `127\.0\.0\.1`, `\d+`},
		"db-1/host":  {"db-1", "host", "silence|hung|unreachable|conn_closed|conn_reset", clock, length, `127\.0\.0\.1`, ``},
		"web-2/shop": {"web-2", "shop", "conn_closed|conn_reset", clock, length, `127\.0\.0\.1`, `\d+`},
	}),
	"State of each peer": lines(map[string]grafana.Value{
		"10.0.0.5 4711": {Text: "alive", Color: green}, "db-1 app": {Text: "dead", Color: red}, "db-1 host": {Text: "dead", Color: red},
		"gone-1 old": {Text: "unknown", Color: gray}, "slow-1 job": {Text: "suspect", Color: yellow}, "web-1 nginx": {Text: "alive", Color: green},
		"web-2 shop": {Text: "dead", Color: red}, "web-4 back": {Text: "alive", Color: green}, "web-5 polite": {Text: "left", Color: blue},
		"web-6 shop": {Text: "alive", Color: green}, "web-7 loop": {Text: "alive", Color: green}, "web-8 moved": {Text: "alive", Color: green},
	}),
	"Each peer in the time shown": table("deaths down", []column{
		{"source", none}, {"service", none}, {"pid", none}, {"availability", "seen"}, {"deaths", none}, {"restarts", none}, {"mistakes", none}, {"flapping", none},
	}, map[string][]string{
		"10.0.0.5/":    {`10\.0\.0\.5`, "", "4711", "100%", "0", "0", "0", "-"},
		"db-1/app":     {"db-1", "app", "", `\d\d\.\d%`, "1", "0", "0", "-"},
		"db-1/host":    {"db-1", "host", "", `\d\d\.\d%`, "1", "0", "0", "-"},
		"gone-1/old":   {"gone-1", "old", "", `\d\d\.\d%`, "1", "0", "0", "-"},
		"slow-1/job":   {"slow-1", "job", "", "100%", "0", "0", "0", "-"},
		"web-1/nginx":  {"web-1", "nginx", "", "100%", "0", "0", "0", "-"},
		"web-2/shop":   {"web-2", "shop", "", `\d\d\.\d%`, "1", "0", "0", "-"},
		"web-4/back":   {"web-4", "back", "", `\d\d\.\d%`, "1", "1", "0", "-"},
		"web-5/polite": {"web-5", "polite", "", "100%", "0", "0", "0", "-"},
		"web-6/shop":   {"web-6", "shop", "", "100%", "0", "4", "0", "-"},
		"web-7/loop":   {"web-7", "loop", "", `\d\d\.\d%`, "2", "2", "0", "yes"},
		"web-8/moved":  {"web-8", "moved", "", "100%", "0", "0", "0", "-"},
	}),
	"Beats lost":           measured(peerName, `\d+(\.\d+)?%`),
	"Allowed silence used": measured(peerName, `\d+(\.\d+)?%`),
	"Round trip":           measured(peerName, `\d+(\.\d+)? (s|ms|µs|ns)`),
	"Clock skew":           measured(peerName, `-?\d+(\.\d+)? (s|ms|µs|ns)`),
	"Peers by state": lines(map[string]grafana.Value{
		"alive": {Text: "6", Color: green}, "suspect": {Text: "1", Color: yellow}, "dead": {Text: "3", Color: red},
		"left": {Text: "1", Color: blue}, "unknown": {Text: "0", Color: gray},
	}),
	"Isolation":             lines(map[string]grafana.Value{"": {Text: "listening", Color: green}}),
	"Beats":                 measured(socket, `\d+(\.\d+)? c/s`),
	"Connections":           measured(socket, `\d+`),
	"Refused":               empty,
	"Stalls":                measured(`\S+`, `\d+(\.\d+)?%`),
	"Age of the state file": measured(`\S+`, `\d+(\.\d+)? (s|ms|µs|ns)`),
	"Other collectors":      empty,
}

const (
	length   = `(\d+ (second|minute)s?(, )?)+`
	clock    = `\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`
	peerName = `\S+ \S+`
	socket   = `tcp://127\.0\.0\.1:\d+ \S+`
)

// see draws the dashboards with Grafana's own code.
func (s *toldStory) see(t *testing.T, to time.Time) {
	view := grafana.View{From: s.from, To: to, Step: step}
	for _, c := range []struct {
		name   string
		source charts.Source
		db     *server
	}{{"InfluxDB", charts.InfluxDB, s.influx}, {"Prometheus", charts.Prometheus, s.prom}, {"VictoriaMetrics", charts.Prometheus, s.victoria}} {
		t.Run("seen in Grafana, "+c.name, func(t *testing.T) {
			d := grafana.Ask(t, charts.Dashboard(c.source, false), c.db.url, view)
			shown := d.Show(t)
			require.Len(t, shown, len(sights))
			for title := range sights {
				t.Run(title, func(t *testing.T) {
					p, ok := shown[title]
					require.True(t, ok, "there is no such panel")
					sights[title](t, &p)
				})
			}
			t.Run("marks", func(t *testing.T) {
				for _, m := range d.Marks {
					require.Contains(t, []string{"Deaths red", "Collector purple"}, m.Name+" "+m.Color)
				}
				require.GreaterOrEqual(t, len(d.Marks), 6)
			})
			t.Run("picture", func(t *testing.T) {
				d.Open()
				d.Picture(t, filepath.Join(cmp.Or(*picturesDir, t.TempDir()), "all-"+c.name+".png"))
			})
		})
	}
	if *picturesDir != "" {
		view.From, view.Step = s.known.Add(2*time.Second), time.Second
		d := grafana.Ask(t, charts.Dashboard(charts.InfluxDB, false), s.influx.url, view)
		for _, d.Theme = range []string{"dark", "light"} {
			d.Picture(t, filepath.Join(*picturesDir, "dashboard-"+d.Theme+".png"))
		}
	}
}

// tile is one number with its colour.
func tile(text, color string) sight {
	return func(t *testing.T, p *grafana.Panel) {
		t.Helper()
		require.Equal(t, "stat", p.Type)
		require.Len(t, p.Values, 1)
		require.Regexp(t, whole(text), p.Values[0].Text)
		require.Equal(t, color, p.Values[0].Color)
	}
}

// A column is the name of one, and whether its texts have a colour.
type column struct{ name, color string }

// table is its columns in this order, and its rows by source and service.
func table(sorted string, columns []column, rows map[string][]string) sight {
	return func(t *testing.T, p *grafana.Panel) {
		t.Helper()
		require.Equal(t, "table", p.Type)
		var names []string
		for _, c := range columns {
			names = append(names, c.name)
		}
		require.Equal(t, names, p.Columns)
		require.Equal(t, []string{sorted}, p.Sorted)
		require.True(t, p.Paged)
		require.Len(t, p.Rows, len(rows))
		for _, row := range p.Rows {
			want := rows[row[0].Text+"/"+row[1].Text]
			require.Len(t, want, len(row), row)
			require.Len(t, row[0].Links, 1)
			require.Contains(t, row[0].Links[0], "&var-source="+row[0].Text+"&from=")
			for i, cell := range row {
				require.Regexp(t, whole(want[i]), cell.Text, "%s of %s", names[i], want)
				require.Equal(t, columns[i].color != none, cell.Color != none, names[i])
				require.Empty(t, cell.Background)
			}
		}
	}
}

// lines are exactly those with these names, or these beginnings of names, at
// their ends.
func lines(want map[string]grafana.Value) sight {
	return func(t *testing.T, p *grafana.Panel) {
		t.Helper()
		require.Len(t, p.Series, len(want))
		for _, l := range p.Series {
			last, ok := want[l.Name]
			if !ok { // the collector comes last
				last, ok = want[regexp.MustCompile(` ?\S+$`).ReplaceAllString(l.Name, "")]
			}
			require.True(t, ok, "%q", l.Name)
			require.Equal(t, last, l.Last, l.Name)
		}
	}
}

// measured are lines whose names and values look like this.
func measured(name, text string) sight {
	return func(t *testing.T, p *grafana.Panel) {
		t.Helper()
		require.NotEmpty(t, p.Series)
		for _, l := range p.Series {
			require.Regexp(t, whole(name), l.Name)
			for _, v := range l.Values {
				require.Regexp(t, whole(text), v.Text, l.Name)
			}
			require.False(t, slices.ContainsFunc(l.Values, func(v grafana.Value) bool { return v.Color != l.Last.Color }), "a line has one colour")
		}
	}
}

func empty(t *testing.T, p *grafana.Panel) {
	t.Helper()
	require.True(t, p.Empty)
}

func whole(text string) string { return "^(" + text + ")$" }
