package cli

import (
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// A File is a settings file in TOML.
type File struct {
	Name string // for messages
	Text string // as written, before variables are expanded
}

// A LineError is a mistake on one line of a file.
type LineError struct {
	Line int // counted from 1
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }
func (e *LineError) Unwrap() error { return e.Err }

// Decode calls decode with text, which is the text of the file with expanded variables,
// after checking that it is TOML. If decode fails, Decode calls it again with beginnings
// of the text, and returns the first statement with which it fails, as written, and the
// error. So decode must have no effect when it fails, and must accept an incomplete
// text. The statement is nil if it is unknown.
func (f *File) Decode(text string, decode func(text string) error) (*Statement, error) {
	var anything map[string]any
	if err := toml.Unmarshal([]byte(text), &anything); err != nil {
		return nil, err
	}
	err := decode(text)
	if err == nil {
		return nil, nil
	}
	all, written := Statements(text), Statements(f.Text)
	wrong := func(n int) error { return decode(text[:all[n].end] + "\n") } // a "\r" alone ends no line
	n := sort.Search(len(all), func(n int) bool { return wrong(n) != nil })
	if n == len(all) || len(written) != len(all) {
		return nil, err
	}
	return &written[n], wrong(n)
}

// Explain adds the name of the file and, if known, the line to an error.
func (f *File) Explain(err error) error {
	var (
		inLine *LineError
		syntax toml.ParseError
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &inLine):
		return fmt.Errorf("%s:%d: %w", f.Name, inLine.Line, inLine.Err)
	case errors.As(err, &syntax):
		return f.explainSyntax(syntax)
	default:
		return fmt.Errorf("%s: %w", f.Name, err)
	}
}

// explainSyntax names the key of a syntax error, or quotes the line if there is no key.
func (f *File) explainSyntax(err toml.ParseError) error {
	what, line := err.LastKey, max(err.Position.Line, 1) // at the end of the text the decoder counts one line less
	if lines := strings.Split(f.Text, "\n"); what == "" && line <= len(lines) {
		what = strconv.Quote(strings.TrimSpace(lines[line-1]))
	}
	hint := ""
	switch {
	case strings.Contains(err.Message, "hexadecimal digits"), strings.HasPrefix(err.Message, "invalid escape"):
		hint = "; write a path with \\ in single quotes"
	case strings.HasPrefix(err.Message, "expected"):
		hint = "; write strings and durations in quotes"
	}
	return fmt.Errorf("%s:%d: %.64s: %s%s", f.Name, line, what, err.Message, hint)
}
