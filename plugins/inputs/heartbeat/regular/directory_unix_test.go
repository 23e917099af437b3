//go:build unix

package regular

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Neither a FIFO nor a link to another mount blocks reading the other files.
func TestDirectoryWithFilesThatBlock(t *testing.T) {
	d, write, texts := readDirectory(t)
	outside := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(outside, []byte("one"), 0o600))
	require.NoError(t, syscall.Mkfifo(filepath.Join(d.Name, "fifo"), 0o600))
	require.NoError(t, os.Symlink(outside, filepath.Join(d.Name, "out")))
	require.NoError(t, os.Mkdir(filepath.Join(d.Name, ".data"), 0o700))
	write(filepath.Join(".data", "a"), "one")
	require.NoError(t, os.Symlink(filepath.Join(".data", "a"), filepath.Join(d.Name, "a")))
	found := texts()
	require.Equal(t, "one", found["a"], "as Kubernetes has it")
	require.Contains(t, found["fifo"], "is not a regular file")
	require.Contains(t, found["out"], "escapes")
}
