package cluster

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

var (
	schedules = flag.Int("schedules", 60, "how many random schedules the model of several collectors takes")
	firstSeed = flag.Uint64("first", 0, "the seed of the first one")
	replay    = flag.Int64("replay", -1, "the seed of a schedule that is to be told in full")
)

// A plan is what may happen in a world. Not all happens in each, so that what does can be
// seen.
type plan struct {
	rules      liveness.Options
	collectors int
	senders    int
	length     time.Duration // in which things go wrong

	pause time.Duration // between two things that go wrong, about
	one   bool          // a sender may beat to one collector only
	hosts bool          // several senders are of one host
	does  []func(*world)
}

func newWorld(seed uint64, traced bool) *world {
	w := &world{rnd: newRandom(seed), traced: traced}
	w.oracle = newOracle(w)
	w.plan = drawPlan(w)
	w.people()
	return w
}

func newRandom(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 17)) }

// people makes the collectors, the lines between them, and the senders.
func (w *world) people() {
	for i := range w.plan.collectors {
		w.collectors = append(w.collectors, &collector{w: w, name: fmt.Sprint("c", i+1), number: i})
	}
	for _, from := range w.collectors {
		lines := make([]*line, 0, len(w.collectors))
		for _, to := range w.collectors {
			lines = append(lines, &line{w: w, from: from, to: to, slow: w.between(2*time.Millisecond, 50*time.Millisecond)})
		}
		w.lines = append(w.lines, lines)
	}
	for i := range w.plan.senders {
		w.addSender(i)
	}
}

func (w *world) addSender(i int) {
	s := &sender{
		w: w, id: liveness.ID{Source: fmt.Sprint("h", i+1), Service: []string{"app", liveness.HostService}[w.rnd.IntN(2)]},
		addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), watched: w.oneIn(2), dated: !w.oneIn(4),
		interval: w.between(200*time.Millisecond, 3*time.Second).Round(time.Millisecond),
	}
	if w.plan.hosts {
		s.id = liveness.ID{Source: fmt.Sprint("h", i/3+1), Service: []string{liveness.HostService, "app", "db"}[i%3]}
	}
	only := w.plan.one && w.oneIn(3)
	chosen := w.rnd.IntN(len(w.collectors))
	for j, c := range w.collectors {
		if !only || j == chosen {
			s.paths = append(s.paths, &path{s: s, to: c, slow: w.between(2*time.Millisecond, 100*time.Millisecond)})
		}
	}
	w.senders = append(w.senders, s)
	w.oracle.know(s)
}

// drawPlan draws what may happen.
func drawPlan(w *world) plan {
	p := plan{
		collectors: 2 + w.rnd.IntN(2), senders: 2 + w.rnd.IntN(3), length: w.between(60*time.Second, 90*time.Second),
		pause: w.between(time.Second, 15*time.Second), one: w.oneIn(3), hosts: w.oneIn(4),
	}
	if w.oneIn(8) {
		p.senders = 12 // enough for isolation
	}
	p.rules = rules(w)
	if w.oneIn(4) {
		p.rules.IsolationPercent = 30
	}
	for _, do := range faults {
		if w.oneIn(2) {
			p.does = append(p.does, do)
		}
	}
	if len(p.does) == 0 {
		p.does = faults
	}
	return p
}

// rules returns the options of all collectors.
func rules(w *world) liveness.Options {
	return liveness.Options{
		Terms: liveness.Terms{
			DeadAfter: 210 * time.Second, Margin: liveness.MarginOf(3), Grace: w.between(time.Second, 5*time.Second), ForgetDead: 72 * time.Hour,
		},
		MinSilence: liveness.MinSilence, ForgetLeft: 24 * time.Hour, IsolationHold: time.Minute,
		MaxPeers: 100, MaxBeatsPerSecond: 10, Mates: true,
	}
}

// faults are what may go wrong, and what senders do.
var faults = []func(*world){
	(*world).killOne, (*world).sayEnd, (*world).hangOne, (*world).hangUpOne, (*world).breakPath, (*world).beginOne, (*world).beginOne,
	(*world).part, (*world).part, (*world).partOneWay,
	(*world).loseSome, (*world).stallOne, (*world).crashOne, (*world).stopOne, (*world).startOne, (*world).startOne, (*world).setClock, (*world).blockOne,
}

func (w *world) anySender() *sender       { return w.senders[w.rnd.IntN(len(w.senders))] }
func (w *world) anyCollector() *collector { return w.collectors[w.rnd.IntN(len(w.collectors))] }

