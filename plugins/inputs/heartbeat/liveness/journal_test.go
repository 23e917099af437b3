package liveness

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"
)

// A scribe writes a journal of a tracker, as a state file does.
type scribe struct {
	last map[ID]*noted
}

// A noted is a record and the verdict time at which it was taken.
type noted struct {
	record Record
	at     time.Duration
}

func (j *scribe) write(t *Tracker, now time.Time) {
	for t.Unsaved() {
		records, gone := t.TakeUnsaved(nil, 3, now)
		for _, id := range gone {
			delete(j.last, id)
		}
		for i := range records {
			j.last[records[i].ID] = &noted{records[i], t.Listened(now)}
		}
	}
}

// At each instant, the journal contains what a record taken then would contain: everything
// that must survive a crash is saved when it changes. For a peer that is well, that does not
// include its last beat.
func TestJournalMissesNoChange(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			s, j := newStorm(t, seed), &scribe{make(map[ID]*noted)}
			for s.step = range 1000 {
				s.now = s.now.Add(TickInterval)
				s.tick()
				j.compare(s)
				for range s.rnd.IntN(5) {
					s.now = s.now.Add(time.Duration(s.rnd.IntN(20)) * time.Millisecond)
					before := s.tracker
					s.something()
					if s.tracker != before { // restored peers are in the journal already
						clear(j.last)
						for i := range s.tracker.Len() {
							r := s.tracker.RunningRecord(i, s.now)
							j.last[r.ID] = &noted{r, s.tracker.Listened(s.now)}
						}
					}
					j.compare(s)
				}
			}
		})
	}
}

func (j *scribe) compare(s *storm) {
	s.t.Helper()
	j.write(s.tracker, s.now)
	t := s.tracker
	if len(j.last) != t.Len() {
		s.failf("%d peers are known, noted are %d", t.Len(), len(j.last))
	}
	listened := t.Listened(s.now)
	for i, p := range t.order {
		was, known := j.last[p.id()]
		if !known {
			s.failf("%v is not noted", p.id())
		}
		want, got := t.Record(i, s.now), was.record.After(listened-was.at, 0)
		if is, noted := settled(&want, &want), settled(&got, &want); !reflect.DeepEqual(is, noted) {
			diff := cmp.Diff(is, noted, cmpopts.EquateComparable(netip.Addr{}))
			s.failf("%v, here %d, was noted %v ago: -is +noted\n%s", p.id(), p.here, listened-was.at, diff)
		}
		if total := got.Beats; total < want.Beats || total > want.Beats+beatsAhead {
			s.failf("%v has beaten %d times, noted are %d", p.id(), want.Beats, total)
		}
		for k, total := range want.totals() {
			if noted := *got.totals()[k]; noted < *total || noted > *total+*total/8+1 {
				s.failf("total %d of %v is %d, noted is %d", k, p.id(), *total, noted)
			}
		}
	}
}

// settled returns the part of r that does not change with each beat. is is the expected
// record.
func settled(r, is *Record) Record {
	c := *r
	c.Counters = Counters{Mishaps: Mishaps{Deaths: r.Deaths, Restarts: r.Restarts, Mistakes: r.Mistakes}}
	c.Runs, c.SentMS, c.Fresh, c.Guessed = nil, 0, false, false
	c.Heard, c.Phase, c.Learnt, c.Lateness, c.Taught, c.Rule = time.Time{}, 0, 0, 0, 0, ""
	c.Flaps, c.Spared, c.Held, c.HeldPartly, c.Signed = nil, 0, 0, 0, nil
	c.Others, c.Replaced = slices.Clone(c.Others), slices.Clone(c.Replaced)
	for i := range c.Others {
		o := &c.Others[i]
		o.Dead = 0
		if is.State == Alive || is.State.over() {
			o.Used, o.Evidence = 0, 0
		}
	}
	for i := range c.Replaced {
		c.Replaced[i].Dead = 0
	}
	c.Dead, c.Bonus = 0, 0
	if is.State == Alive || is.State.over() { // in these states the value is an estimate, or not used
		c.Used, c.Extended, c.Speaker = 0, false, ""
	}
	if is.State == Alive {
		c.Evidence = 0
	}
	return c
}

