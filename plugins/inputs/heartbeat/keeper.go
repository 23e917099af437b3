package heartbeat

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"
	"time"

	"github.com/influxdata/telegraf"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

const (
	// firstSave is when the state is saved for the first time, and how soon
	// again at the earliest. Little of a silence is lost by a collector that
	// is killed again and again.
	firstSave = 500 * time.Millisecond
	// saveShare is how many times longer than a saving took the next one is
	// waited for: it costs at most that part of time and disk.
	saveShare = 100
)

// A keeper saves what the intake knows, so that the next collector can go on
// from there. Without a file it keeps nothing.
type keeper struct {
	file    *stateFile
	log     telegraf.Logger
	in      *intake
	saved   atomic.Int64 // unix ns; 0 before the first time
	changed uint64       // what in.changes was then
	failed  rarely
}

// newKeeper opens the state file and lets the intake go on from what is in
// it. Whatever is wrong with the file costs only what it holds.
func newKeeper(path string, in *intake, log telegraf.Logger, now time.Time) *keeper {
	k := &keeper{in: in, log: log}
	if path == "" {
		return k
	}
	file, err := openState(path)
	if err != nil {
		log.Warnf("Nobody is remembered over a restart: %v; set 'state_file' to a file that can be written, or to \"none\"", err)
		return k
	}
	k.file = file
	old, err := file.load()
	if err != nil {
		log.Warnf("Nobody is remembered from before: %v", err)
		return k
	}
	for i := range old.peers {
		in.tracker.Restore(&old.peers[i], old.saved, now)
	}
	if len(old.peers) > 0 {
		log.Infof("Going on with %d peers from %q, saved %s ago", len(old.peers), path, now.Sub(old.saved).Round(time.Second))
	}
	return k
}

// keep saves until ctx ends, and then once more.
func (k *keeper) keep(ctx context.Context) {
	if k.file == nil {
		return
	}
	timer := time.NewTimer(firstSave)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			k.save()
			return
		case <-timer.C:
			started := time.Now()
			k.save()
			timer.Reset(max(firstSave, saveShare*time.Since(started)))
		}
	}
}

// save saves the state if it has changed.
func (k *keeper) save() {
	changes := k.in.changes()
	if k.saved.Load() > 0 && changes == k.changed {
		return
	}
	now := time.Now()
	err := k.file.save(now, k.in.records())
	if err != nil {
		if more, ok := k.failed.allow(now); ok {
			k.log.Errorf("%v%s", err, more)
		}
	}
	if err != nil && !errors.Is(err, errLeftOut) {
		return
	}
	k.changed = changes
	k.saved.Store(now.UnixNano())
}

// close lets another collector have the file.
func (k *keeper) close() {
	if k.file == nil {
		return
	}
	if err := k.file.close(); err != nil {
		k.log.Warnf("Unlocking the state file failed: %v", err)
	}
	k.file = nil
}

// age returns how old the saved state is; it is negative if there is none.
func (k *keeper) age(now time.Time) time.Duration {
	saved := k.saved.Load()
	if saved == 0 {
		return -1
	}
	return max(now.Sub(time.Unix(0, saved)), 0)
}

// records returns what is to be saved of each peer. It looks at a part of
// them at a time, so that beats and verdicts go on.
func (in *intake) records() iter.Seq[liveness.Record] {
	return func(yield func(liveness.Record) bool) {
		records := make([]liveness.Record, 0, portion)
		for next := in.count(); next > 0; {
			records, next = in.recordChunk(records[:0], next)
			for i := range records {
				if !yield(records[i]) {
					return
				}
			}
		}
	}
}

// recordChunk appends the records of peers below number next and returns
// where to go on. It goes from the end, as emitPeers does.
func (in *intake) recordChunk(records []liveness.Record, next int) ([]liveness.Record, int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	now := time.Now()
	next = min(next, in.tracker.Len())
	for len(records) < portion && next > 0 {
		next--
		records = append(records, in.tracker.Record(next, now))
	}
	return records, next
}
