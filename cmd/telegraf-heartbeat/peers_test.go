package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/cli"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/statefile"
)

// fleet is a state file, as a collector writes it.
const fleet = "testdata/fleet.state"

var night = time.Date(2026, 11, 23, 23, 50, 0, 0, time.UTC)

// TestMain sets the time zone that is printed once and for all: the timers of
// packages that we use read it at any time.
func TestMain(m *testing.M) {
	time.Local = time.UTC
	os.Exit(m.Run())
}

func peersOf(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := peers(t.Context(), args, consoleAt(&out))
	return out.String(), err
}

// consoleAt is one in the night, where nothing is in the environment.
func consoleAt(out io.Writer) *console {
	return &console{stdout: out, stderr: out, getenv: func(string) string { return "" }, now: func() time.Time { return night }}
}

func TestPeersPrintsTheUrgentFirst(t *testing.T) {
	out, err := peersOf(t, "-state-file", fleet)
	require.NoError(t, err)
	want, err := os.ReadFile("testdata/fleet.txt")
	require.NoError(t, err)
	require.Equal(t, string(want), out)
}

// With several collectors it is said which one has heard a peer last.
func TestPeersSaysWhoHasHeard(t *testing.T) {
	state, err := statefile.Read(fleet, night)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "state")
	state.Peers[0].Foreign, state.Peers[0].HeardBy = true, "collector-2"
	file, _, err := statefile.Open(path, night)
	require.NoError(t, err)
	require.NoError(t, file.Begin())
	require.NoError(t, file.Replace())
	require.NoError(t, file.Append(&liveness.Changes{At: night, Records: state.Peers}))
	require.NoError(t, file.Close())
	out, err := peersOf(t, "-state-file", path)
	require.NoError(t, err)
	require.Regexp(t, `ADDRESS +HEARD BY\n`, out)
	require.Regexp(t, state.Peers[0].ID.String()+` .* collector-2\n`, out)
	require.Regexp(t, state.Peers[1].ID.String()+` .* this collector\n`, out)
}

func TestPeersPrintsOnlyTheDead(t *testing.T) {
	out, err := peersOf(t, "-dead", "-state-file", fleet)
	require.NoError(t, err)
	require.Contains(t, out, "dead ")
	require.NotContains(t, out, "alive  ")
	require.NotContains(t, out, "unknown  ")
}

func TestPeersFindsTheFileByTheConfiguration(t *testing.T) {
	path, err := filepath.Abs(fleet)
	require.NoError(t, err)
	config := filepath.Join(t.TempDir(), "heartbeat.conf")
	require.NoError(t, os.WriteFile(config, []byte("[[inputs.heartbeat]]\n  state_file = '"+path+"'\n"), 0o600))
	out, err := peersOf(t, "-config", config)
	require.NoError(t, err)
	require.Contains(t, out, "web-1/nginx")

	t.Setenv("STATE_DIRECTORY", filepath.Join(t.TempDir(), "none"))
	_, err = peersOf(t)
	require.ErrorContains(t, err, "none/heartbeat.state")
}

func TestPeersRefusesWhatItCannotDo(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none.conf")
	require.NoError(t, os.WriteFile(none, []byte("[[inputs.heartbeat]]\n  state_file = 'none'\n"), 0o600))
	bad := filepath.Join(t.TempDir(), "bad.state")
	require.NoError(t, os.WriteFile(bad, []byte("garbage"), 0o600))
	for _, c := range []struct {
		args []string
		want string
		code int
	}{
		{[]string{"-deed"}, "flag provided but not defined: -deed (did you mean -dead?); see 'telegraf-heartbeat peers -help'", 2},
		{[]string{"web-*", "-dead"}, `"-dead" comes after a name: flags come first`, 2},
		{[]string{"web-1", "web-2"}, `"web-2" is one name too many: quote globs, or the shell expands them`, 2},
		{[]string{"web-[1"}, `'host': "web-[1" is not a glob`, 2},
		{[]string{"-json", "-watch"}, "'-json' cannot be combined with '-watch' or '-why'", 2},
		{[]string{"-watch", "-exit-code"}, "'-watch' and '-exit-code' cannot be combined", 2},
		{[]string{"-state-file", fleet, "mail-*"}, `no peer is called "mail-*"`, 1},
		{[]string{"-config", "a", "-state-file", "b"}, "'-config' and '-state-file' cannot be combined", 2},
		{[]string{"-config", "/nowhere.conf"}, "no such file", 3},
		{[]string{"-config", "a", "-url", "http://b"}, "'-url' and '-config' cannot be combined", 2},
		{[]string{"-url", "b:7879"}, `'-url': "b:7879" is not an HTTP URL`, 2},
		{[]string{"-url", "http://me:secret@b"}, "'-url' has a password, which everybody on this host can read", 2},
		{[]string{"-url", "http://b", "-password-file", fleet}, "'-password-file' needs a user: write https://USER@... in '-url'", 2},
		{[]string{"-url", "http://me@b", "-password-file", "/nowhere"}, "'-password-file': open /nowhere: no such file", 3},
		{[]string{"-config", none, "-password-file", fleet}, "'-password-file' needs '-url'", 2},
		{[]string{"-config", none}, `'state_file' is "none"`, 1},
		{[]string{"-state-file", bad}, "reading state from ", 1},
	} {
		out, err := peersOf(t, c.args...)
		require.ErrorContains(t, err, c.want)
		require.Equal(t, c.code, cli.ExitCode(err), c.want)
		require.Empty(t, out)
	}
	out, err := peersOf(t, "-help")
	require.NoError(t, err)
	require.Equal(t, peersUsage(), out)
}

// A collector that runs, or has crashed, has not written when each beat came. What
// is damaged is told.
func TestPeersReadsAJournalThatGoesOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "heartbeat.state")
	file, _, err := statefile.Open(path, night)
	require.NoError(t, err)
	require.NoError(t, file.Begin())
	require.NoError(t, file.Replace())
	well := liveness.Record{
		ID: liveness.ID{Source: "web-1", Service: "nginx"}, State: liveness.Alive, Reason: liveness.ReasonBeat, Fresh: true,
		Since: night.Add(-time.Hour), Heard: night.Add(-time.Hour), Interval: 10 * time.Second, Dead: 35 * time.Second, Rule: "adaptive",
	}
	dead := well
	dead.ID.Service, dead.State, dead.Reason, dead.Fresh = "job", liveness.Dead, liveness.ReasonExited, false
	require.NoError(t, file.Append(&liveness.Changes{At: night.Add(-time.Hour), Records: []liveness.Record{well, dead}}))
	require.NoError(t, file.Append(&liveness.Changes{At: night.Add(-time.Minute), Listened: time.Hour - time.Minute}))
	require.NoError(t, file.Close())
	damaged, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	require.NoError(t, err)
	_, err = damaged.WriteString("00000000 {}\n")
	require.NoError(t, err)
	require.NoError(t, damaged.Close())

	out, err := peersOf(t, "-state-file", path)
	require.NoError(t, err)
	require.Contains(t, out, "last written 1m ago: 0 unknown, 1 alive, 0 suspect, 1 dead, 0 left\n")
	require.Contains(t, out, "skipped 1 lines that could not be read, the first is line 6: its checksum is wrong\n")
	require.Regexp(t, `dead .* web-1/job +exited +1h ago`, out)
	require.Regexp(t, `alive .* web-1/nginx +beat +in time`, out)
}
