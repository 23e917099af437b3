package systemd

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
	"golang.org/x/sys/unix"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

func TestMain(m *testing.M) {
	if root := os.Getenv(bootEnv); root != "" {
		fmt.Fprintln(os.Stderr, boot(root, os.Getenv(nameEnv))) // it returns only if it fails
		os.Exit(1)
	}
	flag.Parse()
	// The tests wait nearly all the time, so the number of processors says
	// little about how many may run at once.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// A machine is an init in namespaces of its own.
type machine struct {
	t     *testing.T
	name  string
	cmd   *exec.Cmd // its process 1
	said  string    // file with what that said before it was an init
	ended chan struct{}
}

// launch starts process 1 of a machine; environ says which it is.
func launch(t *testing.T, name string, environ ...string) *machine {
	t.Helper()
	m := &machine{t: t, name: name, said: filepath.Join(t.TempDir(), "said"), ended: make(chan struct{})}
	said, err := os.Create(m.said)
	require.NoError(t, err)
	defer said.Close()
	m.cmd = exec.Command("/proc/self/exe")
	m.cmd.Env = append(environ, bootEnv+"="+t.TempDir(), nameEnv+"="+name, "PATH="+os.Getenv("PATH"))
	m.cmd.Stdout, m.cmd.Stderr = said, said
	m.cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
		Pdeathsig:   syscall.SIGKILL, // nothing outlasts the test, however that ends
		Setsid:      true,
		UseCgroupFD: true, CgroupFD: controlGroup(t),
	}
	require.NoError(t, m.cmd.Start())
	go func() { // ends with the machine
		defer close(m.ended)
		m.cmd.Wait() //nolint:errcheck // it is switched off or killed
	}()
	t.Cleanup(m.cleanUp)
	return m
}

// start boots a machine with nothing but what Debian's packages bring.
func start(t *testing.T, name string) *machine {
	t.Helper()
	needsAll(t, map[string]string{initProgram: "systemd", "/usr/bin/dbus-daemon": "dbus"})
	m := launch(t, name)
	t.Cleanup(func() {
		if t.Failed() && m.running() {
			said, _ := m.try("journalctl", "--no-pager", "--boot", "--output=short-monotonic", "--lines=100")
			t.Logf("journal of %s:\n%s", m.name, said)
		}
	})
	testkit.Until(t, "the machine to boot", func() bool {
		m.mustRun()
		state, _ := m.try("systemctl", "is-system-running")
		if strings.TrimSpace(state) == "degraded" {
			require.Fail(t, "it does not run as it should", "%s", m.run("systemctl", "--failed"))
		}
		return strings.TrimSpace(state) == "running"
	})
	const setting = "/proc/sys/fs/protected_fifos"
	refusal, err := m.try("sh", "-c", "now=$(cat "+setting+") && echo $now >"+setting)
	require.Error(t, err, "settings of the kernel are this machine's too")
	require.Contains(t, refusal, "Read-only file system")
	return m
}

// needsAll skips the test without what a machine is made of: programs, by the
// packages that have them, and what every machine takes.
func needsAll(t *testing.T, programs map[string]string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	programs["nsenter"], programs["ip"] = "util-linux", "iproute2"
	for program, name := range programs {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s: install Debian's package %s", program, name)
		}
	}
}

// controlGroup makes a group for a machine, by a mount that nobody else sees, and
// returns its descriptor. At the end all below it is removed.
func controlGroup(t *testing.T) int {
	t.Helper()
	fs, err := unix.Fsopen("cgroup2", unix.FSOPEN_CLOEXEC)
	if errors.Is(err, unix.EPERM) {
		t.Skip("needs a root that may mount: CAP_SYS_ADMIN")
	}
	require.NoError(t, err)
	defer unix.Close(fs)
	require.NoError(t, unix.FsconfigCreate(fs))
	tree, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	require.NoError(t, err)
	group, err := os.MkdirTemp(fmt.Sprintf("/proc/self/fd/%d", tree), "heartbeat-")
	require.NoError(t, err)
	t.Cleanup(func() {
		defer unix.Close(tree)
		removeGroup(t, group)
	})
	dir, err := os.Open(group)
	require.NoError(t, err)
	t.Cleanup(func() { dir.Close() })
	return int(dir.Fd())
}

// removeGroup removes a group and those below it. What was in them has ended, but
// the kernel may need a moment.
func removeGroup(t *testing.T, group string) {
	entries, err := os.ReadDir(group)
	require.NoError(t, err)
	for _, entry := range entries {
		if entry.IsDir() {
			removeGroup(t, filepath.Join(group, entry.Name()))
		}
	}
	testkit.Until(t, "the end of all in "+group, func() bool { return unix.Rmdir(group) == nil })
}

