package execd

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/influxdata/telegraf/config"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/cli"
)

// refusal checks conf and returns the message after the name of the file. It
// has to be one line, and the exit code that of a wrong configuration.
func refusal(t *testing.T, conf string) string {
	t.Helper()
	file := writeConf(t, conf)
	out, _, err := call(t, "-check", "-config", file)
	require.Error(t, err, "accepted: %s", conf)
	require.Empty(t, out)
	require.Equal(t, cli.ExitConfig, cli.ExitCode(err))
	require.NotContains(t, err.Error(), "\n")
	message, ok := strings.CutPrefix(err.Error(), file+":")
	require.True(t, ok, "file not named: %v", err)
	return message
}

// The stock shim takes any key in silence.
func TestMisspeltOptionIsRefusedWithAHint(t *testing.T) {
	for conf, want := range map[string]string{
		"\n[[inputs.heartbeat]]\n  dead_aftr = \"1s\"\n":                         "3: option 'dead_aftr' does not exist; did you mean 'dead_after'?",
		"[[inputs.heartbeat]]\nservice_address = \"tcp://:1\"":                   "2: option 'service_address' does not exist; did you mean 'service_addresses'?",
		"[[inputs.heartbeat]]\ntls_crt = \"x\"":                                  "2: option 'tls_crt' does not exist; did you mean 'tls_cert'?",
		"[[inputs.heartbeat]]\ntls_fiel = \"x\"":                                 "2: option 'tls_fiel' does not exist",
		"[[inputs.heartbeat]]\nlog_levl = \"x\"":                                 "2: option 'log_levl' does not exist; did you mean 'log_level'?",
		"[[inputs.heartbeat]]\nDead_After = \"1s\"":                              "2: option 'Dead_After' does not exist; did you mean 'dead_after'?",
		"[[inputs.heartbeat]]\n[[inputs.heartbeat.rule]]\nHost = \"a\"":          "3: option 'Host' does not exist; did you mean 'host'?",
		"[[inputs.heartbeat]]\nquorum = 3":                                       "2: option 'quorum' does not exist",
		"[[inputs.heartbeat]]\n[[inputs.heartbeat.rule]]\nhots = \"a\"":          "3: option 'hots' does not exist; did you mean 'host'?",
		"[[inputs.heartbeat]]\n[[inputs.heartbeat.ruel]]\nhost = \"a\"":          "2: option 'ruel' does not exist; did you mean 'rule'?",
		"[[inputs.heartbeat]]\nrule = [{host = \"a\", dead_aftr = \"1s\"}]":      "2: option 'dead_aftr' does not exist; did you mean 'dead_after'?",
		"[[inputs.heartbeat]]\ntags = {a=\"1\"}\n[[inputs.heartbeat]]\nxy.z = 1": "4: option 'xy' does not exist",
	} {
		require.Equal(t, want, refusal(t, conf), conf)
	}
}

// The stock shim reads these and forgets them.
func TestOptionOfExecdIsRefusedWithThatHint(t *testing.T) {
	for _, option := range []string{
		"name_override", "name_prefix", "name_suffix", "namepass", "namedrop", "fieldinclude", "fieldexclude", "fieldpass",
		"fielddrop", "taginclude", "tagexclude", "metricpass", "precision", "collection_jitter", "collection_offset",
		"startup_error_behavior", "time_source", "data_format", "signal", "restart_delay", "stop_on_error",
	} {
		require.Equal(t, "2: option '"+option+"' belongs in [[inputs.execd]] of Telegraf's configuration",
			refusal(t, oneTable+option+" = \"x\""))
	}
	for _, option := range []string{"tagpass", "tagdrop"} {
		require.Contains(t, refusal(t, oneTable+"[inputs.heartbeat."+option+"]\na = [\"b\"]"),
			"2: option '"+option+"' belongs in [[inputs.execd]]")
	}
}

func TestOtherTablesAreRefused(t *testing.T) {
	const only = " belongs in Telegraf's own configuration; this file may contain only [[inputs.heartbeat]] tables"
	for conf, want := range map[string]string{
		oneTable + "[agent]\ninterval = \"1s\"": "2: 'agent'" + only,
		"[[outputs.file]]\n" + oneTable:         "1: 'outputs.file'" + only,
		oneTable + "\n[[inputs.cpu]]":           "3: 'inputs.cpu'" + only,
		"debug = true\n" + oneTable:             "1: 'debug'" + only,
		"dead_after = \"1s\"\n" + oneTable:      "1: option 'dead_after' must be below [[inputs.heartbeat]]",
		oneTable + "[[Inputs.heartbeat]]":       "2: 'Inputs.heartbeat'" + only,
		"[inputs.heartbeat]\n":                  "1: table [inputs.heartbeat] needs two brackets: [[inputs.heartbeat]]",
	} {
		require.Equal(t, want, refusal(t, conf), conf)
	}
}

