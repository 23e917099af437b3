// A crash of the collector. A journal saves the records that have changed and, from time to
// time, for how long the tracker has listened. From both, After reconstructs what Record
// would have returned at the end. While all peers are well, next to nothing is saved: the
// last record of a peer implies that all was well unless the peer beats seldom, and totals
// are saved ahead. docs/decisions/0020 gives the reasons.

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
	// paceShare limits what a crash of the collector may lose: one hundredth of the silence
	// that is left.
	paceShare = 100

	// seldom is the interval above which every beat is saved. If a peer beats more often, a
	// crash costs little: its next beat comes soon.
	seldom = 3 * time.Minute

	// beatsAhead is how far ahead the total of beats is saved at most, so that it does not
	// decrease after a crash: databases take a decreasing total for a reset. For the first
	// beats that a collector receives it is fewBeats, so that a collector that is killed
	// again and again does not invent many.
	beatsAhead = 128
	fewBeats   = 5
	// mostAhead is the same for mishaps, of which there are fewer.
	mostAhead = 1024
)

// lateClasses are powers of two of seconds: 32 cover more than a hundred years.
const lateClasses = 33

// unsaved is what has changed since it was last taken.
type unsaved struct {
	peers []*peer // whose record has changed: exactly those with listed set, each once; some are forgotten since
	gone  [][]ID  // that led to no peer at some time since; a new peer may have one of them. In lists of goneAtOnce, except the last
	// late counts peers by peer.late, the class of the silence left to them: in class c it is
	// at least 2^(c-1) s, except in the first. Class 0 is not counted.
	late [lateClasses]int
}

// goneAtOnce is how many IDs of removed peers are taken at once.
const goneAtOnce = 4096

// Changes are what has to be saved, as of one instant. Changes without records state that
// there were none until then.
type Changes struct {
	At       time.Time
	Listened time.Duration // how long the tracker had listened at At
	Gone     []ID          // that no longer lead to a peer; to be applied before Records
	Records  []Record
	More     bool // others follow at once: all may be written together
	End      bool // the collector stops
}

// Unsaved reports whether TakeUnsaved has anything to return.
func (t *Tracker) Unsaved() bool { return len(t.unsaved.peers)+len(t.unsaved.gone) > 0 }

// TakeUnsaved appends to records at most n of those that have changed since they were last
// taken, and returns IDs that led to no peer at some time since. Apply the IDs first. Records
// are only returned once all IDs have been: a peer that has come back since is among them.
// The caller owns both.
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
		u.peers = nil // after a start it was as long as order
	}
	return records, gone
}

// DropUnsaved drops what TakeUnsaved would return, for at most n peers, and reports whether
// there are more.
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

// RunningRecord is Record for a collector that keeps running: it is still sufficient if the
// collector crashes.
func (t *Tracker) RunningRecord(i int, now time.Time) Record {
	return t.runningRecordOf(t.order[i], now)
}

func (t *Tracker) runningRecordOf(p *peer, now time.Time) Record {
	r := t.recordOf(p, now)
	if p.here == 0 {
		return r // its totals are those that were saved
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

// After returns the record as it is after its collector has listened for rest more, and later
// collectors for later, without taking another record. A fresh record implies that all was
// well: the last beat came at most one interval before its collector ended.
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

// othersAfter is After for the processes other than the one that holds the place.
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

// forgetNumbers forgets which numbers were received: after a crash that is unknown. A signed
// beat must instead prove when it was sent, by the clock of its sender, which has advanced by
// used.
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

// touch notes that the record of p has to be saved.
func (t *Tracker) touch(p *peer) {
	t.countLate(p)
	p.changed = false
	if !p.listed {
		p.listed = true
		t.unsaved.peers = append(t.unsaved.peers, p)
	}
}

// restored undoes touch for a peer that is what its record says: that is saved already.
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

// noteBeat notes that p has beaten. The record is saved each time if p beats seldom;
// otherwise when this collector receives the first beat of p, and when the total reaches the
// value saved. So next to nothing is written while all peers are well.
func (t *Tracker) noteBeat(p *peer) {
	p.here = min(p.here+1, fewBeats)
	first := p.here == 1 || p.here == fewBeats-1
	if first || p.total()%beatsAhead == 0 || p.beatsSeldom() {
		t.touch(p)
	} // rewake finds what else has changed
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

// noteSpeaker notes that another run beats for p: it affects which peers share a silence.
func (p *peer) noteSpeaker(b *Beat) {
	if len(p.host.peers) > 1 && p.life != b.life() || p.watched != b.Watched {
		p.changed = true
	}
}

// beatsSeldom reports whether each beat of p is saved.
func (p *peer) beatsSeldom() bool {
	return p.interval > seldom || p.interval == 0 && p.terms.DeadAfter > 4*seldom || p.terms.Schedule != nil
}

// noteMishaps adds to a total of p that is saved ahead.
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

// Pace returns how often to save the listened time, from shortestPace to LongestPace. After a
// crash no silence has lost more than a hundredth of what was left of it.
func (t *Tracker) Pace() time.Duration {
	for class, count := range t.unsaved.late {
		if count > 0 {
			left := time.Second << (class - 1)
			return min(max(left/paceShare, shortestPace), LongestPace)
		}
	}
	return LongestPace
}

// countLate counts p among the peers whose silence is running out, or that have not beaten to
// this collector yet.
func (t *Tracker) countLate(p *peer) {
	class := uint8(0)
	late := p.state == Suspect || p.state == Unknown || p.state == Alive && p.here == 0
	if late && !p.foreign() { // its silence is judged elsewhere
		class = 1
		for left := p.deadlineV() - t.tickV; left >= 2*time.Second && class < lateClasses-1; left /= 2 {
			class++
		}
	}
	t.recount(p, class)
}

// recount moves p to another class; 0 stands for a peer that is not late.
func (t *Tracker) recount(p *peer, class uint8) {
	if p.late > 0 {
		t.unsaved.late[p.late]--
	}
	if p.late = class; class > 0 {
		t.unsaved.late[class]++
	}
}
