package statefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// openRegular opens a file, but neither what a link points to, nor a pipe,
// which would be waited for, nor anything else.
func openRegular(path string, flag int) (*os.File, error) {
	if err := checkPlace(path); err != nil { // says it best
		return nil, err
	}
	return openUnchecked(path, flag)
}

// openUnchecked is openRegular for a path that may have become another thing
// since it was checked.
func openUnchecked(path string, flag int) (*os.File, error) {
	file, err := os.OpenFile(path, flag|openFlags, mode)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil {
		err = checkMode(path, info.Mode())
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// checkPlace refuses a path where there is something else than a file. That
// there is nothing is fine.
func checkPlace(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	return checkMode(path, info.Mode())
}

func checkMode(path string, mode fs.FileMode) error {
	switch {
	case mode.IsRegular():
		return nil
	case mode.IsDir():
		return fmt.Errorf("%q is a directory", path)
	case mode&fs.ModeSymlink != 0:
		return fmt.Errorf("%q is a symbolic link", path)
	}
	return fmt.Errorf("%q is not a regular file", path)
}

// isAt reports whether file is what is at path, as far as that can be told.
func isAt(path string, file *os.File) bool {
	own, err := file.Stat()
	if err != nil {
		return true
	}
	found, err := os.Lstat(path)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	return os.SameFile(own, found)
}

// isShorter reports whether file has fewer bytes than size, as far as that can be told.
func isShorter(file *os.File, size int64) bool {
	info, err := file.Stat()
	return err == nil && info.Size() < size
}

// giveAway gives a file that root has created to who owns the directory, or, if
// that is root, to who owned the file before: root may only have tried what a
// service will do.
func giveAway(file *os.File, before string) {
	if os.Geteuid() != 0 {
		return
	}
	uid, gid, known := ownerAt(filepath.Dir(before))
	if !known || uid == 0 {
		uid, gid, known = ownerAt(before)
	}
	if known {
		file.Chown(uid, gid) //nolint:errcheck // then it stays root's, which the next start tells
	}
}
