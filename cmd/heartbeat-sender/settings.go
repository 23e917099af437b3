package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

const (
	defaultConfig = "/etc/heartbeat-sender/heartbeat-sender.toml"
	envPrefix     = "HEARTBEAT_"
)

// settings are what flags, environment, file and defaults come to, in this
// order.
type settings struct {
	config   string
	servers  []string
	interval time.Duration
	every    time.Duration
	timeout  time.Duration
	splay    time.Duration
	backIn   time.Duration
	host     string
	service  string
	ip       netip.Addr
	status   string
	tags     []wire.Label
	quiet    bool
}

func defaults() settings {
	return settings{config: defaultConfig, interval: 10 * time.Second, timeout: 3 * time.Second}
}

// An option can be given as a flag, as HEARTBEAT_NAME in the environment and
// as a key of the file, there with "_" for "-".
type option struct {
	name     string
	value    string // what stands for its value in the help; empty for a switch
	usage    string
	commands string // that know it
	flagOnly bool   // it is about this one call
	list     bool   // may be given several times
	set      func(s *settings, value string) error
}

func options() []option {
	return []option{
		{name: "config", value: "FILE", usage: "settings in TOML (" + defaultConfig + ", if there is one)", commands: "run once leave", flagOnly: true,
			set: text(func(s *settings) *string { return &s.config })},
		{name: "server", value: "URL", usage: "collector, like tcp://collector.example.com:7878; several get every beat", commands: "run once leave", list: true,
			set: func(s *settings, value string) error { s.servers = append(s.servers, value); return nil }},
		{name: "interval", value: "TIME", usage: "between two beats (10s)", commands: "run",
			set: duration(func(s *settings) *time.Duration { return &s.interval })},
		{name: "every", value: "TIME", usage: "how often it is called: declares when the next beat is due", commands: "once", flagOnly: true,
			set: duration(func(s *settings) *time.Duration { return &s.every })},
		{name: "timeout", value: "TIME", usage: "for everything (3s)", commands: "once leave",
			set: duration(func(s *settings) *time.Duration { return &s.timeout })},
		{name: "splay", value: "TIME", usage: "wait a random part of this first, so that a fleet does not beat in step", commands: "once",
			set: duration(func(s *settings) *time.Duration { return &s.splay })},
		{name: "back-in", value: "TIME", usage: "with a goodbye: the promise to be back within; who is not is dead", commands: "run leave",
			set: duration(func(s *settings) *time.Duration { return &s.backIn })},
		{name: "host", value: "NAME", usage: "name of the host (its own)", commands: "run once leave",
			set: text(func(s *settings) *string { return &s.host })},
		{name: "service", value: "NAME", usage: "speak for this process under that name (for the host)", commands: "run once leave",
			set: text(func(s *settings) *string { return &s.service })},
		{name: "ip", value: "ADDRESS", usage: "address to tell (the local one of the connection)", commands: "run once leave",
			set: func(s *settings, value string) (err error) { s.ip, err = netip.ParseAddr(value); return err }},
		{name: "status", value: "WORD", usage: "what to say (alive); any word of your own means alive", commands: "run once",
			set: text(func(s *settings) *string { return &s.status })},
		{name: "tag", value: "KEY=VALUE", usage: "label; the collector keeps those that its tag_keys name", commands: "run once leave", list: true, set: addTag},
		{name: "quiet", usage: "print nothing; the exit code tells", commands: "run once leave",
			set: func(s *settings, value string) (err error) { s.quiet, err = strconv.ParseBool(value); return err }},
	}
}

func text(field func(s *settings) *string) func(*settings, string) error {
	return func(s *settings, value string) error { *field(s) = value; return nil }
}

func duration(field func(s *settings) *time.Duration) func(*settings, string) error {
	return func(s *settings, value string) error {
		span, err := time.ParseDuration(value)
		switch {
		case err != nil:
			return errors.New("it is a time like 90s, 5m or 1h30m")
		case span < 0:
			return errors.New("it cannot be negative")
		}
		*field(s) = span
		return nil
	}
}

func addTag(s *settings, value string) error {
	key, value, ok := strings.Cut(value, "=")
	if !ok {
		return errors.New("it is KEY=VALUE")
	}
	s.tags = append(s.tags, wire.Label{Key: key, Value: value})
	return nil
}

func (o *option) of(c *command) bool { return slices.Contains(strings.Fields(o.commands), c.name) }

// key returns the name of the option in the file.
func (o *option) key() string { return strings.ReplaceAll(o.name, "-", "_") }

// env returns the name of the option in the environment.
func (o *option) env() string { return envPrefix + strings.ToUpper(o.key()) }

// A value is an option with what somebody gave for it.
type value struct {
	option *option
	texts  []string
	from   string // who, for messages
}