// A crash never makes a silence longer than it is, and shortens it at most by a fraction of
// the allowed silence.
func TestCrashMakesNoSilenceLonger(t *testing.T) {
	for _, every := range []time.Duration{time.Second, 10 * time.Second, time.Minute, 3 * time.Minute, 10 * time.Minute, 24 * time.Hour} {
		for _, part := range []float64{0, 0.3, 0.99, 1.1, 1.5, 2.5, 3.3} {
			c := newRig(t)
			c.pass(time.Second)
			id := peerID("web-1", "job")
			silence := c.observe(Beat{ID: id, Interval: every}).Silence
			j := &scribe{make(map[ID]*noted)}
			j.write(c.tracker, c.now)
			for end := c.now.Add(time.Duration(part * float64(every))); c.now.Before(end); {
				c.now = c.now.Add(TickInterval)
				c.tracker.Tick(c.now)
				j.write(c.tracker, c.now)
			}
			exact := c.tracker.Record(0, c.now)
			guess := j.last[id].record.After(c.tracker.Listened(c.now)-j.last[id].at, 0)
			name := fmt.Sprintf("every %v, silent for %v", every, exact.Used)
			require.LessOrEqual(t, guess.Used, exact.Used, name)
			require.GreaterOrEqual(t, guess.Used, exact.Used-(silence.Suspect-every), name)
			require.WithinDuration(t, exact.Heard.Add(exact.Used-guess.Used), guess.Heard, time.Millisecond, name)
			if every > 3*time.Minute || exact.State == Suspect {
				require.Equal(t, exact.Used, guess.Used, name)
			}
		}
	}
}

// After a crash the first beat sets the phase of the schedule: the known phase was an
// estimate, and its error would be learned as lateness.
func TestGuessTeachesNothing(t *testing.T) {
	c := newRig(t)
	actors := c.join(10*time.Second, peerID("web-1", "job"))
	c.pass(10 * time.Minute)
	c.pass(3 * time.Second)
	running := c.tracker.RunningRecord(0, c.now)
	r := running.After(time.Hour, 0)
	lateness := r.Lateness
	require.True(t, r.Guessed)
	next := New(c.opts, c.now)
	next.Restore(&r, c.now, c.now)
	c.tracker = next
	c.pass(10 * time.Minute)
	got := c.tracker.Record(0, c.now)
	require.Zero(t, lateness)
	require.Less(t, got.Lateness, 10*time.Millisecond)
	require.Empty(t, c.deaths())
	require.NotEmpty(t, actors)
	require.Zero(t, got.Lost, "nor is it known how many beats were lost")
	require.Equal(t, actors[0].beat.Seq, got.Runs[0].High)
}

// After a crash it is unknown which numbers of a run were received in signed beats: no signed
// beat is accepted without a time that proves that it is new.
func TestRecordedBeatIsWorthNothingAfterACrash(t *testing.T) {
	l := newRig(t)
	l.opts.ReplayWindow = 5 * time.Minute
	l.tracker = New(l.opts, l.now)
	signed := Beat{ID: peerID("web-1", "job"), Run: "r", Seq: 1, Interval: 10 * time.Second, Signed: true, SentMS: l.now.UnixMilli()}
	require.Equal(t, Accepted, l.observe(signed).Fate)
	j := &scribe{make(map[ID]*noted)}
	j.write(l.tracker, l.now)
	for range 60 {
		l.pass(10 * time.Second)
		signed.Seq, signed.SentMS = signed.Seq+1, l.now.UnixMilli()
		require.Equal(t, Accepted, l.observe(signed).Fate)
	}
	recorded := signed
	l.pass(10 * time.Minute)
	crashed := j.last[signed.ID].record.After(l.tracker.Listened(l.now), 0)
	l.tracker = New(l.opts, l.now)
	l.tracker.Restore(&crashed, l.now, l.now)
	require.Equal(t, Replayed, l.observe(recorded).Fate)
	l.pass(TickInterval)
	signed.Seq, signed.SentMS = signed.Seq+1, l.now.UnixMilli()
	require.Equal(t, Accepted, l.observe(signed).Fate)
}

