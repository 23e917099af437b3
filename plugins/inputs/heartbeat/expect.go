package heartbeat

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/regular"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

const (
	// wrongToTell is how many wrong lines of a file are logged.
	wrongToTell = 10
	// rereadFiles is how often the files are read again.
	rereadFiles = 10 * time.Second
	// readLimit is how long a file is waited for.
	readLimit = time.Second
	// maxExpectFile is the size of the largest file, in bytes: a million names.
	maxExpectFile = 64 << 20
)

// parseExpected reads what the operator expects: a host, an address, or a
// service of either, like "web-1/nginx".
func parseExpected(text string) (liveness.Expected, error) {
	source, service, named := strings.Cut(text, "/")
	if err := misread(text, strings.TrimSuffix(source, "."), service); err != nil {
		return liveness.Expected{}, err
	}
	switch {
	case source == "":
		return liveness.Expected{}, errors.New("names neither a host nor an address")
	case named && service == "":
		return liveness.Expected{}, errors.New("has no service after the \"/\"")
	}
	if addr, err := netip.ParseAddr(source); err == nil {
		source = addr.WithZone("").String()
	}
	host, err := wire.Host(source)
	if err != nil {
		return liveness.Expected{}, err
	}
	beat := wire.Beat{Service: service}
	return liveness.Expected{Source: host, Service: service}, beat.Validate()
}

// misread names what would be read as a host or a service that nobody is.
func misread(text, source, service string) error {
	_, notAddr := netip.ParseAddr(source)
	_, notMask := netip.ParseAddr(service)
	_, notNetwork := netip.ParsePrefix(text)
	switch {
	case strings.Contains(text, "://"):
		return errors.New("is a URL: write the host alone")
	case strings.ContainsAny(text, "*?"):
		return errors.New("is a pattern: write each host by its name")
	case notNetwork == nil, notAddr == nil && notMask == nil:
		return errors.New("is a network: write each address")
	case strings.HasPrefix(source, "["):
		return errors.New("has brackets: write an address without them, and a host by its name")
	case notAddr != nil && strings.Contains(source, ":"):
		return errors.New("has a port, or is not an address: peers are known by host and service alone")
	case notAddr != nil && strings.Contains(source, ".") && strings.Trim(source, "0123456789.-") == "":
		return errors.New("is not an address")
	}
	return nil
}

func checkExpected(entries []string) error {
	for _, entry := range entries {
		if _, err := parseExpected(entry); err != nil {
			return fmt.Errorf("'expect': %.80q %w", entry, err)
		}
	}
	return nil
}

// An expectation is all that options and files name.
type expectation struct {
	all     []liveness.Expected
	wrong   []error // lines, and files that cannot be read
	partial bool    // a file cannot be read
}

func (e *expectation) read(ctx context.Context, file *regular.Reader) {
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	content, err := file.Read(ctx)
	if err == nil {
		e.addFile(file.Name, content.Text)
		return
	}
	e.wrong = append(e.wrong, fmt.Errorf("cannot read %q of 'expect_files': %w", file.Name, err))
	e.partial = true
}

// addFile adds what a file names, one on each line. A line that is wrong costs
// only itself, in another encoding as well, but not a file in UTF-16, in which no
// line is one. An empty line, and what follows a "#", is skipped.
func (e *expectation) addFile(path string, text []byte) {
	text = bytes.TrimPrefix(text, []byte("\ufeff")) // as editors of Windows write it
	if bytes.IndexByte(text, 0) >= 0 {
		e.wrong = append(e.wrong, fmt.Errorf("%q of 'expect_files' is not text in UTF-8", path))
		e.partial = true
		return
	}
	number, wrong := 0, 0
	for line := range strings.Lines(string(text)) {
		number++
		entry, _, _ := strings.Cut(line, "#")
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		expected, err := parseExpected(entry)
		if err == nil {
			e.all = append(e.all, expected)
		} else if wrong++; wrong <= wrongToTell {
			e.wrong = append(e.wrong, fmt.Errorf("%s:%d: %.80q %w ('expect_files')", path, number, entry, err))
		}
	}
	if wrong > wrongToTell {
		e.wrong = append(e.wrong, fmt.Errorf("%s: %d more lines are wrong ('expect_files')", path, wrong-wrongToTell))
	}
}

// A watcher tells the intake whom the operator expects, and again when that
// has changed.
type watcher struct {
	plugin *Heartbeat
	files  []*regular.Reader
	told   []liveness.Expected
	said   string // what is wrong with the files
}

// keepLooking looks until ctx ends.
func (w *watcher) keepLooking(ctx context.Context) {
	if len(w.plugin.ExpectFiles) == 0 {
		return
	}
	ticker := time.NewTicker(rereadFiles)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			w.lookUntil(ctx)
		}
	}
}

// look is for the start.
func (w *watcher) look() { w.lookUntil(context.Background()) }

// lookUntil reads the files. One that cannot be read changes nothing: nobody
// stops being expected because a disk fails.
func (w *watcher) lookUntil(ctx context.Context) {
	e := w.read(ctx)
	w.warn(e.wrong)
	switch {
	case w.told == nil && e.partial: // whom another collector expected still is
		e.all = append(e.all, w.plugin.intake.unmet()...)
	case w.told != nil && (e.partial || slices.Equal(e.all, w.told)):
		return
	}
	w.told = e.all
	w.plugin.intake.expect(e.all)
}

// read reads the options, which Init has checked, and the files.
func (w *watcher) read(ctx context.Context) *expectation {
	e := &expectation{all: make([]liveness.Expected, 0, len(w.plugin.Expect))}
	for _, entry := range w.plugin.Expect {
		if expected, err := parseExpected(entry); err == nil {
			e.all = append(e.all, expected)
		}
	}
	if w.files == nil {
		for _, path := range w.plugin.ExpectFiles {
			w.files = append(w.files, &regular.Reader{Name: path, Limit: maxExpectFile})
		}
	}
	for _, file := range w.files {
		e.read(ctx, file)
	}
	return e
}

// warn logs what is wrong with the files, when that has changed.
func (w *watcher) warn(wrong []error) {
	text := fmt.Sprint(wrong)
	if text != w.said {
		for _, err := range wrong {
			w.plugin.Log.Warn(wire.Printable(err.Error()))
		}
	}
	w.said = text
}
