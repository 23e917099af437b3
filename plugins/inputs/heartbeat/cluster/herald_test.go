// This is ../judge/events.go; TestHeraldIsThatOfTheJudge compares them.

package cluster

import (
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

const (
	// eventsKept is for how long an event is kept that a mate is to tell.
	eventsKept = 30 * time.Second
	// owedAfter is for how long a mate has to tell what takes back an event of ours.
	owedAfter = 2 * time.Second
	// idsKept is for how long it is remembered that a mate has told an event, up to twice
	// as long.
	idsKept = time.Hour
	// maxIDs is after how many of those it is remembered for a shorter time.
	maxIDs = 1 << 17
)

// A herald decides which events of peers are told here: all, if there are no mates, else
// those that are told while this collector speaks, and that no mate has told. Those of the
// time in which it does not are kept for a while, be they told or not: the mate that told
// them may be lost before they have left it.
type herald struct {
	mates  bool
	speaks bool
	kept   []keptEvent          // not told here, the oldest first
	owing  map[liveness.ID]bool // peers that are not well by what was told here last
	owed   []keptEvent          // of those, and not told here, the oldest first
	told   []int64              // here, since takeTold

	// Ids told by mates, as they said since turned, and in the time before.
	others, older map[int64]struct{}
	turned        time.Time
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
	if h.speaks && !h.toldElsewhere(change) {
		h.noteOwn(change)
		return true
	}
	if !h.speaks && h.owing[change.ID] {
		h.owed = append(h.owed, keptEvent{change, now})
	}
	h.expire(now)
	h.kept = append(h.kept, keptEvent{change, now})
	return false
}

func (h *herald) toldElsewhere(change *liveness.Transition) bool {
	_, told := h.others[change.EventID]
	_, before := h.older[change.EventID]
	return told || before
}

// noteOwn notes that an event is told here.
func (h *herald) noteOwn(change *liveness.Transition) {
	h.told = append(h.told, change.EventID)
	if change.Event != liveness.Changed {
		return
	}
	delete(h.owing, change.ID)
	if change.State != liveness.Alive && change.State != liveness.Left {
		if h.owing == nil {
			h.owing = make(map[liveness.ID]bool)
		}
		h.owing[change.ID] = true
	}
}

// settle returns the events that are told here although a mate speaks: what was told here
// while parted from it is taken back, unless it has told so.
func (h *herald) settle(now time.Time) (late []*liveness.Transition) {
	for len(h.owed) > 0 && now.Sub(h.owed[0].at) >= owedAfter {
		change := h.owed[0].change
		h.owed = h.owed[1:]
		if h.owing[change.ID] && !h.toldElsewhere(change) {
			h.noteOwn(change)
			late = append(late, change)
		}
		if change.Event == liveness.Changed {
			delete(h.owing, change.ID)
		}
	}
	return late
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
		if now.Sub(k.at) <= before && (again || !h.toldElsewhere(k.change)) {
			late = append(late, k.change)
			h.noteOwn(k.change)
		}
	}
	h.kept = nil
	return late
}

// noteTold notes that a mate has told events.
func (h *herald) noteTold(ids []int64, now time.Time) {
	if h.others == nil || len(h.others)+len(ids) > maxIDs || now.Sub(h.turned) > idsKept {
		h.others, h.older, h.turned = make(map[int64]struct{}), h.others, now
	}
	for _, id := range ids {
		h.others[id] = struct{}{}
	}
}

// takeTold returns the ids of events told here since it was called last.
func (h *herald) takeTold() []int64 {
	told := h.told
	h.told = nil
	return told
}
