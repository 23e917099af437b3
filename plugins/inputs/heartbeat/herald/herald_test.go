package herald

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

func changeTo(state liveness.State, id int64) *liveness.Transition {
	return &liveness.Transition{
		View: liveness.View{ID: liveness.ID{Source: "web-1", Service: "shop"}, State: state}, Event: liveness.Changed, EventID: id,
	}
}

func idsOf(changes []*liveness.Transition) (ids []int64) {
	for _, change := range changes {
		ids = append(ids, change.EventID)
	}
	return ids
}

// noteIDs notes that a mate has just reported events.
func (r *Reporter) noteIDs(now time.Time, ids ...int64) {
	events := make([]liveness.ReportedEvent, 0, len(ids))
	for _, id := range ids {
		events = append(events, liveness.ReportedEvent{EventID: id})
	}
	r.NoteReported(events, 0, now)
}

// takeIDs returns the ids of events that were reported here.
func (r *Reporter) takeIDs(now time.Time) (ids []int64) {
	for _, e := range r.TakeReported(now) {
		ids = append(ids, e.EventID)
	}
	return ids
}

// Without mates all events are reported, and none is kept.
func TestHeraldAlone(t *testing.T) {
	var h Reporter
	require.True(t, h.Admit(changeTo(liveness.Alive, 1), time.Now()))
	require.Empty(t, h.kept)
	require.Empty(t, h.takeIDs(time.Now()))
}

// A collector that takes over reports what its predecessor has not reported. If the predecessor
// was lost, it reports all events of the last 30 s, because they may not have left the predecessor.
func TestHeraldTakesOver(t *testing.T) {
	for _, c := range []struct {
		name  string
		again bool
		want  []int64
	}{
		{"from one that stopped", false, []int64{2, 4}},
		{"from one that was lost", true, []int64{2, 3, 4}},
	} {
		now := time.Now()
		h := Reporter{mates: true}
		for id, ago := range []int{60, 35, 20, 2, 1} {
			require.False(t, h.Admit(changeTo(liveness.Dead, int64(id)), now.Add(-time.Duration(ago)*time.Second)))
		}
		h.noteIDs(now, 1, 3)
		require.Equal(t, c.want, idsOf(h.StartReporting(c.again, now)), c.name)
		require.Equal(t, c.want, h.takeIDs(now))
		require.True(t, h.Admit(changeTo(liveness.Dead, 5), now))
		require.Equal(t, []int64{5}, h.takeIDs(now))
		require.True(t, h.Admit(changeTo(liveness.Suspect, 1), now), "a mate has reported it, but before our latest report")
		h.noteIDs(now.Add(overlap), 6)
		require.False(t, h.Admit(changeTo(liveness.Alive, 6), now), "a mate has reported it since")
	}
}

// A collector that takes over from a mate that has reported all it knew does not report a past
// suspicion of its own. But it may have to take back the mate's last report.
func TestHeraldDoesNotReportAPastSuspicion(t *testing.T) {
	suspect, back, restart, dead := changeTo(liveness.Suspect, 1), changeTo(liveness.Alive, 2), changeTo(liveness.Alive, 3), changeTo(liveness.Dead, 4)
	restart.Event = liveness.Restarted
	suspect.Previous, suspect.Lasted = liveness.Alive, time.Minute
	held, unsure := changeTo(liveness.Unknown, 6), changeTo(liveness.Suspect, 7)
	held.Previous, held.Lasted, unsure.Previous = liveness.Alive, time.Minute, liveness.Unknown
	another := changeTo(liveness.Suspect, 5)
	another.ID.Source = "web-2"
	for _, c := range []struct {
		name    string
		again   bool
		changed time.Duration // when a mate reported a change with id 9, after the suspicion; 0 for never
		events  []*liveness.Transition
		want    []int64
	}{
		{"over", false, 0, []*liveness.Transition{suspect, another, restart, back}, []int64{5, 3}},
		{"unknown for a while", false, 0, []*liveness.Transition{held, back}, nil},
		{"it was not alive before", false, 0, []*liveness.Transition{unsure, back}, []int64{7, 2}},
		{"from one that was lost", true, 0, []*liveness.Transition{suspect, restart, back}, []int64{1, 3, 2}},
		{"not over", false, 0, []*liveness.Transition{suspect, back, suspect}, []int64{1}},
		{"rightly", false, 0, []*liveness.Transition{suspect, dead, back}, []int64{1, 4, 2}},
		{"the mate reported it alive before", false, -time.Minute, []*liveness.Transition{suspect, back}, nil},
		{"the mate reported another one just before", false, -time.Second, []*liveness.Transition{suspect, back}, []int64{1, 2}},
		{"the mate reported it earlier", false, -time.Second, []*liveness.Transition{changeTo(liveness.Suspect, 9), back}, []int64{2}},
		{"the mate reported its end before", false, -time.Second, []*liveness.Transition{suspect, changeTo(liveness.Dead, 9)}, nil},
		{"the mate reported another one later", false, time.Second, []*liveness.Transition{suspect, back}, []int64{1, 2}},
	} {
		begin := time.Now()
		now := begin.Add(2 * time.Second)
		h := Reporter{mates: true}
		for _, change := range c.events {
			require.False(t, h.Admit(change, begin))
		}
		if c.changed != 0 {
			h.NoteReported([]liveness.ReportedEvent{{EventID: 9, Peer: suspect.ID.Hash(), Ago: now.Sub(begin) - c.changed}}, 0, now)
		}
		require.Equal(t, c.want, idsOf(h.StartReporting(c.again, now)), c.name)
	}
}

