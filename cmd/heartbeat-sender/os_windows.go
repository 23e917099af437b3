package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/cli"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/watch"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/winservice"
)

func withRightsOf(*watch.Account, func()) error { return errors.ErrUnsupported }

func canRead(string) error { return nil }

// fileID returns "", which never equals JOURNAL_STREAM.
func fileID(*os.File) string { return "" }

// reloading runs watch until ctx ends: a new program can take over only on Linux.
func (*call) reloading(ctx context.Context, _ manager, _ *view, watch func(context.Context)) error {
	watch(ctx)
	return nil
}

// restart does nothing: only reloading on Linux needs it.
func restart(context.Context) error { return nil }

func defaultConfig() string {
	return filepath.Join(cmp.Or(os.Getenv("ProgramData"), `C:\ProgramData`), "heartbeat-sender", "heartbeat-sender.toml")
}

const (
	serviceName = "heartbeat-sender"
	// serviceBackIn is the same maintenance window as in the systemd units: a service that does
	// not come back after a reboot is reported dead.
	serviceBackIn = "15m"
)

// serviceCommands returns the command that runs as a Windows service. It sets wraps, so
// that no signal stops it: Windows sends a signal to each service when a user logs off.
func serviceCommands() []command {
	return []command{{
		name: "service", takes: "ACTION...", wraps: true, do: serviceCommand,
		usage: "run as a Windows service: install, uninstall, or run (started by Windows)", more: serviceActions,
	}}
}

const serviceActions = `
Actions:
  install [FLAGS]     install it with the flags of run: see heartbeat-sender help run
  uninstall           stop and remove it
  run [FLAGS]         started by Windows: do not run this yourself
`

func serviceCommand(ctx context.Context, c *call) error {
	err := c.doService(ctx)
	if errors.Is(err, cli.ErrHelp) {
		fmt.Fprint(c.stdout, commandHelp(commandNamed("service")))
		return nil
	}
	return err
}

func (c *call) doService(ctx context.Context) error {
	var action string
	if len(c.args) > 0 {
		action, c.args = c.args[0], c.args[1:]
	}
	switch action {
	case "help":
		return cli.ErrHelp
	case "install":
		return c.installService(ctx)
	case "uninstall":
		return c.uninstallService()
	case "run":
		return c.runService()
	}
	return cli.Exit(cli.ExitUsage, errors.New("service: give one of install, uninstall and run"))
}

func (c *call) installService(ctx context.Context) error {
	args, err := serviceArgs(c.args, c.configFile)
	if err != nil {
		return cli.Exit(cli.ExitUsage, err)
	}
	// A user who can write the default file can run programs through its probes.
	if err := winservice.Protect(c.configFile); err != nil {
		return err
	}
	// Report errors now: when the service starts, they would only be in the event log.
	if err := c.load(commandNamed("run"), args); err != nil {
		return err
	}
	if _, _, err := c.sender(ctx); err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	service := winservice.Service{
		Name: serviceName, Title: "Heartbeat of this host", Program: program, Args: append([]string{"service", "run"}, args...),
		Description: "Reports to collectors that this host and its services are alive.",
	}
	if err := service.Install(); err != nil {
		return err
	}
	fmt.Fprintf(c.stdout, "Installed service %s: %s\n", serviceName, service.CommandLine())
	fmt.Fprintf(c.stdout, "Windows starts it when it boots. To start it now: net start %s\n", serviceName)
	return nil
}

// serviceArgs returns the flags of run for a service: with absolute paths and with the settings
// file, because a service starts in another directory and environment, and with -back-in.
func serviceArgs(args []string, usualFile string) ([]string, error) {
	given, _, err := parseFlags(commandNamed("run"), args)
	if err != nil {
		return nil, err
	}
	if given["back-in"] == nil {
		given["back-in"] = []string{serviceBackIn}
	}
	if _, err := os.Stat(usualFile); given["config"] == nil && !errors.Is(err, fs.ErrNotExist) {
		given["config"] = []string{usualFile}
	}
	var flags []string
	for _, o := range options() {
		for _, text := range given[o.name] {
			if o.value == fileValue && text != os.DevNull {
				if text, err = filepath.Abs(text); err != nil {
					return nil, fmt.Errorf("%s: %w", o.flag(), err)
				}
			}
			flags = append(flags, o.flag()+"="+text)
		}
	}
	return flags, nil
}

func (c *call) uninstallService() error {
	_, rest, err := cli.Parse(nil, c.args)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("service uninstall takes no argument %.64q", rest[0])
	}
	if err != nil {
		return cli.Exit(cli.ExitUsage, err)
	}
	if err := winservice.Uninstall(serviceName); err != nil {
		return err
	}
	fmt.Fprintf(c.stdout, "Removed service %s\n", serviceName)
	return nil
}

func (c *call) runService() error {
	return winservice.Run(serviceName, func(ctx context.Context, running func(), log *winservice.Log) int {
		inner := &call{
			environ: c.environ, stdout: c.stdout, stderr: log, hostName: c.hostName, configFile: c.configFile,
			prefixes: true, running: running,
		}
		defer inner.endLog()
		err := inner.load(commandNamed("run"), c.args)
		if err == nil {
			err = runCommand(ctx, inner)
		}
		return inner.conclude(err)
	})
}