func (w *world) killOne() { w.anySender().kill(w.oneIn(2)) }

func (w *world) hangOne() { w.anySender().hang(w.between(time.Second, 30*time.Second)) }

func (w *world) hangUpOne() {
	s := w.anySender()
	if p := s.paths[w.rnd.IntN(len(s.paths))]; s.state == beats {
		p.hangUp([]liveness.End{liveness.Closed, liveness.Reset}[w.rnd.IntN(2)])
	}
}

func (w *world) beginOne() {
	s := w.anySender()
	if s.state != beats && s.state != hangs {
		s.begin(w.oneIn(3))
	}
}

func (w *world) sayEnd() {
	s := w.anySender()
	var b liveness.Beat
	switch w.rnd.IntN(4) {
	case 0:
		b.Status = liveness.SaysDead
	case 1:
		b.Status, b.HasExitCode = liveness.SaysLeaving, true
	case 2:
		b.Status = liveness.SaysLeaving
	case 3:
		b.Status, b.BackIn = liveness.SaysLeaving, w.between(2*time.Second, 20*time.Second)
	}
	paths := s.paths
	if w.oneIn(2) {
		at := w.rnd.IntN(len(paths))
		paths = paths[at : at+1]
	}
	s.say(b, paths)
}

func (w *world) breakPath() {
	s := w.anySender()
	s.paths[w.rnd.IntN(len(s.paths))].breakFor(w.between(time.Second, 60*time.Second), w.anyBreak())
}

func (w *world) anyBreak() lineState { return []lineState{lineCut, lineHeld}[w.rnd.IntN(2)] }

// part parts two collectors in both directions.
func (w *world) part() {
	a, b := w.anyCollector(), w.anyCollector()
	if a == b {
		return
	}
	d, how := w.between(500*time.Millisecond, 60*time.Second), w.anyBreak()
	w.partLine(w.lines[a.number][b.number], how, d)
	w.partLine(w.lines[b.number][a.number], how, d)
}

func (w *world) partOneWay() {
	a, b := w.anyCollector(), w.anyCollector()
	if a != b {
		w.partLine(w.lines[a.number][b.number], w.anyBreak(), w.between(500*time.Millisecond, 60*time.Second))
	}
}

// loseSome has a line lose a part of the messages for a while.
func (w *world) loseSome() {
	a, b := w.anyCollector(), w.anyCollector()
	if a == b {
		return
	}
	l := w.lines[a.number][b.number]
	w.tracef("line %s > %s loses messages", a.name, b.name)
	l.lossy = true
	w.oracle.disturb()
	w.after(w.between(500*time.Millisecond, 30*time.Second), func() {
		l.lossy = false
		l.openSince = w.now
		w.oracle.disturb()
	})
}

func (w *world) partLine(l *line, how lineState, d time.Duration) {
	if l.state != lineOpen {
		return
	}
	l.set(how)
	w.after(d, func() {
		if l.state == how {
			l.set(lineOpen)
		}
	})
}

func (w *world) stallOne() {
	if c := w.anyCollector(); c.listens() {
		c.stall(w.between(200*time.Millisecond, 20*time.Second))
	}
}

func (w *world) crashOne() {
	if c := w.anyCollector(); c.up {
		c.crash(w.oneIn(5))
		w.mayStart(c)
	}
}

func (w *world) stopOne() {
	if c := w.anyCollector(); c.listens() {
		c.stop()
		w.mayStart(c)
	}
}

// mayStart has a collector that has ended started again by its supervisor, or not.
func (w *world) mayStart(c *collector) {
	if life := c.life; !w.oneIn(3) {
		w.after(w.between(500*time.Millisecond, 20*time.Second), func() {
			if c.life == life && !c.up {
				w.startAnyhow(c)
			}
		})
	}
}

func (w *world) startOne() {
	if c := w.anyCollector(); !c.up && w.now > 5*time.Second {
		w.startAnyhow(c)
	}
}

// startAnyhow starts a collector that has much saved, or little.
func (w *world) startAnyhow(c *collector) {
	if w.oneIn(3) {
		c.startIn(w.between(500*time.Millisecond, 15*time.Second))
	} else {
		c.start()
	}
}

func (w *world) setClock() {
	c := w.anyCollector()
	c.wall += w.between(-time.Hour, time.Hour)
	w.tracef("the clock of %s is %v off", c.name, c.wall)
}

