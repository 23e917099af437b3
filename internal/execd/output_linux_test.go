package execd

import (
	"io"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A reader that takes nothing is noticed long before the pipe is full, and one that is
// slow is none of that kind.
func TestReaderThatTakesNothingIsNoticed(t *testing.T) {
	reader, writer, err := os.Pipe()
	require.NoError(t, err)
	defer reader.Close()
	defer writer.Close()
	b := &backlog{unread: func() int { return unread(writer) }}
	to, now := &countingWriter{writer, b}, time.Now()
	after := func(d time.Duration) time.Duration { return b.lasts(now.Add(d)) }
	require.Zero(t, after(0))
	require.Zero(t, after(time.Hour), "there is nothing to read")
	write := func() {
		_, err := to.Write([]byte("a line\n"))
		require.NoError(t, err)
	}
	write()
	require.Equal(t, time.Second, after(time.Hour+time.Second))
	write()
	require.Equal(t, 5*time.Second, after(time.Hour+5*time.Second), "more of it is no progress")
	_, err = io.ReadFull(reader, make([]byte, 3))
	require.NoError(t, err)
	require.Zero(t, after(time.Hour+6*time.Second), "it reads")
	require.Equal(t, time.Second, after(time.Hour+7*time.Second))
	require.Zero(t, (&backlog{}).lasts(now), "of a file nothing is known")
}
