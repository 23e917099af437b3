// Command heartbeat-sender tells collectors that this host, and services on
// it, are alive. It runs under systemd ("run") or cron ("once"), or around a
// job ("exec").
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
)

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(20) // 7.1 MB instead of 9.1 for 50 services, at the same cost
	}
	c := &call{
		args: os.Args[1:], environ: os.Environ(), stdout: os.Stdout, stderr: os.Stderr,
		hostName: os.Hostname, configFile: defaultConfig,
	}
	os.Exit(c.exit())
}

// A call is one run of the program: what surrounds it, and the settings that
// this comes to.
type call struct {
	args       []string
	environ    []string
	stdout     io.Writer
	stderr     io.Writer
	hostName   func() (string, error)
	configFile string // is read if there is one and none is given

	settings settings
	wrong    error // with them, for a command that goes on all the same
}

// exit does what the arguments say and returns the exit code.
func (c *call) exit() int {
	err := c.run(context.Background())
	code := exitCode(err)
	if text := errorText(err); text != "" && !(c.settings.quiet && isDelivery(code)) {
		// Errors of several collectors come in several lines.
		c.log(logError, "heartbeat-sender: %s", strings.ReplaceAll(text, "\n", "; "))
	}
	return code
}

func (c *call) run(ctx context.Context) error {
	cmd, args, err := findCommand(c.args)
	if err != nil {
		return &failure{code: exitUsage, err: err}
	}
	err = c.load(cmd, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(c.stdout, commandHelp(cmd))
		return nil
	case cmd.wraps && exitCode(err) != exitUsage:
		c.wrong = err
		return cmd.do(ctx, c)
	case err != nil:
		return err
	}
	ctx, stop := untilStopped(ctx)
	defer stop()
	return cmd.do(ctx, c)
}

// untilStopped returns a context that ends when the program is asked to.
func untilStopped(ctx context.Context) (context.Context, context.CancelFunc) {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // by nohup
		signals = append(signals, syscall.SIGHUP)
	}
	return signal.NotifyContext(ctx, signals...)
}
