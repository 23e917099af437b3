package execd

import (
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/influxdata/telegraf/plugins/inputs"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/cli"
)

func TestWrongCommandLineIsAUsageError(t *testing.T) {
	for args, want := range map[string]string{
		"-confg x":                          "flag provided but not defined: -confg (did you mean -config?)",
		"-config":                           "flag needs an argument: -config",
		"-config=":                          "'-config' needs a file",
		"stray":                             `unexpected argument "stray"`,
		"-check stray":                      `unexpected argument "stray"`,
		"-interval 0s":                      "'-interval' must be greater than zero",
		"-interval x":                       `'-interval' must be a duration like "10s", "90m" or "7d", not "x"`,
		"-debug=x":                          `-debug: "x" is neither true nor false`,
		"-check=x":                          `-check: "x" is neither true nor false`,
		"-listen=":                          "'-listen' needs a URL",
		"-listen tcp://:1 -config x":        "'-listen' and '-config' cannot be combined",
		"-listen tcp://:1 -interval 1s":     "'-listen' and '-interval' cannot be combined",
		"-listen tcp://:1 -check":           "'-listen' and '-check' cannot be combined",
		"-listen tcp://:1 -version":         "'-listen' and '-version' cannot be combined",
		"-check -version":                   "'-check' and '-version' cannot be combined",
		"-print-telegraf-conf -interval 1s": "'-print-telegraf-conf' and '-interval' cannot be combined",
	} {
		out, _, err := call(t, strings.Fields(args)...)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "see 'telegraf-heartbeat -help'")
		require.NotContains(t, err.Error(), "\n")
		require.Equal(t, cli.ExitUsage, cli.ExitCode(err), args)
		require.Empty(t, out)
	}
}

func TestIntervalIsADurationOfTelegraf(t *testing.T) {
	for text, want := range map[string]time.Duration{"10s": 10 * time.Second, "7d": 7 * 24 * time.Hour, "1d12h": 36 * time.Hour, "10": 10 * time.Second} {
		opts, err := parseFlags([]string{"-interval", text})
		require.NoError(t, err)
		require.Equal(t, want, opts.interval, text)
	}
}

// The stock shim has none of these flags.
func TestHelpNamesEachFlag(t *testing.T) {
	out, _, err := call(t, "-help")
	require.NoError(t, err)
	require.Equal(t, 0, cli.ExitCode(err))
	for _, flag := range append([]string{"config", "interval", "listen", "debug", "help"}, modes...) {
		require.Contains(t, out, "\n  -"+flag)
	}
	require.Contains(t, out, "ignore stdin")
}

func TestHelpFitsInATerminal(t *testing.T) {
	for line := range strings.Lines(usage()) {
		require.LessOrEqual(t, len(strings.TrimSuffix(line, "\n")), 80, line)
	}
}

func TestSampleConfigIsThePlugins(t *testing.T) {
	out, _, err := call(t, "-sample-config")
	require.NoError(t, err)
	require.Equal(t, (*fake)(nil).SampleConfig(), out)
}

func TestVersionSaysWhatABugReportNeeds(t *testing.T) {
	out, _, err := call(t, "-version")
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(out, "telegraf-heartbeat "), out)
	require.Contains(t, out, runtime.Version())
}

func TestTelegrafConfIsReadyToUse(t *testing.T) {
	type execd struct {
		Command      []string `toml:"command"`
		Signal       string   `toml:"signal"`
		RestartDelay string   `toml:"restart_delay"`
		DataFormat   string   `toml:"data_format"`
	}
	printed := func(args ...string) execd {
		out, _, err := call(t, append([]string{"-print-telegraf-conf"}, args...)...)
		require.NoError(t, err)
		var conf struct {
			Inputs struct{ Execd []execd }
		}
		meta, err := toml.Decode(out, &conf)
		require.NoError(t, err, out)
		require.Empty(t, meta.Undecoded())
		require.Len(t, conf.Inputs.Execd, 1)
		require.True(t, filepath.IsAbs(conf.Inputs.Execd[0].Command[0]))
		return conf.Inputs.Execd[0]
	}
	plain := printed()
	require.Len(t, plain.Command, 1)
	require.Equal(t, execd{plain.Command, "STDIN", "1s", "influx"}, plain)
	file, err := filepath.Abs("a \"b\"\\c.conf")
	require.NoError(t, err)
	require.Equal(t, []string{"-config", file, "-debug"}, printed("-debug", "-config", "a \"b\"\\c.conf").Command[1:])
}

func TestProgramWithoutThePluginSaysSo(t *testing.T) {
	create := inputs.Inputs["heartbeat"]
	delete(inputs.Inputs, "heartbeat")
	defer inputs.Add("heartbeat", create)
	_, _, err := call(t)
	require.EqualError(t, err, "plugin 'heartbeat' is not part of this program")
	require.Equal(t, cli.ExitFailed, cli.ExitCode(err))
}
