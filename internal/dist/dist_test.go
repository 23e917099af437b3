//go:build linux

package main

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

// all adds tests instead of skipping them, because a skipped test is a failure with CI=true. They
// take minutes, and need root and Debian's packages rpm and iproute2.
var all = flag.Bool("all", false, "make a whole release twice, and install it")

// The test makes the release twice, in two directories, and checks the results.
func TestRelease(t *testing.T) {
	if !*all {
		return
	}
	first, second := makeRelease(t), makeRelease(t)
	t.Run("is the same in any directory", func(t *testing.T) {
		require.Equal(t, read(t, first, "SHA256SUMS"), read(t, second, "SHA256SUMS"))
		command := exec.Command("sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS")
		command.Dir = first
		said, err := command.CombinedOutput()
		require.NoError(t, err, "%s", said)
	})
	t.Run("has programs of the right format without traces of this machine", func(t *testing.T) { testPrograms(t, first) })
	t.Run("has rpms with what the debs have", func(t *testing.T) { testRPMs(t, first) })
	t.Run("can be installed", func(t *testing.T) { testInstall(t, first) })
	t.Run("has a note and bills", func(t *testing.T) {
		require.Contains(t, string(read(t, first, "RELEASE_NOTES.md")), "\n- ")
		for _, p := range platforms() {
			for _, program := range p.programs {
				bill := string(read(t, first, one(t, first, program+"-*-"+p.os+"-"+p.arch+".sbom.json")))
				require.Contains(t, bill, `"bomFormat": "CycloneDX"`)
				require.Contains(t, bill, "github.com/BurntSushi/toml")
			}
		}
	})
}

// makeRelease makes a release from a clone, and returns its directory.
func makeRelease(t *testing.T) string {
	t.Helper()
	clone := filepath.Join(t.TempDir(), "clone")
	top, err := filepath.Abs(filepath.Join("..", ".."))
	require.NoError(t, err)
	call(t, ".", "git", "clone", "--quiet", top, clone)
	// A file that is not in the repository does not change the release.
	require.NoError(t, os.WriteFile(filepath.Join(clone, "telegraf.conf"), []byte("[agent]\n"), 0o600))
	fmt.Print(call(t, clone, "go", "run", "./internal/dist"))
	return filepath.Join(clone, "dist")
}

func call(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	command := exec.Command(name, args...)
	command.Dir = dir
	said, err := command.CombinedOutput()
	require.NoError(t, err, "%s\n%s", command, said)
	return string(said)
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	require.NoError(t, err)
	return text
}

// one returns the name of the only file that matches the pattern.
func one(t *testing.T, dir, pattern string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	require.NoError(t, err)
	require.Len(t, names, 1, pattern)
	return filepath.Base(names[0])
}

// machines has the names of the processor in each executable format.
var machines = map[string]any{
	"linux/amd64": elf.EM_X86_64, "linux/arm64": elf.EM_AARCH64, "linux/arm": elf.EM_ARM, "linux/386": elf.EM_386,
	"linux/mipsle": elf.EM_MIPS, "linux/riscv64": elf.EM_RISCV, "freebsd/amd64": elf.EM_X86_64,
	"windows/amd64": uint16(pe.IMAGE_FILE_MACHINE_AMD64), "darwin/amd64": macho.CpuAmd64, "darwin/arm64": macho.CpuArm64,
}

func testPrograms(t *testing.T, dist string) {
	const budget = 6 << 20
	home, err := os.UserHomeDir()
	require.NoError(t, err)
	goroot := strings.TrimSpace(call(t, ".", "go", "env", "GOROOT"))
	traces := []string{filepath.Dir(filepath.Dir(dist)), goroot + "/src", home + "/go/", home + "/.cache"}
	for _, p := range platforms() {
		for _, program := range p.programs {
			text := unpacked(t, dist, p, program)
			require.Equal(t, machines[p.name()], machineOf(t, p, text), "%s for %s", program, p.name())
			for _, trace := range traces {
				require.False(t, bytes.Contains(text, []byte(trace)), "%s for %s has %s in it", program, p.name(), trace)
			}
			if program == senderProgram {
				require.LessOrEqual(t, len(text), budget, p.name())
			}
		}
	}
}

