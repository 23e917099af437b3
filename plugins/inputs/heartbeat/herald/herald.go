// Package herald decides which of several collectors reports an event of a peer. It knows
// transitions, and which events mates have reported. It never knows which collectors the mates
// are, how messages reach them, or what an event looks like.
package herald

import (
	"slices"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

const (
	// Kept is how long an event is kept that a mate should report.
	Kept = 30 * time.Second
	// owedAfter is how long a mate has to report what follows on our last word: it may have to wait
	// for an answer.
	owedAfter = liveness.AnswerTime + time.Second
	// owedFor is how long this collector still reports what follows on its last word that a peer is
	// alive, after a mate has begun to speak.
	owedFor = 10 * time.Second
	// crossing is how long two collectors may report events at once without noticing.
	crossing = 100 * time.Millisecond
	// recently is how much later than this collector a mate may have reported that a peer is alive.
	recently = time.Second
	// idsKept is how long events reported by mates are remembered, at least. At most it is twice
	// as long.
	idsKept = time.Hour
	// maxIDs is the number of those events beyond which they are forgotten sooner.
	maxIDs = 1 << 17
)

// A Herald decides which events of peers this collector reports. Without mates it reports all.
// With mates it reports events only while this collector speaks, and only those that no mate
// has reported. Events of the time in which it does not speak are kept for a while, whether or
// not a mate reports them: the mate may be lost before its reports have left it.
//
// Collectors that could not reach each other may have reported different states of a peer. The
// last word is the latest state of a peer that any of them reported. So that it ends up right,
// the collector that had the last word also reports what follows, unless a mate does. And an
// event that a mate reported before our last word is reported again, with the same id.
type Herald struct {
	mates    bool
	began    time.Time // the start of this collector
	speaks   bool
	until    time.Time                // when it stops to speak by itself; zero for no limit
	joined   time.Time                // events before this time were also seen by a mate that spoke
	kept     []keptEvent              // not reported here, the oldest first
	settled  int                      // how many of those Settle has already checked
	hushed   time.Time                // when it stopped speaking
	last     map[liveness.ID]lastWord // of this collector, by peer
	reported []reportedEvent          // reported here since TakeTold
	recently []reportedEvent          // reported here in the last 30 s before that

	// The events reported by mates since turned, and in the period before it.
	others, older reports
	turned        time.Time
}

// reports are events that mates have reported: the time of each event, and of the latest change
// of state of each peer.
type reports struct {
	events  map[int64]time.Time
	changes map[uint64]time.Time
}

// New returns the Herald of a collector that starts now. Without mates it reports all events,
// with mates none until Speak.
func New(mates bool, now time.Time) *Herald { return &Herald{mates: mates, began: now} }

// Silent reports whether TakeTold has nothing to return.
func (h *Herald) Silent() bool { return len(h.reported) == 0 }

// KeepSpeaking lets this collector report events only until the given time. After that, a mate
// may take over.
func (h *Herald) KeepSpeaking(until time.Time) { h.until = until }

// Hush ends what Speak began: from now on a mate reports events.
func (h *Herald) Hush(now time.Time) { h.speaks, h.hushed = false, now }

type keptEvent struct {
	change *liveness.Transition
	at     time.Time
}

// A reportedEvent is an event that was reported here.
type reportedEvent struct {
	id   int64
	peer uint64 // as in liveness.ReportedEvent
	at   time.Time
}

// A lastWord is the latest state of a peer that was reported here.
type lastWord struct {
	at   time.Time
	well bool // the peer was alive
}

// Resume notes the state of a peer at the end of the previous run of this collector, which may
// have reported it while it could not reach its mates. Whatever mates have reported since the
// start is later, however long restoring takes.
func (h *Herald) Resume(id liveness.ID, state liveness.State) {
	if h.mates && (state == liveness.Suspect || state == liveness.Dead || state == liveness.Left) {
		h.note(id, lastWord{at: h.began})
	}
}

// Admit reports whether this collector is to report an event now. If not, the event is kept.
func (h *Herald) Admit(change *liveness.Transition, now time.Time) bool {
	if !h.mates {
		return true
	}
	if h.speaks && (h.until.IsZero() || now.Before(h.until)) && !h.reportedElsewhere(change) {
		h.noteOwn(change, now)
		return true
	}
	h.expire(now)
	h.kept = append(h.kept, keptEvent{change, now})
	return false
}

// reportedElsewhere reports whether a mate has reported an event. A change of state only counts if
// it came well after our last word: otherwise both may have spoken at once.
func (h *Herald) reportedElsewhere(change *liveness.Transition) bool {
	at, reported := h.others.events[change.EventID]
	if !reported {
		at, reported = h.older.events[change.EventID]
	}
	return reported && (change.Event != liveness.Changed || !at.Before(h.last[change.ID].at.Add(crossing)))
}

// hadLastWord reports whether this collector had the last word about a peer, and so reports what
// happens to it at the given time. If the last word was that the peer is alive, the mate that
// speaks takes over soon.
func (h *Herald) hadLastWord(id liveness.ID, at time.Time) bool {
	ours, spoken := h.last[id]
	theirs := h.changedElsewhere(id)
	return spoken && !at.Before(ours.at) && !theirs.After(ours.at.Add(crossing)) && (!ours.well || at.Sub(h.hushed) < owedFor || at.Sub(ours.at) < owedFor)
}

// changedElsewhere returns when a mate last reported a change of state of a peer, or the zero
// Time.
func (h *Herald) changedElsewhere(id liveness.ID) time.Time {
	if at, known := h.others.changes[id.Hash()]; known {
		return at
	}
	return h.older.changes[id.Hash()]
}

// noteOwn notes that an event of the given time is reported here.
func (h *Herald) noteOwn(change *liveness.Transition, at time.Time) {
	reported := reportedEvent{id: change.EventID, at: at}
	if change.Event == liveness.Changed {
		reported.peer = change.ID.Hash()
	}
	h.reported = append(h.reported, reported)
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

// Settle returns the events that this collector reports although a mate speaks, because the mate
// has not: events that follow on a last word from here, spoken while the mate was not reachable,
// and never_seen of a peer that the mate may not expect.
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

// owes reports whether a kept event is to be reported here.
func (h *Herald) owes(k *keptEvent) bool {
	if k.change.Event != liveness.Changed || !h.hadLastWord(k.change.ID, k.at) && k.change.Reason != liveness.ReasonNeverSeen {
		return false
	}
	if h.reportedElsewhere(k.change) {
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

// Join leaves the events seen here before until to the mate that spoke in that time: this
// collector did not know yet what its mates know, so many of those events are not new.
func (h *Herald) Join(until time.Time) { h.joined = until }

// withoutKnown drops the events that Join left to a mate. If that mate was lost, an end is kept,
// with what follows on it. What follows on our last word is always kept.
func (h *Herald) withoutKnown(events []keptEvent, lost bool) []keptEvent {
	ended := make(map[liveness.ID]bool)
	return slices.DeleteFunc(events, func(k keptEvent) bool {
		over := k.change.State == liveness.Dead || k.change.State == liveness.Left
		if lost && k.change.Event == liveness.Changed && over {
			ended[k.change.ID] = true
		}
		kept := ended[k.change.ID] || lost && k.change.Event == liveness.Ended || h.hadLastWord(k.change.ID, k.at)
		return !k.at.After(h.joined) && !kept
	})
}

// Speak lets this collector report events from now on. It returns the events of the last 30 s
// that are to be reported: those that no mate has reported, and if again is set also the rest.
// If again is not set, the mate has reported all it knew, and a suspicion that is over is not
// reported.
func (h *Herald) Speak(again bool, now time.Time) (late []*liveness.Transition) {
	h.speaks, h.until = true, time.Time{}
	h.expire(now)
	h.kept = h.withoutKnown(h.kept, again)
	if !again {
		h.kept = h.withoutPassed(h.kept)
	}
	for _, k := range h.kept {
		if again || !h.reportedElsewhere(k.change) {
			late = append(late, k.change)
			h.noteOwn(k.change, k.at)
		}
	}
	h.kept, h.settled = nil, 0
	return late
}

// withoutPassed drops each doubt (suspect or unknown after alive) that no mate has reported and
// that is over. It is over if a mate has reported what followed. It is also over if the peer is
// alive again and no mate has reported a change of that peer since it was alive before; then
// both the doubt and its end are dropped.
func (h *Herald) withoutPassed(events []keptEvent) []keptEvent {
	doubts := make(map[liveness.ID]*keptEvent)
	for i := range events {
		k := &events[i]
		if k.change.Event != liveness.Changed {
			continue
		}
		id, reported := k.change.ID, h.reportedElsewhere(k.change)
		begin := doubts[id]
		switch delete(doubts, id); {
		case (k.change.State == liveness.Suspect || k.change.State == liveness.Unknown) && k.change.Previous == liveness.Alive && !reported:
			doubts[id] = k
		case begin == nil:
		case reported:
			begin.change = nil
		case k.change.State == liveness.Alive && !h.changedElsewhere(id).After(begin.at.Add(recently-begin.change.Lasted)):
			begin.change, k.change = nil, nil
		}
	}
	return slices.DeleteFunc(events, func(k keptEvent) bool { return k.change == nil })
}

// NoteTold notes that a mate has reported events, in a message sent ago before now.
func (h *Herald) NoteTold(events []liveness.ReportedEvent, ago time.Duration, now time.Time) {
	if h.others.events == nil || len(h.others.events)+len(events) > maxIDs || now.Sub(h.turned) > idsKept {
		h.older, h.turned = h.others, now
		h.others = reports{make(map[int64]time.Time), make(map[uint64]time.Time)}
	}
	for _, e := range events {
		at := now.Add(-ago - e.Ago)
		h.others.events[e.EventID] = at
		if e.Peer != 0 && at.After(h.others.changes[e.Peer]) {
			h.others.changes[e.Peer] = at
		}
	}
}

// TakeTold returns the events reported here since the last call.
func (h *Herald) TakeTold(now time.Time) []liveness.ReportedEvent {
	events := make([]liveness.ReportedEvent, 0, len(h.reported))
	for _, reported := range h.reported {
		events = append(events, liveness.ReportedEvent{EventID: reported.id, Ago: now.Sub(reported.at), Peer: reported.peer})
	}
	past := slices.IndexFunc(h.recently, func(reported reportedEvent) bool { return now.Sub(reported.at) <= Kept })
	if past < 0 {
		past = len(h.recently)
	}
	h.recently, h.reported = append(h.recently[past:], h.reported...), nil
	return events
}

// TellAgain lets TakeTold return the events of the last 30 s once more, for a mate that may have
// missed them.
func (h *Herald) TellAgain() { h.reported, h.recently = append(h.recently, h.reported...), nil }
