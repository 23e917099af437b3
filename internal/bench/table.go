package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// header begins a table in Markdown, after an empty line. All columns but the first
// are numbers.
func header(first string, others ...string) {
	fmt.Printf("\n| %s | %s |\n|---|%s\n", first, strings.Join(others, " | "), strings.Repeat("--:|", len(others)))
}

// median returns the middle one, or the mean of the two in the middle; 0 of none.
func median[T ~int64 | ~float64](all []T) T {
	n := len(all)
	if n == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// ratio returns a/b as text, "" if there is no b.
func ratio(a, b time.Duration) string {
	if b == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", float64(a)/float64(b))
}

func us(d time.Duration) string { return fmt.Sprintf("%.2f us", float64(d)/1e3) }

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/1e6) }

func mib(bytes int64) string { return fmt.Sprintf("%d MiB", bytes>>20) }

func percent(part float64) string { return fmt.Sprintf("%.1f %%", 100*part) }
