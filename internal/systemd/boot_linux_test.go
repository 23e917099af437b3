package systemd

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	initProgram = "/usr/lib/systemd/systemd"

	// bootEnv makes this program process 1 of a machine: it names the directory
	// that becomes its root.
	bootEnv  = "HEARTBEAT_MACHINE_ROOT"
	nameEnv  = "HEARTBEAT_MACHINE_NAME"
	initEnv  = "HEARTBEAT_MACHINE_INIT"  // the command that becomes process 1; systemd if it is empty
	layerEnv = "HEARTBEAT_MACHINE_LAYER" // a directory with more below /usr and /etc; none if it is empty
	localBin = "/usr/local/bin:/usr/bin:/usr/sbin"
)

// boot turns this process, which is alone in new namespaces, into an init.
func boot(root, name string) error {
	runtime.LockOSThread() // the namespace of control groups is one of the thread
	for _, step := range []func(root string) error{
		isolate, makeRoot, mountKernel, makeDevices, func(string) error { return unix.Sethostname([]byte(name)) },
		enableLoopback, enterRoot,
	} {
		if err := step(root); err != nil {
			return err
		}
	}
	environ := []string{"container=heartbeat-test", "PATH=" + localBin} // it leaves hardware and kernel alone
	command := strings.Fields(cmp.Or(os.Getenv(initEnv), initProgram+" --unit=multi-user.target"))
	return syscall.Exec(command[0], command, environ)
}

// isolate makes sure that no mount leaves this namespace, and that the control
// group we are in looks like the root.
func isolate(string) error {
	if err := mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	return unix.Unshare(unix.CLONE_NEWCGROUP)
}

// masked are units that need what a machine without hardware has not, that would
// change what belongs to all of the kernel, or that take of the few inotify
// instances that it has for all machines.
var masked = []string{
	"console-getty.service", "getty@.service", "systemd-sysctl.service", "sys-kernel-debug.mount",
	"sys-kernel-tracing.mount", "dev-hugepages.mount", "modprobe@.service", "systemd-remount-fs.service",
	"systemd-logind.service", "systemd-ask-password-console.path", "systemd-ask-password-wall.path",
}

// makeRoot makes the tree of directories.
func makeRoot(root string) error {
	if err := mount("tmpfs", root, "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	at := func(name string) string { return filepath.Join(root, name) }
	for _, dir := range []string{
		"usr", ".upper", ".work", "etc/systemd/system", "etc/dbus-1", "var/lib", "var/log", "run", "dev", "proc", "sys", "root", "home", ".old",
	} {
		if err := os.MkdirAll(at(dir), 0o755); err != nil {
			return err
		}
	}
	for _, dir := range []string{"tmp", "var/tmp"} {
		if err := os.MkdirAll(at(dir), 0o755); err != nil {
			return err
		}
		if err := os.Chmod(at(dir), 0o777|os.ModeSticky); err != nil {
			return err
		}
	}
	links := map[string]string{
		"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64", "var/run": "../run",
		"etc/os-release": "../usr/lib/os-release",
	}
	for _, unit := range masked {
		links["etc/systemd/system/"+unit] = os.DevNull
	}
	for name, to := range links {
		if err := os.Symlink(to, at(name)); err != nil {
			return err
		}
	}
	// A machine without an id boots for the first time, and enables every unit.
	for name, text := range map[string]string{
		"etc/machine-id":    strings.Repeat("0123456789abcdef", 2) + "\n",
		"etc/nsswitch.conf": "passwd: files systemd\ngroup: files systemd\nshadow: files\nhosts: files\n",
		"etc/hosts":         "127.0.0.1 localhost\n",
	} {
		if err := os.WriteFile(at(name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	lower := "/usr"
	if layer := os.Getenv(layerEnv); layer != "" {
		lower = layer + "/usr:" + lower
		if err := os.CopyFS(at("etc"), os.DirFS(filepath.Join(layer, "etc"))); err != nil {
			return err
		}
	}
	return mount("overlay", at("usr"), "overlay", 0, fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", lower, at(".upper"), at(".work")))
}

// mountKernel mounts what the kernel shows. Settings that are not of these
// namespaces alone cannot be changed.
func mountKernel(root string) error {
	const safe = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	at := func(name string) string { return filepath.Join(root, name) }
	if err := mount("proc", at("proc"), "proc", safe, ""); err != nil {
		return err
	}
	for _, name := range []string{"proc/sys", "proc/sysrq-trigger", "proc/irq", "proc/bus"} {
		if _, err := os.Stat(at(name)); os.IsNotExist(err) {
			continue
		}
		if err := mount(at(name), at(name), "", unix.MS_BIND, ""); err != nil {
			return err
		}
		if err := mount("", at(name), "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|safe, ""); err != nil {
			return err
		}
	}
	if err := mount("sysfs", at("sys"), "sysfs", safe|unix.MS_RDONLY, ""); err != nil {
		return err
	}
	return mount("cgroup2", at("sys/fs/cgroup"), "cgroup2", safe, "")
}

// makeDevices makes those that every program may expect.
func makeDevices(root string) error {
	at := func(name string) string { return filepath.Join(root, "dev", name) }
	if err := mount("tmpfs", at(""), "tmpfs", unix.MS_NOSUID, "mode=755"); err != nil {
		return err
	}
	for name, number := range map[string]uint64{
		"null": unix.Mkdev(1, 3), "zero": unix.Mkdev(1, 5), "full": unix.Mkdev(1, 7), "random": unix.Mkdev(1, 8),
		"urandom": unix.Mkdev(1, 9), "tty": unix.Mkdev(5, 0),
	} {
		if err := unix.Mknod(at(name), unix.S_IFCHR|0o666, int(number)); err != nil {
			return fmt.Errorf("making %s: %w", at(name), err)
		}
		if err := os.Chmod(at(name), 0o666); err != nil {
			return err
		}
	}
	for name, to := range map[string]string{"fd": "/proc/self/fd", "ptmx": "pts/ptmx"} {
		if err := os.Symlink(to, at(name)); err != nil {
			return err
		}
	}
	if err := os.WriteFile(at("console"), nil, 0o600); err != nil {
		return err
	}
	for name, kind := range map[string]string{"shm": "tmpfs", "pts": "devpts"} {
		if err := os.Mkdir(at(name), 0o755); err != nil {
			return err
		}
		if err := mount(kind, at(name), kind, unix.MS_NOSUID, ""); err != nil {
			return err
		}
	}
	return nil
}

func enableLoopback(string) error {
	said, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip link set lo up: %w: %s", err, said)
	}
	return nil
}

func enterRoot(root string) error {
	if err := unix.PivotRoot(root, filepath.Join(root, ".old")); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount("/.old", unix.MNT_DETACH); err != nil {
		return err
	}
	// As every manager of containers does: else no service sees its credentials,
	// which systemd mounts in a namespace beside this one.
	if err := mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return err
	}
	return os.Chdir("/")
}

func mount(source, target, kind string, flags uintptr, data string) error {
	if err := unix.Mount(source, target, kind, flags, data); err != nil {
		return fmt.Errorf("mounting %s on %s: %w", kind, target, err)
	}
	return nil
}