func (m *machine) cleanUp() {
	m.cmd.Process.Kill() //nolint:errcheck // it may have ended
	<-m.ended
}

// mustRun fails the test if the machine has ended.
func (m *machine) mustRun() {
	m.t.Helper()
	require.True(m.t, m.running(), "it ended: %s", read(m.t, m.said))
}

func (m *machine) running() bool {
	select {
	case <-m.ended:
		return false
	default:
		return true
	}
}

// inside returns a command that runs in namespaces of the machine.
func (m *machine) inside(namespaces []string, args ...string) *exec.Cmd {
	all := append([]string{"--target", strconv.Itoa(m.cmd.Process.Pid)}, namespaces...)
	cmd := exec.Command("nsenter", append(append(all, "--"), args...)...)
	cmd.Env = []string{"PATH=" + localBin, "LC_ALL=C.UTF-8"}
	return cmd
}

// try runs a program inside and returns what it printed.
func (m *machine) try(args ...string) (string, error) {
	said, err := m.inside([]string{"--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup", "--wd=/"}, args...).CombinedOutput()
	return string(said), err
}

// run is try for what has to succeed.
func (m *machine) run(args ...string) string {
	m.t.Helper()
	said, err := m.try(args...)
	require.NoError(m.t, err, "%q: %s", args, said)
	return said
}

// systemctl does something with units.
func (m *machine) systemctl(args ...string) {
	m.t.Helper()
	m.run(append([]string{"systemctl", "--quiet"}, args...)...)
}

// show returns a property of a unit.
func (m *machine) show(unit, property string) string {
	m.t.Helper()
	return strings.TrimSpace(m.run("systemctl", "show", "--value", "--property="+property, unit))
}

// path returns where a file of the machine is for this one.
func (m *machine) path(name string) string {
	return fmt.Sprintf("/proc/%d/root%s", m.cmd.Process.Pid, name)
}

// write writes a file.
func (m *machine) write(name, text string, mode os.FileMode) {
	m.t.Helper()
	path := m.path(name)
	require.NoError(m.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(m.t, os.WriteFile(path, []byte(text), mode))
	require.NoError(m.t, os.Chmod(path, mode)) // whatever the umask is
}

// shutDown switches the machine off and waits for its end.
func (m *machine) shutDown() {
	m.t.Helper()
	m.systemctl("poweroff", "--no-block")
	testkit.Until(m.t, "the machine to shut down", func() bool { return !m.running() })
}

// A pack is what the package is made of.
type pack struct {
	Contents []struct {
		Src, Dst, Type string
		Info           struct{ Mode os.FileMode } `yaml:"file_info"`
	}
	Scripts map[string]string
}

func readPack(t *testing.T) *pack {
	t.Helper()
	var p pack
	require.NoError(t, yaml.Unmarshal([]byte(read(t, project("deploy/packages/heartbeat-sender.yaml"))), &p))
	require.NotEmpty(t, p.Contents)
	return &p
}

// install installs the package, as dpkg does: files, then the script. What is
// configured already stays.
func (m *machine) install() {
	m.t.Helper()
	p := readPack(m.t)
	for _, file := range p.Contents {
		if _, err := os.Stat(m.path(file.Dst)); err == nil && strings.HasPrefix(file.Type, "config") {
			continue
		}
		if file.Src == "${BUILT}" {
			file.Src = "bin/heartbeat-sender"
		}
		// A program that runs is replaced, not written to.
		require.NoError(m.t, os.RemoveAll(m.path(file.Dst)))
		m.write(file.Dst, read(m.t, project(file.Src)), file.Info.Mode)
	}
	m.script(p.Scripts["postinstall"], "configure")
}

// remove does what dpkg does before it removes the files.
func (m *machine) remove() {
	m.t.Helper()
	m.script(readPack(m.t).Scripts["preremove"], "remove")
}

func (m *machine) script(name, arg string) {
	m.t.Helper()
	m.write("/run/script", read(m.t, project(name)), 0o700)
	m.run("/run/script", arg)
}

// project returns the path of a file of this project.
func project(name string) string { return filepath.Join("..", "..", name) }

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if strings.HasPrefix(name, project("bin")) && os.IsNotExist(err) {
		t.Skipf(`needs %s, which "make build" builds`, strings.TrimPrefix(name, project("")+"/"))
	}
	require.NoError(t, err)
	return string(text)
}
