//go:build unix

package docs

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// A format is a text of our programs, with verbs for the values that they fill in.
type format struct {
	place, text string
	literals    []string // before, between and after the verbs
	verbs       []byte
}

// An inventory contains everything that our programs can print.
type inventory struct {
	formats []format
	known   map[string]bool // results of earlier lookups
	names   map[string]bool // strings in the source: names of fields, states, columns
}

var (
	verb = regexp.MustCompile(`%[-+# 0-9.*\[\]]*[a-zA-Z]`)
	name = regexp.MustCompile(`"([A-Za-z][A-Za-z0-9_ ]*)\\?["=,]`)
)

func newInventory(t *testing.T) *inventory {
	t.Helper()
	list := exec.Command("go", "run", "./internal/texts")
	list.Dir, list.Stderr = root, os.Stderr
	out, err := list.Output()
	require.NoError(t, err)
	inv := &inventory{known: make(map[string]bool), names: namesInSource(t)}
	for line := range strings.Lines(string(out)) {
		place, text, found := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		require.True(t, found, line)
		if !strings.Contains(place, "sample.conf") {
			inv.formats = append(inv.formats, newFormat(place, text))
		}
	}
	require.Greater(t, len(inv.formats), 500)
	return inv
}

func newFormat(place, text string) format {
	text = strings.Trim(oneSpace(text), between)
	f := format{place: place, text: text}
	after := 0
	for _, at := range verb.FindAllStringIndex(text, -1) {
		f.literals = append(f.literals, strings.ReplaceAll(text[after:at[0]], "%%", "%"))
		after = at[1]
		f.verbs = append(f.verbs, text[after-1])
	}
	f.literals = append(f.literals, strings.ReplaceAll(text[after:], "%%", "%"))
	return f
}

// namesInSource returns the short strings in the source of our programs.
func namesInSource(t *testing.T) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	for _, dir := range []string{"cmd", "plugins", "sender", "internal/execd", "internal/probe", "internal/watch"} {
		require.NoError(t, filepath.WalkDir(filepath.Join(root, dir), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			source, err := os.ReadFile(path)
			for _, found := range name.FindAllStringSubmatch(string(source), -1) {
				names[found[1]] = true
			}
			return err
		}))
	}
	return names
}

func oneSpace(text string) string { return strings.Join(strings.Fields(text), " ") }

// foreign matches output of Go's library and of other programs, and values that contain a space.
var foreign = regexp.MustCompile(`^(?:` + strings.Join([]string{
	`(?:dial (?:tcp|udp) \S+: )?(?:connect: )?connection refused`, `(?:lookup .*: )?no such host`,
	`permission denied`, `no such file or directory`, `EOF`, `[a-z]+ signal received`,
	`(?:remote error: )?tls: [a-z ]+`, `x509: [^()]*`, `expired certificate`, `TLS 1\.3`,
	`Failed to connect to bus`,
	`GET / HTTP(?s:.*)`,              // the start of an HTTP request
	`"C:\\[^"]*" .*`,                 // a Windows command
	`# (?:[-\w@]+\.service(?:, )?)+`, // units, in a comment
	`Example Authority`,
	`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?: UTC)?`,
	`[A-Z][a-z]{2}-[A-Z][a-z]{2} [-\d:]+ \w+/\w+`, // hours
	`(?:[-\d*/,]+ ){5}\w+/\w+`,                    // a schedule
	`(?:[a-z]+=[\d.;s]+ ?)+`,                      // performance data
}, "|") + `)$`)

// examples are service names that the documents use.
var examples = regexp.MustCompile(`^(?:nginx|postgres|redis|disk|shop)$`)

// says reports whether our programs can print a line.
func (inv *inventory) says(line string) bool {
	text := oneSpace(message(line))
	return inv.hasFormat(text) || strings.Contains(oneSpace(line), " ") && inv.knows(text)
}

