// Package statefile saves what a collector knows of its peers: in a journal of changes, which is
// rewritten when it has grown long. Only one collector at a time uses a state file, and a crash
// at any byte leaves a usable file. The package knows records of peers and when to save them. It
// does not know where they come from, and no sockets or metrics.
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

	// maxPending is how many bytes are written and synced at once.
	maxPending = 4 << 20

	// maxOutdated is how many bytes of outdated lines a file may have before it is rewritten, or as many
	// as it has current ones if that is more.
	maxOutdated = 128 << 10

	// smallSize is the size in bytes up to which a file is rewritten in a moment.
	smallSize = 16 << 20
)

// A File is the state file of this collector, locked against others. Its methods must not be
// called concurrently.
type File struct {
	path string
	lock *os.File
	life uint64

	journal      *os.File      // nil until there is a valid one
	size         int64         // of the journal, in bytes
	base         int64         // bytes of current lines when it was read or written
	pending      []byte        // to be written together with what follows
	pendingWrite *pendingWrite // the write in progress; nil for none
	text         []byte        // the buffer of encode, reused each time

	next     *os.File // the new journal while rewriting
	nextSize int64
	nextErr  error // why it was given up
}

// ErrLeftOut is wrapped in the error of a save that left out some peers and saved all others.
var ErrLeftOut = errors.New("left out")

// Open locks the file at path, which need not exist, and returns its state. It fails with a
// LockedError if another collector has the file, and with other errors if the file cannot be
// read or written. A file that is not a state file is moved aside; State.Trouble says so.
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

// lock is Open without reading.
func lock(path string) (*File, error) {
	makeDefaultDir(path)
	f := &File{path: path}
	if err := f.acquire(); err != nil {
		return nil, fmt.Errorf("cannot use state file %q: %w", path, err)
	}
	return f, nil
}

func (f *File) acquire() error {
	// Saving and moving aside would move whatever is there, even /dev/null.
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

// load reads the file, unless ctx ends, and prepares to append to it. If it fails, f is closed.
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
	f.base = c.currentBytes()
	if c.unreadable > 0 {
		f.keepCopy()
	}
	if !c.outdated && c.unreadable == 0 {
		f.resume(int64(len(header)) + c.size)
	}
	return c, nil
}

// resume opens the existing journal to append after its last whole line. If that fails, the
// journal will be rewritten.
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

// tryToCreate checks that files can be created there. It also removes a temporary file left by a
// collector that was killed.
func (f *File) tryToCreate() error {
	temp, err := f.createTemp()
	switch {
	case noSpace(err): // there may be space later, and the saved state can be read now
		return nil
	case err != nil:
		return err
	}
	return cmp.Or(temp.Close(), os.Remove(temp.Name()))
}

// setAside moves the file away and returns text that says where to.
func (f *File) setAside() string {
	aside := f.path + ".bad"
	if err := os.Rename(f.path, aside); err != nil {
		return fmt.Sprintf("moving it aside failed: %v", err)
	}
	return fmt.Sprintf("moved it to %q", aside)
}

// keepCopy keeps a partly unreadable file for inspection after it is rewritten. Not every file
// system supports that.
func (f *File) keepCopy() {
	aside := f.path + ".bad"
	os.Remove(aside)
	os.Link(f.path, aside) //nolint:errcheck // as above
}

// Append appends changes to the journal. If it fails, the journal must be rewritten.
func (f *File) Append(c *liveness.Changes) error {
	var leftOut error
	f.text, leftOut = f.encode(f.text[:0], c)
	return cmp.Or(f.write(f.text, c.More), leftOut)
}

// write appends lines to the journal. If more is set, it may return before they are written, so
// that the caller can encode more lines meanwhile. An error may be that of an earlier write.
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

