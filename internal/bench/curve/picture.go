//go:build linux

package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"time"
)

// A measured is a point with what was seen there.
type measured struct {
	point
	heartbeat, emitted, quiet float64 // parts of a core: with a metric a beat, the same only emitted, without one
	memory                    float64 // MiB
}

// paint draws two charts of those that beat every 10 s, both axes logarithmic.
func paint(file string, all []measured) error {
	var ten []measured
	for _, m := range all {
		if m.interval == 10*time.Second {
			ten = append(ten, m)
		}
	}
	var svg bytes.Buffer
	fmt.Fprint(&svg, `<svg xmlns="http://www.w3.org/2000/svg" width="900" height="330" font-family="sans-serif" font-size="13"><rect width="100%" height="100%" fill="#fff"/>`+"\n")
	chart(&svg, 60, "processor, % of a core", ten, []curve{
		{"a metric a beat", "#e0752d", func(m *measured) float64 { return 100 * m.heartbeat }},
		{"no metric a beat", "#3274d9", func(m *measured) float64 { return 100 * m.quiet }},
		{"the same metrics, only emitted", "#999", func(m *measured) float64 { return 100 * m.emitted }},
	})
	chart(&svg, 510, "memory, MiB", ten, []curve{{"of the whole Telegraf", "#3a9b4b", func(m *measured) float64 { return m.memory }}})
	svg.WriteString("</svg>\n")
	return os.WriteFile(file, svg.Bytes(), 0o600)
}

type curve struct {
	name, color string
	of          func(*measured) float64
}

func chart(svg *bytes.Buffer, left int, title string, points []measured, curves []curve) {
	const top, width, height, decades = 40, 340, 230, 4
	lowest := math.Inf(1)
	for i := range points {
		for _, c := range curves {
			lowest = min(lowest, c.of(&points[i]))
		}
	}
	bottom := math.Floor(math.Log10(lowest))
	x := func(peers float64) float64 { return float64(left) + (math.Log10(peers)-3)*width/3 }
	y := func(value float64) float64 { return top + height - (math.Log10(value)-bottom)*height/decades }
	text := func(x, y float64, style, text string) {
		fmt.Fprintf(svg, `<text x="%.0f" y="%.0f" %s>%s</text>`+"\n", x, y, style, text)
	}
	line := func(x1, y1, x2, y2 float64, style string) {
		fmt.Fprintf(svg, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" %s/>`+"\n", x1, y1, x2, y2, style)
	}
	text(float64(left), 22, `font-weight="bold"`, title)
	for decade := range decades + 1 {
		value := math.Pow(10, bottom+float64(decade))
		line(float64(left), y(value), float64(left+width), y(value), `stroke="#ddd"`)
		text(float64(left)-6, y(value)+4, `text-anchor="end" fill="#555"`, fmt.Sprintf("%g", value))
	}
	for _, peers := range []float64{1e3, 1e4, 1e5, 1e6} {
		text(x(peers), top+height+18, `text-anchor="middle" fill="#555"`, fmt.Sprintf("%.0f", peers))
	}
	text(float64(left+width), top+height+36, `text-anchor="end" fill="#555"`, "peers, each beating every 10 s")
	for n, c := range curves {
		style := fmt.Sprintf(`stroke="%s" stroke-width="2"`, c.color)
		for i := 1; i < len(points); i++ {
			a, b := &points[i-1], &points[i]
			line(x(float64(a.peers)), y(c.of(a)), x(float64(b.peers)), y(c.of(b)), style)
		}
		line(float64(left)+10, top+10+18*float64(n), float64(left)+30, top+10+18*float64(n), style)
		text(float64(left)+36, top+14+18*float64(n), "", c.name)
	}
}
