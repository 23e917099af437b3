// Command dist makes what users install: programs for all platforms, packages,
// archives, a list of what they are made of, checksums and a note. It asks git for
// the version, and makes the same bytes each time and in each directory.
//
//	go run ./internal/dist [-out DIR] [-only OS/ARCH,...]
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Tools are run by version, as in the Makefile.
const (
	nfpm      = "github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.0"
	cyclonedx = "github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0"
)

func main() {
	out := flag.String("out", "dist", "directory to write; what is in it is removed")
	only := flag.String("only", "", "these platforms alone, like linux/amd64,windows/amd64")
	flag.Parse()
	if err := run(*out, *only); err != nil {
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

func run(out, only string) error {
	r, err := prepare(out)
	if err != nil {
		return err
	}
	for _, p := range platforms() {
		if only == "" || slices.Contains(strings.Split(only, ","), p.name()) {
			if err := r.publish(p); err != nil {
				return fmt.Errorf("%s: %w", p.name(), err)
			}
		}
	}
	if err := r.note(); err != nil {
		return err
	}
	return r.sums()
}

func prepare(out string) (*release, error) {
	out, err := filepath.Abs(out)
	if err != nil {
		return nil, err
	}
	r := &release{out: out}
	committed, err := output("git", "log", "-1", "--format=%ct %h")
	if err != nil {
		return nil, err
	}
	when, hash, _ := strings.Cut(committed, " ")
	if r.seconds, err = strconv.ParseInt(when, 10, 64); err != nil {
		return nil, err
	}
	if r.version, err = versionOf(hash); err != nil {
		return nil, err
	}
	if err := os.RemoveAll(out); err != nil {
		return nil, err
	}
	return r, os.MkdirAll(out, 0o755)
}

// versionOf returns the newest version that the commit contains, and which commit
// it is if it is not that version itself.
func versionOf(hash string) (string, error) {
	const versions = "v[0-9]*"
	contained, err := output("git", "tag", "--merged", "HEAD", "--sort=-version:refname", "--list", versions)
	if err != nil {
		return "", err
	}
	exact, err := output("git", "tag", "--points-at", "HEAD", "--sort=-version:refname", "--list", versions)
	if err != nil {
		return "", err
	}
	newest, _, _ := strings.Cut(contained, "\n")
	switch {
	case exact != "":
		return strings.TrimPrefix(newest, "v"), nil
	case newest == "": // nothing was released yet
		return "0.0.0+" + hash, nil
	}
	return strings.TrimPrefix(newest, "v") + "+" + hash, nil
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