// unpacked returns the content of the program in an archive.
func unpacked(t *testing.T, dist string, p platform, program string) []byte {
	t.Helper()
	dir := t.TempDir()
	if p.os == "windows" {
		call(t, dir, "python3", "-m", "zipfile", "-e", filepath.Join(dist, one(t, dist, program+"-*-windows-"+p.arch+".zip")), ".")
		return read(t, dir, filepath.Join(one(t, dir, program+"-*"), program+".exe"))
	}
	call(t, dir, "tar", "-xzf", filepath.Join(dist, one(t, dist, program+"-*-"+p.os+"-"+p.arch+".tar.gz")))
	return read(t, dir, filepath.Join(one(t, dir, program+"-*"), program))
}

func machineOf(t *testing.T, p platform, text []byte) any {
	t.Helper()
	r := bytes.NewReader(text)
	switch p.os {
	case "windows":
		file, err := pe.NewFile(r)
		require.NoError(t, err)
		return file.Machine
	case "darwin":
		file, err := macho.NewFile(r)
		require.NoError(t, err)
		return file.Cpu
	}
	file, err := elf.NewFile(r)
	require.NoError(t, err)
	return file.Machine
}

// testRPMs compares names and modes of all files, and checks which ones are marked as
// configuration.
func testRPMs(t *testing.T, dist string) {
	for deb, rpm := range map[string]string{
		senderProgram + "_*_amd64.deb": senderProgram + "-*.x86_64.rpm", pluginProgram + "_*_amd64.deb": pluginProgram + "-*.x86_64.rpm",
		senderProgram + "_*_arm64.deb": senderProgram + "-*.aarch64.rpm",
	} {
		debFile, rpmFile := filepath.Join(dist, one(t, dist, deb)), filepath.Join(dist, one(t, dist, rpm))
		var inDeb, inRPM []string
		for line := range strings.Lines(call(t, ".", "dpkg-deb", "--contents", debFile)) {
			if fields := strings.Fields(line); fields[0][0] == '-' {
				inDeb = append(inDeb, fields[0]+" "+strings.TrimPrefix(fields[5], "."))
			}
		}
		for line := range strings.Lines(call(t, ".", "rpm", "-q", "--qf", `[%{FILEMODES:perms} %{FILENAMES}\n]`, "-p", rpmFile)) {
			if line[0] == '-' {
				inRPM = append(inRPM, strings.TrimSpace(line))
			}
		}
		slices.Sort(inDeb)
		slices.Sort(inRPM)
		require.NotEmpty(t, inDeb)
		require.Equal(t, inDeb, inRPM)
		kept := strings.Fields(call(t, ".", "rpm", "-q", "--configfiles", "-p", rpmFile))
		require.Equal(t, strings.Fields(call(t, ".", "dpkg-deb", "--info", debFile, "conffiles")), kept)
	}
}

// A root is a directory into which packages are installed.
type root struct {
	t   *testing.T
	dir string
}

func newRoot(t *testing.T) *root {
	t.Helper()
	require.Zero(t, os.Geteuid(), "needs root")
	r := &root{t, t.TempDir()}
	for _, dir := range []string{"var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers", "dev", "tmp", "proc", "etc"} {
		require.NoError(t, os.MkdirAll(r.path(dir), 0o755))
	}
	require.NoError(t, os.WriteFile(r.path("var/lib/dpkg/status"), nil, 0o600))
	call(t, ".", "mknod", "-m", "666", r.path("dev/null"), "c", "1", "3")
	return r
}

func (r *root) path(name string) string { return filepath.Join(r.dir, name) }

