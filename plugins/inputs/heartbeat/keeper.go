package heartbeat

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/influxdata/telegraf"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/statefile"
)

const (
	// flushPause is how soon changes are saved after those before.
	flushPause = 200 * time.Millisecond
	// firstPace is when a collector first notes for how long it has listened.
	// After that it does so whenever that is twice as long, so that one that is
	// killed again and again loses at most half of it, and at its pace at last.
	firstPace = 500 * time.Millisecond
	// renewShare is how many times longer than making the file anew took the
	// next time is waited for: it costs at most that part of time and disk.
	renewShare = 100
	renewPause = time.Second
	// lookPause is how often the file is looked for where it was.
	lookPause = time.Second

	// lockPatience is how long a start waits for a predecessor to end.
	lockPatience = 3 * time.Second
	lockPause    = 50 * time.Millisecond
	// openPause is how soon a file that could not be had is asked for again.
	openPause = 10 * time.Second
)

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

// A keeper saves what the intake knows, so that the next collector can go on
// from there. Without a path it keeps nothing.
type keeper struct {
	path string
	log  telegraf.Logger
	in   *intake

	file     *statefile.File // nil while there is none
	said     string          // what was said last of the file that there is none of
	opened   time.Time       // when the file was last asked for
	epoch    time.Duration   // on the verdict clock: when it was had
	marked   time.Duration   // likewise: what the file says of it
	renewing time.Time       // before, the file is not made anew
	looked   time.Time       // when the file was last looked for
	failed   rarely
	moved    rarely

	saved atomic.Int64 // unix ns: until when all was saved; 0 before the first time
	works atomic.Bool  // the last saving did
}

func newKeeper(path string, in *intake, log telegraf.Logger) *keeper {
	return &keeper{path: path, in: in, log: log}
}

// open takes the file and lets the intake go on from what is in it. It fails
// only if another process has the file: that one is the collector here, or was
// and is about to end, for which open waits. Whatever else is wrong with the file
// costs what it holds.
func (k *keeper) open(now time.Time) error {
	if k.path == "" {
		return nil
	}
	err := k.tryOpen(now)
	for limit := now.Add(lockPatience); heldByAnother(err) && time.Now().Before(limit); {
		time.Sleep(lockPause)
		err = k.tryOpen(time.Now())
	}
	if heldByAnother(err) {
		return fmt.Errorf("%w%s", err, heldRemedy)
	}
	k.complain(err)
	return nil
}

const heldRemedy = ". Stop that one, or set 'state_file' to another file"

func heldByAnother(err error) bool {
	var locked *statefile.LockedError
	return errors.As(err, &locked) && !locked.Own()
}

func (k *keeper) tryOpen(now time.Time) error {
	k.opened = now
	file, state, err := statefile.Open(k.path, now)
	if err != nil {
		return err
	}
	k.file, k.said = file, ""
	k.works.Store(true)
	if state.Trouble != nil {
		k.log.Warnf("State file %q: %v", k.path, state.Trouble)
	}
	k.epoch = k.in.restore(&state, now)
	k.marked = k.epoch
	if len(state.Peers) > 0 {
		k.log.Infof("Restored %d peers from the state file %q, last written %s ago",
			len(state.Peers), k.path, max(now.Sub(state.Last), 0).Round(time.Second))
	}
	return nil
}

// complain says why there is no memory, and what to do, unless it was the last
// thing said.
func (k *keeper) complain(err error) {
	if err == nil || err.Error() == k.said {
		return
	}
	k.said = err.Error()
	k.log.Warnf("State will not survive a restart: %v%s", err, remedy(err))
}

// remedy returns what to do about a file that could not be used.
func remedy(err error) string {
	var at *fs.PathError
	var locked *statefile.LockedError
	switch {
	case errors.As(err, &locked) && locked.Own():
		return ". Set 'state_file' of one of them to another file"
	case errors.As(err, &locked):
		return ". Is the block there twice?"
	case errors.Is(err, fs.ErrPermission) && errors.As(err, &at):
		return ". Run: chown " + userName() + " " + existing(at.Path)
	case errors.Is(err, fs.ErrNotExist) && errors.As(err, &at):
		return ". Run: install -d -o " + userName() + " " + filepath.Dir(at.Path)
	}
	return ". Set 'state_file' to a file that can be written, or to \"none\""
}

