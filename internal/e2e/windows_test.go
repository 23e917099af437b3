//go:build linux

package e2e

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

var windows = flag.Bool("windows", false, "have Wine run the programs for Windows")

// TestWindows has the programs for Windows run by Wine: a sender there is judged as one on
// Linux is, and the plugin there hears, tells and remembers. docs/windows.md says what is
// expected of both.
func TestWindows(t *testing.T) {
	if !*windows {
		return
	}
	for _, program := range []string{"wine", "wineserver", "x86_64-w64-mingw32-gcc"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("needs wine, wine64 and gcc-mingw-w64-x86-64, for the programs of Windows")
		}
	}
	w := newWine(t)
	for _, test := range []struct {
		name string
		do   func(t *testing.T, w *wine)
	}{
		{"help", testHelpOnWindows},
		{"service manager", testServiceOfWindows},
		{"settings file", testSettingsFileOnWindows},
		{"foreign settings", testForeignSettingsOnWindows},
		{"packages", testPackagesOnWindows},
		{"verdicts", testVerdictsOfWindows},
		{"service and systemd", testServiceVerdicts},
		{"check", testCheckOnWindows},
		{"plugin", testPluginOnWindows},
	} {
		t.Run(test.name, func(t *testing.T) { test.do(t, w) })
	}
}

// A wine is a Windows with our programs.
type wine struct {
	prefix string
	sender string
	plugin string
	tests  [][]string // of packages, and which of them are run
	env    []string
	holder *testkit.Process // keeps Windows up; its stderr has the events
}

func newWine(t *testing.T) *wine {
	t.Helper()
	dir := t.TempDir()
	w := &wine{
		prefix: filepath.Join(dir, "prefix"), sender: filepath.Join(dir, "heartbeat-sender.exe"),
		plugin: filepath.Join(dir, "telegraf-heartbeat.exe"),
		tests: [][]string{
			{filepath.Join(dir, "winservice.test.exe")},
			{filepath.Join(dir, "proc.test.exe")},
			{filepath.Join(dir, "heartbeat.test.exe"), "-test.run=^TestEndsOfConnections$"}, // resets are another error there
		},
	}
	root, err := filepath.Abs(filepath.Join("..", ".."))
	require.NoError(t, err)
	build := func(args ...string) {
		cmd := exec.Command("go", args...)
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	build("build", "-trimpath", "-o", dir, "./cmd/heartbeat-sender", "./cmd/telegraf-heartbeat")
	build("test", "-c", "-trimpath", "-o", dir+"/", "./internal/winservice", "./internal/proc", "./plugins/inputs/heartbeat")

	w.env = []string{"WINEPREFIX=" + w.prefix, "WINEARCH=win64", "HOME=" + dir, "WINEDEBUG=-all"}
	made := exec.Command(filepath.Join(root, "scripts", "wine-prefix"), w.prefix)
	made.Env = append([]string{"PATH=" + os.Getenv("PATH")}, w.env...)
	out, err := made.CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Cleanup(func() {
		for _, end := range []string{"-k", "-w"} { // the former fails if nothing of it runs any more
			wineserver := exec.Command("wineserver", end)
			wineserver.Env = made.Env
			out, err := wineserver.CombinedOutput()
			require.True(t, err == nil || end == "-k", "%s", out)
		}
	})
	// Windows goes down when nothing runs. What starts it is what all that belongs to it, such as
	// the service manager, prints to, be it events.
	holder := w.command("cmd")
	holder.Env = append(holder.Env, "WINEDEBUG=-all,+eventlog")
	w.holder = testkit.Start(t, "wine", holder)
	w.holder.Until("a prompt", func() bool { return w.holder.Stdout.Says("Microsoft Windows") })
	return w
}

// command returns a command of Windows.
func (w *wine) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command("wine", append([]string{name}, args...)...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, w.env...)
	return cmd
}

// does runs a command of Windows, and returns what it printed and its exit code.
func (w *wine) does(t *testing.T, name string, args ...string) (string, int) {
	t.Helper()
	return does(w.command(name, args...))
}

