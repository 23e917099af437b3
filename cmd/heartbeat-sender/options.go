package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/cli"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/sender"
)

const (
	unixConfig   = "/etc/heartbeat-sender/heartbeat-sender.toml"
	envPrefix    = "HEARTBEAT_"
	timeValue    = "TIME"
	numberValue  = "NUMBER"
	commandValue = "CMD"
	fileValue    = "FILE"

	beating  = "run once exec" // commands that send beats
	pointing = "run once leave check"
	speaking = "run once exec leave check"
)

// An option can be set with a flag, with HEARTBEAT_NAME in the environment or with a key
// in the file. The latter two have "_" instead of "-".
type option struct {
	name     string
	value    string // placeholder of its value in the help; empty for a switch
	initial  string // its default
	usage    string
	commands string                                // that accept it
	flagOnly string                                // commands that accept it only as a flag
	watch    bool                                  // allowed in a [[watch]] table
	target   bool                                  // it names what to watch
	clear    func(s *settings)                     // empties a list; nil for other options
	set      func(s *settings, value string) error // sets the value, or adds it to a list
}

// options returns all options, in the order of the help.
func options() []*option {
	all := slices.Concat(deliveryOptions(), peerOptions(), trustOptions(), callOptions())
	if !hasSystemd {
		all = slices.DeleteFunc(all, func(o *option) bool { return o.name == "systemd-unit" })
	}
	return all
}

// deliveryOptions returns the options that determine where and when beats are sent.
func deliveryOptions() []*option {
	return []*option{
		{
			name: "server", value: "URL", commands: speaking, clear: clearServers, set: addServer,
			usage: "collector: tcp:// tls:// udp:// unix:// or unixgram://; each gets all beats",
		},
		{
			name: "interval", value: timeValue, initial: "10s", commands: "run exec check",
			usage: "time between two beats",
			set:   setTime(func(s *settings) *time.Duration { return &s.interval }, sender.MinInterval),
		},
		{
			name: "every", value: timeValue, commands: "once", flagOnly: "once",
			usage: "time until the next call; if not given, the collector uses its default",
			set:   setTime(func(s *settings) *time.Duration { return &s.interval }, sender.MinInterval),
		},
		{
			name: "grace", value: timeValue, commands: "once exec", flagOnly: "once exec",
			usage: "how late the next beat may be; by default, the collector decides",
			set:   setTime(func(s *settings) *time.Duration { return &s.peer.Grace }, time.Millisecond),
		},
		{
			name: "splay", value: timeValue, commands: "once",
			usage: "first wait a random time, at most TIME, to spread a fleet",
			set:   setTime(func(s *settings) *time.Duration { return &s.splay }, 0),
		},
		{
			name: "timeout", value: timeValue, initial: "3s", commands: "once leave check",
			usage: "limit to connect, send and get the answer",
			set:   setTime(func(s *settings) *time.Duration { return &s.timeout }, time.Millisecond),
		},
		{
			name: "back-in", value: timeValue, commands: "run exec leave", flagOnly: "exec leave",
			usage: "maintenance window after goodbye: dead if not back in time",
			set:   setTime(func(s *settings) *time.Duration { return &s.backIn }, 0),
		},
		{
			name: "cancel", commands: "leave", flagOnly: "leave", set: setSwitch(func(s *settings) *bool { return &s.cancel }),
			usage: "cancel the maintenance window of an earlier goodbye",
		},
		{
			name: "max-runtime", value: timeValue, commands: "exec",
			usage: "end CMD if it takes longer: SIGTERM, then SIGKILL after 10 s",
			set:   setTime(func(s *settings) *time.Duration { return &s.maxRuntime }, time.Millisecond),
		},
	}
}

// peerOptions returns the options that determine the peers and the contents of beats.
func peerOptions() []*option {
	return []*option{
		{name: "host", value: "NAME", commands: speaking, set: setHost, usage: "name of this host, if not its own; of leave: any host"},
		{
			name: "service", value: "NAME", commands: speaking, watch: true,
			usage: "name of the service; without a target, beats are for it, not for the host",
			set:   setText(func(s *settings) *string { return &s.peer.Service }),
		},
		{
			name: "pid", value: numberValue, commands: pointing, watch: true, target: true, set: setPID,
			usage: "target: the process with this ID",
		},
		{
			name: "pid-file", value: fileValue, commands: pointing, watch: true, target: true,
			usage: "target: the process whose ID is in the file",
			set:   setText(func(s *settings) *string { return &s.target.PIDFile }),
		},
		{
			name: "systemd-unit", value: "NAME", commands: pointing, watch: true, target: true, set: setUnit,
			usage: "target: the main process of this unit",
		},
		{
			name: "probe", value: commandValue, commands: pointing, watch: true, target: true, set: setProbe,
			usage: "target: exit code of CMD, 0 OK, 1 WARN, 3 UNKNOWN",
		},
		{
			name: "restart-grace", value: timeValue, initial: "10s", commands: "run", watch: true,
			usage: "time for an ended target to restart before it is dead",
			set:   setTime(func(s *settings) *time.Duration { return &s.grace }, 0),
		},
		{name: "ip", value: "ADDRESS", commands: speaking, set: setIP, usage: "address to report, if not the local one of the connection"},
		{
			name: "status", value: "WORD", initial: sender.StatusAlive, commands: beating, watch: true, set: setStatus,
			usage: "any word means alive; dead reports a death",
		},
		{
			name: "tag", value: "KEY=VALUE", commands: speaking, watch: true, clear: clearTags, set: addTag,
			usage: "label (may be repeated); the collector keeps the labels in its tag_keys",
		},
	}
}

