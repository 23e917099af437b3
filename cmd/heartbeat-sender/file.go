package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/watch"
)

// A file holds settings in TOML.
type file struct {
	name    string
	text    string
	meta    toml.MetaData
	content map[string]toml.Primitive
}

// readFile applies what the file of that name gives to c. All of the file is
// checked, also what is for other commands.
func (s *settings) readFile(ctx context.Context, c *command, name string) error {
	text, err := readConfig(ctx, name)
	if err != nil {
		return fmt.Errorf("reading the configuration failed: %w", err)
	}
	f := &file{name: name, text: text}
	if f.meta, err = toml.Decode(f.text, &f.content); err != nil {
		return f.syntaxError(err)
	}
	for _, key := range f.keys(f.content) {
		if key == watchKey {
			continue // last, as what is common holds for it too
		}
		if err := f.apply(s, c, key); err != nil {
			return f.at(key, f.content[key], err)
		}
	}
	return f.readWatches(s)
}

// keys returns the keys of a table in the order of the file, so that its first
// mistake is told.
func (f *file) keys(table map[string]toml.Primitive) []string {
	return slices.SortedFunc(maps.Keys(table), func(a, b string) int {
		return cmp.Compare(f.lineOf(table[a]), f.lineOf(table[b]))
	})
}

// at says where in the file err is.
func (f *file) at(key string, value toml.Primitive, err error) error {
	return fmt.Errorf("%s:%d: %.64s: %w", f.name, f.lineOf(value), key, err)
}

// apply sets what stands outside of tables.
func (f *file) apply(s *settings, c *command, key string) error {
	o, err := optionWithKey(key, options(), watchKey)
	if err != nil {
		return err
	}
	if !o.of(c) || o.flagFor(c) {
		s = new(settings) // to be checked
	}
	return f.set(s, o, f.content[key])
}

const watchKey = "watch"

// readWatches reads the tables [[watch]].
func (f *file) readWatches(s *settings) error {
	content, ok := f.content[watchKey]
	if !ok {
		return nil
	}
	var tables []map[string]toml.Primitive
	if err := f.meta.PrimitiveDecode(content, &tables); err != nil {
		return f.at(watchKey, content, errors.New("it is a table, of which there may be several: write [[watch]]"))
	}
	known := slices.DeleteFunc(options(), func(o option) bool { return !o.watch })
	for _, table := range tables {
		one := settings{grace: noGrace}
		keys := f.keys(table)
		for _, key := range keys {
			o, err := watchOption(key, known)
			if err == nil {
				err = f.set(&one, o, table[key])
			}
			if err != nil {
				return f.at(watchKey+"."+key, table[key], err)
			}
		}
		if err := s.addWatch(one); err != nil {
			begin := content
			if len(keys) > 0 {
				begin = table[keys[0]]
			}
			return f.at(watchKey, begin, err)
		}
	}
	return nil
}

func watchOption(key string, known []option) (*option, error) {
	o, err := optionWithKey(key, known)
	if err == nil {
		return o, nil
	}
	if _, other := optionWithKey(key, options()); other == nil {
		return nil, errors.New("it is for all: write it above the first [[watch]]")
	}
	return nil, err
}

// addWatch takes in a table.
func (s *settings) addWatch(one settings) error {
	if one.target == (watch.Target{}) {
		return errors.New("the table has no target: give it systemd_unit, pid_file or pid")
	}
	name, err := one.serviceName()
	if err != nil {
		return err
	}
	one.peer.Service = name
	if slices.ContainsFunc(s.watches, func(other settings) bool { return other.peer.Service == name }) {
		return fmt.Errorf("another table is about %.128q too: give one of them another 'service'", name)
	}
	s.watches = append(s.watches, one)
	return nil
}

