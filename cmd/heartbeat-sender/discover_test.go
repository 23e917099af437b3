package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/cli"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/watch"
)

// Whatever units are called, the tables for those that systemd_unit takes make a file that is
// taken, in which each is named once and by a name of its own.
func TestProposalsMakeAFile(t *testing.T) {
	long := strings.Repeat("x", 200)
	units := []string{
		`a\x2db`, "a_x2db", "a:b", "host", "host-2", "x.mount", "x.service", "-x", "x y", `x"`, "x\n[[watch]]", "café", "*", "",
		long + "1", long + "2", long + "3", "postgresql@15-main", "@", ".", `\`, "_",
	}
	var text strings.Builder
	names, want := map[string]bool{hostService: true}, []string{}
	for _, unit := range units {
		name := unit + ".service"
		if target, err := unitTarget(name); err == nil {
			text.WriteString(proposal(&target, names))
			want = append(want, "unit "+name)
		}
	}
	require.Greater(t, len(want), 12)
	c := testCall(t, text.String(), "once")
	require.NoError(t, load(t, c))
	got := []string{}
	for i := range c.settings.watches {
		got = append(got, c.settings.watches[i].target.String())
	}
	require.Equal(t, want, got)
	require.Len(t, names, len(want)+1)
}

func TestDiscoverNeedsSystemd(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	c := testCall(t, "", "discover")
	require.Equal(t, cli.ExitConfig, c.exit(t.Context()))
	require.Empty(t, c.stdout.(*bytes.Buffer).String())
	require.Equal(t, `heartbeat-sender: units need systemd: exec: "systemctl": executable file not found in $PATH`+"\n", c.stderr.(*bytes.Buffer).String())
}

func TestOnlyWhatBelongsToTheSystemIsLeftOut(t *testing.T) {
	for name, want := range map[string]bool{
		"systemd-udevd.service": true, "getty@tty1.service": true, "user@1000.service": true, "dbus-broker.service": true,
		"heartbeat-sender.service": true, "ssh.service": false, "cron.service": false, "telegraf.service": false,
		"my-systemd-thing.service": false, "usermod.service": false,
	} {
		require.Equal(t, want, isOfSystem(name), name)
	}
}

// Where a name is cut off to make room for a number, that is what tells them apart.
func TestProposedNamesAreShortEnough(t *testing.T) {
	names := make(map[string]bool)
	for i := range 12 {
		unit := watch.Target{Unit: fmt.Sprintf("%0200d", i)}
		proposal(&unit, names)
	}
	require.Len(t, names, 12)
	for name := range names {
		require.LessOrEqual(t, len(name), 128)
	}
}
