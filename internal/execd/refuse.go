package execd

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/plugins/inputs"
)

// execdOptions are options that Telegraf, not the plugin, knows for an input
// or for [[inputs.execd]]. Here they would have no effect.
var execdOptions = []string{
	"always_include_local_tags", "buffer_size", "collection_jitter", "collection_offset", "command",
	"data_format", "drop", "environment", "fielddrop", "fieldexclude", "fieldinclude", "fieldpass",
	"labels", "metricpass", "name_override", "name_prefix", "name_suffix", "namedrop",
	"namedrop_separator", "namepass", "namepass_separator", "pass", "precision", "restart_delay",
	"signal", "startup_error_behavior", "stop_on_error", "tagdrop", "tagexclude", "taginclude",
	"tagpass", "time_source",
}

// knownOptions returns everything that may stand in [[inputs.heartbeat]].
func knownOptions(plugin telegraf.Input) []string {
	return append(optionNames(plugin, nil), optionNames(general{}, nil)...)
}

// isKnown tells whether all parts of a key are written as they should be.
func isKnown(key toml.Key, plugin telegraf.Input) bool {
	for i, name := range key {
		candidates := [][]string{{"inputs"}, {"heartbeat"}, knownOptions(plugin)}[min(i, 2)]
		if i > 2 {
			candidates = optionNames(plugin, key[2:i])
		}
		if len(candidates) == 0 {
			return true // the names in it are free
		}
		if !slices.Contains(candidates, name) {
			return false
		}
	}
	return true
}

// unknownKey says why a key has no place in the configuration and, if it can,
// which place it has or what was meant.
func unknownKey(key toml.Key, plugin telegraf.Input) error {
	if len(key) < 3 || key[0] != "inputs" || key[1] != "heartbeat" {
		return strangeKey(key, plugin)
	}
	name, candidates := key[2], knownOptions(plugin)
	if slices.Contains(execdOptions, name) {
		return fmt.Errorf("option '%s' belongs in [[inputs.execd]] of Telegraf's configuration", name)
	}
	for i := 3; i < len(key) && slices.Contains(candidates, name); i++ {
		name, candidates = key[i], optionNames(plugin, key[2:i])
	}
	if meant := nearest(name, candidates); meant != "" {
		return fmt.Errorf("option '%s' does not exist; did you mean '%s'?", cut(name, 64), meant)
	}
	return fmt.Errorf("option '%s' does not exist", cut(name, 64))
}

// strangeKey speaks of keys outside of [[inputs.heartbeat]].
func strangeKey(key toml.Key, plugin telegraf.Input) error {
	name := key.String()
	if len(key) == 1 && slices.Contains(knownOptions(plugin), name) {
		return fmt.Errorf("option '%s' must be below %s", name, tableHeader)
	}
	return fmt.Errorf("'%s' belongs in Telegraf's own configuration; this file holds only %s tables", cut(name, 64), tableHeader)
}

// locate finds the statement at which text stops to be right, because the
// decoder knows only the last place of a key, which several tables may hold.
// Its answer is the error of that statement.
func (f *configFile) locate(text string, create inputs.Creator, err error) error {
	all := statements(text)
	wrong := func(n int) error {
		_, err := decode(text[:all[n].end], create)
		return err
	}
	n := sort.Search(len(all), func(n int) bool { return wrong(n) != nil })
	written := statements(f.source)
	if n == len(all) || len(written) != len(all) {
		return err
	}
	return &lineError{written[n].line, inStatement(written[n], wrong(n))}
}

var (
	decoderPrefix = regexp.MustCompile(`^toml: (line \d+ )?(\(last key "[^"]*"\): )?`)
	secretName    = regexp.MustCompile(`(?i)key|secret|pwd|password|token`)
)

// inStatement names the option and the value that the decoder refused. The
// value stays unsaid where it may be a secret: messages end up in logs.
func inStatement(s statement, err error) error {
	var syntax toml.ParseError
	text := err.Error()
	switch {
	case errors.As(err, &syntax):
		text = plain(syntax.Message)
	case decoderPrefix.MatchString(text):
		text = plain(decoderPrefix.ReplaceAllString(text, ""))
	default:
		return err // ours, and it says everything
	}
	if s.header() == "[inputs.heartbeat]" {
		return fmt.Errorf("table %s needs two brackets: %s", s.name, tableHeader)
	}
	if s.value == "" || secretName.MatchString(s.under+s.name) {
		return fmt.Errorf("option '%s' is refused: %s", cut(s.name, 64), text)
	}
	return fmt.Errorf("option '%s' with value %s is refused: %s", cut(s.name, 64), cut(s.value, 64), text)
}

var wrongType = regexp.MustCompile(`^incompatible types: TOML value has type (\w+); destination has type (\w+)`)

// plain says in plain words what the decoder says of a value.
func plain(text string) string {
	if strings.HasPrefix(text, "time: ") {
		return `it must be a duration like "5s", "90m" or "7d"`
	}
	types := wrongType.FindStringSubmatch(text)
	if types == nil {
		return text
	}
	names := map[string]string{
		"int64": "an integer", "integer": "an integer", "float64": "a float", "float": "a float", "bool": "a boolean", "boolean": "a boolean",
		"string": "a string", "slice": "an array", "map": "a table", "time": "a date",
	}
	is, wanted := cmp.Or(names[types[1]], types[1]), cmp.Or(names[types[2]], types[2])
	switch {
	case wanted == "an array":
		return "it must be an array, in brackets"
	case is == "a string":
		return "it must be " + wanted + ", without quotes"
	}
	return "it must be " + wanted + ", not " + is
}

// explain puts the name of the file, and the line where it is known, in front
// of an error.
func (f *configFile) explain(err error) error {
	var (
		inLine *lineError
		syntax toml.ParseError
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &inLine):
		return fmt.Errorf("%s:%d: %w", f.path, inLine.line, inLine.err)
	case errors.As(err, &syntax):
		text := syntax.Message
		if syntax.LastKey != "" {
			text += fmt.Sprintf(" (last key read: '%s')", cut(strings.TrimPrefix(syntax.LastKey, "inputs.heartbeat."), 64))
		}
		return fmt.Errorf("%s:%d: %s", f.path, max(syntax.Position.Line, 1), text) // at its end, the decoder counts one line less
	default:
		return fmt.Errorf("%s: %w", f.path, err)
	}
}
