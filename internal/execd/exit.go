package execd

import (
	"errors"
	"strconv"
	"strings"
	"unicode"
)

// Exit codes of the command. 0 is also the end that Telegraf asked for.
const (
	exitFailure = 1 // it ran, or tried to, and failed
	exitUsage   = 2 // the command line is wrong
	exitConfig  = 3 // the configuration is wrong
)

// maxMessage is the longest message in bytes: a configuration can be quoted at
// length by those who read it.
const maxMessage = 900

// An exitError is a failure with the exit code it deserves. Its text is one
// line, because [[inputs.execd]] takes each line on stderr for a message.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return cut(oneLine(e.err.Error()), maxMessage) }
func (e *exitError) Unwrap() error { return e.err }

// UsageError returns err as one of the command line.
func UsageError(err error) error { return failure(exitUsage, err) }

// ExitCode returns the exit code for what Run returned.
func ExitCode(err error) int {
	var e *exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		return e.code
	default:
		return exitFailure
	}
}

var lineBreaks = strings.NewReplacer("\r\n", `\n`, "\n", `\n`, "\r", `\r`)

// oneLine returns text with its line breaks written as \n, so that whoever
// reads line by line sees one. Nothing else in it moves a cursor either.
func oneLine(text string) string {
	text = lineBreaks.Replace(strings.ToValidUTF8(strings.TrimRight(text, "\r\n"), "\ufffd"))
	var out strings.Builder
	for _, char := range text {
		if unicode.IsPrint(char) {
			out.WriteRune(char)
		} else {
			out.WriteString(strings.Trim(strconv.QuoteRune(char), "'"))
		}
	}
	return out.String()
}

// cut returns at most limit bytes of text, ending between two runes, and says
// so if something is missing.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + " ... (cut)"
}
