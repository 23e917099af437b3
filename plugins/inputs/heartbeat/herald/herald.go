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
	// overdueAfter is how long a mate has to report what follows on our last word: it may have to wait
	// for an answer.
	overdueAfter = liveness.AnswerTime + time.Second
	// followUpFor is how long this collector still reports what follows on its last word that a peer is
	// alive, after a mate has begun to speak.
	followUpFor = 10 * time.Second
	// overlap is how long two collectors may report events at once without noticing.
	overlap = 100 * time.Millisecond
	// mateDelay is how much later than this collector a mate may have reported that a peer is alive.
	mateDelay = time.Second
	// idsKept is how long events reported by mates are remembered, at least. At most it is twice
	// as long.
	idsKept = time.Hour
	// maxIDs is the number of those events beyond which they are forgotten sooner.
	maxIDs = 1 << 17
)

// A Reporter decides which events of peers this collector reports. Without mates it reports all.
// With mates it reports events only while this collector speaks, and only those that no mate
// has reported. Events of the time in which it does not speak are kept for a while, whether or
// not a mate reports them: the mate may be lost before its reports have left it.
//
// Collectors that could not reach each other may have reported different states of a peer. The
// last word is the latest state of a peer that any of them reported. So that it ends up right,
// the collector that had the last word also reports what follows, unless a mate does. And an
// event that a mate reported before our last word is reported again, with the same id.
type Reporter struct {
	mates     bool
	began     time.Time // the start of this collector
	reporting bool
	until     time.Time                 // when it stops to speak by itself; zero for no limit
	leftUntil time.Time                 // events before this time were also seen by a mate that spoke
	kept      []keptEvent               // not reported here, the oldest first
	checked   int                       // how many of those TakeOverdue has already checked
	stopped   time.Time                 // when it stopped speaking
	own       map[liveness.ID]ownReport // of this collector, by peer
	reported  []reportedEvent           // reported here since TakeReported
	recently  []reportedEvent           // reported here in the last 30 s before that

	// The events reported by mates since turned, and in the period before it.
	others, older reports
	othersSince   time.Time
}

// reports are events that mates have reported: the time of each event, and of the latest change
// of state of each peer.
type reports struct {
	events  map[int64]time.Time
	changes map[uint64]time.Time
}

// New returns the Reporter of a collector that starts now. Without mates it reports all events,
// with mates none until StartReporting.
func New(mates bool, now time.Time) *Reporter { return &Reporter{mates: mates, began: now} }

// NothingReported reports whether TakeReported has nothing to return.
func (r *Reporter) NothingReported() bool { return len(r.reported) == 0 }

// ReportUntil lets this collector report events only until the given time. After that, a mate
// may take over.
func (r *Reporter) ReportUntil(until time.Time) { r.until = until }

// StopReporting ends what StartReporting began: from now on a mate reports events.
func (r *Reporter) StopReporting(now time.Time) { r.reporting, r.stopped = false, now }

type keptEvent struct {
	change *liveness.Transition
	at     time.Time
}

// A reportedEvent is an event that was reported here.
type reportedEvent struct {
	id   int64
	peer uint64 // as in liveness.Telling
	at   time.Time
}

// A ownReport is the latest state of a peer that was reported here.
type ownReport struct {
	at   time.Time
	well bool // the peer was alive
}

// NoteRestored notes the state of a peer at the end of the previous run of this collector, which may
// have reported it while it could not reach its mates. Whatever mates have reported since the
// start is later, however long restoring takes.
func (r *Reporter) NoteRestored(id liveness.ID, state liveness.State) {
	if r.mates && (state == liveness.Suspect || state == liveness.Dead || state == liveness.Left) {
		r.note(id, ownReport{at: r.began})
	}
}

// Admit reports whether this collector is to report an event now. If not, the event is kept.
func (r *Reporter) Admit(change *liveness.Transition, now time.Time) bool {
	if !r.mates {
		return true
	}
	if r.reporting && (r.until.IsZero() || now.Before(r.until)) && !r.reportedElsewhere(change) {
		r.noteOwn(change, now)
		return true
	}
	r.dropOld(now)
	r.kept = append(r.kept, keptEvent{change, now})
	return false
}