// set applies a value of the file; an empty one says nothing.
func (f *file) set(s *settings, o *option, content toml.Primitive) error {
	var value any
	if err := f.meta.PrimitiveDecode(content, &value); err != nil {
		return err
	}
	texts, err := o.texts(value)
	if err != nil || len(texts) == 0 {
		return err
	}
	if o.target && s.target != (watch.Target{}) {
		return errors.New("there is another target above it: for several write a table [[watch]] each")
	}
	return s.set(o, texts)
}

// optionWithKey returns one of the known options; keys are possible beside them.
func optionWithKey(key string, known []option, keys ...string) (*option, error) {
	for _, o := range known {
		switch {
		case o.key() == key && o.isFlag():
			return nil, fmt.Errorf("it is about one call: possible as flag %s only", o.flag())
		case o.key() == key:
			return &o, nil
		case !o.isFlag():
			keys = append(keys, o.key())
		}
	}
	slices.Sort(keys)
	return nil, fmt.Errorf("there is no such option: possible are %s", strings.Join(keys, ", "))
}

// texts returns a value of the file as it would stand on the command line,
// and nothing for an empty one.
func (o *option) texts(content any) ([]string, error) {
	switch content := content.(type) {
	case string:
		if content == "" {
			return nil, nil
		}
		if !o.isSwitch() {
			return []string{content}, nil
		}
	case bool:
		if o.isSwitch() {
			return []string{strconv.FormatBool(content)}, nil
		}
	case int64, float64:
		if o.value == numberValue || o.value == timeValue { // to hear about units
			return []string{fmt.Sprint(content)}, nil
		}
	case []any:
		if texts, ok := allTexts(content); ok && o.isList() {
			return texts, nil
		}
	}
	return nil, fmt.Errorf("%.64s is not %s", inTOML(content), o.wants())
}

func allTexts(elements []any) ([]string, bool) {
	texts := make([]string, 0, len(elements))
	for _, element := range elements {
		text, ok := element.(string)
		if !ok {
			return nil, false
		}
		texts = append(texts, text)
	}
	return texts, true
}

// wants tells what can stand for the option in the file.
func (o *option) wants() string {
	switch {
	case o.isSwitch():
		return "true or false"
	case o.isList():
		return `a list of texts, like ["a", "b"]`
	case o.value == timeValue:
		return `a time in quotes, like "10s"`
	case o.value == numberValue:
		return "a number"
	}
	return "a text in quotes"
}

// inTOML returns a value much as it stands in the file.
func inTOML(content any) string {
	switch content := content.(type) {
	case map[string]any, []map[string]any:
		return "a table"
	case string:
		return strconv.Quote(content)
	default:
		return fmt.Sprint(content)
	}
}

// syntaxError tells where err is and what is there, on one line.
func (f *file) syntaxError(err error) error {
	var at toml.ParseError
	if !errors.As(err, &at) {
		return fmt.Errorf("%s: %w", f.name, err)
	}
	what, line := at.LastKey, max(at.Position.Line, 1)
	if lines := strings.Split(f.text, "\n"); what == "" && line <= len(lines) {
		what = strconv.Quote(strings.TrimSpace(lines[line-1]))
	}
	hint := ""
	if strings.HasPrefix(at.Message, "expected") {
		hint = "; texts and times stand in quotes"
	}
	return fmt.Errorf("%s:%d: %.64s: %s%s", f.name, line, what, at.Message, hint)
}

// A place refuses to be filled, because the decoder then says where.
type place struct{}

func (place) UnmarshalTOML(any) error { return errors.New("here") }

// lineOf returns the line on which a value begins.
func (f *file) lineOf(value toml.Primitive) int {
	var at toml.ParseError
	if errors.As(f.meta.PrimitiveDecode(value, new(place)), &at) && at.Position.Line > 0 {
		return 1 + strings.Count(f.text[:at.Position.Start], "\n")
	}
	// a.b = 1 and [a.b] imply a table that has no place of its own.
	var below map[string]toml.Primitive
	line := 0
	if f.meta.PrimitiveDecode(value, &below) == nil {
		for _, value := range below {
			if at := f.lineOf(value); line == 0 || at < line {
				line = at
			}
		}
	}
	return line
}
