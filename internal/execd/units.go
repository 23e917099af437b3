package execd

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/config"
)

// withoutUnit is how a duration is written that Telegraf takes for seconds; 0
// needs no unit.
var withoutUnit = regexp.MustCompile(`^["']*([0-9_.]*[1-9][0-9_.]*)["']*$`)

// unitless says which durations of the file have no unit: who writes 5 may mean
// minutes.
func (f *configFile) unitless() []string {
	var notes []string
	plugin := f.tables[0].plugin
	for _, s := range statements(f.source) {
		number := withoutUnit.FindStringSubmatch(s.value)
		if number != nil && isDuration(s, plugin) {
			notes = append(notes, fmt.Sprintf("%s:%d: option '%s' has no unit: %s means seconds, write \"%ss\"",
				f.path, s.line, s.name, number[1], number[1]))
		}
	}
	return notes
}

// isDuration reports whether a statement sets an option that is a duration.
func isDuration(s statement, plugin telegraf.Input) bool {
	path := strings.Split(strings.Trim(strings.Join(strings.Fields(s.under), ""), "[]"), ".")
	if len(path) < 2 || path[0] != "inputs" || path[1] != "heartbeat" {
		return false
	}
	path = append(path[2:], s.name)
	for _, of := range []any{plugin, general{}} {
		switch typeAt(of, path) {
		case reflect.TypeFor[config.Duration](), reflect.TypeFor[*config.Duration](), reflect.TypeFor[interval]():
			return true
		}
	}
	return false
}
