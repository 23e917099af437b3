package wire

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is the limit of nested objects and arrays: the payload itself, and one level
// inside.
const maxDepth = 2

// longText is the size from which the memory of a text is not kept for reuse, in bytes.
const longText = 1 << 10

// A scanner walks over one JSON text (RFC 8259) without building values. It is stricter than the
// RFC where the RFC leaves a choice: keys are unique, strings are UTF-8.
type scanner struct {
	data []byte
	pos  int

	unescaped []byte   // strings that had escapes; earlier ones stay valid
	keys      [][]byte // of the objects being read, the innermost last
}

func (s *scanner) reset(data []byte) {
	unescaped := s.unescaped[:0]
	if cap(unescaped) > longText {
		unescaped = nil // do not keep the memory of one long text for ever
	}
	*s = scanner{data: data, unescaped: unescaped, keys: s.keys[:0]}
}

// document scans a text that is one object and nothing else.
func (s *scanner) document(member func(key []byte) error) error {
	if !utf8.Valid(s.data) {
		return refuse(ReasonUTF8, "not UTF-8: %s", quote(invalidPart(s.data)))
	}
	s.space()
	if s.peek() != '{' {
		return s.unexpected("a JSON object")
	}
	if err := s.object(1, member); err != nil {
		return err
	}
	s.space()
	if s.pos < len(s.data) {
		return s.unexpected("the end")
	}
	return nil
}

// object scans the object that begins here. It calls member after each key and its colon;
// member scans the value.
func (s *scanner) object(depth int, member func(key []byte) error) error {
	if depth > maxDepth {
		return refuse(ReasonLimit, "nested more than %d deep at byte %d", maxDepth, s.pos)
	}
	outer := len(s.keys)
	defer func() {
		clear(s.keys[outer:]) // they are parts of the text
		s.keys = s.keys[:outer]
	}()
	s.pos++
	if s.space(); s.take('}') {
		return nil
	}
	for {
		key, err := s.key(s.keys[outer:])
		if err != nil {
			return err
		}
		s.keys = append(s.keys, key)
		if err := member(key); err != nil {
			return err
		}
		s.space()
		switch {
		case s.take('}'):
			return nil
		case !s.take(','):
			return s.unexpected("a comma or the end of the object")
		}
		s.space()
	}
}

// key scans a key and the colon after it. A key that equals one of its siblings is an error.
func (s *scanner) key(siblings [][]byte) ([]byte, error) {
	key, err := s.str()
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(siblings, func(other []byte) bool { return bytes.Equal(other, key) }) {
		return nil, refuse(ReasonDuplicateKey, "duplicate key %s", quote(key))
	}
	if len(siblings) == MaxKeys {
		return nil, refuse(ReasonLimit, "more than %d keys in one object", MaxKeys)
	}
	if s.space(); !s.take(':') {
		return nil, s.unexpected("a colon")
	}
	s.space()
	return key, nil
}

// skip skips a value of any type. depth is the number of objects and arrays around it.
func (s *scanner) skip(depth int) error {
	switch c := s.peek(); {
	case c == '"':
		_, err := s.str()
		return err
	case c == '-' || isDigit(c):
		_, err := s.number()
		return err
	case c == '{':
		return s.object(depth+1, func([]byte) error { return s.skip(depth + 1) })
	case c == '[':
		return s.array(depth+1, func() error { return s.skip(depth + 1) })
	case s.skipWord("true"), s.skipWord("false"), s.skipWord("null"):
		return nil
	default:
		return s.unexpected("a value")
	}
}

// array scans the array that begins here. It calls element at each value; element scans the
// value.
func (s *scanner) array(depth int, element func() error) error {
	if depth > maxDepth {
		return refuse(ReasonLimit, "nested more than %d deep at byte %d", maxDepth, s.pos)
	}
	s.pos++
	if s.space(); s.take(']') {
		return nil
	}
	for {
		if err := element(); err != nil {
			return err
		}
		s.space()
		switch {
		case s.take(']'):
			return nil
		case !s.take(','):
			return s.unexpected("a comma or the end of the array")
		}
		s.space()
	}
}

// str scans a string and returns its value, which is valid until the next reset.
func (s *scanner) str() ([]byte, error) {
	if !s.take('"') {
		return nil, s.unexpected("a string")
	}
	start := s.pos
	for i, c := range s.data[start:] {
		s.pos = start + i
		switch {
		case c == '"':
			s.pos++
			return s.data[start : s.pos-1], nil
		case c == '\\':
			return s.strWithEscapes(start)
		case c < 0x20:
			return nil, s.unexpected("a string without control characters")
		}
	}
	s.pos = len(s.data)
	return nil, s.unexpected("the end of the string")
}

