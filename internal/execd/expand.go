package execd

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

var (
	variable        = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*)(:-(.*))?$`)
	secretReference = regexp.MustCompile(`@\{\w+:\w+\}`)
)

// A lineError is a fault in one line of a file.
type lineError struct {
	line int
	err  error
}

func (e *lineError) Error() string { return fmt.Sprintf("line %d: %v", e.line, e.err) }
func (e *lineError) Unwrap() error { return e.err }

// expand replaces ${VAR} and ${VAR:-default} in the strings of a TOML text, and
// outside of strings where a number, true or false stands, without moving a
// line. In a string a value means itself, whatever characters it holds; $${
// becomes ${, any other $ stays. A variable that is not set and has no default
// is a *lineError, as is a reference to a secret store: those live in Telegraf,
// not here.
func expand(text string, lookup func(string) (string, bool)) (string, error) {
	var out strings.Builder
	line := 1
	for pos := 0; pos < len(text); {
		kind, next := nextToken(text, pos)
		token := text[pos:next]
		expanded, err := token, error(nil)
		switch kind {
		case tokenString:
			expanded, err = expandString(token, lookup)
		case tokenVariable:
			expanded, err = expandBare(token, lookup)
		}
		if err != nil {
			return "", &lineError{line, err}
		}
		out.WriteString(expanded)
		line += strings.Count(token, "\n")
		pos = next
	}
	return out.String(), nil
}

// bareValue is what may stand in TOML without quotes and be an option of ours.
var bareValue = regexp.MustCompile(`^([+-]?[0-9]+(\.[0-9]+)?|true|false)$`)

// expandBare expands a reference that has no quotes around it.
func expandBare(reference string, lookup func(string) (string, bool)) (string, error) {
	value, err := resolve(reference[len("${"):len(reference)-len("}")], func(s string) string { return s }, lookup)
	if err == nil && !bareValue.MatchString(value) {
		err = fmt.Errorf("%s has no quotes around it, so its value must be a number, true or false; for a text write \"%s\"",
			cut(reference, 64), cut(reference, 64))
	}
	return value, err
}

// expandString expands one string, given and returned with its quotes.
func expandString(quoted string, lookup func(string) (string, bool)) (string, error) {
	if ref := secretReference.FindString(quoted); ref != "" {
		return "", fmt.Errorf("secret stores are not available here, %q cannot be resolved; use ${VARIABLE} or a file", cut(ref, 64))
	}
	n := quoteLen(quoted)
	quote := quoted[:n]
	if !strings.Contains(quoted, "${") || len(quoted) < 2*n || !strings.HasSuffix(quoted, quote) {
		return quoted, nil // what is not closed, the decoder refuses
	}
	body := quoted[n : len(quoted)-n]
	source := func(s string) string { return s }
	if quote[0] == '\'' {
		// A literal string cannot hold every value, a basic one can.
		quote = strings.Repeat(`"`, n)
		source = func(s string) string { return escape(s, n == 3) }
	}
	expanded, err := expandBody(body, source, lookup)
	return quote + expanded + quote, err
}

// expandBody expands what stands between the quotes of a basic string. What
// comes from the file passes through source.
func expandBody(body string, source func(string) string, lookup func(string) (string, bool)) (string, error) {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(body, "${")
		if !found {
			out.WriteString(source(body))
			return out.String(), nil
		}
		if strings.HasSuffix(before, "$") {
			out.WriteString(source(before[:len(before)-1]) + "${")
			body = rest
			continue
		}
		reference, after, closed := strings.Cut(rest, "}")
		if !closed {
			return "", notUnderstood(reference)
		}
		value, err := resolve(reference, source, lookup)
		if err != nil {
			return "", err
		}
		out.WriteString(source(before) + value)
		body = after
	}
}

// resolve returns what stands for a reference, which is VAR or VAR:-default,
// inside a basic string.
func resolve(reference string, source func(string) string, lookup func(string) (string, bool)) (string, error) {
	parts := variable.FindStringSubmatch(reference)
	if parts == nil || strings.Contains(reference, "${") {
		return "", notUnderstood(reference)
	}
	name, hasDefault, fallback := parts[1], parts[2] != "", parts[3]
	value, set := lookup(name)
	switch {
	case hasDefault && value == "":
		return source(fallback), nil
	case !set:
		return "", fmt.Errorf("variable '%s' is not set and has no default", name)
	case !utf8.ValidString(value):
		return "", fmt.Errorf("variable '%s' is not valid UTF-8", name)
	default:
		return escape(value, false), nil
	}
}

func notUnderstood(reference string) error {
	return fmt.Errorf("'${%s' is neither ${VAR} nor ${VAR:-default}; write '$${' for a plain '${'", cut(oneLine(reference), 64))
}

// escape returns text as it is written inside a basic TOML string. Line breaks
// stay as they are if keepLines is set.
func escape(text string, keepLines bool) string {
	var out strings.Builder
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			out.WriteRune('\\')
			out.WriteRune(r)
		case keepLines && (r == '\n' || r == '\r'):
			out.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&out, `\u%04X`, r)
		default:
			out.WriteRune(r)
		}
	}
	return out.String()
}
