package judge

import (
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// A Herald decides, as a Judge with mates does, which events are told here: for
// simulations and models.
type Herald struct{ herald herald }

// NewHerald returns the Herald of a collector that has mates and tells nothing yet.
func NewHerald() *Herald { return &Herald{herald{mates: true}} }

// Admit reports whether an event is told. It keeps the event.
func (h *Herald) Admit(change *liveness.Transition, now time.Time) bool {
	return h.herald.admit(change, now)
}

// Settle returns the events that are told late. It is to be called with each tick.
func (h *Herald) Settle(now time.Time) []*liveness.Transition { return h.herald.settle(now) }

// Speak begins to tell, and returns what is to be told of so long before: what no mate
// has told, and if again is set the rest, too.
func (h *Herald) Speak(before time.Duration, again bool, now time.Time) []*liveness.Transition {
	return h.herald.speak(before, again, now)
}

// Hush ends that.
func (h *Herald) Hush() { h.herald.speaks = false }

// NoteTold notes that a mate has told events.
func (h *Herald) NoteTold(ids []int64, now time.Time) { h.herald.noteTold(ids, now) }

// TakeTold returns the ids of events told here since it was called last.
func (h *Herald) TakeTold() []int64 { return h.herald.takeTold() }
