package systemd

import (
	"bytes"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

var packages = flag.Bool("packages", false, "make packages and upgrade them under load (needs bin/telegraf-stock)")

// metricsFile is where Telegraf writes.
const metricsFile = "/var/lib/telegraf/metrics"

// makePackages makes both packages of a version, and returns their files.
func makePackages(t *testing.T, version string) []string {
	t.Helper()
	var files []string
	for _, name := range []string{"heartbeat-sender", "telegraf-heartbeat"} {
		file := filepath.Join(t.TempDir(), name+".deb")
		cmd := exec.Command("go", "run", "github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.0", "package",
			"--config", "deploy/packages/"+name+".yaml", "--packager", "deb", "--target", file)
		cmd.Dir = project("")
		cmd.Env = append(os.Environ(), "GOFLAGS=", "VERSION="+version, "ARCH=amd64", "BUILT=bin/"+name)
		said, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", said)
		files = append(files, file)
	}
	return files
}

// dpkg installs packages.
func (m *machine) dpkg(debs []string) {
	m.t.Helper()
	args := []string{"dpkg", "--force-confold", "--install"}
	for _, deb := range debs {
		name := "/root/" + filepath.Base(deb)
		m.write(name, read(m.t, deb), 0o644)
		args = append(args, name)
	}
	m.run(args...)
}

// prepareDpkg makes what dpkg and apt want beside their programs: nothing is installed.
func (m *machine) prepareDpkg() {
	for _, dir := range []string{
		"/var/lib/dpkg/info", "/var/lib/dpkg/updates", "/var/lib/dpkg/triggers", "/var/lib/apt/lists/partial", "/var/cache/apt/archives/partial",
		"/etc/apt/apt.conf.d", "/etc/apt/preferences.d", "/etc/apt/sources.list.d", "/etc/dpkg/dpkg.cfg.d", "/var/log/apt",
	} {
		require.NoError(m.t, os.MkdirAll(m.path(dir), 0o755))
	}
	m.write("/var/lib/dpkg/status", "", 0o644)
	m.write("/var/lib/dpkg/available", "", 0o644)
}

// addTelegraf installs a Telegraf that does not know the plugin, as its package does.
func (m *machine) addTelegraf() {
	m.write("/usr/bin/telegraf", read(m.t, project("bin/telegraf-stock")), 0o755)
	m.write("/usr/lib/sysusers.d/telegraf.conf", "u telegraf - \"Telegraf\"\n", 0o644)
	m.run("systemd-sysusers", "telegraf.conf")
	m.run("install", "-d", "-o", "telegraf", "-g", "telegraf", "-m", "750", "/var/lib/telegraf")
	m.write("/etc/telegraf/telegraf.conf", `[agent]
  interval = "1s"
  flush_interval = "1s"
  metric_buffer_limit = 100000
[[outputs.file]]
  files = ["`+metricsFile+`"]
`, 0o644)
	m.write("/usr/lib/systemd/system/telegraf.service", `
[Service]
User=telegraf
ExecStart=/usr/bin/telegraf -config /etc/telegraf/telegraf.conf -config-directory /etc/telegraf/telegraf.d
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
KillMode=mixed
[Install]
WantedBy=multi-user.target
`, 0o644)
	m.systemctl("daemon-reload")
}

// startTelegraf starts a Telegraf that has the installed plugin run.
func (m *machine) startTelegraf() *collector {
	m.t.Helper()
	m.addTelegraf()
	m.systemctl("start", "telegraf")
	c := &collector{t: m.t, stdout: m.path(metricsFile), told: make(map[string][]string)}
	testkit.Until(m.t, "Telegraf to write", func() bool {
		_, err := os.Stat(c.stdout)
		return err == nil
	})
	m.t.Cleanup(func() {
		if m.t.Failed() && m.running() {
			m.t.Logf("told were:\n%s", strings.Join(c.allEvents(), "\n"))
		}
	})
	return c
}

// allEvents returns every event, with its source.
func (c *collector) allEvents() []string {
	c.t.Helper()
	var events []string
	for _, m := range c.metrics("heartbeat_event", "") {
		var words []string
		for _, tag := range []string{"source", "service", "state", "reason"} {
			if text, ok := m.GetTag(tag); ok {
				words = append(words, text)
			}
		}
		events = append(events, strings.Join(words, " "))
	}
	return events
}

// beatsOf counts the beats of each source.
func (c *collector) beatsOf() map[string]int {
	c.t.Helper()
	beats := make(map[string]int)
	text, err := os.ReadFile(c.stdout)
	require.NoError(c.t, err)
	for line := range bytes.Lines(text) {
		if tags, ok := bytes.CutPrefix(line, []byte("heartbeat,")); ok {
			_, of, _ := strings.Cut(string(tags), "source=")
			source, _, _ := strings.Cut(of, ",")
			beats[strings.Fields(source)[0]]++
		}
	}
	return beats
}

// dial connects from within the network of m. The thread that does so must live on: the machine ends
// with the one that has started it.
func (m *machine) dial(ctx context.Context, network, address string) (net.Conn, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	defer own.Close()
	its, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", m.cmd.Process.Pid))
	if err != nil {
		return nil, err
	}
	defer its.Close()
	if err := unix.Setns(int(its.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	defer func() {
		if err := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); err != nil {
			panic(err)
		}
	}()
	return new(net.Dialer).DialContext(ctx, network, address)
}

// load keeps n senders beating, with intervals of 3 to 10 s, until the test ends. Every other one
// beats for a process of its own.
func (m *machine) load(n int) []string {
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	names := make([]string, n)
	for i := range n {
		names[i] = fmt.Sprintf("load-%d", i)
		wg.Go(func() { // ends with stop
			for ctx.Err() == nil {
				m.beat(ctx, fmt.Sprintf(`{"host":%q,"service":"job","pid":%d,"watched":%t,"run":%q`, names[i], 1000+i, i%2 == 0, names[i]),
					time.Duration(3+i%8)*time.Second)
				pause(ctx, rand.N(time.Second)) // as the sender does
			}
		})
	}
	m.t.Cleanup(func() {
		stop()
		wg.Wait()
	})
	return names
}

// beat beats over one connection until that ends. A beat is begun, and all else is added to it.
func (m *machine) beat(ctx context.Context, begun string, interval time.Duration) {
	conn, err := m.dial(ctx, "tcp", "127.0.0.1:7878")
	if err != nil {
		return
	}
	defer conn.Close()
	ctx, lost := context.WithCancel(ctx)
	defer lost()
	go func() { // ends with the connection
		defer lost()
		io.Copy(io.Discard, conn) //nolint:errcheck // however it ends
	}()
	for ctx.Err() == nil {
		payload := fmt.Appendf(nil, `%s,"seq":%d,"interval_ms":%d}`, begun, time.Now().UnixMicro(), interval.Milliseconds())
		if _, err := conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(payload))), payload...)); err != nil {
			return
		}
		pause(ctx, interval)
	}
}

