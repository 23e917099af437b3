package sender

import (
	"slices"
	"sync"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// reports has the current report of each peer of a Sender. Every session copies
// them at its own pace.
type reports struct {
	mu      sync.Mutex // guards what follows
	all     []report
	changed chan struct{} // closed at the next change; nil if nothing waits for it

	departed bool // the sender has said goodbye, with
	backIn   time.Duration
}

// A report is the current state of one peer, as the Sender reports it.
type report struct {
	peer    Peer
	version int // incremented with every change, from 1
}

// begin sets the first peers. Updates from before Run override them.
func (r *reports) begin(peers []Peer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	updated := r.all
	r.all = nil
	for _, p := range peers {
		r.put(p)
	}
	for i := range updated {
		r.put(updated[i].peer)
	}
}

func (r *reports) update(p Peer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.put(p)
	r.notify()
}

func (r *reports) put(p Peer) {
	if r.departed { // a late update must not undo the goodbye
		p.turnIntoGoodbye(r.backIn)
	}
	for i := range r.all {
		if known := &r.all[i]; known.peer.isSamePeer(&p) {
			known.peer = p
			known.version++
			return
		}
	}
	r.all = append(r.all, report{peer: p, version: 1})
}

// sayGoodbye turns every report of a peer that has not ended into a goodbye.
func (r *reports) sayGoodbye(backIn time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.departed, r.backIn = true, backIn
	for i := range r.all {
		if r.all[i].peer.turnIntoGoodbye(backIn) {
			r.all[i].version++
		}
	}
	r.notify()
}

// reset makes r ready for another Run.
func (r *reports) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all, r.departed = nil, false
}

func (r *reports) notify() {
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

// snapshot returns a copy of all reports, and a channel that is closed when
// they change.
func (r *reports) snapshot() ([]report, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.changed == nil {
		r.changed = make(chan struct{})
	}
	return slices.Clone(r.all), r.changed
}

// A delivery is the progress of one report at one server.
type delivery struct {
	seq   int64 // of the last beat
	sent  int   // last version sent
	acked int   // last version acknowledged
	times int   // how often the last version was sent
}

// A choice selects the reports for a batch of beats.
type choice func(r *report, d *delivery) bool

// due selects the reports that every beat repeats: all but acknowledged goodbyes.
func due(r *report, d *delivery) bool {
	return !r.peer.Silent && !(r.peer.leaving() && d.acked == r.version)
}

// unsent selects the reports that have changed since they were last sent.
func unsent(r *report, d *delivery) bool { return !r.peer.Silent && d.sent < r.version }

// unackedEnd selects the ends that are not acknowledged.
func unackedEnd(r *report, d *delivery) bool { return r.peer.ended() && d.acked < r.version }

// compose returns the beats to send over link and notes the answers to expect.
// Beats of living peers come first and share one answer, the answer to the last of
// them: it proves that the earlier ones have arrived too. Each end asks for its own
// answer, because it may be refused. Ends come last, so that the collector knows
// that the host of a service is alive before the service ends.
func (s *session) compose(which choice, link *link) []wire.Beat {
	var living, ends []int
	for i := range s.reports {
		switch r := &s.reports[i]; {
		case !which(r, &s.deliveries[i]):
		case r.peer.ended():
			ends = append(ends, i)
		default:
			living = append(living, i)
		}
	}
	beats := s.appendBatch(nil, living, link)
	for i := range ends {
		beats = s.appendBatch(beats, ends[i:i+1], link)
	}
	return beats
}

// appendBatch appends the beats for some reports. The last beat asks for an answer.
func (s *session) appendBatch(beats []wire.Beat, reports []int, link *link) []wire.Beat {
	if len(reports) == 0 {
		return beats
	}
	b := batch{at: time.Now()}
	for _, i := range reports {
		r, d := &s.reports[i], &s.deliveries[i]
		beats = append(beats, s.nextBeat(r, d, link))
		b.seq, b.versions = d.seq, append(b.versions, reportVersion{i, r.version})
	}
	beats[len(beats)-1].Ack = true
	link.expect(b)
	return beats
}

// nextBeat returns the next beat for a report.
func (s *session) nextBeat(r *report, d *delivery, link *link) wire.Beat {
	d.seq++
	if d.sent != r.version {
		d.sent, d.times = r.version, 0
	}
	beat := r.peer.beat()
	beat.Check = s.check
	beat.Run, beat.Seq = s.run, d.seq
	beat.SentMS = time.Now().Add(s.clock.ahead).UnixMilli()
	if s.sender.Key.isSet() {
		beat.To = s.recipient.to
	}
	beat.IntervalMS = s.sender.Interval.Milliseconds()
	beat.RTTMicros = s.rtt.Microseconds()
	if !beat.IP.IsValid() && !r.peer.NoIP {
		beat.IP = link.local
	}
	return beat
}
