package manual

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// deploy is where the files are, for a test that runs two directories deeper.
const deploy = "../../deploy"

// Completions returns the files with the completions of the program.
func (p *Program) Completions() map[string]string {
	return map[string]string{
		"completions/bash/" + p.Name:           p.Bash(),
		"completions/zsh/_" + p.Name:           p.Zsh(),
		"completions/fish/" + p.Name + ".fish": p.Fish(),
	}
}

// Files returns pages as files.
func Files(pages ...*Page) map[string]string {
	all := make(map[string]string)
	for _, p := range pages {
		all["man/"+p.Name+"."+p.Number] = p.String()
	}
	return all
}

// Compare fails if files in deploy are not like this; with update it writes
// them first.
func Compare(t *testing.T, files map[string]string, update bool) {
	t.Helper()
	for name, want := range files {
		path := filepath.Join(deploy, filepath.FromSlash(name))
		if update {
			write(t, path, want)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != want {
			t.Errorf("deploy/%s is old (%v): run make docs", name, err)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// CompareItems fails if a page has no item for one of the names, which stand
// behind a macro.
func CompareItems(t *testing.T, p *Page, macro string, names []string) {
	t.Helper()
	for _, name := range names {
		item := "\n.It " + Argument(macro, name)
		if text := p.String(); !strings.Contains(text, item+"\n") && !strings.Contains(text, item+" ") {
			t.Errorf("%s(%s) has no item for %s", p.Name, p.Number, name)
		}
	}
}

// CompareFlags fails if one of the completions lacks one of the flags.
func CompareFlags(t *testing.T, p *Program, names []string) {
	t.Helper()
	for _, name := range names {
		for shell, found := range map[string]bool{
			"bash": regexp.MustCompile(`\bwords='(.* )?-` + name + `[ ']`).MatchString(p.Bash()),
			"zsh":  strings.Contains(p.Zsh(), "-"+name+"["),
			"fish": strings.Contains(p.Fish(), " -o "+name+" "),
		} {
			if !found {
				t.Errorf("the completion of %s does not know -%s", shell, name)
			}
		}
	}
}

// Accepted fails unless mandoc and the shells understand the files.
func Accepted(t *testing.T, files map[string]string) {
	t.Helper()
	checks := map[string][]string{
		"man/":              {"mandoc", "-T", "lint", "-W", "warning"},
		"completions/bash/": {"bash", "-n"},
		"completions/zsh/":  {"zsh", "-n"},
		"completions/fish/": {"fish", "--no-execute"},
	}
	for name, text := range files {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), filepath.Base(name))
			write(t, path, text)
			for kind, check := range checks {
				if !strings.HasPrefix(name, kind) {
					continue
				}
				if out := run(t, ".", check[0], append(check[1:], path)...); out != "" {
					t.Error(out)
				}
			}
		})
	}
}

// run returns what a program prints that has to end well.
func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("needs %s: install Debian's package %[1]s", name)
	}
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

// A Completer completes command lines of a program in a directory.
type Completer struct{ Program, Dir string }

// Bash returns what is offered in bash for the last of the words behind the
// name of the program.
func (c Completer) Bash(t *testing.T, words ...string) []string {
	t.Helper()
	const script = `source "$1"
COMP_WORDS=("${@:2}") COMP_CWORD=$(($# - 2))
read -r _ _ function _ < <(complete -p "$2")
"$function" "$2" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\n' "${COMPREPLY[@]}"`
	args := append([]string{"--norc", "-c", script, "bash", c.file(t, "bash", c.Program), c.Program}, words...)
	return strings.Fields(run(t, c.Dir, "bash", args...))
}

// Fish returns what is offered in fish at the end of the line behind the name
// of the program.
func (c Completer) Fish(t *testing.T, line string) []string {
	t.Helper()
	const script = `source $argv[1]; complete -C $argv[2]`
	printed := run(t, c.Dir, "fish", "--no-config", "-c", script, c.file(t, "fish", c.Program+".fish"), c.Program+" "+line)
	var offers []string
	for offer := range strings.Lines(printed) {
		offer, _, _ = strings.Cut(strings.TrimSpace(offer), "\t") // a description follows
		offers = append(offers, offer)
	}
	return offers
}

func (c Completer) file(t *testing.T, shell, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(deploy, "completions", shell, name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}
