package systemd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

// runsInstalled waits until a unit runs the program that is installed now.
func (m *machine) runsInstalled(unit string) {
	m.t.Helper()
	installed, err := os.Stat(m.path("/usr/bin/heartbeat-sender"))
	require.NoError(m.t, err)
	testkit.Until(m.t, "the installed program to run", func() bool {
		running, err := os.Stat(m.path(filepath.Join("/proc", m.show(unit, "MainPID"), "exe")))
		return err == nil && os.SameFile(installed, running)
	})
}

// connections returns how many a unit has with the collector.
func (m *machine) connections() int {
	m.t.Helper()
	return strings.Count(m.run("ss", "-Htn", "state", "established", "dport = :7878"), "\n")
}

// A package takes the place of the one before without an event: the process stays, and so do its
// connections until it has others. What it watches is watched on.
func TestUpgradeOfASenderIsNoEvent(t *testing.T) {
	t.Parallel()
	for _, unit := range []string{hostUnit, watchUnit} {
		t.Run(unit, func(t *testing.T) {
			t.Parallel()
			m, c := startWatching(t, "reloaded", "")
			if unit == hostUnit {
				m.systemctl("disable", "--now", watchUnit)
				c.leaves("host", "demo", "loop")
				m.write(configFile, server, 0o644)
				m.systemctl("start", unit)
				c.tells("host", "alive")
				c.hearsMore(1, "host")
			}
			pid := m.show(unit, "MainPID")
			for range 2 {
				m.install()
				m.runsInstalled(unit)
				testkit.Until(t, "it to be ready", func() bool { return m.show(unit, "SubState") == "running" })
			}
			testkit.Until(t, "connections of before to end", func() bool { return m.connections() == 1 })
			c.hearsMore(2, "host")
			require.Equal(t, []string{pid, "0"}, []string{m.show(unit, "MainPID"), m.show(unit, "NRestarts")})
			c.toldNothingElse()

			if unit == watchUnit {
				m.systemctl("kill", "--signal=KILL", "demo")
				c.tells("demo", "dead exited")
			}
			c.toldNothingElse()
		})
	}
}

// A program or settings with which nothing would run leave the one that runs.
func TestReloadIntoNothingIsRefused(t *testing.T) {
	t.Parallel()
	m, c := startWatching(t, "refused", "")
	pid := m.show(watchUnit, "MainPID")
	refusals := func() int {
		return strings.Count(m.run("journalctl", "--output=cat", "--unit="+watchUnit), "not reloaded, so the running program continues: ")
	}
	good := read(t, m.path(configFile))
	m.write(configFile, good+"servr = \"tcp://127.0.0.1:1\"\n", 0o644)
	m.systemctl("reload", watchUnit)
	testkit.Until(t, "a refusal", func() bool { return refusals() == 1 })

	m.write(configFile, good, 0o644)
	require.NoError(t, os.Remove(m.path("/usr/bin/heartbeat-sender")))
	m.write("/usr/bin/heartbeat-sender", "#!/bin/sh\nexit 2\n", 0o755)
	m.systemctl("reload", watchUnit)
	testkit.Until(t, "a refusal", func() bool { return refusals() == 2 })
	c.hearsMore(1, "demo")
	require.Equal(t, pid, m.show(watchUnit, "MainPID"))

	require.NoError(t, os.Remove(m.path("/usr/bin/heartbeat-sender")))
	m.write("/usr/bin/heartbeat-sender", read(t, project("bin/heartbeat-sender")), 0o755)
	m.systemctl("reload", watchUnit)
	m.runsInstalled(watchUnit)
	c.hearsMore(1, "demo")
	c.toldNothingElse()
}