// A report made while the mate that reports events was not reachable is taken back, unless that mate has
// done so itself.
func TestHeraldTakesBackItsReport(t *testing.T) {
	for _, byMate := range []bool{false, true} {
		now := time.Now()
		h := Reporter{mates: true, reporting: true}
		require.True(t, h.Admit(changeTo(liveness.Dead, 1), now))
		h.StopReporting(now)
		require.False(t, h.Admit(changeTo(liveness.Alive, 2), now))
		require.Empty(t, h.TakeOverdue(now.Add(overdueAfter-time.Millisecond)))
		want := []int64{2}
		if byMate {
			h.noteIDs(now.Add(overlap), want...)
			want = nil
		}
		require.Equal(t, want, idsOf(h.TakeOverdue(now.Add(overdueAfter))))
		require.Empty(t, h.StartReporting(false, now.Add(overdueAfter)), "it is not reported again")
		h.StopReporting(now)
		later := now.Add(followUpFor)
		require.False(t, h.Admit(changeTo(liveness.Suspect, 3), later))
		require.Empty(t, h.TakeOverdue(later.Add(overdueAfter)), "it is the other one's again")
	}
}

// A later report of a mate about the same peer counts as the latest report, even if its event is different:
// the mate has not seen the report from here.
func TestHeraldLeavesItToAMateThatHadTheLastWord(t *testing.T) {
	for ago, want := range map[time.Duration][]int64{
		0: {}, 2 * time.Second: {2}, time.Second - overlap: {2}, // then both may think that the other one reported last
	} {
		now := time.Now()
		h := Reporter{mates: true, reporting: true}
		back := changeTo(liveness.Alive, 2)
		require.True(t, h.Admit(changeTo(liveness.Dead, 1), now))
		h.StopReporting(now)
		require.False(t, h.Admit(back, now.Add(time.Second)))
		h.NoteReported([]liveness.ReportedEvent{{EventID: 7, Peer: back.ID.Hash(), Ago: ago}}, 0, now.Add(time.Second))
		require.ElementsMatch(t, want, idsOf(h.TakeOverdue(now.Add(time.Second+overdueAfter))), "the mate reported %v ago", ago)
	}
}

// What follows at once on a report that is taken back is also reported here: the mate has seen
// neither.
func TestHeraldReportsWhatFollowsOnATakenBackReport(t *testing.T) {
	now := time.Now()
	h := Reporter{mates: true, reporting: true}
	require.True(t, h.Admit(changeTo(liveness.Left, 1), now))
	h.StopReporting(now)
	h.noteIDs(now, 7)
	require.False(t, h.Admit(changeTo(liveness.Alive, 2), now))
	require.False(t, h.Admit(changeTo(liveness.Dead, 3), now))
	require.Equal(t, []int64{2, 3}, idsOf(h.TakeOverdue(now.Add(overdueAfter))))
}

// Reports of mates are not remembered forever.
func TestHeraldForgets(t *testing.T) {
	now := time.Now()
	h := Reporter{mates: true}
	h.noteIDs(now, 1)
	h.noteIDs(now.Add(idsKept+time.Second), 2)
	require.Len(t, h.others.events, 1)
	h.NoteReported(make([]liveness.ReportedEvent, maxIDs), 0, now)
	require.Len(t, h.others.events, 1)
	h.Admit(changeTo(liveness.Dead, 3), now)
	h.Admit(changeTo(liveness.Dead, 4), now.Add(Kept+time.Second))
	require.Len(t, h.kept, 1)
}

// Events of a peer that only this collector expects are reported here.
func TestHeraldReportsPeersThatOnlyItExpects(t *testing.T) {
	now := time.Now()
	h := Reporter{mates: true}
	missing, other := changeTo(liveness.Dead, 1), changeTo(liveness.Dead, 2)
	missing.Reason, other.Reason, other.ID.Source = liveness.ReasonNeverSeen, liveness.ReasonNeverSeen, "web-2"
	require.False(t, h.Admit(missing, now))
	require.False(t, h.Admit(other, now))
	h.noteIDs(now, 2)
	require.Equal(t, []int64{1}, idsOf(h.TakeOverdue(now.Add(overdueAfter))))
}