// trustOptions returns the options that determine how collectors and this host
// authenticate each other.
func trustOptions() []*option {
	return []*option{
		{
			name: "tls-ca", value: fileValue, commands: speaking, set: setText(func(s *settings) *string { return &s.trust.ca }),
			usage: "CA certificates for tls:// collectors; default: the system's",
		},
		{
			name: "tls-cert", value: fileValue, commands: speaking, set: setText(func(s *settings) *string { return &s.trust.cert }),
			usage: "client certificate of this host",
		},
		{name: "tls-key", value: fileValue, commands: speaking, set: setText(func(s *settings) *string { return &s.trust.key }), usage: "private key of that certificate"},
		{
			name: "tls-server-name", value: "NAME", commands: speaking, set: setText(func(s *settings) *string { return &s.trust.serverName }),
			usage: "name in the collectors' certificate, if not the name in the URL",
		},
		{
			name: "key-file", value: fileValue, commands: speaking, set: setText(func(s *settings) *string { return &s.trust.signKey }),
			usage: "secret to sign beats with; default: " + credential + " in $CREDENTIALS_DIRECTORY",
		},
		{
			name: "key-id", value: "NAME", commands: speaking, set: setText(func(s *settings) *string { return &s.trust.signID }),
			usage: "name of that secret, if not the name of the host",
		},
	}
}

// callOptions returns the options of the program itself.
func callOptions() []*option {
	return []*option{
		{
			name: "json", commands: "check", flagOnly: "check", set: setSwitch(func(s *settings) *bool { return &s.json }),
			usage: "print the steps as one JSON document",
		},
		{
			name: "quiet", commands: speaking, set: setSwitch(func(s *settings) *bool { return &s.quiet }),
			usage: "do not print failures and refusals; wrong settings are still printed",
		},
		{
			name: "config", value: fileValue, initial: defaultConfig(), commands: speaking, flagOnly: speaking, set: setNothing,
			usage: "settings file in TOML",
		},
	}
}

// optionsOf returns the options of c.
func optionsOf(c *command) []*option {
	return slices.DeleteFunc(options(), func(o *option) bool { return !o.of(c) })
}

func (o *option) of(c *command) bool { return contains(o.commands, c) }

// flagFor reports whether c accepts the option only as a flag.
func (o *option) flagFor(c *command) bool { return contains(o.flagOnly, c) }

// isFlagOnly reports whether all commands accept the option only as a flag.
func (o *option) isFlagOnly() bool { return o.flagOnly == o.commands }

func contains(names string, c *command) bool { return slices.Contains(strings.Fields(names), c.name) }

func (o *option) isList() bool { return o.clear != nil }

func (o *option) isSwitch() bool { return o.value == "" }

// selectsService reports whether the option selects a service.
func (o *option) selectsService() bool { return o.target || o.name == "service" }

// flag returns the name of the option on the command line.
func (o *option) flag() string { return "-" + o.name }

// key returns the name of the option in the file.
func (o *option) key() string { return strings.ReplaceAll(o.name, "-", "_") }

// env returns the name of the option in the environment.
func (o *option) env() string { return envPrefix + strings.ToUpper(o.key()) }

// tableOf returns the flags of options. If whose is true, a flag that not all commands
// accept lists the commands that accept it.
func tableOf(all []*option, whose bool) []cli.Flag {
	table := make([]cli.Flag, 0, len(all))
	for _, o := range all {
		f := cli.Flag{Name: o.name, Value: o.value, Initial: o.initial, Usage: o.usage}
		if whose && o.commands != speaking {
			f.Note = "[" + list(o.commands) + "]"
		}
		table = append(table, f)
	}
	return table
}

// parseFlags returns the flags that args give to c, and the arguments after
// them if c takes any.
func parseFlags(c *command, args []string) (cli.Given, []string, error) {
	given, rest, err := cli.Parse(tableOf(options(), false), args)
	switch {
	case errors.Is(err, cli.ErrHelp):
		return nil, nil, err
	case err != nil:
		return nil, nil, fmt.Errorf("%s: %w; see heartbeat-sender %s -h", c.name, err, c.name)
	}
	return given, rest, checkFlags(c, given, rest)
}

