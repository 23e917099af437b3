//go:build unix

package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	flagItem  = regexp.MustCompile(`(?m)^\.It Fl (\S+)(?: Ar (\S+))?$`)
	helpItem  = regexp.MustCompile(`^(\S+)(?: ([A-Z]+(?:=[A-Z]+)?))? `)
	isDefault = regexp.MustCompile(`\(default (\S+)\)`)
	isOnlyFor = regexp.MustCompile(`\[([a-z, ]+)\]$`)
)

// An entry is what a help or a page says of a flag, without line breaks.
type entry struct{ flag, value, text string }

// helpFlags returns the flags that a program prints.
func helpFlags(t *testing.T, program string, args ...string) []entry {
	t.Helper()
	help, err := exec.Command(program, args...).Output()
	require.NoError(t, err)
	_, list, ok := strings.Cut(string(help), "\n  -")
	require.True(t, ok, "%s", help)
	list, _, _ = strings.Cut(list, "\n\n")
	var flags []entry
	for text := range strings.SplitSeq(list, "\n  -") {
		item := helpItem.FindStringSubmatch(text)
		require.NotNil(t, item, text)
		flags = append(flags, entry{item[1], item[2], strings.Join(strings.Fields(text), " ")})
	}
	return flags
}

// pageFlags returns the flags in a part of a manual page.
func pageFlags(part string) []entry {
	part, _, _ = strings.Cut(part, "\n.El")
	starts := flagItem.FindAllStringSubmatchIndex(part, -1)
	flags := make([]entry, 0, len(starts))
	for i, at := range starts {
		item, end := flagItem.FindStringSubmatch(part[at[0]:at[1]]), len(part)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		flags = append(flags, entry{item[1], item[2], strings.Join(strings.Fields(part[at[1]:end]), " ")})
	}
	return flags
}

// section returns what is in a page below a line.
func section(t *testing.T, page, line string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("man", page))
	require.NoError(t, err)
	_, below, ok := strings.Cut(string(text), "\n"+line+"\n")
	require.True(t, ok, "%s lacks %s", page, line)
	return below
}

// A page has the flags of the help in its order, with their values, defaults and
// commands. The other words of a page are its own.
func TestManPagesHaveEveryFlag(t *testing.T) {
	for _, tt := range []struct {
		page, section, program string
		help                   []string
	}{
		{"heartbeat-sender.1", ".Sh OPTIONS", built, []string{"help"}},
		{"telegraf-heartbeat.1", ".Sh OPTIONS", builtPlugin, []string{"-help"}},
		{"telegraf-heartbeat.1", ".Ss Options of peers", builtPlugin, []string{"peers", "-help"}},
		{"telegraf-heartbeat.1", ".Ss Options of check-peer", builtPlugin, []string{"check-peer", "-help"}},
	} {
		t.Run(tt.page+" "+tt.section, func(t *testing.T) {
			want, got := helpFlags(t, tt.program, tt.help...), pageFlags(section(t, tt.page, tt.section))
			require.Equal(t, names(want), names(got))
			for i, flag := range want {
				if found := isDefault.FindStringSubmatch(flag.text); found != nil {
					require.Contains(t, got[i].text, "The default is "+found[1]+".", "-%s", flag.flag)
				}
				if found := isOnlyFor.FindStringSubmatch(flag.text); found != nil {
					require.Contains(t, got[i].text, "Only for "+enumerate(found[1])+".", "-%s", flag.flag)
				} else {
					require.NotContains(t, got[i].text, "Only for", "-%s", flag.flag)
				}
			}
		})
	}
}

func names(flags []entry) []string {
	all := make([]string, 0, len(flags))
	for _, flag := range flags {
		all = append(all, strings.TrimSpace(flag.flag+" "+flag.value))
	}
	return all
}

// enumerate returns "a, b and c" for "a, b, c".
func enumerate(list string) string {
	last := strings.LastIndex(list, ", ")
	if last < 0 {
		return list
	}
	return list[:last] + " and " + list[last+len(", "):]
}

func TestManPageOfTheFileHasEveryKey(t *testing.T) {
	items := regexp.MustCompile(`(?m)^\.It Ic (\S+)$`).FindAllStringSubmatch(section(t, "heartbeat-sender.toml.5", ".Sh KEYS"), -1)
	keys := make([]string, 0, len(items))
	for _, item := range items {
		keys = append(keys, item[1])
	}
	require.ElementsMatch(t, append(keys, "watch"), possibleKeys(t))
}

