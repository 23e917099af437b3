package statefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// openRegular opens a file, and returns an error if it is not a regular file. It does not follow
// symbolic links, and does not wait for the other end of a pipe.
func openRegular(path string, flag int) (*os.File, error) {
	if err := checkPlace(path); err != nil { // for its clearer error
		return nil, err
	}
	return openUnchecked(path, flag)
}

// openUnchecked is like openRegular, but checks the file only after opening it. This check is
// needed in any case, because the file may have been replaced after an earlier check.
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

// checkPlace returns an error if the file at path exists but is not a regular file.
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

// isAt reports whether file is still the file at path. If this is unknown, it returns true.
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

// isShorter reports whether file has fewer bytes than size. If this is unknown, it returns false.
func isShorter(file *os.File, size int64) bool {
	info, err := file.Stat()
	return err == nil && info.Size() < size
}

// giveAway gives a file that root has created to the owner of its directory. If the directory
// belongs to root, giveAway gives it to the owner of the file that it will replace, if there is
// one; before is the path of that file. This way, root can try out a configuration that a service
// under another user will run later.
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