// awaitWrite waits for the write in progress, and returns its buffer.
func (f *File) awaitWrite() (spare []byte, err error) {
	if f.pendingWrite == nil {
		return nil, nil
	}
	w := f.pendingWrite
	<-w.done
	f.pendingWrite = nil
	if f.size += int64(w.size); w.err != nil {
		f.closeJournal()
		return nil, f.failed(w.err)
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

// startWrite starts writing to a file. Text must not change until that is done.
func startWrite(file *os.File, text []byte) *pendingWrite {
	w := &pendingWrite{text: text, done: make(chan struct{})}
	go func() { // ends with the write
		defer close(w.done)
		w.size, w.err = file.Write(text) // synced
	}()
	return w
}

// closeJournal closes the journal.
func (f *File) closeJournal() {
	f.awaitWrite() //nolint:errcheck // its result no longer matters
	if f.journal != nil {
		f.journal.Close()
		f.journal, f.pending = nil, f.pending[:0]
	}
}

// Reset gives up the journal, so that it is rewritten.
func (f *File) Reset() {
	f.Abandon()
	if f.journal != nil {
		f.closeJournal()
	}
}

// Outgrown reports whether the journal must be rewritten: there is none, or too much of it is
// outdated.
func (f *File) Outgrown() bool {
	return !f.Sound() || f.size-f.base > max(f.base, maxOutdated)
}

// Small reports whether the journal can be rewritten in a moment.
func (f *File) Small() bool { return f.size < smallSize }

// Sound reports whether everything appended is in the file.
func (f *File) Sound() bool { return f.journal != nil }

// Displaced reports whether the journal is no longer whole at its path: the file was removed,
// replaced or truncated.
func (f *File) Displaced() bool {
	return f.Sound() && (!isAt(f.path, f.journal) || isShorter(f.journal, f.size))
}

// Begin starts a new journal. Until Replace, Append writes to both. It fails with a LockedError
// if the lock file was removed and another collector has the lock now.
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

// Add adds changes to the new journal.
func (f *File) Add(c *liveness.Changes) error {
	if f.next == nil {
		return f.failedNext()
	}
	var leftOut error
	f.text, leftOut = f.encode(f.text[:0], c)
	f.extend(f.text)
	return cmp.Or(f.failedNext(), leftOut)
}

// extend writes to the new journal. If that fails, it gives the journal up.
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

// Abandon gives up the new journal.
func (f *File) Abandon() {
	if f.next != nil {
		f.next.Close()
		os.Remove(f.next.Name())
		f.next = nil
	}
}

// Replace replaces the old journal with the new one atomically, so that a crash leaves one or the
// other. If it fails, the old one stays, unless the error is that the directory could not be
// synced: then a power failure may lose the new one.
func (f *File) Replace() error {
	if f.next == nil {
		return f.failedNext()
	}
	err := cmp.Or(f.next.Sync(), f.next.Close()) // before the rename, so that the name never has incomplete contents
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

// exchange renames the new journal to the path of the old one. On Windows that works only if the
// old one is closed.
func (f *File) exchange() error {
	sound := f.Sound()
	if sound {
		f.closeJournal()
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

// encode appends the lines of c to text. The error names the peers left out. It may be called
// concurrently.
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

// createTemp creates the temporary file of the new journal. It removes an existing one instead of
// writing to it: that might be a link, or belong to another user.
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

// relock takes the lock again if the lock file was removed: another collector could otherwise
// lock the new lock file.
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

// Close releases the file. It leaves the lock file in place: removing it could remove one that
// another collector has just locked.
func (f *File) Close() error {
	f.Reset()
	// Closing alone does not unlock while a child process that is being started still has a copy of
	// the descriptor.
	return cmp.Or(unlock(f.lock), f.lock.Close())
}

// Read returns the saved state. It changes nothing, and may be called while a collector runs.
func Read(path string, now time.Time) (State, error) {
	c, err := readFile(context.Background(), path)
	if err != nil {
		return State{}, fmt.Errorf("reading state from %q failed: %w", path, err)
	}
	return c.fullState(now), nil
}

// A damagedError is the error about a readable file without a valid state.
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
	c, err := readContents(&contextReader{ctx, file})
	var failed *fs.PathError // an error of the disk, not of the contents
	if err != nil && !errors.As(err, &failed) && ctx.Err() == nil {
		err = &damagedError{err}
	}
	return c, err
}

// An contextReader reads until its context ends.
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
