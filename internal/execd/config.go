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

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/regular"
)

const tableHeader = "[[inputs.heartbeat]]"

// A table is one [[inputs.heartbeat]] of the configuration.
type table struct {
	general
	plugin telegraf.Input
}

// general holds the options of Telegraf that this program honours itself,
// table by table. All others belong in [[inputs.execd]].
type general struct {
	Alias    string            `toml:"alias"`
	LogLevel logLevel          `toml:"log_level"`
	Interval interval          `toml:"interval"`
	Tags     map[string]string `toml:"tags"`
}

// A logLevel is one of Telegraf's level names.
type logLevel telegraf.LogLevel

// UnmarshalText refuses what is no level.
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

// UnmarshalText reads what Telegraf reads as a duration.
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

// A configFile is a file, or its absence, and the tables in it.
type configFile struct {
	path   string // "" if there is none
	source string // as written, for messages
	tables []table
}

const (
	configLimit   = 10 * time.Second // to read the file: its mount may hang
	maxConfigFile = 16 << 20         // bytes
)

// readConfig returns what is in a file, without the byte order mark that editors
// of Windows put before it.
func readConfig(path string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), configLimit)
	defer cancel()
	content, err := (&regular.Reader{Name: path, Limit: maxConfigFile}).Read(ctx)
	return strings.TrimPrefix(string(content.Text), "\ufeff"), err
}

// loadConfig reads the tables of a file. If the file does not exist and was
// not asked for, there is one table with the defaults. Errors are one line and
// say where.
func loadConfig(opts options, create inputs.Creator) (*configFile, error) {
	source, err := readConfig(opts.config)
	if errors.Is(err, fs.ErrNotExist) && !opts.explicit {
		return &configFile{tables: []table{{plugin: create()}}}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	file := &configFile{path: opts.config, source: source}
	text, err := expand(file.source, os.LookupEnv)
	if err != nil {
		return nil, file.explain(err)
	}
	if err := toml.Unmarshal([]byte(text), &map[string]any{}); err != nil {
		return nil, file.explain(err)
	}
	if file.tables, err = decode(text, create); err != nil {
		return nil, file.explain(file.locate(text, create, err))
	}
	return file, file.explain(tellApart(file.tables))
}

// decode reads all tables of a TOML text, whose variables are expanded. Every
// key has to have a meaning.
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
	// The decoder takes Dead_After for dead_after, and of both one at random.
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

// checkTags refuses a tag with the name of an option: in TOML everything below
// [inputs.heartbeat.tags] belongs to it, also what was meant for the table.
func checkTags(t table) error {
	options := knownOptions(t.plugin)
	for _, name := range slices.Sorted(maps.Keys(t.Tags)) {
		if slices.Contains(options, name) {
			return fmt.Errorf("option '%s' is inside 'tags'; move it above them", name)
		}
		if t.Tags[name] == "" {
			return fmt.Errorf("tag '%s' is empty, which no database keeps", cut(name, 64))
		}
	}
	return nil
}

// tellApart refuses tables that would write into the same series. Only tags
// tell series apart; an alias only tells log lines apart.
func tellApart(tables []table) error {
	if len(tables) == 0 {
		return fmt.Errorf("no %s table found", tableHeader)
	}
	for i, t := range tables {
		for j, other := range tables[:i] {
			if maps.Equal(t.Tags, other.Tags) {
				return fmt.Errorf("the %s tables number %d and %d would write the same series: each needs 'tags' of its own (an 'alias' is no tag)",
					tableHeader, j+1, i+1)
			}
		}
	}
	return nil
}

// tableOf returns the statements of table number n, counted from 0, beginning
// with its header. It is empty if there is none.
func (f *configFile) tableOf(n int) []statement {
	all := statements(f.source)
	begin := len(all)
	for i, s := range all {
		if s.header() != tableHeader {
			continue
		}
		if n--; n == -1 {
			begin = i
		} else if n == -2 {
			return all[begin:i]
		}
	}
	return all[begin:]
}

// initError says which table of the file a plugin refused, and where the option
// stands that it named.
func (f *configFile) initError(n int, err error) error {
	lines := f.tableOf(n)
	if len(lines) == 0 {
		return err
	}
	text := err.Error()
	lines = ofTable(lines, text)
	line := lines[0].line
	for _, s := range lines {
		if strings.Contains(text, "'"+s.name+"'") || s.isEntry(text) {
			line = s.line
			break
		}
	}
	return f.explain(&lineError{line, err})
}

var numbered = regexp.MustCompile(`(\d+) of (\[\[[a-z_.]+\]\])`)

// ofTable returns those of lines that text is about: all, or those of "2 of
// [[inputs.heartbeat.rule]]".
func ofTable(lines []statement, text string) []statement {
	names := numbered.FindStringSubmatch(text)
	if names == nil {
		return lines
	}
	n, _ := strconv.Atoi(names[1]) //nolint:errcheck // it is a number
	for i, s := range lines {
		if s.header() != names[2] {
			continue
		}
		if n--; n > 0 {
			continue
		}
		end := slices.IndexFunc(lines[i+1:], func(s statement) bool { return s.header() != "" })
		if end < 0 {
			return lines[i:]
		}
		return lines[i : i+1+end]
	}
	return lines // written in one line
}

// isEntry reports whether text names s by its quoted key, and the option to which
// its table belongs.
func (s statement) isEntry(text string) bool {
	key := strings.Trim(s.name, `"'`)
	option := s.under[strings.LastIndex(s.under, ".")+1:]
	return s.under != "" && strings.Contains(text, strconv.Quote(key)) && strings.Contains(text, "'"+strings.TrimRight(option, "]")+"'")
}
