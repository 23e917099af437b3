//go:build darwin || freebsd || netbsd

package regular

import (
	"io/fs"
	"syscall"
	"time"
)

// changed returns when the file last changed in any way. Programs cannot set that time.
func changed(info fs.FileInfo) (at time.Time, known bool) {
	stat, known := info.Sys().(*syscall.Stat_t)
	if !known {
		return at, false
	}
	return time.Unix(stat.Ctimespec.Unix()), true
}
