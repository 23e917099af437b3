//go:build unix

package docs

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A word is what is between spaces, and not only drawn, like the lines of a table.
var word = regexp.MustCompile(`\S*[\pL\pN]\S*`)

// A person reads all of the documents in an hour or two. If you add a page, shorten another one.
func TestDocumentsStayShort(t *testing.T) {
	const most = 22000 // words, outside of blocks
	type length struct {
		document string
		words    int
	}
	var lengths []length
	all := 0
	for _, document := range append(documents(t), pluginREADME) {
		if strings.Contains(document, "zh-CN") {
			continue
		}
		words := len(word.FindAllString(prose(read(t, document)), -1))
		lengths = append(lengths, length{document, words})
		all += words
	}
	slices.SortFunc(lengths, func(a, b length) int { return cmp.Compare(b.words, a.words) })
	if all > most {
		t.Errorf("the documents have %d words outside of blocks: at most %d, shorten one of the longest: %v", all, most, lengths[:8])
	}
}

var printedTable = regexp.MustCompile(`(?s)<!-- run: .*?<!-- end -->`)

// prose returns a document without its blocks, and without the tables that "make bench" writes.
func prose(document string) string {
	document = printedTable.ReplaceAllString(document, "")
	var outside strings.Builder
	inside := false
	for line := range strings.Lines(document) {
		isFence := fence.MatchString(strings.TrimSuffix(line, "\n"))
		if !isFence && !inside {
			outside.WriteString(line)
		}
		inside = inside != isFence
	}
	return outside.String()
}
