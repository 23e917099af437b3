package execd

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"time"
)

const defaultConfig = "/etc/telegraf-heartbeat/heartbeat.conf"

const (
	usageHead = `telegraf-heartbeat runs the heartbeat input for [[inputs.execd]] of Telegraf.

Usage: telegraf-heartbeat [flags]
       telegraf-heartbeat peers [flags]   who is dead or alive, since when, why

`
	usageTail = `
Metrics go to stdout as influx line protocol, messages to stderr.
Strings in FILE may hold ${VAR} and ${VAR:-default}; $${ stands for a plain ${.
Without quotes ${VAR} stands for a number, true or false.
Exit codes: 0 ended as asked, 1 failed, 2 usage, 3 configuration.
`
)

// options is what the command line asks for.
type options struct {
	mode     string // the flag that prints something and exits, or ""
	config   string
	explicit bool // -config was given, so its file has to exist
	interval time.Duration
	listen   string
	debug    bool
}

// Flags that print something and exit, and sets of flags of which only one may
// be given.
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

// flags returns all there are, in the order of the help; asked is where modes
// go.
func (opts *options) flags(asked map[string]*bool) []Flag {
	return []Flag{
		{
			Name: "config", Value: "FILE", Initial: defaultConfig, To: &opts.config,
			Usage: "[[inputs.heartbeat]] tables; without the default file one instance with defaults",
		},
		{
			Name: "interval", Value: "TIME", To: &opts.interval,
			Usage: "gather on its own, e.g. every 10s, and ignore stdin, so that it also runs under systemd " +
				"with stdin on /dev/null; without it each line on stdin gathers and the end of " +
				`stdin is the end of the run, signal = "STDIN"`,
		},
		{
			Name: "listen", Value: "URL", To: &opts.listen,
			Usage: "a try without Telegraf and configuration, e.g. tcp://:7878: " +
				"prints what happens to peers, ignores stdin",
		},
		{Name: "check", To: asked["check"], Usage: `check the configuration and the files it names, print "ok", exit`},
		{
			Name: "print-telegraf-conf", To: asked["print-telegraf-conf"],
			Usage: "print [[inputs.execd]] for telegraf.conf, exit",
		},
		{Name: "sample-config", To: asked["sample-config"], Usage: "print the options of [[inputs.heartbeat]], exit"},
		{Name: "version", To: asked["version"], Usage: "print the version, exit"},
		{Name: "debug", To: &opts.debug, Usage: "log debug messages"},
		{Name: "help", Usage: "print the flags, exit"},
	}
}

// Flags returns those of the program, for its manual.
func Flags() []Flag { return new(options).flags(nil) }

func usage() string { return usageHead + FlagHelp(Flags()) + usageTail }

// parseFlags reads the command line. It returns flag.ErrHelp for -help.
func parseFlags(args []string) (options, error) {
	var opts options
	asked := make(map[string]*bool, len(modes))
	for _, mode := range modes {
		asked[mode] = new(bool)
	}
	flags := FlagSet("telegraf-heartbeat", opts.flags(asked))
	if err := flags.Parse(args); err != nil {
		return options{}, withHelp(err)
	}
	if flags.NArg() > 0 {
		return options{}, withHelp(fmt.Errorf("argument %q is not expected", cut(flags.Arg(0), 64)))
	}
	given := make(map[string]bool)
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	opts.explicit = given["config"]
	for _, mode := range modes {
		if *asked[mode] {
			opts.mode = mode
		}
	}
	return opts, withHelp(checkFlags(opts, given))
}

// checkFlags refuses flags that contradict each other or have no meaning.
func checkFlags(opts options, given map[string]bool) error {
	for _, set := range excludes {
		set = slices.DeleteFunc(slices.Clone(set), func(name string) bool { return !given[name] })
		if len(set) > 1 {
			return fmt.Errorf("'-%s' and '-%s' exclude each other", set[0], set[1])
		}
	}
	if given["interval"] && opts.interval <= 0 {
		return errors.New("'-interval' must be greater than zero")
	}
	if given["listen"] && opts.listen == "" {
		return errors.New("'-listen' needs a URL, e.g. tcp://:7878")
	}
	if given["config"] && opts.config == "" {
		return errors.New("'-config' needs a file")
	}
	return nil
}

func withHelp(err error) error {
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return err
	}
	return fmt.Errorf("%w; see 'telegraf-heartbeat -help'", err)
}
