package judge

import (
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// This file returns the records to save, and restores them. It releases the lock after each batch
// of peers, so that it does not delay beats and verdicts.

// Restore restores some records that were saved at the given time. A record that causes a panic
// is skipped.
func (j *Judge) Restore(records []liveness.Record, saved, now time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := range records {
		r := &records[i]
		j.CatchPanic("restoring a peer", func() {
			j.enqueue(j.tracker.Restore(r, saved, now))
			j.reporter.NoteRestored(r.ID, r.State)
		})
	}
}

// Unsaved returns some of the unsaved changes, with their records appended to records. These
// changes no longer count as unsaved.
func (j *Judge) Unsaved(records []liveness.Record) liveness.Changes {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.changes()
	c.Records, c.Gone = j.tracker.TakeUnsaved(records, batchSize, c.At)
	c.More = j.tracker.Unsaved()
	return c
}

// changes returns Changes as of now that have no records yet. The caller holds j.mu.
func (j *Judge) changes() liveness.Changes {
	now := time.Now()
	return liveness.Changes{At: now, Listened: j.listenedBefore + j.tracker.Listened(now)}
}

// DropUnsaved drops all unsaved changes. It is called when there is no file to save them to.
func (j *Judge) DropUnsaved() {
	for j.dropSomeUnsaved() {
	}
}

func (j *Judge) dropSomeUnsaved() (more bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.tracker.DropUnsaved(batchSize)
}

// Listened returns how long the collector has listened in total, including the time of previous
// trackers.
func (j *Judge) Listened(now time.Time) time.Duration {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.listenedBefore + j.tracker.Listened(now)
}

// Pace returns the interval at which to save how long the collector has listened.
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

// Records appends the records of some of the peers with numbers below next to records, and returns
// the value of next for the following call. Like emitPeers, it goes through the peers from the last
// to the first. If atEnd is set, it skips peers that have not beaten since the start: their saved
// records are still correct.
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

// Rebuilt reports whether the tracker was rebuilt since the last call. If it was, everything must
// be saved again.
func (j *Judge) Rebuilt() bool { return j.rebuilt.Swap(false) }
