package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/cli"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/regular"
)

const maxFile = 4 << 20 // bytes; the CA certificates of a system are a quarter of it

// filesTime limits how long reading the settings files may take: a disk may have to spin
// up.
const filesTime = 5 * time.Second

// filesTime returns the limit for a command: a mount that hangs must not keep a job
// from running or ending.
func (c *command) filesTime() time.Duration {
	if c.wraps {
		return time.Second
	}
	return filesTime
}

// readOnce returns the content of a file.
func readOnce(ctx context.Context, name string) (regular.Content, error) {
	return (&regular.Reader{Name: name, Limit: maxFile}).Read(ctx)
}

// readConfig returns the text of a settings file. The null device is an empty file.
func readConfig(ctx context.Context, name string) (string, error) {
	if name == os.DevNull {
		return "", nil
	}
	content, err := readOnce(ctx, name)
	return string(content.Text), err
}

// watchKey is the name of the [[watch]] tables.
const watchKey = "watch"

// readFile applies the settings in a file for c. It checks the whole file, also the
// settings for other commands.
func (s *settings) readFile(ctx context.Context, c *command, name string) error {
	text, err := readConfig(ctx, name)
	if err != nil {
		return fmt.Errorf("reading the configuration failed: %w", err)
	}
	f := cli.File{Name: name, Text: text}
	var read settings
	wrong, err := f.Decode(text, func(text string) error {
		read = *s
		return read.applyText(c, text)
	})
	if wrong != nil {
		err = &cli.LineError{Line: wrong.Line, Err: err}
	}
	for i := 0; err == nil && i < len(read.watches); i++ {
		if wrong := read.completeWatch(i); wrong != nil {
			err = &cli.LineError{Line: watchLine(text, i), Err: fmt.Errorf("%s: %w", watchKey, wrong)}
		}
	}
	if err != nil {
		return f.Explain(err)
	}
	*s = read
	return nil
}

// applyText applies the settings in a TOML text for c. Its [[watch]] tables may be
// incomplete: the text may be the beginning of a file.
func (s *settings) applyText(c *command, text string) error {
	var content map[string]any
	if err := toml.Unmarshal([]byte(text), &content); err != nil {
		return err
	}
	delete(content, watchKey)
	if err := s.setKeys(content, c, fileOption); err != nil {
		return err
	}
	var tables struct{ Watch []map[string]any }
	if toml.Unmarshal([]byte(text), &tables) != nil {
		return fmt.Errorf("%s: it is an array of tables: write [[watch]]", watchKey)
	}
	for _, table := range tables.Watch {
		one := settings{grace: noGrace}
		if err := one.setKeys(table, nil, watchOption); err != nil {
			return fmt.Errorf("%s.%w", watchKey, err)
		}
		s.watches = append(s.watches, one)
	}
	return nil
}

// setKeys applies the keys of a table; find returns the option for a key. It only checks
// keys that c does not accept from the file; if c is nil, it applies all keys.
func (s *settings) setKeys(table map[string]any, c *command, find func(key string) (*option, error)) error {
	taken, checked := make(cli.Given), make(cli.Given)
	for _, key := range slices.SortedFunc(maps.Keys(table), strings.Compare) {
		o, err := find(key)
		var texts []string
		if err == nil {
			texts, err = o.texts(table[key])
		}
		switch {
		case err != nil:
			return fmt.Errorf("%.64s: %w", key, err)
		case c != nil && (!o.of(c) || o.flagFor(c)):
			checked[o.name] = texts
		default:
			taken[o.name] = texts
		}
	}
	if err := new(settings).setAll(checked, (*option).key); err != nil {
		return err
	}
	return s.setAll(taken, (*option).key)
}

// completeWatch checks the target of a [[watch]] table and sets its name, which must be
// unique.
func (s *settings) completeWatch(i int) error {
	one := &s.watches[i]
	switch {
	case !one.hasTarget():
		return errors.New("the table has no target: give it systemd_unit, pid_file, pid or probe")
	case one.probe != nil && one.peer.Status != "":
		return errors.New("status: the probe sets the status: remove one of the two")
	}
	name, err := one.serviceName()
	if err != nil {
		return err
	}
	one.peer.Service = name
	if slices.ContainsFunc(s.watches[:i], func(other settings) bool { return other.peer.Service == name }) {
		return fmt.Errorf("another table is about %.128q too: give one of them another 'service'", name)
	}
	return nil
}

// watchLine returns the line of the first key of a [[watch]] table.
func watchLine(text string, i int) int {
	table := cli.Table(text, "[["+watchKey+"]]", i)
	if len(table) > 0 {
		return table[min(1, len(table)-1)].Line
	}
	for _, s := range cli.Statements(text) {
		if s.Name == watchKey { // a list in one line
			return s.Line
		}
	}
	return 1
}

// fileOption returns the option for a key outside of tables.
func fileOption(key string) (*option, error) { return optionWithKey(key, options(), watchKey) }

// watchOption returns the option for a key in a [[watch]] table.
func watchOption(key string) (*option, error) {
	known := slices.DeleteFunc(options(), func(o *option) bool { return !o.watch })
	o, err := optionWithKey(key, known)
	if err == nil {
		return o, nil
	}
	if _, other := optionWithKey(key, options()); other == nil {
		return nil, errors.New("it applies to all peers: write it above the first [[watch]]")
	}
	return nil, err
}

// optionWithKey returns one of the known options; keys are other valid keys.
func optionWithKey(key string, known []*option, keys ...string) (*option, error) {
	for _, o := range known {
		switch {
		case o.key() == key && o.isFlagOnly():
			return nil, fmt.Errorf("it is for a single call: give it as the flag %s", o.flag())
		case o.key() == key:
			return o, nil
		case !o.isFlagOnly():
			keys = append(keys, o.key())
		}
	}
	if meant := cli.Nearest(key, keys); meant != "" {
		return nil, fmt.Errorf("there is no such option; did you mean '%s'?", meant)
	}
	slices.SortFunc(keys, strings.Compare)
	return nil, fmt.Errorf("there is no such option: the options are %s", strings.Join(keys, ", "))
}

// texts returns a value of the file as it would be written on the command line. For an
// empty value it returns nothing.
func (o *option) texts(content any) ([]string, error) {
	switch content := content.(type) {
	case string:
		if content == "" {
			return nil, nil
		}
		if !o.isSwitch() && o.value != commandValue {
			return []string{content}, nil
		}
	case bool:
		if o.isSwitch() {
			return []string{strconv.FormatBool(content)}, nil
		}
	case int64, float64:
		if o.value == numberValue || o.value == timeValue { // for the error about units
			return []string{fmt.Sprint(content)}, nil
		}
	case []any:
		texts, ok := allTexts(content)
		switch {
		case ok && o.isList():
			return texts, nil
		case ok && o.value == commandValue:
			return []string{cli.Line(texts)}, nil
		}
	}
	return nil, fmt.Errorf("%.64s is not %s", inTOML(content), o.expectedValue())
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

// expectedValue describes the values of the option in the file.
func (o *option) expectedValue() string {
	switch {
	case o.isSwitch():
		return "true or false"
	case o.isList():
		return `a list of strings, like ["a", "b"]`
	case o.value == commandValue:
		return `a command and its arguments, like ["check_disk", "-w", "10%"]`
	case o.value == timeValue:
		return `a duration in quotes, like "10s"`
	case o.value == numberValue:
		return "a number"
	}
	return "a string in quotes"
}

// inTOML formats a value for a message, nearly as it is written in the file.
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
