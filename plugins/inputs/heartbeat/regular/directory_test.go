package regular

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A readDirectory is a Directory with files of at most ten bytes.
func readDirectory(t *testing.T) (d *Directory, write func(name, text string), texts func() map[string]string) {
	dir := t.TempDir()
	d = &Directory{Name: dir, Limit: 10, Most: 4, Skip: func(name string) bool { return strings.HasPrefix(name, ".") }}
	write = func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	texts = func() map[string]string {
		listing, err := d.Read(t.Context())
		require.NoError(t, err)
		texts := make(map[string]string)
		for name, content := range listing.Files {
			texts[name] = string(content.Text)
			if content.Err != nil {
				texts[name] = content.Err.Error()
			}
		}
		return texts
	}
	return d, write, texts
}

func TestFilesOfADirectoryAreReadIndependently(t *testing.T) {
	d, write, texts := readDirectory(t)
	require.Empty(t, texts())
	write("a", "one")
	write(".hidden", "no")
	write("long", "eleven bytes")
	require.NoError(t, os.Mkdir(filepath.Join(d.Name, "dir"), 0o700))
	found := texts()
	require.Len(t, found, 3)
	require.Equal(t, "one", found["a"])
	require.Contains(t, found["long"], "is longer than 10 bytes")
	require.Contains(t, found["dir"], "is not a regular file")

	write("fifth", "")
	_, err := d.Read(t.Context())
	require.ErrorContains(t, err, "has more than 4 entries")
	require.NoError(t, os.RemoveAll(d.Name))
	_, err = d.Read(t.Context())
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.WriteFile(d.Name, nil, 0o600))
	_, err = d.Read(t.Context())
	require.Error(t, err, "it is a file")
}

// A changed file is read again even if its inode, size and time are the same. An unchanged file is
// not, where the system reports the time of the last change.
func TestOnlyFilesThatChangeAreReadAgain(t *testing.T) {
	d, write, texts := readDirectory(t)
	long := time.Now().Add(-time.Hour)
	touch := func(name string) { require.NoError(t, os.Chtimes(filepath.Join(d.Name, name), long, long)) }
	write("a", "one")
	touch("a")
	require.Equal(t, "one", texts()["a"])
	settled := d.last["a"]
	settled.Text, settled.at = []byte("kept"), settled.at.Add(time.Minute)
	d.last["a"] = settled
	if _, known := changeTime(settled.Info); known {
		require.Equal(t, "kept", texts()["a"])
	} else {
		require.Equal(t, "one", texts()["a"])
	}
	write("a", "two")
	require.Eventually(t, func() bool { // until it has another stamp than before
		touch("a")
		info, err := os.Stat(filepath.Join(d.Name, "a"))
		now, known := changeTime(info)
		was, _ := changeTime(settled.Info)
		return err == nil && (!known || now.After(was))
	}, 5*time.Minute, time.Millisecond)
	require.Equal(t, "two", texts()["a"], "its number, its size and its time are the same")
	write(".next", "six")
	touch(".next")
	require.NoError(t, os.Rename(filepath.Join(d.Name, ".next"), filepath.Join(d.Name, "a")))
	require.Equal(t, "six", texts()["a"], "it is another file")
	for _, text := range []string{"how", "now"} {
		write("a", text)
		touch("a")
		require.Equal(t, text, texts()["a"], "a second change may have the stamp of the first")
	}
}
