package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

// A streamVector is one entry of testdata/streams.json.
type streamVector struct {
	Name     string   `json:"name"`
	Limit    int      `json:"limit"`
	Stream   string   `json:"stream_hex"`
	Payloads []string `json:"payloads"`
	End      string   `json:"end"` // "eof" or the reason of a refusal
}

func TestStreamVectors(t *testing.T) {
	for _, v := range loadVectors[streamVector](t, "streams.json") {
		t.Run(v.Name, func(t *testing.T) {
			stream, err := hex.DecodeString(v.Stream)
			require.NoError(t, err)
			for name, src := range map[string]io.Reader{
				"one piece": bytes.NewReader(stream),
				"bytes":     iotest.OneByteReader(bytes.NewReader(stream)),
				"halves":    iotest.HalfReader(bytes.NewReader(stream)),
				"with EOF":  iotest.DataErrReader(bytes.NewReader(stream)),
			} {
				payloads, end := readAll(src, v.Limit)
				require.Equal(t, v.End, end, name)
				require.Len(t, payloads, len(v.Payloads), name)
				for i := range payloads {
					require.Equal(t, v.Payloads[i], payloads[i], name)
				}
			}
		})
	}
}

// readAll reads a stream to its end and says how it ended.
func readAll(src io.Reader, limit int) (payloads []string, end string) {
	r := NewReader(src, limit)
	for {
		payload, err := r.Next()
		switch {
		case err == nil:
			payloads = append(payloads, string(payload))
		case errors.Is(err, io.EOF):
			return payloads, "eof"
		case AsRefusal(err) != nil && AsRefusal(err).Broken:
			return payloads, string(AsRefusal(err).Reason)
		default:
			return payloads, err.Error()
		}
	}
}

// If a stream begins like another protocol, the reader waits while more bytes may decide; if the
// stream ends, the bytes so far decide.
func TestHalfABeginningIsWaitedFor(t *testing.T) {
	for text, want := range map[string]string{
		"\r\n\r\n\x00\r\nQU": "protocol", "\r\n\r\n": "eof", "\r": "eof", "PROX": "protocol", "GE": "protocol", "P": "protocol",
	} {
		r := ReadChunks(&silentSource{chunks: [][]byte{[]byte(text)}}, DefaultMaxFrame)
		for range 3 {
			_, err := r.Next()
			require.ErrorIs(t, err, ErrAgain, text)
		}
		payloads, end := readAll(strings.NewReader(text), DefaultMaxFrame)
		require.Empty(t, payloads)
		require.Equal(t, want, end, text)
	}
}

func TestErrorOfTheConnectionIsPassedOn(t *testing.T) {
	want := errors.New("connection reset")
	r := NewReader(io.MultiReader(bytes.NewReader([]byte{0, 0}), iotest.ErrReader(want)), DefaultMaxFrame)
	_, err := r.Next()
	require.ErrorIs(t, err, want)
	require.True(t, r.Started())
}

func TestStartedTellsAHalfReadPayload(t *testing.T) {
	frame := AppendFrame(nil, []byte(`{"pid":1}`))
	r := NewReader(bytes.NewReader(append(frame, 0, 0)), DefaultMaxFrame)
	require.False(t, r.Started())
	_, err := r.Next()
	require.NoError(t, err)
	require.True(t, r.Framed())
	require.True(t, r.Started(), "two bytes of the next header are there")
}

// Memory follows what arrived, not what was announced.
func TestAnnouncedLengthIsNotAllocated(t *testing.T) {
	src := &lengthThenSilence{header: binary.BigEndian.AppendUint32(nil, MaxFrame)}
	r := NewReader(src, MaxFrame)
	_, err := r.Next()
	require.ErrorIs(t, err, errSilence)
	require.Less(t, cap(r.kept), 64)
}

var errSilence = errors.New("nothing more")

type lengthThenSilence struct{ header []byte }

func (l *lengthThenSilence) Read(p []byte) (int, error) {
	n := copy(p, l.header)
	l.header = l.header[n:]
	if n == 0 {
		return 0, errSilence
	}
	return n, nil
}

func TestLongPayloadDoesNotHoldMemory(t *testing.T) {
	long := AppendFrame(nil, bytes.Repeat([]byte(" "), 100_000))
	short := AppendFrame(nil, []byte(`{"pid":1}`))
	r := NewReader(io.MultiReader(bytes.NewReader(long), bytes.NewReader(short)), MaxFrame)
	for range 2 {
		_, err := r.Next()
		require.NoError(t, err)
	}
	require.LessOrEqual(t, cap(r.kept), 2*ownBuffer)
}

// Nor does a silent stream keep what it read last.
func TestSilentStreamHoldsNothing(t *testing.T) {
	for _, length := range []int{10, 10_000} {
		frame := AppendFrame(nil, bytes.Repeat([]byte(" "), length))
		r := ReadChunks(&silentSource{chunks: slices.Collect(slices.Chunk(frame, 4096))}, MaxFrame)
		_, err := r.Next()
		require.NoError(t, err)
		_, err = r.Next()
		require.ErrorIs(t, err, ErrAgain)
		require.Nil(t, r.kept)
		require.Nil(t, r.unread)
	}
}

// silentSource gives its chunks and then nothing more.
type silentSource struct{ chunks [][]byte }

func (s *silentSource) Chunk() ([]byte, error) {
	if len(s.chunks) == 0 {
		return nil, ErrAgain
	}
	chunk := s.chunks[0]
	s.chunks = s.chunks[1:]
	return chunk, nil
}

func TestReadingFramesAllocatesNothing(t *testing.T) {
	stream := bytes.Repeat(AppendFrame(nil, []byte(`{"ip":"10.0.0.5","pid":1}`)), 1000)
	src := bytes.NewReader(stream)
	r := NewReader(src, DefaultMaxFrame)
	_, err := r.Next()
	require.NoError(t, err)
	allocs := testing.AllocsPerRun(900, func() {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	})
	require.Zero(t, allocs)
}

// chunks gives src in pieces of random length.
type chunks struct {
	src  []byte
	rand *rand.Rand
}

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.src) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.src[:1+c.rand.IntN(min(len(c.src), 37))])
	c.src = c.src[n:]
	return n, nil
}

func TestLongBareObjectIsReadInFewPieces(t *testing.T) {
	object := []byte(`{"x":"` + strings.Repeat("a", DefaultMaxFrame-8) + `"}`)
	src := &countingReader{src: bytes.NewReader(object)}
	payload, err := NewReader(src, DefaultMaxFrame).Next()
	require.NoError(t, err)
	require.Len(t, payload, DefaultMaxFrame)
	require.LessOrEqual(t, src.reads, DefaultMaxFrame/ownBuffer)
}

type countingReader struct {
	src   io.Reader
	reads int
}

func (c *countingReader) Read(p []byte) (int, error) {
	c.reads++
	return c.src.Read(p)
}
