package judge

import (
	"testing"
	"time"

	"github.com/influxdata/telegraf/testutil"
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

// noteIDs notes that a mate has told events just now.
func (h *herald) noteIDs(now time.Time, ids ...int64) {
	var events []liveness.Telling
	for _, id := range ids {
		events = append(events, liveness.Telling{EventID: id})
	}
	h.noteTold(events, 0, now)
}

// takeIDs returns the ids of events that were told here.
func (h *herald) takeIDs(now time.Time) (ids []int64) {
	for _, e := range h.takeTold(now) {
		ids = append(ids, e.EventID)
	}
	return ids
}

// Without mates all events are told, and none is kept.
func TestHeraldAlone(t *testing.T) {
	var h herald
	require.True(t, h.admit(changeTo(liveness.Alive, 1), time.Now()))
	require.Empty(t, h.kept)
	require.Empty(t, h.takeIDs(time.Now()))
}

// Who takes over tells what the one before has not told, and if that was lost all of the
// last half minute, as it may not have left it.
func TestHeraldTakesOver(t *testing.T) {
	for _, c := range []struct {
		name   string
		before time.Duration
		again  bool
		want   []int64
	}{
		{"from one that stopped", 5 * time.Second, false, []int64{4}},
		{"from one that was lost", 30 * time.Second, true, []int64{2, 3, 4}},
	} {
		now := time.Now()
		h := herald{mates: true}
		for id, ago := range []int{60, 35, 20, 2, 1} {
			require.False(t, h.admit(changeTo(liveness.Suspect, int64(id)), now.Add(-time.Duration(ago)*time.Second)))
		}
		h.noteIDs(now, 1, 3)
		require.Equal(t, c.want, idsOf(h.speak(c.before, c.again, now)), c.name)
		require.Equal(t, c.want, h.takeIDs(now))
		require.True(t, h.admit(changeTo(liveness.Dead, 5), now))
		require.Equal(t, []int64{5}, h.takeIDs(now))
		require.True(t, h.admit(changeTo(liveness.Suspect, 1), now), "a mate has told it, but before the last word")
		h.noteIDs(now.Add(crossing), 6)
		require.False(t, h.admit(changeTo(liveness.Alive, 6), now), "a mate has told it since")
	}
}

// What was told while parted from the one that speaks is taken back, unless that has
// told so itself.
func TestHeraldTakesBackWhatItTold(t *testing.T) {
	for _, byMate := range []bool{false, true} {
		now := time.Now()
		h := herald{mates: true, speaks: true}
		require.True(t, h.admit(changeTo(liveness.Dead, 1), now))
		h.speaks = false
		require.False(t, h.admit(changeTo(liveness.Alive, 2), now))
		require.Empty(t, h.settle(now.Add(owedAfter-time.Millisecond)))
		want := []int64{2}
		if byMate {
			h.noteIDs(now.Add(crossing), want...)
			want = nil
		}
		require.Equal(t, want, idsOf(h.settle(now.Add(owedAfter))))
		require.Empty(t, h.speak(eventsKept, false, now.Add(owedAfter)), "it is not told again")
		h.speaks = false
		require.False(t, h.admit(changeTo(liveness.Suspect, 3), now))
		require.Empty(t, h.settle(now.Add(time.Minute)), "it is the other one's again")
	}
}

// What mates have told is not remembered for ever.
func TestHeraldForgets(t *testing.T) {
	now := time.Now()
	h := herald{mates: true}
	h.noteIDs(now, 1)
	h.noteIDs(now.Add(idsKept+time.Second), 2)
	require.Len(t, h.others, 1)
	h.noteTold(make([]liveness.Telling, maxIDs), 0, now)
	require.Len(t, h.others, 1)
	h.admit(changeTo(liveness.Dead, 3), now)
	h.admit(changeTo(liveness.Dead, 4), now.Add(eventsKept+time.Second))
	require.Len(t, h.kept, 1)
}

// An output that takes nothing is noticed; one that is slow is not blocked.
func TestBlockedOutputIsNoticed(t *testing.T) {
	var f flow
	now := time.Now()
	require.True(t, f.runs(now))
	require.True(t, f.runs(now.Add(time.Hour)), "nothing is to be handed over")
	acc := &handing{new(testutil.Accumulator), &f}
	acc.AddMetric(startedMetric(now))
	require.EqualValues(t, 1, f.ended.Load())
	f.begun.Add(1) // and does not return
	require.True(t, f.runs(now.Add(time.Hour)))
	require.True(t, f.runs(now.Add(time.Hour+blockedAfter-time.Millisecond)))
	require.False(t, f.runs(now.Add(time.Hour+blockedAfter)))
	f.ended.Add(1)
	require.True(t, f.runs(now.Add(2*time.Hour)))
}