func (r *root) dpkg(args ...string) string {
	r.t.Helper()
	inside := []string{"--root=" + r.dir, "--force-script-chrootless", "--force-confold", "--log=/dev/null"}
	return call(r.t, ".", "dpkg", append(inside, args...)...)
}

// modes returns the modes of all installed files, without directories.
func (r *root) exists(name string, mode os.FileMode) {
	r.t.Helper()
	info, err := os.Stat(r.path(name))
	require.NoError(r.t, err)
	require.Equal(r.t, mode, info.Mode().Perm(), name)
}

const (
	senderConf = "etc/heartbeat-sender/heartbeat-sender.toml"
	pluginConf = "etc/telegraf-heartbeat/heartbeat.conf"
	snippet    = "etc/telegraf/telegraf.d/heartbeat.conf"
)

// testInstall installs, uses, upgrades and removes the packages.
func testInstall(t *testing.T, dist string) {
	r := newRoot(t)
	debs := []string{
		filepath.Join(dist, one(t, dist, senderProgram+"_*_amd64.deb")), filepath.Join(dist, one(t, dist, pluginProgram+"_*_amd64.deb")),
	}
	r.dpkg("-i", debs[0], debs[1])
	for name, mode := range map[string]os.FileMode{
		"usr/bin/heartbeat-sender": 0o755, "usr/bin/telegraf-heartbeat": 0o755, senderConf: 0o644, pluginConf: 0o644, snippet: 0o644,
		"usr/lib/systemd/system/heartbeat-sender.service": 0o644, "usr/lib/sysusers.d/heartbeat-sender.conf": 0o644,
		"usr/share/man/man1/heartbeat-sender.1": 0o644, "usr/share/bash-completion/completions/heartbeat-sender": 0o644,
		"usr/share/bash-completion/completions/telegraf-heartbeat": 0o644, "var/lib/telegraf": 0o750,
	} {
		r.exists(name, mode)
	}
	require.Regexp(t, `(?m)^heartbeat:`, string(read(t, r.dir, "etc/passwd")), "the user of the units")
	r.verifyUnits()
	r.use()

	r.change(senderConf, "server = \"tcp://192.0.2.1:7878\"\n")
	r.dpkg("-i", debs[0], debs[1]) // installing the same version again is like an upgrade
	require.Contains(t, string(read(t, r.dir, senderConf)), "192.0.2.1")
	r.dpkg("-r", senderProgram, pluginProgram)
	require.NoFileExists(t, r.path("usr/bin/heartbeat-sender"))
	require.FileExists(t, r.path(senderConf), "what the user has written is kept")
	require.NoFileExists(t, r.path(snippet), "Telegraf would not start without the program")
	r.dpkg("-i", debs[1])
	require.FileExists(t, r.path(snippet))
	r.dpkg("-r", pluginProgram)
	r.dpkg("--purge", senderProgram, pluginProgram)
	require.NoFileExists(t, r.path(senderConf))
	require.NoFileExists(t, r.path(snippet))
	require.NoFileExists(t, r.path(snippet+".disabled"))
}

func (r *root) change(name, text string) {
	r.t.Helper()
	require.NoError(r.t, os.WriteFile(r.path(name), []byte(text), 0o600))
}

// verifyUnits verifies the installed units with systemd.
func (r *root) verifyUnits() {
	r.t.Helper()
	units, err := filepath.Glob(r.path("usr/lib/systemd/system/*"))
	require.NoError(r.t, err)
	require.Len(r.t, units, 5)
	// The units need the units and programs that they refer to; the root has nothing of systemd.
	targets, err := filepath.Glob("/usr/lib/systemd/system/*.target")
	require.NoError(r.t, err)
	call(r.t, ".", "cp", append([]string{"-a", "-t", r.path("usr/lib/systemd/system")}, targets...)...)
	require.NoError(r.t, os.MkdirAll(r.path("bin"), 0o755))
	call(r.t, ".", "cp", "/bin/sh", r.path("bin/sh"))
	said := call(r.t, ".", "systemd-analyze", append([]string{"verify", "--root=" + r.dir, "--man=no"}, relative(r.dir, units)...)...)
	for line := range strings.Lines(said) {
		require.NotContains(r.t, line, "heartbeat-", said)
	}
}

