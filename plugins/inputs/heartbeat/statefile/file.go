// Package statefile keeps what a collector knows of its peers on disk: a journal
// of changes that is made anew when it has grown long. Its file belongs to one
// collector at a time, and is whole again after a crash at any byte. It knows records of
// peers and when to save them; it never knows what makes them, sockets or metrics.
package statefile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

const (
	mode    = 0o640
	maxFile = 16 << 30 // bytes; a journal of a million peers needs a tenth of it

	// maxPending is how many bytes are written, and synced, at once.
	maxPending = 4 << 20

	// spare is how much of a file may be lines that hold no more, in bytes,
	// or as many as those that do, before it is made anew.
	spare = 128 << 10

	// quick is how large a file may be, in bytes, to be made anew in a moment.
	quick = 16 << 20
)

// A File is the state of this collector, and of no other one. Its methods may
// not be called concurrently.
type File struct {
	path string
	lock *os.File
	life uint64

	journal *os.File // nil until there is a good one
	size    int64    // of the journal, in bytes
	base    int64    // what of it was needed when it was read or made
	pending []byte   // to be written with what comes next
	writing *writing // what is being written meanwhile; nil if nothing is
	text    []byte   // what encode has written, which is written over each time

	next     *os.File // the journal that is being made
	nextSize int64
	nextErr  error // why there is none any more
}

// ErrLeftOut is in the error of a saving that has left out a peer, and has saved
// all others.
var ErrLeftOut = errors.New("left out")

// Open takes the file at path, which need not exist, and returns what is in it.
// It fails with a LockedError if another one has it, and if nothing can be read
// or saved there. What is no state file is set aside for a human to look at; State
// says so.
func Open(path string, now time.Time) (*File, State, error) {
	f, err := lock(path)
	if err != nil {
		return nil, State{}, err
	}
	c, err := f.load(context.Background())
	if err != nil {
		return nil, State{}, err
	}
	return f, c.whole(now), nil
}

// lock is Open without reading anything.
func lock(path string) (*File, error) {
	makeUsualDir(path)
	f := &File{path: path}
	if err := f.take(); err != nil {
		return nil, fmt.Errorf("cannot use state file %q: %w", path, err)
	}
	return f, nil
}

func (f *File) take() error {
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
		return cmp.Or(err, f.Close())
	}
	return nil
}

// load reads what is there and goes on behind it, unless ctx ends. If it fails, f is closed.
func (f *File) load(ctx context.Context) (*contents, error) {
	c, err := f.read(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot use state file %q: %w", f.path, cmp.Or(err, f.Close()))
	}
	return c, nil
}

func (f *File) read(ctx context.Context) (*contents, error) {
	f.life = 1
	c, err := readFile(ctx, f.path)
	var damaged *damagedError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return newContents(), nil
	case errors.As(err, &damaged):
		c = newContents()
		c.trouble = fmt.Errorf("cannot read it: %w; %s", err, f.setAside())
		return c, nil
	case err != nil:
		return nil, err
	}
	f.life = c.lastLife() + 1
	f.base = c.needed()
	if c.spoiled > 0 {
		f.keepCopy()
	}
	if !c.outdated && c.spoiled == 0 {
		f.resume(int64(len(header)) + c.size)
	}
	return c, nil
}

// resume goes on with the journal that is there, behind its last whole line. If
// that is not possible another one will take its place.
func (f *File) resume(size int64) {
	journal, err := openRegular(f.path, os.O_WRONLY|os.O_APPEND|os.O_SYNC)
	if err != nil {
		return
	}
	if err := journal.Truncate(size); err != nil {
		journal.Close()
		return
	}
	f.journal, f.size = journal, size
}

// tryToCreate finds out whether files can be created there. It also removes
// what was being saved when a collector was killed.
func (f *File) tryToCreate() error {
	temp, err := f.createTemp()
	switch {
	case noSpace(err): // there may be some later, and what was saved can be read now
		return nil
	case err != nil:
		return err
	}
	return cmp.Or(temp.Close(), os.Remove(temp.Name()))
}

// setAside makes place for another file and says what became of this one.
func (f *File) setAside() string {
	aside := f.path + ".bad"
	if err := os.Rename(f.path, aside); err != nil {
		return fmt.Sprintf("moving it aside failed: %v", err)
	}
	return fmt.Sprintf("moved it to %q", aside)
}

