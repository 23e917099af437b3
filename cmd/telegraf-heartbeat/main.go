// Command telegraf-heartbeat runs the heartbeat input beside a stock Telegraf,
// as an external program of its [[inputs.execd]].
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/execd"
	_ "github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat" // registers itself
)

func main() {
	// SIGHUP too: it ends terminals, and "pkill -HUP telegraf" means us as well.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := execd.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	if err != nil {
		// [[inputs.execd]] takes lines that begin so for errors.
		fmt.Fprintln(os.Stderr, "E! telegraf-heartbeat:", err)
		os.Exit(execd.ExitCode(err))
	}
}
