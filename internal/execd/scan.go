package execd

import "strings"

// The scanner knows just enough of TOML to tell strings and comments from the
// rest and one statement from the next. It judges nothing: what is no TOML is
// left to the decoder, which says so better.

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

// dollarEnd returns kind and end of what begins with a dollar outside of strings.
func dollarEnd(text string, pos int) (tokenKind, int) {
	end := pos + indexOrLen(text[pos:], "}\n")
	if strings.HasPrefix(text[pos:], "${") && strings.HasPrefix(text[end:], "}") {
		return tokenVariable, end + 1
	}
	return tokenOther, pos + 1
}

// indexOrLen returns where the first of chars stands in text, or its length.
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

// stringEnd returns the offset behind the string that begins at pos. One that
// is not closed ends with its line, or with the text if it may span lines.
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
			// A multi-line string may end in two quotes of its own.
			for range 2 {
				if n == 3 && i < len(text) && text[i] == quote[0] {
					i++
				}
			}
			return i
		}
	}
	return len(text)
}

// A statement is one table header or one `name = value`.
type statement struct {
	line  int    // where it begins, counted from 1
	end   int    // offset behind it
	under string // the header it stands below, "" for a header itself
	name  string // as written; for a header with its brackets
	value string // as written, without a comment behind it; for a header empty
}

// header returns the name of a table header without spaces, or "".
func (s statement) header() string {
	if !strings.HasPrefix(s.name, "[") {
		return ""
	}
	return strings.Join(strings.Fields(s.name), "")
}

// statements cuts TOML into its statements, in the order of the text.
func statements(text string) []statement {
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

// A cutter gathers tokens until they are a statement.
type cutter struct {
	all   []statement
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
		if s.header() == "" {
			s.under = c.under
		} else {
			c.under = s.header()
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

func newStatement(text string, line, end int) statement {
	name, value := text, ""
	if !strings.HasPrefix(strings.TrimSpace(text), "[") {
		name, value, _ = strings.Cut(text, "=")
	}
	name = strings.Trim(name, " \t\r\ufeff")
	return statement{line: line, end: end, name: name, value: strings.TrimSpace(value)}
}
