package statefile

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/windows"
)

// openFlags keep os.OpenFile from following a link.
const openFlags = windows.O_FILE_FLAG_OPEN_REPARSE_POINT

// usualDir returns where the state is kept, which nobody else makes.
func usualDir(getenv func(string) string) string {
	return filepath.Join(cmp.Or(getenv("ProgramData"), `C:\ProgramData`), "telegraf")
}

// makeUsualDir makes the directory of a state file in its usual place.
func makeUsualDir(path string) {
	if dir := filepath.Dir(path); dir == usualDir(os.Getenv) {
		os.Mkdir(dir, 0o700) //nolint:errcheck // the file in it says what is wrong
	}
}

// grant and create are commands for an operator, after which user can write to path.
func grant(user, path string) string {
	return fmt.Sprintf(`icacls "%s" /grant "%s:(OI)(CI)M"`, path, user)
}
func create(_, path string) string { return fmt.Sprintf(`mkdir "%s"`, path) }

// The lock is on one byte far behind the end: Windows lets nobody else read
// what is locked, and others are to read who has the lock.
func lockedByte() *windows.Overlapped {
	return &windows.Overlapped{OffsetHigh: 1 << 30}
}

// tryLock takes the lock of file. It holds between two handles of one process
// too.
func tryLock(file *os.File) error {
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	return windows.LockFileEx(windows.Handle(file.Fd()), flags, 0, 1, 0, lockedByte())
}

// wouldBlock knows the error of tryLock when another one has the lock.
func wouldBlock(err error) bool { return errors.Is(err, windows.ERROR_LOCK_VIOLATION) }

func unlock(file *os.File) error {
	return windows.UnlockFileEx(windows.Handle(file.Fd()), 0, 1, 0, lockedByte())
}

// noSpace tells whether err may be over when somebody has cleaned up.
func noSpace(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL)
}

// syncDir does nothing: NTFS keeps a journal of its names.
func syncDir(string) error { return nil }

// ownerAt returns nobody: there is no root whose files others cannot read.
func ownerAt(string) (uid, gid int, known bool) { return 0, 0, false }
