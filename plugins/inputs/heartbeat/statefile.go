package heartbeat

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

const (
	stateMode    = 0o640
	maxStateFile = 4 << 30 // bytes; a million peers need a quarter of it
)

// errLeftOut is in the error of a saving that has left out a peer, and has
// saved all others.
var errLeftOut = errors.New("left out")

// statePath returns where the state is kept, or "" if it is not kept.
func statePath(option string, getenv func(string) string) string {
	const name = "heartbeat.state"
	switch option {
	case "none":
		return ""
	case "":
		if dir, _, _ := strings.Cut(getenv("STATE_DIRECTORY"), ":"); dir != "" { // systemd gives a list
			return filepath.Join(dir, name)
		}
		return "/var/lib/telegraf/" + name
	}
	return option
}

// A stateFile keeps the state of this collector, and of no other one. Its
// methods may not be called concurrently.
type stateFile struct {
	path string
	lock *os.File
}

// openState takes the lock of path, which need not exist. It fails if another
// one has it, and if nothing could ever be saved there.
func openState(path string) (*stateFile, error) {
	f := &stateFile{path: path}
	if err := f.open(); err != nil {
		return nil, fmt.Errorf("using state file %q failed: %w", path, err)
	}
	return f, nil
}

func (f *stateFile) open() error {
	// Saving and setting aside would move what is there, be it /dev/null.
	if err := checkPlace(f.path); err != nil {
		return err
	}
	lock, err := openLock(f.path + ".lock")
	if err != nil {
		return err
	}
	f.lock = lock
	if err := f.tryToCreate(); err != nil {
		return cmp.Or(err, f.close())
	}
	return nil
}

// tryToCreate finds out whether files can be created there. It also removes
// what was being saved when a collector was killed.
func (f *stateFile) tryToCreate() error {
	temp, err := f.createTemp()
	switch {
	case noSpace(err): // there may be some later, and what was saved can be read now
		return nil
	case err != nil:
		return err
	}
	return cmp.Or(temp.Close(), os.Remove(temp.Name()))
}

// load returns what was saved last, or nothing if there is no file. A file
// that is bad, even in part, is set aside for a human to look at; then load
// returns nothing, and an error that says so.
func (f *stateFile) load() (state, error) {
	err := checkPlace(f.path)
	if err != nil {
		return state{}, fmt.Errorf("reading state from %q failed: %w", f.path, err)
	}
	s, err := readStateFile(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return state{}, nil
	case err != nil:
		return state{}, fmt.Errorf("reading state from %q failed: %w; %s", f.path, err, f.setAside())
	}
	return s, nil
}

// setAside makes place for another file and says what became of this one.
func (f *stateFile) setAside() string {
	aside := f.path + ".bad"
	if err := os.Rename(f.path, aside); err != nil {
		return fmt.Sprintf("setting it aside failed: %v", err)
	}
	return fmt.Sprintf("it is now %q", aside)
}

// save replaces what was saved before. If it fails, the old file stays as it
// is, unless the error is that the directory could not be synced: then the
// new one may be lost with the power. A peer that load would refuse is left
// out rather than spoil the whole file; an error says so, after the others
// were saved.
func (f *stateFile) save(at time.Time, peers iter.Seq[liveness.Record]) error {
	var leftOut error
	err := f.replace(func(w io.Writer) (err error) {
		leftOut, err = encodeState(w, at, peers)
		return err
	})
	switch {
	case err != nil:
		return fmt.Errorf("saving state to %q failed: %w", f.path, err)
	case leftOut != nil:
		return fmt.Errorf("saving state to %q %w %w", f.path, errLeftOut, leftOut)
	}
	return nil
}

// replace lets write fill a file and puts that in the place of the old one,
// so that there is a whole one at any time, even after a crash.
func (f *stateFile) replace(write func(io.Writer) error) error {
	temp, err := f.createTemp()
	if err != nil {
		return err
	}
	err = write(temp)
	if err == nil {
		err = temp.Sync() // or the name could outlive the contents
	}
	err = cmp.Or(err, temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), f.path)
	}
	if err != nil {
		os.Remove(temp.Name())
		return err
	}
	return syncDir(filepath.Dir(f.path))
}

// createTemp creates the file that is to become the new one. An old one is
// removed rather than written to: it might be a link, or another's.
func (f *stateFile) createTemp() (*os.File, error) {
	name := f.path + ".tmp"
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, stateMode)
}

// close releases the lock. The file of the lock stays: whoever removes it
// could remove the one that another has just locked.
func (f *stateFile) close() error {
	// Closing alone would not do while a child process that is being started
	// has its copy of the descriptor.
	return cmp.Or(unlock(f.lock), f.lock.Close())
}

// ReadState returns what a collector has saved, and when. It changes nothing
// and may be called while the collector runs.
func ReadState(path string) (saved time.Time, peers []liveness.Record, err error) {
	s, err := readStateFile(path)
	if err != nil {
		return time.Time{}, nil, fmt.Errorf("reading state from %q failed: %w", path, err)
	}
	return s.saved, s.peers, nil
}

func readStateFile(path string) (state, error) {
	file, err := openRegular(path, os.O_RDONLY)
	if err != nil {
		return state{}, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return state{}, err
	}
	if info.Size() > maxStateFile {
		return state{}, fmt.Errorf("it has %d bytes, allowed are %d", info.Size(), int64(maxStateFile))
	}
	return decodeState(file)
}

// errLocked is what tryLock returns if another one has the lock.
var errLocked = errors.New("locked")

// openLock opens a file and takes its lock, which ends with the process.
func openLock(path string) (*os.File, error) {
	lock, err := openRegular(path, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, err
	}
	if err := tryLock(lock); err != nil {
		if errors.Is(err, errLocked) {
			err = usedBy(lock)
		} else {
			err = fmt.Errorf("locking %q failed: %w", path, err)
		}
		lock.Close()
		return nil, err
	}
	// That serves only to tell others who it is, so failing to is no error.
	owner := strconv.Itoa(os.Getpid()) + "\n"
	if _, err := lock.WriteAt([]byte(owner), 0); err == nil {
		lock.Truncate(int64(len(owner))) //nolint:errcheck // as above
	}
	return lock, nil
}

// usedBy returns an error that says who has the lock.
func usedBy(lock *os.File) error {
	var text [20]byte
	n, _ := lock.ReadAt(text[:], 0) //nolint:errcheck // what is there may be short
	line, _, _ := strings.Cut(string(text[:n]), "\n")
	pid, err := strconv.ParseUint(line, 10, 32)
	switch {
	case err != nil:
		return errors.New("it is used by another process")
	case int(pid) == os.Getpid(): // or by one with this pid in another container
		return fmt.Errorf("it is used by another input (process %d)", pid)
	}
	return fmt.Errorf("it is used by another process (process %d)", pid)
}

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
	file, err := os.OpenFile(path, flag|openFlags, stateMode)
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
	return fmt.Errorf("%q is no regular file", path)
}
