package liveness

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// window is what the tests allow a clock to be off.
const window = 5 * time.Minute

// newGuard returns a life in which signed beats are judged.
func newGuard() *life {
	opts := defaults()
	opts.ReplayWindow = window
	return &life{tracker: New(opts, epoch), now: epoch}
}

// signed returns a signed beat that is sent now by a clock that is off.
func (l *life) signed(run string, seq int64, off time.Duration) Beat {
	return Beat{
		ID: peerID("web-1", "host"), Run: run, Seq: seq, Interval: time.Minute,
		Signed: true, SentMS: l.now.Add(off).UnixMilli(),
	}
}

func TestReplayIsRefused(t *testing.T) {
	for name, try := range map[string]struct {
		again func(l *life, old Beat) Beat // what is sent after old, "a" 7, and "b" 1
		after bool                         // the refusal tells a time
	}{
		"the latest once more":      {again: func(l *life, _ Beat) Beat { return l.signed("b", 1, 0) }},
		"one of the run before":     {again: func(_ *life, old Beat) Beat { return old }},
		"a number less":             {again: func(l *life, _ Beat) Beat { return l.signed("a", 6, 0) }},
		"a run that was not heard":  {again: func(l *life, _ Beat) Beat { return l.signed("c", 1, -time.Minute) }, after: true},
		"a clock too far behind":    {again: func(l *life, _ Beat) Beat { return l.signed("c", 1, -window-time.Second) }, after: true},
		"a clock too far ahead":     {again: func(l *life, _ Beat) Beat { return l.signed("c", 1, window+time.Second) }, after: true},
		"its clock was set to 1970": {again: func(l *life, b Beat) Beat { b = l.signed("c", 1, 0); b.SentMS = 1; return b }, after: true},
	} {
		t.Run(name, func(t *testing.T) {
			l := newGuard()
			old := l.signed("a", 7, 0)
			require.Equal(t, Accepted, l.beat(old).Fate)
			l.pass(10 * time.Second)
			require.Equal(t, Accepted, l.beat(l.signed("b", 1, 0)).Fate)
			counted := l.counters(t, old.ID)
			out := l.beat(try.again(l, old))
			require.Equal(t, Replayed, out.Fate)
			require.Equal(t, try.after, out.After > 0)
			require.Equal(t, counted, l.counters(t, old.ID), "who is replayed has said nothing")

			if try.after { // who heeds the answer is heard
				next := l.signed("c", 1, 0)
				next.SentMS = out.After + 1
				require.Equal(t, Accepted, l.beat(next).Fate)
			}
		})
	}
}

// A wrong clock costs nobody a beat who goes on with his run, and a clock of
// ours that is set costs nobody a new one.
func TestClocksDoNotEndRuns(t *testing.T) {
	l := newGuard()
	seq := int64(0)
	accepted := func(run string, off time.Duration) {
		t.Helper()
		seq++
		require.Equal(t, Accepted, l.beat(l.signed(run, seq, off)).Fate)
		l.pass(10 * time.Second)
	}
	accepted("a", 0)
	for _, off := range []time.Duration{24 * time.Hour, -24 * time.Hour, 0, -time.Hour, 9000 * time.Hour, 0} {
		accepted("a", off)
	}
	accepted("b", 0)
	accepted("c", window-time.Second)
	d := l.signed("d", 1, 0)
	out := l.beat(d)
	require.Equal(t, Replayed, out.Fate, "c is ahead")
	d.SentMS = out.After + 1
	require.Equal(t, Accepted, l.beat(d).Fate)
	require.Equal(t, Accepted, l.beat(l.signed("d", 2, 0)).Fate)
}

// Within a run a clock may be wrong; what it shows does not open the way for
// beats of other runs.
func TestWrongClocksOpenNoWay(t *testing.T) {
	l := newGuard()
	old := l.signed("a", 1, 0)
	l.beat(old)
	for _, run := range []string{"x", "b"} {
		l.pass(time.Second)
		require.Equal(t, Accepted, l.beat(l.signed(run, 1, 0)).Fate)
	}
	require.Equal(t, Accepted, l.beat(l.signed("b", 2, 24*time.Hour)).Fate)
	require.Equal(t, Replayed, l.beat(old).Fate)
	require.Equal(t, Accepted, l.beat(l.signed("b", 3, -time.Minute)).Fate)
	require.Equal(t, Replayed, l.beat(l.signed("c", 1, -30*time.Second)).Fate)
}

// When our clock was an hour ahead and is set right, nobody has to wait for an
// hour to begin a run.
func TestOurClockMayBeSetBack(t *testing.T) {
	l := newGuard()
	l.beat(l.signed("a", 1, 0))
	record := l.tracker.Record(0, l.now)
	record.SentMS += time.Hour.Milliseconds()
	next := newGuard()
	next.tracker.Restore(&record, l.now, next.now)
	require.Equal(t, Accepted, next.beat(next.signed("b", 1, 0)).Fate)
	next.pass(time.Second)
	require.Equal(t, Replayed, next.beat(next.signed("c", 1, -2*time.Second)).Fate, "from now on the order holds again")
}

// Beats are accepted once, whatever becomes of runs in between.
func TestNothingIsHeardTwice(t *testing.T) {
	l := newGuard()
	var said []Beat
	for i := range 40 {
		b := l.signed(string(rune('a'+i%7)), int64(i+1), time.Duration(i%3-1)*time.Second)
		if l.beat(b).Fate == Accepted {
			said = append(said, b)
		}
		l.pass(500 * time.Millisecond)
		for _, b := range said {
			require.Equal(t, Replayed, l.beat(b).Fate)
		}
	}
	require.Len(t, said, 15)
}

// Who was forgotten, or was never known, needs a clock that is right.
func TestStrangersNeedTheTime(t *testing.T) {
	l := newGuard()
	require.Equal(t, Replayed, l.beat(l.signed("a", 1, -window-time.Millisecond)).Fate)
	require.Zero(t, l.tracker.Len(), "nobody is made of a replay")
	require.Equal(t, Accepted, l.beat(l.signed("a", 1, -window)).Fate)
}

// What was heard is not forgotten by a restart of the collector.
func TestReplaySurvivesARestart(t *testing.T) {
	l := newGuard()
	old := l.signed("a", 7, 0)
	l.beat(old)
	l.pass(time.Second)
	once := l.signed("b", 1, 0)
	l.beat(once)
	record := l.tracker.Record(0, l.now)
	next := newGuard()
	next.now = l.now.Add(time.Second)
	next.tracker.Restore(&record, l.now, next.now)
	require.Equal(t, Replayed, next.beat(old).Fate)
	require.Equal(t, Replayed, next.beat(once).Fate)
	older := old
	older.Run = "not remembered"
	require.Equal(t, Replayed, next.beat(older).Fate)
	require.Equal(t, Accepted, next.beat(l.signed("a", 8, 0)).Fate)
}
