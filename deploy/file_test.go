//go:build unix

package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/stretchr/testify/require"
)

const sample = "heartbeat-sender.toml"

var (
	settingLine  = regexp.MustCompile(`^#([a-z_]+) = (.*)$`)
	optionInHelp = regexp.MustCompile(`(?m)^  -(\S+) .* \(default (\S+)\)`)
)

// settings returns what stands in the sample behind a "#" without a space: the
// lines that are on their own, and then the tables.
func settings(t *testing.T) (lines map[string]string, tables []string) {
	t.Helper()
	text, err := os.ReadFile(sample)
	require.NoError(t, err)
	lines = make(map[string]string)
	inTable := false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		found := settingLine.FindStringSubmatch(line)
		switch {
		case line == "#[[watch]]":
			tables, inTable = append(tables, "[[watch]]\n"), true
		case found != nil && inTable:
			tables[len(tables)-1] += line[1:] + "\n"
		case found != nil:
			require.NotContains(t, lines, found[1], "it is there twice")
			lines[found[1]] = found[2]
		default:
			require.Regexp(t, `^($|#$|# )`, line, "neither a comment nor a setting")
			inTable = false
		}
	}
	require.NotEmpty(t, lines)
	require.NotEmpty(t, tables)
	return lines, tables
}

// Each setting on its own: some exclude each other.
func TestProgramTakesEverySetting(t *testing.T) {
	lines, tables := settings(t)
	lines["pid"] = strconv.Itoa(os.Getpid()) // the program looks what that is
	for key, value := range lines {
		t.Run(key, func(t *testing.T) { accepts(t, key+" = "+value+"\n") })
	}
	for _, table := range tables {
		t.Run(strings.Split(table, "\n")[1], func(t *testing.T) { accepts(t, table) })
	}
	t.Run("all tables", func(t *testing.T) { accepts(t, strings.Join(tables, "")) })
}

// accepts fails if anything is wrong but that nobody listens.
func accepts(t *testing.T, text string) {
	t.Helper()
	_, err := toml.Decode(text, new(map[string]any))
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), sample)
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	args := []string{"once", "-timeout", "100ms", "-splay", "1ms", "-config", file}
	exits(t, exitNotDelivered, program(t, args, nobody(t), "PATH="+fakeSystemctl(t)))
}

// fakeSystemctl returns the directory of one to which every unit is there and
// runs: those of the sample are not on every machine.
func fakeSystemctl(t *testing.T) (dir string) {
	t.Helper()
	const script = `#!/bin/sh
while [ "$1" != -- ]; do shift; done
shift
for unit; do
	printf 'LoadState=loaded\nActiveState=active\nSubState=running\nResult=success\nMainPID=%s\n\n' $PPID
done
`
	dir = t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "systemctl"), []byte(script), 0o700))
	return dir
}

// As it is installed it says nothing, and the program says what is missing.
func TestSampleGivesNothing(t *testing.T) {
	said := exits(t, exitConfig, program(t, []string{"run", "-config", sample}))
	require.Contains(t, said, "no server to send to")
	require.Contains(t, said, "'server' in the file")
}

// possibleKeys returns the keys of the file: the program lists them in the error
// about an unknown one.
func possibleKeys(t *testing.T) []string {
	t.Helper()
	file := filepath.Join(t.TempDir(), sample)
	require.NoError(t, os.WriteFile(file, []byte("missing = 1\n"), 0o600))
	said := exits(t, exitConfig, program(t, []string{"run", "-config", file}))
	_, keys, ok := strings.Cut(strings.TrimSpace(said), "the options are ")
	require.True(t, ok, said)
	return strings.Split(keys, ", ")
}

func TestSampleKnowsEverySetting(t *testing.T) {
	lines, _ := settings(t)
	for _, key := range possibleKeys(t) {
		if key != "watch" {
			require.Contains(t, lines, key)
		}
	}
}

func TestSampleKnowsDefaults(t *testing.T) {
	help, err := exec.Command(built, "help").Output()
	require.NoError(t, err)
	lines, _ := settings(t)
	found := optionInHelp.FindAllStringSubmatch(string(help), -1)
	require.NotEmpty(t, found)
	for _, option := range found {
		if key := strings.ReplaceAll(option[1], "-", "_"); key != "config" {
			require.Equal(t, `"`+option[2]+`"`, lines[key], key)
		}
	}
}
