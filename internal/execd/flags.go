package execd

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"time"
)

const defaultConfig = "/etc/telegraf-heartbeat/heartbeat.conf"

const usage = `telegraf-heartbeat runs the heartbeat input for [[inputs.execd]] of Telegraf.

Usage: telegraf-heartbeat [flags]
       telegraf-heartbeat peers [flags]   who is dead or alive, since when, why

  -config FILE           [[inputs.heartbeat]] tables
                         (default ` + defaultConfig + `;
                         without that file one instance with defaults)
  -interval 10s          gather on its own and ignore stdin, so that it also
                         runs under systemd with stdin on /dev/null; without it
                         each line on stdin gathers and the end of stdin is the
                         end of the run (signal = "STDIN")
  -listen URL            a try without Telegraf and configuration, e.g.
                         tcp://:7878: prints what happens to peers, ignores
                         stdin
  -check                 check the configuration, print "ok", exit
  -print-telegraf-conf   print the [[inputs.execd]] table for telegraf.conf, exit
  -sample-config         print the options of [[inputs.heartbeat]], exit
  -version               print the version, exit
  -debug                 log debug messages
  -help                  print this, exit

Metrics go to stdout as influx line protocol, messages to stderr.
Strings in FILE may hold ${VAR} and ${VAR:-default}; $${ stands for a plain ${.
Exit codes: 0 ended as asked, 1 failed, 2 usage, 3 configuration.
`

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

// parseFlags reads the command line. It returns flag.ErrHelp for -help.
func parseFlags(args []string) (options, error) {
	var opts options
	flags := flag.NewFlagSet("telegraf-heartbeat", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the caller prints the error, once
	flags.StringVar(&opts.config, "config", defaultConfig, "")
	flags.DurationVar(&opts.interval, "interval", 0, "")
	flags.StringVar(&opts.listen, "listen", "", "")
	flags.BoolVar(&opts.debug, "debug", false, "")
	asked := make(map[string]*bool, len(modes))
	for _, mode := range modes {
		asked[mode] = flags.Bool(mode, false, "")
	}
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
		return errors.New("'-interval' has to be greater than zero")
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
