// Command heartbeat-sender tells collectors that this host, or a service on
// it, is alive. It runs under systemd ("run") or cron ("once").
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	code := run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run does what args say and returns the exit code.
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	command, args, err := findCommand(args)
	if err != nil {
		return fail(stderr, &failure{code: exitUsage, err: err})
	}
	call := &call{settings: defaults(), stdout: stdout, stderr: stderr}
	if err := call.settings.load(command, args, environ); err != nil {
		return fail(stderr, err)
	}
	if err := command.do(ctx, call); err != nil {
		if call.settings.quiet {
			stderr = io.Discard
		}
		return fail(stderr, err)
	}
	return exitDelivered
}

func fail(stderr io.Writer, err error) int {
	fmt.Fprintln(stderr, "heartbeat-sender:", err)
	return exitCode(err)
}