// keepCopy keeps a file of which a part could not be read, for a human to look
// at, when another one takes its place. Not every file system can do that.
func (f *File) keepCopy() {
	aside := f.path + ".bad"
	os.Remove(aside)
	os.Link(f.path, aside) //nolint:errcheck // as above
}

// Append adds to the journal. If it fails, the journal has to be made anew.
func (f *File) Append(c *liveness.Changes) error {
	var leftOut error
	f.text, leftOut = f.encode(f.text[:0], c)
	return cmp.Or(f.write(f.text, c.More), leftOut)
}

// write adds lines to the journal, together with others that follow. Those may be made while
// these are written: an error may be that of the write before.
func (f *File) write(text []byte, more bool) error {
	if f.next != nil {
		f.extend(text)
	}
	if f.journal == nil {
		return nil
	}
	if f.pending = append(f.pending, text...); more && len(f.pending) < maxPending {
		return nil
	}
	spare, err := f.written()
	if err != nil {
		return err
	}
	f.writing = writeBeside(f.journal, f.pending)
	if f.pending = spare; more {
		return nil
	}
	f.pending, err = f.written()
	return err
}

// written waits until what is being written is in the file, and returns its buffer.
func (f *File) written() (spare []byte, err error) {
	if f.writing == nil {
		return nil, nil
	}
	w := f.writing
	<-w.done
	f.writing = nil
	if f.size += int64(w.size); w.err != nil {
		f.drop()
		return nil, f.failed(w.err)
	}
	return w.text[:0], nil
}

// A writing is a write that goes on.
type writing struct {
	text []byte
	done chan struct{} // closed at its end; before that the rest is not to be read
	size int           // bytes that were written
	err  error
}

// writeBeside begins to write to a file. Text must not change until that is done.
func writeBeside(file *os.File, text []byte) *writing {
	w := &writing{text: text, done: make(chan struct{})}
	go func() { // ends with the write
		defer close(w.done)
		w.size, w.err = file.Write(text) // synced
	}()
	return w
}

// drop gives up the journal.
func (f *File) drop() {
	f.written() //nolint:errcheck // what becomes of it does not matter any more
	if f.journal != nil {
		f.journal.Close()
		f.journal, f.pending = nil, f.pending[:0]
	}
}

// Reset has the journal made anew.
func (f *File) Reset() {
	f.Abandon()
	if f.journal != nil {
		f.drop()
	}
}

// Outgrown reports whether the journal is to be made anew: there is none, or
// too much of it does not hold any more.
func (f *File) Outgrown() bool {
	return !f.Sound() || f.size-f.base > max(f.base, spare)
}

// Small reports whether making the journal anew takes no time.
func (f *File) Small() bool { return f.size < quick }

// Sound reports whether all that was appended is in the file.
func (f *File) Sound() bool { return f.journal != nil }

// Displaced reports whether what was appended is not at the path any more: somebody
// has removed the file, put another one there, or cut it short.
func (f *File) Displaced() bool {
	return f.Sound() && (!isAt(f.path, f.journal) || isShorter(f.journal, f.size))
}

// Begin starts another journal. Until Replace, Append adds to both. It fails with
// a LockedError if somebody has removed the lock's file and another one has the
// lock since.
func (f *File) Begin() error {
	if err := f.relock(); err != nil {
		return f.failed(err)
	}
	next, err := f.createTemp()
	if err != nil {
		return f.failed(err)
	}
	f.next, f.nextSize = next, 0
	f.extend([]byte(header))
	return f.failedNext()
}

// Add adds to the journal that was begun.
func (f *File) Add(c *liveness.Changes) error {
	if f.next == nil {
		return f.failedNext()
	}
	var leftOut error
	f.text, leftOut = f.encode(f.text[:0], c)
	f.extend(f.text)
	return cmp.Or(f.failedNext(), leftOut)
}

// extend writes to the journal that was begun. If that fails, there is none.
func (f *File) extend(text []byte) {
	n, err := f.next.Write(text)
	f.nextSize += int64(n)
	if err != nil {
		f.nextErr = err
		f.Abandon()
	}
}

func (f *File) failedNext() error {
	if f.next != nil {
		return nil
	}
	return f.failed(f.nextErr)
}

// Abandon gives up the journal that was begun.
func (f *File) Abandon() {
	if f.next != nil {
		f.next.Close()
		os.Remove(f.next.Name())
		f.next = nil
	}
}