// blockOne lets a collector hand over no metrics for a while.
func (w *world) blockOne() {
	c := w.anyCollector()
	if !c.up || c.blocked > 0 {
		return
	}
	c.blocked = w.now
	w.tracef("the output of %s is blocked", c.name)
	w.oracle.disturb()
	life := c.life
	w.after(w.between(time.Second, 20*time.Second), func() {
		if c.life == life && c.blocked > 0 {
			w.tracef("the output of %s is not blocked any more", c.name)
			c.unblock()
			w.oracle.disturb()
		}
	})
}

// settling is for how long all is well in the end: a round and some more.
const settling = roundPause + 15*time.Second

// run lets everything happen.
func (w *world) run() {
	for _, c := range w.collectors {
		w.after(w.between(0, 2*time.Second), c.start)
	}
	for _, s := range w.senders {
		w.after(w.between(0, 8*time.Second), func() {
			s.begin(true)
			for _, p := range s.paths {
				p.run()
			}
		})
	}
	var look, goWrong func()
	look = func() { w.oracle.look(); w.after(100*time.Millisecond, look) }
	w.after(0, look)
	goWrong = func() {
		if w.now < w.plan.length {
			w.plan.does[w.rnd.IntN(len(w.plan.does))](w)
			w.after(w.between(0, 2*w.plan.pause), goWrong)
		}
	}
	w.after(10*time.Second, goWrong)
	w.pass(w.plan.length)
	w.heal()
	w.pass(w.plan.length + settling)
	if w.oracle.wrong == "" && w.oracle.differs() != "" { // a third one may learn of it in the next round
		w.oracle.late++
		w.pass(w.plan.length + settling + roundPause)
	}
	if w.oracle.wrong == "" {
		w.oracle.finish()
	}
}

// heal makes all well.
func (w *world) heal() {
	w.tracef("all is made well")
	for _, lines := range w.lines {
		for _, l := range lines {
			if l.lossy {
				l.lossy = false
				w.oracle.disturb()
			}
			l.set(lineOpen)
		}
	}
	for _, c := range w.collectors {
		if c.blocked > 0 {
			c.unblock()
			w.oracle.disturb()
		}
		if !c.up {
			c.start()
		} else if c.stalled && !c.reads {
			c.resume()
		}
	}
	for _, s := range w.senders {
		for _, p := range s.paths {
			p.heal()
		}
		if s.state == hangs {
			s.set(beats)
		}
	}
}

// tell returns all that has happened.
func (w *world) tell() string { return strings.Join(w.trace, "\n") }

// TestAnyScheduleKeepsThePromises lets collectors, the network between them and senders
// fail at random, and compares what is told with what was so.
func TestAnyScheduleKeepsThePromises(t *testing.T) {
	t.Parallel()
	if *replay >= 0 {
		w := newWorld(uint64(*replay), true)
		w.run()
		t.Log("\n" + w.tell())
		require.Empty(t, w.oracle.wrong)
		return
	}
	var tellings, deaths, twice, otherID, stale, late atomic.Int64
	failed := 0
	for seed := *firstSeed; seed < *firstSeed+uint64(*schedules); seed++ {
		w := newWorld(seed, false)
		w.run()
		o := w.oracle
		tellings.Add(int64(o.tellings))
		deaths.Add(int64(o.deaths))
		twice.Add(int64(o.twice))
		otherID.Add(int64(o.otherID))
		stale.Add(int64(o.stale))
		late.Add(int64(o.late))
		if o.wrong != "" {
			t.Errorf("seed %d, to be told by -replay %d: %s", seed, seed, o.wrong)
			if failed++; failed == 20 {
				break
			}
		}
	}
	t.Logf("%d events told, %d deaths, %d told twice with one id, %d with another, "+
		"%d never taken back as who told them was restarted; %d schedules settled in the second round",
		tellings.Load(), deaths.Load(), twice.Load(), otherID.Load(), stale.Load(), late.Load())
}

// A reading of two clocks is what it should be.
func TestInstantHasTwoClocks(t *testing.T) {
	t.Parallel()
	a, b := instant(time.Second, -time.Hour), instant(3*time.Second, time.Hour+time.Millisecond)
	require.Equal(t, 2*time.Second, b.Sub(a))
	require.Equal(t, began.Add(-time.Hour).UnixNano(), a.UnixNano())
	require.Equal(t, began.Add(time.Hour+time.Millisecond).UnixNano(), b.UnixNano())
	require.Equal(t, 2*time.Hour+time.Millisecond, b.Round(0).Sub(a.Round(0)))
}
