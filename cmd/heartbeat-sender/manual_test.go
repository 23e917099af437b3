package main

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/manual"
)

var update = flag.Bool("update", false, "write the manual pages and completions in deploy")

// described returns the program as its tables have it.
func described() *manual.Program {
	first, _, _ := strings.Cut(helpHead, "\n")
	p := &manual.Program{
		Name: "heartbeat-sender",
		Does: strings.TrimSuffix(strings.Replace(first, "heartbeat-sender tells", "tell", 1), "."),
	}
	var names []string
	for _, c := range commands() {
		names = append(names, c.name)
		p.Commands = append(p.Commands, manual.Command{
			Name: c.name, Takes: c.takes, Usage: c.usage, Wraps: c.wraps, Helps: c.takes == "[COMMAND]",
		})
	}
	for _, o := range options() {
		p.Options = append(p.Options, manual.Option{
			Name: o.name, Value: o.value, Initial: o.initial, Usage: o.usage,
			Commands: strings.Fields(o.commands), Many: o.isList(),
		})
	}
	p.Options = append(p.Options, manual.Option{Name: "h", Usage: "print the flags of the command", Commands: names})
	return p
}

func pages() map[string]string { return manual.Files(programPage(), filePage()) }

func programPage() *manual.Page {
	return described().Page(
		manual.Paragraphs(
			manual.Text(strings.Split(helpHead, "\n")[0]),
			manual.Text("A collector is Telegraf with inputs.heartbeat. It decides who is dead."),
			manual.Text("Without a target this program speaks for the host. With one it watches a service: by systemd unit, "+
				"pid file or pid. A restart is no death; an end is told at once."),
		),
		manual.Section{Title: "ENVIRONMENT", Text: environment()},
		manual.Section{Title: "FILES", Text: manual.List(
			manual.Item{Head: manual.Argument("Pa", defaultConfig), Text: manual.Text("Settings for all commands, see heartbeat-sender.toml(5).")},
			manual.Item{Head: manual.Argument("Pa", "$CREDENTIALS_DIRECTORY/"+credential), Text: manual.Text("The secret to sign beats with.")},
		)},
		manual.Section{Title: "EXIT STATUS", Text: exitStatus()},
		manual.Section{Title: "EXAMPLES", Text: manual.Example(strings.Join(examples(), "\n"))},
		manual.Section{Title: "SEE ALSO", Text: manual.See(
			[2]string{"systemctl", "1"}, [2]string{"telegraf-heartbeat", "1"}, [2]string{"crontab", "5"},
			[2]string{"heartbeat-sender.toml", "5"}, [2]string{"systemd.exec", "5"},
		)},
	)
}

// sources returns what the help says of flags, environment and file: a text,
// and lines.
func sources() (text, lines string) {
	text, lines, _ = strings.Cut(strings.TrimSpace(helpSources), "\n\n")
	return text, strings.ReplaceAll("\n"+lines, "\n  ", "\n")
}

func environment() string {
	text, lines := sources()
	var names []manual.Item
	for _, o := range options() {
		if !o.isFlag() {
			names = append(names, manual.Item{Head: manual.Argument("Ev", o.env()), Text: manual.Macro(".Fl", o.name)})
		}
	}
	return manual.Text(text) + manual.Example(lines) + ".Pp\n" + manual.Names(names...) +
		".Pp\n" + manual.Text("What systemd says is heeded too:") + manual.List(
		manual.Item{Head: "Ev CREDENTIALS_DIRECTORY", Text: manual.Text("Where " + credential + " is.")},
		manual.Item{Head: "Ev NOTIFY_SOCKET", Text: manual.Text("Where run says that it is ready, how it is, and that it stops.")},
		manual.Item{Head: "Ev WATCHDOG_USEC", Text: manual.Text("How often it has to say so.")},
		manual.Item{Head: "Ev JOURNAL_STREAM", Text: manual.Text("Messages to the journal have priorities.")},
	) + ".Pp\n" + manual.Text("Programs are looked for in PATH, or if there is none in "+defaultPath+".")
}

// exitStatus returns what the helps of the commands say, those together that
// say the same.
func exitStatus() string {
	var items []manual.Item
	said := make(map[string][]string)
	for _, c := range commands() {
		if text := exitHelp(&c); len(optionsOf(&c)) > 0 {
			said[text] = append(said[text], c.name)
		}
	}
	for _, text := range []string{helpExit, helpExecExit, helpCheckExit} {
		_, meaning, _ := strings.Cut(text, ":")
		items = append(items, manual.Item{Head: manual.Argument("Cm", manual.Enumerate(said[text], "and")), Text: manual.Sentence(strings.TrimSpace(meaning))})
	}
	return manual.List(items...)
}

