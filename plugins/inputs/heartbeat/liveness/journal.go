// This file prepares for a crash of the collector. A journal saves the records that have
// changed and, from time to time, how long the tracker has listened. From both, After
// reconstructs what Record would have returned just before the crash. While all peers are well,
// very little is saved: the last record of a peer implies that the peer stayed well unless it
// beats rarely, and totals are saved ahead. docs/decisions/0020 gives the reasons.

package liveness

import (
	"slices"
	"time"
)

const (
	// LongestPace is the longest interval at which the listened time is saved; shortestPace
	// is the shortest.
	LongestPace  = 5 * time.Minute
	shortestPace = time.Second
	// paceShare limits how much listened time a crash of the collector may lose: one hundredth
	// of the allowed silence that is left.
	paceShare = 100

	// seldom is the interval above which every beat is saved. If a peer beats more often, a
	// crash hardly matters: its next beat comes soon.
	seldom = 3 * time.Minute

	// beatsAhead is how far ahead the total of beats is saved at most, so that the total does
	// not decrease after a crash: databases treat a decreasing total as a reset. For the first
	// beats that a collector receives, the limit is fewBeats. Otherwise a collector that is
	// killed again and again would count many beats that never came.
	beatsAhead = 128
	fewBeats   = 5
	// mostAhead is the same limit for mishaps, which are rarer.
	mostAhead = 1024
)

// lateClasses is the number of classes of remaining silence. They are powers of two of
// seconds: 32 classes cover more than a hundred years.
const lateClasses = 33

// unsaved lists the changes since TakeUnsaved was last called.
type unsaved struct {
	peers []*peer // peers whose record has changed: those with listed set, each once; some may have been forgotten since
	gone  [][]ID  // IDs that had no peer at some time since then; a new peer may have one. In lists of goneAtOnce, except the last
	// late counts peers by peer.late, the class of the silence that they have left. In class c
	// that is at least 2^(c-1) s, except in the first class. Class 0 is not counted.
	late [lateClasses]int
}

// goneAtOnce is how many IDs of removed peers TakeUnsaved returns at most.
const goneAtOnce = 4096

// Changes contains what must be saved, as of one instant. Changes without records state that
// nothing had changed until then.
type Changes struct {
	At       time.Time
	Listened time.Duration // how long the tracker had listened at At
	Gone     []ID          // IDs that no longer have a peer; to be applied before Records
	Records  []Record
	More     bool // more Changes follow at once: all may be written together
	End      bool // the collector stops
}

// Unsaved reports whether TakeUnsaved has anything to return.
func (t *Tracker) Unsaved() bool { return len(t.unsaved.peers)+len(t.unsaved.gone) > 0 }

// TakeUnsaved appends to records at most n records that have changed since they were last
// taken, and returns IDs that had no peer at some time since then. Apply the IDs before the
// records. TakeUnsaved returns all IDs before any records, because a peer that was removed and
// came back is in both. The caller owns both slices.
func (t *Tracker) TakeUnsaved(records []Record, n int, now time.Time) (all []Record, gone []ID) {
	u := &t.unsaved
	if len(u.gone) > 0 {
		gone, u.gone = u.gone[0], u.gone[1:]
	}
	if len(u.gone) > 0 {
		return records, gone
	}
	for ; n > 0 && len(u.peers) > 0; n-- {
		last := len(u.peers) - 1
		p := u.peers[last]
		u.peers[last], u.peers = nil, u.peers[:last]
		p.listed = false
		if p.index >= 0 {
			records = append(records, t.runningRecordOf(p, now))
		}
	}
	if len(u.peers) == 0 {
		u.peers = nil // its capacity: after a start it was as long as order
	}
	return records, gone
}

// DropUnsaved discards the changes of at most n peers that TakeUnsaved would return, and
// reports whether there are more.
func (t *Tracker) DropUnsaved(n int) (more bool) {
	u := &t.unsaved
	some := u.peers[max(len(u.peers)-n, 0):]
	for _, p := range some {
		p.listed = false
	}
	clear(some)
	u.peers, u.gone = u.peers[:len(u.peers)-len(some)], nil
	return len(u.peers) > 0
}

