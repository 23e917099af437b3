package main

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// A delay is what is measured: how long after the end of a process a state of
// it is told.
type delay struct {
	what   string
	state  string
	budget time.Duration // of the median
	took   []time.Duration
}

func (d *delay) holds() bool { return median(d.took) <= d.budget }

// median returns the middle one, or the mean of the two in the middle. There
// has to be one.
func median(all []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// printTable returns whether all budgets hold.
func printTable(out io.Writer, delays []*delay) bool {
	hold := true
	fmt.Fprintln(out, "| from -> to | n | median | min | max | budget | |")
	fmt.Fprintln(out, "|---|--:|--:|--:|--:|--:|---|")
	for _, d := range delays {
		verdict := "holds"
		if !d.holds() {
			verdict, hold = "MISSED", false
		}
		fmt.Fprintf(out, "| %s | %d | %s | %s | %s | %s | %s |\n", d.what, len(d.took),
			ms(median(d.took)), ms(slices.Min(d.took)), ms(slices.Max(d.took)), ms(d.budget), verdict)
	}
	return hold
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/1e6) }
