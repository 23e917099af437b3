package statefile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// A State is the state saved by previous runs of the collector.
type State struct {
	Peers   []liveness.Record
	Saved   time.Time // when Peers were in this state; after a crash it may be later
	Last    time.Time // when the last collector last wrote to the file
	Trouble error     // why some or all lines could not be read, or nil
}

// An entry is the latest line of a peer. It is kept as text, and parsed again after all lines are
// read. Parsing twice is faster than keeping a million records in memory, because of garbage
// collection.
type entry struct {
	text     []byte        // nil if the peer is gone
	life     int           // in contents.lives
	listened time.Duration // in that life
}

// record returns the record of the peer. If possible, it stores the record in p, to avoid an
// allocation.
func (e *entry) record(p *savedPeer) *liveness.Record {
	l, _ := parseLine(e.text, p) //nolint:errcheck // it was parsed before
	return (*liveness.Record)(l.saved)
}

// A life is one run of a collector that used the file.
type life struct {
	number   uint64
	listened time.Duration // in total, as far as known
}

// portion is how many peers are restored at once.
const portion = 512

// contents are the parsed lines of a file.
type contents struct {
	entries []entry             // in the order of their first lines
	at      map[liveness.ID]int // the index of each in entries
	lives   []life
	last    time.Time // of the last mark
	ended   bool      // the last collector was stopped
	begun   bool      // lines follow that mark without a mark of their own
	torn    bool      // the file ends in the middle of a line
	bare    bool      // it ends after the first line
	size    int64     // bytes up to the end of the last whole line, without the first one

	outdated   bool  // an older version wrote it
	unreadable int   // lines that could not be read
	first      error // the error of the first of those
	trouble    error // why the whole file was not read
}

func newContents() *contents {
	return &contents{at: make(map[liveness.ID]int), lives: make([]life, 1)}
}

// readContents reads a whole state file. It returns an error if the file is not a state file.
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
		return nil, fmt.Errorf("another version of the plugin wrote it: its format is %d, not %d", kind, version)
	}
	return readWithoutHeader(lines)
}

// versionOf returns the version of a state file, which is in its first line.
func versionOf(first []byte) (int, error) {
	// The headers of other versions may have more members, so unknown members are allowed. The header
	// of version 1 has no checksum.
	var kind struct {
		Format  string
		Version int
		CRC32C  string
	}
	if json.Unmarshal(first, &kind) != nil || kind.Format != format {
		return 0, errForeign
	}
	if kind.Version != 1 && !isSum([]byte(kind.CRC32C), headerText(kind.Version)) {
		return 0, errForeign
	}
	return kind.Version, nil
}

func headerText(version int) []byte { return fmt.Appendf(nil, "%s %d", format, version) }

// readWithoutHeader reads a state file whose first line is damaged.
func readWithoutHeader(lines *lineReader) (*contents, error) {
	c := newContents()
	c.noteUnreadable(1, errForeign)
	c, err := readLines(c, lines)
	if err == nil && c.last.IsZero() {
		return nil, errForeign
	}
	return c, err
}

func readLines(c *contents, lines *lineReader) (*contents, error) {
	number := lines.count
	for b := range inOrder(lines.blocks()) {
		if b.err != nil {
			return nil, b.err
		}
		for i := range b.lines {
			number++
			l := &b.lines[i]
			if c.size += int64(len(l.text)); l.err == nil {
				l.err = c.addLine(l)
			}
			if l.err != nil {
				c.noteUnreadable(number, l.err)
			}
		}
	}
	c.torn, c.bare = lines.torn, c.size == 0
	return c, nil
}

// blockSize is the approximate size of a block in bytes.
const blockSize = 256 << 10

// A block is a group of consecutive lines that one goroutine parses.
type block struct {
	lines []parsedLine
	err   error // why it could not be read
}

// A parsedLine is a parsed line, or the error from parsing it.
type parsedLine struct {
	text []byte
	err  error
	line
	id liveness.ID // of its peer, if any
}

// blocks returns jobs that parse the remaining lines, one block each.
func (r *lineReader) blocks() iter.Seq[func() block] {
	return func(yield func(func() block) bool) {
		for more := true; more; {
			var lines [][]byte
			var err error
			lines, more, err = r.nextLines()
			if !yield(func() block { return parseBlock(lines, err) }) {
				return
			}
		}
	}
}

// nextLines returns the complete lines of the next block, and whether there may be more lines.
func (r *lineReader) nextLines() (lines [][]byte, more bool, err error) {
	block := make([]byte, 0, blockSize+blockSize/8)
	for len(block) < blockSize {
		text, err := r.next()
		if err != nil || text == nil {
			return lines, false, err
		}
		if text[len(text)-1] != '\n' { // the power failed or the process ended while writing it
			r.torn = true
			return lines, false, nil
		}
		start := len(block)
		block = append(block, text...)
		lines = append(lines, block[start:len(block):len(block)])
	}
	return lines, true, nil
}

func parseBlock(lines [][]byte, err error) block {
	b := block{make([]parsedLine, len(lines)), err}
	var peer savedPeer
	for i, text := range lines {
		l := &b.lines[i]
		l.text = text
		if l.line, l.err = parseLine(text, &peer); l.err == nil && l.saved != nil {
			l.id, l.err = l.saved.ID, CheckRecord((*liveness.Record)(l.saved))
		}
	}
	return b
}