// load fills s with what the file, the environment and args give, each
// overruling the one before.
func (s *settings) load(c *command, args, environ []string) error {
	known := slices.DeleteFunc(options(), func(o option) bool { return !o.of(c) })
	flags, err := parseFlags(c, known, args)
	if err != nil {
		return &failure{code: exitUsage, err: err}
	}
	if len(known) == 0 {
		return nil
	}
	var file []value
	if at := slices.IndexFunc(flags, func(v value) bool { return v.option.name == "config" }); at >= 0 {
		file, err = readFile(c, flags[at].texts[0])
	} else if file, err = readFile(c, defaultConfig); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	err = firstError(err, s.setAll(file), s.setAll(readEnviron(known, environ)))
	if err != nil {
		return &failure{code: exitConfig, err: err}
	}
	if err := s.setAll(flags); err != nil {
		return &failure{code: exitUsage, err: err}
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// setAll applies values. A list replaces the list of a weaker source.
func (s *settings) setAll(values []value) error {
	for _, v := range values {
		switch v.option.name {
		case "server":
			s.servers = nil
		case "tag":
			s.tags = nil
		}
		for _, text := range v.texts {
			if err := v.option.set(s, text); err != nil {
				return fmt.Errorf("%s %.64q: %w", v.from, text, err)
			}
		}
	}
	return nil
}

func parseFlags(c *command, known []option, args []string) ([]value, error) {
	set := flag.NewFlagSet(c.name, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.Usage = func() {}
	given := make([]value, len(known))
	for i := range known {
		o := &known[i]
		given[i] = value{option: o, from: "-" + o.name}
		add := func(text string) error { given[i].texts = append(given[i].texts, text); return nil }
		if o.value == "" {
			set.BoolFunc(o.name, o.usage, add)
		} else {
			set.Func(o.name, o.usage, add)
		}
	}
	switch err := set.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return nil, errors.New("see heartbeat-sender help")
	case err != nil:
		return nil, fmt.Errorf("%s: %w", c.name, err)
	case set.NArg() > 0:
		return nil, fmt.Errorf("%s takes no %.64q", c.name, set.Arg(0))
	}
	return slices.DeleteFunc(given, func(v value) bool { return len(v.texts) == 0 }), nil
}

// readEnviron returns what the environment gives. Names that are no options
// are not ours: Kubernetes sets HEARTBEAT_PORT for a service of that name.
func readEnviron(known []option, environ []string) []value {
	var values []value
	for i := range known {
		o := &known[i]
		for _, entry := range environ {
			name, text, _ := strings.Cut(entry, "=")
			if name != o.env() || text == "" || o.flagOnly {
				continue
			}
			texts := []string{text}
			if o.list {
				texts = strings.Split(text, ",")
			}
			values = append(values, value{option: o, texts: texts, from: name})
		}
	}
	return values
}

// readFile returns what the file gives that c knows. A key that no command
// knows is an error.
func readFile(c *command, name string) ([]value, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration failed: %w", err)
	}
	var content map[string]any
	if err := toml.Unmarshal(data, &content); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	all := options()
	var values []value
	for _, key := range slices.Sorted(maps.Keys(content)) {
		where := fmt.Sprintf("%s:%d: %s", name, lineOf(data, key), key)
		at := slices.IndexFunc(all, func(o option) bool { return o.key() == key && !o.flagOnly })
		if at < 0 {
			return nil, fmt.Errorf("%s is no option", where)
		}
		texts, ok := asTexts(content[key], all[at].list)
		if !ok {
			return nil, fmt.Errorf("%s has a value of the wrong type", where)
		}
		if all[at].of(c) {
			values = append(values, value{option: &all[at], texts: texts, from: where})
		}
	}
	return values, nil
}

// lineOf returns the number of the line that begins with key.
func lineOf(data []byte, key string) int {
	n := 0
	for line := range strings.Lines(string(data)) {
		n++
		if rest, ok := strings.CutPrefix(strings.TrimLeft(line, " \t"), key); ok && strings.HasPrefix(strings.TrimLeft(rest, " \t\"'"), "=") {
			return n
		}
	}
	return n
}

// asTexts returns a value of the file as it would stand on the command line.
func asTexts(content any, list bool) ([]string, bool) {
	switch content := content.(type) {
	case string:
		return []string{content}, true
	case bool:
		return []string{strconv.FormatBool(content)}, true
	case []any:
		var texts []string
		for _, element := range content {
			text, ok := element.(string)
			if !ok || !list {
				return nil, false
			}
			texts = append(texts, text)
		}
		return texts, true
	}
	return nil, false
}

// help is the text of the help command.
func help() string {
	var b strings.Builder
	b.WriteString("Usage: heartbeat-sender COMMAND [flags]\n\n")
	for _, c := range commands() {
		fmt.Fprintf(&b, "  %-9s%s\n", c.name, c.usage)
	}
	b.WriteString("\nFlags, also as " + envPrefix + "NAME in the environment and as keys of the file, there with _ for -:\n\n")
	for _, o := range options() {
		usage := o.usage
		if o.flagOnly {
			usage += "; flag only"
		}
		fmt.Fprintf(&b, "  %-16s%s [%s]\n", strings.TrimSpace("-"+o.name+" "+o.value), usage, strings.ReplaceAll(o.commands, " ", ", "))
	}
	b.WriteString("\nExit codes: 0 delivered, 1 not delivered, 2 usage, 3 configuration, 4 refused by the collector\n")
	return b.String()
}
