package statefile

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/windows"
)

// openFlags are flags for os.OpenFile. With them, it does not follow a symbolic link.
const openFlags = windows.O_FILE_FLAG_OPEN_REPARSE_POINT

// defaultDir returns the default directory. No installer creates it.
func defaultDir(getenv func(string) string) string {
	return filepath.Join(cmp.Or(getenv("ProgramData"), `C:\ProgramData`), "telegraf")
}

// makeDefaultDir creates the default directory if path is in it.
func makeDefaultDir(path string) {
	if dir := filepath.Dir(path); dir == defaultDir(os.Getenv) {
		os.Mkdir(dir, 0o700) //nolint:errcheck // opening the file in it reports what is wrong
	}
}

// grantCommand and mkdirCommand return commands with which an operator can let user write to path.
func grantCommand(user, path string) string {
	return fmt.Sprintf(`icacls "%s" /grant "%s:(OI)(CI)M"`, path, user)
}
func mkdirCommand(_, path string) string { return fmt.Sprintf(`mkdir "%s"`, path) }

// lockedByte returns the position of the byte that is locked. It is far beyond the end of the file:
// on Windows, other processes cannot read locked bytes, but they must be able to read which process
// has the lock.
func lockedByte() *windows.Overlapped {
	return &windows.Overlapped{OffsetHigh: 1 << 30}
}

// tryLock locks file without waiting. While it is locked, no other handle of the file can be
// locked, not even in this process.
func tryLock(file *os.File) error {
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	return windows.LockFileEx(windows.Handle(file.Fd()), flags, 0, 1, 0, lockedByte())
}

// wouldBlock reports whether err means that another handle has the lock.
func wouldBlock(err error) bool { return errors.Is(err, windows.ERROR_LOCK_VIOLATION) }

func unlock(file *os.File) error {
	return windows.UnlockFileEx(windows.Handle(file.Fd()), 0, 1, 0, lockedByte())
}

// isDiskFull reports whether err means that the disk is full.
func isDiskFull(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL)
}

// syncDir does nothing, because NTFS keeps a journal of file names itself.
func syncDir(string) error { return nil }

// ownerAt returns no owner, because Windows has no user like root, whose files other users cannot
// read.
func ownerAt(string) (uid, gid int, known bool) { return 0, 0, false }
