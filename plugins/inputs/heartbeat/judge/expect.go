package judge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/influxdata/telegraf"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/regular"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

const (
	// maxLogged is the maximum number of invalid lines of a file that are logged.
	maxLogged = 10
	// readLimit is how long reading a file may take.
	readLimit = time.Second
	// maxExpectFile is the maximum size of a file in bytes, enough for a million names.
	maxExpectFile = 64 << 20
)

// ParseExpected parses an entry of 'expect': a host, an address, or a service of either, like
// "web-1/nginx".
func ParseExpected(text string) (liveness.Expected, error) {
	source, service, named := strings.Cut(text, "/")
	if err := rejectMistakes(text, strings.TrimSuffix(source, "."), service); err != nil {
		return liveness.Expected{}, err
	}
	switch {
	case source == "":
		return liveness.Expected{}, errors.New("has no host or address")
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

// rejectMistakes returns an error for text that could be accepted as a host or service but is
// probably a mistake, like a URL.
func rejectMistakes(text, source, service string) error {
	_, notAddr := netip.ParseAddr(source)
	_, notMask := netip.ParseAddr(service)
	_, notNetwork := netip.ParsePrefix(text)
	switch {
	case strings.Contains(text, "://"):
		return errors.New("is a URL: write only the host")
	case strings.ContainsAny(text, "*?"):
		return errors.New("is a pattern: list each host by name")
	case notNetwork == nil, notAddr == nil && notMask == nil:
		return errors.New("is a network: list each address")
	case strings.HasPrefix(source, "["):
		return errors.New("has brackets: write the address or host without them")
	case notAddr != nil && strings.Contains(source, ":"):
		return errors.New("has a port, or is not an address: write HOST or HOST/SERVICE")
	case notAddr != nil && strings.Contains(source, ".") && strings.Trim(source, "0123456789.-") == "":
		return errors.New("is not an address")
	}
	return nil
}

// expectedPeers are all peers that the options and files list.
type expectedPeers struct {
	all     []liveness.Expected
	wrong   []error // invalid lines, and files that cannot be read
	partial bool    // a file could not be read
}

func (e *expectedPeers) readFile(ctx context.Context, file *regular.Reader) {
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	content, err := file.Read(ctx)
	if err == nil {
		e.addFile(file.Name, content.Text)
		return
	}
	e.wrong = append(e.wrong, fmt.Errorf("cannot read %q in 'expect_files': %w", file.Name, err))
	e.partial = true
}

// addFile adds the entries of a file, one per line. It skips invalid lines, including lines in
// another encoding. It rejects a file in UTF-16 as a whole. Empty lines and text after "#" are
// ignored.
func (e *expectedPeers) addFile(path string, text []byte) {
	text = bytes.TrimPrefix(text, []byte("\ufeff")) // some editors on Windows write it
	if bytes.IndexByte(text, 0) >= 0 {
		e.wrong = append(e.wrong, fmt.Errorf("%q in 'expect_files' is not UTF-8 text", path))
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
		expected, err := ParseExpected(entry)
		if err == nil {
			e.all = append(e.all, expected)
		} else if wrong++; wrong <= maxLogged {
			e.wrong = append(e.wrong, fmt.Errorf("%s:%d: %.80q %w ('expect_files')", path, number, entry, err))
		}
	}
	if wrong > maxLogged {
		e.wrong = append(e.wrong, fmt.Errorf("%s: %d more invalid lines ('expect_files')", path, wrong-maxLogged))
	}
}

// An Expecter passes the expected peers to a Judge when the collector starts, and whenever the list
// changes.
type Expecter struct {
	judge   *Judge
	log     telegraf.Logger
	entries []string
	files   []*regular.Reader
	more    func(context.Context) ([]liveness.Expected, bool)
	current []liveness.Expected // the list last passed to the Judge
	logged  string              // the last logged problems
}

// NewExpecter returns an Expecter for entries in the syntax of ParseExpected, and for files
// with one entry per line.
func NewExpecter(judge *Judge, entries, files []string, log telegraf.Logger) *Expecter {
	e := &Expecter{judge: judge, entries: entries, log: log}
	for _, path := range files {
		e.files = append(e.files, &regular.Reader{Name: path, Limit: maxExpectFile})
	}
	return e
}

// Problems returns one error for each invalid entry, line or file. It works without a Judge.
func (e *Expecter) Problems() []error { return e.collect(context.Background()).wrong }

// Add adds a function that returns more expected peers, and whether the list is complete. The
// function is called whenever the files are read. Add must be called before any other method.
func (e *Expecter) Add(more func(context.Context) (all []liveness.Expected, complete bool)) {
	e.more = more
}

// KeepReading rereads the files regularly until ctx ends.
func (e *Expecter) KeepReading(ctx context.Context) {
	if len(e.files) > 0 || e.more != nil {
		regular.Reread(ctx, e.Read)
	}
}

// Read reads the files and passes their entries to the Judge. If a file cannot be read, the
// expected peers stay as they are, so that no peer becomes unexpected because a disk fails.
func (e *Expecter) Read(ctx context.Context) {
	found := e.collect(ctx)
	e.warn(found.wrong)
	switch {
	case e.current == nil && found.partial: // keep the peers that the previous run expected
		found.all = append(found.all, e.judge.Unmet()...)
	case e.current != nil && (found.partial || slices.EqualFunc(found.all, e.current, liveness.Expected.Equal)):
		return
	}
	e.current = found.all
	e.judge.Expect(found.all)
}

// collect returns the peers that the options and files list now.
func (e *Expecter) collect(ctx context.Context) *expectedPeers {
	found := &expectedPeers{all: make([]liveness.Expected, 0, len(e.entries))}
	for _, entry := range e.entries {
		expected, err := ParseExpected(entry)
		if err != nil {
			found.wrong = append(found.wrong, fmt.Errorf("'expect': %.80q %w", entry, err))
			continue
		}
		found.all = append(found.all, expected)
	}
	for _, file := range e.files {
		found.readFile(ctx, file)
	}
	if e.more != nil {
		more, complete := e.more(ctx)
		found.all, found.partial = append(found.all, more...), found.partial || !complete
	}
	return found
}

// warn logs the problems with entries and files, if they have changed.
func (e *Expecter) warn(wrong []error) {
	text := fmt.Sprint(wrong)
	if text != e.logged {
		for _, err := range wrong {
			e.log.Warn(wire.Printable(err.Error()))
		}
	}
	e.logged = text
}
