package systemd

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

const (
	watchUnit  = "heartbeat-sender-watch"
	hostUnit   = "heartbeat-sender"
	configFile = "/etc/heartbeat-sender/heartbeat-sender.toml"
	server     = "server = \"tcp://127.0.0.1:7878\"\n"
)

// A service to watch: it ends with 3 when it is told to.
const (
	demoUnit = `
[Service]
ExecStart=/bin/sh -c 'trap "exit 3" USR1; while :; do sleep 0.1; done'
KillMode=mixed
[Install]
WantedBy=multi-user.target
`
	loopUnit = demoUnit + `
[Service]
Restart=always
RestartSec=100ms
`
	fileUnit = demoUnit + `
[Service]
ExecStartPost=/bin/sh -c 'echo $MAINPID >/run/file.pid'
`
	watchBoth = "[[watch]]\nsystemd_unit = \"demo\"\n[[watch]]\nsystemd_unit = \"loop\"\n"
)

// startWatching boots a machine in which demo and loop run and are watched.
func startWatching(t *testing.T, name, settings string) (*machine, *collector) {
	t.Helper()
	m := start(t, name)
	c := m.startCollector()
	m.install()
	m.write("/etc/systemd/system/demo.service", demoUnit, 0o644)
	m.write("/etc/systemd/system/loop.service", loopUnit, 0o644)
	m.write("/etc/systemd/system/file.service", fileUnit, 0o644)
	m.write(configFile, server+settings+watchBoth, 0o644)
	m.systemctl("daemon-reload")
	m.systemctl("enable", "--now", "demo", "loop", "file")
	m.systemctl("enable", "--now", watchUnit)
	for _, service := range []string{"host", "demo", "loop"} {
		c.tells(service, "alive")
	}
	return m, c
}

// The watched unit is killed, ends by itself, is stopped, restarted and masked.
// Each is told for what it is, and at the end the host goes down as planned.
func TestWatchedUnitIsToldForWhatItDoes(t *testing.T) {
	t.Parallel()
	m, c := startWatching(t, "watched", "[[watch]]\npid_file = \"/run/file.pid\"\n")
	require.Equal(t, strings.TrimSpace(m.run("id", "-u", "heartbeat")), m.show(watchUnit, "UID"))
	require.Contains(t, m.show(watchUnit, "StatusText"), "connected to tcp://127.0.0.1:7878 as watched/host and 3 more")

	confined := m.run("grep", "-E", "^(Seccomp|NoNewPrivs|CapBnd):", "/proc/"+m.show(watchUnit, "MainPID")+"/status")
	require.Equal(t, []string{"CapBnd:", "0000000000000000", "NoNewPrivs:", "1", "Seccomp:", "2"}, strings.Fields(confined))

	m.systemctl("kill", "--signal=KILL", "demo")
	c.tells("demo", "dead exited")
	m.systemctl("reset-failed", "demo")
	m.systemctl("start", "demo")
	c.tells("demo", "alive")

	m.systemctl("kill", "--kill-who=main", "--signal=USR1", "demo")
	c.tells("demo", "dead exited")
	events := c.metrics("heartbeat_event", "demo")
	code, _ := events[len(events)-1].GetField("exit_code")
	require.Equal(t, int64(3), code)
	m.systemctl("start", "demo")
	c.tells("demo", "alive")

	m.systemctl("stop", "demo")
	c.tells("demo", "left leaving")
	m.systemctl("start", "demo")
	c.tells("demo", "alive")

	before := c.restarts("demo")
	m.systemctl("restart", "demo")
	testkit.Until(t, "the restart to be told", func() bool { return c.restarts("demo") > before })

	m.systemctl("mask", "--now", "--runtime", "demo")
	c.tells("demo", "left leaving")
	m.systemctl("unmask", "--runtime", "demo")
	m.systemctl("start", "demo")
	c.tells("demo", "alive")

	c.tells("file", "alive")
	m.systemctl("kill", "--signal=KILL", "file")
	c.tells("file", "dead exited") // after the grace, in which another process may come

	before = c.restarts("loop")
	m.systemctl("kill", "--signal=KILL", "loop")
	testkit.Until(t, "the restart to be told", func() bool { return c.restarts("loop") > before })

	c.toldNothingElse()
	m.shutDown()
	c.leaves("demo", "loop", "host")
	c.toldNothingElse()
}

