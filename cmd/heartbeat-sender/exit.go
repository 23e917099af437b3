package main

import (
	"errors"
	"strings"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/sender"
)

// Exit codes.
const (
	exitDelivered    = 0
	exitNotDelivered = 1
	exitUsage        = 2 // the command line is wrong
	exitConfig       = 3 // the environment, the file or the host is
	exitRefused      = 4 // by the collector
)

// maxMessage is the longest message in bytes: several errors may be joined in it.
const maxMessage = 900

// A failure is an error that knows its exit code.
type failure struct {
	code int
	err  error // nil if there is nothing to say
}

func (f *failure) Error() string {
	if f.err == nil {
		return ""
	}
	return f.err.Error()
}

func (f *failure) Unwrap() error { return f.err }

func exitCode(err error) int {
	var known *failure
	var refused *sender.RefusedError
	switch {
	case err == nil:
		return exitDelivered
	case errors.As(err, &known):
		return known.code
	case errors.As(err, &refused):
		return exitRefused
	}
	return exitNotDelivered
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// oneLine returns text, which may be that of several errors in several lines, as
// one that is fit for a log and a terminal: it quotes files, collectors and
// certificates. What is long is cut.
func oneLine(text string) string {
	parts := strings.Split(text, "\n")
	for i, part := range parts {
		parts[i] = wire.Printable(part)
	}
	line := strings.Join(parts, "; ")
	if len(line) > maxMessage {
		return strings.ToValidUTF8(line[:maxMessage], "") + "..."
	}
	return line
}

// isDelivery tells what -quiet silences: not a mistake in the settings, which
// nobody would ever find.
func isDelivery(code int) bool { return code == exitNotDelivered || code == exitRefused }

// invalid gives an error about settings its exit code.
func invalid(err error) error {
	if err == nil {
		return nil
	}
	return &failure{code: exitConfig, err: err}
}