func does(cmd *exec.Cmd) (string, int) {
	cmd.WaitDelay = time.Minute    // in case something else of Windows has its output open
	out, _ := cmd.CombinedOutput() //nolint:errcheck // the exit code says it
	return strings.ReplaceAll(string(out), "\r", ""), cmd.ProcessState.ExitCode()
}

// kills kills the process whose command line has text.
func kills(t *testing.T, text string) {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	for _, name := range lines {
		line, err := os.ReadFile(name)
		if err != nil || !bytes.Contains(line, []byte(text)) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		require.NoError(t, err)
		require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
		return
	}
	require.Fail(t, "no process has "+text)
}

// service runs an action about the service, and looks at its exit code and at what it prints.
func (w *wine) service(t *testing.T, code int, text string, args ...string) {
	t.Helper()
	out, got := w.does(t, w.sender, append([]string{"service"}, args...)...)
	require.Contains(t, out, text)
	require.Equal(t, code, got, out)
}

// The help has what works on Windows, and that of the service has its actions.
func testHelpOnWindows(t *testing.T, w *wine) {
	all, code := w.does(t, w.sender, "help")
	require.Zero(t, code)
	require.Contains(t, all, "\n  service ACTION...")
	require.NotContains(t, all, "discover")
	require.NotContains(t, all, "systemd")
	require.LessOrEqual(t, strings.Count(all, "\n"), 55)
	_, code = w.does(t, w.sender, "discover")
	require.Equal(t, 2, code)
	for _, args := range [][]string{{"-h"}, {"help"}, {"install", "-h"}, {"install", "-server", "x", "-help"}, {"uninstall", "-h"}} {
		w.service(t, 0, "\n  uninstall  ", args...)
	}
}

// programData is where the programs have their files, on this system.
func (w *wine) programData(name ...string) string {
	return filepath.Join(append([]string{w.prefix, "drive_c", "ProgramData"}, name...)...)
}

// The service has the file that install has read: Wine tells a service another %ProgramData%.
func testSettingsFileOnWindows(t *testing.T, w *wine) {
	p := newPost(t)
	p.relieve()
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(w.programData("heartbeat-sender"))) })
	w.service(t, 3, "no server to send to", "install")
	info, err := os.Stat(w.programData("heartbeat-sender"))
	require.NoError(t, err)
	require.Zero(t, info.Mode().Perm()&0o007, "everybody may read or write what install has made: %s", info.Mode())

	file := w.programData("heartbeat-sender", "heartbeat-sender.toml")
	settings := fmt.Sprintf("server = 'tcp://%s'\nhost = 'win-file'\n[[watch]]\nservice = 'disk'\nprobe = ['cmd', '/c', 'exit 0']\n", p.address)
	require.NoError(t, os.WriteFile(file, []byte(settings), 0o600))
	w.service(t, 0, `service run -back-in=15m -config=C:\ProgramData\heartbeat-sender\heartbeat-sender.toml`+"\n", "install")
	out, code := w.does(t, "net", "start", "heartbeat-sender")
	require.Zero(t, code, out)
	for _, service := range []string{"host", "disk"} {
		p.now().Until("its beat", func() bool { return len(p.states("win-file", service)) == 1 })
		require.Equal(t, []string{"alive beat"}, p.states("win-file", service))
	}
	w.service(t, 0, "Removed service heartbeat-sender", "uninstall")
}

// Whoever else made the usual file or its directory does not decide what the service does. To
// Wine, whatever is not of the user who runs it is of an anonymous one.
func testForeignSettingsOnWindows(t *testing.T, w *wine) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to give a file away")
	}
	dir, file := w.programData("heartbeat-sender"), w.programData("heartbeat-sender", "heartbeat-sender.toml")
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	const nobody = 65534
	require.NoError(t, os.Mkdir(dir, 0o755))
	require.NoError(t, os.WriteFile(file, []byte("server = \"tcp://127.0.0.1:1\"\n"), 0o644))
	require.NoError(t, os.Chown(file, nobody, nobody))
	w.service(t, 1, `C:\ProgramData\heartbeat-sender\heartbeat-sender.toml belongs to `, "install")
	require.NoError(t, os.Remove(file))
	require.NoError(t, os.Chown(dir, nobody, nobody))
	w.service(t, 1, `C:\ProgramData\heartbeat-sender belongs to `, "install", "-server", "tcp://127.0.0.1:1")
	w.service(t, 1, "is not installed", "uninstall")
}

