package main

import (
	"errors"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/sender"
)

// Exit codes.
const (
	exitDelivered    = 0
	exitNotDelivered = 1
	exitUsage        = 2
	exitConfig       = 3
	exitRefused      = 4 // by the collector
)

// A failure is an error that knows its exit code.
type failure struct {
	code int
	err  error
}

func (f *failure) Error() string { return f.err.Error() }

func (f *failure) Unwrap() error { return f.err }

func exitCode(err error) int {
	var known *failure
	var refused *sender.RefusedError
	switch {
	case errors.As(err, &known):
		return known.code
	case errors.As(err, &refused):
		return exitRefused
	}
	return exitNotDelivered
}
