//go:build !windows

package regular

import (
	"os"
	"path/filepath"
	"syscall"
)

// GiveAway gives a socket or file that root has created to the owner of its directory. This way,
// root can try out a configuration that a service under another user will run later.
func GiveAway(path string) {
	if os.Geteuid() != 0 {
		return
	}
	info, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && owner.Uid != 0 {
		os.Lchown(path, int(owner.Uid), int(owner.Gid)) //nolint:errcheck // if this fails, the file stays root's, and its mode determines who may use it
	}
}
