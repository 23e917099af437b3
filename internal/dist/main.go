// Command dist makes what users install: programs for all platforms, packages,
// archives, a list of what they are made of, checksums and a note. It asks git for
// the version, builds from a clone of what is committed, and makes the same bytes
// each time and in each directory. What was in dist is removed. It knows files and
// platforms, and never what the programs do.
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

// Tools are run by version, as in the Makefile.
const (
	nfpm      = "github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.0"
	cyclonedx = "github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0"
)

func main() {
	key := flag.String("key", "", "gpg key, or a file with one, to sign checksums and repositories with")
	final := flag.Bool("release", false, "refuse a commit that is not a release: tag, changelog and key belong to one")
	flag.Parse()
	if err := run(*key, *final); err != nil {
		fmt.Fprintln(os.Stderr, "dist:", err)
		os.Exit(1)
	}
}

// A release is what is made, and where.
type release struct {
	out     string // absolute
	version string // without v
	seconds int64  // when it was committed, unix time; the time of all files
}

func run(key string, final bool) error {
	if final && key == "" {
		return errors.New("a release is signed: make release KEY=..., the id of a gpg key or a file that has one")
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
	signer, err := newSigner(key) // before minutes of work
	if err != nil {
		return fmt.Errorf("KEY: %w", err)
	}
	defer signer.end()
	dir, err := os.MkdirTemp("", "dist")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := checkOut(dir); err != nil {
		return err
	}
	if err := os.Chdir(dir); err != nil {
		return err
	}
	r, err := describe(out)
	if err != nil {
		return err
	}
	if err := r.check(final); err != nil {
		return err
	}
	if err := r.empty(); err != nil {
		return err
	}
	for _, p := range platforms() {
		if err := r.publish(p); err != nil {
			return fmt.Errorf("%s: %w", p.name(), err)
		}
	}
	if err := r.note(); err != nil {
		return err
	}
	if err := r.sums(signer); err != nil {
		return err
	}
	return r.repositories(signer)
}

// checkOut clones what is committed here into dir: so nothing else that is here
// gets into a release, such as a try of the documents.
func checkOut(dir string) error {
	changed, err := output("git", "status", "--porcelain", "--untracked-files=no")
	if err != nil {
		return err
	}
	if changed != "" {
		return fmt.Errorf("a release is made of what is committed; these changes are not:\n%s", changed)
	}
	added, err := output("git", "status", "--porcelain")
	if err != nil {
		return err
	}
	if added != "" {
		fmt.Fprintf(os.Stderr, "not part of the release, because it is not committed:\n%s\n", added)
	}
	return shell(nil, "git", "clone", "--quiet", ".", dir)
}

// describe returns what is made of the commit that is checked out.
func describe(out string) (*release, error) {
	r := &release{out: out}
	committed, err := output("git", "log", "-1", "--format=%ct %H")
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

// check refuses a final release whose commit has no tag, or whose changelog is about
// another version.
func (r *release) check(final bool) error {
	if !final {
		return nil
	}
	if strings.Contains(r.version, "+") {
		return fmt.Errorf("this commit has no tag, and would be version %s: git tag vX.Y.Z", r.version)
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

// empty makes the directory of the release, without what was there.
func (r *release) empty() error {
	if err := os.RemoveAll(r.out); err != nil {
		return err
	}
	return os.MkdirAll(r.out, 0o755)
}

// versionOf returns the newest version that the commit contains, and when and which
// commit it is if it is not that version itself.
func versionOf(seconds int64, hash string) (string, error) {
	newest := func(which ...string) (string, error) {
		args := append([]string{"-c", "versionsort.suffix=-", "tag", "--sort=-version:refname", "--list", "v[0-9]*"}, which...)
		tags, err := output("git", args...)
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

// publish makes all for one platform.
func (r *release) publish(p platform) error {
	for _, program := range p.programs {
		built, err := r.build(p, program)
		if err != nil {
			return err
		}
		if err := r.archive(p, program, built); err != nil {
			return err
		}
		if p.os == "linux" {
			if err := r.pack(p, program, built); err != nil {
				return err
			}
		}
		if err := r.bill(p, program, built); err != nil {
			return err
		}
	}
	return nil
}

// output runs a command and returns what it printed.
func output(name string, args ...string) (string, error) {
	command := exec.Command(name, args...)
	command.Stderr = os.Stderr
	text, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", command, err)
	}
	return strings.TrimSpace(string(text)), nil
}

// shell runs a command with more in its environment.
func shell(env []string, name string, args ...string) error {
	command := exec.Command(name, args...)
	command.Env = append(os.Environ(), env...)
	if said, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", command, err, said)
	}
	return nil
}
