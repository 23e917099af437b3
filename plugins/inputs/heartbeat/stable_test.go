package heartbeat

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/config"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// Within a major version the files in testdata may get more lines; no line changes or
// goes away. docs/support.md promises that. UPDATE_GOLDEN=1 writes them.
func requireGolden(t *testing.T, file string, lines []string) {
	t.Helper()
	got := strings.Join(lines, "\n") + "\n"
	if os.Getenv("UPDATE_GOLDEN") != "" {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o600))
	}
	require.Equal(t, source(t, file), got)
}

func TestOptionsAreStable(t *testing.T) {
	requireGolden(t, filepath.Join("testdata", "options.txt"), optionsOf("", reflect.ValueOf(defaults())))
}

// optionsOf returns a line for each option in a struct: its name, its type and its default.
func optionsOf(prefix string, v reflect.Value) []string {
	var lines []string
	for i := range v.NumField() {
		field, value := v.Type().Field(i), v.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("toml"), ",")
		_, isFormer := field.Tag.Lookup("former")
		switch table := tableOf(field.Type); {
		case isFormer, field.Type == reflect.TypeFor[former]():
		case field.Anonymous && name == "":
			lines = append(lines, optionsOf(prefix, value)...)
		case name == "" || name == "-":
		case table != nil:
			lines = append(lines, optionsOf(prefix+name+".", reflect.New(table).Elem())...)
		default:
			lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s%s %s %s", prefix, name, typeOf(field.Type), defaultOf(value))))
		}
	}
	return lines
}

// tableOf returns the type of a table or of the elements of an array of tables, else nil.
func tableOf(of reflect.Type) reflect.Type {
	for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
		of = of.Elem()
	}
	if of.Kind() == reflect.Struct && of != reflect.TypeFor[config.Secret]() {
		return of
	}
	return nil
}

// typeOf returns what a user writes for an option of a type.
func typeOf(of reflect.Type) string {
	switch of {
	case reflect.TypeFor[config.Duration]():
		return "duration"
	case reflect.TypeFor[config.Size]():
		return "size"
	case reflect.TypeFor[config.Secret]():
		return "secret"
	}
	switch of.Kind() {
	case reflect.Pointer:
		return typeOf(of.Elem())
	case reflect.Slice:
		return "list of " + typeOf(of.Elem())
	case reflect.Map:
		return "table of " + typeOf(of.Elem())
	default:
		return of.Kind().String()
	}
}

// defaultOf returns the default of an option; "" for none.
func defaultOf(v reflect.Value) string {
	if v.IsZero() {
		return ""
	}
	if d, is := v.Interface().(config.Duration); is {
		return time.Duration(d).String()
	}
	return fmt.Sprint(v.Interface())
}

func TestMetricsAreStable(t *testing.T) {
	names := make(map[string]bool)
	synctest.Test(t, func(t *testing.T) {
		h := newPlugin(t)
		h.StateFile = filepath.Join(t.TempDir(), "state")
		for _, m := range story(t, h) {
			addNames(names, m)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		h := newPlugin(t)
		h.TagWith = nil
		for _, m := range story(t, h) {
			addNames(names, m)
		}
	})
	h := clustered(t, func(*ClusterOptions) {})
	acc := start(t, h)
	gather(t, h)
	for _, m := range acc.GetTelegrafMetrics() {
		addNames(names, m)
	}
	lines := slices.Sorted(maps.Keys(names))
	for _, state := range liveness.States {
		lines = append(lines, fmt.Sprintf("state %d %s", state, state))
	}
	for reason := range liveness.ReasonMateLost + 1 {
		if reason.Valid() {
			lines = append(lines, fmt.Sprintf("reason %d %s", reason, reason))
		}
	}
	requireGolden(t, filepath.Join("testdata", "metrics.txt"), lines)
}

// addNames adds what a metric consists of: its tags, and its fields with their types. The
// free fields of a sender are left out.
func addNames(names map[string]bool, m telegraf.Metric) {
	for tag := range m.Tags() {
		names[m.Name()+" tag "+tag] = true
	}
	for field, value := range m.Fields() {
		if !strings.HasPrefix(field, "x_") {
			names[fmt.Sprintf("%s field %s %T", m.Name(), field, value)] = true
		}
	}
}
