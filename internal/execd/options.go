package execd

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/config"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/cli"
)

// execdOptions are options that Telegraf itself handles for an input or for
// [[inputs.execd]]. Here they would have no effect.
var execdOptions = []string{
	"always_include_local_tags", "buffer_size", "collection_jitter", "collection_offset", "command",
	"data_format", "drop", "environment", "fielddrop", "fieldexclude", "fieldinclude", "fieldpass",
	"labels", "metricpass", "name_override", "name_prefix", "name_suffix", "namedrop",
	"namedrop_separator", "namepass", "namepass_separator", "pass", "precision", "restart_delay",
	"signal", "startup_error_behavior", "stop_on_error", "tagdrop", "tagexclude", "taginclude",
	"tagpass", "time_source",
}

// knownOptions returns all options of [[inputs.heartbeat]].
func knownOptions(plugin telegraf.Input) []string {
	return append(optionNames(plugin, nil), optionNames(general{}, nil)...)
}

// isKnown reports whether all parts of a key are known and spelt correctly.
func isKnown(key toml.Key, plugin telegraf.Input) bool {
	for i, name := range key {
		candidates := [][]string{{"inputs"}, {"heartbeat"}, knownOptions(plugin)}[min(i, 2)]
		if i > 2 {
			candidates = optionNames(plugin, key[2:i])
		}
		if len(candidates) == 0 {
			return true // any name is allowed in it
		}
		if !slices.Contains(candidates, name) {
			return false
		}
	}
	return true
}

// unknownKey returns an error for a key that does not belong here. If possible, the error
// names the place where the key belongs, or the key that was meant.
func unknownKey(key toml.Key, plugin telegraf.Input) error {
	if len(key) < 3 || key[0] != "inputs" || key[1] != "heartbeat" {
		return outsideKey(key, plugin)
	}
	name, candidates := key[2], knownOptions(plugin)
	if slices.Contains(execdOptions, name) {
		return fmt.Errorf("option '%s' belongs in [[inputs.execd]] of Telegraf's configuration", name)
	}
	for i := 3; i < len(key) && slices.Contains(candidates, name); i++ {
		name, candidates = key[i], optionNames(plugin, key[2:i])
	}
	candidates = slices.DeleteFunc(candidates, func(candidate string) bool {
		return slices.ContainsFunc(fieldsOf(reflect.TypeOf(plugin)), func(f option) bool { return f.former && f.name == candidate })
	})
	if meant := cli.Nearest(name, candidates); meant != "" {
		return fmt.Errorf("option '%.64s' does not exist; did you mean '%s'?", name, meant)
	}
	return fmt.Errorf("option '%.64s' does not exist", name)
}

// outsideKey returns the error for a key outside of [[inputs.heartbeat]].
func outsideKey(key toml.Key, plugin telegraf.Input) error {
	name := key.String()
	if len(key) == 1 && slices.Contains(knownOptions(plugin), name) {
		return fmt.Errorf("option '%s' must be below %s", name, tableHeader)
	}
	return fmt.Errorf("'%.64s' belongs in Telegraf's own configuration; this file may contain only %s tables", name, tableHeader)
}

var (
	decoderPrefix = regexp.MustCompile(`^toml: (line \d+ )?(\(last key "[^"]*"\): )?`)
	secretName    = regexp.MustCompile(`(?i)key|secret|pwd|password|token`)
)

// inStatement names the option and the value that the decoder refused. It omits a
// value that may be a secret: messages end up in logs.
func inStatement(s cli.Statement, err error) error {
	var syntax toml.ParseError
	text := err.Error()
	switch {
	case errors.As(err, &syntax):
		text = explainValue(syntax.Message)
	case decoderPrefix.MatchString(text):
		text = explainValue(decoderPrefix.ReplaceAllString(text, ""))
	default:
		return err // our own error is complete
	}
	if s.Header() == "[inputs.heartbeat]" {
		return fmt.Errorf("table %s needs two brackets: %s", s.Name, tableHeader)
	}
	if s.Value == "" || secretName.MatchString(s.Under+s.Name) {
		return fmt.Errorf("option '%.64s' is refused: %s", s.Name, text)
	}
	return fmt.Errorf("option '%.64s' with value %.64s is refused: %s", s.Name, s.Value, text)
}

var wrongType = regexp.MustCompile(`^incompatible types: TOML value has type (\w+); destination has type (\w+)`)

// explainValue returns the decoder's message about a value in plain words.
func explainValue(text string) string {
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

// optionNames returns the options of a table at path below value's struct: the toml
// tags, also of embedded structs. It returns nil if there is no such table.
func optionNames(value any, path []string) []string {
	t := typeAt(value, path)
	if t == nil {
		return nil
	}
	fields := fieldsOf(t)
	names := make([]string, 0, len(fields))
	for _, f := range fields {
		names = append(names, f.name)
	}
	return names
}

// typeAt returns the type of the option at path below value's struct, or nil if
// there is none.
func typeAt(value any, path []string) reflect.Type {
	t := reflect.TypeOf(value)
	for _, name := range path {
		fields := fieldsOf(t)
		i := slices.IndexFunc(fields, func(f option) bool { return f.name == name })
		if i < 0 {
			return nil
		}
		t = fields[i].kind
	}
	return t
}

// An option is a field of a struct, with the name that the decoder uses for it.
type option struct {
	name   string
	kind   reflect.Type
	former bool // a former name, which is no longer suggested; its field has the tag former
}

// fieldsOf returns the options of a struct type. If t is a pointer, slice or map, it
// returns those of the element type.
func fieldsOf(t reflect.Type) []option {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	var all []option
	for field := range t.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("toml"), ",")
		switch {
		case name == "-":
		case field.Anonymous && name == "":
			all = append(all, fieldsOf(field.Type)...)
		case field.IsExported() && name == "":
			all = append(all, option{field.Name, field.Type, false})
		case field.IsExported():
			_, former := field.Tag.Lookup("former")
			all = append(all, option{name, field.Type, former})
		}
	}
	return all
}

// withoutUnit matches a duration that Telegraf reads as seconds; 0 needs no unit.
var withoutUnit = regexp.MustCompile(`^["']*([0-9_.]*[1-9][0-9_.]*)["']*$`)

// unitless returns a note for each duration without a unit in the file: 5 may be
// meant as minutes.
func (f *configFile) unitless() []string {
	var notes []string
	plugin := f.tables[0].plugin
	for _, s := range cli.Statements(f.Text) {
		number := withoutUnit.FindStringSubmatch(s.Value)
		if number != nil && isDuration(s, plugin) {
			notes = append(notes, fmt.Sprintf("%s:%d: option '%s' has no unit: %s means seconds, write \"%ss\"",
				f.Name, s.Line, s.Name, number[1], number[1]))
		}
	}
	return notes
}

// isDuration reports whether a statement sets an option that is a duration.
func isDuration(s cli.Statement, plugin telegraf.Input) bool {
	path := strings.Split(strings.Trim(strings.Join(strings.Fields(s.Under), ""), "[]"), ".")
	if len(path) < 2 || path[0] != "inputs" || path[1] != "heartbeat" {
		return false
	}
	path = append(path[2:], s.Name)
	for _, of := range []any{plugin, general{}} {
		switch typeAt(of, path) {
		case reflect.TypeFor[config.Duration](), reflect.TypeFor[*config.Duration](), reflect.TypeFor[interval]():
			return true
		}
	}
	return false
}
