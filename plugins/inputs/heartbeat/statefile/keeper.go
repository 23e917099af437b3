package statefile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/loglimit"
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

// Path returns where the state is kept by an option and the environment, or "" if it
// is not kept.
func Path(option string, getenv func(string) string) string {
	const name = "heartbeat.state"
	switch option {
	case "none":
		return ""
	case "":
		if dirs := filepath.SplitList(getenv("STATE_DIRECTORY")); len(dirs) > 0 && dirs[0] != "" { // systemd gives a list
			return filepath.Join(dirs[0], name)
		}
		return filepath.Join(usualDir(getenv), name)
	}
	return option
}

// Peers are what is saved: of a running collector, which goes on meanwhile.
type Peers interface {
	// Restore goes on from records that were saved at an instant.
	Restore(records []liveness.Record, saved, now time.Time)
	// Unsaved takes a part of what has changed, and appends the records to those given.
	Unsaved(records []liveness.Record) liveness.Changes
	// DropUnsaved takes all that has changed, as it is going to be saved anew.
	DropUnsaved()
	// Count returns how many peers there are.
	Count() int
	// Records appends the records of some peers below number next to those given, and
	// returns where to go on; at the end only what Unsaved left out.
	Records(records []liveness.Record, next int, atEnd bool) (liveness.Changes, int)
	// Listened returns for how long was listened.
	Listened(now time.Time) time.Duration
	// Pace returns how often to note that.
	Pace() time.Duration
	// Anew reports whether all is to be saved again.
	Anew() bool
	// Contained calls do. If do panics, that is reported, and Contained returns false.
	Contained(what string, do func()) bool
}

// Logger is what a Keeper says.
type Logger interface {
	// Infof says what was restored.
	Infof(format string, args ...any)
	// Warnf says what keeps the state from being saved.
	Warnf(format string, args ...any)
	// Errorf says what was lost.
	Errorf(format string, args ...any)
}

// A Keeper saves peers, so that the next collector can go on from there. Without a
// path it keeps nothing. Open, Keep and Close are called in this order; Health may be
// called at any time.
type Keeper struct {
	path  string
	log   Logger
	peers Peers

	file     *File             // nil while there is none
	said     string            // what was said last of the file that there is none of
	opened   time.Time         // when the file was last asked for
	epoch    time.Duration     // on the verdict clock: when it was had
	marked   time.Duration     // likewise: what the file says of it
	renewing time.Time         // before, the file is not made anew
	records  []liveness.Record // what was saved last, which is written over each time
	looked   time.Time         // when the file was last looked for
	failed   loglimit.Limiter
	moved    loglimit.Limiter

	saved atomic.Int64 // unix ns: until when all was saved; 0 before the first time
	works atomic.Bool  // the last saving did
}

// NewKeeper returns a Keeper of peers.
func NewKeeper(path string, peers Peers, log Logger) *Keeper {
	return &Keeper{path: path, peers: peers, log: log}
}

// Open takes the file. It fails only if another process has it: that one is the collector
// here, or was and is about to end, for which Open waits. Whatever else is wrong with the
// file costs what it holds.
func (k *Keeper) Open(now time.Time) error {
	if k.path == "" {
		return nil
	}
	err := k.lock(now)
	for limit := now.Add(lockPatience); heldByAnother(err) && time.Now().Before(limit); {
		time.Sleep(lockPause)
		err = k.lock(time.Now())
	}
	if heldByAnother(err) {
		return fmt.Errorf("%w%s", err, heldRemedy)
	}
	k.complain(err)
	return nil
}

// Load lets the peers go on from what is in the file, and reports whether it has done so
// before ctx ended. If not, the file is left as it was.
func (k *Keeper) Load(ctx context.Context) bool {
	if k.file == nil {
		return true
	}
	var err error
	if !k.peers.Contained("restoring the state", func() { err = k.restore(ctx) }) {
		k.Close() // it is tried again later
	}
	if ctx.Err() != nil {
		return false
	}
	k.complain(err)
	return true
}

const heldRemedy = ". Stop that process, or set 'state_file' to another file"

func heldByAnother(err error) bool {
	var locked *LockedError
	return errors.As(err, &locked) && !locked.Own()
}

func (k *Keeper) lock(now time.Time) (err error) {
	k.opened = now
	k.file, err = lock(k.path)
	return err
}

