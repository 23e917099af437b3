// Package judge leads beats to the tracker, and what the tracker says to Telegraf: a
// beat or a tick goes in, verdicts become metrics, and one queue keeps them in order.
// It is the only package that names a measurement, a tag or a field. It knows what
// beats say and what liveness makes of them, and never a socket, a file of the state
// or a secret.
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

// portion is how many peers are looked at under one lock, so that a Gather of
// many does not hold up beats and verdicts.
const portion = 512

// Options are the rules of the operator.
type Options struct {
	Rules     liveness.Options // with Ask
	EmitBeats bool             // each beat makes a metric
	PIDField  bool             // its pid is a field, not a tag
	Log       telegraf.Logger
}

// A Judge has a tracker, tells it the time, and emits what it says. Taking and judging
// never wait for the accumulator: between them lies the queue. Its methods may be
// called concurrently.
type Judge struct {
	options Options
	queue   *queue
	gathers chan chan struct{} // each closed when that Gather is emitted
	ended   chan struct{}      // closed when nothing is emitted any more

	mu       sync.Mutex // guards the rest; held while transitions are queued, which keeps them in order
	tracker  *liveness.Tracker
	expected []liveness.Expected
	isolated time.Time // since when; zero if not
	beats    fates     // taken so far

	restarted      time.Time     // when the tracker was set up anew last
	listenedBefore time.Duration // by the trackers before

	herald *herald.Herald
	news   chan struct{} // has an entry when there is something to tell to mates; nil without
	ticks  atomic.Uint64

	flow flow // of metrics to Telegraf

	conflicts loglimit.Limiter
	rare      loglimit.Limiter
	forgotten []liveness.ID // guarded by mu: dead peers of which that is yet to be logged
	forgets   loglimit.Limiter
	panics    atomic.Int64
	panicked  loglimit.Limiter
	anew      atomic.Bool // the tracker was set up anew, and that is yet to be saved
}

// New returns a Judge that listens from now on. Run KeepTime and Emit.
func New(options Options, now time.Time) *Judge {
	j := &Judge{options: options, queue: newQueue(), gathers: make(chan chan struct{}), ended: make(chan struct{})}
	j.tracker, j.herald = liveness.New(options.Rules, now), herald.New(options.Rules.Mates, now)
	if options.Rules.Mates {
		j.news = make(chan struct{}, 1)
	}
	j.queue.pushEvent(startedMetric(now))
	return j
}

// Observe takes a beat. The transitions of the outcome are dealt with.
func (j *Judge) Observe(b *Beat) liveness.Outcome {
	out, conflict, rare := j.judge(&b.Beat)
	out.Transitions = nil
	if conflict != nil {
		j.warn(conflict)
	}
	if rare {
		j.warnOfRare(b.ID, out.Gap)
	}
	if out.Fate == liveness.Accepted && j.options.EmitBeats {
		j.queue.pushBeat(b.ID, beatMetric(b, &out, j.options.PIDField))
	}
	return out
}

// judge has the tracker judge a beat. It returns the conflict that this shows, or nil, and
// whether it shows that the peer beats too rarely.
func (j *Judge) judge(b *liveness.Beat) (_ liveness.Outcome, conflict *liveness.Transition, rare bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := j.tracker.Observe(time.Now(), b) // under the lock: readers must not overtake each other
	j.beats[out.Fate]++
	rare = b.Interval == 0 && slices.ContainsFunc(out.Transitions, isSecondMistake)
	return out, j.tell(out.Transitions), rare
}

// isSecondMistake reports whether a peer lives that was dead twice and had not ended.
func isSecondMistake(tr liveness.Transition) bool {
	return tr.Event == liveness.Changed && tr.State == liveness.Alive && tr.Mistakes == 2
}

// warnOfRare says that a peer which declares no interval beats more rarely than it may. It is
// not called with j.mu held.
func (j *Judge) warnOfRare(id liveness.ID, gap time.Duration) {
	if more, ok := j.rare.Allow(time.Now()); ok {
		every := gap.Round(time.Second)
		j.options.Log.Warnf("Peer %s beats every %s but announces no interval, so it was reported dead twice between beats: add ?every=%s to its URL, "+
			"send interval_ms in its beats, or set 'dead_after' in a rule%s", id, every, every, more)
	}
}

// warn says that two processes have one name. It is not called with j.mu
// held: a log may be slow.
func (j *Judge) warn(conflict *liveness.Transition) {
	if more, ok := j.conflicts.Allow(time.Now()); ok {
		j.options.Log.Warnf("Two processes beat as %s, from %s and %s: %s%s",
			conflict.ID, placeOf(conflict.Addr), placeOf(conflict.Other), advice(conflict), more)
	}
}

