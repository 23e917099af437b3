package execd

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/influxdata/telegraf/config"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/cli"
)

// defaultConfig returns the default configuration file.
func defaultConfig() string {
	if runtime.GOOS == "windows" {
		return filepath.Join(cmp.Or(os.Getenv("ProgramData"), `C:\ProgramData`), "telegraf-heartbeat", "heartbeat.conf")
	}
	return "/etc/telegraf-heartbeat/heartbeat.conf"
}

const (
	usageHead = `telegraf-heartbeat runs the heartbeat input for [[inputs.execd]] of Telegraf.

Usage: telegraf-heartbeat [flags]
       telegraf-heartbeat peers [flags]       which peers are dead, and why
       telegraf-heartbeat check-peer [flags]  the same for Nagios and Icinga

`
	usageTail = `
Metrics go to stdout as influx line protocol, messages to stderr.
Strings in FILE can hold ${VAR} and ${VAR:-default}; write $${ for a plain ${.
Without quotes, ${VAR} must be a number, true or false.
Exit codes: 0 stopped as requested, 1 failed, 2 usage, 3 configuration.
`
)

// options are the values of the command line.
type options struct {
	mode     string // the flag that prints something and exits, or ""
	config   string
	explicit bool // -config was given, so its file has to exist
	interval time.Duration
	listen   string
	debug    bool
}

// Flags that print something and exit, and sets of flags that cannot be combined.
var (
	modes    = []string{"check", "print-telegraf-conf", "sample-config", "version"}
	excludes = [][]string{
		append([]string{"listen"}, modes...),
		modes,
		{"listen", "config"},
		{"listen", "interval"},
		{"print-telegraf-conf", "interval"},
	}
)

// Flags returns the flags of the program, in the order of the help.
func Flags() []cli.Flag {
	return []cli.Flag{
		{
			Name: "config", Value: "FILE", Initial: defaultConfig(),
			Usage: "file with [[inputs.heartbeat]] tables; if the default file does not exist, one instance with defaults",
		},
		{
			Name: "interval", Value: "TIME",
			Usage: "gather at this interval, e.g. 10s, and ignore stdin, so that it also runs under systemd " +
				"with stdin on /dev/null; without it, gather for each line on stdin and stop " +
				`at the end of stdin, as with signal = "STDIN"`,
		},
		{
			Name: "listen", Value: "URL",
			Usage: "try it without Telegraf or a configuration, e.g. tcp://:7878: " +
				"print what happens to peers, ignore stdin",
		},
		{Name: "check", Usage: `check the configuration and the files it names, print "ok" and exit`},
		{Name: "print-telegraf-conf", Usage: "print [[inputs.execd]] for telegraf.conf and exit"},
		{Name: "sample-config", Usage: "print the options of [[inputs.heartbeat]] and exit"},
		{Name: "version", Usage: "print the version and exit"},
		{Name: "debug", Usage: "log debug messages"},
		{Name: "help", Usage: "print the flags and exit"},
	}
}

// Help returns the help of flags, in 80 columns.
func Help(flags []cli.Flag) string { return cli.Help(flags, 25, 80) }

func usage() string { return usageHead + Help(Flags()) + usageTail }

// parseFlags parses the command line. It returns cli.ErrHelp for -help.
func parseFlags(args []string) (options, error) {
	opts := options{config: defaultConfig()}
	given, rest, err := cli.Parse(Flags(), args)
	switch {
	case errors.Is(err, cli.ErrHelp):
		return opts, err
	case err == nil && len(rest) > 0:
		err = fmt.Errorf("unexpected argument %.64q", rest[0])
	case err == nil:
		err = opts.set(given)
	}
	if err != nil {
		return opts, fmt.Errorf("%w; see 'telegraf-heartbeat -help'", err)
	}
	return opts, nil
}

// set stores the given values. It refuses flags that contradict each other or have
// no effect.
func (opts *options) set(given cli.Given) error {
	for _, set := range excludes {
		set = slices.DeleteFunc(slices.Clone(set), func(name string) bool { return given[name] == nil })
		if len(set) > 1 {
			return fmt.Errorf("'-%s' and '-%s' cannot be combined", set[0], set[1])
		}
	}
	if file, ok := given.Last("config"); ok {
		opts.config, opts.explicit = file, true
	}
	url, listen := given.Last("listen")
	opts.listen, opts.debug = url, given.Switch("debug")
	switch {
	case opts.config == "":
		return errors.New("'-config' needs a file")
	case listen && url == "":
		return errors.New("'-listen' needs a URL, e.g. tcp://:7878")
	}
	for _, mode := range modes {
		if given.Switch(mode) {
			opts.mode = mode
		}
	}
	if text, ok := given.Last("interval"); ok {
		return opts.setInterval(text)
	}
	return nil
}

// setInterval parses a duration as Telegraf does, so that days are a unit.
func (opts *options) setInterval(text string) error {
	var interval config.Duration
	if err := interval.UnmarshalText([]byte(text)); err != nil {
		return fmt.Errorf(`'-interval' must be a duration like "10s", "90m" or "7d", not %.64q`, text)
	}
	if interval <= 0 {
		return errors.New("'-interval' must be greater than zero")
	}
	opts.interval = time.Duration(interval)
	return nil
}
