// Command telegraf-heartbeat runs the heartbeat input beside a stock Telegraf, as an
// external program of its [[inputs.execd]]. It runs the plugin through package execd, and
// its commands ask collectors and state files which peers are alive. It knows the plugin,
// its API and its state files, and never listens or judges itself.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/cli"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/execd"
)

func main() {
	// SIGHUP too: a terminal sends it when it closes, and "pkill -HUP telegraf" matches us.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, os.Args[1:])
	stop()
	if err == nil {
		return
	}
	if text := err.Error(); text != "" {
		// [[inputs.execd]] logs lines with this prefix as errors.
		fmt.Fprintln(os.Stderr, "E! telegraf-heartbeat:", text)
	}
	os.Exit(cli.ExitCode(err))
}

// commands are the names of the commands.
var commands = []string{"peers", "check-peer", "version", "help"}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		return execd.Run(ctx, args, os.Stdin, os.Stdout, os.Stderr)
	}
	c := &console{stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv, now: time.Now}
	switch name, rest := args[0], args[1:]; name {
	case "peers":
		return peers(ctx, rest, c)
	case "check-peer":
		return checkPeer(ctx, rest, c)
	case "version", "help": // heartbeat-sender has them as commands
		return execd.Run(ctx, append([]string{"-" + name}, rest...), os.Stdin, os.Stdout, os.Stderr)
	default:
		return execd.Failure(cli.ExitUsage, unknownCommand(name))
	}
}

// unknownCommand returns an error with a suggestion: a command, or a flag without its dash.
func unknownCommand(name string) error {
	near := cli.Nearest(name, commands)
	if near == "" {
		if flag := cli.NearestFlag(name, execd.Flags()); flag != "" {
			near = "-" + flag
		}
	}
	if near == "" {
		return fmt.Errorf("unknown command %.64q: the commands are %s", name, strings.Join(commands, ", "))
	}
	return fmt.Errorf("unknown command %.64q: did you mean %s?", name, near)
}
