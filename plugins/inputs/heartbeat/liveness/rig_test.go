package liveness

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A rig runs a tracker in virtual time, with senders that beat automatically. All tests that
// need a tracker use it, and so do the scripts of testdata (scenario_test.go) and the random
// models. If checked is set, the invariants of the tracker are checked after every call.
type rig struct {
	t       testing.TB
	opts    Options
	tracker *Tracker
	start   time.Time // ticks are at whole tenths of a second after start
	now     time.Time
	senders []*sender
	told    []said
	checked bool
	fixed   bool                     // beats declare the margin of the options, so that lateness does not extend it
	hook    func(Fate, []Transition) // receives the reports of the tracker; may be nil
}

// A sender beats for one peer until it is paused. Beats that it sends while it is paused are
// lost.
type sender struct {
	beat   Beat
	next   time.Time
	paused bool
	lost   func() bool // reports whether a beat is lost; may be nil
}

// A said is a transition with the time at which it was reported.
type said struct {
	Transition
	at time.Time
}

var epoch = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// slack is how much later than its deadline a death may be reported: it is reported at the
// second tick after the deadline, which may be anywhere between two ticks.
const slack = 3 * TickInterval

func defaults() Options {
	return Options{
		Terms:      Terms{DeadAfter: 210 * time.Second, Margin: MarginOf(3), Grace: 5 * time.Second, ForgetDead: 72 * time.Hour},
		MinSilence: MinSilence, ForgetLeft: time.Hour,
		IsolationPercent: 30, IsolationHold: time.Minute,
		MaxPeers: 1000, MaxBeatsPerSecond: 10,
	}
}

func newRig(t testing.TB, change ...func(*Options)) *rig {
	opts := defaults()
	for _, apply := range change {
		apply(&opts)
	}
	return &rig{t: t, opts: opts, tracker: New(opts, epoch), start: epoch, now: epoch}
}

func peerID(source, service string) ID { return ID{Source: source, Service: service} }

// hosts returns the IDs of n hosts.
func hosts(n int) []ID {
	ids := make([]ID, n)
	for i := range ids {
		ids[i] = peerID(fmt.Sprint("web-", i+1), HostService)
	}
	return ids
}

// addrOf returns an address that is different for each connection.
func addrOf(conn ConnID) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(conn >> 16), byte(conn >> 8), byte(conn)})
}

func (r *rig) hear(transitions []Transition) { r.hearOf(Accepted, transitions) }

func (r *rig) hearOf(fate Fate, transitions []Transition) {
	for _, tr := range transitions {
		r.told = append(r.told, said{tr, r.now})
	}
	if r.hook != nil {
		r.hook(fate, transitions)
	}
	if r.checked {
		checkInvariants(r.t, r.tracker)
	}
}

func (r *rig) observe(b Beat) Outcome {
	if r.fixed && b.Margin == 0 && b.Interval > 0 {
		b.Margin = r.opts.margin(b.Interval)
	}
	out := r.tracker.Observe(r.now, &b)
	r.hearOf(out.Fate, out.Transitions)
	return out
}

func (r *rig) tick() { r.hear(r.tracker.Tick(r.now)) }

func (r *rig) ended(conn ConnID, end End) { r.endedFrom(conn, end, addrOf(conn)) }

func (r *rig) endedFrom(conn ConnID, end End, from netip.Addr) {
	r.hear(r.tracker.ConnEnded(r.now, conn, end, from))
}

func (r *rig) expect(all ...Expected) { r.hear(r.tracker.Expect(all, r.now)) }

func (r *rig) restore(record *Record, saved time.Time) {
	r.hear(r.tracker.Restore(record, saved, r.now))
}

// restart makes another collector continue after the time down from the records of this one.
// Beats sent meanwhile are lost. The restored states are not reported.
func (r *rig) restart(down time.Duration) {
	records := make([]Record, r.tracker.Len())
	for i := range records {
		records[i] = r.tracker.Record(i, r.now)
	}
	r.replace(records, down)
}