// A service is installed once, starts and stops by the service manager, says in the event log
// how it is, and leaves nothing behind.
func testServiceOfWindows(t *testing.T, w *wine) {
	p := newPost(t)
	p.relieve()
	says := func(code int, text string, args ...string) {
		t.Helper()
		w.service(t, code, text, args...)
	}
	install := []string{"install", "-server", "tcp://" + p.address, "-host", "win-svc", "-interval", "1s", "-tag", "room=a b", "-config", "NUL"}
	says(2, "give one of install, uninstall and run")
	says(1, "service heartbeat-sender is not installed", "uninstall")
	says(1, "only the service manager can start this: run net start heartbeat-sender", "run")
	says(3, "no server to send to", "install", "-config", "NUL")
	says(2, "-sever", "install", "-sever", "tcp://127.0.0.1:1")
	const quoted = ` "-tag=room=a b" -config=NUL` + "\n"
	says(0, quoted+"Windows starts it when it boots. To start it now: net start heartbeat-sender", install...)
	says(1, "service heartbeat-sender is already installed", install...)

	known, _ := w.does(t, "reg", "query", `HKLM\SYSTEM\CurrentControlSet\Services\heartbeat-sender`)
	require.Contains(t, known, "service run -server=tcp://"+p.address+" -interval=1s -back-in=15m -host=win-svc"+quoted)
	require.Regexp(t, `ObjectName\s+REG_SZ\s+NT AUTHORITY\\LocalService\n`, known)
	require.Regexp(t, `PreshutdownTimeout\s+REG_DWORD\s+0x1388\n`, known)
	require.Regexp(t, `Start\s+REG_DWORD\s+0x2\n`, known, "automatic")
	const source = `HKLM\SYSTEM\CurrentControlSet\Services\EventLog\Application\heartbeat-sender`
	_, code := w.does(t, "reg", "query", source)
	require.Zero(t, code)

	out, code := w.does(t, "net", "start", "heartbeat-sender")
	require.Zero(t, code, out)
	p.now().Until("its beat", func() bool { return len(p.states("win-svc", "host")) == 1 })
	says(0, "Removed service heartbeat-sender", "uninstall") // stops it, too
	require.Equal(t, []string{"alive beat", "left leaving"}, p.states("win-svc", "host"))
	for _, event := range []string{"started", "connected to tcp://" + p.address, "stopped"} {
		w.holder.Until("an event", func() bool { return w.holder.Stderr.Says(`ReportEventW L"` + event) })
	}
	_, code = w.does(t, "reg", "query", source)
	require.NotZero(t, code, "the source of events is left")
	_, code = w.does(t, "sc", "query", "heartbeat-sender")
	require.NotZero(t, code, "the service is left")
}

// The tests of packages cover what Wine never asks a service for, such as to get ready for a
// shutdown.
func testPackagesOnWindows(t *testing.T, w *wine) {
	for _, tests := range w.tests {
		out, code := w.does(t, tests[0], append([]string{"-test.v"}, tests[1:]...)...)
		require.Zero(t, code, out)
		require.Contains(t, out, "--- PASS: ")
	}
}

// reported returns what docs/windows.md says that is reported on both systems.
func reported(t *testing.T, what string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "windows.md"))
	require.NoError(t, err)
	row := regexp.MustCompile(`(?m)^\| ` + regexp.QuoteMeta(what) + ` \| (.*) \|$`).FindStringSubmatch(string(text))
	require.NotNil(t, row, "docs/windows.md lacks %s", what)
	if row[1] == "no peer is reported" {
		return nil
	}
	return strings.Split(strings.Trim(row[1], "`"), "`, `")
}

// interval of beats leaves a slow machine some seconds before somebody is suspect.
const interval = "4s"

// A side is a system on which senders run.
type side struct {
	host    string
	command func(args ...string) *exec.Cmd
}