// restore restores what is in the file.
func (k *Keeper) restore(ctx context.Context) error {
	c, err := k.file.load(ctx)
	if err != nil {
		k.file = nil
	}
	if err != nil || ctx.Err() != nil {
		return err
	}
	now := time.Now()
	state := c.state(now)
	if k.said = ""; state.Trouble != nil {
		k.log.Warnf("State file %q: %v", k.path, state.Trouble)
	}
	if cut := c.cutOff(); cut != nil {
		k.log.Warnf("State file %q: %v", k.path, cut)
	}
	count := 0
	for some := range c.peers(&state) {
		if ctx.Err() != nil {
			return nil
		}
		k.peers.Restore(some, state.Saved, now)
		count += len(some)
	}
	k.epoch = k.peers.Listened(now)
	k.marked = k.epoch
	k.works.Store(true)
	if count > 0 {
		peers := "peers"
		if count == 1 {
			peers = "peer"
		}
		k.log.Infof("Restored %d %s from the state file %q, last written %s ago",
			count, peers, k.path, max(now.Sub(state.Last), 0).Round(time.Second))
	}
	return nil
}

// complain says why there is no memory, and what to do, unless it was the last
// thing said.
func (k *Keeper) complain(err error) {
	if err == nil || err.Error() == k.said {
		return
	}
	k.said = err.Error()
	k.log.Warnf("State will not survive a restart: %v%s", err, remedy(err))
}

// remedy returns what to do about a file that could not be used.
func remedy(err error) string {
	var at *fs.PathError
	var locked *LockedError
	switch {
	case errors.As(err, &locked) && locked.Own():
		return ". Set 'state_file' to another file in one of them"
	case errors.As(err, &locked):
		return ". Is [[inputs.heartbeat]] configured twice?"
	case errors.Is(err, fs.ErrPermission) && errors.As(err, &at):
		return ". Run: " + grant(userName(), existing(at.Path))
	case errors.Is(err, fs.ErrNotExist) && errors.As(err, &at):
		return ". Run: " + create(userName(), filepath.Dir(at.Path))
	}
	return ". Set 'state_file' to a writable file, or to \"none\""
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

// Keep saves until ctx ends, and then once more.
func (k *Keeper) Keep(ctx context.Context) {
	timer := time.NewTimer(flushPause)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			k.contained("saving the state", k.finish)
			return
		case <-timer.C:
			k.contained("saving the state", func() { k.step(ctx, time.Now()) })
			timer.Reset(flushPause)
		}
	}
}

// contained calls save. If that panics, the file is made anew.
func (k *Keeper) contained(what string, save func()) {
	if !k.peers.Contained(what, save) {
		k.works.Store(false)
		if k.file != nil {
			k.file.Reset()
		}
	}
}

// step saves what has changed.
func (k *Keeper) step(ctx context.Context, now time.Time) {
	if k.file == nil {
		k.peers.DropUnsaved()
		if k.path == "" || now.Sub(k.opened) < openPause {
			return
		}
		err := k.lock(now)
		if err == nil {
			err = k.restore(ctx)
		}
		if err != nil {
			k.complain(err)
			return
		}
		if ctx.Err() != nil { // of some peers it knows only what was heard meanwhile
			k.Close()
			return
		}
		k.file.Reset() // who was heard meanwhile is noted nowhere
	}
	if now.Sub(k.looked) >= lookPause {
		k.lookFor(now)
	}
	if k.peers.Anew() {
		k.file.Reset()
	}
	err := k.flush(false)
	if k.file.Outgrown() && !now.Before(k.renewing) {
		err = k.renew(ctx)
		took := time.Since(now)
		k.renewing = time.Now().Add(max(renewPause, renewShare*took))
	}
	k.note(err)
}

// lookFor looks whether the file is still where the next collector will look for
// it. If not, another one is made.
func (k *Keeper) lookFor(now time.Time) {
	k.looked = now
	if !k.file.Displaced() {
		return
	}
	k.file.Reset()
	if more, ok := k.moved.Allow(now); ok {
		k.log.Warnf("State file %q was removed, truncated or replaced while in use. "+
			"Writing it again with everything known%s", k.path, more)
	}
}

// note says what became of a saving.
func (k *Keeper) note(err error) {
	now := time.Now()
	if err != nil {
		if more, ok := k.failed.Allow(now); ok {
			k.log.Errorf("%v%s", err, more)
		}
	}
	works := (err == nil || errors.Is(err, ErrLeftOut)) && k.file.Sound()
	k.works.Store(works)
	if works {
		k.saved.Store(now.UnixNano())
	}
}

