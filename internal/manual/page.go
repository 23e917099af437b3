package manual

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Date stands on all pages: change it with what they say.
const Date = "November 28, 2026"

// A Page is one of the manual, in mdoc(7).
type Page struct {
	Name     string
	Number   string // of the section of the manual
	Does     string // in one line
	Sections []Section
}

// A Section has a text in mdoc.
type Section struct{ Title, Text string }

func (p *Page) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, ".\\\" Written by make docs: do not edit.\n.Dd %s\n.Dt %s %s\n.Os\n", Date, strings.ToUpper(p.Name), p.Number)
	fmt.Fprintf(&b, ".Sh NAME\n.Nm %s\n.Nd %s\n", word(p.Name), guarded(escape(p.Does)))
	for _, s := range p.Sections {
		fmt.Fprintf(&b, ".Sh %s\n%s", s.Title, s.Text)
	}
	return b.String()
}

// Page returns the page of the program; the others follow what the table says.
func (p *Program) Page(description string, others ...Section) *Page {
	sections := []Section{{"SYNOPSIS", p.synopsis()}, {"DESCRIPTION", description}}
	if len(p.named()) > 0 {
		sections = append(sections, Section{"COMMANDS", p.commands()})
	}
	sections = append(sections, Section{"OPTIONS", p.options()})
	return &Page{p.Name, "1", p.Does, append(sections, others...)}
}

// synopsis returns how each command is called.
func (p *Program) synopsis() string {
	var b strings.Builder
	for _, c := range p.Commands {
		b.WriteString(".Nm\n")
		if c.Name != "" {
			b.WriteString(Macro(".Cm", c.Name))
		}
		if p.takesFlags(c) {
			b.WriteString(".Op Ar flags\n")
		}
		if c.Takes != "" {
			b.WriteString(Macro(".Ar", c.Takes))
		}
	}
	return b.String()
}

// takesFlags tells whether a command has any but for help.
func (p *Program) takesFlags(c Command) bool { return len(p.optionsOf(c.Name)) > 1 }

func (p *Program) commands() string {
	var items []Item
	for _, c := range p.named() {
		head := "Cm " + word(c.Name)
		if c.Takes != "" {
			head += " Ar " + word(c.Takes)
		}
		items = append(items, Item{head, Sentence(c.Usage)})
	}
	return List(items...)
}

// options returns those of all commands in one list, or first those without a
// command.
func (p *Program) options() string {
	if !p.nameless() {
		return p.list(p.Options)
	}
	var b strings.Builder
	b.WriteString(p.list(p.optionsOf("")))
	for _, c := range p.named() {
		b.WriteString(Macro(".Ss Options of", c.Name) + p.list(p.optionsOf(c.Name)))
	}
	return b.String()
}

func (p *Program) list(options []Option) string {
	items := make([]Item, 0, len(options))
	for _, o := range options {
		text := Sentence(o.Usage)
		if o.Initial != "" {
			text += Sentence("The default is " + o.Initial)
		}
		items = append(items, Item{o.macro(), text + p.only(o)})
	}
	return List(items...)
}

// only says which commands know an option that not all know.
func (p *Program) only(o Option) string {
	if p.nameless() || !slices.ContainsFunc(p.Commands, func(c Command) bool { return p.takesFlags(c) && !slices.Contains(o.Commands, c.Name) }) {
		return ""
	}
	return Sentence("Only for " + Enumerate(o.Commands, "and"))
}

// macro returns the flag as it is called.
func (o Option) macro() string {
	if o.Value == "" {
		return "Fl " + word(o.Name)
	}
	return "Fl " + word(o.Name) + " Ar " + word(o.Value)
}

// An Item of a list has a head of macros without a dot, and a text in mdoc.
type Item struct{ Head, Text string }

// List returns items below each other.
func List(items ...Item) string { return list(".Bl -tag -width Ds\n", items) }

// Names returns items with a word or two for text.
func Names(items ...Item) string {
	width := ""
	for _, item := range items {
		if _, name, _ := strings.Cut(item.Head, " "); len(name) > len(width) {
			width = name
		}
	}
	return list(".Bl -tag -width "+width+" -compact\n", items)
}

func list(begin string, items []Item) string {
	var b strings.Builder
	b.WriteString(begin)
	for _, item := range items {
		fmt.Fprintf(&b, ".It %s\n%s", item.Head, item.Text)
	}
	return b.String() + ".El\n"
}

// Paragraphs returns texts below each other.
func Paragraphs(texts ...string) string { return strings.Join(texts, ".Pp\n") }

// Example returns lines as they are typed.
func Example(lines string) string {
	var b strings.Builder
	b.WriteString(".Bd -literal -offset indent\n")
	for line := range strings.Lines(strings.Trim(lines, "\n")) {
		b.WriteString(guarded(escape(strings.TrimRight(line, "\n"))) + "\n")
	}
	return b.String() + ".Ed\n"
}

// See returns references to other pages, sorted by section and name.
func See(pages ...[2]string) string {
	lines := make([]string, 0, len(pages))
	for _, page := range pages {
		lines = append(lines, ".Xr "+word(page[0])+" "+page[1])
	}
	return strings.Join(lines, " ,\n") + "\n"
}

// Macro returns a line of a macro, with its dot, that has a plain argument.
func Macro(name, argument string) string { return Argument(name, argument) + "\n" }

// Argument is the same within a line, without the dot.
func Argument(name, argument string) string { return name + " " + word(argument) }

// Sentence returns a text as it stands in a help, as a sentence.
func Sentence(text string) string {
	if first, _, _ := strings.Cut(text, " "); strings.Trim(first, "abcdefghijklmnopqrstuvwxyz',:;") == "" {
		text = strings.ToUpper(text[:1]) + text[1:]
	}
	return Text(strings.TrimSuffix(text, ".") + ".")
}

var sentenceEnd = regexp.MustCompile(`\. +([A-Z])`)

// Text returns a text, each sentence beginning a line.
func Text(text string) string {
	var b strings.Builder
	for sentence := range strings.SplitSeq(sentenceEnd.ReplaceAllString(text, ".\n$1"), "\n") {
		line := ""
		for w := range strings.FieldsSeq(sentence) {
			w = escape(w)
			if line != "" && len(line)+len(w) >= textWidth {
				b.WriteString(guarded(unended(line)) + "\n")
				line = ""
			}
			line = strings.TrimPrefix(line+" "+w, " ")
		}
		b.WriteString(guarded(line) + "\n")
	}
	return b.String()
}

const textWidth = 76 // of lines in a page, with room for what guards them

// unended keeps the end of a line from being that of a sentence.
func unended(line string) string {
	if strings.HasSuffix(line, ".") {
		return line + `\&`
	}
	return line
}

// escape keeps roff from reading anything into a text. Each "-" is one that can
// be copied into a command line.
func escape(text string) string { return strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text) }

// guarded keeps a line from being a macro.
func guarded(line string) string {
	if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
		return `\&` + line
	}
	return line
}

// word returns a text as an argument of a macro, even one that is called like a
// macro.
func word(text string) string {
	words := strings.Fields(escape(text))
	for i, w := range words {
		words[i] = `\&` + strings.ReplaceAll(w, `"`, `\(dq`)
	}
	return strings.Join(words, " ")
}

// Enumerate returns names as a sentence has them.
func Enumerate(names []string, and string) string {
	last := len(names) - 1
	if last < 1 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:last], ", ") + " " + and + " " + names[last]
}
