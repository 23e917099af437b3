package systemd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

// An initSystem is one that is no systemd, with the files that we ship for it.
type initSystem struct {
	process1 string            // its command
	ready    []string          // succeeds once it can be asked for something
	files    map[string]string // where ours belong
	enable   []string          // starts the sender, now and at each boot
	start    []string
	stop     []string
	shutDown []string
}

var inits = map[string]initSystem{
	"openrc": {
		process1: "/sbin/openrc-init",
		ready:    []string{"sh", "-c", "test $(rc-status --runlevel) = default"},
		files:    map[string]string{"deploy/openrc/heartbeat-sender": "/etc/init.d/heartbeat-sender"},
		enable:   []string{"sh", "-c", "rc-update add heartbeat-sender default && rc-service heartbeat-sender start"},
		start:    []string{"rc-service", "heartbeat-sender", "start"},
		stop:     []string{"rc-service", "heartbeat-sender", "stop"},
		shutDown: []string{"openrc-shutdown", "--poweroff", "now"},
	},
	"runit": {
		process1: "/sbin/runit",
		ready:    []string{"pgrep", "-x", "runsvdir"},
		files: map[string]string{
			"deploy/runit/heartbeat-sender/run":     "/etc/sv/heartbeat-sender/run",
			"deploy/runit/heartbeat-sender/log/run": "/etc/sv/heartbeat-sender/log/run",
		},
		enable:   []string{"sh", "-c", "ln -s default /etc/runit/runsvdir/current && ln -s /etc/sv/heartbeat-sender /etc/service/"}, // the former as the package does
		start:    []string{"sv", "start", "heartbeat-sender"},
		stop:     []string{"sv", "stop", "heartbeat-sender"},
		shutDown: []string{"/lib/runit/runit-init", "0"},
	},
}

// Each init starts the sender as its user, starts it anew when it crashes, of which nobody
// dies, and lets it say goodbye, when it is stopped and when the host goes down.
func TestOtherInitsLookAfterTheSender(t *testing.T) {
	t.Parallel()
	for name, system := range inits {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := startInit(t, name, &system)
			c := m.startCollector("  missed_beats = 30\n") // a busy machine may take its time to start another sender
			becomes := func(want string) {
				t.Helper()
				testkit.Until(t, "the host to be told "+want, func() bool {
					states := c.states("host")
					return len(states) > 0 && states[len(states)-1] == want
				})
			}
			m.run(system.enable...)
			becomes("alive")
			c.hearsMore(1, "host")
			before := m.senderPID()
			owner := strings.Fields(m.run("ps", "-o", "user=,args=", "-p", before))
			require.Equal(t, []string{"heartbe+", "/usr/bin/heartbeat-sender", "run"}, owner)
			require.Contains(t, m.run("cat", "/proc/"+before+"/environ"), "HEARTBEAT_BACK_IN=15m\x00")

			m.run("kill", "-KILL", before)
			testkit.Until(t, "another process", func() bool { return m.senderPID() != before && m.senderPID() != "" })
			c.hearsMore(2, "host")
			require.NotContains(t, strings.Join(c.events(), "\n"), "dead")

			m.run(system.stop...)
			becomes("left leaving")
			require.Empty(t, m.senderPID())
			m.run(system.start...)
			becomes("alive")
			m.try(system.shutDown...) //nolint:errcheck // it may be gone before it answers
			becomes("left leaving")
			testkit.Until(t, "the machine to shut down", func() bool { return !m.running() })
			require.NotContains(t, strings.Join(c.events(), "\n"), "dead")
		})
	}
}

// startInit boots a machine in which the sender is installed.
func startInit(t *testing.T, name string, system *initSystem) *machine {
	t.Helper()
	needsAll(t, map[string]string{"useradd": "passwd", "ps": "procps"})
	layer, err := filepath.Abs(project("build/servers/inits"))
	require.NoError(t, err)
	if _, err := os.Stat(layer); err != nil {
		t.Skip(`needs build/servers, which "make servers" fills`)
	}
	m := launch(t, name, initEnv+"="+system.process1, layerEnv+"="+layer)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s said:\n%s", name, read(t, m.said))
		}
	})
	testkit.Until(t, "the machine to boot", func() bool {
		m.mustRun()
		_, err := m.try(system.ready...)
		return err == nil
	})
	m.write("/usr/bin/heartbeat-sender", read(t, project("bin/heartbeat-sender")), 0o755)
	m.write(configFile, server, 0o644)
	for from, to := range system.files {
		m.write(to, read(t, project(from)), 0o755)
	}
	m.write("/etc/pam.d/other", "account required pam_permit.so\nsession required pam_permit.so\n", 0o644)
	m.write("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", 0o644)
	m.write("/etc/group", "root:x:0:\n", 0o644)
	m.run("useradd", "--system", "--shell", "/usr/sbin/nologin", "heartbeat")
	return m
}

// senderPID returns the number of the process that is the sender, "" if there is none.
func (m *machine) senderPID() string {
	pid, _ := m.try("pgrep", "-x", "-f", "/usr/bin/heartbeat-sender run") //nolint:errcheck // then there is none
	return strings.TrimSpace(pid)
}