// addLine adds a parsed line to the contents.
func (c *contents) addLine(l *parsedLine) error {
	if l.saved == nil && l.Gone == nil {
		if err := checkInstant("at", l.At); err != nil {
			return err
		}
		c.last, c.ended = l.At, l.End
	}
	c.begun = l.saved != nil || l.Gone != nil
	c.noteListened(&l.line)
	switch {
	case l.saved != nil:
		c.setEntry(l.id, entry{l.text, len(c.lives) - 1, l.Listened})
	case l.Gone != nil:
		c.removeEntry(*l.Gone)
	}
	return nil
}

// noteListened notes that the collector of a line has listened at least as long as the line says.
func (c *contents) noteListened(l *line) {
	now := &c.lives[len(c.lives)-1]
	if l.Life != now.number {
		c.lives = append(c.lives, life{number: l.Life})
		now = &c.lives[len(c.lives)-1]
	}
	now.listened = max(now.listened, l.Listened)
}

// setEntry sets the entry of a peer. A later line replaces an earlier one.
func (c *contents) setEntry(id liveness.ID, e entry) {
	if at, known := c.at[id]; known {
		c.entries[at] = e
		return
	}
	c.at[id] = len(c.entries)
	c.entries = append(c.entries, e)
}

// removeEntry removes the entry of a peer.
func (c *contents) removeEntry(id liveness.ID) {
	if at, known := c.at[id]; known {
		c.entries[at] = entry{}
	}
}

func (c *contents) noteUnreadable(number int, err error) {
	c.begun = false // as far as is known
	if c.unreadable++; c.first == nil {
		c.first = fmt.Errorf("line %d: %w", number, shortened(err))
	}
}

// state returns the state that the file describes, without the peers.
func (c *contents) state(now time.Time) State {
	s := State{Last: c.last, Saved: c.last, Trouble: c.trouble}
	if !c.ended && !c.last.IsZero() { // it may have listened until its next mark
		if until := c.last.Add(liveness.LongestPace); until.Before(now) {
			s.Saved = until
		} else if now.After(c.last) {
			s.Saved = now
		}
	}
	if c.unreadable > 0 {
		s.Trouble = fmt.Errorf("skipped %d lines that could not be read, the first is %w", c.unreadable, c.first)
	}
	return s
}

// cutOff returns an error if the end of the file is missing, that is, if the file does not end with
// a mark. While a collector is writing to the file, that is normal.
func (c *contents) cutOff() error {
	since := "everything after that"
	if !c.last.IsZero() {
		since = "everything saved after " + c.last.Format(time.RFC3339)
	}
	switch {
	case c.torn:
		return fmt.Errorf("it ends in the middle of a line: %s is lost", since)
	case c.begun:
		return fmt.Errorf("it ends in the middle of a change: %s is lost", since)
	case c.bare:
		return fmt.Errorf("it ends after its first line: %s is lost", since)
	}
	return nil
}

// fullState returns the state that the file describes, with the peers.
func (c *contents) fullState(now time.Time) State {
	s := c.state(now)
	s.Peers = slices.Grow(s.Peers, len(c.entries))
	for some := range c.peers(&s) {
		s.Peers = append(s.Peers, some...)
	}
	return s
}

// peers yields the records of all peers, some at a time, and releases the memory of their entries.
// Each slice is valid until the next one is yielded.
func (c *contents) peers(s *State) iter.Seq[[]liveness.Record] {
	later, crashed := c.listenedAfter(), s.Saved.Sub(c.last)
	var spare sync.Pool // of *restoredPeers
	jobs := func(yield func(func() *restoredPeers) bool) {
		for entries := range slices.Chunk(c.entries, portion) {
			some, ok := spare.Get().(*restoredPeers)
			if !ok {
				some = new(restoredPeers)
			}
			if !yield(func() *restoredPeers { return some.read(c, entries, later, crashed) }) {
				return
			}
		}
	}
	return func(yield func([]liveness.Record) bool) {
		for some := range inOrder(jobs) {
			if !yield(some.records) {
				return
			}
			spare.Put(some)
		}
	}
}

// restoredPeers are the records of some peers, in a buffer that is reused.
type restoredPeers struct{ records []liveness.Record }

// read sets r to the records of entries, corrected for the time that passed until the file was last
// written.
func (r *restoredPeers) read(c *contents, entries []entry, later []time.Duration, crashed time.Duration) *restoredPeers {
	r.records = r.records[:0]
	var peer savedPeer
	for i := range entries {
		if e := &entries[i]; e.text != nil {
			record := e.record(&peer).After(c.lives[e.life].listened-e.listened, later[e.life])
			record.Crashed = crashed
			r.records = append(r.records, record)
			e.text = nil
		}
	}
	return r
}

// listenedAfter returns, for each life, how long the collector has listened in all later lives
// together.
func (c *contents) listenedAfter() []time.Duration {
	later := make([]time.Duration, len(c.lives))
	for i := len(later) - 2; i >= 0; i-- {
		later[i] = min(later[i+1]+c.lives[i+1].listened, maxSpan)
	}
	return later
}

// currentBytes returns the total size of the latest lines of all peers.
func (c *contents) currentBytes() (sum int64) {
	for i := range c.entries {
		sum += int64(len(c.entries[i].text))
	}
	return sum
}

func (c *contents) lastLife() uint64 { return c.lives[len(c.lives)-1].number }