// existing returns path, or the directory if there is nothing at path yet.
func existing(path string) string {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return filepath.Dir(path)
	}
	return path
}

func userName() string {
	id := strconv.Itoa(os.Geteuid())
	if known, err := user.LookupId(id); err == nil {
		return known.Username
	}
	return id
}

// keep saves until ctx ends, and then once more.
func (k *keeper) keep(ctx context.Context) {
	timer := time.NewTimer(flushPause)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			k.contained("saving", k.finish)
			return
		case <-timer.C:
			k.contained("saving", func() { k.step(time.Now()) })
			timer.Reset(flushPause)
		}
	}
}

// contained calls save. If that panics, the file is made anew.
func (k *keeper) contained(what string, save func()) {
	if !k.in.contained(what, save) {
		k.works.Store(false)
		if k.file != nil {
			k.file.Reset()
		}
	}
}

// step saves what has changed.
func (k *keeper) step(now time.Time) {
	if k.file == nil {
		k.in.dropUnsaved()
		if k.path == "" || now.Sub(k.opened) < openPause {
			return
		}
		if err := k.tryOpen(now); err != nil {
			k.complain(err)
			return
		}
		k.file.Reset() // who was heard meanwhile is noted nowhere
	}
	if now.Sub(k.looked) >= lookPause {
		k.lookFor(now)
	}
	if k.in.anew.Swap(false) {
		k.file.Reset()
	}
	err := k.flush(false)
	if k.file.Outgrown() && !now.Before(k.renewing) {
		err = k.renew()
		took := time.Since(now)
		k.renewing = time.Now().Add(max(renewPause, renewShare*took))
	}
	k.note(err)
}

// lookFor looks whether the file is still where the next collector will look for
// it. If not, another one is made.
func (k *keeper) lookFor(now time.Time) {
	k.looked = now
	if !k.file.Displaced() {
		return
	}
	k.file.Reset()
	if more, ok := k.moved.allow(now); ok {
		k.log.Warnf("State file %q was removed, or another one took its place while it was in use. It is made anew with all that is known%s", k.path, more)
	}
}

// note says what became of a saving.
func (k *keeper) note(err error) {
	now := time.Now()
	if err != nil {
		if more, ok := k.failed.allow(now); ok {
			k.log.Errorf("%v%s", err, more)
		}
	}
	works := (err == nil || errors.Is(err, statefile.ErrLeftOut)) && k.file.Sound()
	k.works.Store(works)
	if works {
		k.saved.Store(now.UnixNano())
	}
}

// flush adds to the file what has changed, or for how long was listened. If more
// follows at once, it is written with that.
func (k *keeper) flush(follows bool) error {
	var failed error
	for more := true; more; {
		batch := k.in.unsaved()
		if more = batch.More; len(batch.Peers)+len(batch.Gone) == 0 && !k.markDue(batch.Listened) {
			break
		}
		k.marked = batch.Listened
		batch.Listened -= k.epoch
		batch.More = more || follows
		failed = errors.Join(failed, k.file.Append(&batch))
	}
	return failed
}

// markDue reports whether the file is to tell that the collector has listened
// until now.
func (k *keeper) markDue(listened time.Duration) bool {
	pace := min(max(firstPace, k.marked-k.epoch), k.in.pace())
	return listened-k.marked >= pace
}

