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
	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/watch"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/sender"
)

// A command is the first word of the command line.
type command struct {
	name  string
	takes string // arguments that may follow; empty for none, ending in ... for any number
	usage string
	more  string // lines of its own help
	do    func(ctx context.Context, c *call) error

	// wraps is for a command around another one, which is run even if the
	// settings are wrong, and gets the signals.
	wraps bool
}

// hasSystemd reports whether what asks systemd makes sense here.
const hasSystemd = runtime.GOOS != "windows"

func commands() []command {
	all := append(serviceCommands(), []command{
		{name: "run", usage: "stay connected and beat until stopped, then say goodbye", do: runCommand},
		{name: "once", usage: "send one beat and wait until it is acknowledged: for cron and timers", do: onceCommand},
		{
			name: "exec", takes: "[--] CMD...", wraps: true, do: execCommand,
			usage: "run CMD, beat while it runs and tell how it ended",
		},
		{name: "leave", usage: "say goodbye and wait until it is acknowledged; -host NAME: for another host", do: leaveCommand},
		{name: "check", usage: "say step by step what works, without leaving a trace", do: checkCommand},
		{name: "discover", usage: "print tables [[watch]] for the services that run here", do: discoverCommand},
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
		return nil, nil, fmt.Errorf("a command is missing: %s", commandNames())
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
		return nil, nil, fmt.Errorf("the command comes before %.64q: %s", name, commandNames())
	}
	return nil, nil, unknownCommand(name)
}

// commandNamed returns nil if there is none.
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
	return fmt.Errorf("unknown command %.64q: possible are %s", name, commandNames())
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
	if !c.held.Resumed() { // else that was tried, and beats would wait for systemd
		if err := c.checkTargets(ctx, watcher); err != nil {
			return err
		}
	}
	time.AfterFunc(holdTime(s.Interval), c.held.Close)
	s.Infof = func(format string, args ...any) {
		c.infof(format, args...)
		st.tell(oneLine(fmt.Sprintf(format, args...)))
	}
	asked := ctx
	ctx, stop := context.WithCancelCause(asked)
	var wg sync.WaitGroup
	wg.Go(func() {
		stop(c.reloading(ctx, m, seen, func(ctx context.Context) {
			var both sync.WaitGroup
			both.Go(func() { watcher.Run(ctx) })
			both.Go(func() { c.followProbes(ctx, s, watched) })
			both.Wait()
		}))
	})
	wg.Go(func() { c.watchName(ctx, s.Peers[0].Host) })
	wg.Go(func() { m.watchdog(ctx, s.Responsive) })
	wg.Go(func() {
		<-ctx.Done()
		if !errors.Is(context.Cause(ctx), errAnew) {
			m.notify("STOPPING=1")
		}
	})
	m.progress("READY=1") // it waits for its collectors, others need not
	if c.running != nil {
		c.running()
	}
	err = s.Run(ctx)
	stop(nil) // if Run has failed
	wg.Wait()
	if err == nil && asked.Err() == nil {
		return beginAnew(asked)
	}
	return invalid(err)
}

// errAnew is why a program says goodbye that is to begin anew.
var errAnew = errors.New("other settings")

// trialTime is how long a program may take to say whether it can take over: it asks systemd and
// collectors.
const trialTime = 30 * time.Second

// tryRun looks what run would see and whom it would reach, prints that, and tells nobody. The
// program that runs asks for it before it lets this one take over.
func (c *call) tryRun(ctx context.Context, s *sender.Sender, watched watchlist) error {
	w := &watch.Watcher{Targets: watched.targets, Warnf: c.warnf}
	if err := c.checkTargets(ctx, w); err != nil {
		return err
	}
	states, err := w.Look(ctx)
	if err != nil {
		return err
	}
	seen := newView(s)
	for i, state := range states {
		seen.note(&s.Peers[i], state)
	}
	for i := range s.Peers {
		s.Peers[i].Silent = false // to be asked about
	}
	ctx, cancel := context.WithTimeout(ctx, trialTime/2)
	defer cancel()
	var wg sync.WaitGroup
	for _, server := range s.Servers {
		wg.Go(func() { // ends with ctx
			if err := s.Check(ctx, server).Err; err != nil {
				seen.set(server, "does not answer: "+oneLine(err.Error()))
			}
		})
	}
	wg.Wait()
	fmt.Fprint(c.stdout, seen)
	return nil
}

// A view is what a program beats to and for, and what it knows of that: a line for each.
type view struct {
	sender *sender.Sender

	mu    sync.Mutex // guards lines
	lines map[string]string
}

