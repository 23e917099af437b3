//go:build !linux && !openbsd && !dragonfly && !solaris && !darwin && !freebsd && !netbsd

package regular

import (
	"io/fs"
	"time"
)

// changeTime always reports that the time is unknown, because programs can set all file times on
// this system.
func changeTime(fs.FileInfo) (at time.Time, known bool) { return at, false }
