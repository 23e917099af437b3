package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/sender"
)

// A command is the first word of the command line.
type command struct {
	name  string
	usage string
	do    func(ctx context.Context, c *call) error
}

// A call is one run of a command.
type call struct {
	settings settings
	stdout   io.Writer
	stderr   io.Writer
}

func commands() []command {
	return []command{
		{"run", "stay connected and beat until stopped; then say goodbye", runCommand},
		{"once", "send one beat, wait until it is acknowledged, exit (for cron and timers)", onceCommand},
		{"leave", "say goodbye, wait until it is acknowledged, exit", leaveCommand},
		{"version", "print the version", versionCommand},
		{"help", "print this", helpCommand},
	}
}

// findCommand returns the command that args begin with, and the rest.
func findCommand(args []string) (*command, []string, error) {
	all := commands()
	if len(args) == 0 {
		return nil, nil, fmt.Errorf("a command is missing: %s", strings.Join(names(all), ", "))
	}
	name := strings.TrimLeft(args[0], "-") // -help, --version
	at := slices.IndexFunc(all, func(c command) bool { return c.name == name || name == "h" && c.name == "help" })
	if at < 0 {
		return nil, nil, fmt.Errorf("unknown command %.64q: it is one of %s", args[0], strings.Join(names(all), ", "))
	}
	return &all[at], args[1:], nil
}

func names(all []command) []string {
	var names []string
	for _, c := range all {
		names = append(names, c.name)
	}
	return names
}

func runCommand(ctx context.Context, c *call) error {
	s, err := c.sender()
	if err != nil {
		return err
	}
	s.Interval = c.settings.interval
	return invalid(s.Run(ctx))
}

func onceCommand(ctx context.Context, c *call) error {
	s, err := c.sender()
	if err != nil {
		return err
	}
	s.Interval = c.settings.every
	if s.Peer.PID != 0 {
		// Nobody will miss this process: it ends with its only beat.
		s.Peer.PID, s.Peer.StartMS = 0, 0
	}
	if c.settings.splay > 0 {
		select {
		case <-time.After(rand.N(c.settings.splay)):
		case <-ctx.Done():
			return errors.New("stopped before the beat was sent")
		}
	}
	ctx, cancel := context.WithTimeout(ctx, c.settings.timeout)
	defer cancel()
	return s.Once(ctx)
}

func leaveCommand(ctx context.Context, c *call) error {
	s, err := c.sender()
	if err != nil {
		return err
	}
	s.Peer.PID, s.Peer.StartMS = 0, 0             // whoever holds the name
	if own, _ := hostName(); s.Peer.Host != own { //nolint:errcheck // then it is another one's
		s.Peer.Boot, s.Peer.NoIP = "", true
	}
	ctx, cancel := context.WithTimeout(ctx, c.settings.timeout)
	defer cancel()
	return s.Leave(ctx)
}

// sender returns a Sender with the identity that the settings give.
func (c *call) sender() (*sender.Sender, error) {
	peer, err := c.peer()
	if err != nil {
		return nil, &failure{code: exitConfig, err: err}
	}
	s := &sender.Sender{Servers: c.settings.servers, Peer: peer, BackIn: c.settings.backIn, Logf: c.logf}
	return s, invalid(s.Validate())
}

// peer returns whom to speak for: the host, or with -service this process
// under that name.
func (c *call) peer() (sender.Peer, error) {
	own, err := hostName()
	host := c.settings.host
	if host == "" {
		host = own
	}
	if host == "" {
		return sender.Peer{}, fmt.Errorf("this host has no name of its own (%w); give one with -host", err)
	}
	peer := sender.Host(host)
	if c.settings.service != "" {
		peer = sender.Self(host, c.settings.service)
	}
	peer.Status, peer.Tags, peer.IP = c.settings.status, c.settings.tags, c.settings.ip
	return peer, nil
}

// hostName returns the name of this host, unless every host has that.
func hostName() (string, error) {
	name, err := os.Hostname()
	if err != nil {
		return "", err
	}
	name = strings.ToLower(name)
	if name == "" || name == "localhost" || strings.HasPrefix(name, "localhost.") {
		return "", fmt.Errorf("it is called %q", name)
	}
	return name, nil
}

// invalid gives an error about settings its exit code.
func invalid(err error) error {
	if err == nil {
		return nil
	}
	return &failure{code: exitConfig, err: err}
}

func (c *call) logf(format string, args ...any) {
	if !c.settings.quiet {
		fmt.Fprintf(c.stderr, format+"\n", args...)
	}
}

func versionCommand(_ context.Context, c *call) error {
	fmt.Fprintf(c.stdout, "heartbeat-sender %s %s %s/%s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}

// version returns what the module proxy or git said when this was built.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}

func helpCommand(_ context.Context, c *call) error {
	fmt.Fprint(c.stdout, help())
	return nil
}