func pause(ctx context.Context, long time.Duration) {
	select {
	case <-time.After(long):
	case <-ctx.Done():
	}
}

// Packages of the version before are upgraded while two hundred senders beat: nothing is told of it
// but that the collector has started, what was known is known, and what was written stays.
func TestPackagesAreUpgradedUnderLoad(t *testing.T) {
	if !*packages {
		return
	}
	before, after := makePackages(t, "1.0.0"), makePackages(t, "1.1.0")
	m := start(t, "upgraded")
	m.prepareDpkg()
	m.dpkg(before)
	c := m.startTelegraf()
	testkit.Until(t, "the collector", func() bool { return slices.Contains(c.allEvents(), "started") })

	m.write(configFile, server+"[[watch]]\nsystemd_unit = \"demo\"\n", 0o644)
	const options = "[[inputs.heartbeat]]\n  expect = [\"never-1\"]\n  dead_after = \"2h\"\n"
	m.write("/etc/telegraf-heartbeat/heartbeat.conf", options, 0o644)
	m.systemctl("restart", "telegraf")
	m.write("/etc/systemd/system/demo.service", demoUnit, 0o644)
	m.systemctl("daemon-reload")
	m.systemctl("enable", "--now", "demo", watchUnit)
	_, err := m.try("heartbeat-sender", "exec", "-server", "tcp://127.0.0.1:7878", "-host", "gone", "--", "sh", "-c", "exit 3")
	require.Error(t, err)
	m.run("heartbeat-sender", "once", "-server", "tcp://127.0.0.1:7878", "-host", "away", "-every", "1h")
	m.run("heartbeat-sender", "leave", "-server", "tcp://127.0.0.1:7878", "-host", "away", "-back-in", "1h")
	sources := append(m.load(200), "upgraded")
	beatAgain := func(times int) {
		t.Helper()
		had := c.beatsOf()
		testkit.Until(t, "all to beat", func() bool {
			beats := c.beatsOf()
			return !slices.ContainsFunc(sources, func(source string) bool { return beats[source] < had[source]+times })
		})
	}
	beatAgain(2)
	knows := func() string { // of those that do not beat
		return m.run("telegraf-heartbeat", "peers", "-json", "gone") + m.run("telegraf-heartbeat", "peers", "-json", "away")
	}
	since := func() []string {
		var kept []string
		for line := range strings.Lines(knows()) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			switch key {
			case `"state"`, `"reason"`, `"since"`:
				kept = append(kept, key+value)
			case `"back_in_seconds"`: // less and less
				kept = append(kept, key)
			}
		}
		return kept
	}
	told, known, pid := c.allEvents(), since(), m.show(watchUnit, "MainPID")
	require.Contains(t, known, `"back_in_seconds"`)

	m.dpkg(after)
	require.Contains(t, m.run("dpkg", "--list", "heartbeat-sender", "telegraf-heartbeat"), "1.1.0")
	testkit.Until(t, "the collector to start", func() bool { return len(c.allEvents()) > len(told) })
	m.runsInstalled(watchUnit)
	beatAgain(3)
	require.Equal(t, append(told, "started"), c.allEvents())
	require.Equal(t, known, since())
	require.Equal(t, []string{pid, "0"}, []string{m.show(watchUnit, "MainPID"), m.show(watchUnit, "NRestarts")})
	require.Equal(t, options, read(t, m.path("/etc/telegraf-heartbeat/heartbeat.conf")))
	require.Contains(t, read(t, m.path(configFile)), "systemd_unit = \"demo\"")
}