// placeOf returns what to call an address in messages.
func placeOf(addr netip.Addr) string {
	if !addr.IsValid() {
		return "a unix socket"
	}
	return addr.String()
}

// advice says what to do about two processes of one name: they are on two
// machines, or on one.
func advice(conflict *liveness.Transition) string {
	switch {
	case conflict.ID.Service == liveness.HostService:
		return "two machines have this host name, or two senders run on one machine: rename one machine, or stop one sender"
	case conflict.Addr != conflict.Other:
		return "if they are two machines, rename one of them; if not, give the services different names"
	}
	return "give the services different names"
}

// Consider returns what would become of b, of which nothing is recorded.
func (j *Judge) Consider(b *Beat) liveness.Outcome {
	j.mu.Lock()
	defer j.mu.Unlock()
	if after, replayed := j.tracker.Replayed(&b.Beat, time.Now()); replayed {
		return liveness.Outcome{Fate: liveness.Replayed, After: after}
	}
	if j.tracker.Foreign(&b.Beat) {
		return liveness.Outcome{Fate: liveness.Foreign}
	}
	if j.tracker.Unlisted(&b.Beat, time.Now()) {
		return liveness.Outcome{Fate: liveness.Unlisted}
	}
	return liveness.Outcome{Silence: j.tracker.SilenceFor(&b.Beat)}
}

// Near returns the names of peers that are like one that is not known.
func (j *Judge) Near(id liveness.ID) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.tracker.Near(id)
}

// ConnEnded takes the end of a connection from an address.
func (j *Judge) ConnEnded(conn liveness.ConnID, end liveness.End, from netip.Addr) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.tell(j.tracker.ConnEnded(time.Now(), conn, end, from))
}

// KeepTime lets the tracker judge silence until ctx ends, and not before the collector has been
// heard for so long as it was deaf: TCP tries again after as long a time as it has tried.
func (j *Judge) KeepTime(ctx context.Context, deaf time.Duration) {
	timer := time.NewTimer(max(deaf, liveness.TickInterval))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			j.tick()
			timer.Reset(liveness.TickInterval) // never sooner: what is received meanwhile has to be heard
		}
	}
}

// tick judges silence, of a portion of the peers under one lock.
func (j *Judge) tick() {
	now, more := time.Time{}, true
	for more {
		now, more = j.tickPart(now)
	}
	j.logForgotten(now)
}

// tickPart goes on with the tick of a time, or begins one if that is zero.
func (j *Judge) tickPart(at time.Time) (now time.Time, more bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if now = at; now.IsZero() {
		now = time.Now() // under the lock: readers must not overtake it
		if j.Flows() {   // else it would come out when others have told it
			j.queue.pushLate(j.herald.Settle(now))
		}
	}
	if !j.Contained("judging silence", func() { more = j.judgeSilence(now) }) {
		j.Contained("rebuilding the verdicts", func() { j.startAnew(now) })
	}
	if !more {
		j.ticks.Add(1)
	}
	return now, more
}

func (j *Judge) judgeSilence(now time.Time) (more bool) {
	transitions, more := j.tracker.TickPart(now, portion)
	if isolated := j.tracker.Isolated(); isolated == j.isolated.IsZero() {
		j.isolate(isolated, now)
	}
	j.tell(transitions)
	return more
}

// isolate tells that the collector is probably cut off, or no more.
func (j *Judge) isolate(isolated bool, now time.Time) {
	lasted := time.Duration(0)
	if isolated {
		j.isolated = now
	} else {
		lasted, j.isolated = now.Sub(j.isolated), time.Time{}
	}
	j.queue.pushEvent(isolatedMetric(isolated, lasted, now))
}

// tell queues transitions and returns the last conflict among them, or nil.
// j.mu is held.
func (j *Judge) tell(transitions []liveness.Transition) *liveness.Transition {
	if len(transitions) == 0 {
		j.wakeMates()
		return nil
	}
	var conflict *liveness.Transition
	now := time.Now()
	for _, tr := range transitions {
		j.queue.pushChange(tr, j.herald.Admit(&tr, now))
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

// Expect sets what the operator expects.
func (j *Judge) Expect(all []liveness.Expected) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.expected = all
	j.tell(j.tracker.Expect(all, time.Now()))
}

// Unmet returns what placeholders stand for.
func (j *Judge) Unmet() []liveness.Expected {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.tracker.Unmet()
}
