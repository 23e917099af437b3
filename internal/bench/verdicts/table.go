package main

import (
	"fmt"
	"io"
	"strconv"
)

// writeTable prints the results as Markdown.
func writeTable(w io.Writer, results []result) {
	fmt.Fprintln(w, "Mistakes (per hour; longest detection time in intervals) at the mean detection")
	fmt.Fprintln(w, "time of a fixed wait of so many intervals:")
	fmt.Fprintln(w)
	fmt.Fprintln(w, "| link | wait | fixed | Akka | phi | Chen | ours | ours / fixed | our margin |")
	fmt.Fprintln(w, "|------|-----:|------:|-----:|----:|-----:|-----:|-------------:|-----------:|")
	for i := range results {
		r := &results[i]
		fmt.Fprintf(w, "| %s | %.1f | %s | %s | %s | %s | **%s** | %s | %.2f |\n",
			r.link.name, r.wait, r.cell(r.fixed), r.cell(r.akka), r.cell(r.phi), r.cell(r.chen), r.cell(r.ours), r.share(), r.ours.knob)
	}
	fmt.Fprintln(w)
}

func (r *result) cell(s score) string {
	if s.cannot {
		return "cannot"
	}
	return fmt.Sprintf("%d (%s; %.1f)", s.mistakes, strconv.FormatFloat(s.perHour(), 'g', 3, 64), s.max/r.link.interval)
}

// share returns how many mistakes of a fixed wait are left.
func (r *result) share() string {
	if r.fixed.mistakes == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", float64(r.ours.mistakes)/float64(r.fixed.mistakes))
}
