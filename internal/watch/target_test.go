package watch

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTargetIsCalledWhatItIs(t *testing.T) {
	for want, target := range map[string]Target{
		"pid 4711":            {PID: 4711},
		"pid file /run/x.pid": {PIDFile: "/run/x.pid"},
		"unit nginx.service":  {Unit: "nginx"},
		"unit a.b.service":    {Unit: "a.b"},
		"unit x.socket":       {Unit: "x.socket"},
	} {
		require.Equal(t, want, target.String())
	}
}

func TestServiceIsNamedAfterItsTarget(t *testing.T) {
	for want, target := range map[string]Target{
		"nginx":              {Unit: "nginx"},
		"postgresql@15-main": {Unit: "postgresql@15-main.service"},
		"a.b":                {Unit: "a.b"},
		"x":                  {Unit: "x.socket"},
		"sshd":               {PIDFile: "/run/sshd.pid"},
		"postmaster":         {PIDFile: "/var/lib/postmaster"},
		"my_daemon":          {PIDFile: "/run/my daemon.pid"},
	} {
		name, err := target.Service()
		require.NoError(t, err)
		require.Equal(t, want, name)
	}
}

func TestServiceWithoutANameIsToBeGiven(t *testing.T) {
	for _, target := range []Target{{PID: maxPID}, {PIDFile: "/run/.pid"}} {
		_, err := target.Service()
		require.ErrorContains(t, err, "give a name with -service")
	}
}

func TestServiceNameIsFitForABeat(t *testing.T) {
	for name, want := range map[string]string{
		"nginx":                  "nginx",
		"tmux: server":           "tmux:_server",
		"a_b.c@d:e/f-9Z":         "a_b.c@d:e/f-9Z",
		"größe":                  "gr__e",
		"\xff\x00\n":             "___",
		strings.Repeat("x", 200): strings.Repeat("x", 128),
	} {
		require.Equal(t, want, ServiceName(name))
	}
}

func TestCheckNamesTheMistake(t *testing.T) {
	garbage := filepath.Join(t.TempDir(), "garbage.pid")
	require.NoError(t, os.WriteFile(garbage, []byte("x"), 0o600))
	tests := []struct {
		name   string
		target Target
		want   string
	}{
		{"nobody", Target{}, "no target: give a pid"},
		{"two", Target{PID: 1, Unit: "x"}, "give only one of"},
		{"number", Target{PID: 1 << 31}, "no process can have the ID 2147483648"},
		{"pattern", Target{Unit: "nginx*"}, `unit "nginx*" is a pattern`},
		{"directory", Target{PIDFile: filepath.Dir(garbage)}, "is not a regular file"},

		{"file that is not there yet", Target{PIDFile: garbage + "x"}, ""},
		{"file that is being written", Target{PIDFile: garbage}, ""},
		{"process that has ended", Target{PID: maxPID}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := (&Watcher{Targets: []Target{tt.target}}).Check(t.Context())
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.want)
		})
	}
}
