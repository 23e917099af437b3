package liveness

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A chance is a random choice of a peer, its path and its options.
type chance struct {
	opts     Options
	fixed    bool          // see rig
	interval time.Duration // 0 if not declared
	every    time.Duration // between beats
	jitter   time.Duration
	loss     float64
	seq      bool
	long     bool // one connection for all beats
	rnd      *rand.Rand
}

func drawChance(rnd *rand.Rand) *chance {
	c := &chance{rnd: rnd, opts: defaults(), loss: 0.5 * rnd.Float64() * rnd.Float64(), seq: rnd.IntN(2) == 0, long: rnd.IntN(2) == 0}
	c.every = time.Duration(float64(100*time.Millisecond) * math.Pow(10, 1.3*rnd.Float64())) // to 2 s
	if rnd.IntN(100) == 0 {
		c.every *= 100
	}
	if rnd.IntN(8) > 0 {
		c.interval = c.every
	}
	c.jitter = time.Duration(2 * rnd.Float64() * rnd.Float64() * rnd.Float64() * float64(c.every))
	o := &c.opts
	o.Margin = MarginOf(1 + rnd.IntN(5))
	c.fixed = rnd.IntN(2) == 0
	o.DeadAfter = time.Duration(2+rnd.IntN(10)) * time.Second
	o.Fixed = rnd.IntN(8) == 0
	if rnd.IntN(4) == 0 {
		o.MaxDeadAfter = time.Duration(2+rnd.IntN(10)) * time.Second
	}
	o.MaxBeatsPerSecond = 0
	return c
}

// A watcher compares the reports about one peer with the silences that the tracker has
// promised.
type watcher struct {
	*rig
	name     string
	c        *chance
	at       time.Duration // now, since the epoch
	clock    time.Duration // the verdict clock, counted here
	lastTick time.Duration
	heard    time.Duration // on the verdict clock
	promised Silence
	state    State
	due      int // ticks past the deadline
}

// TestNoDeathBeforeItsPromise simulates 10,000 peers: none is reported dead before the silence
// has passed that the tracker promised at its last beat, and none later than at the second
// tick after that.
func TestNoDeathBeforeItsPromise(t *testing.T) {
	t.Parallel()
	const parts, each = 10, 1000
	for part := range parts {
		t.Run(strconv.Itoa(part), func(t *testing.T) {
			t.Parallel()
			deaths := 0
			for n := part * each; n < (part+1)*each; n++ {
				c := drawChance(rand.New(rand.NewPCG(uint64(n), 42)))
				w := newWatcher(t, c, fmt.Sprintf("case %d, every %v, declared %v", n, c.every, c.interval))
				w.play()
				deaths += int(w.tracker.order[0].Deaths)
			}
			require.GreaterOrEqual(t, deaths, each, "each dies at least once")
		})
	}
}

func newWatcher(t *testing.T, c *chance, name string) *watcher {
	w := &watcher{rig: newRig(t, func(o *Options) { *o = c.opts }), name: name, c: c}
	w.fixed = c.fixed
	w.checked, w.hook = true, func(_ Fate, transitions []Transition) { w.listen(transitions) }
	return w
}

func (w *watcher) play() {
	at, seq := time.Duration(w.c.rnd.Int64N(int64(TickInterval))), int64(0)
	for range 6 + w.c.rnd.IntN(12) {
		w.until(at)
		seq++
		if seq == 1 || w.c.rnd.Float64() >= w.c.loss {
			w.beat(seq)
		}
		at += w.c.every
		if w.c.jitter > 0 {
			at = max(at+time.Duration(w.c.rnd.Int64N(int64(w.c.jitter)))-w.c.jitter/3, w.at)
		}
	}
	w.until(w.at + w.promised.Dead + slack)
	require.Equal(w.t, Dead, w.state, w.name)
}

// until lets time pass. It leaves out the ticks at which nothing can change, because ticks
// that are not near a deadline only make the test slower.
func (w *watcher) until(end time.Duration) {
	for w.lastTick+TickInterval <= end {
		w.at = w.lastTick + TickInterval
		if w.c.rnd.IntN(200) == 0 {
			w.at += time.Duration(w.c.rnd.IntN(100)) * time.Millisecond // a late tick
		}
		w.clock += w.at - w.lastTick
		w.lastTick = w.at
		past := w.state != Dead && w.clock >= w.heard+w.promised.Dead
		if past {
			w.due++
		}
		w.rig.now = epoch.Add(w.at)
		w.tick()
		if w.due >= 2 {
			require.Equal(w.t, Dead, w.state, "%s: %v after the last beat, %v were promised", w.name, w.clock-w.heard, w.promised.Dead)
		}
	}
	w.at = max(w.at, end)
}

func (w *watcher) beat(seq int64) {
	b := &Beat{ID: peerID("web-1", "nginx"), Interval: w.c.interval}
	if w.c.seq {
		b.Run, b.Seq = "r", seq
	}
	if w.c.long {
		b.Conn = 1
	}
	w.rig.now = epoch.Add(w.at)
	out := w.observe(*b)
	require.Equal(w.t, Accepted, out.Fate, w.name)
	w.promised, w.heard, w.due = out.Silence, w.clock+w.at-w.lastTick, 0
	require.Equal(w.t, Alive, w.state, w.name)
	w.bounds()
}

// bounds checks the promised silence itself: it is at least the interval plus the margin, and
// at most the documented limit.
func (w *watcher) bounds() {
	terms, silence := &w.c.opts.Terms, w.promised
	least := terms.silence(w.c.interval, 0, nil, 0).Dead
	most := least
	if w.c.interval > 0 && !w.c.fixed && !terms.Fixed {
		interval := w.c.interval
		longest := interval + interval/maxDrift
		most = longest + maxLead*interval + maxStretch*(longest*time.Duration(terms.Margin)/marginUnit+1)
		most = min(most, interval+maxMargin)
		if terms.MaxDeadAfter > 0 {
			most = min(most, terms.MaxDeadAfter)
		}
		most = max(most, least)
	}
	require.GreaterOrEqual(w.t, silence.Dead, max(least, MinSilence), w.name)
	require.LessOrEqual(w.t, silence.Dead, max(most, MinSilence), w.name)
	require.Less(w.t, silence.Suspect, silence.Dead, w.name)
}

func (w *watcher) listen(transitions []Transition) {
	for _, tr := range transitions {
		if tr.Event != Changed {
			continue
		}
		require.False(w.t, w.state == Dead && tr.State == Suspect, "%s: suspect after dead", w.name)
		if tr.State == Dead {
			require.GreaterOrEqual(w.t, w.clock-w.heard, w.promised.Dead, "%s: reported dead too soon", w.name)
		}
		if tr.State == Suspect {
			require.GreaterOrEqual(w.t, w.clock-w.heard, w.promised.Suspect, "%s: suspect too soon", w.name)
		}
		w.state = tr.State
	}
}