// renew makes the file anew. It looks at a part of the peers at a time, so that
// beats and verdicts go on, and meanwhile saves what changes.
func (k *keeper) renew() error {
	if err := k.file.Begin(); err != nil {
		return err
	}
	var failed error
	flushed := time.Now()
	for next := k.in.count(); next > 0; {
		var batch statefile.Batch
		batch, next = k.in.recordChunk(next, false)
		batch.Listened -= k.epoch
		failed = errors.Join(failed, k.file.Add(&batch))
		if time.Since(flushed) >= flushPause {
			failed = errors.Join(failed, k.flush(false))
			flushed = time.Now()
		}
	}
	if failed != nil && !errors.Is(failed, statefile.ErrLeftOut) {
		k.file.Abandon()
		return failed
	}
	return errors.Join(failed, k.file.Replace())
}

// finish saves all that a record says more exactly at the end of a collector,
// and lets another one have the file.
func (k *keeper) finish() {
	if k.file == nil {
		return
	}
	k.lookFor(time.Now())
	err := k.flush(true)
	if k.file.Outgrown() { // a life may be too short for it to have been seen to
		err = k.renew()
	}
	for next := k.in.count(); next > 0; {
		var batch statefile.Batch
		batch, next = k.in.recordChunk(next, true)
		batch.Listened -= k.epoch
		batch.More = true
		err = errors.Join(err, k.file.Append(&batch))
	}
	now := time.Now()
	err = errors.Join(err, k.file.Append(&statefile.Batch{At: now, Listened: k.in.listened(now) - k.epoch, End: true}))
	k.note(err)
}

// close lets another collector have the file.
func (k *keeper) close() {
	if k.file == nil {
		return
	}
	if err := k.file.Close(); err != nil {
		k.log.Warnf("Unlocking the state file failed: %v", err)
	}
	k.file = nil
}

// A memory is how it stands with what is saved.
type memory struct {
	wanted bool          // there is to be a state file
	works  bool          // all that has changed was saved
	saved  bool          // it was at some time
	age    time.Duration // since then
}

func (k *keeper) health(now time.Time) memory {
	saved := k.saved.Load()
	return memory{
		wanted: k.path != "", works: k.works.Load(),
		saved: saved > 0, age: max(now.Sub(time.Unix(0, saved)), 0),
	}
}

// restore lets the tracker go on from a state, and returns the verdict clock.
func (in *intake) restore(state *statefile.State, now time.Time) time.Duration {
	for some := range slices.Chunk(state.Peers, portion) {
		in.restoreSome(some, state.Saved, now)
	}
	return in.listened(now)
}

func (in *intake) restoreSome(records []liveness.Record, saved, now time.Time) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for i := range records {
		in.tell(in.tracker.Restore(&records[i], saved, now))
	}
}

// unsaved takes a part of what has changed.
func (in *intake) unsaved() statefile.Batch {
	in.mu.Lock()
	defer in.mu.Unlock()
	b := statefile.Batch{At: time.Now()}
	b.Listened = in.listenedBefore + in.tracker.Listened(b.At)
	b.Peers, b.Gone = in.tracker.TakeUnsaved(nil, portion, b.At)
	b.More = in.tracker.Unsaved() > 0
	return b
}

// dropUnsaved forgets what has changed: there is no file to save it in.
func (in *intake) dropUnsaved() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.tracker.DropUnsaved()
}

func (in *intake) listened(now time.Time) time.Duration {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.listenedBefore + in.tracker.Listened(now)
}

// pace returns how often to note for how long was listened.
func (in *intake) pace() time.Duration {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.tracker.Pace()
}

// recordChunk returns the records of peers below number next, and where to go
// on. It goes from the end, as emitPeers does. At the end of a collector only
// those are left whose record cannot be told from the one saved before.
func (in *intake) recordChunk(next int, atEnd bool) (statefile.Batch, int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	b := statefile.Batch{At: time.Now()}
	b.Listened = in.listenedBefore + in.tracker.Listened(b.At)
	next = min(next, in.tracker.Len())
	for count := 0; count < portion && next > 0; count++ {
		next--
		switch {
		case !atEnd:
			b.Peers = append(b.Peers, in.tracker.RunningRecord(next, b.At))
		case in.tracker.Heard(next):
			b.Peers = append(b.Peers, in.tracker.Record(next, b.At))
		}
	}
	return b, next
}
