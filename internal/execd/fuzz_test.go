package execd

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/config"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/cli"
)

var environment = map[string]string{
	"NAME":   "web-1",
	"EMPTY":  "",
	"NUMBER": "500",
	"YES":    "true",
	"NASTY":  "a\"b\\c'd\n#e\t${NAME}",
	"BAD":    "\xff",
}

// Whatever stands in the file, it is refused in one line that says where, or
// it is TOML in which each key is an option, and has the value that a naive
// reading finds.
func FuzzConfig(f *testing.F) {
	for name, value := range environment {
		f.Setenv(name, value)
	}
	for _, text := range []string{
		"", oneTable, oneTable + "missed_beats = ${NUMBER}\ndead_after = ${NONE:-2.5}\ntags = {a = ${YES}}", "# nothing\n", "[inputs.heartbeat]\n", oneTable + "[agent]\ninterval = \"1s\"", "dead_after = \"1s\"\n" + oneTable,
		oneTable + "service_addresses = [\"tcp://:1\", 'udp://:2']\ndead_after = \"5m\"\nmissed_beats = 3\ntls_cert = \"\"\"\nc\"\"\"\n",
		oneTable + "alias = \"a\"\nlog_level = \"debug\"\ninterval = \"10s\"\ntags = {site = \"x\", Site = \"y\"}\n" + oneTable,
		oneTable + "welcome = \"${NONE:-a}${EMPTY:-b}\"", oneTable + "welcome = \"${NONE:-a}${me =EMPTY:-b}\"", oneTable + "welcome = '${NONE:-${NAME}}'", oneTable + "tags = {a = \"\"}", oneTable + "[inputs.heartbeat.tags]\ndead_after = \"1s\"", oneTable + "welcome = '${NASTY}'\nstate_file = '''${NASTY}'''",
		oneTable + "[inputs.heartbeat.tags]\na = \"${NAME}\"\n" + oneTable + "[inputs.heartbeat.keys]\nk = '${NASTY}'\n",
		oneTable + "[[inputs.heartbeat.rule]]\nhost = \"${NONE:-h}\"\ndead_after = \"1d\"\n[[inputs.heartbeat.rule]]\nhots = \"h\"",
		oneTable + "welcome = '''$${NAME} \\${NASTY}\n'''\nstate_file = \"pa$$word\\t${NASTY}\"\n",
		oneTable + "\"welcome\" = \"${EMPTY:-x}\"\n'${NAME}' = 1\n", oneTable + "welcome = \"${BAD}\"\n", oneTable + "welcome = \"@{a:b}\"\n",
		oneTable + "welcome = \"a\"\nWelcome = \"b\"\n", oneTable + "\"a\\u001b[31m\\n\" = 1\n", "inputs.heartbeat = [{missed_beats = 1_000, rule = []}]",
		oneTable + "missed_beats = 0x10\ndead_after = \"-1s\"\nname_prefix = 1979-05-27T07:32:00Z", "\xef\xbb\xbf" + oneTable + "a\x00 = \xff",
	} {
		f.Add(text)
	}
	path := filepath.Join(f.TempDir(), "heartbeat.conf")
	load := func(t *testing.T, text string) (*configFile, error) {
		os.Remove(path) // some file systems wait for the disk when a file is written over
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return loadConfig(options{config: path, explicit: true}, func() telegraf.Input { return new(fake) })
	}
	f.Fuzz(func(t *testing.T, text string) {
		file, err := load(t, text)
		if other, ok := withoutVariables(text); ok {
			same, otherErr := load(t, other)
			require.Equal(t, otherErr == nil, err == nil, "%v, but %v of\n%s", err, otherErr, other)
			if err == nil {
				require.Empty(t, cmp.Diff(same.tables, file.tables, cmpopts.EquateEmpty(), cmp.AllowUnexported(table{}, fake{})))
			}
		}
		if err != nil {
			requireOneLine(t, Failure(cli.ExitConfig, err).Error(), path, text)
			return
		}
		expanded, err := cli.Expand(text, os.LookupEnv)
		require.NoError(t, err)
		var read map[string]any
		_, err = toml.Decode(expanded, &read)
		require.NoError(t, err, "it is no TOML")
		inputs := read["inputs"].(map[string]any)
		tables := tablesIn(inputs["heartbeat"])
		require.Equal(t, []int{1, 1, len(tables)}, []int{len(read), len(inputs), len(file.tables)})
		for i, values := range tables {
			requireTable(t, values, file.tables[i])
		}
	})
}

// requireOneLine checks how a mistake is told: what is wrong in a line that
// the file has, and nothing that a log or a terminal would take for more.
func requireOneLine(t *testing.T, message, path, text string) {
	t.Helper()
	require.False(t, strings.ContainsFunc(message, func(c rune) bool { return !unicode.IsPrint(c) }), "%q", message)
	require.Less(t, len(message), len(path)+1000)
	what, ok := strings.CutPrefix(message, path+":")
	require.True(t, ok, message)
	number, _, _ := strings.Cut(what, ":")
	if line, err := strconv.Atoi(number); err == nil {
		require.Positive(t, line, message)
		require.LessOrEqual(t, line, 1+strings.Count(text, "\n"), message)
	}
}

