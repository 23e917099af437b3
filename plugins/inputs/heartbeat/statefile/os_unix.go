//go:build !windows

package statefile

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// openFlags are flags for os.OpenFile. With them, it does not follow a symbolic link and does not
// wait for the other end of a pipe.
const openFlags = unix.O_NOFOLLOW | unix.O_NONBLOCK

// defaultDir returns the default directory, which Telegraf's packages create.
func defaultDir(func(string) string) string { return "/var/lib/telegraf" }

// makeDefaultDir does nothing, because Telegraf's packages create the directory.
func makeDefaultDir(string) {}

// grantCommand and mkdirCommand return commands with which an operator can let user write to path.
func grantCommand(user, path string) string { return "chown " + user + " " + path }
func mkdirCommand(user, path string) string { return "install -d -o " + user + " " + path }

// tryLock locks file without waiting. While it is locked, no other descriptor of the file can be
// locked, not even in this process.
func tryLock(file *os.File) error {
	return unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
}

// wouldBlock reports whether err means that another descriptor has the lock.
func wouldBlock(err error) bool { return errors.Is(err, unix.EWOULDBLOCK) }

func unlock(file *os.File) error {
	return unix.Flock(int(file.Fd()), unix.LOCK_UN)
}

// isDiskFull reports whether err means that the disk or quota is full.
func isDiskFull(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}

// syncDir syncs a directory, so that its file names survive a power failure. It is not an error if
// the file system does not support that.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	err = dir.Sync()
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	return err
}

// ownerAt returns the owner of the file at path.
func ownerAt(path string) (uid, gid int, known bool) {
	info, err := os.Lstat(path)
	if err != nil {
		return 0, 0, false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, false
	}
	return int(stat.Uid), int(stat.Gid), true
}
