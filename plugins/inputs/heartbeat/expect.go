package heartbeat

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// wrongToTell is how many lines are told that are wrong.
const wrongToTell = 10

// rereadFiles is how often the files are looked at again.
const rereadFiles = 10 * time.Second

// parseExpected reads whom the operator expects: a host, an address, or a
// service of either, like "web-1/nginx".
func parseExpected(text string) (liveness.Expected, error) {
	source, service, named := strings.Cut(text, "/")
	if named && service == "" {
		return liveness.Expected{}, errors.New("has no service after the \"/\"")
	}
	if source == "" {
		return liveness.Expected{}, errors.New("names neither a host nor an address")
	}
	if addr, err := netip.ParseAddr(source); err == nil {
		source = addr.WithZone("").String() // as that of a beat is
	}
	host, err := wire.Host(source)
	if err != nil {
		return liveness.Expected{}, err
	}
	if err := (&wire.Beat{Service: service}).Validate(); err != nil {
		return liveness.Expected{}, err
	}
	return liveness.Expected{Source: host, Service: service}, nil
}

func checkExpected(entries []string) error {
	for _, entry := range entries {
		if _, err := parseExpected(entry); err != nil {
			return fmt.Errorf("'expect': %q %w", entry, err)
		}
	}
	return nil
}

// expected returns all that options and files name, and what is wrong with
// the files. A line that is wrong costs only itself. An empty line, and what
// follows a "#", is skipped.
func (h *Heartbeat) expected() ([]liveness.Expected, error) {
	all := make([]liveness.Expected, 0, len(h.Expect))
	var wrong []error
	for _, entry := range h.Expect {
		if e, err := parseExpected(entry); err == nil {
			all = append(all, e)
		}
	}
	for _, path := range h.ExpectFiles {
		text, err := readRegular(path)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("reading %q of 'expect_files' failed: %w", path, err))
		}
		number := 0
		for line := range strings.Lines(string(text)) {
			number++
			entry, _, _ := strings.Cut(line, "#")
			if entry = strings.TrimSpace(entry); entry == "" {
				continue
			}
			e, err := parseExpected(entry)
			if err != nil && len(wrong) < wrongToTell {
				wrong = append(wrong, fmt.Errorf("line %d of %q of 'expect_files': %.80q %w", number, path, entry, err))
			}
			if err != nil {
				continue
			}
			all = append(all, e)
		}
	}
	return all, errors.Join(wrong...)
}

// readRegular reads a file that does not make its reader wait.
func readRegular(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: path, Err: errors.New("it is no regular file")}
	}
	return os.ReadFile(path)
}

// A watcher tells the intake whom the operator expects, and again when that
// has changed.
type watcher struct {
	plugin *Heartbeat
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
			w.look()
		}
	}
}

// look reads the files. One that cannot be read changes nothing: nobody stops
// being expected because a disk fails.
func (w *watcher) look() {
	all, err := w.plugin.expected()
	w.warn(err)
	var unread *fs.PathError
	switch failed := errors.As(err, &unread); {
	case w.told == nil && failed: // whom another collector expected still is
		all = append(all, w.plugin.intake.unmet()...)
	case w.told != nil && (failed || slices.Equal(all, w.told)):
		return
	}
	w.told = all
	w.plugin.intake.expect(all)
}

// warn says what is wrong with the files, once.
func (w *watcher) warn(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != "" && text != w.said {
		w.plugin.Log.Warn(text)
	}
	w.said = text
}
