package main

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/cli"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/execd"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/manual"
)

var update = flag.Bool("update", false, "write the manual page and completions in deploy")

// described returns the program as its tables have it.
func described() *manual.Program {
	p := &manual.Program{
		Name: "telegraf-heartbeat",
		Does: "tell who is alive and who is dead, beside Telegraf",
		Commands: []manual.Command{
			{},
			{Name: "peers", Usage: "print who is dead or alive, since when and why"},
		},
	}
	add := func(command string, flags []cli.Flag) {
		for _, f := range flags {
			p.Options = append(p.Options, manual.Option{
				Name: f.Name, Value: f.Value, Initial: f.Initial, Usage: f.Usage, Commands: []string{command},
			})
		}
	}
	add("", execd.Flags())
	add("peers", peersFlags())
	return p
}

// help returns the lines of the help that begin so, without that.
func help(t *testing.T, begin string) string {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, execd.Run(t.Context(), []string{"-help"}, strings.NewReader(""), &out, &out))
	for line := range strings.Lines(out.String()) {
		if rest, ok := strings.CutPrefix(line, begin); ok {
			return strings.TrimSpace(rest)
		}
	}
	t.Fatalf("no line of the help begins with %q", begin)
	return ""
}

const examples = `telegraf-heartbeat -listen tcp://:7878
telegraf-heartbeat -check -config heartbeat.conf
telegraf-heartbeat -print-telegraf-conf
telegraf-heartbeat peers -dead
`

func page(t *testing.T) *manual.Page {
	t.Helper()
	config := ""
	for _, f := range execd.Flags() {
		if f.Name == "config" {
			config = f.Initial
		}
	}
	return described().Page(
		manual.Paragraphs(
			manual.Text("telegraf-heartbeat runs "+help(t, "telegraf-heartbeat runs ")),
			manual.Text("It receives heartbeats and tells of each host and service whether it is alive, since when and why. "+
				"Metrics "+help(t, "Metrics ")),
			manual.Text("SIGTERM, SIGINT or SIGHUP ends it, and so does the end of stdin where that is read."),
		),
		manual.Section{Title: "ENVIRONMENT", Text: manual.Text("Strings "+help(t, "Strings ")+" Without quotes "+help(t, "Without quotes ")) + manual.List(
			manual.Item{Head: "Ev STATE_DIRECTORY", Text: manual.Text("Where state is kept, if 'state_file' does not say it.")},
		)},
		manual.Section{Title: "FILES", Text: manual.List(
			manual.Item{Head: manual.Argument("Pa", config), Text: manual.Text("The configuration. All options have defaults.")},
			manual.Item{Head: manual.Argument("Pa", "/var/lib/telegraf/heartbeat.state"), Text: manual.Text("What is remembered over a restart.")},
		)},
		manual.Section{Title: "EXIT STATUS", Text: manual.Text(help(t, "Exit codes: "))},
		manual.Section{Title: "EXAMPLES", Text: manual.Example(examples)},
		manual.Section{Title: "SEE ALSO", Text: manual.See([2]string{"heartbeat-sender", "1"})},
	)
}

func TestManPagesAreUpToDate(t *testing.T) { manual.Compare(t, manual.Files(page(t)), *update) }

func TestCompletionsAreUpToDate(t *testing.T) { manual.Compare(t, described().Completions(), *update) }

func TestMandocAndShellsTakeWhatIsWritten(t *testing.T) {
	manual.Accepted(t, manual.Files(page(t)))
	manual.Accepted(t, described().Completions())
}

func TestManualAndCompletionsKnowEveryOption(t *testing.T) {
	var names []string
	for _, o := range described().Options {
		names = append(names, o.Name)
	}
	manual.CompareItems(t, page(t), "Fl", names)
	manual.CompareFlags(t, described(), names)
}

// With -help behind them they are only parsed.
func TestExamplesOfTheManualAreRight(t *testing.T) {
	for line := range strings.Lines(examples) {
		words := strings.Fields(line)[1:]
		if words[0] == "peers" {
			_, _, err := cli.Parse(peersFlags(), append(words[1:], "-help"))
			require.True(t, errors.Is(err, cli.ErrHelp), "%s: %v", line, err)
			continue
		}
		require.NoError(t, execd.Run(t.Context(), append(words, "-help"), nil, new(bytes.Buffer), nil), line)
	}
}

func TestShellsCompleteCommandLines(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "own.conf"), nil, 0o600))
	shell := manual.Completer{Program: "telegraf-heartbeat", Dir: dir}
	for _, tt := range []struct {
		line string
		want []string
	}{
		{"p", []string{"peers"}},
		{"-c", []string{"-config", "-check"}},
		{"-debug -l", []string{"-listen"}},
		{"-config o", []string{"own.conf"}},
		{"-listen o", nil},
		{"peers -d", []string{"-dead"}},
		{"peers -state-file o", []string{"own.conf"}},
	} {
		t.Run("bash "+tt.line, func(t *testing.T) {
			require.ElementsMatch(t, tt.want, shell.Bash(t, strings.Split(tt.line, " ")...))
		})
		t.Run("fish "+tt.line, func(t *testing.T) {
			require.ElementsMatch(t, tt.want, shell.Fish(t, tt.line))
		})
	}
}
