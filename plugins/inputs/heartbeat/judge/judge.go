// Package judge passes beats to the tracker, and the tracker's verdicts to Telegraf. Its inputs are
// beats and ticks. Its outputs are metrics, and a queue keeps them in order. No other package names
// measurements, tags or fields. The package knows nothing about sockets, state
// files or secrets.
package judge

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/influxdata/telegraf"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/herald"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/loglimit"
)

// batchSize is how many peers are processed before the lock is released, so that gathering many
// peers does not delay beats and verdicts.
const batchSize = 512

// Options of a Judge.
type Options struct {
	Rules     liveness.Options // including Ask
	EmitBeats bool             // emit a metric for each beat
	PIDField  bool             // emit the pid of a beat as a field instead of a tag
	Log       telegraf.Logger
}

// A Judge owns a tracker, calls it at each tick, and emits its verdicts. A queue separates the
// Judge from the accumulator, so that receiving and judging never wait for Telegraf. Its methods
// may be called concurrently.
type Judge struct {
	options Options
	queue   *queue
	gathers chan chan struct{} // each is closed when that Gather is done
	ended   chan struct{}      // closed when emitting has ended

	mu       sync.Mutex // guards the rest; held while transitions are queued, so that they stay in order
	tracker  *liveness.Tracker
	expected []liveness.Expected
	isolated time.Time  // when the collector became isolated; zero if it is not
	beats    fateCounts // the beats received so far

	restarted      time.Time     // when the tracker was last rebuilt
	listenedBefore time.Duration // how long previous trackers have listened

	reporter *herald.Reporter
	news     chan struct{} // has an entry when there is something to send to mates; nil without mates
	ticks    atomic.Uint64

	flow flow // of metrics to Telegraf

	conflicts loglimit.Limiter
	rare      loglimit.Limiter
	forgotten []liveness.ID // guarded by mu: forgotten dead peers that are not logged yet
	forgets   loglimit.Limiter
	panics    atomic.Int64
	panicked  loglimit.Limiter
	rebuilt   atomic.Bool // the tracker was rebuilt, and everything must be saved again
}

// New returns a Judge that listens from now on. The caller must run KeepTime and Emit.
func New(options Options, now time.Time) *Judge {
	j := &Judge{options: options, queue: newQueue(), gathers: make(chan chan struct{}), ended: make(chan struct{})}
	j.tracker, j.reporter = liveness.New(options.Rules, now), herald.New(options.Rules.Mates, now)
	if options.Rules.Mates {
		j.news = make(chan struct{}, 1)
	}
	j.queue.pushEvent(startedMetric(now))
	return j
}

// Observe processes a beat. The returned outcome has no transitions, because they are queued.
func (j *Judge) Observe(b *Beat) liveness.Outcome {
	out, conflict, rare := j.judge(&b.Beat)
	out.Transitions = nil
	if conflict != nil {
		j.warnOfConflict(conflict)
	}
	if rare {
		j.warnOfRare(b.ID, out.Gap)
	}
	if out.Fate == liveness.Accepted && j.options.EmitBeats {
		j.queue.pushBeat(b.ID, beatMetric(b, &out, j.options.PIDField))
	}
	return out
}

// judge passes a beat to the tracker. It returns the conflict that the beat reveals, or nil,
// and whether the peer beats too rarely.
func (j *Judge) judge(b *liveness.Beat) (_ liveness.Outcome, conflict *liveness.Transition, rare bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := j.tracker.Observe(time.Now(), b) // under the lock, so that time never goes back for the tracker
	j.beats[out.Fate]++
	rare = b.Interval == 0 && slices.ContainsFunc(out.Transitions, isSecondMistake)
	return out, j.enqueue(out.Transitions), rare
}

// isSecondMistake reports whether the peer is alive again after it was reported dead by mistake for
// the second time.
func isSecondMistake(tr liveness.Transition) bool {
	return tr.Event == liveness.Changed && tr.State == liveness.Alive && tr.Mistakes == 2
}

// warnOfRare warns about a peer that announces no interval and beats too rarely. It must not be
// called with j.mu held, because a log may be slow.
func (j *Judge) warnOfRare(id liveness.ID, gap time.Duration) {
	if more, ok := j.rare.Allow(time.Now()); ok {
		every := gap.Round(time.Second)
		j.options.Log.Warnf("Peer %s beats every %s but announces no interval, so it was reported dead twice between beats: add ?every=%s to its URL, "+
			"send interval_ms in its beats, or set 'dead_after' in a rule%s", id, every, every, more)
	}
}

// warnOfConflict warns about two processes that beat with the same name. It must not be called with
// j.mu held, because a log may be slow.
func (j *Judge) warnOfConflict(conflict *liveness.Transition) {
	if more, ok := j.conflicts.Allow(time.Now()); ok {
		j.options.Log.Warnf("Two processes beat as %s, from %s and %s: %s%s",
			conflict.ID, placeOf(conflict.Addr), placeOf(conflict.Other), advice(conflict), more)
	}
}

