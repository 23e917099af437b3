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
	// flushPause is the time between two saves of changes.
	flushPause = 200 * time.Millisecond
	// firstPace is the time after its start at which a collector first saves how long it has listened.
	// It saves this duration again whenever the duration has doubled. So a collector that is
	// repeatedly killed loses at most half of the duration. Later, Peers.Pace determines how often it
	// is saved.
	firstPace = 500 * time.Millisecond
	// rewriteShare limits the share of time spent on rewriting the file: the pause after a rewrite is
	// rewriteShare times as long as the rewrite.
	rewriteShare = 100
	rewritePause = time.Second
	// pathPause is the time between two checks that the file is still at its path.
	pathPause = time.Second

	// lockPatience is how long a starting collector waits for the process that uses the file to end.
	lockPatience = 3 * time.Second
	lockPause    = 50 * time.Millisecond
	// openPause is the time between two attempts to open the file.
	openPause = 10 * time.Second
)

// Path returns the path of the state file for the given value of the option 'state_file'. The
// default depends on the environment. Path returns "" if no state is saved.
func Path(option string, getenv func(string) string) string {
	const name = "heartbeat.state"
	switch option {
	case "none":
		return ""
	case "":
		if dirs := filepath.SplitList(getenv("STATE_DIRECTORY")); len(dirs) > 0 && dirs[0] != "" { // systemd sets a list
			return filepath.Join(dirs[0], name)
		}
		return filepath.Join(defaultDir(getenv), name)
	}
	return option
}

// Peers are the peers of a running collector. It continues to receive beats while they are saved.
type Peers interface {
	// Restore restores records that were saved at the given time.
	Restore(records []liveness.Record, saved, now time.Time)
	// Unsaved returns some of the unsaved changes, with their records appended to records. These
	// changes no longer count as unsaved.
	Unsaved(records []liveness.Record) liveness.Changes
	// DropUnsaved drops all unsaved changes, because everything will be saved again.
	DropUnsaved()
	// Count returns the number of known peers.
	Count() int
	// Records appends the records of some of the peers with numbers below next to records, and returns
	// the value of next for the following call. If atEnd is set, it skips peers whose saved records
	// are still correct.
	Records(records []liveness.Record, next int, atEnd bool) (liveness.Changes, int)
	// Listened returns how long the collector has listened.
	Listened(now time.Time) time.Duration
	// Pace returns the interval at which to save how long the collector has listened.
	Pace() time.Duration
	// Rebuilt reports whether everything must be saved again because of something that happened
	// since the last call.
	Rebuilt() bool
	// CatchPanic calls do. If do panics, CatchPanic logs the panic and returns false.
	CatchPanic(what string, do func()) bool
}

// Logger receives the log messages of a Keeper.
type Logger interface {
	// Infof logs how many peers were restored.
	Infof(format string, args ...any)
	// Warnf logs why state cannot be saved or restored.
	Warnf(format string, args ...any)
	// Errorf logs that saving failed.
	Errorf(format string, args ...any)
}

// A Keeper saves the peers, and restores them when the collector is started again. Without a path
// it does nothing. The caller must call Open, Load, Keep and Close in this order. It may call
// Health at any time.
type Keeper struct {
	path  string
	log   Logger
	peers Peers

	file        *File             // nil while it is not open
	logged      string            // the last logged reason why the file cannot be used
	tried       time.Time         // when opening the file was last tried
	epoch       time.Duration     // how long the collector had listened when the file was loaded
	marked      time.Duration     // how long the collector had listened when that was last saved
	nextRewrite time.Time         // the file is not rewritten before this time
	records     []liveness.Record // a buffer, reused for each save
	pathChecked time.Time         // when the path was last checked
	failed      loglimit.Limiter
	moved       loglimit.Limiter

	saved atomic.Int64 // unix ns: when everything was last saved; 0 for never
	works atomic.Bool  // the last save succeeded
}

// NewKeeper returns a Keeper of peers.
func NewKeeper(path string, peers Peers, log Logger) *Keeper {
	return &Keeper{path: path, peers: peers, log: log}
}

