package execd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/config"
	"github.com/influxdata/telegraf/plugins/inputs"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/cli"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/regular"
)

const tableHeader = "[[inputs.heartbeat]]"

// A table is one [[inputs.heartbeat]] of the configuration.
type table struct {
	general
	plugin telegraf.Input
}

// general has the options of Telegraf that this program itself handles for each
// table. All others belong in [[inputs.execd]].
type general struct {
	Alias    string            `toml:"alias"`
	LogLevel logLevel          `toml:"log_level"`
	Interval interval          `toml:"interval"`
	Tags     map[string]string `toml:"tags"`
}

// A logLevel is one of Telegraf's level names.
type logLevel telegraf.LogLevel

// UnmarshalText accepts only the name of a level.
func (l *logLevel) UnmarshalText(text []byte) error {
	level := telegraf.LogLevelFromString(string(text))
	if level == telegraf.None {
		return errors.New(`must be "error", "warn", "info", "debug" or "trace"`)
	}
	*l = logLevel(level)
	return nil
}

// An interval is a duration greater than zero.
type interval time.Duration

// UnmarshalText parses a duration as Telegraf does.
func (i *interval) UnmarshalText(text []byte) error {
	var d config.Duration
	if err := d.UnmarshalText(text); err != nil {
		return err
	}
	if d <= 0 {
		return errors.New("must be greater than zero")
	}
	*i = interval(d)
	return nil
}

// A configFile is a configuration, from a file or by default.
type configFile struct {
	cli.File // without a name if there is no file
	tables   []table
}

const (
	configLimit   = 10 * time.Second // to read the file: its mount may hang
	maxConfigFile = 16 << 20         // bytes
)

func readConfig(path string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), configLimit)
	defer cancel()
	content, err := (&regular.Reader{Name: path, Limit: maxConfigFile}).Read(ctx)
	return string(content.Text), err
}

