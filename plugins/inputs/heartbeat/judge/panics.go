package judge

import (
	"runtime/debug"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// rebuildPause is the minimum time between two rebuilds of the tracker.
const rebuildPause = time.Minute

// CatchPanic calls do, and reports whether do returned normally. If do panics, CatchPanic counts
// and logs the panic. An uncaught panic would end the process, which may be Telegraf with all its
// plugins.
func (j *Judge) CatchPanic(what string, do func()) (ok bool) {
	defer func() {
		if ok {
			return
		}
		cause := recover()
		if cause == nil {
			return // do called runtime.Goexit, as only tests do
		}
		j.panics.Add(1)
		if more, loud := j.panicked.Allow(time.Now()); loud {
			j.options.Log.Errorf("Internal error while %s: %v%s. Please report it with this stack trace:\n%s", what, cause, more, debug.Stack())
		}
	}()
	do()
	return true
}

// rebuild replaces the tracker with a new one restored from its records, because a panic may have
// left the old one inconsistent. The caller holds j.mu.
func (j *Judge) rebuild(now time.Time) {
	if !j.restarted.IsZero() && now.Sub(j.restarted) < rebuildPause {
		return
	}
	j.restarted = now
	old, fresh := j.tracker, liveness.New(j.options.Rules, now)
	fresh.GoOnAsking(old)
	for i := range old.Len() {
		j.CatchPanic("restoring a peer", func() {
			r := old.Record(i, now)
			fresh.Restore(&r, now, now)
		})
	}
	j.enqueue(old.Retire())
	j.listenedBefore += old.Listened(now)
	j.tracker = fresh
	j.rebuilt.Store(true)
	j.enqueue(fresh.Expect(j.expected, now))
}
