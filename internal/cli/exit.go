// Package cli is what both programs have in common as commands: tables of flags
// and their help, files of settings in strict TOML with the line of a mistake,
// variables in such files, exit codes, what a name was meant to be, the version.
// It never knows a heartbeat, a collector or Telegraf.
package cli

import "errors"

// Exit codes. 0 means that all went well; a program may have others above these.
const (
	ExitFailed = 1 // it ran, or tried to, and failed
	ExitUsage  = 2 // the command line is wrong
	ExitConfig = 3 // the settings are: file, environment or host
)

// MaxMessage is the longest message a program ends with, in bytes: a settings file
// or a collector may be quoted in it at length.
const MaxMessage = 900

// An Error is an error with the exit code it deserves.
type Error struct {
	Code int
	Err  error // nil if there is nothing left to say
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

// ExitCode returns the exit code of err: 0 for nil, ExitFailed where Exit gave
// none.
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
