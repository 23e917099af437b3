package statefile

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// A state file is text, so that it can be read without a tool. The first line identifies the format
// and its version. Each other line consists of a checksum (CRC-32C), a space, and a JSON object.
// Because each line has its own checksum, a damaged line does not affect the others. The version
// determines what a line may contain. After a release, any change of the format needs a new
// version. Every version can read files of the previous version.
const (
	format  = "heartbeat state"
	version = 2

	// header ends with the checksum of headerText.
	header = `{"format":"heartbeat state","version":2,"crc32c":"7655e8c9"}` + "\n"

	maxLine = 1 << 20 // bytes; a peer needs 1000
	maxText = 300     // bytes of a file's contents that an error quotes
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	errForeign = errors.New("it is not a heartbeat state file")
)

// A line is one entry of the journal. It has the number of the run (life) of the collector that
// wrote it, and how long the collector had listened in that run. A line without a peer is a mark.
// It says that all lines before it were still correct at the time of the mark.
type line struct {
	Life     uint64        `json:"life"`
	Listened time.Duration `json:"listened_ns"`
	At       time.Time     `json:"at,omitzero"`  // of a mark, by the wall clock
	End      bool          `json:"end,omitzero"` // of a mark: the collector was stopped
	Gone     *liveness.ID  `json:"gone,omitempty"`
	Peer     *storedPeer   `json:"peer,omitempty"`

	saved *savedPeer // the decoded Peer
	spare *savedPeer // memory that saved may use
}

// A lineWriter encodes lines of the journal.
type lineWriter struct {
	plainWriter // its output is the lines so far
}

const sumLength = len("00000000 ")

// add appends a line. If it fails, it appends nothing.
func (w *lineWriter) add(l *line) error {
	start := len(w.out)
	w.out = append(w.out, "00000000 {"...)
	l.visit(w)
	w.out = append(w.out, "}\n"...)
	result := w.out[start:]
	if len(result) > maxLine {
		w.out = w.out[:start]
		return fmt.Errorf("its line has %d bytes, the limit is %d", len(result), maxLine)
	}
	putSum(result, result[sumLength:len(result)-1])
	return nil
}

// putSum writes the checksum of text, in hex, to the beginning of dst.
func putSum(dst, text []byte) {
	var sum [4]byte
	binary.BigEndian.PutUint32(sum[:], crc32.Checksum(text, castagnoli))
	hex.Encode(dst, sum[:])
}

// isSum reports whether sum is the checksum of text, in hex.
func isSum(sum, text []byte) bool {
	var want [sumLength - 1]byte
	putSum(want[:], text)
	return bytes.Equal(sum, want[:])
}

// addPeer appends the record of a peer, unless CheckRecord rejects it.
func (w *lineWriter) addPeer(l line, r *liveness.Record) error {
	if err := CheckRecord(r); err != nil {
		return err
	}
	l.saved = (*savedPeer)(r)
	return w.add(&l)
}

// parseLine decodes a line. If possible, it stores the peer in p, to avoid an allocation.
func parseLine(text []byte, p *savedPeer) (line, error) {
	var l line
	sum, object, _ := bytes.Cut(bytes.TrimSuffix(text, []byte("\n")), []byte(" "))
	if !isSum(sum, object) {
		return l, errors.New("its checksum is wrong")
	}
	if plain, ok := readPlain(object, p); ok {
		l = plain
	} else if err := l.decode(object); err != nil {
		return l, err
	}
	return l, checkSpan("listened_ns", l.Listened, 0, maxSpan)
}

// decode decodes a line with encoding/json, which is slow but can decode every valid line.
func (l *line) decode(object []byte) error {
	err := decodeStrictly(object, l)
	if l.Peer != nil {
		l.saved = &l.Peer.savedPeer
	}
	return err
}

// decodeStrictly decodes a JSON object. It returns an error for unknown keys, because they would be
// lost when the peer is saved again.
func decodeStrictly(object []byte, value any) error {
	if !utf8.Valid(object) {
		return errors.New("it is not UTF-8")
	}
	decoder := json.NewDecoder(bytes.NewReader(object))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(value); err != nil {
		return err
	}
	if rest := object[decoder.InputOffset():]; len(bytes.TrimSpace(rest)) > 0 {
		return errors.New("there is text after the JSON object")
	}
	return nil
}

// shortened returns err with a short and printable text for the log. The text of an error about a
// damaged line can be very long or unprintable.
func shortened(err error) error {
	text := err.Error()
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "..."
	}
	return errors.New(strings.Map(func(char rune) rune {
		if !unicode.IsPrint(char) {
			return utf8.RuneError
		}
		return char
	}, text))
}

// A lineReader reads a file line by line.
type lineReader struct {
	src   *bufio.Reader
	text  []byte
	count int  // of lines read
	torn  bool // the last line had no newline
}

func newLineReader(r io.Reader) *lineReader {
	return &lineReader{src: bufio.NewReaderSize(r, 64<<10)}
}

// next returns the next line including its newline, or nil at the end of the file. The last line
// may have no newline. The returned slice is valid until the next call. A line that is too long
// cannot be valid, so it is truncated.
func (r *lineReader) next() ([]byte, error) {
	r.text = r.text[:0]
	for {
		part, err := r.src.ReadSlice('\n')
		if len(r.text) <= maxLine {
			r.text = append(r.text, part...)
		}
		switch {
		case err == nil || errors.Is(err, io.EOF) && len(r.text) > 0:
			r.count++
			return r.text, nil
		case errors.Is(err, io.EOF):
			return nil, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}