// A report made while mates were not reachable, before a restart, is taken back after it.
func TestHeraldTakesBackAfterARestart(t *testing.T) {
	for state, want := range map[liveness.State][]int64{liveness.Dead: {1}, liveness.Alive: {}} {
		now := time.Now()
		h := New(true, now)
		back := changeTo(liveness.Alive, 1)
		h.NoteRestored(back.ID, state)
		require.False(t, h.Admit(back, now.Add(time.Second)))
		require.ElementsMatch(t, want, idsOf(h.TakeOverdue(now.Add(time.Second+overdueAfter))), "it was %s", state)
	}
	alone := New(false, time.Now())
	alone.NoteRestored(changeTo(liveness.Dead, 1).ID, liveness.Dead)
	require.Empty(t, alone.own)
}

// What a mate reports while a collector restores its state is not reported again.
func TestHeraldLeavesWhatWasReportedDuringARestore(t *testing.T) {
	began := time.Now()
	h := New(true, began)
	back := changeTo(liveness.Alive, 1)
	h.NoteRestored(back.ID, liveness.Dead)
	now := began.Add(time.Minute)
	h.NoteReported([]liveness.ReportedEvent{{EventID: 1, Peer: back.ID.Hash(), Ago: 20 * time.Second}}, 0, now)
	require.False(t, h.Admit(back, now))
	require.Empty(t, h.TakeOverdue(now.Add(overdueAfter)))
}

// A collector that starts beside a mate that reports events takes events for new that the mate has reported long
// ago. It still reports ends if the mate is lost, and later events of peers that it reported last.
func TestHeraldJoins(t *testing.T) {
	of := func(source string, state liveness.State, event liveness.Event, id int64) *liveness.Transition {
		change := changeTo(state, id)
		change.ID.Source, change.Event = source, event
		return change
	}
	for lost, want := range map[bool][]int64{true: {1, 4, 8, 5, 7}, false: {1, 7}} {
		now := time.Now()
		h := New(true, now)
		h.NoteRestored(changeTo(liveness.Alive, 0).ID, liveness.Dead)
		for _, change := range []*liveness.Transition{
			changeTo(liveness.Alive, 1), of("heard", liveness.Alive, liveness.Changed, 2), of("again", liveness.Alive, liveness.Restarted, 3),
			of("gone", liveness.Dead, liveness.Changed, 4), of("gone", liveness.Alive, liveness.Changed, 8),
			of("former", liveness.Alive, liveness.Ended, 5), of("dead", liveness.Dead, liveness.Restarted, 6),
		} {
			require.False(t, h.Admit(change, now))
		}
		require.False(t, h.Admit(of("new", liveness.Alive, liveness.Changed, 7), now.Add(1)))
		h.DeferToMate(now)
		require.Equal(t, want, idsOf(h.StartReporting(lost, now.Add(time.Second))), "the mate was lost: %t", lost)
	}
}

// A collector that was suspended does not know whether a mate has taken over.
func TestHeraldKeepsWhatItSeesAfterAPause(t *testing.T) {
	now := time.Now()
	h := New(true, now)
	h.StartReporting(false, now)
	h.ReportUntil(now.Add(time.Second))
	require.True(t, h.Admit(changeTo(liveness.Dead, 1), now.Add(time.Second-1)))
	require.False(t, h.Admit(changeTo(liveness.Alive, 2), now.Add(time.Second)))
	require.Equal(t, []int64{2}, idsOf(h.StartReporting(false, now.Add(time.Second))))
	require.True(t, h.Admit(changeTo(liveness.Dead, 3), now.Add(time.Minute)))
}

// A mate that is found may have missed earlier reports.
func TestHeraldReportsAgain(t *testing.T) {
	begin := time.Now()
	h := New(true, begin)
	h.StartReporting(false, begin)
	for id, ago := range []time.Duration{Kept + time.Second, Kept, 1, 0} {
		require.True(t, h.Admit(changeTo(liveness.Dead, int64(id)), begin.Add(-ago)))
		if ago > 0 {
			require.Equal(t, []int64{int64(id)}, h.takeIDs(begin))
		}
	}
	h.RepeatRecent()
	require.Equal(t, []int64{1, 2, 3}, h.takeIDs(begin))
	require.Empty(t, h.takeIDs(begin))
	h.RepeatRecent()
	require.Equal(t, []int64{1, 2, 3}, h.takeIDs(begin))
}
