//go:build unix

package probe

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

// program writes a file and returns its path.
func program(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "program")
	require.NoError(t, os.WriteFile(name, []byte(text), mode))
	return name
}

func shell(script string) []string { return []string{"/bin/sh", "-c", script} }

// What heartbeat-sender(1) says of probes, with real processes. Whatever a command does, its code
// is known within the limit, and no process of it is left.
func TestWhatCommandsDo(t *testing.T) {
	const hangs = 200 * time.Millisecond // the limit for those that never end
	dir := t.TempDir()
	for name, tt := range map[string]struct {
		args   []string
		limit  time.Duration
		code   int
		status string
	}{
		"exit 0":                      {args: shell("exit 0"), code: 0, status: OK},
		"exit 1":                      {args: shell("exit 1"), code: 1, status: Warn},
		"exit 2":                      {args: shell("exit 2"), code: 2, status: Fail},
		"exit 3":                      {args: shell("exit 3"), code: 3, status: Unknown},
		"exit 4":                      {args: shell("exit 4"), code: 4, status: Fail},
		"exit 127":                    {args: shell("exit 127"), code: 127, status: Fail},
		"exit 255":                    {args: shell("exit 255"), code: 255, status: Fail},
		"ended by SIGTERM":            {args: shell("kill -TERM $$"), code: 143, status: Fail},
		"ended by SIGKILL":            {args: shell("kill -KILL $$"), code: 137, status: Fail},
		"missing":                     {args: []string{filepath.Join(dir, "missing")}, code: 127, status: Fail},
		"missing in PATH":             {args: []string{"no-such-program-anywhere"}, code: 127, status: Fail},
		"its interpreter missing":     {args: []string{program(t, "#!/no/such/shell\n", 0o700)}, code: 127, status: Fail},
		"not executable":              {args: []string{program(t, "#!/bin/sh\n", 0o600)}, code: 126, status: Fail},
		"a directory":                 {args: []string{dir}, code: 126, status: Fail},
		"neither program nor script":  {args: []string{program(t, "nonsense", 0o700)}, code: 126, status: Fail},
		"prints megabytes":            {args: shell("head -c 20000000 /dev/zero; head -c 20000000 /dev/zero >&2; exit 1"), code: 1, status: Warn},
		"reads its input":             {args: shell("cat; exit 3"), code: 3, status: Unknown},
		"hangs":                       {args: shell("exec sleep 3600"), limit: hangs, code: TimedOut, status: Fail},
		"hangs in a child":            {args: shell("sleep 3600; exit 0"), limit: hangs, code: TimedOut, status: Fail},
		"hangs and ignores SIGTERM":   {args: shell("trap '' TERM HUP INT; while :; do sleep 3600; done"), limit: hangs, code: TimedOut, status: Fail},
		"stops itself":                {args: shell("kill -STOP $$"), limit: hangs, code: TimedOut, status: Fail},
		"leaves a child behind":       {args: shell("sleep 3600 & exit 0"), code: 0, status: OK},
		"leaves one that ignores all": {args: shell("trap '' TERM HUP; sleep 3600 & exit 1"), code: 1, status: Warn},
	} {
		t.Run(name, func(t *testing.T) {
			p := &Probe{Args: tt.args, Environ: os.Environ(), Interval: tt.limit}
			state, ended := p.Once(t.Context())
			require.True(t, ended)
			require.Equal(t, State{Status: tt.status, Code: tt.code}, state)
			<-p.last.gone
		})
	}
}

// A stop kills what runs, and waits for nothing.
func TestStopKillsTheProbe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancel(t.Context())
	p := &Probe{Args: shell("echo $$ >" + file + "; exec sleep 3600"), Environ: os.Environ()}
	go func() { // ends the run as soon as it goes on
		defer cancel()
		testkit.Until(t, "the command runs", func() bool {
			text, err := os.ReadFile(file)
			return err == nil && strings.HasSuffix(string(text), "\n")
		})
	}()
	_, ended := p.Once(ctx)
	require.False(t, ended)
	<-p.last.gone
}

// Its environment is what it was given, its input is empty.
func TestProbeHasTheEnvironmentThatItWasGiven(t *testing.T) {
	p := &Probe{Args: shell(`test "$COLOUR" = green && test -z "$(cat)" && exit 3`), Environ: []string{"COLOUR=green", "PATH=" + os.Getenv("PATH")}}
	state, _ := p.Once(t.Context())
	require.Equal(t, 3, state.Code)
	<-p.last.gone
}
