package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	suite   = "stable"
	section = "main"
	keyFile = "heartbeat.asc" // the file with the public key, in both repositories
)

// signingTools are the programs that a signed release needs.
var signingTools = []string{"gpg", "apt-ftparchive", "createrepo_c", "rpmsign"}

// A signer signs files with a gpg key.
type signer struct {
	home string // gpg's home directory; empty for the user's own
	id   string
}

// buildRepositories makes repositories for apt and dnf. Except for the signatures, their bytes
// are the same each time.
func (r *release) buildRepositories(s *signer) error {
	if s == nil {
		fmt.Println("no repositories were made, because they must be signed: run make dist KEY=... with the id of a gpg key, or a file with a key")
		return nil
	}
	if err := r.buildApt(s); err != nil {
		return fmt.Errorf("the repository for apt: %w", err)
	}
	if err := r.buildRPM(s); err != nil {
		return fmt.Errorf("the repository for dnf: %w", err)
	}
	return nil
}

// newSigner returns a signer for a key. The key is an id in the user's keyring, or a file, which
// is imported into a new keyring. It returns nil if key is empty.
func newSigner(key string) (*signer, error) {
	if key == "" {
		return nil, nil //nolint:nilnil // nothing is signed
	}
	for _, tool := range signingTools {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, err
		}
	}
	s := &signer{id: key}
	if _, err := os.Stat(key); err == nil {
		if s.home, err = os.MkdirTemp("", "gpg"); err != nil { // private, and a path that is short enough for its sockets
			return nil, err
		}
		if err := s.gpg("--import", key); err != nil {
			s.close()
			return nil, err
		}
		s.id = ""
	}
	if err := s.resolveKey(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// resolveKey replaces the id by the fingerprint of its secret key, or of the first secret key if
// there is no id.
func (s *signer) resolveKey() error {
	args := []string{"gpg", "--batch", "--with-colons", "--list-secret-keys"}
	if s.id != "" {
		args = append(args, "--", s.id)
	}
	listed, err := outputOf("env", append(s.env(), args...)...)
	if err != nil {
		return err
	}
	for line := range strings.Lines(listed) {
		if fields := strings.Split(line, ":"); fields[0] == "fpr" {
			s.id = fields[9]
			return nil
		}
	}
	return errors.New("no secret key found")
}

func (s *signer) env() []string {
	if s.home == "" {
		return nil
	}
	return []string{"GNUPGHOME=" + s.home}
}

func (s *signer) gpg(args ...string) error {
	return runWith(s.env(), "gpg", append([]string{"--batch", "--yes", "--quiet"}, args...)...)
}

// sign writes a signature of the file from to the file to. The option how selects the kind of
// signature.
func (s *signer) sign(how, from, to string) error {
	return s.gpg("--local-user", s.id, "--armor", "--digest-algo", "SHA512", "--output", to, how, from)
}

// exportKey writes the public key to a file.
func (s *signer) exportKey(to string) error {
	return s.gpg("--armor", "--output", to, "--export", s.id)
}

func (s *signer) close() {
	if s == nil || s.home == "" {
		return
	}
	runWith(s.env(), "gpgconf", "--kill", "all") //nolint:errcheck // if this fails, the agent ends when its home directory is gone
	os.RemoveAll(s.home)                         //nolint:errcheck // nothing more can be done
}

// buildApt makes dist/repositories/apt.
func (r *release) buildApt(s *signer) error {
	root := filepath.Join(r.out, "repositories", "apt")
	if err := r.copyInto(filepath.Join(root, "pool"), "*.deb"); err != nil {
		return err
	}
	architectures, err := writeIndices(root)
	if err != nil {
		return err
	}
	text, err := outputIn(root, "apt-ftparchive",
		"-o", "APT::FTPArchive::Release::Origin=heartbeat", "-o", "APT::FTPArchive::Release::Label=heartbeat",
		"-o", "APT::FTPArchive::Release::Suite="+suite, "-o", "APT::FTPArchive::Release::Codename="+suite,
		"-o", "APT::FTPArchive::Release::Components="+section,
		"-o", "APT::FTPArchive::Release::Date="+time.Unix(r.seconds, 0).UTC().Format("Mon, 02 Jan 2006 15:04:05 +0000"),
		"-o", "APT::FTPArchive::Release::Architectures="+strings.Join(architectures, " "),
		"-o", "APT::FTPArchive::MD5=false", "-o", "APT::FTPArchive::SHA1=false",
		"release", "dists/"+suite)
	if err != nil {
		return err
	}
	file := filepath.Join(root, "dists", suite, "Release")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		return err
	}
	if err := s.sign("--detach-sign", file, file+".gpg"); err != nil {
		return err
	}
	if err := s.sign("--clear-sign", file, filepath.Join(filepath.Dir(file), "InRelease")); err != nil {
		return err
	}
	return s.exportKey(filepath.Join(root, keyFile))
}

