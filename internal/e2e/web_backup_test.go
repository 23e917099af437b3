//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

// A host with something to back up.
type files struct {
	t   *testing.T
	dir string
}

func newFiles(t *testing.T) *files {
	t.Helper()
	f := &files{t, t.TempDir()}
	require.NoError(t, os.Mkdir(f.path("data"), 0o700))
	require.NoError(t, os.WriteFile(f.path("data/file"), []byte("something"), 0o600))
	return f
}

func (f *files) path(name string) string { return filepath.Join(f.dir, name) }

// run runs a program to its end, with a home of its own, and returns its exit code.
func (f *files) run(environ []string, name string, args ...string) int {
	f.t.Helper()
	command := exec.Command(debian(f.t, name), args...)
	command.Env = append(environ, "HOME="+f.dir)
	return testkit.Start(f.t, name, command).Exit()
}

// borgmatic runs it as a host with this ping URL would.
func (f *files) borgmatic(ping, action string, more ...string) int {
	f.t.Helper()
	config := fmt.Sprintf(`location:
    source_directories: [%[1]s/data]
    repositories: [%[1]s/borg]
hooks:
    healthchecks:
        ping_url: %[2]s
`, f.dir, ping)
	require.NoError(f.t, os.WriteFile(f.path("borgmatic.yaml"), []byte(config), 0o600))
	debian(f.t, "borg")
	args := append([]string{"--config", f.path("borgmatic.yaml"), "--log-file", f.path("log"), "--monitoring-verbosity", "1", action}, more...)
	return f.run([]string{"BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes"}, "borgmatic", args...)
}

// borgmatic tells with its hook for Healthchecks when a backup begins and how it ended, and
// sends its log along.
func TestBorgmaticTellsHowABackupEnded(t *testing.T) {
	t.Parallel()
	p := newPings(t, check(pingID, "web-1/borgmatic", `every = "24h"`, `max_runtime = "2h"`))
	p.start()
	f, ping := newFiles(t), p.url("/ping/"+pingID)
	require.Zero(t, f.borgmatic(ping, "init", "--encryption", "none"))
	require.Empty(t, p.states("web-1", "borgmatic"))
	require.Zero(t, f.borgmatic(ping, "create"))
	p.untilStates("web-1", "borgmatic", "alive beat")
	p.untilNoRun("web-1/borgmatic")

	require.NoError(t, os.Rename(f.path("borg"), f.path("elsewhere")))
	require.NotZero(t, f.borgmatic(ping, "create"))
	p.untilStates("web-1", "borgmatic", "alive beat", "dead exited")
	require.NoError(t, os.Rename(f.path("elsewhere"), f.path("borg")))
	require.Zero(t, f.borgmatic(ping, "create"))
	p.untilStates("web-1", "borgmatic", "alive beat", "dead exited", "alive beat")
	require.Empty(t, p.now().Stderr.With("Refused"))
}

// The script of our documents tells the same of restic, with an id for each run, and ends as
// restic does.
func TestResticInAScriptTellsHowItEnded(t *testing.T) {
	t.Parallel()
	p := newPings(t, check(pingID, "web-1/restic", `every = "24h"`, `max_runtime = "2h"`))
	p.start()
	f := newFiles(t)
	environ := []string{"RESTIC_REPOSITORY=" + f.path("restic"), "RESTIC_PASSWORD=secret", "PING_URL=" + p.url("/ping/"+pingID)}
	require.Zero(t, f.run(environ, "restic", "init"))
	backup := func(directory string) int {
		debian(t, "curl")
		return f.run(environ, "bash", filepath.Join("..", "..", "deploy", "examples", "restic.sh"), f.path(directory))
	}
	require.Zero(t, backup("data"))
	p.untilStates("web-1", "restic", "alive beat")
	p.untilNoRun("web-1/restic")
	code := backup("nothing")
	require.NotZero(t, code)
	p.untilStates("web-1", "restic", "alive beat", "dead exited")
	p.untilExitCode("web-1/restic", code)
	require.Zero(t, backup("data"))
	p.untilStates("web-1", "restic", "alive beat", "dead exited", "alive beat")
}

// Whether a collector is there costs no backup.
func TestBackupsRunWithoutACollector(t *testing.T) {
	t.Parallel()
	f := newFiles(t)
	nowhere := "http://" + testkit.FreeAddress(t) + "/ping/" + pingID
	require.Zero(t, f.borgmatic(nowhere, "init", "--encryption", "none"))
	require.Zero(t, f.borgmatic(nowhere, "create"))
	environ := []string{"RESTIC_REPOSITORY=" + f.path("restic"), "RESTIC_PASSWORD=secret", "PING_URL=" + nowhere}
	require.Zero(t, f.run(environ, "restic", "init"))
	require.Zero(t, f.run(environ, "bash", filepath.Join("..", "..", "deploy", "examples", "restic.sh"), f.path("data")))
}
