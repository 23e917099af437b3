package cli

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Expand replaces ${VAR} and ${VAR:-default} in the strings of a TOML text, and outside
// of strings if the value is a number, true or false. Line numbers do not change. In a
// string, values are escaped; $${ becomes ${, and any other $ stays. A variable that is
// not set and has no default is a *LineError.
func Expand(text string, lookup func(string) (string, bool)) (string, error) {
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
			return "", &LineError{Line: line, Err: err}
		}
		out.WriteString(expanded)
		line += strings.Count(token, "\n")
		pos = next
	}
	return out.String(), nil
}

// expandBare expands a reference outside of quotes.
func expandBare(reference string, lookup func(string) (string, bool)) (string, error) {
	value, err := resolve(reference[len("${"):len(reference)-len("}")], func(s string) string { return s }, lookup)
	if err == nil && !isBare(value) {
		err = fmt.Errorf("%.64s has no quotes around it, so its value must be a number, true or false; for a string, write \"%.64s\"",
			reference, reference)
	}
	return value, err
}

// isBare reports whether value is valid in TOML without quotes: an integer, a decimal
// number or a boolean.
func isBare(value string) bool {
	if value == "true" || value == "false" {
		return true
	}
	unsigned := value
	if value != "" && (value[0] == '+' || value[0] == '-') {
		unsigned = value[1:]
	}
	whole, part, dot := strings.Cut(unsigned, ".")
	return areDigits(whole) && (!dot || areDigits(part))
}

func areDigits(text string) bool { return text != "" && strings.Trim(text, "0123456789") == "" }

// expandString expands one string, given and returned with its quotes.
func expandString(quoted string, lookup func(string) (string, bool)) (string, error) {
	n := quoteLen(quoted)
	quote := quoted[:n]
	if !strings.Contains(quoted, "${") || len(quoted) < 2*n || !strings.HasSuffix(quoted, quote) {
		return quoted, nil // the decoder refuses a string that is not closed
	}
	body := quoted[n : len(quoted)-n]
	source := func(s string) string { return s }
	if quote[0] == '\'' {
		// A literal string cannot contain every value, a basic string can.
		quote = strings.Repeat(`"`, n)
		source = func(s string) string { return escape(s, n == 3) }
	}
	expanded, err := expandBody(body, source, lookup)
	return quote + expanded + quote, err
}

// expandBody expands the text between the quotes of a basic string. It applies source to
// text that comes from the file.
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

// resolve returns the value of a reference, VAR or VAR:-default, escaped for a basic
// string.
func resolve(reference string, source func(string) string, lookup func(string) (string, bool)) (string, error) {
	name, fallback, hasDefault := strings.Cut(reference, ":-")
	if !isVariable(name) || strings.Contains(fallback, "${") || strings.Contains(fallback, "\n") {
		return "", notUnderstood(reference)
	}
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
	return fmt.Errorf("'${%.64s' is neither ${VAR} nor ${VAR:-default}; write '$${' for a plain '${'", reference)
}

// isVariable reports whether name is a valid name of a variable.
func isVariable(name string) bool {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_"
	return name != "" && strings.Trim(name, letters+"0123456789") == "" && strings.ContainsRune(letters, rune(name[0]))
}

// Quote returns text as a basic TOML string.
func Quote(text string) string { return `"` + escape(text, false) + `"` }

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
