// Package regular reads regular files. It does not block, even if the path is a FIFO, a device, or
// a file on a mount that hangs. It knows paths and contents, and never what a file is used for.
package regular

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// Open opens a regular file for reading. If the file is not regular, Open returns an error and does
// not open it, because opening affects some devices.
func Open(name string) (*os.File, error) {
	info, err := os.Stat(name)
	if failed := new(fs.PathError); errors.As(err, &failed) {
		failed.Op = "open"
	}
	if err == nil {
		err = checkRegular(name, info)
	}
	if err != nil {
		return nil, err
	}
	return openChecked(name)
}

// openChecked opens a file that was regular a moment ago, and checks that it still is.
func openChecked(name string) (*os.File, error) {
	file, err := os.OpenFile(name, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return nil, err
	}
	if _, err := statChecked(name, file); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

func statChecked(name string, file *os.File) (fs.FileInfo, error) {
	info, err := file.Stat()
	if err == nil {
		err = checkRegular(name, info)
	}
	return info, err
}

func checkRegular(name string, info fs.FileInfo) error {
	if info.Mode().IsRegular() {
		return nil
	}
	return fmt.Errorf("%.256q is not a regular file", name)
}

// A Content has the contents of a file, or the error from reading the file.
type Content struct {
	Text []byte
	Info fs.FileInfo // about the file that was read, which may have been replaced since
	Err  error       // why the file could not be read

	at time.Time // when reading began
}

// readContent reads a file of at most limit bytes.
func readContent(name string, limit int64) Content {
	file, err := Open(name)
	if err != nil {
		return Content{Err: err}
	}
	defer file.Close()
	return readChecked(name, file, limit)
}

func readChecked(name string, file *os.File, limit int64) Content {
	now := time.Now()
	info, err := statChecked(name, file)
	if err != nil {
		return Content{Err: err}
	}
	text, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err == nil && int64(len(text)) > limit {
		text, err = nil, fmt.Errorf("%.256q is longer than %d bytes", name, limit)
	}
	return Content{text, info, err, now}
}