// checkFlags refuses flags that c does not accept, and empty values: in a script, an
// empty value means that a variable is not set.
func checkFlags(c *command, given cli.Given, rest []string) error {
	for _, o := range options() {
		switch texts := given[o.name]; {
		case len(texts) > 0 && !o.of(c):
			return fmt.Errorf("%s has no flag %s: it belongs to %s", c.name, o.flag(), list(o.commands))
		case slices.Contains(texts, ""):
			return fmt.Errorf("%s: the value is empty", o.flag())
		}
	}
	switch {
	case strings.HasSuffix(c.takes, "..."):
	case len(rest) > 0 && c.takes == "":
		return fmt.Errorf("%s takes no argument %.64q; flags begin with -", c.name, rest[0])
	case len(rest) > 1:
		return fmt.Errorf("%s takes one argument, not %.64q", c.name, rest[1])
	}
	return nil
}

func list(words string) string { return strings.ReplaceAll(words, " ", ", ") }

func clearServers(s *settings) { s.servers = nil }

func addServer(s *settings, value string) error {
	s.servers = append(s.servers, value)
	return nil
}

// setTime returns a function that sets a duration of at least low.
func setTime(field func(*settings) *time.Duration, low time.Duration) func(*settings, string) error {
	return func(s *settings, value string) (err error) {
		*field(s), err = timeIn(value, low)
		return err
	}
}

// timeIn parses a duration from low to the longest that a beat can carry.
func timeIn(value string, low time.Duration) (time.Duration, error) {
	const high = sender.MaxInterval
	span, err := parseSpan(value)
	switch {
	case err != nil && strings.Trim(value, "0123456789.") == "":
		err = fmt.Errorf("%.64q lacks a unit: write \"%.64ss\"", value, value)
	case err != nil:
		err = fmt.Errorf("%.64q is not a duration: write one like 10s, 5m, 24h or 7d", value)
	case span < low || span > high:
		err = fmt.Errorf("%.64q is not between %s and %dd", value, low, high/day)
	}
	return span, err
}

const day = 24 * time.Hour

// parseSpan is time.ParseDuration with leading days.
func parseSpan(value string) (time.Duration, error) {
	days, rest, ok := strings.Cut(value, "d")
	if !ok {
		return time.ParseDuration(value)
	}
	count, err := strconv.ParseUint(days, 10, 16) // up to 65,535 days do not overflow
	if err != nil || strings.ContainsAny(rest, "+-") {
		return 0, strconv.ErrSyntax
	}
	part, err := time.ParseDuration(cmp.Or(rest, "0"))
	return time.Duration(count)*day + part, err
}

func setHost(s *settings, value string) (err error) {
	s.peer.Host, err = properName(value)
	return err
}

func setPID(s *settings, value string) error {
	pid, err := strconv.ParseUint(value, 10, 31)
	if err != nil || pid == 0 {
		return fmt.Errorf("%.64q is not a process ID", value)
	}
	s.target.PID = uint32(pid)
	return nil
}

func setUnit(s *settings, value string) error {
	if strings.HasPrefix(value, "-") || strings.Trim(value, unitBytes) != "" {
		return fmt.Errorf("%.64q is not a unit name", value)
	}
	s.target.Unit = value
	return nil
}

// unitBytes are the characters of unit names (systemd.unit(5)).
const unitBytes = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz:-_.\\@"

func setProbe(s *settings, value string) error {
	words, err := cli.Words(value)
	switch {
	case err != nil:
		return err
	case len(words) == 0 || words[0] == "":
		return errors.New("the command is empty")
	}
	s.probe = words
	return nil
}

func setIP(s *settings, value string) (err error) {
	if s.peer.IP, err = netip.ParseAddr(value); err != nil || s.peer.IP.Zone() != "" {
		return fmt.Errorf("%.64q is not an IP address", value)
	}
	return nil
}

func setStatus(s *settings, value string) error {
	if strings.EqualFold(value, sender.StatusLeaving) {
		return fmt.Errorf("%q is reserved: to say goodbye, run 'heartbeat-sender leave'", value)
	}
	s.peer.Status = value
	return nil
}

func clearTags(s *settings) { s.peer.Tags = nil }

func addTag(s *settings, value string) error {
	key, text, ok := strings.Cut(value, "=")
	if !ok {
		return fmt.Errorf("%.64q is not KEY=VALUE", value)
	}
	s.peer.Tags = append(s.peer.Tags, sender.Tag{Key: key, Value: text})
	return nil
}

// setSwitch returns a function that sets a bool.
func setSwitch(field func(*settings) *bool) func(*settings, string) error {
	return func(s *settings, value string) (err error) {
		*field(s), err = cli.Bool(value)
		return err
	}
}

// setText returns a function that sets a string.
func setText(field func(*settings) *string) func(*settings, string) error {
	return func(s *settings, value string) error {
		*field(s) = value
		return nil
	}
}

// setNothing is for -config: the file is read before the flags are applied.
func setNothing(*settings, string) error { return nil }
