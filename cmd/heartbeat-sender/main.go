// Command heartbeat-sender tells collectors that this host, and services on
// it, are alive. It runs under systemd ("run") or cron ("once"), or around a
// job ("exec"). It knows its options and what each command does with them; how
// beats travel and how processes end it leaves to other packages, and it never
// knows Telegraf or who is dead.
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

// defaultPath is where programs are looked for if the environment says nothing,
// as in a small container.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// trialCommand is run as it is tried before a reload. A version that does not know it refuses it.
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
	if held.Resumed() { // settings are yet to be read, and the former life spoke for somebody
		signal.Notify(early, os.Interrupt, syscall.SIGTERM)
	}
	environ := os.Environ()
	if _, ok := os.LookupEnv("PATH"); !ok {
		os.Setenv("PATH", defaultPath) //nolint:errcheck // it has no odd bytes
	}
	c := &call{
		args: os.Args[1:], environ: environ, stdout: os.Stdout, stderr: os.Stderr,
		hostName: os.Hostname, configFile: defaultConfig(), held: held, early: early,
	}
	os.Exit(c.exit(context.Background()))
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
	held       handover.Connections
	early      <-chan os.Signal // what a life that is resumed was told before it could know
	trial      bool             // run only looks whether it could: the program that runs asks that before a reload
	prefixes   bool             // stderr is a log that wants the priority of each line
	running    func()           // is called when run has begun, if there is somebody to tell

	logging  sync.Once
	logger   *logger
	settings settings

	filesTime time.Duration // that the files of the settings may take
	wrong     error         // with them, for a command that goes on all the same

	server string // that check tries
	steps  []step // of check, where they are printed together
}

// exit does what the arguments say and returns the exit code.
func (c *call) exit(ctx context.Context) int {
	// Whoever reads what is printed may go away; we have more to do. To ignore
	// the signal would make a job ignore it too.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	defer c.endLog()
	return c.conclude(c.run(ctx))
}

// conclude says what went wrong, and returns the exit code.
func (c *call) conclude(err error) int {
	code := exitCode(err)
	if err != nil && err.Error() != "" && !(c.settings.quiet && isDelivery(code)) {
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

// untilStopped returns a context that ends when the program is asked to.
func untilStopped(ctx context.Context) (context.Context, context.CancelFunc) {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // by nohup
		signals = append(signals, syscall.SIGHUP)
	}
	return signal.NotifyContext(ctx, signals...)
}
