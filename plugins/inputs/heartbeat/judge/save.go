package judge

import (
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// This file returns what to save and restores it. It holds the lock for some peers at a time,
// so that it does not delay beats and verdicts.

// Restore restores some records that were saved at the given time. A record that causes a panic
// is skipped.
func (j *Judge) Restore(records []liveness.Record, saved, now time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := range records {
		r := &records[i]
		j.Contained("restoring a peer", func() {
			j.enqueue(j.tracker.Restore(r, saved, now))
			j.reporter.NoteRestored(r.ID, r.State)
		})
	}
}

// Unsaved takes some of the unsaved changes, and appends their records to those given.
func (j *Judge) Unsaved(records []liveness.Record) liveness.Changes {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.changes()
	c.Records, c.Gone = j.tracker.TakeUnsaved(records, batchSize, c.At)
	c.More = j.tracker.Unsaved()
	return c
}

// changes returns empty Changes as of now. j.mu is held.
func (j *Judge) changes() liveness.Changes {
	now := time.Now()
	return liveness.Changes{At: now, Listened: j.listenedBefore + j.tracker.Listened(now)}
}

// DropUnsaved drops all unsaved changes, when there is no file to save them in.
func (j *Judge) DropUnsaved() {
	for j.dropSome() {
	}
}

func (j *Judge) dropSome() (more bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.tracker.DropUnsaved(batchSize)
}

// Listened returns how long the collector has listened, with all its trackers.
func (j *Judge) Listened(now time.Time) time.Duration {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.listenedBefore + j.tracker.Listened(now)
}

// Pace returns how often to save the time listened.
func (j *Judge) Pace() time.Duration {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.tracker.Pace()
}

// Count returns the number of known peers.
func (j *Judge) Count() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.tracker.Len()
}

// Records appends the records of some peers below number next to those given, and returns the
// number to continue with. It goes through the peers from the end, like emitPeers. If atEnd is
// set, it skips peers not heard since the start: their saved records are still correct.
func (j *Judge) Records(records []liveness.Record, next int, atEnd bool) (liveness.Changes, int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.changes()
	c.Records = records
	next = min(next, j.tracker.Len())
	for count := 0; count < batchSize && next > 0; count++ {
		next--
		switch {
		case !atEnd:
			c.Records = append(c.Records, j.tracker.RunningRecord(next, c.At))
		case j.tracker.Heard(next):
			c.Records = append(c.Records, j.tracker.Record(next, c.At))
		}
	}
	return c, next
}

// Rebuilt reports whether the tracker was rebuilt since the last call: then everything must be
// saved again.
func (j *Judge) Rebuilt() bool { return j.rebuilt.Swap(false) }
