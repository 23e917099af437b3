// Package hang mounts what a server that is away looks like, for tests.
package hang

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Mount returns a directory on a file system that nobody serves: whoever asks
// it anything waits until the test ends. It skips the test where mounting is
// not possible.
func Mount(t testing.TB) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root, to mount a file system that hangs")
	}
	fuse, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("needs /dev/fuse, to mount a file system that hangs: %v", err)
	}
	dir := filepath.Join(t.TempDir(), "mnt")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fuse.Fd())
	if err := unix.Mount("hang", dir, "fuse", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		fuse.Close()
		t.Skipf("needs FUSE, to mount a file system that hangs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
		fuse.Close() // who waits is told that nobody serves
	})
	return dir
}
