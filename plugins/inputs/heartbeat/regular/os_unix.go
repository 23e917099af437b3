//go:build unix

package regular

import (
	"io/fs"
	"syscall"
)

// nonblock are flags for opening a file that may have been replaced since it was checked:
// O_NONBLOCK does not wait for the writer of a FIFO, and O_NOCTTY does not make a terminal ours.
const nonblock = syscall.O_NONBLOCK | syscall.O_NOCTTY

// SameDevice reports whether two files are on the same device. If that is unknown, it returns
// true.
func SameDevice(one, other fs.FileInfo) bool {
	a, known := one.Sys().(*syscall.Stat_t)
	b, both := other.Sys().(*syscall.Stat_t)
	return !known || !both || a.Dev == b.Dev
}
