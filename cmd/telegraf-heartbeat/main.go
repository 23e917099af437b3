// Command telegraf-heartbeat runs the heartbeat input beside a stock Telegraf,
// as an external program of its [[inputs.execd]]. It brings the plugin to package
// execd and prints state files; it knows both, and never listens or judges by itself.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
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
	if len(args) > 0 && args[0] == "peers" {
		return peers(args[1:], os.Stdout, time.Now())
	}
	return execd.Run(ctx, args, os.Stdin, os.Stdout, os.Stderr)
}
