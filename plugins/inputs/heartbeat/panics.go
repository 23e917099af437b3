package heartbeat

import (
	"runtime/debug"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// anewPause is how soon the tracker is set up anew once more, at the earliest.
const anewPause = time.Minute

// contained calls do, and reports whether it returned. If it panics, that is
// counted and told: compiled into Telegraf it would end all its other plugins.
func (in *intake) contained(what string, do func()) (ok bool) {
	defer func() {
		if ok {
			return
		}
		cause := recover()
		if cause == nil {
			return // the goroutine ends, as only tests have it
		}
		in.panics.Add(1)
		if more, loud := in.panicked.allow(time.Now()); loud {
			in.log.Errorf("Internal error while %s, please report it with this stack: %v%s\n%s", what, cause, more, debug.Stack())
		}
	}()
	do()
	return true
}

// startAnew sets up another tracker with what the records of the old one say:
// that may not make sense any more where it was left. in.mu is held.
func (in *intake) startAnew(now time.Time) {
	if !in.restarted.IsZero() && now.Sub(in.restarted) < anewPause {
		return
	}
	in.restarted = now
	old, fresh := in.tracker, liveness.New(in.rules, now)
	for i := range old.Len() {
		in.contained("restoring a peer", func() {
			r := old.Record(i, now)
			fresh.Restore(&r, now, now)
		})
	}
	in.tell(old.Retire())
	in.listenedBefore += old.Listened(now)
	in.tracker = fresh
	in.anew.Store(true)
	in.tell(fresh.Expect(in.expected, now))
}