func relative(dir string, names []string) []string {
	short := make([]string, len(names))
	for i, name := range names {
		short[i] = strings.TrimPrefix(name, dir)
	}
	return short
}

// use runs the installed programs inside the root, in their own network namespace: Telegraf with
// the installed snippet, then the sender's commands check and once.
func (r *root) use() {
	t := r.t
	t.Helper()
	telegraf, err := os.ReadFile(filepath.Join("..", "..", "bin", "telegraf-stock"))
	require.NoError(t, err, `needs bin/telegraf-stock, which "make test" builds`)
	require.NoError(t, os.WriteFile(r.path("usr/bin/telegraf"), telegraf, 0o755))
	r.change("etc/telegraf/telegraf.conf", `[agent]
  interval = "1s"
  flush_interval = "1s"
[[outputs.file]]
  files = ["/tmp/written"]
`)

	var said bytes.Buffer
	const script = `ip link set lo up && exec chroot "$0" /usr/bin/telegraf \
		--config /etc/telegraf/telegraf.conf --config-directory /etc/telegraf/telegraf.d`
	command := exec.Command("unshare", "--net", "sh", "-c", script, r.dir)
	command.Stdout, command.Stderr = &said, &said
	require.NoError(t, command.Start())
	ended := make(chan struct{})
	go func() { // ends when the process is killed below
		defer close(ended)
		command.Wait() //nolint:errcheck // it is killed
	}()
	defer func() {
		require.NoError(t, command.Process.Signal(os.Interrupt))
		<-ended
		if t.Failed() {
			t.Log(said.String())
		}
	}()
	inside := func(args ...string) (string, error) {
		args = append([]string{fmt.Sprintf("--net=/proc/%d/ns/net", command.Process.Pid), "chroot", r.dir}, args...)
		text, err := exec.Command("nsenter", args...).CombinedOutput()
		return string(text), err
	}
	testkit.Until(t, "the collector to answer", func() bool {
		text, err := inside("/usr/bin/heartbeat-sender", "check", "-server", "tcp://127.0.0.1:7878", "-host", "web-1")
		return err == nil && strings.Contains(text, "identity   web-1/host")
	})
	text, err := inside("/usr/bin/heartbeat-sender", "once", "-server", "tcp://127.0.0.1:7878", "-host", "web-1")
	require.NoError(t, err, text)
	text, err = inside("/usr/bin/telegraf-heartbeat", "-check")
	require.NoError(t, err, text)
	testkit.Until(t, "Telegraf to write of it", func() bool {
		written, err := os.ReadFile(r.path("tmp/written"))
		return err == nil && regexp.MustCompile(`heartbeat_peer,.*source=web-1`).Match(written)
	})
	testkit.Until(t, "the state to be saved", func() bool {
		_, err := os.Stat(r.path("var/lib/telegraf/heartbeat.state"))
		return err == nil
	})
}

