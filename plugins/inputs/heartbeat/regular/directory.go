package regular

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// settling is how long after a change of a file another one may have the same stamp.
// FAT has the coarsest stamps, of two seconds.
const settling = 3 * time.Second

// A Directory reads the files of one directory again and again. Links may lead to files
// in it, as in volumes of Kubernetes, but not out of it: so either all of it is on a
// mount that hangs, or nothing.
type Directory struct {
	Name  string
	Skip  func(name string) bool // whether a file is none of those that are read
	Limit int64                  // bytes; a longer file is an error of its Content
	Most  int                    // how many entries it may have

	attempt attempt[Listing]
	last    map[string]Content
}

// A Listing is what a directory has.
type Listing struct {
	Info    fs.FileInfo        // of the directory
	Files   map[string]Content // by name
	Skipped []string           // names

	err error
}

// Read returns what is in each file now. A file that has not changed is not read again.
// The error is an ErrSlow if that has not come when ctx ends, and at once while a read
// hangs. What that read brings in the end is returned next.
func (d *Directory) Read(ctx context.Context) (Listing, error) {
	last := d.last // a read that was left behind may still use it
	got, ok := d.attempt.late()
	if !ok || got.err != nil {
		got, ok = d.attempt.wait(ctx, func() Listing { return d.list(last) })
	}
	if !ok {
		return Listing{}, slow(d.Name)
	}
	if got.err == nil {
		d.last = got.Files
	}
	return got, got.err
}

func (d *Directory) list(last map[string]Content) (l Listing) {
	root, err := os.OpenRoot(d.Name)
	if err != nil {
		return Listing{err: err}
	}
	defer root.Close()
	entries, err := d.entries(root)
	if err != nil {
		return Listing{err: err}
	}
	l.Files = make(map[string]Content, len(entries))
	for _, entry := range entries {
		if name := entry.Name(); d.Skip(name) {
			l.Skipped = append(l.Skipped, name)
		} else {
			l.Files[name] = d.readFile(root, name, last[name])
		}
	}
	l.Info, l.err = root.Stat(".")
	return l
}

func (d *Directory) entries(root *os.Root) ([]fs.DirEntry, error) {
	dir, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	entries, err := dir.ReadDir(d.Most + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(entries) > d.Most {
		return nil, fmt.Errorf("%.256q has more than %d entries", d.Name, d.Most)
	}
	return entries, nil
}

// readFile returns what is in a file, which is former if that has not changed.
func (d *Directory) readFile(root *os.Root, name string, former Content) Content {
	path := filepath.Join(d.Name, name)
	info, err := root.Stat(name)
	if err == nil {
		// Also before it is opened: that may already do something to a device, and wakes
		// whoever waits to write to a pipe.
		err = check(path, info)
	}
	if err != nil {
		return Content{Err: named(path, err)}
	}
	if former.isOf(info) {
		return former
	}
	file, err := root.OpenFile(name, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return Content{Err: named(path, err)}
	}
	defer file.Close()
	return contentOf(path, file, d.Limit)
}

// isOf reports whether a file that is like info certainly still has this content. Its size
// and ModTime do not tell: tar and cp -p set them, and a new file gets the number of an
// old one.
func (c *Content) isOf(info fs.FileInfo) bool {
	if c.Err != nil || c.Info == nil || !os.SameFile(c.Info, info) {
		return false
	}
	former, known := changed(c.Info)
	now, _ := changed(info)
	return known && now.Equal(former) && c.at.Sub(now) > settling
}

// named makes an error about a name in a directory one about a path.
func named(path string, err error) error {
	if failed := new(fs.PathError); errors.As(err, &failed) {
		return &fs.PathError{Op: "open", Path: path, Err: failed.Err}
	}
	return err
}
