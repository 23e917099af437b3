//go:build unix

package docs

import (
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"
)

// comparePrinted compares the output in a document with the output of the block before it. If
// that block was not run, it only checks that our programs can print each line.
func (w *world) comparePrinted(b block) {
	lines := strings.Split(strings.TrimSuffix(b.text, "\n"), "\n")
	if b.follows && w.printed != "" {
		w.requirePrinted(b, lines)
		return
	}
	s := shapes{inventory: w.inventory}
	for i, line := range lines {
		if s.of(line) == "" {
			w.Errorf("%s:%d: no program of ours prints this line:\n    %s\nThe nearest texts:%s",
				b.document, b.line+1+i, line, w.nearest(message(line)))
		}
	}
}

// requirePrinted compares lines with the actual output. The line "..." stands for any lines.
func (w *world) requirePrinted(b block, lines []string) {
	printed := w.normal(strings.Split(strings.TrimSuffix(w.printed, "\n"), "\n"))
	at, skips := 0, false
	for _, line := range w.normal(lines) {
		if line == "..." {
			skips = true
			continue
		}
		from := at
		for skips && at < len(printed) && printed[at] != line {
			at++
		}
		if at >= len(printed) || printed[at] != line {
			w.Fatalf("%s:%d: the block before it does not print this line:\n    %s\nbut, from there on:\n    %s",
				b.document, b.line, line, strings.Join(printed[min(from, len(printed)):], "\n    "))
		}
		at, skips = at+1, false
	}
	require.True(w, skips || at == len(printed), "%s:%d: also printed is:\n    %s",
		b.document, b.line, strings.Join(printed[at:], "\n    "))
}

// changing matches the parts that differ each time or on each machine.
var changing = []struct {
	pattern *regexp.Regexp
	as      string
}{
	{regexp.MustCompile(`[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT`), "TIME"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z| UTC|[-+]\d\d:\d\d)?`), "TIME"},
	{regexp.MustCompile(`\b\d\d:\d\d:\d\d\b`), "TIME"},
	{regexp.MustCompile(`\b(?:127\.0\.0\.1|collector\.example\.com|\[::1?\])(:\d+)?\b`), "ADDRESS"},
	{regexp.MustCompile(`\b(?:\d+(?:\.\d+)?(?:ns|µs|ms|s|m|h|d))+\b`), "DURATION"},
	{regexp.MustCompile(`\b\d+(?:\.\d+)? ?[kM]?B\b`), "SIZE"},
	{regexp.MustCompile(`\b(pid|process) \d+`), "$1 PID"},
	{regexp.MustCompile(`^identity +\S+/host$`), "identity HOST/host"},
	{regexp.MustCompile(`"collector":"[a-z0-9]+"`), `"collector":"ID"`},
	{regexp.MustCompile(`"now_ms":\d+`), `"now_ms":TIME`},
}

// varying are shapes whose lines may differ from the document, because the collector of the test
// knows other peers.
var varying = []string{"a table of peers", "a count of peers", "a point", "an event"}

// normal returns the lines without the changing parts.
func (w *world) normal(lines []string) []string {
	s := shapes{inventory: w.inventory}
	normal := make([]string, 0, len(lines))
	machine, err := os.Hostname()
	require.NoError(w, err)
	for _, line := range lines {
		line = strings.NewReplacer(w.system+"/", "/", w.dir+"/", "", machine, "HOST").Replace(strings.TrimSuffix(line, "\r"))
		if shape := s.of(line); slices.Contains(varying, shape) {
			line = shape
		}
		for _, c := range changing {
			line = c.pattern.ReplaceAllString(line, c.as)
		}
		normal = append(normal, strings.TrimRight(line, " "))
	}
	return slices.Compact(normal)
}

// shapes determines the shapes of the lines of a block, one after the other.
type shapes struct {
	*inventory
	heads []string // the column heads of the last table
}

var (
	point     = regexp.MustCompile(`^\s*(heartbeat\w*)((?:,[^ ,]+=[^ ,]+)*) (\S+=\S+)(?: \d+)?$`)
	event     = regexp.MustCompile(`^\d\d:\d\d:\d\d (?:collector|([a-z]+) \S+) ([a-z_]+)(?: after \S+)?$`)
	counted   = regexp.MustCompile(`^(?:/\S+|http\S+), (?:live|last written \S+ ago): (\d+ [a-z]+(?:, \d+ [a-z]+)*)$`)
	headLine  = regexp.MustCompile(`^STATE  +[A-Z ]+$`)
	column    = regexp.MustCompile(`  +`)
	object    = regexp.MustCompile(`^\s*[{}\]"]`)
	prompt    = regexp.MustCompile(`^\$ \S+`)
	inLog     = regexp.MustCompile(`^[DIWE]! `)
	logPrefix = regexp.MustCompile(`^(?:<\d>)?(?:(?:[DIWE]! )?(?:\[inputs\.heartbeat\]|telegraf-heartbeat:|heartbeat-sender:) )?(?:/\S+:\d+: )?`)
)

// message returns the message of a log line, without its prefix.
func message(line string) string { return logPrefix.ReplaceAllString(line, "") }

// of returns the shape of a line, or "" if our programs do not print such a line.
func (s *shapes) of(line string) string {
	switch {
	case line == "" || line == "...":
		return "nothing"
	case prompt.MatchString(line):
		return "a command"
	case headLine.MatchString(line):
		s.heads = column.Split(line, -1)
		return s.named("a table of peers", s.heads...)
	case s.heads != nil && len(column.Split(line, -1)) == len(s.heads):
		cells := column.Split(line, -1)
		return s.named("a table of peers", cells[0], cells[slices.Index(s.heads, "REASON")])
	case counted.MatchString(line):
		return s.named("a count of peers", all(`[a-z]+`, counted.FindStringSubmatch(line)[1])...)
	case point.MatchString(line):
		found := point.FindStringSubmatch(line)
		return s.named("a point", append(all(`[a-z_]+=("[^"]*"|[^,]*)`, found[2]+","+found[3]), found[1])...)
	case event.MatchString(line):
		found := event.FindStringSubmatch(line)
		return s.named("an event", found[1], found[2])
	case object.MatchString(line):
		return s.named("an object", all(`["'][a-z_]+["']: ?`, line)...)
	case inLog.MatchString(line) && message(line) == line: // a line of another program
		return ""
	case s.says(line):
		return "text"
	}
	return ""
}

// named returns shape if all names in it occur in our programs.
func (s *shapes) named(shape string, names ...string) string {
	for _, name := range names {
		name = strings.Trim(name, `'": `)
		name, _, _ = strings.Cut(name, "=")
		if name = strings.Trim(name, `'"`); name != "" && !s.names[name] {
			return ""
		}
	}
	return shape
}

// all returns the matches of a pattern in a text.
func all(pattern, text string) []string { return regexp.MustCompile(pattern).FindAllString(text, -1) }