func sides(t *testing.T, w *wine) []*side {
	return []*side{
		{"lin", func(args ...string) *exec.Cmd { return exec.Command(testkit.Program(t, "heartbeat-sender"), args...) }},
		{"win", func(args ...string) *exec.Cmd { return w.command(w.sender, args...) }},
	}
}

// A trial is something that happens to a sender, for a host of its own on each side.
type trial struct {
	*side
	t    *testing.T
	post *post
	host string
}

// say returns a command about the host of the trial.
func (r *trial) say(command string, args ...string) *exec.Cmd {
	null := os.DevNull
	if r.side.host == "win" {
		null = "NUL"
	}
	return r.command(append([]string{command, "-config", null, "-server", "tcp://" + r.post.address, "-host", r.host}, args...)...)
}

// start starts a command, and waits for the first beat of a service.
func (r *trial) start(service, command string, args ...string) *testkit.Process {
	r.t.Helper()
	p := testkit.Start(r.t, r.host, r.say(command, args...))
	p.Until("its beat", func() bool { return len(r.post.states(r.host, service)) > 0 })
	return p
}

// startLong is start that waits until the connection is a long one: its end tells something.
func (r *trial) startLong(service, command string, args ...string) *testkit.Process {
	r.t.Helper()
	p := r.start(service, command, args...)
	p.Until("more beats", func() bool { return r.post.beats(r.host, service) >= 3 })
	return p
}

// beats returns how many beats of a peer were counted.
func (p *post) beats(source, service string) int64 {
	p.now().Say("\n")
	var beats int64
	for _, m := range parse(p.t, p.now().Stdout.With("heartbeat_peer,")) {
		if tagged(m, "source", source, "service", service) {
			beats = number(p.t, m, "beats_total")
		}
	}
	return beats
}

// ends waits until the last state of a peer is the last that is wanted, and returns its states
// since it was last alive: if this machine is slow, it may have been late before.
func (r *trial) ends(service string, want []string) []string {
	r.t.Helper()
	var all []string
	testkit.Until(r.t, "its end", func() bool {
		all = r.post.states(r.host, service)
		return len(all) > 0 && last(all) == last(want)
	})
	for i := len(all) - 1; i > 0; i-- {
		if all[i] == "alive beat" {
			return all[i:]
		}
	}
	return all
}

func (r *trial) does(code int, command string, args ...string) {
	r.t.Helper()
	out, got := does(r.say(command, args...))
	require.Equal(r.t, code, got, out)
}

// Whatever happens, it is told of a sender on Windows what is told of one on Linux.
func testVerdictsOfWindows(t *testing.T, w *wine) {
	p := newPost(t)
	p.relieve()
	job := func(r *trial, code int) {
		shell := map[string]string{"lin": "sh", "win": "cmd"}[r.side.host]
		p := r.start("job", "exec", "-service", "job", "--", shell)
		p.Say(fmt.Sprintf("exit %d\n", code))
		require.Equal(r.t, code, p.Exit())
	}
	for _, c := range []struct {
		what, service string
		do            func(r *trial)
	}{
		{"`run` for the host, killed", "host", func(r *trial) {
			r.startLong("host", "run", "-interval", interval).Kill()
		}},
		{"`run -service`, killed", "app", func(r *trial) {
			r.startLong("app", "run", "-interval", interval, "-service", "app").Kill()
		}},
		{"`run -pid`, its target is killed", "target", func(r *trial) {
			target := r.start("app", "run", "-interval", "1h", "-service", "app")
			pid := number(r.t, last(r.post.events("source", r.host, "service", "app")), "last_pid")
			r.start("target", "run", "-interval", interval, "-pid", strconv.FormatInt(pid, 10), "-service", "target")
			target.Kill()
		}},
		{"`once -every 1s`, once", "host", func(r *trial) { r.does(0, "once", "-every", "1s") }},
		{"`exec` of a command that exits with 0", "job", func(r *trial) { job(r, 0) }},
		{"`exec` of a command that exits with 3", "job", func(r *trial) { job(r, 3) }},
		{"`once`, then `leave -back-in 1s`", "host", func(r *trial) {
			r.does(0, "once", "-every", "1h")
			r.does(0, "leave", "-back-in", "1s")
		}},
	} {
		want := reported(t, c.what)
		for _, s := range sides(t, w) {
			name := s.host + "-" + strings.Trim(regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(c.what, "-"), "-")
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				r := &trial{s, t, p, name}
				c.do(r)
				require.Equal(t, want, r.ends(c.service, want))
			})
		}
	}
}