// writeIndices writes the package list of each architecture, and returns the architectures.
func writeIndices(root string) ([]string, error) {
	var architectures []string
	debs, err := filepath.Glob(filepath.Join(root, "pool", "*.deb"))
	if err != nil {
		return nil, err
	}
	for _, deb := range debs {
		_, of, _ := strings.Cut(strings.TrimSuffix(deb, ".deb"), "_")
		architectures = append(architectures, of[strings.LastIndex(of, "_")+1:])
	}
	slices.Sort(architectures)
	architectures = slices.Compact(architectures)
	for _, architecture := range architectures {
		text, err := outputIn(root, "apt-ftparchive", "--arch", architecture,
			"-o", "APT::FTPArchive::MD5=false", "-o", "APT::FTPArchive::SHA1=false", "packages", "pool")
		if err != nil {
			return nil, err
		}
		file := filepath.Join(root, "dists", suite, section, "binary-"+architecture, "Packages")
		if err := writeWithGzip(file, text); err != nil {
			return nil, err
		}
	}
	return architectures, nil
}

// writeWithGzip writes a file and a compressed copy with the suffix .gz.
func writeWithGzip(file string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	if _, err := w.Write(text); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return errors.Join(os.WriteFile(file, text, 0o644), os.WriteFile(file+".gz", zipped.Bytes(), 0o644))
}

// buildRPM makes dist/repositories/rpm. Only the packages in the repository are signed, so that the
// packages in dist have the same bytes each time.
func (r *release) buildRPM(s *signer) error {
	root := filepath.Join(r.out, "repositories", "rpm")
	if err := r.copyInto(root, "*.rpm"); err != nil {
		return err
	}
	packages, err := filepath.Glob(filepath.Join(root, "*.rpm"))
	if err != nil {
		return err
	}
	gpg, err := exec.LookPath("gpg")
	if err != nil {
		return err
	}
	args := []string{"--define", "__gpg " + gpg, "--define", "_gpg_name " + s.id, "--addsign"}
	if err := runWith(s.env(), "rpmsign", append(args, packages...)...); err != nil {
		return err
	}
	at := time.Unix(r.seconds, 0)
	for _, file := range packages { // the index has the times of the files
		if err := os.Chtimes(file, at, at); err != nil {
			return err
		}
	}
	if _, err := outputIn(root, "createrepo_c", "--quiet", "--checksum", "sha256", "--no-database",
		"--revision", strconv.FormatInt(r.seconds, 10), "--set-timestamp-to-revision", "."); err != nil {
		return err
	}
	index := filepath.Join(root, "repodata", "repomd.xml")
	if err := s.sign("--detach-sign", index, index+".asc"); err != nil {
		return err
	}
	return s.exportKey(filepath.Join(root, keyFile))
}

// copyInto copies the files that match the pattern into a new directory.
func (r *release) copyInto(dir, pattern string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(r.out, pattern))
	if err != nil {
		return err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(file)), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// outputIn runs a tool in a directory and returns its output.
func outputIn(dir, name string, args ...string) ([]byte, error) {
	text, err := outputOf("env", append([]string{"--chdir=" + dir, name}, args...)...)
	return []byte(text + "\n"), err
}
