package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A member is a file in an archive.
type member struct {
	name string
	mode int64
	text []byte
}

// contents lists the files that an archive has in addition to the program.
var contents = map[string][]string{
	senderProgram: {
		"LICENSE", "CHANGELOG.md", "docs/sender.md", "deploy/heartbeat-sender.toml",
		"deploy/man/heartbeat-sender.1", "deploy/man/heartbeat-sender.toml.5",
	},
	pluginProgram: {
		"LICENSE", "CHANGELOG.md", "plugins/inputs/heartbeat/README.md", "sample.conf", "deploy/packages/heartbeat.conf",
		"deploy/man/telegraf-heartbeat.1", "deploy/prometheus/heartbeat.rules.yml",
		"deploy/prometheus/alertmanager.yml", "deploy/prometheus/heartbeat.tmpl",
		"deploy/grafana/import/heartbeat-influxdb.json", "deploy/grafana/import/heartbeat-prometheus.json",
	},
}

// samples lists the files that start a sender on systems without packages.
var samples = map[string][]string{
	"linux": {
		"deploy/systemd/heartbeat-sender.service", "deploy/systemd/heartbeat-sender-watch.service",
		"deploy/systemd/heartbeat-once.service", "deploy/systemd/heartbeat-once.timer",
		"deploy/systemd/heartbeat-leave.service", "deploy/sysusers/heartbeat-sender.conf",
		"deploy/openrc/heartbeat-sender", "deploy/runit/heartbeat-sender/run", "deploy/runit/heartbeat-sender/log/run",
	},
	"darwin":  {"deploy/launchd/heartbeat-sender.plist"},
	"freebsd": {"deploy/rc.d/heartbeat_sender"},
}

// readme is the file for people to read first in a zip.
var readme = map[string]string{
	senderProgram: "deploy/windows/sender/README.txt",
	pluginProgram: "deploy/windows/plugin/README.txt",
}

// filesOf returns the files in the archive of a program, without the program.
func filesOf(p platform, program string) []string {
	files := slices.Clone(contents[program])
	if program == senderProgram {
		files = append(files, samples[p.os]...)
	}
	if p.os == "windows" {
		files = append(files, readme[program], "docs/windows.md")
	}
	return files
}

// writeArchive writes a zip for Windows, and a tar.gz for all other systems.
func (r *release) writeArchive(p platform, program, built string) error {
	root := fmt.Sprintf("%s-%s-%s-%s", program, r.version, p.os, p.arch)
	all, err := readMembers(root, built, filesOf(p, program))
	if err != nil {
		return err
	}
	at := time.Unix(r.seconds, 0).UTC()
	if p.os == "windows" {
		return r.write(root+".zip", func(w io.Writer) error { return writeZip(w, all, at) })
	}
	return r.write(root+".tar.gz", func(w io.Writer) error { return writeTarGz(w, all, at) })
}

func readMembers(root, built string, files []string) ([]member, error) {
	var all []member
	add := func(file string, mode int64) error {
		text, err := os.ReadFile(file)
		name := root + "/" + nameOf(file)
		if slices.ContainsFunc(all, func(m member) bool { return m.name == name }) {
			return fmt.Errorf("%s would be in the archive twice", name)
		}
		all = append(all, member{name, mode, text})
		return err
	}
	if err := add(built, 0o755); err != nil {
		return nil, err
	}
	for _, file := range files {
		mode := int64(0o644)
		if nameOf(file) != filepath.Base(file) {
			mode = 0o755
		}
		if err := add(file, mode); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// nameOf returns the name of a file in an archive. Most files are in the same directory as the
// program. The scripts of OpenRC and runit are in their own directories, because their names are
// the same.
func nameOf(file string) string {
	name, ok := strings.CutPrefix(file, "deploy/")
	if ok && (strings.HasPrefix(name, "openrc/") || strings.HasPrefix(name, "runit/")) {
		return name
	}
	return filepath.Base(file)
}

func (r *release) write(name string, write func(io.Writer) error) error {
	file, err := os.Create(filepath.Join(r.out, name))
	if err != nil {
		return err
	}
	if err := write(file); err != nil {
		file.Close()
		return fmt.Errorf("writing %s failed: %w", name, err)
	}
	return file.Close()
}

func writeTarGz(w io.Writer, all []member, at time.Time) error {
	zipped := gzip.NewWriter(w)
	archive := tar.NewWriter(zipped)
	for _, m := range all {
		header := &tar.Header{Name: m.name, Mode: m.mode, Size: int64(len(m.text)), ModTime: at, Format: tar.FormatPAX}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if _, err := archive.Write(m.text); err != nil {
			return err
		}
	}
	if err := archive.Close(); err != nil {
		return err
	}
	return zipped.Close()
}

func writeZip(w io.Writer, all []member, at time.Time) error {
	archive := zip.NewWriter(w)
	for _, m := range all {
		header := &zip.FileHeader{Name: m.name, Method: zip.Deflate, Modified: at}
		header.SetMode(os.FileMode(m.mode))
		file, err := archive.CreateHeader(header)
		if err != nil {
			return err
		}
		if _, err := file.Write(m.text); err != nil {
			return err
		}
	}
	return archive.Close()
}
