package liveness

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"
)

// FuzzReplay plays the script in the bytes to a tracker with a short replay window, and to a
// model that follows section 12.2 of PROTOCOL.md. It checks that both accept the same beats,
// and that no beat is accepted twice, unless its clock was ahead of the window, or our clock
// was set back since.
func FuzzReplay(f *testing.F) {
	// Within a run.
	f.Add([]byte{hold, 0, 0, 0, 0, say, 0, 0, 0, 0, again, 0, again, 1, say, 0, 0, 5, 14})
	// Runs that are forgotten.
	f.Add([]byte{say, 0, 0, 0, 0, say, 0, 1, 0, 1, say, 0, 2, 0, 2, again, 0, say, 0, 3, 0, 9, say, 0, 0, 1, 1})
	// Restarts.
	f.Add([]byte{say, 0, 0, 0, 0, restart, 30, 0, again, 0, say, 0, 1, 0, 4, restart, 0, 11, say, 0, 2, 0, 0})
	// Clocks.
	f.Add([]byte{say, 0, 0, 0, 0, say, 0, 1, 0, 5, say, 0, 1, 1, 13, set, 12, say, 0, 2, 0, 0, set, 2, again, 3})
	// An unknown peer.
	f.Add([]byte{bye, 0, 0, 0, 5, pass, 50, again, 0, pass, 5, again, 0, pass, 10, again, 0, say, 0, 0, 0, 7, say, 0, 0, 0, 8})
	// Beside unsigned beats.
	f.Add([]byte{say, 1, 0, 0, 0, plain, 1, 1, 7, 0, plain, 1, 2, 7, 0, again, 0, look, 1, 0, 0, 1, say, 1, 1, 4, 0})
	// At the limits of the window.
	f.Add([]byte{say, 2, 0, 0, 5, say, 2, 1, 0, 5, wait, 1, say, 2, 1, 0, 5, say, 2, 2, 0, 6, set, 12, look, 2, 3, 0, 0})
	// More runs than are remembered, and then each of them again.
	many := make([]byte, 0, 280)
	for i := range byte(20) {
		many = append(many, say, 0, i, 0, 0, wait, 20)
	}
	for i := range byte(20) {
		many = append(many, again, i, say, 0, i, 1, 4)
	}
	f.Add(many)
	f.Fuzz(func(t *testing.T, script []byte) {
		r := &replays{script: script, model: make(map[ID]*remembered), seq: make(map[ID]map[string]int64)}
		r.rig = newRig(t, func(o *Options) {
			o.ReplayWindow, o.MaxBeatsPerSecond, o.IsolationPercent = shortWindow, 0, 0
			o.ForgetLeft = 2*shortWindow + time.Millisecond
		})
		r.checked = true
		for range 100 {
			if len(r.script) == 0 {
				break
			}
			r.step()
			r.nothingTwice()
		}
	})
}

// The steps of a script; step reads their parameters.
const (
	say     byte = iota // a signed beat
	bye                 // likewise, a goodbye
	hold                // a signed beat that is delayed
	look                // a signed beat that is only checked
	plain               // an unsigned one
	again               // a signed beat that was sent before arrives, again or for the first time
	pass                // ticks
	wait                // milliseconds
	set                 // our clock is set
	restart             // another collector continues
	deeds
)

const shortWindow = 3 * time.Second

// differences are the differences between clocks, and the steps by which clocks are set.
var differences = [...]time.Duration{
	0, time.Millisecond, -time.Millisecond, time.Second, -time.Second,
	shortWindow, shortWindow + time.Millisecond, -shortWindow, -shortWindow - time.Millisecond,
	shortWindow / 2, -shortWindow / 2, 3 * shortWindow, -3 * shortWindow, 24 * time.Hour, -24 * time.Hour, 2 * shortWindow,
}

// replays are a tracker, a model of the beats that it accepts, and the senders, some of which
// replay.
type replays struct {
	*rig
	script []byte
	doing  string
	model  map[ID]*remembered
	seq    map[ID]map[string]int64 // the last number of each run
	sent   []Beat                  // signed
	taken  []Beat                  // beats that must not be accepted again
}

