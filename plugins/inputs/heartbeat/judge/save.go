package judge

import (
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// This file gives what is to be saved, and takes what was. It locks for a portion of
// the peers at a time, so that beats and verdicts go on.

// Restore lets the tracker go on from some records that were saved at an instant. One that
// it cannot take costs that peer.
func (j *Judge) Restore(records []liveness.Record, saved, now time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := range records {
		r := &records[i]
		j.Contained("restoring a peer", func() {
			j.tell(j.tracker.Restore(r, saved, now))
			j.herald.Resume(r.ID, r.State)
		})
	}
}

// Unsaved takes a part of what has changed, and appends the records to those given.
func (j *Judge) Unsaved(records []liveness.Record) liveness.Changes {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.changes()
	c.Records, c.Gone = j.tracker.TakeUnsaved(records, portion, c.At)
	c.More = j.tracker.Unsaved()
	return c
}

// changes returns none, as of now. j.mu is held.
func (j *Judge) changes() liveness.Changes {
	now := time.Now()
	return liveness.Changes{At: now, Listened: j.listenedBefore + j.tracker.Listened(now)}
}

// DropUnsaved forgets what has changed: there is no file to save it in.
func (j *Judge) DropUnsaved() {
	for j.dropSome() {
	}
}

func (j *Judge) dropSome() (more bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.tracker.DropUnsaved(portion)
}

// Listened returns for how long was listened, by all trackers that there were.
func (j *Judge) Listened(now time.Time) time.Duration {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.listenedBefore + j.tracker.Listened(now)
}

// Pace returns how often to note for how long was listened.
func (j *Judge) Pace() time.Duration {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.tracker.Pace()
}

// Count returns how many peers are known.
func (j *Judge) Count() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.tracker.Len()
}

// Records appends the records of peers below number next to those given, and returns where
// to go on. It goes from the end, as emitPeers does. At the end of a collector only those are
// left whose record cannot be told from the one saved before.
func (j *Judge) Records(records []liveness.Record, next int, atEnd bool) (liveness.Changes, int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.changes()
	c.Records = records
	next = min(next, j.tracker.Len())
	for count := 0; count < portion && next > 0; count++ {
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

// Anew reports whether the tracker was set up anew since it was asked last: then all
// is to be saved again.
func (j *Judge) Anew() bool { return j.anew.Swap(false) }
