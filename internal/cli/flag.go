package cli

import (
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// A Flag is one of a command line. The help, the parser, the manual page and the
// completions know it from here.
type Flag struct {
	Name    string
	Value   string // what stands for its value in the help; empty for a switch
	Initial string // its default
	Usage   string
	Note    string // follows the default in the help
}

// Given are the values of the flags on a command line, by name, in their order.
// That of a switch is "true", or what was written behind "=".
type Given map[string][]string

// Last returns the value that counts if a flag is repeated.
func (g Given) Last(name string) (text string, ok bool) {
	texts := g[name]
	if len(texts) == 0 {
		return "", false
	}
	return texts[len(texts)-1], true
}

// Switch reports whether a switch is on.
func (g Given) Switch(name string) (bool, error) {
	text, ok := g.Last(name)
	if !ok {
		return false, nil
	}
	on, err := Bool(text)
	if err != nil {
		return false, fmt.Errorf("-%s: %w", name, err)
	}
	return on, nil
}

// Bool reads the value of a switch.
func Bool(text string) (bool, error) {
	on, err := strconv.ParseBool(text)
	if err != nil {
		return false, fmt.Errorf("%.64q is neither true nor false", text)
	}
	return on, nil
}

// Parse reads args up to the first argument that is not a flag, and returns the
// rest. It prints nothing. The error is flag.ErrHelp for -h and -help, whether
// they are in the table or not.
func Parse(flags []Flag, args []string) (Given, []string, error) {
	set := flag.NewFlagSet("", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	given := make(Given)
	names := make([]string, 0, len(flags))
	for _, f := range flags {
		add := func(text string) error { given[f.Name] = append(given[f.Name], text); return nil }
		switch {
		case f.Name == "help":
		case f.Value == "":
			set.BoolFunc(f.Name, f.Usage, add)
		default:
			set.Func(f.Name, f.Usage, add)
		}
		names = append(names, f.Name)
	}
	err := set.Parse(args)
	if err == nil {
		return given, set.Args(), nil
	}
	if name, unknown := strings.CutPrefix(err.Error(), "flag provided but not defined: -"); unknown {
		if meant := Nearest(name, names); meant != "" {
			err = fmt.Errorf("%w (did you mean -%s?)", err, meant)
		}
	}
	return nil, nil, err
}

// Help returns what a help says of flags: their explanations begin at column and
// are broken before width, both counted in characters.
func Help(flags []Flag, column, width int) string {
	var b strings.Builder
	for _, f := range flags {
		words := strings.Fields(f.Usage)
		if f.Initial != "" {
			words = append(words, "(default "+f.Initial+")")
		}
		if f.Note != "" {
			words = append(words, f.Note)
		}
		line := fmt.Sprintf("  %-*s", column-3, strings.TrimSpace("-"+f.Name+" "+f.Value))
		for _, word := range words {
			if len(line)+len(word) >= width {
				b.WriteString(line + "\n")
				line = strings.Repeat(" ", column-1)
			}
			line += " " + word
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}