func (r *replays) next() (b byte) {
	if len(r.script) > 0 {
		b, r.script = r.script[0], r.script[1:]
	}
	return b
}

func (r *replays) difference() time.Duration { return differences[int(r.next())%len(differences)] }

func (r *replays) step() {
	switch deed := r.next() % deeds; deed {
	case say, bye, hold, look, plain:
		b := r.beat(deed != plain)
		if deed == bye {
			b.Status = SaysLeaving
		}
		if b.Signed {
			r.sent = append(r.sent, b)
		}
		if deed != hold {
			r.take(b, deed == look)
		}
	case again:
		if len(r.sent) > 0 {
			r.take(r.sent[int(r.next())%len(r.sent)], false)
		}
	case pass:
		for range r.next() {
			r.now = r.now.Add(TickInterval)
			r.tick()
		}
		for id := range r.model { // this test is not about when a peer is forgotten, but about the result
			if r.tracker.lookUp(id) == nil {
				delete(r.model, id)
			}
		}
	case wait:
		r.now = r.now.Add(time.Duration(r.next()) * time.Millisecond)
	case set:
		d := r.difference()
		r.setClock(d)
		r.tracker.epoch = r.tracker.epoch.Add(d) // the monotonic clock is not set
	case restart:
		r.restart(time.Duration(r.next())*TickInterval, r.difference())
	}
}

// beat returns the next beat of a run.
func (r *replays) beat(signed bool) Beat {
	b := Beat{
		ID: peerID(fmt.Sprint("web-", r.next()%3), HostService), Interval: time.Minute, Run: string('a' + rune(r.next()%20)), Signed: signed, HasExitCode: true,
	}
	if r.seq[b.ID] == nil {
		r.seq[b.ID] = make(map[string]int64)
	}
	r.seq[b.ID][b.Run] += int64(1 + r.next()%8)
	b.Seq, b.SentMS = r.seq[b.ID][b.Run], r.now.Add(r.difference()).UnixMilli()
	return b
}

func (r *replays) setClock(by time.Duration) {
	r.now = r.now.Add(by)
	r.wasSet(by)
}

// wasSet clears the list of beats that must not be accepted again if our clock was set back,
// because they may then be accepted.
func (r *replays) wasSet(by time.Duration) {
	if by < 0 {
		r.taken = nil
	}
}

// restart makes another collector continue after a while; the clock was set meanwhile.
func (r *replays) restart(down, by time.Duration) {
	r.wasSet(by)
	r.rig.restart(down + by)
}

// take makes the tracker and the model judge a beat.
func (r *replays) take(b Beat, onlyLook bool) {
	r.t.Helper()
	r.doing = fmt.Sprintf("%+v at %d", b, r.now.UnixMilli())
	p := r.model[b.ID]
	want, bySeq := p.takes(&b, r.now.UnixMilli())
	after, replayed := r.tracker.Replayed(&b, r.now)
	if replayed == want || (after > 0) != (replayed && !bySeq) {
		r.t.Fatalf("%s: replayed is %v, after %d; it should be accepted: %v, its run is known: %v", r.doing, replayed, after, want, bySeq)
	}
	if after > 0 && !p.isAhead(r.now.UnixMilli()) { // otherwise the result depends on when the next beat is received
		r.checkRefusalTime(b, after)
	}
	if onlyLook {
		return
	}
	before := r.record(b.ID)
	fate := r.observe(b).Fate
	if (fate == Replayed) != replayed || b.Signed && !replayed && fate != Accepted {
		r.t.Fatalf("%s: its fate is %v", r.doing, fate)
	}
	if replayed {
		if !reflect.DeepEqual(before, r.record(b.ID)) {
			r.t.Fatalf("%s: it is replayed, and changes %+v to %+v", r.doing, before, r.record(b.ID))
		}
		return
	}
	if p == nil {
		p = new(remembered)
		r.model[b.ID] = p
	}
	p.note(&b, r.now.UnixMilli())
	if b.Signed && b.SentMS <= r.now.Add(shortWindow).UnixMilli() {
		r.taken = append(r.taken, b)
	}
}

