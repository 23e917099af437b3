//go:build unix

// Package deploy holds the files with which the programs run under systemd and
// cron and in containers, their manual and their completion. Its tests ask systemd,
// mandoc, bash and the programs whether these are right; they know no code.
package deploy

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	installed = "/usr/bin/heartbeat-sender"

	// deadline is for what happens at once, on a machine that does much else.
	deadline = 20 * time.Second
)

// What is built from the source beside these files.
var (
	bin         string // directory of both programs
	built       string // heartbeat-sender
	builtPlugin string // telegraf-heartbeat
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "deploy")
	if err != nil {
		panic(err)
	}
	bin, built, builtPlugin = dir, filepath.Join(dir, "heartbeat-sender"), filepath.Join(dir, "telegraf-heartbeat")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", dir+"/", "../cmd/heartbeat-sender", "../cmd/telegraf-heartbeat")
	out, err := build.CombinedOutput()
	code := 1
	if err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
	} else {
		code = m.Run()
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// A unit is a file of systemd: what each of its directives says.
type unit map[string][]string

func readUnit(t *testing.T, name string) unit {
	t.Helper()
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	u := make(unit)
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		require.False(t, strings.HasSuffix(line, `\`), "these tests read no continued lines")
		if key, value, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, "#") {
			u[key] = append(u[key], value)
		}
	}
	return u
}

// one returns what a directive says that has to be there once.
func (u unit) one(t *testing.T, key string) string {
	t.Helper()
	require.Len(t, u[key], 1, key)
	return u[key][0]
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(pattern)
	require.NoError(t, err)
	require.NotEmpty(t, names, pattern)
	return names
}

// ours returns the arguments of a command line that calls our program.
func ours(t *testing.T, line string) []string {
	t.Helper()
	words := strings.Fields(line)
	require.NotEmpty(t, words)
	require.Equal(t, installed, words[0])
	require.False(t, strings.ContainsAny(line, `"'%$`), "these tests read no quotes and no variables")
	return words[1:]
}