// The nearer a death is, the more often the time is saved; while all peers are well it is
// hardly ever saved.
func TestPaceFollowsTheShortestSilence(t *testing.T) {
	c := newRig(t)
	require.Equal(t, LongestPace, c.tracker.Pace(), "no peer is known")
	actors := c.join(10*time.Minute, hosts(2)...)
	c.pass(time.Minute + 10*time.Minute)
	require.Equal(t, LongestPace, c.tracker.Pace(), "all are well")
	pause(actors[0])
	c.passUntil(time.Hour, func() bool { return c.tracker.Count(Suspect) == 1 })
	require.LessOrEqual(t, c.tracker.Pace(), 20*time.Minute/100)
	require.GreaterOrEqual(t, c.tracker.Pace(), time.Second)
	resume(actors[0])
	c.pass(10 * time.Minute)
	require.Equal(t, LongestPace, c.tracker.Pace(), "it is back")

	c.restart(time.Second)
	require.Less(t, c.tracker.Pace(), LongestPace, "no beat was received yet")
	c.pass(11 * time.Minute)
	require.Equal(t, LongestPace, c.tracker.Pace())
	require.Empty(t, c.deaths())
}

// Totals are saved ahead by these small amounts, and this rarely.
func TestTotalsAreSavedAhead(t *testing.T) {
	saved, times := uint64(0), 0
	for total := uint64(1); total <= 1_000_000; total++ {
		if total > saved {
			saved = ahead(total)
			times++
		}
		require.GreaterOrEqual(t, saved, total)
		require.LessOrEqual(t, saved, total+total/8)
	}
	require.Less(t, times, 1200)
	require.Zero(t, ahead(0))
	require.EqualValues(t, 15, ahead(15), "small totals are exact")
}

// The total of beats never decreases after a crash, and jumps ahead by only a few: a collector
// that is killed again and again does not count many beats that never came.
func TestBeatsAreSavedAhead(t *testing.T) {
	c := newRig(t)
	b := Beat{ID: peerID("web-1", "job"), Interval: time.Second}
	saved, times := uint64(0), 0
	for n := uint64(1); n <= 1000; n++ {
		c.now = c.now.Add(time.Second)
		c.observe(b)
		if records, _ := c.tracker.TakeUnsaved(nil, 1, c.now); len(records) > 0 {
			saved = records[0].Beats
			times++
		}
		require.GreaterOrEqual(t, saved, n)
		require.LessOrEqual(t, saved, n+beatsAhead)
		if n < fewBeats-1 {
			require.LessOrEqual(t, saved, uint64(fewBeats))
		}
	}
	require.LessOrEqual(t, times, 15)

	r := c.tracker.RunningRecord(0, c.now)
	for range 100 {
		c.tracker = New(c.opts, c.now)
		c.tracker.Restore(&r, c.now, c.now)
		c.observe(b)
		r = c.tracker.RunningRecord(0, c.now)
	}
	require.LessOrEqual(t, r.Beats, uint64(1000+beatsAhead+100*fewBeats))
}

// If changes are discarded instead of saved, none are kept.
func TestWhatIsDroppedIsNotTaken(t *testing.T) {
	c := newRig(t)
	b := Beat{ID: peerID("web-1", "job"), Interval: time.Second}
	c.observe(b)
	require.True(t, c.tracker.Unsaved())
	c.tracker.DropUnsaved(everything)
	require.False(t, c.tracker.Unsaved())
	c.observe(Beat{ID: b.ID, Status: SaysDead})
	records, _ := c.tracker.TakeUnsaved(nil, 10, c.now)
	require.Len(t, records, 1, "it is noted again")
}