// RunningRecord is Record for a collector that keeps running: the record is still sufficient
// if the collector crashes later.
func (t *Tracker) RunningRecord(i int, now time.Time) Record {
	return t.runningRecordOf(t.order[i], now)
}

func (t *Tracker) runningRecordOf(p *peer, now time.Time) Record {
	r := t.recordOf(p, now)
	if p.here == 0 {
		return r // with the totals that were saved
	}
	r.Fresh = p.state == Alive && !p.beatsSeldom()
	r.Beats = p.beatsSaved()
	for _, total := range []*uint64{&r.Lost, &r.Late, &r.Duplicates, &r.Limited, &r.Conflicts} {
		*total = ahead(*total)
	}
	return r
}

// Heard reports whether a beat of peer number i was received since New.
func (t *Tracker) Heard(i int) bool { return t.order[i].here > 0 }

// After returns r brought up to date. rest is how long its collector went on listening, and
// later is how long later collectors listened, both without taking another record. A fresh
// record implies that the peer stayed well: its last beat came at most one interval before the
// collector ended.
func (r *Record) After(rest, later time.Duration) Record {
	const longest = 20 * 365 * 24 * time.Hour // can be added to
	after := *r
	used := after.Used + rest
	after.othersAfter(rest, later, longest)
	if after.Fresh {
		after.forgetNumbers(used)
		used = min(used, after.span())
		after.Heard = after.Heard.Add(after.Used + rest - used)
		after.Fresh, after.Guessed = false, true
	}
	after.Used = min(used+later, longest)
	after.jobsAfter(rest+later, longest)
	if after.Window > 0 { // never forgotten
		after.Window = max(after.Window-rest-later, 1)
	}
	if after.Reason == ReasonIsolated {
		after.Held, after.HeldPartly = min(after.Held+rest+later, longest), min(after.HeldPartly+rest+later, longest)
	}
	return after
}

// othersAfter is After for the processes other than the current one.
func (r *Record) othersAfter(rest, later, longest time.Duration) {
	r.Others, r.Replaced = slices.Clone(r.Others), slices.Clone(r.Replaced)
	for i := range r.Others {
		o := &r.Others[i]
		o.Used += rest
		if r.Fresh && o.Insists {
			o.Used = min(o.Used, spanOf(o.Interval, o.Dead))
		}
		o.Used = min(o.Used+later, longest)
	}
	for i := range r.Replaced {
		r.Replaced[i].Used = min(r.Replaced[i].Used+rest+later, longest)
	}
}

// forgetNumbers forgets which numbers were received, because that is unknown after a crash. A
// signed beat must instead prove when it was sent, by the clock of its sender. used is how far
// that clock has advanced.
func (r *Record) forgetNumbers(used time.Duration) {
	for _, run := range r.Signed {
		r.SentMS = max(r.SentMS, run.SentMS+used.Milliseconds())
	}
	r.Signed, r.Runs = nil, unnumbered(r.Runs)
}

// unnumbered returns runs without their numbers: no beat counts as lost before the next one.
func unnumbered(runs []Run) []Run {
	names := make([]Run, len(runs))
	for i, run := range runs {
		names[i].Name = run.Name
	}
	return names
}

// span is process.span for a record.
func (r *Record) span() time.Duration { return spanOf(r.Interval, r.Dead) }

func spanOf(interval, dead time.Duration) time.Duration {
	if interval > 0 {
		return interval
	}
	return min(dead/4, time.Minute)
}

// touch notes that the record of p must be saved.
func (t *Tracker) touch(p *peer) {
	t.countLate(p)
	p.changed = false
	if !p.listed {
		p.listed = true
		t.unsaved.peers = append(t.unsaved.peers, p)
	}
}

