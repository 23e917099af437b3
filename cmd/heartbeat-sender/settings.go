package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/cli"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/watch"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/sender"
)

// settings are the result of flags, environment, file and defaults.
type settings struct {
	servers  []string
	interval time.Duration
	backIn   time.Duration

	peer    sender.Peer   // as far as given
	target  watch.Target  // target of peer, if any
	grace   time.Duration // of target
	probe   []string      // probe of peer instead of a target: a command and its arguments
	watches []settings    // of [[watch]]: peer, target and grace, or probe

	trust trust

	timeout    time.Duration
	splay      time.Duration
	maxRuntime time.Duration
	cancel     bool
	json       bool
	quiet      bool
}

// load sets the settings from the defaults, the file, the environment and args, in
// this order. It returns cli.ErrHelp if args ask for help.
func (c *call) load(cmd *command, args []string) error {
	known := optionsOf(cmd)
	flags, rest, err := parseFlags(cmd, args)
	if err != nil {
		return cli.Exit(cli.ExitUsage, err)
	}
	c.args, c.filesTime = rest, cmd.filesTime()
	if len(known) == 0 {
		return nil
	}
	s := &c.settings
	err = s.setAll(defaults(known), (*option).flag)
	if err == nil {
		err = c.loadFile(cmd, flags)
	}
	if err == nil {
		err = s.setAll(c.fromEnvironment(cmd), (*option).env)
	}
	if err != nil {
		return settingsError(err)
	}
	if name, ok := flags.Last("host"); ok && cmd.name == "leave" && !c.isOwnHost(name) {
		// File and environment are about this host.
		s.peer, s.target, s.probe, s.watches = sender.Peer{NoIP: true}, watch.Target{}, nil, nil
	}
	if err := s.setAll(flags, (*option).flag); err != nil {
		return cli.Exit(cli.ExitUsage, err)
	}
	if err := s.checkTogether(cmd); err != nil {
		return cli.Exit(cli.ExitUsage, err)
	}
	return nil
}

// checkTogether refuses flags that contradict each other or other settings.
func (s *settings) checkTogether(cmd *command) error {
	switch {
	case s.cancel && s.backIn != 0:
		return errors.New("-cancel closes a maintenance window, and -back-in opens one: give only one of them")
	case cmd.name != "once":
		return nil
	case s.peer.Grace != 0 && s.interval == 0:
		return errors.New("-grace needs -every: otherwise the collector does not know when the next beat is due")
	}
	if late := s.allowedLateness(); s.interval != 0 && s.splay > late {
		return fmt.Errorf("-splay: %s is more than the %s that collectors wait beyond -every %s: shorten it, or give -grace",
			s.splay, late, s.interval)
	}
	return nil
}

// allowedLateness is how long collectors wait for a beat beyond its interval by
// default: two and a half intervals. If that is more than an hour, it is one and a half
// intervals, or half an interval.
func (s *settings) allowedLateness() time.Duration {
	const most, least = time.Hour, 2 * time.Second // least includes the interval
	if s.peer.Grace != 0 {
		return s.peer.Grace
	}
	for halves := time.Duration(5); halves > 0; halves -= 2 {
		if late := s.interval * halves / 2; late <= most {
			return max(late, least-s.interval)
		}
	}
	return most
}

// loadFile reads the file in the flags, or the default one.
func (c *call) loadFile(cmd *command, flags cli.Given) error {
	ctx, cancel := context.WithTimeout(context.Background(), cmd.filesTime())
	defer cancel()
	if name, ok := flags.Last("config"); ok {
		return c.settings.readFile(ctx, cmd, name)
	}
	err := c.settings.readFile(ctx, cmd, c.configFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// isOwnHost reports whether name is the name of this host.
func (c *call) isOwnHost(name string) bool {
	own := c.settings.peer.Host
	if own == "" {
		own, _ = c.ownName() //nolint:errcheck // if this host has no name, own is ""
	}
	proper, _ := properName(name) //nolint:errcheck // a wrong name is ""
	return own != "" && proper == own
}

// defaults returns the default values of options, by their names.
func defaults(known []*option) cli.Given {
	given := make(cli.Given)
	for _, o := range known {
		given[o.name] = o.split(o.initial)
	}
	return given
}

// fromEnvironment returns the values in the environment for a command, by the names of
// options. It ignores other names: Kubernetes sets HEARTBEAT_PORT for a service with
// the name heartbeat.
func (c *call) fromEnvironment(cmd *command) cli.Given {
	given := make(cli.Given)
	for _, o := range optionsOf(cmd) {
		if !o.flagFor(cmd) {
			text, _ := lookup(c.environ, o.env())
			given[o.name] = o.split(text)
		}
	}
	return given
}

// lookup returns a variable of environ. If there are several with that name, it returns
// the last one.
func lookup(environ []string, name string) (text string, ok bool) {
	for _, entry := range environ {
		if key, value, _ := strings.Cut(entry, "="); key == name {
			text, ok = value, true
		}
	}
	return text, ok
}

// split returns the values in text; commas separate the values of a list. An empty text
// has no values.
func (o *option) split(text string) []string {
	switch {
	case text == "":
		return nil
	case !o.isList():
		return []string{text}
	}
	var texts []string
	for element := range strings.SplitSeq(text, ",") {
		if element = strings.TrimSpace(element); element != "" {
			texts = append(texts, element)
		}
	}
	return texts
}

// setAll applies the values of one source, by the names of options; name returns the
// name of an option for messages.
func (s *settings) setAll(given cli.Given, name func(*option) string) error {
	all := slices.DeleteFunc(options(), func(o *option) bool { return len(given[o.name]) == 0 })
	var targets []string
	for _, o := range all {
		if o.target {
			targets = append(targets, name(o))
			s.target, s.probe, s.peer.Service = watch.Target{}, nil, "" // override a weaker source
		}
		if o.selectsService() {
			s.watches = nil // likewise
		}
	}
	if len(targets) > 1 {
		return fmt.Errorf("%s: give only one target; for several, write [[watch]] tables in the file", strings.Join(targets, " and "))
	}
	for _, o := range all {
		if err := s.set(o, given[o.name]); err != nil {
			return fmt.Errorf("%s: %w", name(o), err)
		}
	}
	return nil
}

// set applies the values of an option. A list replaces the list of a source with lower
// priority.
func (s *settings) set(o *option, texts []string) error {
	if o.isList() {
		o.clear(s)
	}
	for _, text := range texts {
		if err := o.set(s, text); err != nil {
			return o.withoutName(err)
		}
	}
	return o.withoutName(s.check())
}

// hasTarget reports whether the settings have a target or a probe.
func (s *settings) hasTarget() bool { return s.target != (watch.Target{}) || s.probe != nil }

// check validates the settings as far as they are given.
func (s *settings) check() error {
	trial := sender.Sender{
		Servers: s.servers, Interval: s.interval, BackIn: s.backIn, Peers: []sender.Peer{s.peer},
	}
	if len(trial.Servers) == 0 {
		trial.Servers = []string{"tcp://not.given.yet:1"}
	}
	return trial.Validate()
}

// withoutName removes the name of o from the beginning of err: the message already
// has it.
func (o *option) withoutName(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	for _, name := range []string{o.name + ": ", o.name + "s: ", o.name + " "} {
		text = strings.TrimPrefix(text, name)
	}
	return errors.New(text)
}
