package testkit

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Line is a line that a process printed, with the time at which it was read.
type Line struct {
	Text string
	At   time.Time
}

// A Transcript collects the lines that a process prints.
type Transcript struct {
	keep []string // prefixes of the lines to keep; empty to keep all

	mu    sync.Mutex // guards the rest
	lines []Line
	rest  []byte // an incomplete line
}

// Write adds output of the process.
func (tr *Transcript) Write(text []byte) (int, error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	now := time.Now()
	tr.rest = append(tr.rest, text...)
	for {
		line, rest, ok := bytes.Cut(tr.rest, []byte("\n"))
		if !ok {
			return len(text), nil
		}
		tr.rest = rest
		if tr.keeps(string(line)) {
			tr.lines = append(tr.lines, Line{string(line), now})
		}
	}
}

func (tr *Transcript) keeps(line string) bool {
	return len(tr.keep) == 0 ||
		slices.ContainsFunc(tr.keep, func(begin string) bool { return strings.HasPrefix(line, begin) })
}

// From returns the complete lines, starting at index first.
func (tr *Transcript) From(first int) []Line {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return slices.Clone(tr.lines[first:])
}

// All returns the complete lines.
func (tr *Transcript) All() []string { return tr.With("") }

// With returns the complete lines that contain text.
func (tr *Transcript) With(text string) []string {
	var lines []string
	for _, line := range tr.From(0) {
		if strings.Contains(line.Text, text) {
			lines = append(lines, line.Text)
		}
	}
	return lines
}

// Says reports whether a complete line contains text.
func (tr *Transcript) Says(text string) bool { return len(tr.With(text)) > 0 }
