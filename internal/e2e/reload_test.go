//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

const everyPlainTransport = `[[inputs.heartbeat]]
  service_addresses = ["tcp://127.0.0.1:0", "tls://127.0.0.1:0", "udp://127.0.0.1:0", "unix://DIR/s", "unixgram://DIR/d"]
  state_file = "none"
  tls_cert = "DIR/collector.pem"
  tls_key = "DIR/collector.key"
  keys = {web-1 = "file:DIR/web-1.secret"}
  names = ["127.0.0.1"]
`

// An installed sender can be replaced.
type installed struct {
	*testkit.Process
	path string
}

// install starts a program of its own.
func (s *site) install(args ...string) *installed {
	s.t.Helper()
	dir := s.t.TempDir()
	i := &installed{path: filepath.Join(dir, "heartbeat-sender")}
	s.upgrade(i.path)
	i.Process = testkit.Start(s.t, "heartbeat-sender", exec.Command(i.path, append([]string{"run", "-host", "web-1"}, args...)...))
	return i
}

// upgrade puts another file in the place of a program, as dpkg does. Were it written by this process,
// a child that another test starts just then might hold it open, and nobody could run it.
func (s *site) upgrade(path string) {
	s.t.Helper()
	require.NoError(s.t, exec.Command("cp", testkit.Program(s.t, "heartbeat-sender"), path+".new").Run())
	require.NoError(s.t, os.Rename(path+".new", path))
}

// runsIt waits until the process is one of the program that is there now, and can be asked to reload
// again: until then the signal is ignored.
func (i *installed) runsIt() {
	i.T.Helper()
	i.Until("the new program to run", func() bool {
		running, err := os.Stat(fmt.Sprintf("/proc/%d/exe", i.PID()))
		there, errThere := os.Stat(i.path)
		return err == nil && errThere == nil && os.SameFile(running, there) && !i.ignores(syscall.SIGUSR2)
	})
}

func (i *installed) ignores(s syscall.Signal) bool {
	i.T.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", i.PID()))
	require.NoError(i.T, err)
	_, after, _ := strings.Cut(string(text), "\nSigIgn:\t")
	line, _, _ := strings.Cut(after, "\n")
	mask, err := strconv.ParseUint(line, 16, 64)
	require.NoError(i.T, err)
	return mask&(1<<(s-1)) != 0
}

// sockets returns how many the process has.
func (i *installed) sockets() int {
	i.T.Helper()
	return socketsOf(i.T, fmt.Sprintf("/proc/%d/fd", i.PID()))
}

func socketsOf(t testing.TB, dir string) int {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	n := 0
	for _, entry := range entries {
		if to, err := os.Readlink(filepath.Join(dir, entry.Name())); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}

// A sender that is replaced while it runs is the same process with a new life: nothing is told of
// that, over any transport, whether it beats for its host or for itself.
func TestReloadIsNoEvent(t *testing.T) {
	t.Parallel()
	s := newSiteWith(t, everyPlainTransport, 5)
	all := []string{"tcp", "tls", "udp", "unix", "unixgram"}
	for _, scheme := range all {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			// Of two collectors one is never reached.
			own := &site{t: t, dir: s.dir, plugin: s.plugin, urls: s.urls}
			sender := own.install("-config", os.DevNull, "-server", s.urls[scheme], "-server", "tcp://"+testkit.FreeAddress(t),
				"-service", scheme, "-interval", "6s", "-back-in", "1h", "-key-file", filepath.Join(s.dir, "web-1.secret"), "-key-id", "web-1",
				"-tls-ca", filepath.Join(s.dir, "authority.pem"), "-tls-server-name", "collector")
			s.plugin.Until("it to be alive", func() bool { return len(s.told(scheme)) == 1 })
			own.hearsMore(scheme, 2)
			before := sender.sockets()
			for range 2 { // the second time with what the first has left
				own.upgrade(sender.path)
				sender.Signal(syscall.SIGUSR2)
				sender.runsIt()
				own.hearsMore(scheme, 1)
			}
			sender.Until("what was held to be closed", func() bool { return sender.sockets() <= before })
			own.hearsMore(scheme, 2)
			require.Equal(t, []string{"alive"}, s.told(scheme))
			sender.Signal(syscall.SIGUSR2)
			sender.Signal(syscall.SIGUSR2)
			own.hearsMore(scheme, 2)
			sender.Signal(syscall.SIGTERM)
			require.Zero(t, sender.Exit())
			s.plugin.Until("it to have left", func() bool { return len(s.told(scheme)) == 2 })
			require.Equal(t, []string{"alive", "left"}, s.told(scheme))
		})
	}
}