// checkRefusalTime checks the time in a refusal: a beat sent at that time, and received a
// little later, must be accepted.
func (r *replays) checkRefusalTime(b Beat, after int64) {
	r.t.Helper()
	b.SentMS = after + 1
	if _, replayed := r.tracker.Replayed(&b, r.now.Add(time.Millisecond)); replayed {
		r.t.Fatalf("%s: it should be sent after %d, and then it is replayed too", r.doing, after)
	}
}

func (r *replays) record(id ID) *Record {
	p := r.tracker.lookUp(id)
	if p == nil {
		return nil
	}
	record := r.tracker.Record(int(p.index), r.now)
	return &record
}

func (r *replays) nothingTwice() {
	r.t.Helper()
	for _, b := range r.taken {
		if _, replayed := r.tracker.Replayed(&b, r.now); !replayed {
			r.t.Fatalf("at %d, %+v would be accepted for the second time; the last was %s", r.now.UnixMilli(), b, r.doing)
		}
	}
}

// remembered is the state that the protocol keeps of a peer. It is nil for an unknown peer.
type remembered struct {
	order  []Run       // of all beats; at most two, the latest first
	runs   []SignedRun // likewise, of signed ones; at most sixteen
	latest int64       // sent_ms of the runs that are no longer among them
}

// takes reports whether the protocol accepts a beat, and whether its number alone decides
// that.
func (p *remembered) takes(b *Beat, now int64) (yes, bySeq bool) {
	if !b.Signed {
		return true, false
	}
	latest := int64(0)
	if p != nil {
		for _, run := range p.order {
			if run.Name == b.Run && b.Seq <= run.High {
				return false, true
			}
		}
		if i := p.find(b.Run); i >= 0 {
			return b.Seq > p.runs[i].High, true
		}
		if !p.isAhead(now) {
			latest = p.latest
		}
	}
	return b.SentMS > latest && inWindow(b.SentMS, now), false
}

func (p *remembered) note(b *Beat, now int64) {
	high := b.Seq
	if i := slices.IndexFunc(p.order, func(r Run) bool { return r.Name == b.Run }); i >= 0 {
		high = max(high, p.order[i].High)
		p.order = slices.Delete(p.order, i, i+1)
	}
	p.order = slices.Insert(p.order, 0, Run{b.Run, high})
	p.order = p.order[:min(len(p.order), 2)]
	if b.Signed {
		p.noteSigned(b, now)
	}
}

func (p *remembered) noteSigned(b *Beat, now int64) {
	if p.isAhead(now) {
		p.latest = 0
	}
	run := SignedRun{Name: b.Run, High: b.Seq, SentMS: b.SentMS, HeardMS: now}
	if b.SentMS > now+shortWindow.Milliseconds() {
		run.SentMS = now
	}
	if i := p.find(b.Run); i >= 0 {
		run.SentMS = max(run.SentMS, p.runs[i].SentMS)
		p.runs = slices.Delete(p.runs, i, i+1)
	}
	p.runs = slices.Insert(p.runs, 0, run)
	over := now - shortWindow.Milliseconds()
	for i := len(p.runs) - 1; i >= 2; i-- {
		if i >= 16 || max(p.runs[i].SentMS, p.runs[i].HeardMS) < over {
			p.latest = max(p.latest, p.runs[i].SentMS)
			p.runs = slices.Delete(p.runs, i, i+1)
		}
	}
}

// isAhead reports whether the latest time does not count, because our clock was set back.
func (p *remembered) isAhead(now int64) bool {
	return p != nil && p.latest > now+shortWindow.Milliseconds()
}

func (p *remembered) find(name string) int {
	return slices.IndexFunc(p.runs, func(r SignedRun) bool { return r.Name == name })
}

func inWindow(sent, now int64) bool {
	return now-shortWindow.Milliseconds() <= sent && sent <= now+shortWindow.Milliseconds()
}
