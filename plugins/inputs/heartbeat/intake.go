package heartbeat

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/influxdata/telegraf"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// portion is how many peers are looked at under one lock, so that a Gather of
// many does not hold up beats and verdicts.
const portion = 512

// An intake leads beats to the tracker, and what the tracker says to the
// accumulator. Reading and judging never wait for the accumulator: between
// them lies the queue.
type intake struct {
	rules   liveness.Options
	naming  naming
	log     telegraf.Logger
	queue   *queue
	gathers chan chan struct{} // each closed when that Gather is emitted
	ended   chan struct{}      // closed when nothing is emitted any more

	listeners []*listener // set before anything runs

	mu       sync.Mutex // guards the rest; held while transitions are queued, which keeps them in order
	tracker  *liveness.Tracker
	expected []liveness.Expected
	isolated time.Time // since when; zero if not
	beats    fates     // observed so far

	restarted      time.Time     // when the tracker was set up anew last
	listenedBefore time.Duration // by the trackers before

	conflicts rarely
	panics    atomic.Int64
	panicked  rarely
	anew      atomic.Bool // the tracker was set up anew, and that is yet to be saved
}

func newIntake(rules liveness.Options, naming naming, log telegraf.Logger, now time.Time) *intake {
	in := &intake{
		rules: rules, naming: naming, log: log, queue: newQueue(),
		gathers: make(chan chan struct{}), ended: make(chan struct{}),
	}
	in.rules.Ask = in.ask
	in.tracker = liveness.New(in.rules, now)
	in.queue.pushEvent(startedMetric(now))
	return in
}

// consider returns what would become of b, of which nothing is recorded.
func (in *intake) consider(b *liveness.Beat) liveness.Outcome {
	in.mu.Lock()
	defer in.mu.Unlock()
	if after, replayed := in.tracker.Replayed(b, time.Now()); replayed {
		return liveness.Outcome{Fate: liveness.Replayed, After: after}
	}
	if in.tracker.Foreign(b) {
		return liveness.Outcome{Fate: liveness.Foreign}
	}
	return liveness.Outcome{Silence: in.tracker.SilenceFor(b)}
}

// near returns the names of peers that are like one that is not known.
func (in *intake) near(id liveness.ID) []string {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.tracker.Near(id)
}

// ask asks the kernel what it knows of the other side of a connection, and
// returns the address of that.
func (in *intake) ask(id liveness.ConnID) (liveness.Path, netip.Addr) {
	for _, l := range in.listeners {
		if c := l.conn(id); c != nil {
			return c.askKernel(), c.remote
		}
	}
	return liveness.PathUnknown, netip.Addr{}
}

// expect sets whom the operator expects.
func (in *intake) expect(all []liveness.Expected) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.expected = all
	in.tell(in.tracker.Expect(all, time.Now()))
}

// unmet returns whom placeholders stand for.
func (in *intake) unmet() []liveness.Expected {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.tracker.Unmet()
}

// observe takes in a beat. The transitions of the outcome are dealt with.
func (in *intake) observe(o *observation) liveness.Outcome {
	out, conflict := in.judge(&o.Beat)
	out.Transitions = nil
	if conflict != nil {
		in.warn(conflict)
	}
	if out.Fate == liveness.Accepted && in.naming.beats {
		in.queue.pushBeat(o.ID, in.naming.beatMetric(o, &out))
	}
	return out
}

// judge has the tracker judge a beat, and returns the conflict that this shows,
// or nil.
func (in *intake) judge(b *liveness.Beat) (liveness.Outcome, *liveness.Transition) {
	in.mu.Lock()
	defer in.mu.Unlock()
	out := in.tracker.Observe(time.Now(), b) // under the lock: readers must not overtake each other
	in.beats[out.Fate]++
	return out, in.tell(out.Transitions)
}

// warn says that two processes have one name. It is not called with in.mu
// held: a log may be slow.
func (in *intake) warn(conflict *liveness.Transition) {
	if more, ok := in.conflicts.allow(time.Now()); ok {
		in.log.Warnf("Two processes beat as %s, from %s and from %s: %s%s",
			conflict.ID, placeOf(conflict.Addr), placeOf(conflict.Other), advice(conflict), more)
	}
}

// advice says what to do about two processes of one name: they are on two
// machines, or on one.
func advice(conflict *liveness.Transition) string {
	switch {
	case conflict.ID.Service == liveness.HostService:
		return "two machines have this host name, or two senders run on one; give one machine another name, or stop one sender"
	case conflict.Addr != conflict.Other:
		return "if they are two machines, give one another host name; if not, give their services different names"
	}
	return "give their services different names"
}

func (in *intake) connEnded(conn liveness.ConnID, end liveness.End, from netip.Addr) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.tell(in.tracker.ConnEnded(time.Now(), conn, end, from))
}

