//go:build linux || openbsd || dragonfly || solaris

package regular

import (
	"io/fs"
	"syscall"
	"time"
)

// changeTime returns the time at which the contents or attributes of the file last changed.
// Programs cannot set that time.
func changeTime(info fs.FileInfo) (at time.Time, known bool) {
	stat, known := info.Sys().(*syscall.Stat_t)
	if !known {
		return at, false
	}
	return time.Unix(stat.Ctim.Unix()), true
}