// loadConfig reads the tables of a file. If the file does not exist and was not given by
// a flag, there is one table with the defaults. Each error is one line that names its
// place in the file.
func loadConfig(opts options, create inputs.Creator) (*configFile, error) {
	source, err := readConfig(opts.config)
	if errors.Is(err, fs.ErrNotExist) && !opts.explicit {
		return &configFile{tables: []table{{plugin: create()}}}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	file := &configFile{File: cli.File{Name: opts.config, Text: source}}
	return file, file.Explain(file.load(create))
}

// load reads the tables.
func (f *configFile) load(create inputs.Creator) error {
	if err := refuseSecretStores(f.Text); err != nil {
		return err
	}
	text, err := cli.Expand(f.Text, os.LookupEnv)
	if err != nil {
		return err
	}
	wrong, err := f.Decode(text, func(text string) (err error) {
		f.tables, err = decode(text, create)
		return err
	})
	switch {
	case wrong != nil:
		return &cli.LineError{Line: wrong.Line, Err: inStatement(*wrong, err)}
	case err != nil:
		return err
	}
	return checkSeries(f.tables)
}

var secretReference = regexp.MustCompile(`@\{\w+:\w+\}`)

// refuseSecretStores refuses references to secret stores, which exist only in
// Telegraf.
func refuseSecretStores(text string) error {
	for _, s := range cli.Statements(text) {
		if reference := secretReference.FindString(s.Value); reference != "" {
			return &cli.LineError{Line: s.Line, Err: fmt.Errorf(
				"secret stores are not available here, %.64q cannot be resolved; use ${VARIABLE} or a file", reference)}
		}
	}
	return nil
}

// decode reads all tables of a TOML text with expanded variables. It refuses
// unknown keys.
func decode(text string, create inputs.Creator) ([]table, error) {
	var content struct {
		Inputs struct {
			Heartbeat []toml.Primitive `toml:"heartbeat"`
		} `toml:"inputs"`
	}
	meta, err := toml.Decode(text, &content)
	if err != nil {
		return nil, err
	}
	tables := make([]table, 0, len(content.Inputs.Heartbeat))
	for _, primitive := range content.Inputs.Heartbeat {
		t := table{plugin: create()}
		if err := decodeTable(&meta, primitive, &t); err != nil {
			return nil, err
		}
		tables = append(tables, t)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return nil, unknownKey(unknown[0], create())
	}
	// The decoder also accepts Dead_After for dead_after. If a table has both, it picks one
	// at random.
	for _, key := range meta.Keys() {
		if len(tables) > 0 && !isKnown(key, tables[0].plugin) {
			return nil, unknownKey(key, tables[0].plugin)
		}
	}
	return tables, nil
}

func decodeTable(meta *toml.MetaData, primitive toml.Primitive, t *table) error {
	if err := meta.PrimitiveDecode(primitive, t.plugin); err != nil {
		return err
	}
	if err := meta.PrimitiveDecode(primitive, &t.general); err != nil {
		return err
	}
	return checkTags(*t)
}

// checkTags refuses a tag with the name of an option: in TOML, everything below
// [inputs.heartbeat.tags] belongs to it, also an option of the table itself.
func checkTags(t table) error {
	options := knownOptions(t.plugin)
	for _, name := range slices.Sorted(maps.Keys(t.Tags)) {
		if slices.Contains(options, name) {
			return fmt.Errorf("option '%s' is inside 'tags'; move it above them", name)
		}
		if t.Tags[name] == "" {
			return fmt.Errorf("tag '%.64s' is empty, which no database keeps", name)
		}
	}
	return nil
}

// checkSeries refuses tables that would write into the same series. Only tags
// distinguish series; an alias only distinguishes log lines.
func checkSeries(tables []table) error {
	if len(tables) == 0 {
		return fmt.Errorf("no %s table found", tableHeader)
	}
	for i, t := range tables {
		for j, other := range tables[:i] {
			if maps.Equal(t.Tags, other.Tags) {
				return fmt.Errorf("the %s tables number %d and %d would write the same series: each needs 'tags' of its own (an 'alias' is not a tag)",
					tableHeader, j+1, i+1)
			}
		}
	}
	return nil
}

// initError returns the error of a plugin with the table, and with the line of the
// option that it names.
func (f *configFile) initError(n int, err error) error {
	lines := cli.Table(f.Text, tableHeader, n)
	if len(lines) == 0 {
		return err
	}
	text := err.Error()
	lines = ofTable(lines, text)
	line := lines[0].Line
	for _, s := range lines {
		if strings.Contains(text, "'"+s.Name+"'") || isEntry(s, text) {
			line = s.Line
			break
		}
	}
	return f.Explain(&cli.LineError{Line: line, Err: err})
}

var (
	numbered = regexp.MustCompile(`(\d+) of (\[\[[a-z_.]+\]\])`)
	only     = regexp.MustCompile(`^()(\[[a-z_.]+\]): `)
)

// ofTable returns the statements that text is about: all, or the statements of "2 of
// [[inputs.heartbeat.rule]]", or of "[inputs.heartbeat.cluster]: ...".
func ofTable(lines []cli.Statement, text string) []cli.Statement {
	names := numbered.FindStringSubmatch(text)
	if names == nil {
		names = only.FindStringSubmatch(text)
	}
	if names == nil {
		return lines
	}
	n, _ := strconv.Atoi(names[1]) //nolint:errcheck // it is a number, or there is one such table
	for i, s := range lines {
		if s.Header() != names[2] {
			continue
		}
		if n--; n > 0 {
			continue
		}
		end := slices.IndexFunc(lines[i+1:], func(s cli.Statement) bool { return s.Header() != "" })
		if end < 0 {
			return lines[i:]
		}
		return lines[i : i+1+end]
	}
	return lines // written in one line
}

// isEntry reports whether text names the quoted key of s, and the option to which
// its table belongs.
func isEntry(s cli.Statement, text string) bool {
	key := strings.Trim(s.Name, `"'`)
	option := s.Under[strings.LastIndex(s.Under, ".")+1:]
	return s.Under != "" && strings.Contains(text, strconv.Quote(key)) && strings.Contains(text, "'"+strings.TrimRight(option, "]")+"'")
}