// hearsMore waits for beats of a service.
func (s *site) hearsMore(service string, n int) {
	s.t.Helper()
	count := func() (n int) {
		for _, line := range s.plugin.Stdout.With(",service=" + service + ",") {
			if strings.HasPrefix(line, "heartbeat,") {
				n++
			}
		}
		return n
	}
	had := count()
	s.plugin.Until("beats of "+service, func() bool { return count() >= had+n })
}

// A program or settings with which nothing would run leave the one that runs, which says so.
func TestReloadThatCannotWorkIsRefused(t *testing.T) {
	t.Parallel()
	s := newSiteWith(t, everyPlainTransport, 5)
	config := s.write("sender.toml", fmt.Sprintf("server = %q\nservice = \"stays\"\ninterval = \"5s\"\n", s.urls["tcp"]))
	sender := s.install("-config", config)
	s.plugin.Until("it to be alive", func() bool { return len(s.told("stays")) == 1 })
	refused := func(times int) {
		t.Helper()
		sender.Signal(syscall.SIGUSR2)
		sender.Until("a refusal", func() bool {
			return len(sender.Stderr.With("not reloaded, so the running program continues: ")) == times
		})
		s.hearsMore("stays", 2)
	}
	s.write("sender.toml", "serve = 1\n")
	refused(1)
	require.True(t, sender.Stderr.Says(`did you mean`), "what is wrong")
	s.write("sender.toml", fmt.Sprintf("server = \"tcp://%s\"\nservice = \"stays\"\ninterval = \"5s\"\n", testkit.FreeAddress(t)))
	refused(2)
	require.True(t, sender.Stderr.Says("no collector answers the new program"))
	s.write("sender.toml", fmt.Sprintf("server = %q\nservice = \"stays\"\ninterval = \"5s\"\n", s.urls["tcp"]))

	for i, text := range []string{"#!/bin/sh\necho old: unknown command >&2; exit 2\n", "\x7fELF is all that there is"} {
		require.NoError(t, os.Remove(sender.path))
		require.NoError(t, os.WriteFile(sender.path, []byte(text), 0o755))
		refused(3 + i)
	}
	require.NoError(t, os.Remove(sender.path))
	refused(5)
	s.upgrade(sender.path)
	sender.Signal(syscall.SIGUSR2)
	sender.runsIt()
	s.hearsMore("stays", 2)
	require.Equal(t, []string{"alive"}, s.told("stays"))
}

// A collector that answers the program that runs, and not the new one, is not given up: the secret
// has changed here and not there. When it answers, the new one takes over by itself.
func TestReloadWaitsForTheCollector(t *testing.T) {
	t.Parallel()
	s := newSiteWith(t, everyPlainTransport, 5)
	right, err := os.ReadFile(filepath.Join(s.dir, "web-1.secret"))
	require.NoError(t, err)
	secret := s.write("own.secret", string(right))
	sender := s.install("-config", os.DevNull, "-server", s.urls["tcp"], "-service", "signs", "-interval", "5s", "-key-id", "web-1", "-key-file", secret)
	s.plugin.Until("it to be alive", func() bool { return len(s.told("signs")) == 1 })

	s.write("own.secret", "another secret, which the collector lacks")
	s.upgrade(sender.path)
	sender.Signal(syscall.SIGUSR2)
	sender.Until("a refusal", func() bool {
		return sender.Stderr.Says("does not answer: ") && sender.Stderr.Says("; here it answers; retrying")
	})
	s.hearsMore("signs", 2)
	s.write("own.secret", string(right))
	sender.runsIt()
	s.hearsMore("signs", 2)
	require.Equal(t, []string{"alive"}, s.told("signs"))
}

