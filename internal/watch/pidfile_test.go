package watch

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPIDFileHoldsANumber(t *testing.T) {
	for text, want := range map[string]uint32{
		"4711":                   4711,
		" \t4711\r\n\n":          4711,
		"4711\n/var/lib/x\n5432": 4711, // PostgreSQL
		"2147483647":             maxPID,

		"": 0, "\n": 0, "0": 0, "-1": 0, "+1": 0, "4711x": 0, "4711 4712": 0, "0x10": 0,
		"2147483648": 0, "99999999999999999999": 0, "\xff": 0,
	} {
		pid, err := parsePID([]byte(text))
		require.Equal(t, want, pid, "%q", text)
		require.Equal(t, want == 0, err != nil, "%q", text)
	}
}

func TestPIDFileKnowsWhenItIsWrittenAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.pid")
	file := newPIDFile(path)
	old := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	write := func(path, text string, at time.Time) {
		t.Helper()
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		require.NoError(t, os.Chtimes(path, at, at))
	}
	readAnew := func() bool {
		t.Helper()
		before := file.mark
		_, err := file.pid(t.Context())
		require.NoError(t, err)
		return file.mark != before
	}

	write(path, "1", old)
	require.True(t, readAnew())
	require.False(t, readAnew(), "nobody wrote it")

	write(path, "1", old.Add(-time.Hour))
	require.True(t, readAnew(), "the clock was set back")
	write(path, "1\n", old.Add(-time.Hour))
	require.True(t, readAnew(), "it is longer")
	write(path+"~", "1\n", old.Add(-time.Hour))
	require.NoError(t, os.Rename(path+"~", path))
	require.True(t, readAnew(), "it is another file")
	require.False(t, readAnew(), "nobody wrote it")
}