// Open locks the file. If another process uses the file, Open waits a little, because that process
// may be about to end. It returns an error only if that process continues to use the file. If there
// is any other problem with the file, Open logs the problem and the state is not restored.
func (k *Keeper) Open(now time.Time) error {
	if k.path == "" {
		return nil
	}
	err := k.lock(now)
	for limit := now.Add(lockPatience); lockedByAnother(err) && time.Now().Before(limit); {
		time.Sleep(lockPause)
		err = k.lock(time.Now())
	}
	if lockedByAnother(err) {
		return fmt.Errorf("%w%s", err, lockedRemedy)
	}
	k.logProblem(err)
	return nil
}

// Load restores the peers from the file. It reports whether it finished before ctx ended. If not,
// the file is unchanged.
func (k *Keeper) Load(ctx context.Context) bool {
	if k.file == nil {
		return true
	}
	var err error
	if !k.peers.CatchPanic("restoring the state", func() { err = k.restore(ctx) }) {
		k.Close() // step tries again later
	}
	if ctx.Err() != nil {
		return false
	}
	k.logProblem(err)
	return true
}

const lockedRemedy = ". Stop that process, or set 'state_file' to another file"

func lockedByAnother(err error) bool {
	var locked *LockedError
	return errors.As(err, &locked) && !locked.Own()
}

func (k *Keeper) lock(now time.Time) (err error) {
	k.tried = now
	k.file, err = lock(k.path)
	return err
}

// restore restores the peers from the file.
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
	if k.logged = ""; state.Trouble != nil {
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

// logProblem logs why no state is saved and what to do about it, unless this problem was the last
// one logged.
func (k *Keeper) logProblem(err error) {
	if err == nil || err.Error() == k.logged {
		return
	}
	k.logged = err.Error()
	k.log.Warnf("State will not survive a restart: %v%s", err, remedy(err))
}

// remedy returns what to do about a file that cannot be used.
func remedy(err error) string {
	var at *fs.PathError
	var locked *LockedError
	switch {
	case errors.As(err, &locked) && locked.Own():
		return ". Set 'state_file' to another file in one of them"
	case errors.As(err, &locked):
		return ". Is [[inputs.heartbeat]] configured twice?"
	case errors.Is(err, fs.ErrPermission) && errors.As(err, &at):
		return ". Run: " + grantCommand(userName(), existingPath(at.Path))
	case errors.Is(err, fs.ErrNotExist) && errors.As(err, &at):
		return ". Run: " + mkdirCommand(userName(), filepath.Dir(at.Path))
	}
	return ". Set 'state_file' to a writable file, or to \"none\""
}

// existingPath returns path if there is a file at path, and otherwise the directory of path.
func existingPath(path string) string {
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

// Keep saves changes regularly until ctx ends. Then it saves the last records of all peers.
func (k *Keeper) Keep(ctx context.Context) {
	timer := time.NewTimer(flushPause)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			k.contained("saving the state", k.saveLast)
			return
		case <-timer.C:
			k.contained("saving the state", func() { k.step(ctx, time.Now()) })
			timer.Reset(flushPause)
		}
	}
}

// contained calls save. If save panics, the file will be rewritten.
func (k *Keeper) contained(what string, save func()) {
	if !k.peers.CatchPanic(what, save) {
		k.works.Store(false)
		if k.file != nil {
			k.file.Reset()
		}
	}
}

// step saves the changes, and opens or rewrites the file if necessary.
func (k *Keeper) step(ctx context.Context, now time.Time) {
	if k.file == nil {
		k.peers.DropUnsaved()
		if k.path == "" || now.Sub(k.tried) < openPause {
			return
		}
		err := k.lock(now)
		if err == nil {
			err = k.restore(ctx)
		}
		if err != nil {
			k.logProblem(err)
			return
		}
		if ctx.Err() != nil { // some peers are not restored
			k.Close()
			return
		}
		k.file.Reset() // peers that have beaten meanwhile are not in the file
	}
	if now.Sub(k.pathChecked) >= pathPause {
		k.checkPath(now)
	}
	if k.peers.Rebuilt() {
		k.file.Reset()
	}
	err := k.flush(false)
	if k.file.Outgrown() && !now.Before(k.nextRewrite) {
		err = k.rewrite(ctx)
		took := time.Since(now)
		k.nextRewrite = time.Now().Add(max(rewritePause, rewriteShare*took))
	}
	k.noteResult(err)
}

