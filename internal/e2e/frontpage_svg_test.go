//go:build unix

package e2e

import (
	"bytes"
	"fmt"
	"html"
	"strings"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

// In pixels.
const (
	svgWidth  = 860
	svgMargin = 20
	svgLine   = 22
)

// Each line appears when it came. Where nothing is animated, all are there.
const svgStyle = `
    rect { fill: #0d1117 }
    text { font: 14px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: #c9d1d9; white-space: pre;
           animation: appear 1ms both }
    .typed { fill: #79c0ff } .alive { fill: #56d364 } .suspect { fill: #e3b341 } .dead { fill: #ff7b72 } .left { fill: #8b949e }
    @keyframes appear { from { opacity: 0 } to { opacity: 1 } }
    @media (prefers-reduced-motion: reduce) { text { animation: none } }
`

// animate returns lines as an SVG in which they appear one after the other, as they came.
func animate(lines []testkit.Line) []byte {
	height := 2*svgMargin + svgLine*len(lines) - svgLine/2
	var b bytes.Buffer
	fmt.Fprintf(&b, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" role=\"img\">\n",
		svgWidth, height, svgWidth, height)
	fmt.Fprintf(&b, "  <title>A sender is killed, started again and stopped; the collector reports it</title>\n")
	fmt.Fprintf(&b, "  <style>%s  </style>\n  <rect width=\"100%%\" height=\"100%%\" rx=\"8\"/>\n", svgStyle)
	for i, line := range lines {
		fmt.Fprintf(&b, "  <text x=\"%d\" y=\"%d\" class=\"%s\" style=\"animation-delay:%.2fs\">%s</text>\n",
			svgMargin, svgMargin+svgLine/2+svgLine*i, classOf(line.Text), line.At.Sub(lines[0].At).Seconds(), html.EscapeString(line.Text))
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// classOf returns how a line is drawn: what is typed, or a state.
func classOf(line string) string {
	if strings.HasPrefix(line, "$ ") {
		return "typed"
	}
	if words := strings.Fields(line); len(words) > 1 {
		return words[1]
	}
	return ""
}
