//go:build linux

package faults

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
)

// A row of the table of results.
type row struct{ fault, injected, expected, seen, after string }

// A table is for the documentation.
type table struct {
	mu   sync.Mutex // guards rows
	rows []row
}

var results table

func (tb *table) add(r row) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	tb.rows = append(tb.rows, r)
}

func (tb *table) print(w io.Writer) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	if len(tb.rows) == 0 {
		return
	}
	slices.SortFunc(tb.rows, func(a, b row) int { return cmp.Compare(a.fault, b.fault) })
	fmt.Fprintln(w, "\n| fault | made by | expected | seen | after |\n|---|---|---|---|---|")
	for _, r := range tb.rows {
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s |\n", r.fault, r.injected, r.expected, r.seen, r.after)
	}
	fmt.Fprintln(w)
}

// writeTable writes the results to a file, and then what other tests show.
func writeTable(file string) error {
	if file == "" {
		return nil
	}
	if reason := missing(); reason != "" {
		return fmt.Errorf("no table of faults: %s", reason)
	}
	var text bytes.Buffer
	results.print(&text)
	printElsewhere(&text)
	return os.WriteFile(file, text.Bytes(), 0o600)
}
