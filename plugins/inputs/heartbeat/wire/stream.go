package wire

import (
	"encoding/binary"
	"errors"
	"io"
	"strings"
)

// Lengths of a payload, in bytes.
const (
	HeaderSize      = 4 // unsigned, big-endian
	DefaultMaxFrame = 16 << 10
	MaxFrame        = 1 << 20 // no limit may be above: a length's first byte is 0
)

// firstBuffer holds a few beats of ordinary size.
const firstBuffer = 1 << 10

// kind is how the payloads of a stream are told apart.
type kind byte

const (
	undecided kind = iota
	framed         // each payload has a length before it
	bare           // JSON objects one after the other
)

// A Reader takes payloads out of a stream: frames, or bare JSON objects. The
// first byte decides which. It never allocates what a length merely
// announces.
type Reader struct {
	src   io.Reader
	max   int
	kind  kind
	buf   []byte // buf[head:tail] is read but not yet returned
	head  int
	tail  int
	ended error // why src gives no more
}

// NewReader returns a Reader that refuses payloads longer than limit, which
// lies in 1..MaxFrame.
func NewReader(src io.Reader, limit int) *Reader {
	return &Reader{src: src, max: limit}
}

// Started reports whether the beginning of a payload that is not yet complete
// has been read.
func (r *Reader) Started() bool { return r.head < r.tail }

// Framed reports whether the stream turned out to carry frames.
func (r *Reader) Framed() bool { return r.kind == framed }

// Bare reports whether the stream turned out to carry bare objects.
func (r *Reader) Bare() bool { return r.kind == bare }

// Next returns the next payload, which is valid until the following call.
//
// It returns io.EOF if the stream ends between payloads, a *Refusal with
// Broken set if it cannot be read any further, and the error of the
// underlying Read otherwise.
func (r *Reader) Next() ([]byte, error) {
	if r.kind == undecided {
		if err := r.decide(); err != nil {
			return nil, err
		}
	}
	if r.kind == framed {
		return r.nextFrame()
	}
	return r.nextObject()
}

// decide looks at the first byte of the stream.
func (r *Reader) decide() error {
	if err := r.need(1); err != nil {
		return err
	}
	switch first := r.buf[r.head]; {
	case first == 0: // a legal length is below 2^24
		r.kind = framed
	case first == '{' || isSpace(first):
		r.kind = bare
	default:
		return r.stranger()
	}
	return nil
}

// stranger names who speaks something else to us. It waits for more only
// while that may tell.
func (r *Reader) stranger() error {
	seen := r.buf[r.head:r.tail]
	is, may := httpMethod(seen)
	for !is && may && r.need(len(seen)+1) == nil {
		seen = r.buf[r.head:r.tail]
		is, may = httpMethod(seen)
	}
	switch {
	case seen[0] == 0x16:
		return broken(ReasonTLS, "stream begins with %s: a TLS client on a plaintext port", quote(seen))
	case is:
		return broken(ReasonHTTP, "stream begins with %s: an HTTP client; heartbeats come framed or as bare JSON", quote(seen))
	default:
		return broken(ReasonProtocol, "stream begins with %s: neither a 4-byte length below 2^24 nor a JSON object", quote(seen))
	}
}

// httpMethod reports whether an HTTP request begins with seen, or may.
func httpMethod(seen []byte) (is, may bool) {
	for _, method := range []string{"GET ", "POST ", "PUT ", "HEAD ", "PATCH ", "DELETE ", "OPTIONS ", "CONNECT ", "TRACE "} {
		is = is || strings.HasPrefix(string(seen), method)
		may = may || strings.HasPrefix(method, string(seen))
	}
	return is, may
}

func (r *Reader) nextFrame() ([]byte, error) {
	if err := r.need(HeaderSize); err != nil {
		return nil, err
	}
	// Compared before it is converted: int has 32 bits on some platforms.
	n := binary.BigEndian.Uint32(r.buf[r.head:])
	switch {
	case n == 0:
		return nil, broken(ReasonEmptyFrame, "frame of length 0")
	case n > uint32(r.max):
		return nil, broken(ReasonOversize, "frame announces %d bytes, allowed are %d", n, r.max)
	}
	if err := r.need(HeaderSize + int(n)); err != nil {
		return nil, err
	}
	payload := r.buf[r.head+HeaderSize : r.head+HeaderSize+int(n)]
	r.head += HeaderSize + int(n)
	return payload, nil
}

// nextObject looks for the end of a JSON object by counting braces outside of
// strings. Whether what lies between is JSON is not its business.
func (r *Reader) nextObject() ([]byte, error) {
	if err := r.skipSpace(); err != nil {
		return nil, err
	}
	if first := r.buf[r.head]; first != '{' {
		return nil, broken(ReasonProtocol, "%s where a JSON object should begin", quote([]byte{first}))
	}
	var scan objectScan
	for n := 0; ; n++ {
		if n >= r.max {
			return nil, broken(ReasonOversize, "JSON object without an end in %d bytes", r.max)
		}
		if err := r.need(n + 1); err != nil {
			return nil, err
		}
		if scan.ends(r.buf[r.head+n]) {
			payload := r.buf[r.head : r.head+n+1]
			r.head += n + 1
			return payload, nil
		}
	}
}

func (r *Reader) skipSpace() error {
	for {
		if r.head == r.tail {
			if err := r.need(1); err != nil {
				return err
			}
		}
		if !isSpace(r.buf[r.head]) {
			return nil
		}
		r.head++
	}
}

// objectScan finds the closing brace of an object.
type objectScan struct {
	depth    int
	inString bool
	escaped  bool
}

func (s *objectScan) ends(c byte) bool {
	switch {
	case s.escaped:
		s.escaped = false
	case s.inString:
		s.escaped = c == '\\'
		s.inString = c != '"'
	case c == '"':
		s.inString = true
	case c == '{' || c == '[':
		s.depth++
	case c == '}' || c == ']':
		s.depth--
	}
	return s.depth <= 0
}

// need makes sure that n bytes are read and not yet returned. It returns
// io.EOF if the stream ended before the first of them, and a Refusal if it
// ended inside a payload.
func (r *Reader) need(n int) error {
	for r.tail-r.head < n {
		if r.ended != nil {
			return r.endIn()
		}
		r.makeRoom()
		got, err := r.src.Read(r.buf[r.tail:])
		r.tail += got
		r.ended = err
		if got == 0 && err == nil {
			r.ended = io.ErrNoProgress
		}
	}
	return nil
}

func (r *Reader) endIn() error {
	if !errors.Is(r.ended, io.EOF) {
		return r.ended
	}
	if !r.Started() {
		return io.EOF
	}
	return broken(ReasonTruncated, "stream ended inside a message, after %d bytes of it", r.tail-r.head)
}

// makeRoom lets at least one more byte be read. It grows the buffer to double
// of what has really arrived at most.
func (r *Reader) makeRoom() {
	if r.head > 0 {
		r.tail = copy(r.buf, r.buf[r.head:r.tail])
		r.head = 0
		if r.tail == 0 && len(r.buf) > firstBuffer {
			r.buf = nil // one long payload does not hold memory for ever
		}
	}
	if r.tail < len(r.buf) {
		return
	}
	size := max(firstBuffer, min(2*len(r.buf), HeaderSize+r.max))
	r.buf = append(make([]byte, 0, size), r.buf[:r.tail]...)[:size]
}

// AppendFrame appends payload to dst with its length before it. The payload
// has 1..MaxFrame bytes.
func AppendFrame(dst, payload []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(payload)))
	return append(dst, payload...)
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }
