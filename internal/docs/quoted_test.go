//go:build unix

package docs

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	row      = regexp.MustCompile(`^\| (.*?) \| `)
	printer  = regexp.MustCompile(`\b(?:says|prints?|log|message)\b`)
	codeSpan = regexp.MustCompile("`([^`]+)`")
	saying   = regexp.MustCompile("\\b(?:says|prints|logs) (?:\\w+ ){0,2}[`\"]([^`\"]+ [^`\"]+)[`\"]")
	apart    = regexp.MustCompile(`\.\.\.| \(|[:;,"()]+(?: |$)`)
)

// Documents quote lines in the first column of a table under "`check` says" or "the log says", and
// behind "says" and "prints". "..." is for what is left out.
func TestQuotedLinesAreOurs(t *testing.T) {
	inv := newInventory(t)
	count := 0
	for _, document := range append(documents(t), pluginREADME) {
		for _, q := range quotesIn(read(t, document)) {
			for _, part := range apart.Split(q.text, -1) {
				count++
				if !inv.contains(strings.Trim(part, between+`.?"`)) {
					t.Errorf("%s:%d: no program of ours prints %q. The nearest texts:%s", document, q.line, part, inv.nearest(part))
				}
			}
		}
	}
	require.Greater(t, count, 20)
}

// A quote is a line of a log, or a part of one, in a document.
type quote struct {
	line int
	text string
}

func quotesIn(document string) []quote {
	var quotes []quote
	add := func(line int, found [][]string) {
		for _, f := range found {
			quotes = append(quotes, quote{line, f[1]})
		}
	}
	inTable, quoting := false, false
	for i, line := range strings.Split(document, "\n") {
		found := row.FindStringSubmatch(line)
		switch {
		case found == nil:
			inTable = strings.HasPrefix(line, "|")
			add(i+1, saying.FindAllStringSubmatch(line, -1))
		case !inTable:
			inTable, quoting = true, printer.MatchString(found[1])
		case quoting:
			add(i+1, codeSpan.FindAllStringSubmatch(found[1], -1))
		}
	}
	return quotes
}

// contains reports whether a text of our programs contains a part, with values for its verbs.
func (inv *inventory) contains(part string) bool {
	words := strings.Fields(part)
	if len(words) < 2 || inv.knows(part) {
		return true
	}
	return slices.ContainsFunc(inv.formats, func(f format) bool {
		own := strings.Fields(f.text)
		for at := 0; at+len(words) <= len(own); at++ {
			if matchWords(own[at:], words) {
				return true
			}
		}
		return false
	})
}

// matchWords reports whether words are the first of a format's.
func matchWords(own, words []string) bool {
	for i, word := range words {
		pattern := verb.ReplaceAllString(regexp.QuoteMeta(strings.Trim(own[i], `:;,"().?`)), ".*")
		if matched, err := regexp.MatchString("^(?i:"+pattern+")$", strings.Trim(word, `:;,"().?`)); err != nil || !matched {
			return false
		}
	}
	return true
}
