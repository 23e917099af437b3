// Package herald decides which events of peers a collector tells, of several that see the
// same. It knows transitions, and what mates have told; it never knows who mates are, how
// words reach them, or what an event is printed as.
package herald

import (
	"slices"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

const (
	// Kept is for how long an event is kept that a mate is to tell.
	Kept = 30 * time.Second
	// owedAfter is for how long a mate has to tell what follows on the last word of ours: it may
	// have to wait for an answer.
	owedAfter = liveness.AnswerTime + time.Second
	// owedFor is for how long what follows on a last word that a peer is well is told here, too,
	// after a mate has begun to speak.
	owedFor = 10 * time.Second
	// crossing is for how long the words of two collectors may cross.
	crossing = 100 * time.Millisecond
	// lately is by how much later a mate may have told that a peer lives than that was seen here.
	lately = time.Second
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
// word is right, who had it tells what follows, unless a mate does; and an event that a mate
// told before the last word of ours is told again, with the id that it had.
type Herald struct {
	mates   bool
	began   time.Time // what it has told before it ended was before that
	speaks  bool
	until   time.Time                // no longer than that; zero for no limit
	joined  time.Time                // what was seen until then, a mate that spoke has seen
	kept    []keptEvent              // not told here, the oldest first
	settled int                      // so many of those need not be looked at by settle
	hushed  time.Time                // when it ceased to speak
	last    map[liveness.ID]lastWord // about peers, here
	told    []toldEvent              // here, since TakeTold
	lately  []toldEvent              // here, in the last half minute before that

	// What mates told, since turned and in the time before.
	others, older tellings
	turned        time.Time
}

// Tellings are events that mates have told: when each one was, and the latest change of state
// of each peer.
type tellings struct {
	events  map[int64]time.Time
	changes map[uint64]time.Time
}

// New returns the Herald of a collector that begins now: of one that is alone, which tells all,
// or of one with mates, which tells nothing yet.
func New(mates bool, now time.Time) *Herald { return &Herald{mates: mates, began: now} }

// Silent reports whether TakeTold has nothing to return.
func (h *Herald) Silent() bool { return len(h.told) == 0 }

// KeepSpeaking has this collector tell events no longer than until then. After that a mate may.
func (h *Herald) KeepSpeaking(until time.Time) { h.until = until }

// Hush lets a mate tell events from now on.
func (h *Herald) Hush(now time.Time) { h.speaks, h.hushed = false, now }

type keptEvent struct {
	change *liveness.Transition
	at     time.Time
}

// A toldEvent is one that was told here.
type toldEvent struct {
	id   int64
	peer uint64 // as in liveness.Telling
	at   time.Time
}

// A lastWord is that a state of a peer was told here.
type lastWord struct {
	at   time.Time
	well bool // it is alive
}

// Resume notes which state of a peer was known when this collector ended. It may have told
// that, while it was parted from its mates. What those have told since it began is a later
// word, however long it took to read that state.
func (h *Herald) Resume(id liveness.ID, state liveness.State) {
	if h.mates && (state == liveness.Suspect || state == liveness.Dead || state == liveness.Left) {
		h.note(id, lastWord{at: h.began})
	}
}

// Admit reports whether an event is told, and keeps it if not.
func (h *Herald) Admit(change *liveness.Transition, now time.Time) bool {
	if !h.mates {
		return true
	}
	if h.speaks && (h.until.IsZero() || now.Before(h.until)) && !h.toldElsewhere(change) {
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
	return told && (change.Event != liveness.Changed || !at.Before(h.last[change.ID].at.Add(crossing)))
}

// goesOn reports whether what becomes of a peer at a time is to be told here: the last word
// about it was. That it was well is soon left to the mate that speaks.
func (h *Herald) goesOn(id liveness.ID, at time.Time) bool {
	ours, spoken := h.last[id]
	theirs := h.changedElsewhere(id)
	return spoken && !at.Before(ours.at) && !theirs.After(ours.at.Add(crossing)) && (!ours.well || at.Sub(h.hushed) < owedFor || at.Sub(ours.at) < owedFor)
}

// changedElsewhere returns when a mate has told a change of state of a peer last, or the zero
// Time.
func (h *Herald) changedElsewhere(id liveness.ID) time.Time {
	if at, known := h.others.changes[id.Hash()]; known {
		return at
	}
	return h.older.changes[id.Hash()]
}

// noteOwn notes that an event of some time is told here.
func (h *Herald) noteOwn(change *liveness.Transition, at time.Time) {
	told := toldEvent{id: change.EventID, at: at}
	if change.Event == liveness.Changed {
		told.peer = change.ID.Hash()
	}
	h.told = append(h.told, told)
	if change.Event != liveness.Changed {
		return
	}
	if change.Reason == liveness.ReasonForgotten {
		delete(h.last, change.ID)
		return
	}
	h.note(change.ID, lastWord{at, change.State == liveness.Alive})
}

func (h *Herald) note(id liveness.ID, word lastWord) {
	if h.last == nil {
		h.last = make(map[liveness.ID]lastWord)
	}
	h.last[id] = word
}

// Settle returns the events that are told here although a mate speaks, and that it has not
// told: they follow on the last word about a peer, which was told here while parted from it,
// or are of a peer that it may not expect.
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
			late = append(late, k.change)
		} else {
			still = append(still, k)
		}
	}
	h.settled = len(still)
	h.kept = slices.Delete(h.kept, len(still), end)
	return late
}