// reportedElsewhere reports whether a mate has reported an event. A change of state only counts if
// it came well after our last word: otherwise both may have spoken at once.
func (r *Reporter) reportedElsewhere(change *liveness.Transition) bool {
	at, reported := r.others.events[change.EventID]
	if !reported {
		at, reported = r.older.events[change.EventID]
	}
	return reported && (change.Event != liveness.Changed || !at.Before(r.own[change.ID].at.Add(overlap)))
}

// mustFollowUp reports whether this collector had the last word about a peer, and so reports what
// happens to it at the given time. If the last word was that the peer is alive, the mate that
// speaks takes over soon.
func (r *Reporter) mustFollowUp(id liveness.ID, at time.Time) bool {
	ours, reported := r.own[id]
	theirs := r.changedElsewhere(id)
	return reported && !at.Before(ours.at) && !theirs.After(ours.at.Add(overlap)) && (!ours.well || at.Sub(r.stopped) < followUpFor || at.Sub(ours.at) < followUpFor)
}

// changedElsewhere returns when a mate last reported a change of state of a peer, or the zero
// Time.
func (r *Reporter) changedElsewhere(id liveness.ID) time.Time {
	if at, known := r.others.changes[id.Hash()]; known {
		return at
	}
	return r.older.changes[id.Hash()]
}

// noteOwn notes that an event of the given time is reported here.
func (r *Reporter) noteOwn(change *liveness.Transition, at time.Time) {
	reported := reportedEvent{id: change.EventID, at: at}
	if change.Event == liveness.Changed {
		reported.peer = change.ID.Hash()
	}
	r.reported = append(r.reported, reported)
	if change.Event != liveness.Changed {
		return
	}
	if change.Reason == liveness.ReasonForgotten {
		delete(r.own, change.ID)
		return
	}
	r.note(change.ID, ownReport{at, change.State == liveness.Alive})
}

func (r *Reporter) note(id liveness.ID, report ownReport) {
	if r.own == nil {
		r.own = make(map[liveness.ID]ownReport)
	}
	r.own[id] = report
}

// TakeOverdue returns the events that this collector reports although a mate speaks, because the mate
// has not: events that follow on a last word from here, spoken while the mate was not reachable,
// and never_seen of a peer that the mate may not expect.
func (r *Reporter) TakeOverdue(now time.Time) (late []*liveness.Transition) {
	if r.reporting {
		return nil
	}
	end := r.checked
	for end < len(r.kept) && now.Sub(r.kept[end].at) >= overdueAfter {
		end++
	}
	still := r.kept[:r.checked]
	for _, k := range r.kept[r.checked:end] {
		if r.mustReport(&k) {
			r.noteOwn(k.change, k.at)
			late = append(late, k.change)
		} else {
			still = append(still, k)
		}
	}
	r.checked = len(still)
	r.kept = slices.Delete(r.kept, len(still), end)
	return late
}

// mustReport reports whether a kept event is to be reported here.
func (r *Reporter) mustReport(k *keptEvent) bool {
	if k.change.Event != liveness.Changed || !r.mustFollowUp(k.change.ID, k.at) && k.change.Reason != liveness.ReasonNeverSeen {
		return false
	}
	if r.reportedElsewhere(k.change) {
		delete(r.own, k.change.ID)
		return false
	}
	return true
}

func (r *Reporter) dropOld(now time.Time) {
	n := 0
	for n < len(r.kept) && now.Sub(r.kept[n].at) > Kept {
		n++
	}
	r.kept, r.checked = r.kept[n:], max(r.checked-n, 0)
}

// LeaveToMate leaves the events seen here before until to the mate that spoke in that time: this
// collector did not know yet what its mates know, so many of those events are not new.
func (r *Reporter) LeaveToMate(until time.Time) { r.leftUntil = until }

