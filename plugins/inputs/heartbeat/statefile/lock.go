package statefile

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// A LockedError means that another collector uses the file.
type LockedError struct {
	PID int   // of the process that uses the file; 0 if unknown
	err error // from the system
}

func (e *LockedError) Error() string {
	switch {
	case e.PID == 0:
		return "another process uses it"
	case e.Own():
		return fmt.Sprintf("another heartbeat input of this process (pid %d) uses it", e.PID)
	}
	return fmt.Sprintf("another process (pid %d) uses it", e.PID)
}

func (e *LockedError) Unwrap() error { return e.err }

// Own reports whether this process itself uses the file.
func (e *LockedError) Own() bool { return e.PID == os.Getpid() }

// openLock opens a lock file, or creates it, and locks it. The lock ends when the process ends.
// Read permission is enough to lock a file.
func openLock(path string) (*os.File, error) {
	lock, err := openRegular(path, os.O_RDONLY|os.O_CREATE)
	if err != nil {
		return nil, err
	}
	if err := tryLock(lock); err != nil {
		if wouldBlock(err) {
			err = &LockedError{ownerOf(lock), err}
		} else {
			err = fmt.Errorf("locking %q failed: %w", path, err)
		}
		lock.Close()
		return nil, err
	}
	giveAway(lock, path)
	writeOwner(path)
	return lock, nil
}

// writeOwner writes the pid of this process into the lock file. A failure does not matter, because
// the pid only informs others.
func writeOwner(path string) {
	file, err := openRegular(path, os.O_WRONLY)
	if err != nil {
		return
	}
	defer file.Close()
	owner := strconv.Itoa(os.Getpid()) + "\n"
	if _, err := file.WriteAt([]byte(owner), 0); err == nil {
		file.Truncate(int64(len(owner))) //nolint:errcheck // as above
	}
}

// ownerOf returns the pid of the process that has locked the file, or 0 if the pid is unknown.
func ownerOf(lock *os.File) int {
	var text [20]byte
	n, _ := lock.ReadAt(text[:], 0) //nolint:errcheck // the text may be shorter
	line, _, _ := strings.Cut(string(text[:n]), "\n")
	pid, err := strconv.ParseUint(line, 10, 32)
	if err != nil {
		return 0
	}
	return int(pid)
}
