// Command heartbeat-sender reports to collectors that this host, and services on it, are
// alive. It runs under systemd ("run") or cron ("once"), or around a job ("exec"). It
// knows its options and what each command does with them. Other packages send beats and
// watch processes. It never decides which peers are dead, and does not depend on
// Telegraf.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/cli"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/proc/handover"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/proc/job"
)

// defaultPath is the PATH if the environment has none, as in a small container.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// trialCommand is the command that tests, before a reload, whether run would work. Versions
// without this command refuse it.
const trialCommand = "run-trial"

func main() {
	if job.IsWitness() {
		return
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(20) // 7.1 MB instead of 9.1 for 50 services, at the same cost
	}
	held := handover.Take()
	early := make(chan os.Signal, 1)
	if held.Resumed() { // the settings are not read yet, but the process already beats for its peers
		signal.Notify(early, os.Interrupt, syscall.SIGTERM)
	}
	environ := os.Environ()
	if _, ok := os.LookupEnv("PATH"); !ok {
		os.Setenv("PATH", defaultPath) //nolint:errcheck // it has no invalid bytes
	}
	c := &call{
		args: os.Args[1:], environ: environ, stdout: os.Stdout, stderr: os.Stderr,
		hostName: os.Hostname, configFile: defaultConfig(), held: held, early: early,
	}
	os.Exit(c.exit(context.Background()))
}

// A call is one run of the program: its environment, and the settings that result.
type call struct {
	args       []string
	environ    []string
	stdout     io.Writer
	stderr     io.Writer
	hostName   func() (string, error)
	configFile string // default settings file, which need not exist
	held       handover.Connections
	early      <-chan os.Signal // signals that came before a reloaded program was ready for them
	trial      bool             // run only checks whether it could run, for the running program before a reload
	prefixes   bool             // stderr needs a priority before each line
	running    func()           // called when run has started; may be nil

	logging  sync.Once
	logger   *logger
	settings settings

	filesTime time.Duration // limit for reading the settings files
	wrong     error         // error in the settings, for a command that runs anyway

	server string // that check is trying
	steps  []step // of check, if they are printed together
}

// exit runs the command in the arguments and returns the exit code.
func (c *call) exit(ctx context.Context) int {
	// Continue if the reader of the output goes away. Ignoring the signal would
	// make a job ignore it too.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	defer c.endLog()
	return c.conclude(c.run(ctx))
}

// conclude logs the error, and returns the exit code.
func (c *call) conclude(err error) int {
	code := exitCode(err)
	if err != nil && err.Error() != "" && !(c.settings.quiet && isDeliveryFailure(code)) {
		c.log(logError, "%v", err)
	}
	return code
}

func (c *call) run(ctx context.Context) error {
	args := c.args
	if c.trial = len(args) > 0 && args[0] == trialCommand; c.trial {
		args = append([]string{"run"}, args[1:]...)
	}
	cmd, args, err := findCommand(args)
	if err != nil {
		return cli.Exit(cli.ExitUsage, err)
	}
	err = c.load(cmd, args)
	switch {
	case errors.Is(err, cli.ErrHelp):
		fmt.Fprint(c.stdout, commandHelp(cmd))
		return nil
	case cmd.wraps && exitCode(err) != cli.ExitUsage:
		c.wrong = err
		return cmd.do(ctx, c)
	case err != nil:
		return err
	}
	ctx, stop := untilStopped(ctx)
	defer stop()
	if len(c.early) > 0 {
		stop()
	}
	return cmd.do(ctx, c)
}

// untilStopped returns a context that ends when the program is asked to stop.
func untilStopped(ctx context.Context) (context.Context, context.CancelFunc) {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // by nohup
		signals = append(signals, syscall.SIGHUP)
	}
	return signal.NotifyContext(ctx, signals...)
}