// examples are those of the help.
func examples() []string {
	var lines []string
	for line := range strings.Lines(helpExamples) {
		if strings.HasPrefix(line, "  ") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

const fileExample = `server = ["tcp://collector.example.com:7878"]
tag = ["site=berlin", "role=web"]
back_in = "15m"

[[watch]]
systemd_unit = "nginx"

[[watch]]
pid_file = "/run/haproxy.pid"
service = "haproxy"
restart_grace = "30s"
`

// filePage is about the file.
func filePage() *manual.Page {
	var keys []manual.Item
	var targets, others []string
	for _, o := range options() {
		if o.isFlag() {
			continue
		}
		keys = append(keys, keyItem(o))
		switch {
		case o.target:
			targets = append(targets, o.key())
		case o.watch:
			others = append(others, o.key())
		}
	}
	return &manual.Page{
		Name: "heartbeat-sender.toml", Number: "5", Does: "settings of heartbeat-sender",
		Sections: []manual.Section{
			{Title: "DESCRIPTION", Text: manual.Paragraphs(
				manual.Text(defaultConfig+" holds settings for all commands of heartbeat-sender(1), in TOML. "+
					"Another file is named by the flag -config."),
				manual.Text("Only server is needed, if neither a flag nor the environment gives it. A key that is not known is an error. "+
					"An empty text says nothing. "+strings.Split(strings.Join(strings.Fields(helpSources), " "), ". ")[0]+"."),
			)},
			{Title: "KEYS", Text: manual.List(keys...)},
			{Title: "TABLES", Text: manual.Paragraphs(
				manual.Text("Each table [[watch]] names a service that is watched beside the host, by one of "+manual.Enumerate(targets, "or")+"."),
				manual.Text("It may also hold "+manual.Enumerate(others, "and")+". What stands above the first table holds for all of them. "+
					"Of two labels with one key that of the table counts."),
			)},
			{Title: "FILES", Text: manual.List(manual.Item{Head: manual.Argument("Pa", defaultConfig), Text: manual.Text("Is read if it is there.")})},
			{Title: "EXAMPLES", Text: manual.Example(fileExample)},
			{Title: "SEE ALSO", Text: manual.See([2]string{"heartbeat-sender", "1"})},
		},
	}
}

func keyItem(o *option) manual.Item {
	text := manual.Sentence(o.usage) + manual.Sentence("It is "+o.wants())
	if o.initial != "" {
		text += manual.Sentence(`The default is "` + o.initial + `"`)
	}
	readers := slices.DeleteFunc(strings.Fields(o.commands), func(name string) bool { return o.flagFor(commandNamed(name)) })
	if !slices.Equal(readers, strings.Fields(speaking)) {
		text += manual.Sentence("Only for " + manual.Enumerate(readers, "and"))
	}
	return manual.Item{Head: manual.Argument("Ic", o.key()), Text: text}
}

func TestManPagesAreUpToDate(t *testing.T) { manual.Compare(t, pages(), *update) }

func TestCompletionsAreUpToDate(t *testing.T) { manual.Compare(t, described().Completions(), *update) }

func TestMandocAndShellsTakeWhatIsWritten(t *testing.T) {
	manual.Accepted(t, pages())
	manual.Accepted(t, described().Completions())
}

func TestManualAndCompletionsKnowEveryOption(t *testing.T) {
	var names, keys []string
	for _, o := range options() {
		names = append(names, o.name)
		if !o.isFlag() {
			keys = append(keys, o.key())
		}
	}
	manual.CompareItems(t, programPage(), "Fl", names)
	manual.CompareItems(t, filePage(), "Ic", keys)
	manual.CompareFlags(t, described(), names)
}

func TestExamplesOfTheManualAreRight(t *testing.T) {
	require.NotEmpty(t, examples())
	for _, line := range examples() {
		words := strings.Fields(line)
		require.Equal(t, "heartbeat-sender", words[0])
		c, args, err := findCommand(words[1:])
		require.NoError(t, err)
		_, _, err = parseFlags(c, args)
		require.NoError(t, err)
	}
	file := filepath.Join(t.TempDir(), "heartbeat-sender.toml")
	require.NoError(t, os.WriteFile(file, []byte(fileExample), 0o600))
	var s settings
	require.NoError(t, s.readFile(t.Context(), commandNamed("run"), file))
	require.Len(t, s.watches, 2)
}

func TestShellsCompleteCommandLines(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "own.toml"), nil, 0o600))
	shell := manual.Completer{Program: "heartbeat-sender", Dir: dir}
	for _, tt := range []struct {
		line string
		want []string
	}{
		{"", strings.Split(commandNames(), ", ")},
		{"l", []string{"leave"}},
		{"help ch", []string{"check"}},
		{"run -int", []string{"-interval"}},
		{"once -int", nil},
		{"once -e", []string{"-every"}},
		{"run -quiet -pid", []string{"-pid", "-pid-file"}},
		{"run -config o", []string{"own.toml"}},
		{"run -host o", nil},
		{"exec -service x -ta", []string{"-tag"}},
		{"exec -quiet heartbeat-no-such-", nil},
		{"exec -service x -- cat o", []string{"own.toml"}},
	} {
		t.Run("bash "+tt.line, func(t *testing.T) {
			require.ElementsMatch(t, tt.want, shell.Bash(t, strings.Split(tt.line, " ")...))
		})
		t.Run("fish "+tt.line, func(t *testing.T) {
			require.ElementsMatch(t, tt.want, shell.Fish(t, tt.line))
		})
	}
	t.Run("bash, which cuts at =", func(t *testing.T) {
		require.Equal(t, []string{"own.toml"}, shell.Bash(t, "run", "--config", "=", "o"))
		require.Equal(t, []string{"own.toml"}, shell.Bash(t, "run", "-key-file", "="))
		require.Contains(t, shell.Bash(t, "exec", "-host", "=", "a", "ca"), "cat")
	})
}
