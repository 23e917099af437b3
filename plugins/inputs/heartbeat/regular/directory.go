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

// settling is the time within which two changes of a file may get the same timestamp. The
// timestamps of FAT are the coarsest, with a resolution of two seconds.
const settling = 3 * time.Second

// A Directory reads the files of one directory repeatedly. It follows symbolic links to files
// within the directory, as in Kubernetes volumes, but not to files outside of it. So if a mount
// hangs, either all files are on that mount, or none are.
type Directory struct {
	Name  string
	Skip  func(name string) bool // reports whether a file is ignored
	Limit int64                  // bytes; a longer file has an error in its Content
	Most  int                    // the maximum number of entries

	attempt attempt[Listing]
	last    map[string]Content
}

// A Listing is the contents of a directory.
type Listing struct {
	Info    fs.FileInfo        // of the directory
	Files   map[string]Content // by name
	Skipped []string           // the names of ignored files

	err error
}

// Read returns the current contents of each file. It does not reread a file that has not changed.
// If reading does not end before ctx, Read returns an error that wraps ErrSlow. While the reading
// still hangs, further calls return such an error at once. After it has ended, the next call
// returns its result.
func (d *Directory) Read(ctx context.Context) (Listing, error) {
	last := d.last // an abandoned read may still use this map
	got, ok := d.attempt.lateResult()
	if !ok || got.err != nil {
		got, ok = d.attempt.run(ctx, func() Listing { return d.list(last) })
	}
	if !ok {
		return Listing{}, slowError(d.Name)
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

// readFile returns the contents of a file, or former if the file has not changed.
func (d *Directory) readFile(root *os.Root, name string, former Content) Content {
	path := filepath.Join(d.Name, name)
	info, err := root.Stat(name)
	if err == nil {
		// The file is checked before it is opened: opening a device may affect it, and opening a pipe
		// wakes a process that waits to write to it.
		err = checkRegular(path, info)
	}
	if err != nil {
		return Content{Err: withPath(path, err)}
	}
	if former.isOf(info) {
		return former
	}
	file, err := root.OpenFile(name, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return Content{Err: withPath(path, err)}
	}
	defer file.Close()
	return readChecked(path, file, d.Limit)
}

// isOf reports whether the file described by info certainly still has this content. It is not
// enough to compare size, ModTime and inode: tar and cp -p set the time, and a new file may reuse
// an inode.
func (c *Content) isOf(info fs.FileInfo) bool {
	if c.Err != nil || c.Info == nil || !os.SameFile(c.Info, info) {
		return false
	}
	former, known := changeTime(c.Info)
	now, _ := changeTime(info)
	return known && now.Equal(former) && c.at.Sub(now) > settling
}

// withPath replaces the name in an error about a file in a directory with the path of the file.
func withPath(path string, err error) error {
	if failed := new(fs.PathError); errors.As(err, &failed) {
		return &fs.PathError{Op: "open", Path: path, Err: failed.Err}
	}
	return err
}
