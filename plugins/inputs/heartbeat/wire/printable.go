package wire

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxPrintable is the longest text that Printable returns, in bytes.
const maxPrintable = 400

// Printable returns text, which may have foreign parts, as it may appear in a
// line of a log, in an answer and on a terminal: what is not printable is escaped
// as in Go, and what is long is cut.
func Printable(text string) string { return Line(text, maxPrintable) }

// Line is Printable for a whole message: it cuts after limit bytes.
func Line(text string, limit int) string {
	text = visible(text)
	if len(text) <= limit {
		return text
	}
	end := limit
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "..."
}

// visible escapes what is not printable: control characters, those that are
// invisible or change the direction of a text, and bytes that are no UTF-8.
func visible(text string) string {
	if !strings.ContainsFunc(text, isInvisible) {
		return text
	}
	escaped := make([]byte, 0, 2*len(text))
	for len(text) > 0 {
		char, size := utf8.DecodeRuneInString(text)
		if isInvisible(char) {
			quoted := strconv.Quote(text[:size])
			escaped = append(escaped, quoted[1:len(quoted)-1]...)
		} else {
			escaped = append(escaped, text[:size]...)
		}
		text = text[size:]
	}
	return string(escaped)
}

// isInvisible holds for the replacement character too: it stands for bytes that
// are no UTF-8.
func isInvisible(char rune) bool { return char == utf8.RuneError || !unicode.IsPrint(char) }
