package verify

import (
	"io/fs"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// elsewhere is the FileInfo of a directory on another device.
type elsewhere struct{ fs.FileInfo }

func (e elsewhere) Sys() any {
	stat := *e.FileInfo.Sys().(*syscall.Stat_t)
	stat.Dev++
	return &stat
}

// Below a mount point there may be old files. None of them counts after an unmount.
func TestAnotherDeviceRevokesNothing(t *testing.T) {
	keys, write, log := openDirectory(t, "web-1")
	dir := keys.dir
	dir.info = elsewhere{dir.info}
	write("web-2", secret)
	require.NoError(t, os.Remove(dir.files.Name+"/web-1"))
	for range 3 {
		keys.Reread(t.Context())
	}
	require.NotEmpty(t, keys.secretsFor("web-1"))
	require.Empty(t, keys.secretsFor("web-2"))
	require.Equal(t, []string{"W! [] Kept all keys of 'keys_dir': " +
		"the directory is on a different device than before: if that is intended, reload Telegraf"}, log.Warnings())

	keys, write, _ = openDirectory(t) // it was mounted after the start
	keys.dir.info = elsewhere{keys.dir.info}
	write("web-2", secret)
	keys.Reread(t.Context())
	require.NotEmpty(t, keys.secretsFor("web-2"))
}