// flush adds to the file what has changed, or for how long was listened. If more
// follows at once, it is written with that.
func (k *Keeper) flush(follows bool) error {
	var failed error
	for more := true; more; {
		changes := k.peers.Unsaved(k.records[:0])
		if more = changes.More; len(changes.Records)+len(changes.Gone) == 0 && !k.markDue(changes.Listened) {
			break
		}
		k.marked = changes.Listened
		changes.Listened -= k.epoch
		changes.More = more || follows
		failed = errors.Join(failed, k.file.Append(&changes))
		k.records = changes.Records
	}
	return failed
}

// markDue reports whether the file is to tell that the collector has listened
// until now.
func (k *Keeper) markDue(listened time.Duration) bool {
	pace := min(max(firstPace, k.marked-k.epoch), k.peers.Pace())
	return listened-k.marked >= pace
}

// renew makes the file anew, unless ctx ends. It looks at a part of the peers at a time, so
// that beats and verdicts go on, and meanwhile saves what changes.
func (k *Keeper) renew(ctx context.Context) error {
	if err := k.file.Begin(); err != nil {
		return err
	}
	var failed error
	flushed := time.Now()
	for next := k.peers.Count(); next > 0; {
		if ctx.Err() != nil {
			k.file.Abandon()
			return failed
		}
		var changes liveness.Changes
		changes, next = k.peers.Records(k.records[:0], next, false)
		changes.Listened -= k.epoch
		failed = errors.Join(failed, k.file.Add(&changes))
		k.records = changes.Records
		if time.Since(flushed) >= flushPause {
			failed = errors.Join(failed, k.flush(false))
			flushed = time.Now()
		}
	}
	if failed != nil && !errors.Is(failed, ErrLeftOut) {
		k.file.Abandon()
		return failed
	}
	return errors.Join(failed, k.file.Replace())
}

// finish saves all that a record says more exactly at the end of a collector,
// and lets another one have the file.
func (k *Keeper) finish() {
	if k.file == nil {
		return
	}
	k.lookFor(time.Now())
	err := k.flush(true)
	if k.file.Outgrown() && (!k.file.Sound() || k.file.Small()) { // a life may be too short for it to have been seen to
		err = k.renew(context.Background())
	}
	var spare sync.Pool // of *lasting
	for last := range beside(k.last(&spare)) {
		err = errors.Join(err, last.leftOut, k.file.write(last.text, true))
		spare.Put(last)
	}
	now := time.Now()
	err = errors.Join(err, k.file.Append(&liveness.Changes{At: now, Listened: k.peers.Listened(now) - k.epoch, End: true}))
	k.note(err)
}

// A lasting is some peers and their lines.
type lasting struct {
	records []liveness.Record
	text    []byte
	leftOut error // peers that are not in them
}

// last returns all that is saved at the end. Lines are made of some peers while others are
// looked at. What is written over comes from spare.
func (k *Keeper) last(spare *sync.Pool) iter.Seq[func() *lasting] {
	return func(yield func(func() *lasting) bool) {
		for next := k.peers.Count(); next > 0; {
			some, ok := spare.Get().(*lasting)
			if !ok {
				some = new(lasting)
			}
			var changes liveness.Changes
			changes, next = k.peers.Records(some.records[:0], next, true)
			changes.Listened -= k.epoch
			made := func() *lasting {
				some.text, some.leftOut = k.file.encode(some.text[:0], &changes)
				some.records = changes.Records
				return some
			}
			if !yield(made) {
				return
			}
		}
	}
}

// Close lets another collector have the file.
func (k *Keeper) Close() {
	if k.file == nil {
		return
	}
	if err := k.file.Close(); err != nil {
		k.log.Warnf("Unlocking the state file failed: %v", err)
	}
	k.file = nil
}

// Health is how it stands with what is saved.
type Health struct {
	Wanted bool          // there is to be a state file
	Works  bool          // all that has changed was saved
	Saved  bool          // it was at some time
	Age    time.Duration // since then
}

// Health returns it.
func (k *Keeper) Health(now time.Time) Health {
	saved := k.saved.Load()
	return Health{
		Wanted: k.path != "", Works: k.works.Load(),
		Saved: saved > 0, Age: max(now.Sub(time.Unix(0, saved)), 0),
	}
}
