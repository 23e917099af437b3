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
	MaxFrame        = 1 << 20 // the largest limit: the first byte of a length is 0
)

// ownBuffer is the size of the buffer of a Reader for an io.Reader, in bytes.
const ownBuffer = 1 << 10

// ErrAgain means that a Source has nothing now and does not wait for more. Next then returns it
// too.
var ErrAgain = errors.New("nothing more has come yet")

// kind is how the payloads of a stream are separated.
type kind byte

const (
	undecided kind = iota
	framed         // each payload has a length before it
	bare           // JSON objects one after the other
)

// A Source returns a stream in chunks.
type Source interface {
	// Chunk returns the next chunk. It is valid until the following call.
	Chunk() ([]byte, error)
}

// A Reader reads the payloads of a stream: frames, or bare JSON objects. The first byte decides
// which. A Reader never allocates memory for a length that is only announced, and keeps no memory
// between payloads.
type Reader struct {
	src    Source
	max    int
	kind   kind
	unread []byte     // received and not yet returned
	kept   []byte     // memory of unread, if it is not in a chunk
	object objectScan // of the object that begins unread
	ended  error      // the error of src, after which it returns no more
}

// NewReader returns a Reader that refuses payloads longer than limit, which must be in
// 1..MaxFrame.
func NewReader(src io.Reader, limit int) *Reader {
	return ReadChunks(&ownChunks{src: src}, limit)
}

// ReadChunks is like NewReader, for a source with its own buffer.
func ReadChunks(src Source, limit int) *Reader {
	return &Reader{src: src, max: limit}
}

// ownChunks makes a Source of an io.Reader.
type ownChunks struct {
	src    io.Reader
	buffer [ownBuffer]byte
}

// Chunk returns the result of one Read.
func (c *ownChunks) Chunk() ([]byte, error) {
	n, err := c.src.Read(c.buffer[:])
	return c.buffer[:n], err
}

// Started reports whether a payload has begun and is not complete.
func (r *Reader) Started() bool { return len(r.unread) > 0 }

// Framed reports whether the stream is known to carry frames.
func (r *Reader) Framed() bool { return r.kind == framed }

// Bare reports whether the stream is known to carry bare objects.
func (r *Reader) Bare() bool { return r.kind == bare }

// Next returns the next payload, which is valid until the following call.
//
// It returns io.EOF if the stream ends between payloads, a *Refusal with Broken set if the
// stream cannot be read any further, and the error of the source otherwise. After ErrAgain
// you may call it again.
func (r *Reader) Next() ([]byte, error) {
	if r.kind == undecided {
		if err := r.detectFraming(); err != nil {
			return nil, err
		}
	}
	if r.kind == framed {
		return r.nextFrame()
	}
	return r.nextObject()
}

// detectFraming finds out from the first byte how the payloads of the stream are separated.
func (r *Reader) detectFraming() error {
	if err := r.need(1); err != nil {
		return err
	}
	switch first := r.unread[0]; {
	case first == 0: // a legal length is below 2^24
		r.kind = framed
	case first == proxyBlock[0]:
		return r.decideSpace()
	case first == '{' || isSpace(first):
		r.kind = bare
	default:
		return r.refuseForeign()
	}
	return nil
}

// The first bytes of the PROXY protocol, in versions 1 and 2 (haproxy, proxy-protocol.txt).
const (
	proxyLine  = "PROXY "
	proxyBlock = "\r\n\r\n\x00\r\nQUIT\n"
)

// refuseForeign refuses a stream of another protocol, and names the protocol.
func (r *Reader) refuseForeign() error {
	methods := []string{"GET ", "POST ", "PUT ", "HEAD ", "PATCH ", "DELETE ", "OPTIONS ", "CONNECT ", "TRACE "}
	word, err := r.word(append(methods, proxyLine))
	switch seen := r.unread; {
	case err != nil:
		return err
	case seen[0] == 0x16:
		return broken(ReasonTLS, "stream begins with %s: a TLS client on a plaintext port", quote(seen))
	case word == proxyLine:
		return r.refuseProxy()
	case word != "":
		return broken(ReasonHTTP, "stream begins with %s: an HTTP client; send heartbeats as frames or bare JSON", quote(seen))
	default:
		return broken(ReasonProtocol, "stream begins with %s: neither a 4-byte length below 2^24 nor a JSON object", quote(seen))
	}
}

// decideSpace distinguishes line breaks before an object from the line breaks that begin the PROXY
// protocol.
func (r *Reader) decideSpace() error {
	word, err := r.word([]string{proxyBlock})
	switch {
	case err != nil:
		return err
	case word != "":
		return r.refuseProxy()
	}
	r.kind = bare
	return nil
}