// owes reports whether an event that was kept is to be told here.
func (h *Herald) owes(k *keptEvent) bool {
	if k.change.Event != liveness.Changed || !h.goesOn(k.change.ID, k.at) && k.change.Reason != liveness.ReasonNeverSeen {
		return false
	}
	if h.toldElsewhere(k.change) {
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

// Join leaves to a mate that spoke until then what was seen here before this collector knew
// what its mates know: much of that is no news.
func (h *Herald) Join(until time.Time) { h.joined = until }

// withoutKnown drops what a mate has seen that spoke before this collector knew what its mates
// know. An end is kept if that mate was lost, with what follows on it, and always what follows
// on the last word of ours.
func (h *Herald) withoutKnown(events []keptEvent, lost bool) []keptEvent {
	ended := make(map[liveness.ID]bool)
	return slices.DeleteFunc(events, func(k keptEvent) bool {
		over := k.change.State == liveness.Dead || k.change.State == liveness.Left
		if lost && k.change.Event == liveness.Changed && over {
			ended[k.change.ID] = true
		}
		kept := ended[k.change.ID] || lost && k.change.Event == liveness.Ended || h.goesOn(k.change.ID, k.at)
		return !k.at.After(h.joined) && !kept
	})
}

// Speak begins to tell, and returns what is to be told of the last half minute: what no mate
// has told, and if again is set the rest, too. Without that the mate has told all that it
// knew: a suspicion that is over is no news.
func (h *Herald) Speak(again bool, now time.Time) (late []*liveness.Transition) {
	h.speaks, h.until = true, time.Time{}
	h.expire(now)
	h.kept = h.withoutKnown(h.kept, again)
	if !again {
		h.kept = h.withoutPassed(h.kept)
	}
	for _, k := range h.kept {
		if again || !h.toldElsewhere(k.change) {
			late = append(late, k.change)
			h.noteOwn(k.change, k.at)
		}
	}
	h.kept, h.settled = nil, 0
	return late
}

// withoutPassed drops each doubt that no mate has told and that is over: a mate has told
// what followed, or it ended well, and is dropped with its end, unless a mate has told
// anything of that peer since it was well before.
func (h *Herald) withoutPassed(events []keptEvent) []keptEvent {
	doubts := make(map[liveness.ID]*keptEvent)
	for i := range events {
		k := &events[i]
		if k.change.Event != liveness.Changed {
			continue
		}
		id, told := k.change.ID, h.toldElsewhere(k.change)
		begin := doubts[id]
		switch delete(doubts, id); {
		case (k.change.State == liveness.Suspect || k.change.State == liveness.Unknown) && k.change.Previous == liveness.Alive && !told:
			doubts[id] = k
		case begin == nil:
		case told:
			begin.change = nil
		case k.change.State == liveness.Alive && !h.changedElsewhere(id).After(begin.at.Add(lately-begin.change.Lasted)):
			begin.change, k.change = nil, nil
		}
	}
	return slices.DeleteFunc(events, func(k keptEvent) bool { return k.change == nil })
}

// NoteTold notes that a mate has told events, as it said ago before now.
func (h *Herald) NoteTold(events []liveness.Telling, ago time.Duration, now time.Time) {
	if h.others.events == nil || len(h.others.events)+len(events) > maxIDs || now.Sub(h.turned) > idsKept {
		h.older, h.turned = h.others, now
		h.others = tellings{make(map[int64]time.Time), make(map[uint64]time.Time)}
	}
	for _, e := range events {
		at := now.Add(-ago - e.Ago)
		h.others.events[e.EventID] = at
		if e.Peer != 0 && at.After(h.others.changes[e.Peer]) {
			h.others.changes[e.Peer] = at
		}
	}
}

// TakeTold returns which events were told here since it was called last.
func (h *Herald) TakeTold(now time.Time) []liveness.Telling {
	events := make([]liveness.Telling, 0, len(h.told))
	for _, told := range h.told {
		events = append(events, liveness.Telling{EventID: told.id, Ago: now.Sub(told.at), Peer: told.peer})
	}
	past := slices.IndexFunc(h.lately, func(told toldEvent) bool { return now.Sub(told.at) <= Kept })
	if past < 0 {
		past = len(h.lately)
	}
	h.lately, h.told = append(h.lately[past:], h.told...), nil
	return events
}

// TellAgain lets TakeTold return those of the last half minute once more: a mate may not have
// been told.
func (h *Herald) TellAgain() { h.told, h.lately = append(h.lately, h.told...), nil }