// An upgrade from a program that cannot be reloaded, and from units that were shipped with
// DynamicUser=yes, makes the user and starts what runs anew; a removal says goodbye. Nobody
// dies of them.
func TestPackageIsUpgradedAndRemoved(t *testing.T) {
	t.Parallel()
	for _, unit := range []string{hostUnit, watchUnit} {
		t.Run(unit, func(t *testing.T) {
			t.Parallel()
			m := start(t, "upgraded")
			c := m.startCollector()
			m.write(configFile, server, 0o644)
			m.install()
			m.run("userdel", "heartbeat")
			for _, name := range []string{hostUnit, watchUnit} {
				path := "/usr/lib/systemd/system/" + name + ".service"
				before := strings.Replace(read(t, m.path(path)), "User=heartbeat\n", "DynamicUser=yes\n", 1)
				require.Contains(t, before, "\nDynamicUser=yes\n")
				m.write(path, before, 0o644)
			}
			program := read(t, project("bin/heartbeat-sender"))
			require.Contains(t, program, "HEARTBEAT_HELD", "by which the script knows one that can")
			m.write("/usr/bin/heartbeat-sender", strings.ReplaceAll(program, "HEARTBEAT_HELD", "HEARTBEAT_GONE"), 0o755)
			m.systemctl("daemon-reload")
			m.systemctl("enable", "--now", unit)
			c.tells("host", "alive")
			c.hearsMore(1, "host")

			m.install()
			c.tells("host", "left leaving")
			c.tells("host", "alive")
			require.Equal(t, strings.TrimSpace(m.run("id", "-u", "heartbeat")), m.show(unit, "UID"))

			m.remove()
			c.tells("host", "left leaving")
			require.Equal(t, "disabled", m.show(unit, "UnitFileState"))
			c.toldNothingElse()
		})
	}
}

// Probes have the rights of the unit and no others, and none of their processes outlives
// its turn or the unit.
func TestProbesAreConfinedAsTheirUnitIs(t *testing.T) {
	t.Parallel()
	m, c := startWatching(t, "probed", `
interval = "2s"
[[watch]]
service = "confined"
probe = ["sh", "-c", """
test "$(id -un)" = heartbeat && ! touch /etc/x && test -z "$(ls -A /home)" &&
grep -q "NoNewPrivs:.1" /proc/self/status && exit 3 || exit 2
"""]
[[watch]]
service = "forks"
probe = ["sh", "-c", "sleep 3600 & exit 1"]
[[watch]]
service = "hangs"
probe = ["sh", "-c", "trap '' TERM; sleep 3600; exit 0"]
`)
	for service, status := range map[string]string{"confined": "UNKNOWN", "forks": "WARN"} {
		c.tells(service, "alive")
		testkit.Until(t, service+" to be probed", func() bool { return c.lastBeat(service) == status })
	}
	c.tells("hangs", "dead exited")
	hanging := func() bool {
		_, err := m.try("pgrep", "-f", "sleep 3600")
		return err == nil
	}
	testkit.Until(t, "a probe to hang", hanging)
	m.systemctl("stop", watchUnit)
	require.False(t, hanging())
}

