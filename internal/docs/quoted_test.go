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
	saying   = regexp.MustCompile("\\b(?:says|prints|logs)\\s(?:\\w+\\s){0,2}[`\"]([^`\"]+\\s[^`\"]+)[`\"]")
	symptom  = regexp.MustCompile("(?m)^- ((?:`[^`]+`(?:, (?:or )?|,\\s+)?)+)")
	apart    = regexp.MustCompile(`\.\.\.| \(|[:;,"()]+(?: |$)`)
)

// Documents quote printed lines in the first column of a table with the head "`check` says" or
// "the log says", and after the words "says" and "prints". Items of troubleshooting.md start with
// quotes. "..." stands for omitted text.
func TestQuotedLinesAreOurs(t *testing.T) {
	inv := newInventory(t)
	count := 0
	for _, document := range append(documents(t), pluginREADME) {
		quotes := quotesIn(read(t, document), saying)
		if document == "docs/troubleshooting.md" {
			quotes = append(quotes, quotesIn(read(t, document), symptom)...)
		}
		for _, q := range quotes {
			count++
			if inv.contains(q.text) {
				continue
			}
			for _, part := range apart.Split(q.text, -1) {
				if !inv.contains(strings.Trim(part, between+`.?"`)) {
					t.Errorf("%s:%d: no program of ours prints %q. The nearest texts:%s", document, q.line, part, inv.nearest(part))
				}
			}
		}
	}
	require.Greater(t, count, 10)
}

// A quote is a line of a log, or a part of one, in a document.
type quote struct {
	line int
	text string
}

// quotesIn returns the quotes in the tables of a document and after a pattern.
func quotesIn(document string, behind *regexp.Regexp) []quote {
	var quotes []quote
	for _, at := range behind.FindAllStringSubmatchIndex(document, -1) {
		line, text := 1+strings.Count(document[:at[2]], "\n"), oneSpace(document[at[2]:at[3]])
		if !strings.Contains(text, "`") {
			quotes = append(quotes, quote{line, text})
		}
		for _, span := range codeSpan.FindAllStringSubmatch(text, -1) {
			quotes = append(quotes, quote{line, span[1]})
		}
	}
	inTable, quoting := false, false
	for i, line := range strings.Split(document, "\n") {
		found := row.FindStringSubmatch(line)
		switch {
		case found == nil:
			inTable = strings.HasPrefix(line, "|")
		case !inTable:
			inTable, quoting = true, printer.MatchString(found[1])
		case quoting:
			for _, span := range codeSpan.FindAllStringSubmatch(found[1], -1) {
				quotes = append(quotes, quote{i + 1, span[1]})
			}
		}
	}
	return quotes
}

// contains reports whether a text of our programs contains a part. The part may have values for
// verbs.
func (inv *inventory) contains(part string) bool {
	words := strings.Fields(part)
	if len(words) < 2 || inv.knows(part) {
		return true
	}
	return slices.ContainsFunc(inv.formats, func(f format) bool {
		own := strings.Fields(f.text)
		for at := 0; at+len(words) <= len(own); at++ {
			if inv.beginsWith(own[at:], words) {
				return true
			}
		}
		return false
	})
}

// beginsWith reports whether the words of a format start with the words of a part.
func (inv *inventory) beginsWith(own, words []string) bool {
	const marks = `:;,"().?`
	for i, word := range words {
		literal, word := strings.Trim(own[i], marks), strings.Trim(word, marks)
		pattern := verb.ReplaceAllString(regexp.QuoteMeta(literal), ".*")
		if !regexp.MustCompile("^(?i:"+pattern+")$").MatchString(word) || pattern == ".*" && !inv.isValue(word) {
			return false
		}
	}
	return true
}
