//go:build linux

package e2e

import (
	"bytes"
	"flag"
	"fmt"
	"html"
	"maps"
	"os"
	"slices"
	"sort"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/charts"
)

var pictureFile = flag.String("picture", "", "write what the panels show of the story to this file, as SVG")

// A picture is a rendering of what queries gave, for the documents: Grafana
// looks better, but is not there.
type picture struct {
	bytes.Buffer
	width, height int
}

// paint draws the numbers, the table of the dead and the timeline, all asked of
// InfluxDB.
func (s *toldStory) paint(to time.Time) {
	if *pictureFile == "" {
		return
	}
	p := &picture{width: 900}
	x := 10
	for _, panel := range charts.Panels() {
		lines := s.influx.influxQL(influxText(panel.InfluxQL, s.from, to))
		switch {
		case panel.Kind == charts.Stat && panel.By == nil:
			p.number(x, panel.Title, panel.Unit, lines)
			x += 178
		case panel.Title == "Who is dead, since when, why":
			p.height = 110
			p.dead(panel.Title, s.from, lines)
		case panel.Kind == charts.Timeline && len(panel.By) == 3:
			p.timeline(panel.Title, panel.Shown, s.prom.promQL(prometheusText(panel.PromQL, to.Sub(s.from)), s.from, to, time.Second), int(to.Sub(s.from).Seconds()))
		}
	}
	svg := fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="13">`+
		`<rect width="100%%" height="100%%" fill="#fff"/>`+"\n%s</svg>\n", p.width, p.height, p.String())
	require.NoError(s.t, os.WriteFile(*pictureFile, []byte(svg), 0o600))
}

func (p *picture) rect(x, y, w, h int, color, tip string) {
	fmt.Fprintf(p, `<rect x="%d" y="%d" width="%d" height="%d" fill="%s"><title>%s</title></rect>`+"\n", x, y, w, h, color, html.EscapeString(tip))
}

func (p *picture) text(x, y int, style, text string) {
	fmt.Fprintf(p, `<text x="%d" y="%d" %s>%s</text>`+"\n", x, y, style, html.EscapeString(text))
}

func (p *picture) number(x int, title, unit string, lines []line) {
	value := 0.0
	for i := range lines {
		for column := range lines[i].values {
			value = lines[i].latest(column)
		}
	}
	text := fmt.Sprintf("%.0f", value)
	if unit == "percent" {
		text = fmt.Sprintf("%.1f %%", value)
	}
	color := map[string]string{"Alive": "#73bf69", "Dead": "#e02f44", "Suspect": "#f2cc0c"}[title]
	if color == "" {
		color = "#8ab8ff"
	}
	p.rect(x, 10, 168, 80, color, title)
	p.text(x+12, 32, `fill="#222"`, title)
	p.text(x+12, 75, `fill="#222" font-size="32"`, text)
}

func (p *picture) dead(title string, from time.Time, lines []line) {
	columns := []int{10, 250, 400, 560, 700}
	row := func(style string, cells ...string) {
		p.height += 22
		for i, cell := range cells {
			p.text(columns[i], p.height, style, cell)
		}
	}
	row(`font-weight="bold"`, title)
	row(`fill="#777"`, "source/service", "since, s", "down, s", "why", "pid")
	sort.Slice(lines, func(i, j int) bool { return lines[i].latest("since") < lines[j].latest("since") })
	for i := range lines {
		l := &lines[i]
		since := time.UnixMilli(int64(l.latest("since"))).Sub(from).Seconds()
		row("", l.name(), fmt.Sprintf("%.1f", since), fmt.Sprintf("%.1f", l.latest("down")), l.why(), fmt.Sprintf("%.0f", l.latest("last_pid")))
	}
	p.height += 20
}

func (p *picture) timeline(title string, words *charts.Words, lines []line, seconds int) {
	const left, tall = 150, 16
	p.height += 22
	p.text(10, p.height, `font-weight="bold"`, title+" (seconds since the beginning)")
	x := left + 240
	for _, value := range slices.Sorted(maps.Keys(shades)) {
		p.rect(x, p.height-11, 12, 12, shades[value], "")
		p.text(x+17, p.height, `fill="#555"`, words.Text(value))
		x += 85
	}
	p.height += 12
	scale := float64(p.width-left-20) / float64(seconds)
	sort.Slice(lines, func(i, j int) bool { return lines[i].name() < lines[j].name() })
	for i := range lines {
		p.text(10, p.height+13, "", lines[i].name())
		for k, at := range lines[i].at {
			value := int(lines[i].values["value"][k])
			p.rect(left+int(float64(at)*scale), p.height, int(scale)+1, tall, shades[value], words.Text(value))
		}
		p.height += tall + 4
	}
	for second := 0; second < seconds; second += 10 {
		p.text(left+int(float64(second)*scale), p.height+14, `fill="#777"`, fmt.Sprint(second))
	}
	p.height += 26
}

// shades are the colours of the states of a timeline.
var shades = map[int]string{0: "#73bf69", 2: "#f2cc0c", 6: "#5794f2", 7: "#e02f44", 8: "#b0b0b0"}
