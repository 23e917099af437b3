package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/sender"
)

const (
	defaultConfig = "/etc/heartbeat-sender/heartbeat-sender.toml"
	envPrefix     = "HEARTBEAT_"
	timeValue     = "TIME"

	beating   = "run once" // commands that say more than goodbye
	answering = "once leave"
	parting   = "run leave"
	speaking  = "run once leave"
)

// An option can be given as a flag, as HEARTBEAT_NAME in the environment and
// as a key of the file, there with "_" for "-".
type option struct {
	name     string
	value    string // what stands for its value in the help; empty for a switch
	initial  string // its default
	usage    string
	commands string                                // that know it
	flagOnly bool                                  // it is about this one call
	clear    func(s *settings)                     // of a list: it is given as a whole
	set      func(s *settings, value string) error // of a list: adds to it
}

func options() []option {
	return []option{
		{
			name: "server", value: "URL", commands: speaking, clear: clearServers, set: addServer,
			usage: "collector, like tcp://collector.example.com:7878; several all get each beat",
		},
		{
			name: "interval", value: timeValue, initial: "10s", commands: "run", set: setInterval,
			usage: "between two beats",
		},
		{
			name: "every", value: timeValue, commands: "once", flagOnly: true, set: setInterval,
			usage: "when it is called again; without it the collector cannot know",
		},
		{
			name: "splay", value: timeValue, commands: "once", set: setSplay,
			usage: "first wait a random part of it, so that a fleet does not beat in step",
		},
		{
			name: "timeout", value: timeValue, initial: "3s", commands: answering, set: setTimeout,
			usage: "for connecting, sending and the answer together",
		},
		{
			name: "back-in", value: timeValue, commands: parting, set: setBackIn,
			usage: "promise of the goodbye: if not back within it, count me dead",
		},
		{
			name: "host", value: "NAME", commands: speaking, set: setHost,
			usage: "name of the host, if not its own",
		},
		{
			name: "service", value: "NAME", commands: speaking, set: setService,
			usage: "speak for a service of that name, not for the host",
		},
		{
			name: "ip", value: "ADDRESS", commands: speaking, set: setIP,
			usage: "address to tell, if not the local one of the connection",
		},
		{
			name: "status", value: "WORD", initial: wire.StatusAlive, commands: beating, set: setStatus,
			usage: "what to say; any word of your own means alive too",
		},
		{
			name: "tag", value: "KEY=VALUE", commands: speaking, clear: clearTags, set: addTag,
			usage: "label, may be repeated; the collector keeps those in its tag_keys",
		},
		{
			name: "quiet", commands: speaking, set: setQuiet,
			usage: "do not print what was not delivered; wrong settings still are",
		},
		{
			name: "config", value: "FILE", initial: defaultConfig, commands: speaking, flagOnly: true, set: setNothing,
			usage: "settings in TOML",
		},
	}
}

// optionsOf returns what c knows.
func optionsOf(c *command) []option {
	return slices.DeleteFunc(options(), func(o option) bool { return !o.of(c) })
}

func (o *option) of(c *command) bool { return slices.Contains(strings.Fields(o.commands), c.name) }

func (o *option) isList() bool { return o.clear != nil }

func (o *option) isSwitch() bool { return o.value == "" }

// key returns the name of the option in the file.
func (o *option) key() string { return strings.ReplaceAll(o.name, "-", "_") }

// env returns the name of the option in the environment.
func (o *option) env() string { return envPrefix + strings.ToUpper(o.key()) }

func clearServers(s *settings) { s.Servers = nil }

func addServer(s *settings, value string) error {
	s.Servers = append(s.Servers, value)
	return nil
}

func setInterval(s *settings, value string) error {
	return setTime(&s.Interval, value, sender.MinInterval)
}

func setSplay(s *settings, value string) error {
	return setTime(&s.splay, value, 0)
}

func setTimeout(s *settings, value string) error {
	return setTime(&s.timeout, value, time.Millisecond)
}

func setBackIn(s *settings, value string) error {
	return setTime(&s.BackIn, value, 0)
}

// setTime takes up to a month, which is the most that a beat can tell.
func setTime(field *time.Duration, value string, low time.Duration) error {
	const high = sender.MaxInterval
	span, err := time.ParseDuration(value)
	switch {
	case err != nil && strings.Trim(value, "0123456789.") == "":
		return fmt.Errorf("%.64q lacks a unit: write \"%.64ss\"", value, value)
	case err != nil:
		return fmt.Errorf("%.64q is no time: write one like 10s, 5m or 24h", value)
	case span < low || span > high:
		return fmt.Errorf("%.64q is not in %s to %s", value, low, strings.TrimSuffix(high.String(), "0m0s"))
	}
	*field = span
	return nil
}

func setHost(s *settings, value string) (err error) {
	s.Peer.Host, err = properName(value)
	return err
}

func setService(s *settings, value string) error {
	s.Peer.Service = value
	return nil
}

func setIP(s *settings, value string) (err error) {
	if s.Peer.IP, err = netip.ParseAddr(value); err != nil || s.Peer.IP.Zone() != "" {
		return fmt.Errorf("%.64q is no IP address", value)
	}
	return nil
}

func setStatus(s *settings, value string) error {
	if strings.EqualFold(value, wire.StatusLeaving) {
		return fmt.Errorf("%q is what the command leave says", value)
	}
	s.Peer.Status = value
	return nil
}

func clearTags(s *settings) { s.Peer.Tags = nil }

func addTag(s *settings, value string) error {
	key, text, ok := strings.Cut(value, "=")
	if !ok {
		return fmt.Errorf("%.64q is not KEY=VALUE", value)
	}
	s.Peer.Tags = append(s.Peer.Tags, wire.Label{Key: key, Value: text})
	return nil
}

func setQuiet(s *settings, value string) (err error) {
	if s.quiet, err = strconv.ParseBool(value); err != nil {
		return fmt.Errorf("%.64q is neither true nor false", value)
	}
	return nil
}

// setNothing is for what has been heeded already: the file is read before the
// flags are applied.
func setNothing(*settings, string) error { return nil }