// A bus that does not know its user turns the watcher away, as it did with every
// one that was shipped with DynamicUser=yes. That is said wherever somebody may
// look, and nobody dies of it: neither the units, nor the host.
func TestWatcherThatIsTurnedAwaySaysSo(t *testing.T) {
	t.Parallel()
	m, c := startWatching(t, "blind", "interval = \"3s\"\n")
	require.NotContains(t, c.beats("demo"), "unknown")

	const dropIn = "/etc/systemd/system/" + watchUnit + ".service.d/dynamic.conf"
	m.write(dropIn, "[Service]\nUser=\nDynamicUser=yes\n", 0o644)
	m.systemctl("daemon-reload")
	m.systemctl("kill", "--signal=KILL", watchUnit) // without a goodbye
	testkit.Until(t, "its status to tell", func() bool {
		return strings.HasPrefix(m.show(watchUnit, "StatusText"), "cannot check demo and 1 more; connected to ")
	})
	testkit.Until(t, "the collector to hear", func() bool { return strings.Contains(strings.Join(c.beats("demo"), " "), "unknown") })
	require.Contains(t, m.run("journalctl", "--output=cat", "--unit="+watchUnit, "--priority=warning"),
		"cannot ask systemd about demo.service and 1 more: systemctl show: exit status 1: "+
			`"Failed to get properties: Transport endpoint is not connected" (the bus does not know this user: `)
	said, err := m.try("heartbeat-sender", "check")
	require.Error(t, err, said)
	require.Regexp(t, `(?m)^failed     cannot ask systemd about demo.service and 1 more: .*endpoint is not connected`, said)
	require.Contains(t, said, "target     demo is unit demo.service: unknown, because it cannot be checked\n")
	c.hearsMore(2, "demo") // so it is not silent
	require.NotContains(t, strings.Join(c.events(), "\n"), "dead")

	require.NoError(t, os.Remove(m.path(dropIn)))
	m.systemctl("daemon-reload")
	m.systemctl("kill", "--signal=KILL", watchUnit)
	testkit.Until(t, "its status to tell", func() bool { return strings.HasPrefix(m.show(watchUnit, "StatusText"), "connected to ") })
	testkit.Until(t, "the collector to hear", func() bool { return c.lastBeat("demo") == "alive" })
	require.NotContains(t, strings.Join(c.events(), "\n"), "dead")
}

// A bus that goes away leaves what is known: the process that lives is alive. Of
// one that has ended nobody knows what systemd made of that, until the bus is
// back.
func TestWatcherThatLosesTheBusSaysSo(t *testing.T) {
	t.Parallel()
	m, c := startWatching(t, "lost", "interval = \"3s\"\n")
	m.systemctl("mask", "--now", "--runtime", "dbus.socket", "dbus.service")
	testkit.Until(t, "its status to tell", func() bool {
		return strings.HasPrefix(m.show(watchUnit, "StatusText"), "cannot check demo and 1 more; connected to ")
	})
	require.Equal(t, "alive", c.lastBeat("demo"))
	m.systemctl("kill", "--signal=KILL", "demo")
	testkit.Until(t, "the collector to hear", func() bool { return c.lastBeat("demo") == "unknown" })
	c.hearsMore(2, "demo")
	require.Equal(t, "alive", c.lastBeat("loop"))
	c.toldNothingElse()

	m.systemctl("unmask", "--runtime", "dbus.socket", "dbus.service")
	m.systemctl("start", "dbus.socket")
	c.tells("demo", "dead exited")
	testkit.Until(t, "its status to tell", func() bool { return strings.HasPrefix(m.show(watchUnit, "StatusText"), "connected to ") })
	c.toldNothingElse()
}

// What discover prints makes a file for the watching unit, with which the units that run are
// alive. A unit that failed or has no process is named and left out.
func TestDiscoveredUnitsAreWatched(t *testing.T) {
	t.Parallel()
	m := start(t, "discovered")
	c := m.startCollector()
	m.install()
	m.write(configFile, server, 0o644)
	const once = "\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/"
	for name, text := range map[string]string{
		"demo": demoUnit, `odd\x2dname@1`: demoUnit, "host": demoUnit, "bad": once + "false\n", "done": once + "true\n",
	} {
		m.write("/etc/systemd/system/"+name+".service", text, 0o644)
	}
	m.systemctl("daemon-reload")
	m.systemctl("start", "demo", `odd\x2dname@1`, "host", "done", hostUnit)
	_, err := m.try("systemctl", "start", "bad")
	require.Error(t, err)
	m.run("sh", "-c", "heartbeat-sender discover >/run/found && cat /run/found >>"+configFile)
	found := read(t, m.path("/run/found"))
	require.Contains(t, found, "\n#   bad.service\n")
	for _, of := range []string{"dbus", "systemd-journald", hostUnit} {
		require.Regexp(t, `(?m)^#   .*\b`+of+`\.service`, found, "of the system")
	}
	require.NotContains(t, found, "done")
	require.NotContains(t, found, "\nsystemd_unit = \"systemd")
	m.systemctl("stop", hostUnit)
	m.systemctl("start", watchUnit)
	for _, service := range []string{"demo", "odd_x2dname@1", "host-2"} {
		c.tells(service, "alive")
	}
	c.hearsMore(1, "demo")
	require.NotContains(t, strings.Join(c.events(), "\n"), "dead")
	require.Regexp(t, "(?m)^# Left out: 3 already watched$", m.run("heartbeat-sender", "discover"))
}