func (s *scanner) strWithEscapes(start int) ([]byte, error) {
	from := len(s.unescaped)
	s.unescaped = append(s.unescaped, s.data[start:s.pos]...)
	for s.pos < len(s.data) {
		c := s.data[s.pos]
		switch {
		case c == '"':
			s.pos++
			return s.unescaped[from:], nil
		case c == '\\':
			if err := s.escape(); err != nil {
				return nil, err
			}
			continue
		case c < 0x20:
			return nil, s.unexpected("a string without control characters")
		}
		s.unescaped = append(s.unescaped, c)
		s.pos++
	}
	return nil, s.unexpected("the end of the string")
}

// escape decodes one escape sequence into unescaped.
func (s *scanner) escape() error {
	s.pos++
	if s.peek() == 'u' {
		return s.unicodeEscape()
	}
	at := strings.IndexByte(`"\/bfnrt`, s.peek())
	if at < 0 {
		return s.unexpected("an escape that JSON knows")
	}
	s.unescaped = append(s.unescaped, "\"\\/\b\f\n\r\t"[at])
	s.pos++
	return nil
}

func (s *scanner) unicodeEscape() error {
	char, ok := s.hex4()
	if !ok {
		return s.unexpected("four hexadecimal digits")
	}
	if utf16.IsSurrogate(char) {
		low, ok := rune(0), false
		if s.take('\\') && s.peek() == 'u' {
			low, ok = s.hex4()
		}
		if char = utf16.DecodeRune(char, low); !ok || char == utf8.RuneError {
			return refuse(ReasonUTF8, "half of a surrogate pair before byte %d", s.pos)
		}
	}
	s.unescaped = utf8.AppendRune(s.unescaped, char)
	return nil
}

// hex4 decodes the u of an escape and its four digits.
func (s *scanner) hex4() (rune, bool) {
	if len(s.data)-s.pos < 5 {
		return 0, false
	}
	var char rune
	for _, c := range s.data[s.pos+1 : s.pos+5] {
		digit := strings.IndexByte("0123456789abcdefABCDEF", c)
		if digit < 0 {
			return 0, false
		}
		if digit > 15 {
			digit -= 6
		}
		char = char<<4 | rune(digit)
	}
	s.pos += 5
	return char, true
}

// number scans a number and returns its text.
func (s *scanner) number() ([]byte, error) {
	start := s.pos
	s.take('-')
	if !s.take('0') && !s.digits() {
		return nil, s.unexpected("a digit")
	}
	if s.take('.') && !s.digits() {
		return nil, s.unexpected("a digit")
	}
	if s.take('e') || s.take('E') {
		if !s.take('+') {
			s.take('-')
		}
		if !s.digits() {
			return nil, s.unexpected("a digit")
		}
	}
	return s.data[start:s.pos], nil
}

// plainInteger decodes a number if it has no sign and parseInteger would accept it. Nearly all
// numbers are like that. Otherwise it returns false and scans nothing.
func (s *scanner) plainInteger() (n int64, plain bool) {
	rest := s.data[s.pos:]
	at := 0
	for at < len(rest) && at <= maxDigits && isDigit(rest[at]) {
		n = n*10 + int64(rest[at]-'0')
		at++
	}
	if at == 0 || at > maxDigits || rest[0] == '0' || at < len(rest) && (rest[at] == '.' || rest[at]|0x20 == 'e') {
		return 0, false
	}
	s.pos += at
	return n, true
}

func (s *scanner) digits() bool {
	start := s.pos
	for isDigit(s.peek()) {
		s.pos++
	}
	return s.pos > start
}

func (s *scanner) space() {
	for s.pos < len(s.data) && isSpace(s.data[s.pos]) {
		s.pos++
	}
}

// peek returns the byte here, or 0 at the end. JSON has no 0 outside of strings, so this is not
// ambiguous.
func (s *scanner) peek() byte {
	if s.pos < len(s.data) {
		return s.data[s.pos]
	}
	return 0
}

func (s *scanner) take(c byte) bool {
	if s.pos < len(s.data) && s.data[s.pos] == c {
		s.pos++
		return true
	}
	return false
}

func (s *scanner) skipWord(w string) bool {
	return s.skipText([]byte(w))
}

// skipText skips text if it comes next.
func (s *scanner) skipText(text []byte) bool {
	if !bytes.HasPrefix(s.data[s.pos:], text) {
		return false
	}
	s.pos += len(text)
	return true
}

func (s *scanner) unexpected(wanted string) error {
	if s.pos >= len(s.data) {
		return refuse(ReasonJSON, "ends at byte %d, where %s should be", len(s.data), wanted)
	}
	return refuse(ReasonJSON, "%s at byte %d, where %s should be", quote(s.data[s.pos:]), s.pos, wanted)
}

// invalidPart returns data from its first byte that is not UTF-8.
func invalidPart(data []byte) []byte {
	for len(data) > 0 {
		char, size := utf8.DecodeRune(data)
		if char == utf8.RuneError && size == 1 {
			break
		}
		data = data[size:]
	}
	return data
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
