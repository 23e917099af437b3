//go:build unix

package main

import (
	"fmt"
	"os"
	"syscall"
)

// fileID returns device and inode of a file as in JOURNAL_STREAM.
func fileID(file *os.File) string {
	info, err := file.Stat()
	if err != nil {
		return ""
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)
}
