package regular

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestReadsRegularFilesOnly(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(name, []byte("text"), 0o600))
	require.NoError(t, os.Symlink(name, name+".link"))
	for _, good := range []string{name, name + ".link"} {
		content := readContent(good, 4)
		require.NoError(t, content.Err)
		require.Equal(t, "text", string(content.Text))
	}
	require.ErrorContains(t, readContent(name, 3).Err, `file" is longer than 3 bytes`)
	require.ErrorContains(t, readContent(dir, 3).Err, "is not a regular file")
	require.ErrorContains(t, readContent(os.DevNull, 3).Err, "is not a regular file")
	require.ErrorIs(t, readContent(name+"x", 3).Err, fs.ErrNotExist)
}

// hanging returns a Reader whose reads return on demand, and the number of reads that have begun.
func hanging() (r *Reader, comeBack chan Content, begun *atomic.Int32) {
	comeBack, begun = make(chan Content), new(atomic.Int32)
	return &Reader{Name: "/mnt/x", load: func(string, int64) Content {
		begun.Add(1)
		return <-comeBack
	}}, comeBack, begun
}

func TestReadThatHangsIsTheOnlyOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, comeBack, begun := hanging()
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := r.Read(ctx)
		require.ErrorIs(t, err, ErrSlow)
		require.EqualError(t, err, `reading "/mnt/x" takes too long: its mount may hang`)
		require.Equal(t, time.Second, time.Since(start))

		for range 100 { // while it is known to hang, nobody waits
			_, err = r.Read(t.Context())
			require.ErrorIs(t, err, ErrSlow)
		}
		require.Equal(t, time.Second, time.Since(start))
		require.EqualValues(t, 1, begun.Load())

		comeBack <- Content{Text: []byte("of another time")}
		synctest.Wait()
		time.AfterFunc(time.Millisecond, func() { comeBack <- Content{Text: []byte("new")} })
		content, err := r.Read(t.Context())
		require.NoError(t, err)
		require.Equal(t, "new", string(content.Text))
		require.EqualValues(t, 2, begun.Load())
	})
}

func TestReaderReadsAgain(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	r := Reader{Name: name, Limit: 10}
	for _, text := range []string{"one", "two"} {
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
		content, err := r.Read(t.Context())
		require.NoError(t, err)
		require.Equal(t, text, string(content.Text))
		require.EqualValues(t, 3, content.Info.Size())
	}
	require.NoError(t, os.Remove(name))
	_, err := r.Read(t.Context())
	require.ErrorIs(t, err, fs.ErrNotExist)
}
