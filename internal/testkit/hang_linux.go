package testkit

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// MountHanging returns a directory on a file system whose server never answers: every system call
// on it blocks until the test ends. It skips the test if such a mount is not possible.
func MountHanging(t testing.TB) string {
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
		fuse.Close() // all blocked calls return an error
	})
	return dir
}
