//go:build unix

package regular

import (
	"io/fs"
	"syscall"
)

// nonblock are flags for opening a file that may have been replaced since it was checked. With
// O_NONBLOCK, the open does not wait for the writer of a FIFO. With O_NOCTTY, a terminal does not
// become our controlling terminal.
const nonblock = syscall.O_NONBLOCK | syscall.O_NOCTTY

// SameDevice reports whether two files are on the same device. If the device of either is unknown,
// it returns true.
func SameDevice(one, other fs.FileInfo) bool {
	a, known := one.Sys().(*syscall.Stat_t)
	b, both := other.Sys().(*syscall.Stat_t)
	return !known || !both || a.Dev == b.Dev
}
