// Command heartbeat-sender tells collectors that this host, or a service on
// it, is alive. It runs under systemd ("run") or cron ("once").
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	c := &call{
		args: os.Args[1:], environ: os.Environ(), stdout: os.Stdout, stderr: os.Stderr,
		hostName: os.Hostname, configFile: defaultConfig,
	}
	os.Exit(c.untilSignal())
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
}

// untilSignal does what the arguments say and returns the exit code.
func (c *call) untilSignal() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := c.run(ctx)
	code := exitCode(err)
	if err != nil && !(c.settings.quiet && isDelivery(code)) {
		// Errors of several collectors come in several lines.
		fmt.Fprintln(c.stderr, "heartbeat-sender:", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return code
}

func (c *call) run(ctx context.Context) error {
	cmd, args, err := findCommand(c.args)
	if err != nil {
		return &failure{code: exitUsage, err: err}
	}
	switch err := c.load(cmd, args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(c.stdout, commandHelp(cmd))
		return nil
	case err != nil:
		return err
	}
	return cmd.do(ctx, c)
}

// logf tells the operator how the delivery goes.
func (c *call) logf(format string, args ...any) {
	if !c.settings.quiet {
		fmt.Fprintf(c.stderr, format+"\n", args...)
	}
}
