package cli

import (
	"fmt"
	"strings"
)

const blanks = " \t\r\n"

// Words splits a command line into words, without a shell: single or double quotes keep
// words together. Outside of single quotes, a backslash escapes a quote or a blank;
// before anything else it is a plain backslash, as in Windows paths. No other character
// is special.
func Words(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	open, inside := byte(0), false // the quote that is open; whether a word has begun
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == '\\' && open != '\'' && i+1 < len(line) && strings.IndexByte(`"'`+blanks, line[i+1]) >= 0:
			i++
			word.WriteByte(line[i])
			inside = true
		case open != 0 && c == open:
			open = 0
		case open == 0 && (c == '"' || c == '\''):
			open, inside = c, true
		case open == 0 && strings.IndexByte(blanks, c) >= 0:
			if inside {
				words = append(words, word.String())
			}
			word.Reset()
			inside = false
		default:
			word.WriteByte(c)
			inside = true
		}
	}
	if open != 0 {
		return nil, fmt.Errorf("%.64q lacks a closing %c", line, open)
	}
	if inside {
		words = append(words, word.String())
	}
	return words, nil
}

// Line returns a line that Words splits into these words.
func Line(words []string) string {
	quoted := make([]string, 0, len(words))
	for _, word := range words {
		quoted = append(quoted, `'`+strings.ReplaceAll(word, `'`, `'"'"'`)+`'`)
	}
	return strings.Join(quoted, " ")
}
