// Command telegraf-heartbeat runs the heartbeat input beside a stock Telegraf,
// as an external program of its [[inputs.execd]]. It brings the plugin to package
// execd and prints state files; it knows both, and never listens or judges by itself.
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
	// SIGHUP too: it ends terminals, and "pkill -HUP telegraf" means us as well.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		// [[inputs.execd]] takes lines that begin with this for errors.
		fmt.Fprintln(os.Stderr, "E! telegraf-heartbeat:", err)
		os.Exit(cli.ExitCode(err))
	}
}

func run(ctx context.Context, args []string) error {
	name, rest := "", args
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, rest = args[0], args[1:]
	}
	switch near := cli.Nearest(name, []string{"peers", "version", "help"}); {
	case name == "peers":
		return peers(rest, os.Stdout, time.Now())
	case name == "version", name == "help": // heartbeat-sender has them as commands
		args = append([]string{"-" + name}, rest...)
	case near != "":
		return execd.Failure(cli.ExitUsage, fmt.Errorf("unknown command %.64q: did you mean %s?", name, near))
	}
	return execd.Run(ctx, args, os.Stdin, os.Stdout, os.Stderr)
}