func tablesIn(value any) []map[string]any {
	if tables, ok := value.([]map[string]any); ok {
		return tables
	}
	var tables []map[string]any
	for _, element := range value.([]any) { // written in one line
		tables = append(tables, element.(map[string]any))
	}
	return tables
}

// requireTable compares what a table was read as with its values one by one.
func requireTable(t *testing.T, values map[string]any, got table) {
	t.Helper()
	plugin := got.plugin.(*fake)
	want := fake{DeadAfter: plugin.DeadAfter}
	tags := make(map[string]string)
	for name, value := range values {
		switch name {
		case "alias":
			require.Equal(t, value, got.Alias)
		case "log_level":
			require.Equal(t, telegraf.LogLevelFromString(value.(string)), telegraf.LogLevel(got.LogLevel))
		case "interval":
			requireDuration(t, value, config.Duration(got.Interval))
			require.Positive(t, got.Interval)
		case "tags":
			tags = textsIn[string](value)
			require.NotContains(t, slices.Collect(maps.Values(tags)), "")
		default:
			requireOption(t, name, value, &want, plugin)
		}
	}
	require.Empty(t, cmp.Diff(&want, plugin, cmpopts.EquateEmpty(), cmp.AllowUnexported(fake{})))
	require.Empty(t, cmp.Diff(tags, got.Tags, cmpopts.EquateEmpty()))
}

// requireOption sets in want what one value of a table says.
func requireOption(t *testing.T, name string, value any, want, got *fake) {
	t.Helper()
	switch name {
	case "service_addresses":
		for _, address := range value.([]any) {
			want.ServiceAddresses = append(want.ServiceAddresses, address.(string))
		}
	case "dead_after":
		requireDuration(t, value, got.DeadAfter)
	case "missed_beats":
		want.MissedBeats = int(value.(int64))
	case "state_file":
		want.StateFile = value.(string)
	case "welcome":
		want.Welcome = value.(string)
	case "tls_cert":
		want.TLSCert = value.(string)
	case "keys":
		want.Keys = textsIn[key](value)
	case "rule":
		for i, rule := range tablesIn(value) {
			want.Rules = append(want.Rules, requireRule(t, rule, got.Rules[i]))
		}
	default:
		t.Fatalf("%q is no option", name)
	}
}

func textsIn[T ~string](value any) map[string]T {
	texts := make(map[string]T)
	for name, text := range value.(map[string]any) {
		texts[name] = T(text.(string))
	}
	return texts
}

func requireRule(t *testing.T, values map[string]any, got fakeRule) fakeRule {
	t.Helper()
	want := fakeRule{DeadAfter: got.DeadAfter}
	for key, value := range values {
		switch key {
		case "host":
			want.Host = value.(string)
		case "dead_after":
			requireDuration(t, value, got.DeadAfter)
		default:
			t.Fatalf("%q is no option of a rule", key)
		}
	}
	return want
}

// requireDuration leaves numbers to Telegraf, who takes them for seconds.
func requireDuration(t *testing.T, value any, got config.Duration) {
	t.Helper()
	if text, ok := value.(string); ok {
		var want config.Duration
		require.NoError(t, want.UnmarshalText([]byte(text)))
		require.Equal(t, want, got)
	}
}

var (
	reference = regexp.MustCompile(`\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(:-([^}]*))?\}`)
	escapes   = regexp.MustCompile(`\\[uUx\s]`)
)

// withoutVariables writes anew what a text says, once its variables are expanded
// in what is decoded, where the program expands them before. An escape may hide
// a variable, which is none then; what is refused for a variable is no matter
// here.
func withoutVariables(text string) (string, bool) {
	var raw map[string]any
	if escapes.MatchString(text) || !areUnderstood(text) || toml.Unmarshal([]byte(text), &raw) != nil {
		return "", false
	}
	var out strings.Builder
	err := toml.NewEncoder(&out).Encode(naivelyExpanded(raw))
	return out.String(), err == nil
}

// areUnderstood reports whether all variables have a value or a default.
func areUnderstood(text string) bool {
	for _, parts := range reference.FindAllStringSubmatch(text, -1) {
		name, hasDefault, fallback := parts[1], parts[2] != "", parts[3]
		_, set := os.LookupEnv(name)
		if name != "" && !set && !hasDefault || strings.Contains(fallback, "${") {
			return false
		}
	}
	return !strings.Contains(reference.ReplaceAllString(text, ""), "${")
}

// naivelyExpanded returns a value that means what it says: "$${" is "${".
func naivelyExpanded(value any) any {
	switch value := value.(type) {
	case string:
		expanded := reference.ReplaceAllStringFunc(value, func(found string) string {
			parts := reference.FindStringSubmatch(found)
			if parts[1] == "" {
				return "${"
			}
			if got := os.Getenv(parts[1]); got != "" {
				return got
			}
			return parts[3]
		})
		return strings.ReplaceAll(expanded, "${", "$${")
	case []any:
		for i := range value {
			value[i] = naivelyExpanded(value[i])
		}
	case []map[string]any:
		for i := range value {
			value[i] = naivelyExpanded(value[i]).(map[string]any)
		}
	case map[string]any:
		all := make(map[string]any, len(value))
		for key, one := range value {
			all[naivelyExpanded(key).(string)] = naivelyExpanded(one)
		}
		return all
	}
	return value
}