// checkPath checks that the file is still at its path, where the next collector will look for it.
// If it is not, everything will be written again.
func (k *Keeper) checkPath(now time.Time) {
	k.pathChecked = now
	if !k.file.Displaced() {
		return
	}
	k.file.Reset()
	if more, ok := k.moved.Allow(now); ok {
		k.log.Warnf("State file %q was removed, truncated or replaced while in use. "+
			"Writing it again with everything known%s", k.path, more)
	}
}

// noteResult records the result of a save, and logs an error.
func (k *Keeper) noteResult(err error) {
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

// flush appends the unsaved changes to the file. It also saves how long the collector has listened,
// if that is due. If follows is set, the caller will add more immediately, and everything can be
// written together.
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

// markDue reports whether it is time to save how long the collector has listened.
func (k *Keeper) markDue(listened time.Duration) bool {
	pace := min(max(firstPace, k.marked-k.epoch), k.peers.Pace())
	return listened-k.marked >= pace
}

// rewrite rewrites the file. It gives up when ctx ends. It processes a few peers at a time, so that
// it does not delay beats and verdicts. Meanwhile it also saves changes.
func (k *Keeper) rewrite(ctx context.Context) error {
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

// saveLast saves the last records of all peers when the collector stops, because they are more
// exact than the saved records.
func (k *Keeper) saveLast() {
	if k.file == nil {
		return
	}
	k.checkPath(time.Now())
	err := k.flush(true)
	if k.file.Outgrown() && (!k.file.Sound() || k.file.Small()) { // a short run may not have rewritten it
		err = k.rewrite(context.Background())
	}
	var spare sync.Pool // of *encodedPeers
	for last := range inOrder(k.lastJobs(&spare)) {
		err = errors.Join(err, last.leftOut, k.file.write(last.text, true))
		spare.Put(last)
	}
	now := time.Now()
	err = errors.Join(err, k.file.Append(&liveness.Changes{At: now, Listened: k.peers.Listened(now) - k.epoch, End: true}))
	k.noteResult(err)
}

// encodedPeers are some peers and their encoded lines.
type encodedPeers struct {
	records []liveness.Record
	text    []byte
	leftOut error // about peers that were left out
}

// lastJobs returns jobs that encode the records saved by saveLast. Each job encodes some peers.
// spare provides buffers that jobs can reuse.
func (k *Keeper) lastJobs(spare *sync.Pool) iter.Seq[func() *encodedPeers] {
	return func(yield func(func() *encodedPeers) bool) {
		for next := k.peers.Count(); next > 0; {
			some, ok := spare.Get().(*encodedPeers)
			if !ok {
				some = new(encodedPeers)
			}
			var changes liveness.Changes
			changes, next = k.peers.Records(some.records[:0], next, true)
			changes.Listened -= k.epoch
			result := func() *encodedPeers {
				some.text, some.leftOut = k.file.encode(some.text[:0], &changes)
				some.records = changes.Records
				return some
			}
			if !yield(result) {
				return
			}
		}
	}
}

// Close closes and unlocks the file, so that another collector can use it.
func (k *Keeper) Close() {
	if k.file == nil {
		return
	}
	if err := k.file.Close(); err != nil {
		k.log.Warnf("Unlocking the state file failed: %v", err)
	}
	k.file = nil
}

// Health is the status of the state file: whether it is in use, and how current it is.
type Health struct {
	Wanted bool          // a state file is configured
	Works  bool          // all changes are saved
	Saved  bool          // all changes were saved at some time
	Age    time.Duration // the time since then
}

// Health returns the current Health.
func (k *Keeper) Health(now time.Time) Health {
	saved := k.saved.Load()
	return Health{
		Wanted: k.path != "", Works: k.works.Load(),
		Saved: saved > 0, Age: max(now.Sub(time.Unix(0, saved)), 0),
	}
}
