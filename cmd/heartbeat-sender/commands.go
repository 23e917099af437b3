package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/cli"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/sender"
)

// A command is the first word of the command line.
type command struct {
	name  string
	takes string // arguments that may follow; empty for none, ending in ... for any number
	usage string
	more  string // additional lines of its help
	do    func(ctx context.Context, c *call) error

	// wraps is true for a command that runs another program. That program runs even if
	// the settings are wrong, and receives the signals.
	wraps bool
}

// hasSystemd reports whether this operating system can run systemd.
const hasSystemd = runtime.GOOS != "windows"

func commands() []command {
	all := append(serviceCommands(), []command{
		{name: "run", usage: "stay connected and beat until stopped, then say goodbye", do: runCommand},
		{name: "once", usage: "send one beat and wait until it is acknowledged: for cron and timers", do: onceCommand},
		{
			name: "exec", takes: "[--] CMD...", wraps: true, do: execCommand,
			usage: "run CMD, beat while it runs, and report how it ended",
		},
		{name: "leave", usage: "say goodbye and wait until it is acknowledged; -host NAME: for another host", do: leaveCommand},
		{name: "check", usage: "test targets and collectors step by step; nothing is recorded", do: checkCommand},
		{name: "discover", usage: "print [[watch]] tables for the services that run on this host", do: discoverCommand},
		{name: "version", usage: "print the version", do: versionCommand},
		{name: "help", takes: "[COMMAND]", usage: "print all flags, or those of a command", do: helpCommand},
	}...)
	if !hasSystemd {
		all = slices.DeleteFunc(all, func(c command) bool { return c.name == "discover" })
	}
	return all
}

// findCommand returns the command that args begin with, and the rest.
func findCommand(args []string) (*command, []string, error) {
	if len(args) == 0 {
		return nil, nil, fmt.Errorf("give a command: %s", commandNames())
	}
	name := args[0]
	switch name {
	case "-h", "-help", "--help":
		name = "help"
	case "-version", "--version":
		name = "version"
	}
	if cmd := commandNamed(name); cmd != nil {
		return cmd, args[1:], nil
	}
	if near := nearCommand(strings.TrimLeft(name, "-")); strings.HasPrefix(name, "-") && near == "" {
		return nil, nil, fmt.Errorf("give a command before %.64q: %s", name, commandNames())
	}
	return nil, nil, unknownCommand(name)
}

// commandNamed returns nil if there is no such command.
func commandNamed(name string) *command {
	all := commands()
	for i := range all {
		if all[i].name == name {
			return &all[i]
		}
	}
	return nil
}

func commandNames() string {
	all := commands()
	names := make([]string, 0, len(all))
	for _, c := range all {
		names = append(names, c.name)
	}
	return strings.Join(names, ", ")
}

func nearCommand(name string) string { return cli.Nearest(name, strings.Split(commandNames(), ", ")) }

func unknownCommand(name string) error {
	if near := nearCommand(strings.TrimLeft(name, "-")); near != "" {
		return fmt.Errorf("unknown command %.64q: did you mean %s?", name, near)
	}
	return fmt.Errorf("unknown command %.64q: the commands are %s", name, commandNames())
}

func runCommand(ctx context.Context, c *call) error {
	s, watched, err := c.sender(ctx)
	if err != nil {
		return err
	}
	if c.trial {
		return c.tryRun(ctx, s, watched)
	}
	m := c.manager()
	st, seen := &status{manager: m}, newView(s)
	watcher := c.watcher(s, watched.targets, st, seen)
	if !c.held.Resumed() { // otherwise the test before the reload did that, and beats would wait for systemd
		if err := c.checkTargets(ctx, watcher); err != nil {
			return err
		}
	}
	time.AfterFunc(holdTime(s.Interval), c.held.Close)
	s.Infof = func(format string, args ...any) {
		c.infof(format, args...)
		st.setNews(oneLine(fmt.Sprintf(format, args...)))
	}
	running, stop := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		stop(c.reloading(running, m, seen, func(ctx context.Context) {
			var both sync.WaitGroup
			both.Go(func() { watcher.Run(ctx) })
			both.Go(func() { c.followProbes(ctx, s, watched) })
			both.Wait()
		}))
	})
	wg.Go(func() { c.watchName(running, s.Peers[0].Host) })
	wg.Go(func() { m.watchdog(running, s.Responsive) })
	wg.Go(func() {
		<-running.Done()
		if !errors.Is(context.Cause(running), errRestart) {
			m.notify("STOPPING=1")
		}
	})
	m.progress("READY=1") // other units need not wait until a collector answers
	if c.running != nil {
		c.running()
	}
	err = s.Run(running)
	stop(nil) // if Run has failed
	wg.Wait()
	if err == nil && ctx.Err() == nil {
		return restart(ctx)
	}
	return settingsError(err)
}

