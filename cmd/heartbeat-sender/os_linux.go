package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/watch"
)

// withRightsOf calls do with the rights of an account instead of those of root.
// They are those of the whole process, and of the programs that do starts, until
// it returns.
func withRightsOf(account *watch.Account, do func()) (err error) {
	own, err := syscall.Getgroups()
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, syscall.Setresuid(0, 0, 0), syscall.Setresgid(0, 0, 0), syscall.Setgroups(own))
	}()
	if err := syscall.Setgroups(account.Groups); err != nil {
		return err
	}
	if err := syscall.Setresgid(account.GID, account.GID, 0); err != nil {
		return err
	}
	if err := syscall.Setresuid(account.UID, account.UID, 0); err != nil { // last: it takes the right to the others
		return err
	}
	do()
	return nil
}

// canRead returns why a file that is there cannot be read, without opening it.
func canRead(name string) error {
	if err := unix.Access(name, unix.R_OK); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

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