// word returns which of words comes next, or "". It waits for more bytes only while they can change
// the result.
func (r *Reader) word(words []string) (string, error) {
	for {
		may := false
		for _, word := range words {
			if strings.HasPrefix(string(r.unread), word) {
				return word, nil
			}
			may = may || strings.HasPrefix(word, string(r.unread))
		}
		if !may {
			return "", nil
		}
		if err := r.need(len(r.unread) + 1); errors.Is(err, ErrAgain) {
			return "", err
		} else if err != nil {
			return "", nil //nolint:nilerr // then it is none of words
		}
	}
}

// refuseProxy refuses a stream that begins with the PROXY protocol.
func (r *Reader) refuseProxy() error {
	return broken(ReasonProxy, "stream begins with %s: the PROXY protocol; "+
		"switch it off for this port in the proxy or load balancer", quote(r.unread))
}

func (r *Reader) nextFrame() ([]byte, error) {
	if err := r.need(HeaderSize); err != nil {
		return nil, err
	}
	// Compared before it is converted: int has 32 bits on some platforms.
	n := binary.BigEndian.Uint32(r.unread)
	switch {
	case n == 0:
		return nil, broken(ReasonEmptyFrame, "frame of length 0")
	case n > uint32(r.max):
		return nil, broken(ReasonOversize, "frame announces %d bytes, the limit is %d", n, r.max)
	}
	if err := r.need(HeaderSize + int(n)); err != nil {
		return nil, err
	}
	return r.take(HeaderSize + int(n))[HeaderSize:], nil
}

// take returns the first n unread bytes.
func (r *Reader) take(n int) []byte {
	taken := r.unread[:n]
	r.unread = r.unread[n:]
	return taken
}

// nextObject finds the end of a JSON object by counting brackets outside of strings. It does
// not check that it is valid JSON.
func (r *Reader) nextObject() ([]byte, error) {
	if err := r.skipSpace(); err != nil {
		return nil, err
	}
	if first := r.unread[0]; first != '{' {
		return nil, broken(ReasonProtocol, "%s where a JSON object should begin", quote([]byte{first}))
	}
	for !r.object.find(r.unread[:min(len(r.unread), r.max)]) {
		if r.object.seen >= r.max {
			return nil, broken(ReasonOversize, "JSON object does not end within %d bytes", r.max)
		}
		if err := r.need(r.object.seen + 1); err != nil {
			return nil, err
		}
	}
	payload := r.take(r.object.seen)
	r.object = objectScan{}
	return payload, nil
}

func (r *Reader) skipSpace() error {
	for {
		if err := r.need(1); err != nil {
			return err
		}
		if !isSpace(r.unread[0]) {
			return nil
		}
		r.take(1)
	}
}

// objectScan finds the closing brace of an object.
type objectScan struct {
	seen     int // bytes
	depth    int32
	inString bool
	escaped  bool
}

// find continues where it stopped, and reports whether the object ends in text. text must begin
// with the object. If find returns true, seen is the length of the object.
func (s *objectScan) find(text []byte) bool {
	for s.seen < len(text) {
		s.seen++
		if s.ends(text[s.seen-1]) {
			return true
		}
	}
	return false
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

// need reads until there are n unread bytes. It returns io.EOF if the stream ended before the first
// of them, and a Refusal if it ended inside a payload.
func (r *Reader) need(n int) error {
	for len(r.unread) < n {
		if r.ended != nil {
			return r.endIn()
		}
		if err := r.more(); err != nil {
			return err
		}
	}
	return nil
}

// more reads another chunk. It copies unread bytes out of the previous chunk.
func (r *Reader) more() error {
	r.Keep()
	if !r.Started() {
		r.kept, r.unread = nil, nil // do not keep a long payload or the chunk for ever
	}
	chunk, err := r.src.Chunk()
	if errors.Is(err, ErrAgain) {
		return err
	}
	r.ended = err
	if len(chunk) == 0 && err == nil {
		r.ended = io.ErrNoProgress
	}
	if !r.Started() {
		r.unread = chunk
		return nil
	}
	r.kept = append(r.kept, chunk...)
	r.unread = r.kept
	return nil
}

// Keep copies unread bytes to the Reader's own memory, so that the chunk may be reused. Next
// continues from there.
func (r *Reader) Keep() {
	if len(r.kept) != len(r.unread) { // it is in a chunk, or part of kept was returned since
		r.kept = append(r.kept[:0], r.unread...)
		r.unread = r.kept
	}
}

func (r *Reader) endIn() error {
	if !errors.Is(r.ended, io.EOF) {
		return r.ended
	}
	if !r.Started() {
		return io.EOF
	}
	return broken(ReasonTruncated, "stream ended inside a message, after %d bytes of it", len(r.unread))
}

// AppendFrame appends payload to dst as a frame. The payload must have 1..MaxFrame bytes.
func AppendFrame(dst, payload []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(payload)))
	return append(dst, payload...)
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }
