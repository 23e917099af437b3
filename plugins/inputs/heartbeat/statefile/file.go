// Package statefile saves the records of a collector's peers in a journal of changes. When the
// journal has grown long, it is rewritten. Only one collector at a time can use a state file. A
// crash at any time leaves a usable file. The package knows records of peers and when to save them.
// It does not know where the records come from, and knows nothing about sockets or metrics.
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
	maxFile = 16 << 30 // bytes; a journal of a million peers needs a tenth of that

	// maxPending is how many bytes of lines are collected before they are written and synced at once.
	maxPending = 4 << 20

	// maxOutdated is how many bytes of outdated lines a file may have before it is rewritten. A large
	// file may have more: as many bytes of outdated lines as of current lines.
	maxOutdated = 128 << 10

	// smallSize is the size in bytes below which a file can be rewritten within a moment.
	smallSize = 16 << 20
)

// A File is the state file of this collector. It is locked, so that no other collector can use it.
// Its methods must not be called concurrently.
type File struct {
	path string
	lock *os.File
	life uint64

	journal      *os.File      // nil until there is a valid one
	size         int64         // of the journal, in bytes
	base         int64         // how many bytes of the journal were current lines when it was read or rewritten
	pending      []byte        // lines to be written together with the next ones
	pendingWrite *pendingWrite // the write in progress; nil for none
	text         []byte        // the buffer of encode, reused each time

	next     *os.File // the new journal while rewriting
	nextSize int64
	nextErr  error // why writing it was given up
}

// ErrLeftOut means that a save left out some peers, and saved all others.
var ErrLeftOut = errors.New("left out")

// Open locks the file at path, which need not exist, and returns the saved state. It returns a
// LockedError if another collector uses the file, and other errors if the file cannot be read or
// written. If the file is not a state file, Open moves it aside and says so in State.Trouble.
func Open(path string, now time.Time) (*File, State, error) {
	f, err := lock(path)
	if err != nil {
		return nil, State{}, err
	}
	c, err := f.load(context.Background())
	if err != nil {
		return nil, State{}, err
	}
	return f, c.fullState(now), nil
}

// lock is like Open, but does not read the file.
func lock(path string) (*File, error) {
	makeDefaultDir(path)
	f := &File{path: path}
	if err := f.acquire(); err != nil {
		return nil, fmt.Errorf("cannot use state file %q: %w", path, err)
	}
	return f, nil
}

func (f *File) acquire() error {
	// Without this check, saving or moving the file aside would replace any file at the path, even
	// /dev/null.
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

// load reads the file and prepares to append to it. It stops when ctx ends. If it fails, it closes
// f.
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
		c.trouble = fmt.Errorf("cannot read it: %w; %s", err, f.moveAside())
		return c, nil
	case err != nil:
		return nil, err
	}
	f.life = c.lastLife() + 1
	f.base = c.currentBytes()
	if c.unreadable > 0 {
		f.keepCopy()
	}
	if !c.outdated && c.unreadable == 0 {
		f.reopen(int64(len(header)) + c.size)
	}
	return c, nil
}

// reopen opens the existing journal and truncates it to the given size, so that new lines follow
// its last complete line. If that fails, the journal will be rewritten.
func (f *File) reopen(size int64) {
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

// tryToCreate checks that files can be created in the directory. It also removes a temporary file
// that a killed collector has left.
func (f *File) tryToCreate() error {
	temp, err := f.createTemp()
	switch {
	case isDiskFull(err): // the saved state can still be read, and there may be space later
		return nil
	case err != nil:
		return err
	}
	return cmp.Or(temp.Close(), os.Remove(temp.Name()))
}

// moveAside renames a file that is not a state file, and returns text that says what its new name
// is.
func (f *File) moveAside() string {
	aside := f.path + ".bad"
	if err := os.Rename(f.path, aside); err != nil {
		return fmt.Sprintf("moving it aside failed: %v", err)
	}
	return fmt.Sprintf("moved it to %q", aside)
}

// keepCopy keeps a partly unreadable file, so that it can be inspected after it is rewritten. Not
// every file system supports that.
func (f *File) keepCopy() {
	aside := f.path + ".bad"
	os.Remove(aside)
	os.Link(f.path, aside) //nolint:errcheck // as above
}

// Append appends changes to the journal. If Append fails, the journal must be rewritten.
func (f *File) Append(c *liveness.Changes) error {
	var leftOut error
	f.text, leftOut = f.encode(f.text[:0], c)
	return cmp.Or(f.write(f.text, c.More), leftOut)
}

// write appends lines to the journal. If more is set, it may return before they are written, so
// that the caller can encode more lines meanwhile. In that case, a later call returns the error of
// the write.
func (f *File) write(text []byte, more bool) error {
	if f.next != nil {
		f.writeNext(text)
	}
	if f.journal == nil {
		return nil
	}
	if f.pending = append(f.pending, text...); more && len(f.pending) < maxPending {
		return nil
	}
	spare, err := f.awaitWrite()
	if err != nil {
		return err
	}
	f.pendingWrite = startWrite(f.journal, f.pending)
	if f.pending = spare; more {
		return nil
	}
	f.pending, err = f.awaitWrite()
	return err
}

// awaitWrite waits for the write in progress, and returns its buffer, which can be used again.
func (f *File) awaitWrite() (spare []byte, err error) {
	if f.pendingWrite == nil {
		return nil, nil
	}
	w := f.pendingWrite
	<-w.done
	f.pendingWrite = nil
	if f.size += int64(w.size); w.err != nil {
		f.closeJournal()
		return nil, f.saveError(w.err)
	}
	return w.text[:0], nil
}

// A pendingWrite is a write in progress.
type pendingWrite struct {
	text []byte
	done chan struct{} // closed when the write is done; read the fields below only after that
	size int           // bytes written
	err  error
}

// startWrite starts writing text to a file. The text must not change until the write is done.
func startWrite(file *os.File, text []byte) *pendingWrite {
	w := &pendingWrite{text: text, done: make(chan struct{})}
	go func() { // ends with the write
		defer close(w.done)
		w.size, w.err = file.Write(text) // synced
	}()
	return w
}

// closeJournal waits for the write in progress, and closes the journal.
func (f *File) closeJournal() {
	f.awaitWrite() //nolint:errcheck // its result no longer matters
	if f.journal != nil {
		f.journal.Close()
		f.journal, f.pending = nil, f.pending[:0]
	}
}

// Reset closes the journal, so that it will be rewritten.
func (f *File) Reset() {
	f.Abandon()
	if f.journal != nil {
		f.closeJournal()
	}
}

// Outgrown reports whether the journal must be rewritten: there is no valid journal, or too many
// of its lines are outdated.
func (f *File) Outgrown() bool {
	return !f.Sound() || f.size-f.base > max(f.base, maxOutdated)
}

// Small reports whether the journal can be rewritten within a moment.
func (f *File) Small() bool { return f.size < smallSize }

// Sound reports whether the file has everything that was appended.
func (f *File) Sound() bool { return f.journal != nil }

// Displaced reports whether the file at the path was removed, replaced or truncated, and is no
// longer the complete journal.
func (f *File) Displaced() bool {
	return f.Sound() && (!isAt(f.path, f.journal) || isShorter(f.journal, f.size))
}

// Begin starts a new journal. Until Replace is called, Append writes to both journals. Begin
// returns a LockedError if the lock file was removed and another collector has the lock now.
func (f *File) Begin() error {
	if err := f.relock(); err != nil {
		return f.saveError(err)
	}
	next, err := f.createTemp()
	if err != nil {
		return f.saveError(err)
	}
	f.next, f.nextSize = next, 0
	f.writeNext([]byte(header))
	return f.nextError()
}

// Add adds changes to the new journal.
func (f *File) Add(c *liveness.Changes) error {
	if f.next == nil {
		return f.nextError()
	}
	var leftOut error
	f.text, leftOut = f.encode(f.text[:0], c)
	f.writeNext(f.text)
	return cmp.Or(f.nextError(), leftOut)
}

// writeNext writes text to the new journal. If that fails, it gives up the new journal.
func (f *File) writeNext(text []byte) {
	n, err := f.next.Write(text)
	f.nextSize += int64(n)
	if err != nil {
		f.nextErr = err
		f.Abandon()
	}
}

func (f *File) nextError() error {
	if f.next != nil {
		return nil
	}
	return f.saveError(f.nextErr)
}

// Abandon gives up the new journal and removes its file.
func (f *File) Abandon() {
	if f.next != nil {
		f.next.Close()
		os.Remove(f.next.Name())
		f.next = nil
	}
}

// Replace puts the new journal in the place of the old one. This is atomic: after a crash, one of
// the two exists. If Replace fails, the old journal stays. There is one exception: if the directory
// could not be synced, the new journal is in place, but a power failure may lose it.
func (f *File) Replace() error {
	if f.next == nil {
		return f.nextError()
	}
	err := cmp.Or(f.next.Sync(), f.next.Close()) // before the rename, so that the name never has incomplete contents
	if err == nil {
		err = f.renameNext()
	}
	if err != nil {
		f.Abandon()
		return f.saveError(err)
	}
	f.next = nil
	f.base = f.nextSize
	f.reopen(f.nextSize)
	if err := syncDir(filepath.Dir(f.path)); err != nil {
		return f.saveError(err)
	}
	return nil
}

// renameNext renames the new journal to the path of the old one. It closes the old one first,
// because Windows requires that.
func (f *File) renameNext() error {
	sound := f.Sound()
	if sound {
		f.closeJournal()
	}
	err := os.Rename(f.next.Name(), f.path)
	if err != nil && sound {
		f.reopen(f.size)
	}
	return err
}

func (f *File) saveError(err error) error {
	return fmt.Errorf("saving state to %q failed: %w", f.path, err)
}

// encode appends the lines of c to text. If it leaves out peers, it returns an error with their
// number and the name of the first one. It may be called concurrently.
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

// createTemp creates the temporary file for the new journal. If the file exists, it is removed
// instead of reused, because it might be a link or belong to another user.
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

// relock creates and locks a new lock file if the old one was removed. Otherwise another collector
// could do that and use the same state file.
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

// Close closes and unlocks the file. It does not remove the lock file, because another collector
// may just have locked it.
func (f *File) Close() error {
	f.Reset()
	// Closing the lock file is not enough to unlock it: a child process that is just being started may
	// still have a copy of the descriptor.
	return cmp.Or(unlock(f.lock), f.lock.Close())
}

// Read returns the saved state. It does not change the file, and may be called while a collector is
// running.
func Read(path string, now time.Time) (State, error) {
	c, err := readFile(context.Background(), path)
	if err != nil {
		return State{}, fmt.Errorf("reading state from %q failed: %w", path, err)
	}
	return c.fullState(now), nil
}

// A damagedError means that a file can be read but has no valid state.
type damagedError struct{ error }

func (e *damagedError) Unwrap() error { return e.error }

// readFile reads a state file. It stops when ctx ends.
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
	c, err := readContents(&contextReader{ctx, file})
	var failed *fs.PathError // an error of the file system, not of the contents
	if err != nil && !errors.As(err, &failed) && ctx.Err() == nil {
		err = &damagedError{err}
	}
	return c, err
}

// A contextReader is a reader that fails after its context has ended.
type contextReader struct {
	ctx context.Context
	io.Reader
}

func (r *contextReader) Read(text []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(text)
}
