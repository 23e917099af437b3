package wire

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxPrintable is the longest text that Printable returns, in bytes.
const maxPrintable = 400

// Printable makes text with foreign parts safe for a log line, an answer and a terminal: it
// escapes unprintable characters as in Go, and cuts long text.
func Printable(text string) string { return Line(text, maxPrintable) }

// Line is like Printable, but cuts after limit bytes.
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

// visible escapes unprintable characters: control characters, characters that are invisible
// or change the direction of text, and bytes that are not UTF-8.
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

// isInvisible reports whether char must be escaped. The replacement character is among them: it
// means bytes that are not UTF-8.
func isInvisible(char rune) bool { return char == utf8.RuneError || !unicode.IsPrint(char) }