func newView(s *sender.Sender) *view {
	v := &view{sender: s, lines: make(map[string]string)}
	for _, server := range s.Servers {
		v.lines[server] = answers
	}
	for i := range s.Peers {
		v.lines[nameOf(&s.Peers[i])] = ""
	}
	return v
}

const answers = "answers"

// note notes how the process is that a peer is about.
func (v *view) note(p *sender.Peer, s watch.State) {
	text := "does not run"
	switch {
	case isUnknown(s):
		text = "cannot be looked at"
	case s.Phase == watch.Running:
		text = fmt.Sprintf("runs as process %d", s.Process.PID)
	case s.Phase == watch.Away: // no other program can know that
		text = "is restarting"
	}
	v.set(nameOf(p), text)
}

func (v *view) set(name, text string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.lines[name] = text
}

func (v *view) String() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	var b strings.Builder
	for name, text := range v.lines {
		fmt.Fprintf(&b, "%s %s\n", name, text)
	}
	return b.String()
}

// compare compares v with what another program has printed. Names that it lacks are gone. There is an
// error if it knows less, or otherwise: it does not reach who answers here, or does not see what runs.
func (v *view) compare(printed string) (gone []string, err error) {
	others := make(map[string]string)
	for line := range strings.Lines(printed) {
		name, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		others[name] = text
	}
	reached := false
	for _, text := range others {
		reached = reached || text == answers
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for name, text := range v.lines {
		switch other, ok := others[name]; {
		case !ok:
			gone = append(gone, name)
		case text == answers && !v.sender.Answers(name): // nothing is lost
		case other != text && text != "":
			err = fmt.Errorf("%s %s; to the next program it %s", name, text, other)
		}
	}
	if len(gone) > 0 && !reached {
		err = errors.New("no collector answers to the next program")
	}
	return gone, err
}

// part has goodbye said for peers that nobody will name any more, also if nothing is known of them
// in this life: their silence would be a death.
func (v *view) part(names []string) {
	for _, p := range v.sender.Peers {
		if slices.Contains(names, nameOf(&p)) {
			p.Status, p.Silent, p.Exit = sender.StatusLeaving, false, sender.Exit{}
			v.sender.Update(p) //nolint:errcheck // it has been said of before
		}
	}
}

// nameOf returns what to call a peer: no two have the same name.
func nameOf(p *sender.Peer) string { return p.Host + "/" + cmp.Or(p.Service, hostService) }

// holdTime is how long the connections of a former life are held: by then the new ones have carried
// beats for all peers. It ends before silence would, if a collector has no room for both.
func holdTime(interval time.Duration) time.Duration {
	return min(max(2*interval, 5*time.Second), 30*time.Second)
}

func onceCommand(ctx context.Context, c *call) error {
	s, watched, err := c.sender(ctx)
	if err != nil {
		return err
	}
	anonymous(s.Peers) // nobody will miss this process
	if splay := c.settings.splay; splay > 0 {
		select {
		case <-time.After(rand.N(splay)): //nolint:gosec // it only spreads a fleet
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
		s.Peers = s.Peers[:1] // its host stays
	}
	anonymous(s.Peers) // whoever holds the names
	for i := range s.Peers {
		s.Peers[i].Cancel = c.settings.cancel
	}
	ctx, cancel := c.withTimeout(ctx)
	defer cancel()
	err = s.Leave(ctx)
	said := c.goodbye(time.Now())
	for _, p := range s.Peers {
		if wasHeard(p, err) {
			c.infof("%s %s", nameOf(&p), said)
		}
	}
	return err
}

// goodbye tells what leave has said by now.
func (c *call) goodbye(now time.Time) string {
	switch backIn := c.settings.backIn; {
	case c.settings.cancel:
		return "is expected as before: its promise is taken back"
	case backIn > 0:
		return "has said goodbye, and is dead if it is not back by " + now.Add(backIn).Format("2006-01-02 15:04:05 MST")
	}
	return "has said goodbye for good"
}

// wasHeard reports whether a collector has taken in the goodbye of p, when err is
// what came of all goodbyes.
func wasHeard(p sender.Peer, err error) bool {
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

// anonymous makes peers of no process.
func anonymous(peers []sender.Peer) {
	for i := range peers {
		peers[i].PID, peers[i].StartMS, peers[i].Silent = 0, 0, false
	}
}

func (c *call) withTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := c.settings.timeout
	return context.WithTimeoutCause(ctx, limit, timeoutError(limit))
}

// A timeoutError says which timeout it was.
type timeoutError time.Duration

func (e timeoutError) Error() string {
	return fmt.Sprintf("the timeout of %s is over", time.Duration(e))
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
