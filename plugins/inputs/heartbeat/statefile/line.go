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

// A state file is text, so that it can be read without a tool. The first line
// says what it is. Each of the others is the CRC-32C of a JSON object, a space
// and that object: a line that was cut off or damaged costs that line. What may
// stand in a line is a matter of the version, which has to be another one once
// this one is released and that changes. Every version reads the one before.
const (
	format  = "heartbeat state"
	version = 2

	// header ends with the sum of headerText.
	header = `{"format":"heartbeat state","version":2,"crc32c":"7655e8c9"}` + "\n"

	maxLine = 1 << 20 // bytes; a peer needs 1000
	maxText = 300     // bytes of a file's contents that an error repeats
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	errForeign = errors.New("it is not a heartbeat state file")
)

// A line is one entry of the journal. Each says in which life of a collector it
// was written, and for how long that one had listened by then. One without a peer
// is a mark: until then all was as the others say.
type line struct {
	Life     uint64        `json:"life"`
	Listened time.Duration `json:"listened_ns"`
	At       time.Time     `json:"at,omitzero"`  // of a mark, by the wall clock
	End      bool          `json:"end,omitzero"` // of a mark: the collector was stopped
	Gone     *liveness.ID  `json:"gone,omitempty"`
	Peer     *storedPeer   `json:"peer,omitempty"`

	saved *savedPeer // that of Peer
	spare *savedPeer // what saved may be
}

// A lineWriter makes lines.
type lineWriter struct {
	plainWriter // what it has written are the lines made so far
}

const sumLength = len("00000000 ")

// add appends a line, or nothing if that fails.
func (w *lineWriter) add(l *line) error {
	start := len(w.out)
	w.out = append(w.out, "00000000 {"...)
	l.visit(w)
	w.out = append(w.out, "}\n"...)
	made := w.out[start:]
	if len(made) > maxLine {
		w.out = w.out[:start]
		return fmt.Errorf("its line has %d bytes, the limit is %d", len(made), maxLine)
	}
	putSum(made, made[sumLength:len(made)-1])
	return nil
}

// putSum writes the CRC-32C of text to the start of dst.
func putSum(dst, text []byte) {
	var sum [4]byte
	binary.BigEndian.PutUint32(sum[:], crc32.Checksum(text, castagnoli))
	hex.Encode(dst, sum[:])
}

// isSum reports whether sum is that of text, as it is written.
func isSum(sum, text []byte) bool {
	var want [sumLength - 1]byte
	putSum(want[:], text)
	return bytes.Equal(sum, want[:])
}

// addPeer adds the record of a peer, unless no collector would take it.
func (w *lineWriter) addPeer(l line, r *liveness.Record) error {
	if err := CheckRecord(r); err != nil {
		return err
	}
	l.saved = (*savedPeer)(r)
	return w.add(&l)
}

// parseLine returns what a line says. A peer mostly goes into p.
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

// decode reads any line.
func (l *line) decode(object []byte) error {
	err := decodeStrictly(object, l)
	if l.Peer != nil {
		l.saved = &l.Peer.savedPeer
	}
	return err
}

// decodeStrictly refuses a key that is not known: it is something that would be
// lost by saving.
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
		return errors.New("there is text after its object")
	}
	return nil
}

// shortened returns err for a log: a damaged line can make a very long one, and
// one that does not print.
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

// A lineReader reads lines.
type lineReader struct {
	src   *bufio.Reader
	text  []byte
	count int  // of the lines read
	torn  bool // the last line had no end
}

func newLineReader(r io.Reader) *lineReader {
	return &lineReader{src: bufio.NewReaderSize(r, 64<<10)}
}

// next returns the next line with its end, which the last one may lack, or nil
// after that. It is valid until the next call. Of a line that is too long only
// its beginning is kept: it cannot be right.
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
