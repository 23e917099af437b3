package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// pack makes a deb and an rpm.
func (r *release) pack(p platform, program, built string) error {
	env := []string{
		"GOFLAGS=", "VERSION=" + r.version, "ARCH=" + p.packaged, "BUILT=" + built,
		"SOURCE_DATE_EPOCH=" + strconv.FormatInt(r.seconds, 10),
	}
	for _, format := range []string{"deb", "rpm"} {
		err := shell(env, "go", "run", nfpm, "package", "--config", "deploy/packages/"+program+".yaml", "--packager", format, "--target", r.out)
		if err != nil {
			return err
		}
	}
	return nil
}

// bill lists the modules that a program is made of (CycloneDX).
func (r *release) bill(p platform, program, built string) error {
	file := fmt.Sprintf("%s-%s-%s-%s.sbom.json", program, r.version, p.os, p.arch)
	return shell([]string{"GOFLAGS="}, "go", "run", cyclonedx, "bin", "-json", "-noserial", "-notimestamp", "-std",
		"-version", "v"+r.version, "-output", filepath.Join(r.out, file), built)
}

// note takes the newest section of the changelog.
func (r *release) note() error {
	text, err := os.ReadFile("CHANGELOG.md")
	if err != nil {
		return err
	}
	_, sections, ok := strings.Cut(string(text), "\n## ")
	if !ok {
		return fmt.Errorf("CHANGELOG.md has no section")
	}
	section, _, _ := strings.Cut(sections, "\n## ")
	_, body, _ := strings.Cut(section, "\n")
	return r.write("RELEASE_NOTES.md", func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "# heartbeat %s\n\n%s\n", r.version, strings.TrimSpace(body))
		return err
	})
}

// sums writes the checksums of all files, as sha256sum -c reads them.
func (r *release) sums() error {
	if err := os.RemoveAll(filepath.Join(r.out, "bin")); err != nil { // they are in the archives
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
	return r.write("SHA256SUMS", func(w io.Writer) error {
		_, err := io.Copy(w, bytes.NewBufferString(strings.Join(lines, "")))
		return err
	})
}