func TestWrongValueIsRefusedInOneLine(t *testing.T) {
	for conf, want := range map[string]string{
		"[[inputs.heartbeat]]\n\ndead_after = \"5 minutes\" # no": `3: option 'dead_after' with value "5 minutes" is refused: it must be a duration like "5s", "90m" or "7d"`,
		"[[inputs.heartbeat]]\nmissed_beats = 2.5":                `2: option 'missed_beats' with value 2.5 is refused: it must be an integer, not a float`,
		"[[inputs.heartbeat]]\nwelcome = 5":                       `2: option 'welcome' with value 5 is refused: it must be a string, not an integer`,
		"[[inputs.heartbeat]]\nservice_addresses = \"tcp://:1\"":  `2: option 'service_addresses' with value "tcp://:1" is refused: it must be an array, in brackets`,
		"[[inputs.heartbeat]]\ninterval = \"1 day\"":              `2: option 'interval' with value "1 day" is refused: it must be a duration like "5s", "90m" or "7d"`,
		"[[inputs.heartbeat]]\nmissed_beats = \"3\"":              `2: option 'missed_beats' with value "3" is refused: it must be an integer, without quotes`,
		"[[inputs.heartbeat]]\nlog_level = \"loud\"":              `2: option 'log_level' with value "loud" is refused: must be "error", "warn", "info", "debug" or "trace"`,
		"[[inputs.heartbeat]]\ninterval = \"0s\"":                 `2: option 'interval' with value "0s" is refused: must be greater than zero`,
		"[[inputs.heartbeat]]\ntags = {a = 1}":                    `2: option 'tags' with value {a = 1} is refused: it must be a string, not an integer`,
		"[[inputs.heartbeat]]\n[inputs.heartbeat.tags]\na = \"\"": "3: tag 'a' is empty, which no database keeps",
		"[[inputs.heartbeat]]\ndead_after = \n":                   "2: inputs.heartbeat.dead_after: expected value but found '\\n' instead; write strings and durations in quotes",
		"[[inputs.heartbeat]]\nwelcome = \"a\nb\"":                "2: inputs.heartbeat.welcome: strings cannot contain newlines",
		"[[inputs.heartbeat]]\nwelcome = \"a\"\nwelcome = \"b\"":  "3: inputs.heartbeat.welcome: Key 'inputs.heartbeat.welcome' has already been defined.",
		"\"\\":                  `1: "\"\\": invalid escape in string '\\x00'; write a path with \ in single quotes`,
		"[[inputs.heartbeat]\n": `2: "": expected end of table array name delimiter ']', but got '\n' instead; write strings and durations in quotes`,
	} {
		require.Equal(t, want, refusal(t, conf), conf)
	}
}

// The decoder itself knows only the last place of a key.
func TestWrongValueIsFoundInTheRightTable(t *testing.T) {
	conf := "[[inputs.heartbeat]]\ndead_after = \"1s\"\n" +
		"[[inputs.heartbeat.rule]]\ndead_after = \"1s\"\n[[inputs.heartbeat.rule]]\ndead_after = \"x\"\n" +
		"[[inputs.heartbeat]]\ndead_after = \"y\"\ntags = {a = \"b\"}\n[[inputs.heartbeat.rule]]\ndead_after = \"1s\"\n"
	require.Contains(t, refusal(t, conf), `6: option 'dead_after' with value "x" is refused`)
	require.Contains(t, refusal(t, strings.Replace(conf, `"x"`, `"1s"`, 1)), `8: option 'dead_after' with value "y" is refused`)
}

func TestValueThatMayBeASecretIsNotSaid(t *testing.T) {
	for _, conf := range []string{
		oneTable + "keys = {a = [\"hunter2\"]}",
		oneTable + "[inputs.heartbeat.keys]\na = [\"hunter2\"]",
	} {
		require.NotContains(t, refusal(t, conf), "hunter2")
	}
	t.Setenv("PASSWORD", "hunter2")
	require.Contains(t, refusal(t, oneTable+"missed_beats = \"${PASSWORD}\""), `with value "${PASSWORD}" is refused`)
}

// Below [inputs.heartbeat.tags] an option would become a tag and have no effect.
func TestOptionAmongTheTagsIsRefused(t *testing.T) {
	require.Equal(t, "4: option 'dead_after' is inside 'tags'; move it above them",
		refusal(t, oneTable+"[inputs.heartbeat.tags]\nrack = \"1\"\ndead_after = \"1s\""))
}

func TestTablesThatWriteTheSameSeriesAreRefused(t *testing.T) {
	const want = " would write the same series: each needs 'tags' of its own (an 'alias' is not a tag)"
	require.Equal(t, " the [[inputs.heartbeat]] tables number 1 and 2"+want,
		refusal(t, "[[inputs.heartbeat]]\nalias = \"a\"\n[[inputs.heartbeat]]\nalias = \"b\""))
	require.Equal(t, " the [[inputs.heartbeat]] tables number 2 and 3"+want,
		refusal(t, "[[inputs.heartbeat]]\n[[inputs.heartbeat]]\ntags={a=\"1\"}\n[[inputs.heartbeat]]\ntags={a=\"1\"}"))
	require.Equal(t, " no [[inputs.heartbeat]] table found", refusal(t, "# nothing\n"))
}

