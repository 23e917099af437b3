package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// An event is what go test -json prints, a line each (go doc test2json).
type event struct {
	Action      string
	Package     string
	ImportPath  string // instead of Package, of what did not build
	FailedBuild string // why the package failed, if it did not build
	Test        string // empty: the event is about the package
	Elapsed     float64
	Output      string
}

// A source is who printed something: a test, or with no test its package.
type source struct{ pkg, test string }

// A report gathers events into lines for a reader.
type report struct {
	out    io.Writer
	output map[source]string // of those that have not ended
	failed map[source]bool
	passed int
	skips  []string
}

func newReport(out io.Writer) *report {
	return &report{out: out, output: make(map[source]string), failed: make(map[source]bool)}
}

func (r *report) read(events io.Reader) error {
	for decoder := json.NewDecoder(events); ; {
		var e event
		err := decoder.Decode(&e)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the events of go test: %w", err)
		}
		r.add(&e)
	}
}

func (r *report) add(e *event) {
	from := source{e.Package + e.ImportPath, e.Test}
	switch e.Action {
	case "output", "build-output":
		r.output[from] += e.Output
		return
	case "pass", "fail", "skip", "build-fail":
	default:
		return
	}

	if e.Test == "" {
		r.packageEnded(e, from)
	} else {
		r.testEnded(e, from)
	}
	delete(r.output, from)
}

func (r *report) testEnded(e *event, from source) {
	switch e.Action {
	case "pass":
		r.passed++
	case "fail":
		r.fail(from)
	case "skip":
		skip := fmt.Sprintf("%s %s: %s", e.Package, e.Test, reason(r.output[from]))
		r.skips = append(r.skips, skip)
	}
}

func (r *report) packageEnded(e *event, from source) {
	switch {
	case e.Action == "pass":
		took := time.Duration(e.Elapsed * float64(time.Second))
		fmt.Fprintf(r.out, "ok\t%s\t%v\n", e.Package, took)
	case e.Action == "skip": // it has no tests
	case e.FailedBuild != "": // build-fail told why
		fmt.Fprint(r.out, r.output[from])
	default:
		r.packageFailed(from)
	}
}

// packageFailed also prints what the package said outside its tests, such as
// the seed of -shuffle. A test that never ended took the others with it.
func (r *report) packageFailed(from source) {
	told := false
	for test := range r.failed {
		told = told || test.pkg == from.pkg
	}
	for test := range r.output {
		if test.pkg == from.pkg && test.test != "" {
			r.fail(test)
			delete(r.output, test)
			told = true
		}
	}
	if told {
		fmt.Fprint(r.out, r.output[from])
	} else {
		r.fail(from)
	}
}

func (r *report) fail(from source) {
	r.failed[from] = true
	fmt.Fprint(r.out, r.output[from])
}

// close prints the summary. Its last line stands alone, for machines to find.
func (r *report) close() {
	if len(r.skips) > 0 {
		fmt.Fprintln(r.out, "\nskipped:")
	}
	for _, skip := range r.skips {
		fmt.Fprintln(r.out, " ", skip)
	}
	fmt.Fprintf(r.out, "\n%d passed, %d failed, %d skipped\n",
		r.passed, len(r.failed), len(r.skips))
}

// reason is what a skipped test said, without the lines of the testing package.
func reason(output string) string {
	var said []string
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- ") {
			said = append(said, line)
		}
	}
	if len(said) == 0 {
		return "no reason given"
	}
	return strings.Join(said, " ")
}