// nameOf returns a unique name for a peer.
func nameOf(p *sender.Peer) string { return p.Host + "/" + cmp.Or(p.Service, hostService) }

func onceCommand(ctx context.Context, c *call) error {
	s, watched, err := c.sender(ctx)
	if err != nil {
		return err
	}
	clearProcesses(s.Peers) // this process is about to end
	if splay := c.settings.splay; splay > 0 {
		select {
		case <-time.After(rand.N(splay)): //nolint:gosec // it need not be secure
		case <-ctx.Done():
			return errors.New("stopped before the beat was sent")
		}
	}
	ctx, cancel := c.withTimeout(ctx)
	defer cancel()
	if err := c.look(ctx, s.Peers, watched); err != nil {
		return err
	}
	return s.Once(ctx)
}

func leaveCommand(ctx context.Context, c *call) error {
	s, _, err := c.sender(ctx)
	if err != nil {
		return err
	}
	if c.settings.hasTarget() {
		s.Peers = s.Peers[:1] // not its host
	}
	clearProcesses(s.Peers) // for any process with these names
	for i := range s.Peers {
		s.Peers[i].Cancel = c.settings.cancel
	}
	ctx, cancel := c.withTimeout(ctx)
	defer cancel()
	err = s.Leave(ctx)
	said := c.goodbye(time.Now())
	for _, p := range s.Peers {
		if wasAccepted(p, err) {
			c.infof("%s %s", nameOf(&p), said)
		}
	}
	return err
}

// goodbye describes the goodbye that leave has sent.
func (c *call) goodbye(now time.Time) string {
	switch backIn := c.settings.backIn; {
	case c.settings.cancel:
		return "is expected as before: its maintenance window is closed"
	case backIn > 0:
		return "has said goodbye; it is dead if it is not back by " + now.Add(backIn).Format("2006-01-02 15:04:05 MST")
	}
	return "has said goodbye for good"
}

// wasAccepted reports whether a collector has accepted the goodbye of p; err is the
// error of all goodbyes.
func wasAccepted(p sender.Peer, err error) bool {
	var each interface{ Unwrap() []error }
	if !errors.As(err, &each) {
		return err == nil
	}
	return slices.ContainsFunc(each.Unwrap(), func(err error) bool {
		var unknown *sender.UnknownError
		return errors.As(err, &unknown) && !slices.ContainsFunc(unknown.Peers, func(u sender.UnknownPeer) bool {
			return u.Host == p.Host && u.Service == p.Service
		})
	})
}

// clearProcesses removes the process of each peer.
func clearProcesses(peers []sender.Peer) {
	for i := range peers {
		peers[i].PID, peers[i].StartMS, peers[i].Silent = 0, 0, false
	}
}

func (c *call) withTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := c.settings.timeout
	return context.WithTimeoutCause(ctx, limit, timeoutError(limit))
}

// A timeoutError names the timeout that has passed.
type timeoutError time.Duration

func (e timeoutError) Error() string {
	return fmt.Sprintf("timed out after %s", time.Duration(e))
}

func versionCommand(_ context.Context, c *call) error {
	fmt.Fprintln(c.stdout, cli.Version("heartbeat-sender"))
	return nil
}

func helpCommand(_ context.Context, c *call) error {
	if len(c.args) == 0 {
		fmt.Fprint(c.stdout, help())
		return nil
	}
	cmd := commandNamed(c.args[0])
	if cmd == nil {
		return cli.Exit(cli.ExitUsage, fmt.Errorf("help: %w", unknownCommand(c.args[0])))
	}
	fmt.Fprint(c.stdout, commandHelp(cmd))
	return nil
}