func TestUnsetVariableIsRefusedWithItsLine(t *testing.T) {
	require.Equal(t, "2: variable 'NOT_SET_ANYWHERE' is not set and has no default",
		refusal(t, oneTable+"welcome = \"${NOT_SET_ANYWHERE}\""))
}

// The stock shim notices at the first use of the secret.
func TestSecretStoreReferenceIsRefused(t *testing.T) {
	require.Equal(t, "2: secret stores are not available here, \"@{vault:key}\" cannot be resolved; use ${VARIABLE} or a file",
		refusal(t, oneTable+"keys = {a = \"x@{vault:key}\"} # @{a:b}"))
}

func TestRefusedInitNamesFileAndLine(t *testing.T) {
	setBehaviour(t, behaviour{init: func(f *fake) error {
		if f.MissedBeats > 5 {
			return errors.New("'missed_beats' is\ntoo large")
		}
		if f.Welcome != "" {
			return errors.New("something is wrong")
		}
		return nil
	}})
	const conf = "[[inputs.heartbeat]]\nmissed_beats = 5\n\n[[inputs.heartbeat]]\ntags = {a = \"b\"}\n"
	require.Equal(t, "6: 'missed_beats' is\\ntoo large", refusal(t, conf+"missed_beats = 6"))
	require.Equal(t, "4: something is wrong", refusal(t, conf+"welcome = \"x\""))
	behave.init = func(f *fake) error {
		if f.Welcome == "" {
			return errors.New("'welcome' is missing")
		}
		return nil
	}
	require.Equal(t, "1: 'welcome' is missing", refusal(t, "[[inputs.heartbeat]]\n[[inputs.heartbeat]]\ntags = {a = \"b\"}\nwelcome = \"x\""))
}

func TestValuesReachThePluginAndDefaultsStay(t *testing.T) {
	setBehaviour(t, behaviour{})
	t.Setenv("HELLO", "Welcome \"you\"")
	file := writeConf(t, oneTable+"welcome = '${HELLO}'\ntls_cert = \"c\"\n[[inputs.heartbeat.rule]]\nhost = \"h\"\ndead_after = \"1d\"\n")
	out, _, err := call(t, "-check", "-config", file)
	require.NoError(t, err)
	require.Equal(t, "ok: one instance in "+file+"\n", out)
	require.Len(t, made, 1)
	require.Equal(t, `Welcome "you"`, made[0].Welcome)
	require.Equal(t, "c", made[0].TLSCert)
	require.Equal(t, config.Duration(210*time.Second), made[0].DeadAfter)
	require.Equal(t, []fakeRule{{"h", config.Duration(24 * time.Hour)}}, made[0].Rules)
}

// What an editor of Windows writes, and what is no file at all.
func TestConfigurationOfAllEditors(t *testing.T) {
	setBehaviour(t, behaviour{})
	const mark = "\ufeff"
	require.Equal(t, "4: option 'quorum' does not exist", refusal(t, "# x\r\n[[inputs.heartbeat]]\r\nmissed_beats = 3\r\nquorum = 1\r\n"))
	for _, text := range []string{oneTable, "# x\r\n" + oneTable + "missed_beats = 3\r\n"} {
		out, _, err := call(t, "-check", "-config", writeConf(t, mark+text))
		require.NoError(t, err)
		require.Contains(t, out, "ok: one instance")
	}
	require.Equal(t, "1: option 'dead_after' must be below [[inputs.heartbeat]]", refusal(t, mark+"dead_after = 1\n"))
	require.Contains(t, refusal(t, "\xff\xfe[\x00[\x00"), "UTF-16")
	for _, file := range []string{t.TempDir(), "/dev/zero"} {
		_, _, err := call(t, "-check", "-config", file)
		require.ErrorContains(t, err, "cannot read the configuration: \""+file+"\" is not a regular file")
		require.Equal(t, cli.ExitConfig, cli.ExitCode(err))
	}
}

func TestFileThatWasAskedForHasToExist(t *testing.T) {
	file := filepath.Join(t.TempDir(), "none.conf")
	_, _, err := call(t, "-check", "-config", file)
	require.ErrorContains(t, err, "cannot read the configuration: open "+file)
	require.Equal(t, cli.ExitConfig, cli.ExitCode(err))
}

func TestWithoutTheDefaultFileThereIsOneInstanceWithDefaults(t *testing.T) {
	if _, err := os.Stat(defaultConfig()); err == nil {
		t.Skipf("%s exists here", defaultConfig())
	}
	out, _, err := call(t, "-check")
	require.NoError(t, err)
	require.Equal(t, "ok: no configuration file, one instance with defaults\n", out)
}

func TestOptionNamesIncludeEmbeddedStructsAndTables(t *testing.T) {
	require.Equal(t, []string{"service_addresses", "dead_after", "missed_beats", "state_file", "welcome", "keys", "rule", "tls_cert", "tls_file"},
		optionNames(&fake{}, nil))
	require.Equal(t, []string{"host", "dead_after"}, optionNames(&fake{}, []string{"rule"}))
	require.Empty(t, optionNames(&fake{}, []string{"welcome"}))
	require.Nil(t, optionNames(&fake{}, []string{"nothing"}))
}
