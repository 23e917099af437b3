package main

import (
	"go/ast"
	"os"
	"path"
	"reflect"
	"regexp"
	"strings"
)

// A style defines which lines of a document are prose, and which of them start a paragraph.
type style struct{ prose, begins, markup *regexp.Regexp }

var (
	markdown = style{
		prose:  regexp.MustCompile(`^[^<]`),
		begins: regexp.MustCompile(`^\s*([-*|#]|\d+\.) `),
		markup: regexp.MustCompile(`^\s*[-*#|]+ `),
	}
	config = style{
		prose:  regexp.MustCompile(`^\s*##? \S`),
		begins: regexp.MustCompile(`^\s*# *\S+ = |^\s*# *\[`),
		markup: regexp.MustCompile(`^\s*#+ `),
	}
	manual = style{
		prose:  regexp.MustCompile(`^[^.]|^\.(Ar|Cm|Dq|Em|Ev|Fl|Ic|It|Li|Nd|Nm|Op|Pa|Ql|Sy|Xr) `),
		begins: regexp.MustCompile(`^\.It`),
		markup: regexp.MustCompile(`^\.[A-Z][a-z]+ ?`),
	}

	end    = regexp.MustCompile(`[.!?]["')*` + "`" + `]*\s+|\s*\|\s*`)
	styles = map[string]style{".md": markdown, ".conf": config, ".toml": config, ".1": manual, ".5": manual, ".js": {}}
)

// addDocument adds the sentences of a document.
func (l *lister) addDocument(name string) error {
	how, is := styles[path.Ext(name)]
	if !is || strings.Contains(name, "zh-CN") {
		return nil
	}
	content, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	lines := strings.Split(string(content), "\n")
	if how.prose == nil {
		l.addScript(name, lines)
		return nil
	}
	fenced, paragraph := false, row{file: name}
	for i, line := range lines {
		fence := strings.HasPrefix(strings.TrimSpace(line), "```")
		if fence || fenced || !how.prose.MatchString(line) || how.begins.MatchString(line) {
			l.addSentences(paragraph)
			paragraph.text = ""
		}
		if fenced = fenced != fence; fence || fenced || !how.prose.MatchString(line) {
			continue
		}
		if paragraph.text == "" {
			paragraph.line = i + 1
		}
		paragraph.text += how.markup.ReplaceAllString(line, "") + "\n"
	}
	l.addSentences(paragraph)
	return nil
}

// addScript adds the strings of a program in JavaScript.
func (l *lister) addScript(name string, lines []string) {
	for i, line := range lines {
		for _, found := range quoted.FindAllStringSubmatch(line, -1) {
			if text.MatchString(found[1]) {
				l.rows = append(l.rows, row{name, i + 1, strings.TrimSpace(found[1])})
			}
		}
	}
}

// addComment adds the sentences of a node's doc comment.
func (l *lister) addComment(n ast.Node) {
	field := reflect.ValueOf(n).Elem().FieldByName("Doc")
	if !field.IsValid() {
		return
	}
	if doc, is := field.Interface().(*ast.CommentGroup); is && doc != nil {
		at := l.set.Position(doc.Pos())
		l.addSentences(row{at.Filename, at.Line, doc.Text()})
	}
}

// addSentences adds the sentences of a paragraph. It ignores sentences of one or two words.
func (l *lister) addSentences(paragraph row) {
	rest := paragraph.text
	for rest != "" {
		sentence, length := rest, len(rest)
		if found := end.FindStringIndex(rest); found != nil {
			sentence, length = rest[:found[1]], found[1]
		}
		if len(strings.Fields(sentence)) > 2 {
			l.rows = append(l.rows, row{paragraph.file, paragraph.line, strings.Join(strings.Fields(sentence), " ")})
		}
		paragraph.line += strings.Count(sentence, "\n")
		rest = rest[length:]
	}
}