// A watched process that ends while its sender takes its own place is told, a probe gets none of the
// connections that are handed over, and no child is left unreaped.
func TestReloadOfAWatcherMissesNothing(t *testing.T) {
	t.Parallel()
	s := newSiteWith(t, everyPlainTransport, 5)
	target := sleeper(t)
	pids := s.write("target.pid", fmt.Sprintln(target.PID()))
	seen := filepath.Join(s.dir, "seen")
	config := s.write("sender.toml", fmt.Sprintf(`
server = %q
interval = "5s"
restart_grace = "1s"
[[watch]]
pid_file = %q
service = "target"
[[watch]]
service = "probed"
probe = ["sh", "-c", "ls -l /proc/$$/fd >%s.new; env >>%s.new; mv %s.new %s; sleep 0.5"]
`, s.urls["tcp"], pids, seen, seen, seen, seen))
	sender := s.install("-config", config)
	for _, service := range []string{"target", "probed", "host"} {
		s.plugin.Until("it to be alive", func() bool { return len(s.told(service)) == 1 })
	}
	for range 5 {
		s.upgrade(sender.path)
		sender.Signal(syscall.SIGUSR2)
		sender.runsIt()
	}
	require.NoError(t, os.Remove(seen))
	s.plugin.Until("a probe", func() bool {
		_, err := os.Stat(seen)
		return err == nil
	})
	text, err := os.ReadFile(seen)
	require.NoError(t, err)
	require.NotContains(t, string(text), "socket:")
	require.NotContains(t, string(text), "HEARTBEAT_HELD")

	text, err = os.ReadFile(config)
	require.NoError(t, err)
	s.write("sender.toml", strings.Replace(string(text), `"probed"`, `"renamed"`, 1))
	sender.Signal(syscall.SIGUSR2)
	s.plugin.Until("the other to be alive", func() bool { return len(s.told("renamed")) == 1 })
	for _, service := range []string{"target", "host"} {
		s.plugin.Until("it to be back", func() bool { return len(s.told(service)) == 3 })
		require.Equal(t, []string{"alive", "left", "alive"}, s.told(service), "a goodbye has to be said")
	}
	s.plugin.Until("whom the settings do not name any more to have left", func() bool { return last(s.told("probed")) == "left" })

	// What the new program would not see is not given up, and tried again later.
	require.NoError(t, os.Rename(pids, pids+".away"))
	s.upgrade(sender.path)
	sender.Signal(syscall.SIGUSR2)
	sender.Until("a refusal", func() bool {
		return sender.Stderr.Says("the new program finds that web-1/target does not run; here it runs as process")
	})
	require.NoError(t, os.Rename(pids+".away", pids))
	sender.runsIt()
	require.Equal(t, []string{"alive", "left", "alive"}, s.told("target"))

	target.Signal(syscall.SIGKILL)
	sender.Signal(syscall.SIGUSR2)
	s.plugin.Until("the death", func() bool { return last(s.told("target")) == "dead" })
	require.Equal(t, []string{"alive", "left", "alive"}, s.told("host"))
	sender.Until("all children to be reaped", func() bool {
		listed, err := exec.Command("ps", "-o", "stat=", "--ppid", fmt.Sprint(sender.PID())).Output()
		return err != nil || !strings.Contains(string(listed), "Z")
	})
}
