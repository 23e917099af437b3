package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// writePackages makes a deb and an rpm.
func (r *release) writePackages(p platform, program, built string) error {
	env := []string{
		"GOFLAGS=", "VERSION=" + r.version, "ARCH=" + p.packaged, "BUILT=" + built,
		"SOURCE_DATE_EPOCH=" + strconv.FormatInt(r.seconds, 10),
	}
	for _, format := range []string{"deb", "rpm"} {
		err := runWith(env, "go", "run", nfpm, "package", "--config", "deploy/packages/"+program+".yaml", "--packager", format, "--target", r.out)
		if err != nil {
			return err
		}
	}
	return nil
}

// writeSBOM lists the modules that a program contains, in the format CycloneDX.
func (r *release) writeSBOM(p platform, program, built string) error {
	file := fmt.Sprintf("%s-%s-%s-%s.sbom.json", program, r.version, p.os, p.arch)
	return runWith([]string{"GOFLAGS="}, "go", "run", cyclonedx, "bin", "-json", "-noserial", "-notimestamp", "-std",
		"-version", "v"+r.version, "-output", filepath.Join(r.out, file), built)
}

// newestSection returns the title and the text of the newest section of the changelog.
func newestSection() (title, text string, err error) {
	changelog, err := os.ReadFile("CHANGELOG.md")
	if err != nil {
		return "", "", err
	}
	_, sections, ok := strings.Cut(string(changelog), "\n## ")
	if !ok {
		return "", "", errors.New("CHANGELOG.md has no section")
	}
	section, _, _ := strings.Cut(sections, "\n## ")
	title, text, _ = strings.Cut(section, "\n")
	return title, strings.TrimSpace(text), nil
}

// writeNotes writes the newest section of the changelog.
func (r *release) writeNotes() error {
	_, text, err := newestSection()
	if err != nil {
		return err
	}
	return r.write("RELEASE_NOTES.md", func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "# heartbeat %s\n\n%s\n", r.version, text)
		return err
	})
}

// writeChecksums writes the checksums of all files in the format of sha256sum -c, and signs them
// if there is a signer.
func (r *release) writeChecksums(s *signer) error {
	if err := os.RemoveAll(filepath.Join(r.out, "bin")); err != nil { // the archives have the programs
		return err
	}
	entries, err := os.ReadDir(r.out)
	if err != nil {
		return err
	}
	var lines []string
	for _, entry := range entries {
		text, err := os.ReadFile(filepath.Join(r.out, entry.Name()))
		if err != nil {
			return err
		}
		lines = append(lines, fmt.Sprintf("%x  %s\n", sha256.Sum256(text), entry.Name()))
	}
	slices.Sort(lines)
	err = r.write("SHA256SUMS", func(w io.Writer) error {
		_, err := io.WriteString(w, strings.Join(lines, ""))
		return err
	})
	if err != nil || s == nil {
		return err
	}
	file := filepath.Join(r.out, "SHA256SUMS")
	return s.sign("--detach-sign", file, file+".asc")
}