// Replace puts the journal that was begun in the place of the old one, so that
// there is a whole one at any time, even after a crash. If it fails, the old one
// stays, unless the error is that the directory could not be synced: then the
// new one may be lost with the power.
func (f *File) Replace() error {
	if f.next == nil {
		return f.failedNext()
	}
	err := cmp.Or(f.next.Sync(), f.next.Close()) // or the name could outlive the contents
	if err == nil {
		err = f.exchange()
	}
	if err != nil {
		f.Abandon()
		return f.failed(err)
	}
	f.next = nil
	f.base = f.nextSize
	f.resume(f.nextSize)
	if err := syncDir(filepath.Dir(f.path)); err != nil {
		return f.failed(err)
	}
	return nil
}

// exchange gives the new journal the name of the old one. Windows does so only if
// that is not open.
func (f *File) exchange() error {
	sound := f.Sound()
	if sound {
		f.drop()
	}
	err := os.Rename(f.next.Name(), f.path)
	if err != nil && sound {
		f.resume(f.size)
	}
	return err
}

func (f *File) failed(err error) error {
	return fmt.Errorf("saving state to %q failed: %w", f.path, err)
}

// encode appends the lines of c to text. The error says which peers are not in them. It may
// be called concurrently.
func (f *File) encode(text []byte, c *liveness.Changes) ([]byte, error) {
	w := lineWriter{plainWriter{out: text}}
	var leftOut error
	refused := 0
	here := line{Life: f.life, Listened: c.Listened}
	for i := range c.Gone {
		gone := here
		gone.Gone = &c.Gone[i]
		w.add(&gone) //nolint:errcheck // an ID is short
	}
	for i := range c.Records {
		if err := w.addPeer(here, &c.Records[i]); err != nil {
			refused++
			leftOut = cmp.Or(leftOut, fmt.Errorf("%q: %w", c.Records[i].ID, err))
		}
	}
	here.At, here.End = c.At.UTC(), c.End
	w.add(&here) //nolint:errcheck // a mark is short
	if leftOut != nil {
		leftOut = fmt.Errorf("saving state to %q %w %d peers, the first is %w", f.path, ErrLeftOut, refused, leftOut)
	}
	return w.out, leftOut
}

// createTemp creates the file that is to become the new one. An old one is
// removed rather than written to: it might be a link, or another's.
func (f *File) createTemp() (*os.File, error) {
	name := f.path + ".tmp"
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	temp, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err == nil {
		giveAway(temp, f.path)
	}
	return temp, err
}

// relock takes the lock again if its file was removed: whoever opens the one that
// is there now would not be refused.
func (f *File) relock() error {
	path := f.path + ".lock"
	if isAt(path, f.lock) {
		return nil
	}
	lock, err := openLock(path)
	if err != nil {
		return err
	}
	f.lock.Close()
	f.lock = lock
	return nil
}

// Close lets another collector have the file. The lock's file stays: whoever
// removes it could remove the one that another has just locked.
func (f *File) Close() error {
	f.Reset()
	// Closing alone would not do while a child process that is being started
	// has its copy of the descriptor.
	return cmp.Or(unlock(f.lock), f.lock.Close())
}

// Read returns what collectors have saved. It changes nothing and may be called
// while one runs.
func Read(path string, now time.Time) (State, error) {
	c, err := readFile(context.Background(), path)
	if err != nil {
		return State{}, fmt.Errorf("reading state from %q failed: %w", path, err)
	}
	return c.whole(now), nil
}

// A damagedError says that a file holds no state, though it could be read.
type damagedError struct{ error }

func (e *damagedError) Unwrap() error { return e.error }

// readFile reads a file, unless ctx ends.
func readFile(ctx context.Context, path string) (*contents, error) {
	file, err := openRegular(path, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, &damagedError{fmt.Errorf("it has %d bytes, the limit is %d", info.Size(), int64(maxFile))}
	}
	c, err := readContents(&untilReader{ctx, file})
	var failed *fs.PathError // the disk, not what is on it
	if err != nil && !errors.As(err, &failed) && ctx.Err() == nil {
		err = &damagedError{err}
	}
	return c, err
}

// An untilReader reads until its context ends.
type untilReader struct {
	ctx context.Context
	io.Reader
}

func (r *untilReader) Read(text []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(text)
}
