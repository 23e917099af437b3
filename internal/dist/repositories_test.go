//go:build linux

package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// newKey makes a gpg key, and returns the file that contains it.
func newKey(t *testing.T) string {
	t.Helper()
	home, err := os.MkdirTemp("", "gpg") // short, for the sockets in it
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(home) })
	env := []string{"GNUPGHOME=" + home}
	require.NoError(t, runWith(env, "gpg", "--batch", "--quiet", "--passphrase", "", "--quick-generate-key", "test <test@example.com>", "rsa3072", "sign"))
	file := filepath.Join(t.TempDir(), "secret.asc")
	require.NoError(t, runWith(env, "gpg", "--batch", "--armor", "--output", file, "--export-secret-keys"))
	require.NoError(t, runWith(env, "gpgconf", "--kill", "all"))
	return file
}

// A repository is a pair of repositories, for apt and dnf, on a web server of this host.
type repository struct {
	t    *testing.T
	dir  string // dist/repositories
	url  string
	keys map[bool]string // public keys: the right one, and another
}

func newRepository(t *testing.T, made string) *repository {
	t.Helper()
	dir := t.TempDir()
	call(t, ".", "cp", "-a", made+"/.", dir)
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	t.Cleanup(server.Close)
	other, err := newSigner(newKey(t))
	require.NoError(t, err)
	defer other.close()
	wrong := filepath.Join(t.TempDir(), "wrong.asc")
	require.NoError(t, other.exportKey(wrong))
	return &repository{t, dir, server.URL, map[bool]string{true: filepath.Join(made, "apt", keyFile), false: wrong}}
}

// change replaces a text in the only file that matches the pattern.
func (r *repository) change(pattern, from, to string) {
	r.t.Helper()
	name := one(r.t, filepath.Join(r.dir, filepath.Dir(pattern)), filepath.Base(pattern))
	path := filepath.Join(filepath.Dir(pattern), name)
	text := string(read(r.t, r.dir, path))
	require.Contains(r.t, text, from)
	require.NoError(r.t, os.WriteFile(filepath.Join(r.dir, path), []byte(strings.Replace(text, from, to, 1)), 0o600))
}

func (r *repository) remove(names ...string) {
	r.t.Helper()
	for _, name := range names {
		require.NoError(r.t, os.Remove(filepath.Join(r.dir, name)))
	}
}

// apt installs the sender into a new root as docs/install.md describes. It returns the output of
// apt.
func (r *repository) apt(key string) (string, error) {
	r.t.Helper()
	root := newRoot(r.t)
	for _, dir := range []string{
		"etc/apt/keyrings", "etc/apt/sources.list.d", "etc/apt/preferences.d", "etc/apt/trusted.gpg.d", "etc/apt/apt.conf.d",
		"var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/log/apt",
	} {
		require.NoError(r.t, os.MkdirAll(root.path(dir), 0o755))
	}
	kept := root.path("etc/apt/keyrings/heartbeat.asc")
	root.change("etc/apt/keyrings/heartbeat.asc", string(read(r.t, filepath.Dir(key), filepath.Base(key))))
	root.change("etc/apt/sources.list.d/heartbeat.list", "deb [signed-by="+kept+"] "+r.url+"/apt stable main\n")
	options := []string{
		"-o", "Dir=" + root.dir, "-o", "Dir::State::status=" + root.path("var/lib/dpkg/status"), "-o", "APT::Sandbox::User=root",
		"-o", "APT::Architecture=amd64", "-o", "Acquire::Languages=none", "-o", "Acquire::http::Proxy=DIRECT",
		"-o", "Dpkg::Options::=--root=" + root.dir, "-o", "Dpkg::Options::=--force-script-chrootless", "-o", "Dpkg::Options::=--log=/dev/null",
	}
	said, err := exec.Command("apt-get", append(options, "update")...).CombinedOutput()
	if err != nil {
		return string(said), err
	}
	command := exec.Command("apt-get", append(options, "install", "-y", "heartbeat-sender")...)
	command.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	said, err = command.CombinedOutput()
	if err == nil {
		root.exists("usr/bin/heartbeat-sender", 0o755)
	}
	return string(said), err
}