// placeOf returns the text that names the source of a beat in log messages.
func placeOf(addr netip.Addr) string {
	if !addr.IsValid() {
		return "a unix socket"
	}
	return addr.String()
}

// advice returns what to do about two processes that beat with the same name. They may be on two
// machines or on one.
func advice(conflict *liveness.Transition) string {
	switch {
	case conflict.ID.Service == liveness.HostService:
		return "two machines have this host name, or two senders run on one machine: rename one machine, or stop one sender"
	case conflict.Addr != conflict.Other:
		return "if they are two machines, rename one of them; if not, give the services different names"
	}
	return "give the services different names"
}

// Consider returns the outcome that b would have, without recording anything.
func (j *Judge) Consider(b *Beat) liveness.Outcome {
	j.mu.Lock()
	defer j.mu.Unlock()
	if after, replayed := j.tracker.Replayed(&b.Beat, time.Now()); replayed {
		return liveness.Outcome{Fate: liveness.Replayed, After: after}
	}
	if j.tracker.OwnedByOtherUser(&b.Beat) {
		return liveness.Outcome{Fate: liveness.OwnedByOtherUser}
	}
	if j.tracker.Unlisted(&b.Beat, time.Now()) {
		return liveness.Outcome{Fate: liveness.Unlisted}
	}
	return liveness.Outcome{Silence: j.tracker.SilenceFor(&b.Beat)}
}

// Near returns the names of known peers that are similar to the name of an unknown peer.
func (j *Judge) Near(id liveness.ID) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.tracker.Near(id)
}

// ConnEnded processes the end of a connection that came from an address.
func (j *Judge) ConnEnded(conn liveness.ConnID, end liveness.End, from netip.Addr) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.enqueue(j.tracker.ConnEnded(time.Now(), conn, end, from))
}

// KeepTime lets the tracker judge silence at each tick until ctx ends. deaf is how long the
// collector was not listening. KeepTime first waits that long, because TCP backs off: after an
// outage, TCP may wait that long again before it retries.
func (j *Judge) KeepTime(ctx context.Context, deaf time.Duration) {
	timer := time.NewTimer(max(deaf, liveness.TickInterval))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			j.tick()
			timer.Reset(liveness.TickInterval) // never sooner: beats received meanwhile must be processed first
		}
	}
}

// tick judges the silence of all peers. It releases the lock after each batch of peers.
func (j *Judge) tick() {
	now, more := time.Time{}, true
	for more {
		now, more = j.tickPart(now)
	}
	j.logForgotten(now)
}

// tickPart continues the tick of the given time, or begins one if the time is zero.
func (j *Judge) tickPart(at time.Time) (now time.Time, more bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if now = at; now.IsZero() {
		now = time.Now() // under the lock, so that time never goes back for the tracker
		if j.Flows() {   // otherwise a mate may report the event before this collector can
			j.queue.pushLate(j.reporter.TakeOverdue(now))
		}
	}
	if !j.CatchPanic("judging silence", func() { more = j.judgeSilence(now) }) {
		j.CatchPanic("rebuilding the verdicts", func() { j.rebuild(now) })
	}
	if !more {
		j.ticks.Add(1)
	}
	return now, more
}

func (j *Judge) judgeSilence(now time.Time) (more bool) {
	transitions, more := j.tracker.TickPart(now, batchSize)
	if isolated := j.tracker.Isolated(); isolated == j.isolated.IsZero() {
		j.queueIsolation(isolated, now)
	}
	j.enqueue(transitions)
	return more
}

// queueIsolation queues the event that the collector is probably isolated, or is no longer
// isolated.
func (j *Judge) queueIsolation(isolated bool, now time.Time) {
	lasted := time.Duration(0)
	if isolated {
		j.isolated = now
	} else {
		lasted, j.isolated = now.Sub(j.isolated), time.Time{}
	}
	j.queue.pushEvent(isolatedMetric(isolated, lasted, now))
}

// enqueue queues transitions and returns the last conflict among them, or nil. The caller holds
// j.mu.
func (j *Judge) enqueue(transitions []liveness.Transition) *liveness.Transition {
	if len(transitions) == 0 {
		j.wakeMates()
		return nil
	}
	var conflict *liveness.Transition
	now := time.Now()
	for _, tr := range transitions {
		j.queue.pushChange(tr, j.reporter.Admit(&tr, now))
		if tr.Event == liveness.Conflict {
			conflict = &tr
		}
		if tr.Reason == liveness.ReasonForgotten && tr.Previous == liveness.Dead {
			j.forgotten = append(j.forgotten, tr.ID)
		}
	}
	j.wakeMates()
	return conflict
}

// Expect sets the peers that the operator expects.
func (j *Judge) Expect(all []liveness.Expected) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.expected = all
	j.enqueue(j.tracker.Expect(all, time.Now()))
}

// Unmet returns the expected peers that have never beaten.
func (j *Judge) Unmet() []liveness.Expected {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.tracker.Unmet()
}