// withoutLeftToMate drops the events that LeaveToMate left to a mate. If that mate was lost, an end is kept,
// with what follows on it. What follows on our last word is always kept.
func (r *Reporter) withoutLeftToMate(events []keptEvent, lost bool) []keptEvent {
	ended := make(map[liveness.ID]bool)
	return slices.DeleteFunc(events, func(k keptEvent) bool {
		over := k.change.State == liveness.Dead || k.change.State == liveness.Left
		if lost && k.change.Event == liveness.Changed && over {
			ended[k.change.ID] = true
		}
		kept := ended[k.change.ID] || lost && k.change.Event == liveness.Ended || r.mustFollowUp(k.change.ID, k.at)
		return !k.at.After(r.leftUntil) && !kept
	})
}

// StartReporting lets this collector report events from now on. It returns the events of the last 30 s
// that are to be reported: those that no mate has reported, and if again is set also the rest.
// If again is not set, the mate has reported all it knew, and a suspicion that is over is not
// reported.
func (r *Reporter) StartReporting(again bool, now time.Time) (late []*liveness.Transition) {
	r.reporting, r.until = true, time.Time{}
	r.dropOld(now)
	r.kept = r.withoutLeftToMate(r.kept, again)
	if !again {
		r.kept = r.withoutPastDoubts(r.kept)
	}
	for _, k := range r.kept {
		if again || !r.reportedElsewhere(k.change) {
			late = append(late, k.change)
			r.noteOwn(k.change, k.at)
		}
	}
	r.kept, r.checked = nil, 0
	return late
}

// withoutPastDoubts drops each doubt (suspect or unknown after alive) that no mate has reported and
// that is over. It is over if a mate has reported what followed. It is also over if the peer is
// alive again and no mate has reported a change of that peer since it was alive before; then
// both the doubt and its end are dropped.
func (r *Reporter) withoutPastDoubts(events []keptEvent) []keptEvent {
	doubts := make(map[liveness.ID]*keptEvent)
	for i := range events {
		k := &events[i]
		if k.change.Event != liveness.Changed {
			continue
		}
		id, reported := k.change.ID, r.reportedElsewhere(k.change)
		begin := doubts[id]
		switch delete(doubts, id); {
		case (k.change.State == liveness.Suspect || k.change.State == liveness.Unknown) && k.change.Previous == liveness.Alive && !reported:
			doubts[id] = k
		case begin == nil:
		case reported:
			begin.change = nil
		case k.change.State == liveness.Alive && !r.changedElsewhere(id).After(begin.at.Add(mateDelay-begin.change.Lasted)):
			begin.change, k.change = nil, nil
		}
	}
	return slices.DeleteFunc(events, func(k keptEvent) bool { return k.change == nil })
}

// NoteReported notes that a mate has reported events, in a message sent ago before now.
func (r *Reporter) NoteReported(events []liveness.Telling, ago time.Duration, now time.Time) {
	if r.others.events == nil || len(r.others.events)+len(events) > maxIDs || now.Sub(r.othersSince) > idsKept {
		r.older, r.othersSince = r.others, now
		r.others = reports{make(map[int64]time.Time), make(map[uint64]time.Time)}
	}
	for _, e := range events {
		at := now.Add(-ago - e.Ago)
		r.others.events[e.EventID] = at
		if e.Peer != 0 && at.After(r.others.changes[e.Peer]) {
			r.others.changes[e.Peer] = at
		}
	}
}

// TakeReported returns the events reported here since the last call.
func (r *Reporter) TakeReported(now time.Time) []liveness.Telling {
	events := make([]liveness.Telling, 0, len(r.reported))
	for _, reported := range r.reported {
		events = append(events, liveness.Telling{EventID: reported.id, Ago: now.Sub(reported.at), Peer: reported.peer})
	}
	past := slices.IndexFunc(r.recently, func(reported reportedEvent) bool { return now.Sub(reported.at) <= Kept })
	if past < 0 {
		past = len(r.recently)
	}
	r.recently, r.reported = append(r.recently[past:], r.reported...), nil
	return events
}

// RepeatRecent lets TakeReported return the events of the last 30 s once more, for a mate that may have
// missed them.
func (r *Reporter) RepeatRecent() { r.reported, r.recently = append(r.recently, r.reported...), nil }