// dnf is like apt, but for dnf. It runs no scripts, because the root has no shell.
func (r *repository) dnf(key string) (string, error) {
	r.t.Helper()
	root := r.t.TempDir()
	require.NoError(r.t, os.MkdirAll(filepath.Join(root, "etc/yum.repos.d"), 0o755))
	require.NoError(r.t, os.WriteFile(filepath.Join(root, "etc/yum.repos.d/heartbeat.repo"), []byte(`[heartbeat]
name=heartbeat
baseurl=`+r.url+`/rpm
gpgcheck=1
repo_gpgcheck=1
gpgkey=file://`+key+`
`), 0o600))
	said, err := exec.Command("dnf", "-y", "--installroot="+root, "--releasever=1", "--forcearch=x86_64", "--setopt=tsflags=noscripts",
		"--setopt=reposdir="+filepath.Join(root, "etc/yum.repos.d"), "--setopt=cachedir="+filepath.Join(root, "cache"), "--setopt=proxy=",
		"install", "heartbeat-sender").CombinedOutput()
	if err == nil {
		require.FileExists(r.t, filepath.Join(root, "usr/bin/heartbeat-sender"))
	}
	return string(said), err
}

// Packages are installed only if the index is signed with a key that the user trusts and the
// packages match the index.
func TestRepositories(t *testing.T) {
	if !*all {
		return
	}
	t.Chdir(filepath.Join("..", ".."))
	r := &release{out: t.TempDir(), version: "1.0.0", seconds: 1_700_000_000}
	p := platforms()[0]
	for _, program := range p.programs {
		built, err := r.build(p, program)
		require.NoError(t, err)
		require.NoError(t, r.writePackages(p, program, built))
	}
	key := newKey(t)
	require.NoError(t, r.buildRepositories(signerOf(t, key)))
	made := filepath.Join(r.out, "repositories")
	testRefusals(t, made, (*repository).apt, "apt", map[string]func(*repository){
		"no signature":         func(r *repository) { r.remove("apt/dists/stable/InRelease", "apt/dists/stable/Release.gpg") },
		"another signed index": func(r *repository) { r.change("apt/dists/stable/InRelease", "Origin: heartbeat", "Origin: elsewhere") },
		"another list of what": func(r *repository) {
			r.change("apt/dists/stable/main/binary-amd64/Packages.gz", "\x1f\x8b", "\x1f\x8c")
		},
		"another package of that": func(r *repository) { r.change("apt/pool/heartbeat-sender_*.deb", "!<arch>", "!<arcX>") },
	})
	testRefusals(t, made, (*repository).dnf, "dnf", map[string]func(*repository){
		"no signature":            func(r *repository) { r.remove("rpm/repodata/repomd.xml.asc") },
		"another signed index":    func(r *repository) { r.change("rpm/repodata/repomd.xml", "<revision>1", "<revision>2") },
		"another package of that": func(r *repository) { r.change("rpm/heartbeat-sender-*.rpm", "heartbeat", "heartbeaX") },
	})
	t.Run("the same but for the signatures", func(t *testing.T) {
		again := &release{out: t.TempDir(), version: r.version, seconds: r.seconds}
		call(t, ".", "sh", "-c", `cp "$0"/*.deb "$0"/*.rpm "$1"`, r.out, again.out)
		require.NoError(t, again.buildRepositories(signerOf(t, newKey(t))))
		for _, name := range []string{"Release", "main/binary-amd64/Packages", "main/binary-amd64/Packages.gz"} {
			file := filepath.Join("repositories/apt/dists/stable", name)
			require.Equal(t, string(read(t, r.out, file)), string(read(t, again.out, file)), name)
		}
	})
}

// testRefusals makes sure that an installation succeeds without changes, and fails with another
// key and after each change.
func testRefusals(t *testing.T, made string, install func(*repository, string) (string, error), tool string, changes map[string]func(*repository)) {
	t.Run(tool+" installs", func(t *testing.T) {
		r := newRepository(t, made)
		said, err := install(r, r.keys[true])
		require.NoError(t, err, said)
	})
	changes["another key"] = func(*repository) {}
	for name, change := range changes {
		t.Run(tool+" refuses "+name, func(t *testing.T) {
			r := newRepository(t, made)
			change(r)
			said, err := install(r, r.keys[name != "another key"])
			require.Error(t, err, said)
			t.Log(said)
		})
	}
}

// Nobody should trust unsigned repositories, so none are made without a key.
func TestRepositoriesAreNotMadeUnsigned(t *testing.T) {
	r := &release{out: t.TempDir()}
	require.NoError(t, r.buildRepositories(signerOf(t, "")))
	require.NoDirExists(t, filepath.Join(r.out, "repositories"))
}

func signerOf(t *testing.T, key string) *signer {
	t.Helper()
	s, err := newSigner(key)
	require.NoError(t, err)
	t.Cleanup(s.close)
	return s
}