// Changes must be committed first; untracked files are left out.
func TestReleaseIsMadeOfWhatIsCommitted(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	call(t, dir, "git", "init", "--quiet")
	write("program", "committed")
	call(t, dir, "git", "add", "program")
	call(t, dir, "git", "-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "--quiet", "--message", "first")

	write("telegraf.conf", "[agent]")
	clone := t.TempDir()
	require.NoError(t, cloneHead(clone))
	require.Equal(t, "committed", string(read(t, clone, "program")))
	require.NoFileExists(t, filepath.Join(clone, "telegraf.conf"))
	require.Empty(t, call(t, clone, "git", "status", "--porcelain"), "Go would call it modified")

	write("program", "changed")
	require.ErrorContains(t, cloneHead(t.TempDir()), "so commit these changes first:\nM program")
}

// A final release needs a key, a tag, and a section of the changelog about its version.
func TestReleaseIsComplete(t *testing.T) {
	require.ErrorContains(t, run("", true), "KEY=")
	t.Chdir(t.TempDir())
	changelog := func(title string) {
		require.NoError(t, os.WriteFile("CHANGELOG.md", []byte("# Changelog\n\n## "+title+"\n\n- one\n\n## [0.9.0] - 2026-01-01\n"), 0o600))
	}
	tagged, untagged := &release{version: "1.0.0"}, &release{version: "1.0.0+20261130000000.0123456789ab"}

	changelog("[1.0.0] - 2026-12-01")
	require.NoError(t, tagged.checkFinal(true))
	require.ErrorContains(t, untagged.checkFinal(true), "has no tag")
	require.NoError(t, untagged.checkFinal(false))

	changelog("[Unreleased]")
	require.ErrorContains(t, tagged.checkFinal(true), `"[Unreleased]"; v1.0.0 needs "[1.0.0] - YYYY-MM-DD"`)
	require.NoError(t, tagged.checkFinal(false))
}

// The checksums are signed with the same key as the repositories.
func TestChecksumsAreSigned(t *testing.T) {
	for _, tool := range signingTools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("install Debian's packages gpg, apt-utils, createrepo-c and rpm")
		}
	}
	r := &release{out: t.TempDir(), version: "1.0.0"}
	require.NoError(t, os.WriteFile(filepath.Join(r.out, "program"), []byte("built"), 0o600))
	s := signerOf(t, newKey(t))
	require.NoError(t, r.writeChecksums(s))
	sums := filepath.Join(r.out, "SHA256SUMS")
	require.NoError(t, s.gpg("--verify", sums+".asc", sums))

	require.NoError(t, os.WriteFile(sums, []byte("0000  program\n"), 0o600))
	require.Error(t, s.gpg("--verify", sums+".asc", sums))
}

// A sample for cron once replaced the program, because it has the same name.
func TestArchivesHaveTheProgramAndEachNameOnce(t *testing.T) {
	t.Chdir(filepath.Join("..", ".."))
	for _, p := range platforms() {
		for _, program := range p.programs {
			built := filepath.Join(t.TempDir(), program)
			require.NoError(t, os.WriteFile(built, []byte("built"), 0o600))
			all, err := readMembers("root", built, filesOf(p, program))
			require.NoError(t, err)
			require.Equal(t, member{"root/" + program, 0o755, []byte("built")}, all[0])
			modes := make(map[string]int64)
			for _, m := range all {
				modes[m.name] = m.mode
			}
			for _, name := range []string{"root/README.txt", "root/windows.md"} {
				require.Equal(t, p.os == "windows", slices.ContainsFunc(all, func(m member) bool { return m.name == name }), name)
			}
			if p.os == "linux" && program == senderProgram {
				require.Equal(t, int64(0o644), modes["root/heartbeat-sender.service"])
				require.Equal(t, int64(0o755), modes["root/openrc/heartbeat-sender"])
				require.Equal(t, int64(0o755), modes["root/runit/heartbeat-sender/log/run"])
			}

			_, err = readMembers("root", built, []string{"deploy/cron/heartbeat-sender", "deploy/cron/heartbeat-sender"})
			require.ErrorContains(t, err, "would be in the archive twice")
		}
	}
}

// The bytes of an archive depend only on its members and its time.
func TestArchivesAreReproducible(t *testing.T) {
	members := []member{{"x/program", 0o755, []byte("program")}, {"x/LICENSE", 0o644, []byte("text")}}
	at := time.Unix(1_700_000_000, 0).UTC()
	sums := make(map[[32]byte]bool)
	for range 3 {
		var zipped, tarred bytes.Buffer
		require.NoError(t, writeZip(&zipped, members, at))
		require.NoError(t, writeTarGz(&tarred, members, at))
		sums[sha256.Sum256(append(zipped.Bytes(), tarred.Bytes()...))] = true
	}
	require.Len(t, sums, 1)
}
