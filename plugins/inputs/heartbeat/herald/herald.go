// Package herald decides which events of peers a collector tells, of several that see the
// same. It knows transitions, and what mates have told; it never knows who mates are, how
// words reach them, or what an event is printed as.
package herald

import (
	"maps"
	"slices"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

const (
	// Kept is for how long an event is kept that a mate is to tell.
	Kept = 30 * time.Second
	// owedAfter is for how long a mate has to tell what takes back an event of ours.
	owedAfter = 2 * time.Second
	// owedFor is for how long what follows on that is told here, too.
	owedFor = 10 * time.Second
	// crossing is for how long the words of two collectors may cross.
	crossing = 100 * time.Millisecond
	// idsKept is for how long it is remembered that a mate has told an event, up to twice
	// as long.
	idsKept = time.Hour
	// maxIDs is after how many of those it is remembered for a shorter time.
	maxIDs = 1 << 17
)

// A Herald decides which events of peers are told here: all, if there are no mates, else
// those that are told while this collector speaks, and that no mate has told. Those of the
// time in which it does not are kept for a while, be they told or not: the mate that told
// them may be lost before they have left it.
//
// Collectors that were parted may have told different stories of a peer. So that the last
// word is right, what was told here is taken back here, unless a mate does; and an event
// that a mate told before the last word of ours is told again, with the id that it had.
type Herald struct {
	mates   bool
	speaks  bool
	kept    []keptEvent              // not told here, the oldest first
	settled int                      // so many of those need not be looked at by settle
	last    map[liveness.ID]lastWord // of peers, what was told here of their state
	told    []keptEvent              // here, since TakeTold

	// What mates told, since turned and in the time before.
	others, older tellings
	turned        time.Time
}

// Tellings are events that mates have told: when each one was, and the latest change of state
// of each peer.
type tellings struct {
	events  map[int64]time.Time
	changes map[uint64]change
}

type change struct {
	state liveness.State
	at    time.Time
}

// New returns the Herald of a collector: of one that is alone, which tells all, or of one
// with mates, which tells nothing yet.
func New(mates bool) *Herald { return &Herald{mates: mates} }

// Silent reports whether TakeTold has nothing to return.
func (h *Herald) Silent() bool { return len(h.told) == 0 }

// Hush lets a mate tell events from now on.
func (h *Herald) Hush() { h.speaks = false }

type keptEvent struct {
	change *liveness.Transition
	at     time.Time
}

// A lastWord is what was told of the state of a peer.
type lastWord struct {
	at   time.Time
	well bool
	late bool // it has taken back another one
}

// owes reports whether an event of some time, which is not told here, takes back w, or goes
// on from where another one was taken back.
func (w lastWord) owes(at time.Time) bool {
	return !at.Before(w.at) && (!w.well || at.Sub(w.at) < owedFor)
}

// Admit reports whether an event is told, and keeps it if not.
func (h *Herald) Admit(change *liveness.Transition, now time.Time) bool {
	if !h.mates {
		return true
	}
	if h.speaks && !h.toldElsewhere(change) {
		h.noteOwn(change, now)
		return true
	}
	h.expire(now)
	h.kept = append(h.kept, keptEvent{change, now})
	return false
}

// toldElsewhere reports whether a mate has told an event, well after the last word of ours:
// else both may have spoken at once.
func (h *Herald) toldElsewhere(change *liveness.Transition) bool {
	at, told := h.others.events[change.EventID]
	if !told {
		at, told = h.older.events[change.EventID]
	}
	word := h.last[change.ID]
	if !word.late { // else it was told here long after it happened
		word.at = word.at.Add(crossing)
	}
	return told && (change.Event != liveness.Changed || !at.Before(word.at))
}

// saidElsewhere reports whether the last word of a mate about a peer is that it is in the
// state that an event says, and came after the last one of ours.
func (h *Herald) saidElsewhere(event *liveness.Transition) bool {
	said, known := h.others.changes[event.ID.Hash()]
	if !known {
		said, known = h.older.changes[event.ID.Hash()]
	}
	return known && said.state == event.State && said.at.After(h.last[event.ID].at)
}

// noteOwn notes that an event of some time is told here.
func (h *Herald) noteOwn(change *liveness.Transition, at time.Time) {
	h.told = append(h.told, keptEvent{change, at})
	if change.Event != liveness.Changed {
		return
	}
	if change.Reason == liveness.ReasonForgotten {
		delete(h.last, change.ID)
		return
	}
	if h.last == nil {
		h.last = make(map[liveness.ID]lastWord)
	}
	h.last[change.ID] = lastWord{at: at, well: change.State == liveness.Alive}
}

// Settle returns the events that are told here although a mate speaks, and that it has not
// told: they take back what was told here while parted from it, or are of a peer that it
// may not expect.
func (h *Herald) Settle(now time.Time) (late []*liveness.Transition) {
	if h.speaks {
		return nil
	}
	end := h.settled
	for end < len(h.kept) && now.Sub(h.kept[end].at) >= owedAfter {
		end++
	}
	still := h.kept[:h.settled]
	for _, k := range h.kept[h.settled:end] {
		if h.owes(&k) {
			h.noteOwn(k.change, k.at)
			h.last[k.change.ID] = lastWord{k.at, k.change.State == liveness.Alive, true}
			late = append(late, k.change)
		} else {
			still = append(still, k)
		}
	}
	h.settled = len(still)
	h.kept = slices.Delete(h.kept, len(still), end)
	return late
}

// owes reports whether an event that was kept takes back what was told here, or is of a
// peer that a mate may not expect, and no mate has told it.
func (h *Herald) owes(k *keptEvent) bool {
	word, spoken := h.last[k.change.ID]
	takesBack := spoken && word.owes(k.at)
	if k.change.Event != liveness.Changed || !takesBack && k.change.Reason != liveness.ReasonNeverSeen {
		return false
	}
	if h.toldElsewhere(k.change) || h.saidElsewhere(k.change) {
		delete(h.last, k.change.ID)
		return false
	}
	return true
}

func (h *Herald) expire(now time.Time) {
	n := 0
	for n < len(h.kept) && now.Sub(h.kept[n].at) > Kept {
		n++
	}
	h.kept, h.settled = h.kept[n:], max(h.settled-n, 0)
}

// Speak begins to tell, and returns what is to be told of the last half minute: what no mate
// has told, and if again is set the rest, too.
func (h *Herald) Speak(again bool, now time.Time) (late []*liveness.Transition) {
	h.speaks = true
	h.expire(now)
	for _, k := range h.kept {
		if again || !h.toldElsewhere(k.change) {
			late = append(late, k.change)
			h.noteOwn(k.change, k.at)
		}
	}
	h.kept, h.settled = nil, 0
	return late
}

// NoteTold notes that a mate has told events, as it said ago before now.
func (h *Herald) NoteTold(events []liveness.Telling, ago time.Duration, now time.Time) {
	if h.others.events == nil || len(h.others.events)+len(events) > maxIDs || now.Sub(h.turned) > idsKept {
		h.older, h.turned = h.others, now
		h.others = tellings{make(map[int64]time.Time), make(map[uint64]change)}
		maps.DeleteFunc(h.last, func(_ liveness.ID, w lastWord) bool { return w.well && now.Sub(w.at) > idsKept })
	}
	for _, e := range events {
		at := now.Add(-ago - e.Ago)
		h.others.events[e.EventID] = at
		if e.State != liveness.Unknown && !at.Before(h.others.changes[e.Peer].at) {
			h.others.changes[e.Peer] = change{e.State, at}
		}
	}
}

// TakeTold returns which events were told here since it was called last.
func (h *Herald) TakeTold(now time.Time) []liveness.Telling {
	events := make([]liveness.Telling, 0, len(h.told))
	for _, k := range h.told {
		e := liveness.Telling{EventID: k.change.EventID, Ago: now.Sub(k.at), Peer: k.change.ID.Hash()}
		if k.change.Event == liveness.Changed {
			e.State = k.change.State
		}
		events = append(events, e)
	}
	h.told = nil
	return events
}
