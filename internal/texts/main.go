// Command texts lists the texts that the programs can show a person: each log line, error, help
// line and printed line in the source. It knows where texts are, and nothing about when one is shown.
//
//	go run ./internal/texts [-C DIR] [-names] [-sample N] [-seed N]
//
// A text is a string that contains a letter and a space. Verbs stand for the values that a
// program fills in. With -sample, the command prints random sentences from these texts, the doc
// comments, the documents, the sample configurations and the manual pages.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

var (
	programs = regexp.MustCompile(`^(?:cmd|plugins|sender|internal/(?:cli|execd|proc|watch|probe|winservice))/`)
	verb     = regexp.MustCompile(`%[-+# 0-9.*\[\]]*[a-zA-Z]`)
	text     = regexp.MustCompile(`\pL.*\s|\s.*\pL`)
	letter   = regexp.MustCompile(`\pL`)
	word     = regexp.MustCompile(`^[a-z]+$`)
	quoted   = regexp.MustCompile(`'([^']*)'`)
)

// A row is a text, a sentence or a name, with its position.
type row struct {
	file string
	line int
	text string
}

// A lister collects rows.
type lister struct {
	set       *token.FileSet
	names     bool // list functions and types instead of texts
	sentences bool // list sentences of all documents and comments instead of texts
	seen      map[string]bool
	rows      []row
}

func main() {
	dir := flag.String("C", ".", "the repository")
	names := flag.Bool("names", false, "list functions and types instead of texts")
	sample := flag.Int("sample", 0, "print this many random sentences, or names with -names")
	seed := flag.Uint64("seed", 1, "seed of the random choice")
	flag.Parse()
	l := &lister{set: token.NewFileSet(), names: *names, sentences: *sample > 0, seen: make(map[string]bool)}
	err := os.Chdir(*dir)
	if err == nil {
		err = filepath.WalkDir(".", l.visit)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if *sample > 0 {
		random := rand.New(rand.NewPCG(*seed, 0))
		random.Shuffle(len(l.rows), func(i, j int) { l.rows[i], l.rows[j] = l.rows[j], l.rows[i] })
		l.rows = l.rows[:min(*sample, len(l.rows))]
	}
	for _, r := range l.rows {
		fmt.Printf("%s:%d: %s\n", r.file, r.line, r.text)
	}
}

// visit adds the rows of a file.
func (l *lister) visit(path string, entry fs.DirEntry, err error) error {
	switch name := entry.Name(); {
	case err != nil:
		return err
	case entry.IsDir() && (name == "build" || name == "testdata" || name == ".git"):
		return fs.SkipDir
	case strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go"):
		return l.addSource(filepath.ToSlash(path))
	case !l.names && (l.sentences || name == "sample.conf" || name == "page.js"):
		return l.addDocument(filepath.ToSlash(path))
	}
	return nil
}

func (l *lister) addSource(path string) error {
	file, err := parser.ParseFile(l.set, path, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if l.names {
			l.addName(n)
			return true
		}
		if l.sentences && n != nil {
			l.addComment(n)
		}
		return !programs.MatchString(path) || l.expression(n)
	})
	return nil
}

// expression adds the text of a node, and reports whether to inspect its children.
func (l *lister) expression(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.ImportSpec:
		return false
	case *ast.Field:
		n.Tag = nil
	case *ast.BasicLit:
		l.addText(n, constant(n))
	case *ast.BinaryExpr: // "a" + b() + "c"
		if joined := constant(n); strings.Trim(joined, "%s") != "" {
			l.addText(n, joined)
			ast.Inspect(n, func(part ast.Node) bool { // the arguments of b
				call, is := part.(*ast.CallExpr)
				if is {
					ast.Inspect(call, l.expression)
				}
				return !is
			})
			return false
		}
	case *ast.CallExpr:
		if f, is := n.Fun.(*ast.SelectorExpr); is && f.Sel.Name == "MustCompile" {
			return false
		}
		// A word and a format after it form one line: say("answered", "in %s", ...).
		if len(n.Args) > 1 && word.MatchString(constant(n.Args[0])) && strings.ContainsAny(constant(n.Args[1]), "% ") {
			l.addText(n, constant(n.Args[0])+" "+constant(n.Args[1]))
			for _, argument := range n.Args[2:] {
				ast.Inspect(argument, l.expression)
			}
			return false
		}
	}
	return true
}

// constant returns the text of an expression, with %s for each part that is not constant.
func constant(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return constant(e.X)
	case *ast.BasicLit:
		if e.Kind != token.STRING {
			return ""
		}
		s, _ := strconv.Unquote(e.Value) //nolint:errcheck // the parser has read it
		return s
	case *ast.BinaryExpr:
		if e.Op == token.ADD {
			return constant(e.X) + constant(e.Y)
		}
	}
	return "%s"
}

// addText adds each line of a text, unless it is already there.
func (l *lister) addText(n ast.Node, whole string) {
	if !text.MatchString(verb.ReplaceAllString(whole, "")) {
		return
	}
	at := l.set.Position(n.Pos())
	literal, _ := n.(*ast.BasicLit)
	for i, line := range strings.Split(whole, "\n") {
		if line = strings.TrimSpace(line); l.seen[line] || !letter.MatchString(verb.ReplaceAllString(line, "")) {
			continue
		}
		l.seen[line] = true
		r := row{at.Filename, at.Line, strings.ReplaceAll(line, "\t", " ")}
		if literal != nil && literal.Value[0] == '`' {
			r.line += i
		}
		if l.sentences {
			l.addSentences(r)
		} else {
			l.rows = append(l.rows, r)
		}
	}
}

// addName adds a function with its signature, or a type.
func (l *lister) addName(n ast.Node) {
	at := n
	switch declared := n.(type) {
	case *ast.FuncDecl:
		declared.Doc, declared.Body = nil, nil
	case *ast.TypeSpec:
		n = &ast.GenDecl{Tok: token.TYPE, Specs: []ast.Spec{&ast.TypeSpec{Name: declared.Name, Type: ast.NewIdent("")}}}
	default:
		return
	}
	var out bytes.Buffer
	if err := printer.Fprint(&out, token.NewFileSet(), n); err != nil {
		panic(err) // the parser has read it
	}
	place := l.set.Position(at.Pos())
	l.rows = append(l.rows, row{place.Filename, place.Line, strings.Join(strings.Fields(out.String()), " ")})
}
