package cli

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Flag is a flag of a command line. The help, the parser, the manual page and the
// completions use it.
type Flag struct {
	Name    string
	Value   string // placeholder for its value in the help; empty for a switch
	Initial string // its default
	Usage   string
	Note    string // follows the default in the help
}

// Given are the values of the flags on a command line, by name, in their order. The value
// of a switch is "true", or the text after "=".
type Given map[string][]string

// Last returns the last value of a flag. If a flag is repeated, the last value counts.
func (g Given) Last(name string) (text string, ok bool) {
	texts := g[name]
	if len(texts) == 0 {
		return "", false
	}
	return texts[len(texts)-1], true
}

// Switch reports whether a switch is on.
func (g Given) Switch(name string) bool {
	text, _ := g.Last(name)
	on, err := Bool(text)
	return on && err == nil
}

// Bool parses the value of a switch.
func Bool(text string) (bool, error) {
	on, err := strconv.ParseBool(text)
	if err != nil {
		return false, fmt.Errorf("%.64q is neither true nor false", text)
	}
	return on, nil
}

// ErrHelp is returned for a command line that asks for help.
var ErrHelp = errors.New("help requested")

// Parse parses args up to the first argument that is not a flag, or after "--", and
// returns the rest. As with package flag, -name and --name are the same, and so are
// -name=value and -name value, except for a switch. Package flag does not report which
// flag it does not know, and would make a small program much larger. The error is
// ErrHelp for -h and -help, whether they are in the table or not.
func Parse(flags []Flag, args []string) (Given, []string, error) {
	given := make(Given)
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		arg := args[0]
		args = args[1:]
		if arg == "--" {
			break
		}
		name, text, hasText := strings.Cut(strings.TrimPrefix(arg[1:], "-"), "=")
		if name == "h" || name == "help" {
			return nil, nil, ErrHelp
		}
		at := slices.IndexFunc(flags, func(f Flag) bool { return f.Name == name })
		switch {
		case at < 0:
			return nil, nil, unknownFlag(name, flags)
		case hasText:
		case flags[at].Value == "":
			text = "true"
		case len(args) == 0:
			return nil, nil, fmt.Errorf("flag needs an argument: -%s", name)
		default:
			text, args = args[0], args[1:]
		}
		if _, err := Bool(text); err != nil && flags[at].Value == "" {
			return nil, nil, fmt.Errorf("-%s: %w", name, err)
		}
		given[name] = append(given[name], text)
	}
	return given, args, nil
}

func unknownFlag(name string, flags []Flag) error {
	hint := NearestFlag(name, flags)
	if hint != "" {
		hint = " (did you mean -" + hint + "?)"
	}
	return fmt.Errorf("flag provided but not defined: -%.64s%s", name, hint)
}

// Help returns the help of flags. Their descriptions begin at column and are wrapped
// before width, both in characters.
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
				line = fmt.Sprintf("%*s", column-1, "")
			}
			line += " " + word
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}