// What the service manager of each system does to the sender.
func testServiceVerdicts(t *testing.T, w *wine) {
	p := newPost(t)
	p.relieve()
	stopped := reported(t, "`run` for the host, stopped as a service")
	lin := &trial{sides(t, w)[0], t, p, "lin-stopped"}
	lin.start("host", "run", "-interval", interval, "-back-in", "15m").Signal(syscall.SIGTERM)
	require.Equal(t, stopped, lin.ends("host", stopped))

	service := func(host string) *trial {
		r := &trial{sides(t, w)[1], t, p, host}
		out, code := w.does(t, w.sender, "service", "install", "-config", "NUL", "-server", "tcp://"+p.address, "-host", host, "-interval", interval)
		require.Zero(t, code, out)
		out, code = w.does(t, "net", "start", "heartbeat-sender")
		require.Zero(t, code, out)
		p.now().Until("its beats", func() bool { return p.beats(host, "host") >= 3 })
		return r
	}
	win := service("win-stopped")
	out, code := w.does(t, "net", "stop", "heartbeat-sender")
	require.Zero(t, code, out)
	require.Equal(t, stopped, win.ends("host", stopped))
	out, code = w.does(t, w.sender, "service", "uninstall")
	require.Zero(t, code, out)

	win = service("win-killed")
	kills(t, "-host=win-killed")
	killed := reported(t, "`run` for the host, killed")
	require.Equal(t, killed, win.ends("host", killed))
}

// check takes the same steps, and leaves no trace.
func testCheckOnWindows(t *testing.T, w *wine) {
	p := newPost(t)
	p.relieve()
	var steps [2][]string
	for i, s := range sides(t, w) {
		r := &trial{s, t, p, s.host + "-check"}
		out, code := does(r.say("check"))
		require.Zero(t, code, out)
		for line := range strings.Lines(out) {
			steps[i] = append(steps[i], strings.Fields(line)[0])
		}
		require.Equal(t, reported(t, "`check`"), p.states(r.host, "host"))
	}
	require.NotEmpty(t, steps[0])
	require.Equal(t, steps[0], steps[1])
}

// The plugin on Windows hears a sender on Linux, tells its death, and remembers it.
func testPluginOnWindows(t *testing.T, w *wine) {
	p := newPost(t)
	p.state = `C:\ProgramData\telegraf\heartbeat.state`
	p.config = writeOptions(t, "tcp://"+p.address, `emit_beats = "none"`)
	start := func() *testkit.Process {
		cmd := w.command(w.plugin, "-config", p.config)
		cmd.Env = append(cmd.Env, "STATE_DIRECTORY=")
		c := testkit.Start(t, "telegraf-heartbeat.exe", cmd)
		p.lives = append(p.lives, c)
		require.Equal(t, p.address, listens(c))
		return c
	}
	first := start()
	lin := &trial{sides(t, w)[0], t, p, "lin-killed"}
	lin.start("host", "run", "-interval", "1s").Kill()
	first.Until("the death", func() bool { return len(p.events("source", "lin-killed", "state", "dead")) == 1 })
	require.NoError(t, first.Stdin.Close())
	require.Zero(t, first.Exit())

	second := start()
	second.Until("that it remembers", func() bool { return second.Stderr.Says("Restored 1 peer from") })
	gathered := func() []string { return second.Stdout.With("heartbeat_peer,") }
	second.Until("the dead peer", func() bool {
		second.Say("\n")
		return len(gathered()) > 0
	})
	dead, _ := parse(t, gathered()[:1])[0].GetField("dead")
	require.EqualValues(t, 1, dead)
	require.Len(t, p.events("source", "lin-killed", "state", "dead"), 1, "a restart tells no death again")
}