// Who checks is told what the service sees, which is less than root does.
func TestCheckLooksAsTheService(t *testing.T) {
	t.Parallel()
	m, _ := startWatching(t, "checked", "")
	check := func(as ...string) (string, error) {
		return m.try(append(as, "heartbeat-sender", "check")...)
	}
	said, err := check()
	require.NoError(t, err, said)
	require.Contains(t, said, "user       heartbeat, the user of heartbeat-sender-watch.service\n")
	require.Contains(t, said, "target     demo is unit demo.service: running as process ")
	require.Contains(t, said, "identity   checked/host\n")

	said, err = check("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
	require.NoError(t, err, said)
	require.Contains(t, said, "user       not heartbeat, the user of heartbeat-sender-watch.service: only root can check what that user sees\n")

	m.write(configFile, server+"[[watch]]\nprobe = [\"sh\", \"-c\", \"test $(id -un) = heartbeat || exit 2\"]\n", 0o644)
	said, err = check()
	require.NoError(t, err, said)
	require.Contains(t, said, "target     sh is probe \"sh\": the probe says OK\n")

	// A file of pids that only a group may read.
	m.write("/run/secret/x.pid", "1\n", 0o640)
	m.write(configFile, server+"[[watch]]\npid_file = \"/run/secret/x.pid\"\n", 0o644)
	said, err = check()
	require.Error(t, err, said)
	require.Contains(t, said, "permission denied")
	m.run("groupadd", "--system", "secret")
	m.run("chgrp", "secret", "/run/secret/x.pid")
	m.write("/etc/systemd/system/"+watchUnit+".service.d/group.conf", "[Service]\nSupplementaryGroups=secret\n", 0o644)
	m.systemctl("daemon-reload")
	said, err = check()
	require.NoError(t, err, said)
	require.Contains(t, said, "running as process 1\n")

	m.run("chmod", "600", configFile)
	said, err = check()
	require.Error(t, err, said)
	require.Contains(t, said, fmt.Sprintf("failed     heartbeat cannot read %q: make it readable by that user\n", configFile))

	m.systemctl("stop", watchUnit)
	m.run("userdel", "heartbeat")
	said, err = check()
	require.Error(t, err, said)
	require.Contains(t, said, `failed     systemd cannot start heartbeat-sender-watch.service: there is no user "heartbeat"`)
}

// A sender that hangs is killed and started again by systemd before anybody is
// dead of it.
func TestSenderThatHangsIsStartedAgain(t *testing.T) {
	t.Parallel()
	for _, unit := range []string{hostUnit, watchUnit} {
		t.Run(unit, func(t *testing.T) {
			t.Parallel()
			// The default interval leaves a busy machine little time: that it is enough
			// for the two times of the unit is a matter of deploy.
			const settings = "interval = \"20s\"\n"
			m, c := startWatching(t, "hung", settings)
			m.systemctl("disable", "--now", watchUnit)
			c.leaves("host", "demo", "loop")
			if unit == hostUnit {
				m.write(configFile, server+settings, 0o644)
			}
			m.systemctl("start", unit)
			c.tells("host", "alive")
			before := m.show(unit, "MainPID")
			m.run("kill", "-STOP", before)
			testkit.UntilWithin(t, 10*time.Minute, "another process", func() bool {
				now := m.show(unit, "MainPID")
				return now != before && now != "0"
			})
			require.Equal(t, "1", m.show(unit, "NRestarts"))
			c.hearsMore(1, "host")
			require.NotContains(t, strings.Join(c.events(), "\n"), "dead")
		})
	}
}

// One of the two units takes the place of the other, and is known by the goodbye
// when the host goes down.
func TestUnitsTakeEachOthersPlace(t *testing.T) {
	t.Parallel()
	m, c := startWatching(t, "two", "")
	m.systemctl("start", hostUnit)
	require.Equal(t, "inactive", m.show(watchUnit, "ActiveState"))
	testkit.Until(t, "the other sender", func() bool { return strings.HasPrefix(m.show(hostUnit, "StatusText"), "connected to ") })
	c.tells("host", "left leaving")
	c.tells("host", "alive")
	c.hearsMore(1, "host")
	m.systemctl("start", watchUnit)
	require.Equal(t, "inactive", m.show(hostUnit, "ActiveState"))
	c.tells("host", "left leaving")
	c.tells("host", "alive")
	m.systemctl("start", hostUnit)
	c.tells("host", "left leaving")
	c.tells("host", "alive")
	m.shutDown()
	c.tells("host", "left leaving")
	require.NotContains(t, strings.Join(c.events(), "\n"), "dead")
}

// What only root may read is handed over to the user of the unit.
func TestKeyIsHandedOver(t *testing.T) {
	t.Parallel()
	m := start(t, "signed")
	c := m.startCollector("  require_signature = true\n  host_from = \"verified\"\n  keys = {signed = \"0123456789abcdef\"}\n")
	m.install()
	m.write(configFile, server, 0o644)
	m.write("/etc/heartbeat-sender/heartbeat.key", "0123456789abcdef\n", 0o600)
	for _, unit := range []string{hostUnit, watchUnit} {
		shipped := read(t, m.path("/usr/lib/systemd/system/"+unit+".service"))
		line := "LoadCredential=heartbeat.key:/etc/heartbeat-sender/heartbeat.key\n"
		require.Contains(t, shipped, "\n#"+line)
		m.write("/etc/systemd/system/"+unit+".service.d/key.conf", "[Service]\n"+line, 0o644)
		m.systemctl("daemon-reload")
		m.systemctl("start", unit)
		c.tells("host", "alive")
		m.systemctl("stop", unit)
		c.tells("host", "left leaving")
	}
}

// A host that beats by timer beats every minute, and says goodbye when it goes
// down, but not when somebody stops the unit that does so.
func TestTimerBeatsAndTheHostLeaves(t *testing.T) {
	t.Parallel()
	m := start(t, "timed")
	c := m.startCollector()
	m.install()
	m.write(configFile, server+"[[watch]]\nsystemd_unit = \"demo\"\n", 0o644)
	m.write("/etc/systemd/system/demo.service", demoUnit, 0o644)
	m.systemctl("daemon-reload")
	m.systemctl("enable", "--now", "demo", "heartbeat-once.timer", "heartbeat-leave.service")
	said, err := m.try("systemctl", "stop", "heartbeat-leave")
	require.Error(t, err, said)
	require.Contains(t, said, "may be requested by dependency only")
	// A minute, and what it spreads a fleet by.
	testkit.UntilWithin(t, 10*time.Minute, "the timer", func() bool { return len(c.beats("host")) > 0 })
	c.tells("host", "alive")
	c.tells("demo", "alive")
	require.Equal(t, "alive", c.lastBeat("demo"))
	testkit.Until(t, "the service to end", func() bool { return m.show("heartbeat-once.service", "ActiveState") == "inactive" })
	require.Equal(t, "success", m.show("heartbeat-once.service", "Result"))
	beat := c.metrics("heartbeat", "host")[0]
	interval, _ := beat.GetField("interval_seconds")
	require.InDelta(t, 60, interval, 0)
	m.shutDown()
	c.leaves("host", "demo")
	c.toldNothingElse()
}
