// Package execd runs the heartbeat input as an external program of Telegraf's
// [[inputs.execd]], in place of Telegraf's own shim for such programs.
//
// It reads the configuration, gives the plugin an accumulator and a logger, and
// stops it in an orderly way. It knows nothing about heartbeats: the plugin comes
// from Telegraf's registry of inputs, where it has registered itself.
package execd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/models"
	"github.com/influxdata/telegraf/plugins/inputs"
	"github.com/influxdata/telegraf/plugins/serializers/influx"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/cli"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// Run runs the program; args are its arguments without its name. It returns nil
// when ctx ends, stdin ends (if it reads stdin) or stdout is closed. It returns an
// error if it cannot start, cannot continue, or cannot stop in time. The error is
// one line; cli.ExitCode returns its exit code.
//
// One goroutine may outlast Run: only the end of stdin, or of the process, can end
// the reading of stdin.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	opts, err := parseFlags(args)
	if errors.Is(err, cli.ErrHelp) {
		_, err := io.WriteString(stdout, usage())
		return Failure(cli.ExitFailed, err)
	}
	if err != nil {
		return Failure(cli.ExitUsage, err)
	}
	create, ok := inputs.Inputs["heartbeat"]
	if !ok {
		return Failure(cli.ExitFailed, errors.New("plugin 'heartbeat' is not part of this program"))
	}
	switch opts.mode {
	case "version":
		_, err := fmt.Fprintln(stdout, cli.Version("telegraf-heartbeat", "github.com/influxdata/telegraf"))
		return Failure(cli.ExitFailed, err)
	case "sample-config":
		_, err := io.WriteString(stdout, create().SampleConfig())
		return Failure(cli.ExitFailed, err)
	case "print-telegraf-conf":
		return Failure(cli.ExitFailed, printTelegrafConf(stdout, opts))
	default:
		r := &runner{opts: opts, stdin: stdin, stdout: stdout, sink: &logSink{w: stderr}}
		if err = r.run(ctx, create); err != nil && opts.listen != "" {
			return listenError{err}
		}
		return err
	}
}

// Plugins returns the plugins of a configuration file, without running them. An
// empty path is the default path.
func Plugins(config string) ([]telegraf.Input, error) {
	opts := options{config: cmp.Or(config, defaultConfig()), explicit: config != ""}
	file, err := loadConfig(opts, inputs.Inputs["heartbeat"])
	if err != nil {
		return nil, Failure(cli.ExitConfig, err)
	}
	plugins := make([]telegraf.Input, 0, len(file.tables))
	for _, t := range file.tables {
		plugins = append(plugins, t.plugin)
	}
	return plugins, nil
}

// Failure gives err its exit code and makes its text one line. It returns nil if
// err is nil.
func Failure(code int, err error) error {
	if err == nil {
		return nil
	}
	return cli.Exit(code, message{err})
}

// A message is an error in one line, because [[inputs.execd]] logs each line on
// stderr separately.
type message struct{ err error }

func (m message) Error() string {
	return wire.Line(strings.TrimRight(m.err.Error(), "\r\n"), cli.MaxMessage)
}
func (m message) Unwrap() error { return m.err }

// printTelegrafConf prints the table that makes Telegraf run this program with the
// same flags.
func printTelegrafConf(w io.Writer, opts options) error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("cannot find this program: %w", err)
	}
	command := []string{cli.Quote(program)}
	if opts.explicit {
		file, err := filepath.Abs(opts.config)
		if err != nil {
			return fmt.Errorf("cannot find the configuration: %w", err)
		}
		command = append(command, `"-config"`, cli.Quote(file))
	}
	if opts.debug {
		command = append(command, `"-debug"`)
	}
	_, err = fmt.Fprintf(w, `[[inputs.execd]]
  command = [%s]
  signal = "STDIN"
  restart_delay = "1s"
  data_format = "influx"
`, strings.Join(command, ", "))
	return err
}

// A runner is one run of the program.
type runner struct {
	opts   options
	stdin  io.Reader
	stdout io.Writer
	sink   *logSink
	file   *configFile
}

func (r *runner) run(ctx context.Context, create inputs.Creator) error {
	captureLogs(r.sink, r.level(general{}))
	if err := r.load(create); err != nil {
		return Failure(cli.ExitConfig, err)
	}
	wrong := r.prepare()
	for _, note := range r.file.unitless() {
		r.logger(general{}).Warn(note)
	}
	if len(wrong) > 0 {
		last := len(wrong) - 1 // Run returns this one
		for _, err := range wrong[:last] {
			r.sink.print(telegraf.Error, "telegraf-heartbeat: ", Failure(cli.ExitConfig, err).Error())
		}
		return Failure(cli.ExitConfig, wrong[last])
	}
	if r.opts.mode == "check" {
		_, err := fmt.Fprintln(r.stdout, "ok:", r.summary())
		return Failure(cli.ExitFailed, err)
	}
	return Failure(cli.ExitFailed, r.serve(ctx))
}

// load reads the configuration.
func (r *runner) load(create inputs.Creator) (err error) {
	if r.opts.listen != "" {
		r.file, err = listenConfig(r.opts.listen, create)
	} else {
		r.file, err = loadConfig(r.opts, create)
	}
	return err
}

// A checker is a plugin that can check the files that it reads when it starts.
type checker interface{ Check() []error }

// prepare initializes all plugins and returns their errors. With -check, it also
// checks their files.
func (r *runner) prepare() []error {
	var wrong []error
	for n, t := range r.file.tables {
		models.SetLoggerOnPlugin(t.plugin, r.logger(t.general))
		if plugin, ok := t.plugin.(telegraf.Initializer); ok {
			if err := plugin.Init(); err != nil {
				wrong = append(wrong, r.file.initError(n, err))
				continue
			}
		}
		if plugin, ok := t.plugin.(checker); ok && r.opts.mode == "check" {
			for _, err := range plugin.Check() {
				wrong = append(wrong, r.file.initError(n, err))
			}
		}
	}
	return wrong
}

func (r *runner) level(g general) telegraf.LogLevel {
	level := telegraf.Info
	if g.LogLevel != 0 {
		level = telegraf.LogLevel(g.LogLevel)
	}
	if r.opts.debug {
		level = max(level, telegraf.Debug)
	}
	return level
}

func (r *runner) logger(g general) *logger {
	return newLogger(r.sink, g.Alias, r.level(g))
}

// summary describes the instances that will run.
func (r *runner) summary() string {
	switch {
	case r.file.Name == "":
		return "no configuration file, one instance with defaults"
	case len(r.file.tables) == 1:
		return "one instance in " + r.file.Name
	default:
		return fmt.Sprintf("%d instances in %s", len(r.file.tables), r.file.Name)
	}
}

// gatherInterval returns the interval at which a table gathers without prompts; 0 means
// never.
func (r *runner) gatherInterval(t table) time.Duration {
	if r.opts.interval > 0 && t.Interval > 0 {
		return time.Duration(t.Interval)
	}
	return r.opts.interval
}

// encoder returns the function that turns metrics into output.
func (r *runner) encoder() (func(telegraf.Metric) ([]byte, error), error) {
	if r.opts.listen != "" {
		return encodeEvent, nil
	}
	serializer := &influx.Serializer{}
	return serializer.Serialize, serializer.Init()
}
