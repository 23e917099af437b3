package statefile

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/windows"
)

// openFlags keep os.OpenFile from following a symbolic link.
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

// grant and create return commands for the operator that let user write to path.
func grant(user, path string) string {
	return fmt.Sprintf(`icacls "%s" /grant "%s:(OI)(CI)M"`, path, user)
}
func create(_, path string) string { return fmt.Sprintf(`mkdir "%s"`, path) }

// The lock is on one byte far beyond the end: on Windows others cannot read what is locked, and
// they are to read which process has the lock.
func lockedByte() *windows.Overlapped {
	return &windows.Overlapped{OffsetHigh: 1 << 30}
}

// tryLock takes the lock of file. The lock also excludes another handle of this process.
func tryLock(file *os.File) error {
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	return windows.LockFileEx(windows.Handle(file.Fd()), flags, 0, 1, 0, lockedByte())
}

// wouldBlock reports whether err means that another one has the lock.
func wouldBlock(err error) bool { return errors.Is(err, windows.ERROR_LOCK_VIOLATION) }

func unlock(file *os.File) error {
	return windows.UnlockFileEx(windows.Handle(file.Fd()), 0, 1, 0, lockedByte())
}

// noSpace reports whether err means that the disk is full.
func noSpace(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL)
}

// syncDir does nothing: NTFS journals the names itself.
func syncDir(string) error { return nil }

// ownerAt returns no owner: there is no root whose files others cannot read.
func ownerAt(string) (uid, gid int, known bool) { return 0, 0, false }
