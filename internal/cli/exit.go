// Package cli has the command-line parts that both programs share: flags and their help,
// settings files in strict TOML with line numbers in errors, variables in these files,
// exit codes, suggestions for misspelt names, and the version. It knows nothing about
// heartbeats, collectors or Telegraf.
package cli

import "errors"

// Exit codes. 0 is success; a program may have higher codes of its own.
const (
	ExitFailed = 1 // it ran, or tried to, and failed
	ExitUsage  = 2 // the command line is wrong
	ExitConfig = 3 // the settings are wrong: file, environment or host
)

// MaxMessage is the maximum length in bytes of the last message of a program, which may
// quote a settings file or a collector.
const MaxMessage = 900

// An Error is an error with its exit code.
type Error struct {
	Code int
	Err  error // nil if there is nothing to print
}

func (e *Error) Error() string {
	if e.Err == nil {
		return ""
	}
	return e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Exit gives err an exit code. It returns nil if err is nil.
func Exit(code int, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Code: code, Err: err}
}

// ExitCode returns the exit code of err: 0 for nil, and ExitFailed if it has none.
func ExitCode(err error) int {
	var known *Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &known):
		return known.Code
	}
	return ExitFailed
}
