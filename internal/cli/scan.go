package cli

import "strings"

// The scanner knows just enough of TOML to find strings, comments and statements. It
// accepts anything: the decoder explains syntax errors better.

type tokenKind int

const (
	tokenOther tokenKind = iota
	tokenNewline
	tokenComment
	tokenString   // with its quotes
	tokenVariable // ${VAR}, outside of strings
)

// nextToken returns the kind and the end of the token that begins at pos.
func nextToken(text string, pos int) (tokenKind, int) {
	switch text[pos] {
	case '\n':
		return tokenNewline, pos + 1
	case '#':
		return tokenComment, pos + indexOrLen(text[pos:], "\n")
	case '"', '\'':
		return tokenString, stringEnd(text, pos)
	case '[', ']', '{', '}', '=':
		return tokenOther, pos + 1
	case '$':
		return dollarEnd(text, pos)
	default:
		return tokenOther, pos + indexOrLen(text[pos:], "\n#\"'[]{}=$")
	}
}

// dollarEnd returns kind and end of a token that begins with a dollar outside of
// strings.
func dollarEnd(text string, pos int) (tokenKind, int) {
	end := pos + indexOrLen(text[pos:], "}\n")
	if strings.HasPrefix(text[pos:], "${") && strings.HasPrefix(text[end:], "}") {
		return tokenVariable, end + 1
	}
	return tokenOther, pos + 1
}

// indexOrLen returns the index of the first of chars in text, or its length.
func indexOrLen(text, chars string) int {
	if i := strings.IndexAny(text, chars); i >= 0 {
		return i
	}
	return len(text)
}

// quoteLen returns how many quotes open the string at the start of text.
func quoteLen(text string) int {
	if strings.HasPrefix(text, `"""`) || strings.HasPrefix(text, `'''`) {
		return 3
	}
	return 1
}

// stringEnd returns the offset after the string that begins at pos. A string that is
// not closed ends with its line, or with the text if it may span lines.
func stringEnd(text string, pos int) int {
	n := quoteLen(text[pos:])
	quote := text[pos : pos+n]
	for i := pos + n; i < len(text); i++ {
		switch {
		case text[i] == '\\' && quote[0] == '"':
			i++
		case text[i] == '\n' && n == 1:
			return i
		case strings.HasPrefix(text[i:], quote):
			i += n
			if n == 3 { // it may end in two quotes of its own
				own := text[i:min(i+2, len(text))]
				i += len(own) - len(strings.TrimLeft(own, quote[:1]))
			}
			return i
		}
	}
	return len(text)
}

// A Statement is one table header or one `name = value`.
type Statement struct {
	Line  int    // where it begins, counted from 1
	Under string // the header it belongs to, "" for a header itself
	Name  string // as written; for a header with its brackets
	Value string // as written, without comments; empty for a header

	end int // offset after it
}

// Header returns the name of a table header without spaces, or "".
func (s Statement) Header() string {
	if !strings.HasPrefix(s.Name, "[") {
		return ""
	}
	return strings.Join(strings.Fields(s.Name), "")
}

// Statements splits TOML into its statements, in the order of the text.
func Statements(text string) []Statement {
	var c cutter
	line := 1
	for pos := 0; pos < len(text); {
		kind, next := nextToken(text, pos)
		token := text[pos:next]
		switch {
		case kind == tokenNewline && c.depth <= 0:
			c.finish()
		case kind == tokenNewline || kind == tokenComment:
		case c.text.Len() == 0 && strings.TrimSpace(token) == "":
		default:
			c.add(token, line, next)
		}
		line += strings.Count(token, "\n")
		pos = next
	}
	c.finish()
	return c.all
}

// Table returns the statements of table number n with that header, counted from 0, from
// the header up to the next one like it. The result is empty if there is no such table.
func Table(text, header string, n int) []Statement {
	all := Statements(text)
	begin := len(all)
	for i, s := range all {
		if s.Header() != header {
			continue
		}
		if n--; n == -1 {
			begin = i
		} else if n == -2 {
			return all[begin:i]
		}
	}
	return all[begin:]
}

// A cutter collects tokens until they form a statement.
type cutter struct {
	all   []Statement
	under string // the last header

	text      strings.Builder // of the current statement
	line, end int             // of the current statement
	depth     int             // of open brackets in it
}

func (c *cutter) add(token string, line, end int) {
	if c.text.Len() == 0 {
		c.line = line
	}
	c.text.WriteString(token)
	c.end = end
	c.depth += bracket(token)
}

func (c *cutter) finish() {
	if c.text.Len() > 0 {
		s := newStatement(c.text.String(), c.line, c.end)
		if s.Header() == "" {
			s.Under = c.under
		} else {
			c.under = s.Header()
		}
		c.all = append(c.all, s)
	}
	c.text.Reset()
	c.depth = 0
}

func bracket(token string) int {
	switch token {
	case "[", "{":
		return 1
	case "]", "}":
		return -1
	default:
		return 0
	}
}

func newStatement(text string, line, end int) Statement {
	name, value := text, ""
	if !strings.HasPrefix(strings.TrimSpace(text), "[") {
		name, value, _ = strings.Cut(text, "=")
	}
	name = strings.Trim(name, " \t\r\ufeff")
	return Statement{Line: line, Name: name, Value: strings.TrimSpace(value), end: end}
}
