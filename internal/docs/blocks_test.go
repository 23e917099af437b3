//go:build unix

package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const root = "../.."

// A block is a fenced block of a document.
type block struct {
	document string
	line     int // line of the first fence
	language string
	text     string
	excuse   excuse // why it is not checked here
	around   string // the paragraphs before and after it
	section  int    // the line of the "## " heading above it
	follows  bool   // shows the output of the block before it
}

var (
	fence    = regexp.MustCompile("^( *)```(.*)$")
	comment  = regexp.MustCompile(`^ *<!-- `)
	printing = regexp.MustCompile(`^[^#.][^.]*\bprint(?:s|ed)?\b[^.]*:$`)
)

// blocksOf returns all blocks of a document.
func blocksOf(t *testing.T, document string) []block {
	t.Helper()
	lines := strings.Split(read(t, document), "\n")
	var blocks []block
	after, section := -1, 0 // the last line of the previous block, and of the heading
	for i := 0; i < len(lines); i++ {
		if strings.HasPrefix(lines[i], "## ") {
			section = i + 1
		}
		opens := fence.FindStringSubmatch(lines[i])
		if opens == nil {
			continue
		}
		b := block{document: document, line: i + 1, language: opens[2], section: section}
		for i++; i < len(lines) && lines[i] != opens[1]+"```"; i++ {
			b.text += strings.TrimPrefix(lines[i], opens[1]) + "\n"
		}
		require.Less(t, i, len(lines), "%s:%d: the block has no end", document, b.line)
		b.excuse = excuseIn(lines[max(b.line-2, 0)])
		b.around = paragraph(lines[:b.line-1], -1) + paragraph(lines[i+1:], 1)
		b.follows = after >= 0 && announces(lines[after+1:b.line-1])
		blocks = append(blocks, b)
		after = i
	}
	return blocks
}

// announces reports whether lines introduce the output of a command: they are empty, or a
// sentence that says so.
func announces(lines []string) bool {
	lines = slices.DeleteFunc(slices.Clone(lines), comment.MatchString)
	text := strings.TrimSpace(strings.Join(lines, " "))
	return text == "" || printing.MatchString(text)
}

// paragraph returns the last paragraph of lines, or the first.
func paragraph(lines []string, step int) (text string) {
	at := 0
	if step < 0 {
		at = len(lines) - 1
	}
	for ; at >= 0 && at < len(lines); at += step {
		switch line := lines[at]; {
		case fence.MatchString(line), line == "" && text != "":
			return text
		default:
			text += line + "\n"
		}
	}
	return text
}

// commands returns the commands of a script, without comments. Continued lines are joined.
func commands(script string) []string {
	var all []string
	for line := range strings.Lines(strings.ReplaceAll(script, "\\\n", " ")) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), " # ")
		if line != "" && !strings.HasPrefix(line, "#") {
			all = append(all, line)
		}
	}
	return all
}

// read returns the content of a file of this repository.
func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	require.NoError(t, err)
	return string(text)
}

var (
	link    = regexp.MustCompile(`(?:\]\(|src(?:set)?=")([^)\s"]+)[)"]`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	noSlug  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

func TestLinksLeadSomewhere(t *testing.T) {
	for _, document := range documents(t) {
		for _, found := range link.FindAllStringSubmatch(read(t, document), -1) {
			path, anchor, _ := strings.Cut(found[1], "#")
			if strings.Contains(path, "://") {
				continue
			}
			target := filepath.Join(root, filepath.Dir(document), path)
			if path == "" {
				target = filepath.Join(root, document)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %s leads nowhere", document, found[1])
			} else if anchor != "" && !hasHeading(t, target, anchor) {
				t.Errorf("%s: %s: there is no such heading", document, found[1])
			}
		}
	}
}

// hasHeading reports whether a document has a heading for an anchor, as GitHub makes anchors.
func hasHeading(t *testing.T, path, anchor string) bool {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	for _, found := range heading.FindAllStringSubmatch(string(text), -1) {
		slug := noSlug.ReplaceAllString(strings.ToLower(found[1]), "")
		if strings.ReplaceAll(slug, " ", "-") == anchor {
			return true
		}
	}
	return false
}

// documents returns the names of the documents that are tested.
func documents(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, pattern := range []string{"README*.md", "docs/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		require.NoError(t, err)
		require.NotEmpty(t, found, pattern)
		for _, path := range found {
			name, err := filepath.Rel(root, path)
			require.NoError(t, err)
			names = append(names, name)
		}
	}
	return names
}
