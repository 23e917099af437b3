//go:build unix

package regular

import (
	"io/fs"
	"syscall"
)

// nonblock keeps the open of a FIFO from waiting for a writer, and noctty a
// terminal from becoming ours: what was checked may have been replaced.
const nonblock = syscall.O_NONBLOCK | syscall.O_NOCTTY

// SameDevice reports whether two files are on one device, as far as the system tells.
func SameDevice(one, other fs.FileInfo) bool {
	a, known := one.Sys().(*syscall.Stat_t)
	b, both := other.Sys().(*syscall.Stat_t)
	return !known || !both || a.Dev == b.Dev
}
