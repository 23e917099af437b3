package statefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// openRegular opens a regular file. It opens nothing else: it follows no symbolic link and does
// not wait for a pipe.
func openRegular(path string, flag int) (*os.File, error) {
	if err := checkPlace(path); err != nil { // for its clearer error
		return nil, err
	}
	return openUnchecked(path, flag)
}

// openUnchecked is openRegular without the check of the path beforehand. It checks the opened
// file, because the path may have been replaced.
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

// checkPlace returns an error if path is something other than a regular file. It may be missing.
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

// isAt reports whether file is still the file at path. If that is unknown, it returns true.
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

// isShorter reports whether file has fewer bytes than size. If that is unknown, it returns false.
func isShorter(file *os.File, size int64) bool {
	info, err := file.Stat()
	return err == nil && info.Size() < size
}

// giveAway gives a file that root has created to the owner of the directory, or, if that is root,
// to the owner of the file before. Root may only have tried out what a service will run later.
func giveAway(file *os.File, before string) {
	if os.Geteuid() != 0 {
		return
	}
	uid, gid, known := ownerAt(filepath.Dir(before))
	if !known || uid == 0 {
		uid, gid, known = ownerAt(before)
	}
	if known {
		file.Chown(uid, gid) //nolint:errcheck // then it stays root's, and the next start reports that
	}
}
