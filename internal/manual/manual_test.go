package manual

import (
	"os/exec"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// odd has texts that mean something to roff, to mdoc or to a shell.
func odd() *Program {
	return &Program{
		Name: "odd",
		Does: "'quote' the odd",
		Commands: []Command{
			{},
			{Name: "Sh", Usage: `.So it's $HOME: a\nb "c" [d]`, Takes: "CMD...", Wraps: true},
			{Name: "help", Usage: "`id`", Takes: "[COMMAND]", Helps: true},
		},
		Options: []Option{
			{Name: "Ar", Value: "FILE", Usage: `it's "one": [a] {b} $(id) \ %s.`, Commands: []string{"", "Sh"}, Many: true},
			{Name: "Fl", Value: "Op", Initial: `'\`, Usage: ".El", Commands: []string{"Sh"}},
			{Name: "h", Usage: "'help", Commands: []string{"", "Sh", "help"}},
		},
	}
}

func oddPage() *Page {
	return odd().Page(Text(`.Pp of it. 'So' is \(co. This e.g. is no end.`),
		Section{"EXAMPLES", Example("\n.Ed\n\n'x' -- \\fBbold\n")},
		Section{"SEE ALSO", See([2]string{"No", "1"})})
}

func TestNothingInATextIsReadAsMarkup(t *testing.T) {
	Accepted(t, Files(oddPage()))
	Accepted(t, odd().Completions())

	shown := render(t, oddPage())
	for _, text := range []string{
		"odd Sh [flags] CMD...",
		`.So it's $HOME: a\nb "c" [d].`,
		`-Ar FILE It's "one": [a] {b} $(id) \ %s.`,
		`-Fl Op .El. The default is '\.`,
		`.Pp of it. 'So' is \(co. This e.g. is no end.`,
		`.Ed 'x' -- \fBbold`,
		"No(1)",
	} {
		require.Contains(t, shown, text)
	}
}

// render returns a page as it is read, with single spaces.
func render(t *testing.T, p *Page) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir+"/page", p.String())
	out := run(t, dir, "mandoc", "-T", "ascii", "page")
	return spaces.ReplaceAllString(overstrike.ReplaceAllString(out, ""), " ")
}

var (
	overstrike = regexp.MustCompile(`.\x08`)
	spaces     = regexp.MustCompile(`\s+`)
)

func TestPagesAreTheSameTomorrow(t *testing.T) {
	require.Equal(t, oddPage().String(), oddPage().String())
	require.Contains(t, oddPage().String(), "\n.Dd "+Date+"\n")
}

// What the checks let pass they would let pass in deploy too.
func TestShellsRefuseWhatIsBroken(t *testing.T) {
	for name, args := range map[string][]string{"bash": {"-n"}, "zsh": {"-n"}, "fish": {"--no-execute"}, "mandoc": {"-T", "lint", "-W", "warning"}} {
		t.Run(name, func(t *testing.T) {
			if _, err := exec.LookPath(name); err != nil {
				t.Skipf("needs %s: install Debian's package %[1]s", name)
			}
			file := t.TempDir() + "/broken"
			write(t, file, ".Sh 'if (\n")
			require.Error(t, exec.CommandContext(t.Context(), name, append(args, file)...).Run())
		})
	}
}
