//go:build !windows

package regular

import (
	"os"
	"path/filepath"
	"syscall"
)

// GiveAway gives a socket or file that root has created to the owner of its directory: root may
// only have tried out what a service will run later.
func GiveAway(path string) {
	if os.Geteuid() != 0 {
		return
	}
	info, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && owner.Uid != 0 {
		os.Lchown(path, int(owner.Uid), int(owner.Gid)) //nolint:errcheck // then it stays root's, and its mode determines who may use it
	}
}