// restored undoes touch for a peer that has not changed since r: that record is saved already.
func (t *Tracker) restored(p *peer, r *Record) {
	if last := len(t.unsaved.peers) - 1; p.state == r.State && p.reason == r.Reason && t.unsaved.peers[last] == p {
		t.unsaved.peers[last] = nil
		t.unsaved.peers = t.unsaved.peers[:last]
		p.listed = false
	}
}

// noteGone notes that id no longer leads to a peer.
func (t *Tracker) noteGone(id ID) {
	gone := &t.unsaved.gone
	last := len(*gone) - 1
	if last < 0 || len((*gone)[last]) == goneAtOnce {
		*gone = append(*gone, nil)
		last++
	}
	(*gone)[last] = append((*gone)[last], id)
}

// noteBeat notes that p has beaten. If p beats rarely, its record is saved after each beat.
// Otherwise it is saved when this collector receives the first beat of p, and when the total
// of beats reaches the value saved. So very little is written while all peers are well.
func (t *Tracker) noteBeat(p *peer) {
	p.here = min(p.here+1, fewBeats)
	first := p.here == 1 || p.here == fewBeats-1
	if first || p.total()%beatsAhead == 0 || p.beatsSeldom() {
		t.touch(p)
	} // rewake notes other changes
}

// beatsSaved returns the value that is saved for the total of beats. The total does not exceed
// it before noteBeat saves the record again.
func (p *peer) beatsSaved() uint64 {
	if p.here < fewBeats-1 {
		return p.beats - uint64(p.here) + fewBeats
	}
	return p.beats + beatsAhead - p.total()%beatsAhead
}

// total is p.beats, shifted so that peers that began together are not saved together.
func (p *peer) total() uint64 { return p.beats + uint64(p.shift) }

// noteSpeaker notes that another run beats for p. The runs decide whether services share the
// silence of their host.
func (p *peer) noteSpeaker(b *Beat) {
	if len(p.host.peers) > 1 && p.life != b.life() || p.watched != b.Watched {
		p.changed = true
	}
}

// beatsSeldom reports whether p beats so rarely that each of its beats is saved.
func (p *peer) beatsSeldom() bool {
	return p.interval > seldom || p.interval == 0 && p.terms.DeadAfter > 4*seldom || p.terms.Schedule != nil
}

// noteMishaps adds more to a total of p that is saved ahead.
func (t *Tracker) noteMishaps(p *peer, total *uint64, more uint64) {
	saved := ahead(*total)
	if *total += more; *total > saved {
		t.touch(p)
	}
}

// ahead returns the value that is saved for a total: up to an eighth more than the total.
func ahead(total uint64) uint64 {
	block := uint64(1)
	for block < mostAhead && 16*block <= total {
		block *= 2
	}
	return (total + block - 1) / block * block
}

// Pace returns how often to save the listened time, from shortestPace to LongestPace. So a
// crash prolongs the remaining silence of no peer by more than a hundredth.
func (t *Tracker) Pace() time.Duration {
	for class, count := range t.unsaved.late {
		if count > 0 {
			left := time.Second << (class - 1)
			return min(max(left/paceShare, shortestPace), LongestPace)
		}
	}
	return LongestPace
}

// countLate counts p if its silence is running out, or if it has not beaten to this collector
// yet.
func (t *Tracker) countLate(p *peer) {
	class := uint8(0)
	late := p.state == Suspect || p.state == Unknown || p.state == Alive && p.here == 0
	if late && !p.foreign() { // a mate judges its silence
		class = 1
		for left := p.deadlineV() - t.tickV; left >= 2*time.Second && class < lateClasses-1; left /= 2 {
			class++
		}
	}
	t.recount(p, class)
}

// recount moves p to another class of remaining silence; class 0 is for peers that are not
// late.
func (t *Tracker) recount(p *peer, class uint8) {
	if p.late > 0 {
		t.unsaved.late[p.late]--
	}
	if p.late = class; class > 0 {
		t.unsaved.late[class]++
	}
}