// replace makes another collector continue from records that were saved now.
func (r *rig) replace(records []Record, down time.Duration) {
	saved := r.now.Round(0) // a file holds no monotonic reading
	r.now = r.now.Add(down)
	r.tracker = New(r.opts, r.now)
	for i := range records {
		r.tracker.Restore(&records[i], saved, r.now)
	}
	for _, s := range r.senders {
		for ; s.next.Before(r.now); s.next = s.next.Add(s.beat.Interval) {
			s.beat.Seq++
		}
	}
	if r.checked {
		checkInvariants(r.t, r.tracker)
	}
}

// keep makes peers beat from now on, the first time evenly spread over one interval.
func (r *rig) keep(b Beat, ids ...ID) []*sender {
	all := make([]*sender, len(ids))
	for i, id := range ids {
		b.ID = id
		all[i] = &sender{beat: b, next: r.now.Add(b.Interval * time.Duration(i) / time.Duration(len(ids)))}
	}
	r.senders = append(r.senders, all...)
	return all
}

// join makes peers beat through one sender on each host, which watches them.
func (r *rig) join(every time.Duration, ids ...ID) []*sender {
	return r.keep(Beat{Interval: every, Run: "daemon", Watched: true}, ids...)
}

func pause(senders ...*sender) { setPaused(true, senders) }

func resume(senders ...*sender) { setPaused(false, senders) }

func setPaused(paused bool, senders []*sender) {
	for _, s := range senders {
		s.paused = paused
	}
}

// send makes the senders beat that are due.
func (r *rig) send() {
	for _, s := range r.senders {
		for ; !s.next.After(r.now); s.next = s.next.Add(s.beat.Interval) {
			s.beat.Seq++
			if !s.paused && (s.lost == nil || !s.lost()) {
				r.observe(s.beat)
			}
		}
	}
}

// pass lets time pass. The collector ticks ten times a second; beats that were sent since the
// last tick are received after it.
func (r *rig) pass(d time.Duration) {
	r.send()
	end := r.now.Add(d)
	for next := r.nextTick(); !next.After(end); next = r.nextTick() {
		r.now = next
		r.tick()
		r.send()
	}
	r.now = end
	r.send()
}

func (r *rig) nextTick() time.Time {
	at := r.now.Sub(r.start)
	return r.start.Add(at + TickInterval - at%TickInterval)
}

// stall lets time pass while the collector does not listen. Beats that are sent meanwhile are
// received when it listens again, before it ticks.
func (r *rig) stall(d time.Duration) {
	r.now = r.now.Add(d)
	r.send()
}

// passUntil lets time pass until a condition is true, at most for limit.
func (r *rig) passUntil(limit time.Duration, so func() bool) {
	start := r.now
	for !so() && r.now.Sub(start) < limit {
		r.pass(TickInterval)
	}
}

func viewOf(t *Tracker, id ID, now time.Time) (View, bool) {
	at := slices.IndexFunc(t.order, func(p *peer) bool { return p.id() == id })
	if at < 0 {
		return View{}, false
	}
	return t.View(at, now), true
}

func (r *rig) view(id ID) View {
	r.t.Helper()
	v, ok := viewOf(r.tracker, id, r.now)
	require.True(r.t, ok, "%v is not known", id)
	return v
}

func (r *rig) is(id ID) string {
	v, ok := viewOf(r.tracker, id, r.now)
	if !ok {
		return "not known"
	}
	return fmt.Sprint(v.State, " ", v.Reason)
}

// deaths returns the deaths that were reported, in order.
func (r *rig) deaths() []said {
	return slices.DeleteFunc(slices.Clone(r.told), func(s said) bool { return s.Event != Changed || s.State != Dead })
}

// statesOf returns the states reported for id.
func (r *rig) statesOf(id ID) []string {
	var states []string
	for _, s := range r.told {
		if s.ID == id && s.Event == Changed {
			states = append(states, fmt.Sprint(s.State, " ", s.Reason))
		}
	}
	return states
}
