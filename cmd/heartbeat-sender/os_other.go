//go:build !linux && !windows

package main

import (
	"context"
	"errors"
	"os"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/watch"
)

func withRightsOf(*watch.Account, func()) error { return errors.ErrUnsupported }

func canRead(string) error { return nil }

// fileID returns "", which never equals JOURNAL_STREAM.
func fileID(*os.File) string { return "" }

func defaultConfig() string { return unixConfig }

// serviceCommands returns no commands: they exist only on Windows.
func serviceCommands() []command { return nil }

// reloading runs watch until ctx ends: a new program can take over only on Linux.
func (*call) reloading(ctx context.Context, _ manager, _ *view, watch func(context.Context)) error {
	watch(ctx)
	return nil
}

// restart does nothing: only reloading on Linux needs it.
func restart(context.Context) error { return nil }