// keepTime lets the tracker judge silence until ctx ends.
func (in *intake) keepTime(ctx context.Context) {
	timer := time.NewTimer(liveness.TickInterval)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			in.tick()
			timer.Reset(liveness.TickInterval) // never sooner: what is received meanwhile has to be heard
		}
	}
}

func (in *intake) tick() {
	in.mu.Lock()
	defer in.mu.Unlock()
	now := time.Now()
	if !in.contained("judging silence", func() { in.judgeSilence(now) }) {
		in.contained("setting up the verdicts anew", func() { in.startAnew(now) })
	}
}

func (in *intake) judgeSilence(now time.Time) {
	transitions := in.tracker.Tick(now)
	if isolated := in.tracker.Isolated(); isolated == in.isolated.IsZero() {
		in.isolate(isolated, now)
	}
	in.tell(transitions)
}

// isolate tells that the collector is probably cut off, or no more.
func (in *intake) isolate(isolated bool, now time.Time) {
	lasted := time.Duration(0)
	if isolated {
		in.isolated = now
	} else {
		lasted, in.isolated = now.Sub(in.isolated), time.Time{}
	}
	in.queue.pushEvent(isolatedMetric(isolated, lasted, now))
}

// tell queues transitions and returns the last conflict among them, or nil.
// in.mu is held.
func (in *intake) tell(transitions []liveness.Transition) *liveness.Transition {
	var conflict *liveness.Transition
	for _, tr := range transitions {
		in.queue.pushChange(tr)
		if tr.Event == liveness.Conflict {
			conflict = &tr
		}
	}
	return conflict
}

// gather has every peer emitted and waits until that is done.
func (in *intake) gather() {
	done := make(chan struct{})
	select {
	case in.gathers <- done:
	case <-in.ended:
		return
	}
	select {
	case <-done:
	case <-in.ended:
	}
}

// emit hands what is queued to acc until ctx ends and the queue is empty. own
// returns the metrics that belong to no peer.
func (in *intake) emit(ctx context.Context, acc telegraf.Accumulator, own func(time.Time) []telegraf.Metric) {
	defer close(in.ended)
	for {
		select {
		case <-in.queue.filled:
			in.add(acc, in.queue.take())
		case done := <-in.gathers:
			in.contained("gathering peers", func() { in.emitPeers(acc) })
			in.contained("gathering the collector", func() {
				for _, m := range own(time.Now().Truncate(time.Millisecond)) {
					acc.AddMetric(m)
				}
			})
			close(done)
		case <-ctx.Done():
			in.add(acc, in.queue.take())
			return
		}
	}
}

// emitPeers emits all peers. What is queued is older than the views taken in
// the same moment and goes first. It goes from the end: when a peer is
// forgotten meanwhile, the last one, already emitted, takes its number and is
// emitted again.
func (in *intake) emitPeers(acc telegraf.Accumulator) {
	views := make([]liveness.View, 0, portion)
	for next, more := in.count(), true; more; more = next > 0 {
		var queued []waiting
		views, queued, next = in.look(views[:0], next)
		in.add(acc, queued)
		for i := range views {
			addPeer(acc, &views[i])
		}
	}
}

// look appends the views of a portion of the peers below number next, and returns
// what was queued before, and where to go on.
func (in *intake) look(views []liveness.View, next int) ([]liveness.View, []waiting, int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	now := time.Now()
	next = min(next, in.tracker.Len())
	for len(views) < portion && next > 0 {
		next--
		views = append(views, in.tracker.View(next, now))
	}
	return views, in.queue.take(), next
}

func (in *intake) count() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.tracker.Len()
}

// fates count beats by what became of them, since the plugin was started.
type fates [liveness.Nobody + 1]int64

// health is what the plugin says about itself.
type health struct {
	stalled   time.Duration
	isolated  bool
	coalesced int64
	panics    int64
	peers     [len(liveness.States)]int
	beats     fates
}

func (in *intake) health() health {
	in.mu.Lock()
	defer in.mu.Unlock()
	own := health{
		stalled: in.tracker.Stalled(), isolated: in.tracker.Isolated(),
		coalesced: in.queue.coalescedTotal(), panics: in.panics.Load(), beats: in.beats,
	}
	for i, state := range liveness.States {
		own.peers[i] = in.tracker.Count(state)
	}
	return own
}

// add hands items to acc. One that cannot be handed over costs no other.
func (in *intake) add(acc telegraf.Accumulator, items []waiting) {
	for len(items) > 0 {
		in.contained("emitting", func() {
			for len(items) > 0 {
				item := items[0]
				items = items[1:]
				addItem(acc, &item)
			}
		})
	}
}

func addItem(acc telegraf.Accumulator, item *waiting) {
	if item.change == nil {
		acc.AddMetric(item.metric)
		return
	}
	acc.AddMetric(eventMetric(item.change))
	addPeer(acc, &item.change.View)
}

func addPeer(acc telegraf.Accumulator, v *liveness.View) {
	acc.AddMetric(peerMetric(v))
	if isDown(v) {
		acc.AddMetric(downMetric(v))
	}
}
