// Package herald decides whether this collector reports an event of a peer, or leaves the event to
// a mate. The collector that reports the events is called the herald. The package knows the
// transitions of peers and the events that mates have reported. It knows nothing about
// the names of the mates, how messages reach them, or how an event is encoded.
package herald

import (
	"slices"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

const (
	// Kept is how long this collector keeps an event that it left to a mate.
	Kept = 30 * time.Second
	// overdueAfter is how much time a mate has to report the next event of a peer, if this
	// collector reported the previous one. The mate may have to wait for an answer first.
	overdueAfter = liveness.AnswerTime + time.Second
	// followUpFor is how long, after a mate takes over reporting, this collector still reports later
	// events of a peer that it last reported alive.
	followUpFor = 10 * time.Second
	// overlap is how long two collectors may both report events before they notice.
	overlap = 100 * time.Millisecond
	// mateDelay is the maximum time between the reports of two collectors that the same peer is alive.
	mateDelay = time.Second
	// idsKept is the minimum time for which events reported by mates are remembered. The maximum is
	// twice as long.
	idsKept = time.Hour
	// maxIDs is how many events reported by mates are remembered. If there are more, the oldest are
	// forgotten sooner.
	maxIDs = 1 << 17
)

// A Reporter decides which events of peers this collector reports. Without mates, the collector
// reports all events. With mates, it reports events only between StartReporting and StopReporting,
// and only events that no mate has reported. At other times it keeps events for a while, even if a
// mate reports them, because the mate may be lost before Telegraf has sent its reports.
//
// Collectors that cannot reach each other may report different states of a peer. In the end, the
// last report of any of them must be correct. So the collector that reported the latest state also
// reports the next event of the peer, unless a mate does. And if a mate reported an event before
// this collector reported the latest state, the event is reported again, with the same id.
type Reporter struct {
	mates     bool
	began     time.Time // when this collector started
	reporting bool
	until     time.Time                 // when it stops reporting by itself; zero for no limit
	leftUntil time.Time                 // events up to this time were also seen by the mate that reported events
	kept      []keptEvent               // events not reported here, the oldest first
	checked   int                       // how many kept events TakeOverdue has already checked
	stopped   time.Time                 // when it stopped reporting
	own       map[liveness.ID]ownReport // the latest report of this collector about each peer
	reported  []reportedEvent           // events reported here since the last TakeReported
	recently  []reportedEvent           // events reported here in the 30 s before that

	// others are the events that mates have reported since othersSince. older are the events that
	// mates reported in the period before that.
	others, older reports
	othersSince   time.Time
}

// reports are events that mates have reported: when they reported each event, by its id, and when
// they reported the latest change of each peer's state, by the hash of its ID.
type reports struct {
	events  map[int64]time.Time
	changes map[uint64]time.Time
}

// New returns the Reporter of a collector that starts now. Without mates it reports all events.
// With mates it reports none until StartReporting is called.
func New(mates bool, now time.Time) *Reporter { return &Reporter{mates: mates, began: now} }

// NothingReported reports whether no event was reported since the last TakeReported.
func (r *Reporter) NothingReported() bool { return len(r.reported) == 0 }

// ReportUntil lets this collector report events only before the given time. After that, a mate may
// take over.
func (r *Reporter) ReportUntil(until time.Time) { r.until = until }

// StopReporting leaves events to a mate from now on.
func (r *Reporter) StopReporting(now time.Time) { r.reporting, r.stopped = false, now }

type keptEvent struct {
	change *liveness.Transition
	at     time.Time
}

// A reportedEvent is an event that this collector reported.
type reportedEvent struct {
	id   int64
	peer uint64 // as in liveness.ReportedEvent
	at   time.Time
}

// An ownReport is the latest report of this collector about the state of a peer.
type ownReport struct {
	at   time.Time
	well bool // it reported the peer alive
}

// NoteRestored notes the state that a peer had at the end of this collector's previous run. The
// collector may have reported that state while it could not reach its mates. Reports that mates
// have sent since the start of this run count as later than that state, even if they arrive before
// the peer is restored.
func (r *Reporter) NoteRestored(id liveness.ID, state liveness.State) {
	if r.mates && (state == liveness.Suspect || state == liveness.Dead || state == liveness.Left) {
		r.note(id, ownReport{at: r.began})
	}
}

// Admit reports whether this collector must report an event now. If not, the Reporter keeps the
// event.
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
// the mate reported it well after our latest report about the peer: otherwise both collectors may
// have reported events at the same time.
func (r *Reporter) reportedElsewhere(change *liveness.Transition) bool {
	at, reported := r.others.events[change.EventID]
	if !reported {
		at, reported = r.older.events[change.EventID]
	}
	return reported && (change.Event != liveness.Changed || !at.Before(r.own[change.ID].at.Add(overlap)))
}

// mustFollowUp reports whether this collector must report an event of a peer at the given time.
// It must if it was the one that last reported the peer's state. If it last reported the peer
// alive, it does so only for a short time, and then leaves the peer to the mate that reports events.
func (r *Reporter) mustFollowUp(id liveness.ID, at time.Time) bool {
	ours, reported := r.own[id]
	theirs := r.changedElsewhere(id)
	if !reported || at.Before(ours.at) || theirs.After(ours.at.Add(overlap)) {
		return false
	}
	return !ours.well || at.Sub(r.stopped) < followUpFor || at.Sub(ours.at) < followUpFor
}

// changedElsewhere returns the time at which a mate last reported a change of state of a peer, or
// the zero Time.
func (r *Reporter) changedElsewhere(id liveness.ID) time.Time {
	if at, known := r.others.changes[id.Hash()]; known {
		return at
	}
	return r.older.changes[id.Hash()]
}

// noteOwn notes that this collector reports an event that happened at the given time.
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

// TakeOverdue returns the events that a mate should have reported but did not, so that this
// collector reports them: events of peers whose latest state this collector reported while the mate
// was unreachable, and never_seen events of peers that the mate may not expect.
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

// mustReport reports whether this collector must report a kept event.
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

// DeferToMate leaves the events that this collector saw until the given time to the mate that
// reported events at that time. This collector did not yet know what its mates knew, so many of
// these events were not new.
func (r *Reporter) DeferToMate(until time.Time) { r.leftUntil = until }

// dropDeferred drops the events that DeferToMate left to a mate. If that mate was lost,
// dropDeferred keeps the end of each peer and the events after that end. It always keeps the events
// of a peer whose latest state this collector reported.
func (r *Reporter) dropDeferred(events []keptEvent, lost bool) []keptEvent {
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

// StartReporting lets this collector report events from now on. It returns those events of the last
// 30 s that this collector must report now. If again is set, these are all events. If not, the mate
// has reported all events that it knew, and StartReporting returns only events that no mate has
// reported, without doubts that are over.
func (r *Reporter) StartReporting(again bool, now time.Time) (late []*liveness.Transition) {
	r.reporting, r.until = true, time.Time{}
	r.dropOld(now)
	r.kept = r.dropDeferred(r.kept, again)
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
// that is over. A doubt is over if a mate has reported the next event of the peer. It is also over
// if the peer is alive again and no mate has reported a change of the peer since it was alive
// before. In that case the return to alive is dropped, too.
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

// NoteReported notes that a mate has reported events; ago is how long ago it sent the message about
// them.
func (r *Reporter) NoteReported(events []liveness.ReportedEvent, ago time.Duration, now time.Time) {
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
func (r *Reporter) TakeReported(now time.Time) []liveness.ReportedEvent {
	events := make([]liveness.ReportedEvent, 0, len(r.reported))
	for _, reported := range r.reported {
		events = append(events, liveness.ReportedEvent{EventID: reported.id, Ago: now.Sub(reported.at), Peer: reported.peer})
	}
	past := slices.IndexFunc(r.recently, func(reported reportedEvent) bool { return now.Sub(reported.at) <= Kept })
	if past < 0 {
		past = len(r.recently)
	}
	r.recently, r.reported = append(r.recently[past:], r.reported...), nil
	return events
}

// RepeatRecent makes the next TakeReported return the events of the last 30 s again, for a mate
// that may have missed them.
func (r *Reporter) RepeatRecent() { r.reported, r.recently = append(r.recently, r.reported...), nil }
