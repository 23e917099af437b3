package statefile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// A State is what the collectors before have left.
type State struct {
	Peers   []liveness.Record
	Saved   time.Time // when Peers were as they are here, or later: a crash is not noted
	Last    time.Time // when the last collector wrote last
	Trouble error     // what was not read, or nil
}

// An entry is the record of a peer and where it stands in the journal.
type entry struct {
	record   liveness.Record
	life     int           // in contents.lives
	listened time.Duration // in that life
	size     int64         // of its line, in bytes
}

// A life is one of a collector.
type life struct {
	number   uint64
	listened time.Duration // in all, as far as it is known
}

// contents are what is in a file.
type contents struct {
	entries map[liveness.ID]*entry
	order   []liveness.ID // of their first lines; some may be gone
	lives   []life
	last    time.Time // of the last mark
	ended   bool      // the last collector was stopped
	whole   int64     // bytes up to the end of the last whole line, without the first one

	outdated bool  // another version wrote it
	spoiled  int   // lines that could not be read
	first    error // about the first of those
}

func newContents() *contents {
	return &contents{entries: make(map[liveness.ID]*entry), lives: make([]life, 1)}
}

// readContents reads a whole file. It fails if that is none of ours.
func readContents(r io.Reader) (*contents, error) {
	lines := newLineReader(r)
	first, err := lines.next()
	switch {
	case err != nil:
		return nil, err
	case first == nil:
		return nil, errors.New("it is empty")
	case string(first) == header:
		return readLines(newContents(), lines)
	}
	switch kind, err := versionOf(first); {
	case err == nil && kind == 1:
		return readVersion1(bytes.Clone(first), lines)
	case err == nil && kind != version:
		return nil, fmt.Errorf("it was written by another version of heartbeat: its format is %d, not %d", kind, version)
	}
	return readHeadless(lines)
}

// versionOf returns which version of a state file begins with this line.
func versionOf(first []byte) (int, error) {
	// What another version put into its header is not known, so nothing but
	// these is asked for. The first version had no sum.
	var kind struct {
		Format  string
		Version int
		CRC32C  string
	}
	if json.Unmarshal(first, &kind) != nil || kind.Format != format {
		return 0, errForeign
	}
	if kind.Version != 1 && kind.CRC32C != sumOf(headerText(kind.Version)) {
		return 0, errForeign
	}
	return kind.Version, nil
}

func headerText(version int) []byte { return fmt.Appendf(nil, "%s %d", format, version) }

// readHeadless reads a file whose first line is damaged, if it is one of ours.
func readHeadless(lines *lineReader) (*contents, error) {
	c := newContents()
	c.spoil(1, errForeign)
	c, err := readLines(c, lines)
	if err == nil && c.last.IsZero() {
		return nil, errForeign
	}
	return c, err
}

func readLines(c *contents, lines *lineReader) (*contents, error) {
	for {
		text, err := lines.next()
		if err != nil {
			return nil, err
		}
		if text == nil {
			return c, nil
		}
		if text[len(text)-1] != '\n' { // it was being written when the power or the process went
			return c, nil
		}
		c.whole += int64(len(text))
		l, err := parseLine(text)
		if err == nil {
			err = c.take(&l, int64(len(text)))
		}
		if err != nil {
			c.spoil(lines.count, err)
		}
	}
}

// take takes in one line.
func (c *contents) take(l *line, size int64) error {
	var record liveness.Record
	switch {
	case l.Peer != nil:
		var err error
		if record, err = l.Peer.record(); err != nil {
			return err
		}
	case l.Gone == nil:
		if err := checkInstant("at", l.At); err != nil {
			return err
		}
		c.last, c.ended = l.At, l.End
	}
	c.listen(l)
	switch {
	case l.Peer != nil:
		c.put(&entry{record, len(c.lives) - 1, l.Listened, size})
	case l.Gone != nil:
		delete(c.entries, *l.Gone)
	}
	return nil
}

// listen notes for how long a collector has listened, at least.
func (c *contents) listen(l *line) {
	now := &c.lives[len(c.lives)-1]
	if l.Life != now.number {
		c.lives = append(c.lives, life{number: l.Life})
		now = &c.lives[len(c.lives)-1]
	}
	now.listened = max(now.listened, l.Listened)
}

// put notes what is known of a peer now. The later line holds.
func (c *contents) put(e *entry) {
	if _, known := c.entries[e.record.ID]; !known {
		c.order = append(c.order, e.record.ID)
	}
	c.entries[e.record.ID] = e
}

func (c *contents) spoil(number int, err error) {
	if c.spoiled++; c.first == nil {
		c.first = fmt.Errorf("line %d: %w", number, shortened(err))
	}
}

// state returns what is known at the end of the file.
func (c *contents) state(now time.Time) State {
	s := State{Last: c.last, Saved: c.last}
	if !c.ended { // it may have listened until its next mark
		if until := c.last.Add(liveness.LongestPace); until.Before(now) {
			s.Saved = until
		} else if now.After(c.last) {
			s.Saved = now
		}
	}
	later := c.listenedAfter()
	for _, id := range c.order {
		e, known := c.entries[id]
		if !known {
			continue
		}
		delete(c.entries, id) // it may stand in order again
		r := e.record.After(c.lives[e.life].listened-e.listened, later[e.life])
		r.Crashed = s.Saved.Sub(c.last)
		s.Peers = append(s.Peers, r)
	}
	if c.spoiled > 0 {
		s.Trouble = fmt.Errorf("%d lines could not be read and are left out, the first is %w", c.spoiled, c.first)
	}
	return s
}

// listenedAfter returns for how long collectors have listened in all lives
// after each one.
func (c *contents) listenedAfter() []time.Duration {
	later := make([]time.Duration, len(c.lives))
	for i := len(later) - 2; i >= 0; i-- {
		later[i] = min(later[i+1]+c.lives[i+1].listened, maxSpan)
	}
	return later
}

// needed returns how many bytes of the file are lines that still hold.
func (c *contents) needed() int64 {
	sum := int64(0)
	for _, e := range c.entries {
		sum += e.size
	}
	return sum
}

func (c *contents) lastLife() uint64 { return c.lives[len(c.lives)-1].number }
