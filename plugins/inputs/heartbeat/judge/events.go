package judge

import (
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

const (
	// eventsKept is for how long an event is kept that a mate is to tell.
	eventsKept = 30 * time.Second
	// idsKept is for how long it is remembered that a mate has told an event.
	idsKept = time.Hour
	// maxIDs is how many of those are remembered at most.
	maxIDs = 1 << 18
)

// A herald decides which events of peers are told here: all, if there are no mates, else
// those that are told while this collector speaks, and that no mate has told. Those that
// are not told are kept for a while: the mate that was to tell them may be lost.
type herald struct {
	mates  bool
	speaks bool
	kept   []keptEvent         // not told here, the oldest first
	told   []int64             // here, since takeTold
	others map[int64]time.Time // told by mates, and when we were told so
}

type keptEvent struct {
	change *liveness.Transition
	at     time.Time
}

// admit reports whether an event is told, and keeps it if not.
func (h *herald) admit(change *liveness.Transition, now time.Time) bool {
	if !h.mates {
		return true
	}
	if _, told := h.others[change.EventID]; told {
		return false
	}
	if h.speaks {
		h.told = append(h.told, change.EventID)
		return true
	}
	h.expire(now)
	h.kept = append(h.kept, keptEvent{change, now})
	return false
}

func (h *herald) expire(now time.Time) {
	n := 0
	for n < len(h.kept) && now.Sub(h.kept[n].at) > eventsKept {
		n++
	}
	h.kept = h.kept[n:]
}

// speak begins to tell, and returns what is to be told of the time before: what no mate
// has told, and if again is set the rest, too.
func (h *herald) speak(before time.Duration, again bool, now time.Time) (late []*liveness.Transition) {
	h.speaks = true
	for _, k := range h.kept {
		_, told := h.others[k.change.EventID]
		if now.Sub(k.at) <= before && (again || !told) {
			late = append(late, k.change)
			h.told = append(h.told, k.change.EventID)
		}
	}
	h.kept = nil
	return late
}

// noteTold notes that a mate has told events.
func (h *herald) noteTold(ids []int64, now time.Time) {
	if len(h.others)+len(ids) > maxIDs {
		h.others = nil
	}
	if h.others == nil {
		h.others = make(map[int64]time.Time)
	}
	for id, at := range h.others {
		if now.Sub(at) > idsKept {
			delete(h.others, id)
		}
	}
	for _, id := range ids {
		h.others[id] = now
	}
}

// takeTold returns the ids of events told here since it was called last.
func (h *herald) takeTold() []int64 {
	told := h.told
	h.told = nil
	return told
}