// With -help behind them, command lines are only parsed.
func TestExamplesOfTheManualAreRight(t *testing.T) {
	for page, program := range map[string]string{"heartbeat-sender.1": built, "telegraf-heartbeat.1": builtPlugin} {
		for line := range strings.Lines(example(t, page)) {
			words := strings.Fields(line)
			require.Equal(t, filepath.Base(program), words[0])
			said, err := exec.Command(program, append(words[1:], "-help")...).CombinedOutput()
			require.NoError(t, err, "%s%s", line, said)
		}
	}
	accepts(t, example(t, "heartbeat-sender.toml.5"))
}

// example returns what is under EXAMPLES.
func example(t *testing.T, page string) string {
	t.Helper()
	text, _, _ := strings.Cut(section(t, page, ".Sh EXAMPLES"), "\n.Ed\n")
	_, lines, ok := strings.Cut(text, "\n")
	require.True(t, ok)
	return lines
}

func TestManPagesAreWellFormed(t *testing.T) {
	for _, page := range glob(t, "man/*") {
		require.Empty(t, asks(t, ".", "mandoc", "-T", "lint", "-W", "warning", page))
	}
}

// asks returns what a program prints that has to end well.
func asks(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("needs %s: install Debian's package %[1]s", name)
	}
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	said, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s: %s", cmd, said)
	return string(said)
}

// completed returns what bash offers for the last of the words.
func completed(t *testing.T, dir string, words ...string) []string {
	t.Helper()
	const script = `source "$1"
COMP_WORDS=("${@:2}") COMP_CWORD=$(($# - 2))
read -r _ _ function _ < <(complete -p "$2")
"$function" "$2" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\n' "${COMPREPLY[@]}"`
	file, err := filepath.Abs("completions/heartbeat.bash")
	require.NoError(t, err)
	return strings.Fields(asks(t, dir, "bash", append([]string{"--norc", "-c", script, "bash", file}, words...)...))
}

func TestBashCompletesCommandLines(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "own.toml"), nil, 0o600))
	for _, tt := range []struct {
		line string
		want []string
	}{
		{"heartbeat-sender ", []string{"run", "once", "exec", "leave", "check", "discover", "version", "help"}},
		{"heartbeat-sender di", []string{"discover"}},
		{"heartbeat-sender l", []string{"leave"}},
		{"heartbeat-sender -", nil},
		{"heartbeat-sender help ch", []string{"check"}},
		{"heartbeat-sender run -int", []string{"-interval"}},
		{"heartbeat-sender once -int", nil},
		{"heartbeat-sender once -e", []string{"-every"}},
		{"heartbeat-sender run -quiet -pid", []string{"-pid", "-pid-file"}},
		{"heartbeat-sender run -config o", []string{"own.toml"}},
		{"heartbeat-sender run --config = o", []string{"own.toml"}},
		{"heartbeat-sender run -key-file =", []string{"own.toml"}},
		{"heartbeat-sender run -host o", nil},
		{"heartbeat-sender run -probe heartbeat-sen", []string{"heartbeat-sender"}},
		{"heartbeat-sender exec -service x -ta", []string{"-tag"}},
		{"heartbeat-sender exec -quiet heartbeat-no-such-", nil},
		{"heartbeat-sender exec -host = a heartbeat-sen", []string{"heartbeat-sender"}},
		{"heartbeat-sender exec -service x -- cat o", []string{"own.toml"}},
		{"telegraf-heartbeat p", []string{"peers"}},
		{"telegraf-heartbeat -c", []string{"-config", "-check"}},
		{"telegraf-heartbeat -debug -l", []string{"-listen"}},
		{"telegraf-heartbeat -config o", []string{"own.toml"}},
		{"telegraf-heartbeat -listen o", nil},
		{"telegraf-heartbeat c", []string{"check-peer"}},
		{"telegraf-heartbeat peers -d", []string{"-dead"}},
		{"telegraf-heartbeat peers -password-file o", []string{"own.toml"}},
		{"telegraf-heartbeat check-peer -H o", nil},
		{"telegraf-heartbeat check-peer -", []string{"-H", "-service", "-left", "-url", "-password-file", "-config", "-state-file", "-help"}},
		{"telegraf-heartbeat peers -state-file o", []string{"own.toml"}},
	} {
		t.Run(tt.line, func(t *testing.T) {
			require.ElementsMatch(t, tt.want, completed(t, dir, strings.Split(tt.line, " ")...))
		})
	}
}
