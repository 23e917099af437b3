// Command dist makes the files that users install: programs for all platforms, packages, archives,
// bills of materials, checksums and release notes. It gets the version from git, builds from a
// clone of the committed files, and produces the same bytes each time and in every directory. It
// first removes the old dist. It knows files and platforms, and never what the programs do.
//
//	go run ./internal/dist [-release] [-key KEY]
package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// These tools run at fixed versions, as in the Makefile.
const (
	nfpm      = "github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.0"
	cyclonedx = "github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0"
)

func main() {
	key := flag.String("key", "", "id of a gpg key, or a file with a key, that signs checksums and repositories")
	final := flag.Bool("release", false, "fail if the commit is not a release: a release needs a tag, a section in the changelog and a key")
	flag.Parse()
	if err := run(*key, *final); err != nil {
		fmt.Fprintln(os.Stderr, "dist:", err)
		os.Exit(1)
	}
}

// A release describes what is built, and where.
type release struct {
	out     string // the output directory, absolute
	version string // without v
	seconds int64  // Unix time of the commit; all files have this time
}

func run(key string, final bool) error {
	if final && key == "" {
		return errors.New("a release must be signed: run make release KEY=... with the id of a gpg key, or a file with a key")
	}
	out, err := filepath.Abs("dist")
	if err != nil {
		return err
	}
	if _, err := os.Stat(key); err == nil {
		if key, err = filepath.Abs(key); err != nil {
			return err
		}
	}
	signer, err := newSigner(key) // fail early: the rest takes minutes
	if err != nil {
		return fmt.Errorf("KEY: %w", err)
	}
	defer signer.close()
	dir, err := os.MkdirTemp("", "dist")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := cloneHead(dir); err != nil {
		return err
	}
	if err := os.Chdir(dir); err != nil {
		return err
	}
	r, err := newRelease(out)
	if err != nil {
		return err
	}
	if err := r.checkFinal(final); err != nil {
		return err
	}
	if err := r.recreateOut(); err != nil {
		return err
	}
	for _, p := range platforms() {
		if err := r.publish(p); err != nil {
			return fmt.Errorf("%s: %w", p.name(), err)
		}
	}
	if err := r.writeNotes(); err != nil {
		return err
	}
	if err := r.writeChecksums(signer); err != nil {
		return err
	}
	return r.buildRepositories(signer)
}

// cloneHead clones the current commit into dir, so that uncommitted files do not get into a
// release.
func cloneHead(dir string) error {
	changed, err := outputOf("git", "status", "--porcelain", "--untracked-files=no")
	if err != nil {
		return err
	}
	if changed != "" {
		return fmt.Errorf("a release contains only committed files, so commit these changes first:\n%s", changed)
	}
	added, err := outputOf("git", "status", "--porcelain")
	if err != nil {
		return err
	}
	if added != "" {
		fmt.Fprintf(os.Stderr, "not part of the release, because it is not committed:\n%s\n", added)
	}
	return runWith(nil, "git", "clone", "--quiet", ".", dir)
}

// newRelease returns the release for the commit that is checked out.
func newRelease(out string) (*release, error) {
	r := &release{out: out}
	committed, err := outputOf("git", "log", "-1", "--format=%ct %H")
	if err != nil {
		return nil, err
	}
	when, hash, _ := strings.Cut(committed, " ")
	if r.seconds, err = strconv.ParseInt(when, 10, 64); err != nil {
		return nil, err
	}
	r.version, err = versionOf(r.seconds, hash)
	return r, err
}

// checkFinal returns an error if a final release has no tag, or if the newest section of the changelog
// is about another version.
func (r *release) checkFinal(final bool) error {
	if !final {
		return nil
	}
	if strings.Contains(r.version, "+") {
		return fmt.Errorf("this commit has no tag, so its version would be %s: run git tag vX.Y.Z", r.version)
	}
	title, _, err := newestSection()
	if err != nil {
		return err
	}
	if !strings.HasPrefix(title, "["+r.version+"] - ") {
		return fmt.Errorf("the newest section of CHANGELOG.md is %q; v%s needs \"[%s] - YYYY-MM-DD\"", title, r.version, r.version)
	}
	return nil
}

// recreateOut removes the old output directory and creates an empty one.
func (r *release) recreateOut() error {
	if err := os.RemoveAll(r.out); err != nil {
		return err
	}
	return os.MkdirAll(r.out, 0o755)
}

// versionOf returns the version of the commit: its tag, or else the newest version that it
// contains, with the commit's time and hash.
func versionOf(seconds int64, hash string) (string, error) {
	newest := func(which ...string) (string, error) {
		args := append([]string{"-c", "versionsort.suffix=-", "tag", "--sort=-version:refname", "--list", "v[0-9]*"}, which...)
		tags, err := outputOf("git", args...)
		tag, _, _ := strings.Cut(tags, "\n")
		return strings.TrimPrefix(tag, "v"), err
	}
	exact, err := newest("--points-at", "HEAD")
	if err != nil || exact != "" {
		return exact, err
	}
	contained, err := newest("--merged", "HEAD")
	when := time.Unix(seconds, 0).UTC().Format("20060102150405")
	return fmt.Sprintf("%s+%s.%s", cmp.Or(contained, "0.0.0"), when, hash[:12]), err
}

// publish builds everything for one platform.
func (r *release) publish(p platform) error {
	for _, program := range p.programs {
		built, err := r.build(p, program)
		if err != nil {
			return err
		}
		if err := r.writeArchive(p, program, built); err != nil {
			return err
		}
		if p.os == "linux" {
			if err := r.writePackages(p, program, built); err != nil {
				return err
			}
		}
		if err := r.writeSBOM(p, program, built); err != nil {
			return err
		}
	}
	return nil
}

// outputOf runs a command and returns what it printed.
func outputOf(name string, args ...string) (string, error) {
	command := exec.Command(name, args...)
	command.Stderr = os.Stderr
	text, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", command, err)
	}
	return strings.TrimSpace(string(text)), nil
}

// runWith runs a command with additional environment variables.
func runWith(env []string, name string, args ...string) error {
	command := exec.Command(name, args...)
	command.Env = append(os.Environ(), env...)
	if said, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", command, err, said)
	}
	return nil
}
