package heartbeat

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// A state file is text, so that it can be read without a tool: each line is a
// JSON object. The first one says what it is, each peer has one, and the last
// one seals all before it. Whatever changes what these lines may hold makes
// another stateVersion.
const (
	stateFormat  = "heartbeat state"
	stateVersion = 1

	maxStateLine = 1 << 20 // bytes; a peer needs 1000
	maxStateText = 300     // bytes of a file's contents that an error repeats

	// maxSpan is what an option allows, and as much again for what is added
	// to it; maxLearnt is several of the longest intervals.
	maxSpan   = 2 * longest
	maxLearnt = 5 * wire.MaxIntervalMS * time.Millisecond

	// What is counted by the wall clock jumps with it: a machine without a
	// battery wakes up in 1970. In this century all that can be added up
	// without an overflow.
	firstYear, lastYear = 1960, 2200
	maxJump             = 10 * longest
)

type stateHeader struct {
	Format  string    `json:"format"`
	Version int       `json:"version"`
	Saved   time.Time `json:"saved"`
}

// sealed begins the last line, which no other line can.
const sealed = `{"peers":`

// seal returns the last line of a file with so many lines of peers, and the
// CRC-32C of all lines. It is compared as text: what a parser would overlook
// in it is damage too.
func seal(peers int, sum uint32) string {
	return fmt.Sprintf(sealed+`%d,"crc32c":"%08x"}`+"\n", peers, sum)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A savedPeer gives names to the fields of a Record. That one is converted to
// the other makes the compiler compare them: a field that is not stored would
// be forgotten by each restart.
type savedPeer struct {
	ID     liveness.ID      `json:"id"`
	Addr   netip.Addr       `json:"addr,omitzero"`
	Labels []liveness.Label `json:"labels,omitzero"`

	State    liveness.State  `json:"state"`
	Reason   liveness.Reason `json:"reason"`
	Since    time.Time       `json:"since"`
	Evidence liveness.Reason `json:"evidence,omitzero"`
	Expected bool            `json:"expected,omitzero"`
	Watched  bool            `json:"watched,omitzero"`
	Long     bool            `json:"long,omitzero"`

	Interval time.Duration `json:"interval_ns,omitzero"`
	Heard    time.Time     `json:"heard"`
	Used     time.Duration `json:"used_ns,omitzero"`
	Dead     time.Duration `json:"dead_ns,omitzero"`
	Extended bool          `json:"extended,omitzero"`
	Bonus    time.Duration `json:"bonus_ns,omitzero"`

	Held       time.Duration `json:"held_ns,omitzero"`
	HeldPartly time.Duration `json:"held_partly_ns,omitzero"`
	Spared     time.Duration `json:"spared_ns,omitzero"`
	Window     time.Duration `json:"window_ns,omitzero"`
	WindowBy   string        `json:"window_by,omitzero"`
	Rule       string        `json:"rule,omitzero"`

	Phase    time.Duration `json:"phase_ns,omitzero"`
	Learnt   time.Duration `json:"learnt_ns,omitzero"`
	Lateness time.Duration `json:"lateness_ns,omitzero"`
	Taught   uint8         `json:"taught,omitzero"`

	Process liveness.Process `json:"process,omitzero"`
	Runs    []liveness.Run   `json:"runs,omitzero"`
	SentMS  int64            `json:"sent_ms,omitzero"`
	Speaker string           `json:"speaker,omitzero"`

	ExitCode          int64         `json:"exit_code,omitzero"`
	HasExitCode       bool          `json:"has_exit_code,omitzero"`
	DeadFor           time.Duration `json:"dead_for_ns,omitzero"`
	Flaps             []time.Time   `json:"flaps,omitzero"`
	liveness.Counters `json:"counters,omitzero"`
}

// saved returns r as it is written. Its instants are in UTC: a zone of 1900
// would not survive RFC 3339.
func saved(r liveness.Record) savedPeer {
	r.Since, r.Heard = r.Since.UTC(), r.Heard.UTC()
	r.Flaps = slices.Clone(r.Flaps) // which is the tracker's
	for i, at := range r.Flaps {
		r.Flaps[i] = at.UTC()
	}
	return savedPeer(r)
}

// A state is what a collector knew when it was saved.
type state struct {
	saved time.Time // wall clock
	peers []liveness.Record
}

// encodeState writes a state file. leftOut says which peers are not in it.
func encodeState(w io.Writer, at time.Time, peers iter.Seq[liveness.Record]) (leftOut, err error) {
	lines := newLineWriter(w)
	line, err := lines.encode(stateHeader{Format: stateFormat, Version: stateVersion, Saved: at.UTC()})
	if err != nil {
		return nil, err
	}
	if err := lines.write(line); err != nil {
		return nil, err
	}
	written, refused := 0, 0
	for peer := range peers {
		line, err := lines.encodePeer(peer)
		if err != nil {
			refused++
			leftOut = cmp.Or(leftOut, fmt.Errorf("%q: %w", peer.ID, err))
			continue
		}
		if err := lines.write(line); err != nil {
			return nil, err
		}
		written++
	}
	if leftOut != nil {
		leftOut = fmt.Errorf("%d peers, the first is %w", refused, leftOut)
	}
	return leftOut, lines.end(seal(written, lines.sum))
}

// A lineWriter writes lines of JSON and sums them up.
type lineWriter struct {
	out  *bufio.Writer
	line bytes.Buffer
	json *json.Encoder // to line
	sum  uint32
}

func newLineWriter(w io.Writer) *lineWriter {
	lines := &lineWriter{out: bufio.NewWriterSize(w, 64<<10)}
	lines.json = json.NewEncoder(&lines.line)
	lines.json.SetEscapeHTML(false)
	return lines
}

// encode returns value as a line, which is valid until the next call.
func (w *lineWriter) encode(value any) ([]byte, error) {
	w.line.Reset()
	if err := w.json.Encode(value); err != nil {
		return nil, err
	}
	if w.line.Len() > maxStateLine {
		return nil, fmt.Errorf("its line has %d bytes, allowed are %d", w.line.Len(), maxStateLine)
	}
	return w.line.Bytes(), nil
}

func (w *lineWriter) encodePeer(r liveness.Record) ([]byte, error) {
	r.Used = max(r.Used, 0) // it may have beaten since the time of the saving
	if err := checkRecord(&r); err != nil {
		return nil, err
	}
	return w.encode(saved(r))
}

func (w *lineWriter) write(line []byte) error {
	w.sum = crc32.Update(w.sum, castagnoli, line)
	_, err := w.out.Write(line)
	return err
}

func (w *lineWriter) end(line string) error {
	if _, err := w.out.WriteString(line); err != nil {
		return err
	}
	return w.out.Flush()
}

// decodeState returns what a state file holds: all of it, or nothing and an
// error.
func decodeState(r io.Reader) (state, error) {
	lines := newLineReader(r)
	line, err := lines.next()
	if err != nil {
		return state{}, err
	}
	var s state
	if s.saved, err = decodeHeader(line); err != nil {
		return state{}, shortened(err)
	}
	if s.peers, err = decodePeers(lines); err != nil {
		return state{}, err
	}
	return s, nil
}

// decodePeers reads all lines but the first.
func decodePeers(lines *lineReader) ([]liveness.Record, error) {
	var peers []liveness.Record
	places := make(map[liveness.ID]int)
	for count := 0; ; count++ {
		sum := lines.sum
		line, err := lines.next()
		switch {
		case err != nil:
			return nil, err
		case bytes.HasPrefix(line, []byte(sealed)):
			return peers, checkSeal(lines, line, seal(count, sum))
		}
		peer, err := decodePeer(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", lines.count, shortened(err))
		}
		// A peer that was forgotten and came back while it was being saved
		// is there twice; the later one is how it ended.
		if at, again := places[peer.ID]; again {
			peers[at] = peer
			continue
		}
		places[peer.ID] = len(peers)
		peers = append(peers, peer)
	}
}

func checkSeal(lines *lineReader, line []byte, want string) error {
	if string(line) != want {
		return errors.New("it is damaged: its checksum or its count of peers is wrong")
	}
	if lines.src.Scan() {
		return errors.New("it goes on after its end")
	}
	return lines.src.Err()
}

func decodeHeader(line []byte) (time.Time, error) {
	// What another version put into its header is not known, so nothing but
	// these two is asked for at first.
	var kind struct {
		Format  string
		Version int
	}
	if json.Unmarshal(line, &kind) != nil || kind.Format != stateFormat {
		return time.Time{}, errors.New("it is no state file of heartbeat")
	}
	if kind.Version != stateVersion {
		return time.Time{}, fmt.Errorf("it was written by another version of heartbeat: its format is %d, not %d", kind.Version, stateVersion)
	}
	var header stateHeader
	if err := decodeLine(line, &header); err != nil {
		return time.Time{}, fmt.Errorf("line 1: %w", err)
	}
	return header.Saved, checkInstant("saved", header.Saved)
}

func decodePeer(line []byte) (liveness.Record, error) {
	var peer savedPeer
	if err := decodeLine(line, &peer); err != nil {
		return liveness.Record{}, err
	}
	record := liveness.Record(peer)
	if err := checkRecord(&record); err != nil {
		return liveness.Record{}, err
	}
	return record, nil
}

// decodeLine is strict: a key that is not known is something that would be
// lost by saving.
func decodeLine(line []byte, value any) error {
	if !utf8.Valid(line) {
		return errors.New("it is not UTF-8")
	}
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(value); err != nil {
		return err
	}
	if rest := line[decoder.InputOffset():]; len(bytes.TrimSpace(rest)) > 0 {
		return errors.New("it goes on after its object")
	}
	return nil
}

// shortened returns err for a log: a damaged line can make a very long one, and
// one that does not print.
func shortened(err error) error {
	text := err.Error()
	if len(text) > maxStateText {
		text = strings.ToValidUTF8(text[:maxStateText], "") + "..."
	}
	return errors.New(strings.Map(func(char rune) rune {
		if !unicode.IsPrint(char) {
			return utf8.RuneError
		}
		return char
	}, text))
}

// A lineReader reads lines and sums them up.
type lineReader struct {
	src   *bufio.Scanner
	count int    // of the lines read
	sum   uint32 // of the lines read
}

func newLineReader(r io.Reader) *lineReader {
	lines := &lineReader{src: bufio.NewScanner(r)}
	lines.src.Buffer(nil, maxStateLine)
	lines.src.Split(splitLine)
	return lines
}

// splitLine is bufio.ScanLines, but takes nothing off the end of a line, where
// a byte may be damaged too.
func splitLine(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if end := bytes.IndexByte(data, '\n') + 1; end > 0 {
		return end, data[:end], nil
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}

// next returns the next line with its end. It is valid until the next call.
func (r *lineReader) next() ([]byte, error) {
	r.count++
	found, err := r.src.Scan(), r.src.Err()
	switch {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, fmt.Errorf("line %d has more than %d bytes", r.count, maxStateLine)
	case err != nil:
		return nil, err
	case !found && r.count == 1:
		return nil, errors.New("it is empty")
	case !bytes.HasSuffix(r.src.Bytes(), []byte("\n")):
		return nil, fmt.Errorf("it is cut off in line %d", r.count)
	}
	r.sum = crc32.Update(r.sum, castagnoli, r.src.Bytes())
	return r.src.Bytes(), nil
}

// checkRecord refuses what no tracker could have saved, but could stumble
// over. A file need not come from us because its checksum is right.
func checkRecord(r *liveness.Record) error {
	switch {
	case r.ID.Source == "" || !r.ID.Nameless() && r.ID.PID != 0:
		return errors.New("id is nobody's")
	case int(r.State) >= len(liveness.States):
		return fmt.Errorf("state %d is unknown", r.State)
	case max(r.Reason, r.Evidence) > liveness.ReasonForgotten:
		return fmt.Errorf("reason %d is unknown", max(r.Reason, r.Evidence))
	case r.SentMS < 0 || r.SentMS > wire.MaxInteger:
		return fmt.Errorf("sent_ms is %d", r.SentMS)
	case mostCounted(&r.Counters) > 1<<62:
		return fmt.Errorf("a counter is at %d", mostCounted(&r.Counters))
	}
	for _, run := range r.Runs {
		if run.High < 0 {
			return fmt.Errorf("a run is at %d", run.High)
		}
	}
	return cmp.Or(checkSpans(r), checkInstants(r))
}

func mostCounted(c *liveness.Counters) uint64 {
	return max(c.Beats, c.Lost, c.Late, c.Duplicates, c.Limited, c.Restarts, c.Deaths, c.Mistakes, c.Conflicts)
}

func checkSpans(r *liveness.Record) error {
	const (
		minInterval = wire.MinIntervalMS * time.Millisecond
		maxInterval = wire.MaxIntervalMS * time.Millisecond
		maxStart    = 1<<63 - 1 // of what a beat may say
	)
	return cmp.Or(
		checkSpan("interval_ns", cmp.Or(r.Interval, minInterval), minInterval, maxInterval),
		checkSpan("used_ns", r.Used, 0, maxSpan),
		checkSpan("dead_ns", r.Dead, 0, maxSpan),
		checkSpan("window_ns", r.Window, 0, maxSpan),
		checkSpan("bonus_ns", r.Bonus, 0, maxSpan),
		checkSpan("held_ns", r.Held, 0, maxSpan),
		checkSpan("held_partly_ns", r.HeldPartly, 0, maxSpan),
		checkSpan("spared_ns", r.Spared, 0, maxSpan),
		checkSpan("phase_ns", r.Phase, -maxJump, maxJump), // of a late beat it is negative
		checkSpan("learnt_ns", r.Learnt, 0, maxLearnt),
		checkSpan("lateness_ns", r.Lateness, 0, maxLearnt),
		checkSpan("Start of process", r.Process.Start, 0, maxStart),
		checkSpan("dead_for_ns", r.DeadFor, 0, maxJump),
	)
}

func checkSpan(name string, span, least, most time.Duration) error {
	if span < least || span > most {
		return fmt.Errorf("%s is %d, allowed are %d to %d", name, span, least, most)
	}
	return nil
}

func checkInstants(r *liveness.Record) error {
	for _, at := range r.Flaps {
		if err := checkInstant("flaps", at); err != nil {
			return err
		}
	}
	return cmp.Or(checkInstant("since", r.Since), checkInstant("heard", r.Heard))
}

func checkInstant(name string, at time.Time) error {
	if year := at.UTC().Year(); year < firstYear || year > lastYear {
		return fmt.Errorf("%s is in the year %d", name, year)
	}
	return nil
}