// knows reports whether a text is one of ours, consists of such texts, or is a value.
func (inv *inventory) knows(text string) bool {
	text = strings.TrimSpace(text)
	if text == "" || inv.isValue(text) || foreign.MatchString(text) {
		return true
	}
	if quoted.MatchString(text) { // may be a text of the collector in a text of the sender
		inside, err := strconv.Unquote(strings.TrimSuffix(text, "..."))
		return err == nil && inv.knows(inside)
	}
	known, before := inv.known[text]
	if !before {
		known = inv.hasFormat(text) || inv.hasParts(text) || inv.isAbout(text)
		inv.known[text] = known
	}
	return known
}

// plain matches a plain word. It counts as a value only if a string in the source is equal to it.
var plain = regexp.MustCompile(`^[A-Za-z]+$`)

func (inv *inventory) isValue(text string) bool {
	return !strings.Contains(text, " ") && (!plain.MatchString(text) || inv.names[text] || examples.MatchString(text))
}

func (inv *inventory) hasFormat(text string) bool {
	first, size := utf8.DecodeRuneInString(text)
	small := string(unicode.ToLower(first)) + text[size:] // a log line may start with an error
	return slices.ContainsFunc(inv.formats, func(f format) bool {
		return inv.fits(f.literals, f.verbs, text) || inv.fits(f.literals, f.verbs, small)
	})
}

// fits reports whether a text consists of the literals with a known text or value for each verb
// between them.
func (inv *inventory) fits(literals []string, verbs []byte, text string) bool {
	rest, found := strings.CutPrefix(text, literals[0])
	if !found || len(verbs) == 0 {
		return found && rest == ""
	}
	next := literals[1]
	if len(verbs) == 1 {
		value, found := strings.CutSuffix(rest, next)
		return found && inv.fills(verbs[0], value)
	}
	for end := 0; end <= len(rest); end++ {
		if strings.HasPrefix(rest[end:], next) && inv.fits(literals[1:], verbs[1:], rest[end:]) && inv.fills(verbs[0], rest[:end]) {
			return true
		}
	}
	return false
}

var (
	number = regexp.MustCompile(`^-?\d+$`)
	quoted = regexp.MustCompile(`^"(?:[^"\\]|\\.)*"(?:\.\.\.)?$`)
)

// fills reports whether a verb can print a value.
func (inv *inventory) fills(verb byte, value string) bool {
	switch verb {
	case 'd':
		return number.MatchString(value)
	case 'q':
		return quoted.MatchString(value) && inv.knows(value)
	}
	return inv.knows(value)
}

// between matches the separator of two texts in one line.
const between = ":;,| "

// separators are between the parts of a line. A quoted part of an error may also be a text of
// ours.
var separators = []string{": ", "; ", ", ", " | ", " (", ") "}

func (inv *inventory) hasParts(text string) bool {
	if inside, is := strings.CutPrefix(text, "("); is && strings.HasSuffix(inside, ")") {
		return inv.knows(strings.TrimSuffix(inside, ")"))
	}
	for _, separator := range separators {
		for at := range text {
			if strings.HasPrefix(text[at:], separator) && at > 0 &&
				inv.knows(text[:at]) && inv.knows(strings.TrimLeft(text[at:], between)) {
				return true
			}
		}
	}
	return false
}

// isAbout reports whether a text starts with the name of a peer or another value.
func (inv *inventory) isAbout(text string) bool {
	value, rest, _ := strings.Cut(text, " ")
	return strings.ContainsAny(value, `/."0123456789`) && inv.hasFormat(rest)
}

// nearest returns the texts that share the most words with a line.
func (inv *inventory) nearest(line string) string {
	words := strings.Fields(line)
	score := func(f format) int {
		own := strings.Fields(f.text)
		both := 0
		for _, word := range own {
			if len(word) > 3 && slices.Contains(words, word) {
				both++
			}
		}
		return both * 100 / (len(own) + 2*len(words)) // a line may be a part of a longer text
	}
	if !strings.ContainsFunc(line, unicode.IsLetter) {
		return " none"
	}
	best := slices.SortedFunc(slices.Values(inv.formats), func(a, b format) int { return cmp.Compare(score(b), score(a)) })
	var lines strings.Builder
	for _, f := range best[:3] {
		fmt.Fprintf(&lines, "\n    %s: %s", f.place, f.text)
	}
	return lines.String()
}
