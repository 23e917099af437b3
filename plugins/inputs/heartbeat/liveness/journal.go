// A crash of the collector. A journal saves the records that have changed, and from
// time to time for how long was listened; After makes of both what Record would have
// said at the end. While all peers are well that is next to nothing: for a peer that
// beats more often than seldom, the last record says that all was well, and totals are
// saved ahead. docs/decisions/0020 has the reasons.

package liveness

import (
	"slices"
	"time"
)

const (
	// LongestPace is the longest time between two savings of how long the tracker
	// has listened; shortestPace is the shortest.
	LongestPace  = 5 * time.Minute
	shortestPace = time.Second
	// paceShare is the part of the silence that is left that may be lost if the
	// collector crashes: a hundredth.
	paceShare = 100

	// seldom is the interval above which each beat is saved. For a peer that beats
	// more often a crash costs little: it is heard again soon.
	seldom = 3 * time.Minute

	// beatsAhead is by how many beats their total is saved ahead at most, so that it
	// does not go back when a collector goes on after a crash: databases take a total
	// that goes back for a reset. For the first beats that a collector hears it is
	// fewBeats: one that is killed again and again does not invent many.
	beatsAhead = 128
	fewBeats   = 5
	// mostAhead is the same for mishaps, of which there are fewer.
	mostAhead = 1024
)

// lateClasses are powers of two of seconds: 32 reach over a hundred years.
const lateClasses = 33

// unsaved is what has changed since it was last taken.
type unsaved struct {
	peers []*peer // whose record is another one: those that are listed, each once, some forgotten since
	gone  [][]ID  // that led to no peer at some time since; one may be that of a new peer. Lists of goneAtOnce, but for the last
	// late counts peers by peer.late, the class of the silence that is left: of class
	// c there are at least 2^(c-1) s, except for the first. Class 0 is not counted.
	late [lateClasses]int
}

// goneAtOnce is how many IDs of peers that are gone are taken at once.
const goneAtOnce = 4096

// Changes are what a saving has to take up, as of one instant. Changes without
// records say that until then there were none.
type Changes struct {
	At       time.Time
	Listened time.Duration // for how long was listened until At
	Gone     []ID          // under which no peer is known any more; before Records
	Records  []Record
	More     bool // others follow at once: all may be written together
	End      bool // the collector stops
}

// Unsaved reports whether TakeUnsaved has something to give.
func (t *Tracker) Unsaved() bool { return len(t.unsaved.peers)+len(t.unsaved.gone) > 0 }

// TakeUnsaved appends to records at most n of those that have changed since they
// were last taken, and returns IDs under which no peer was known at some time
// since. Those are to be applied first, and before all of them are taken there are no
// records: a peer that has come back since is among them. The caller owns both.
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

// DropUnsaved forgets what TakeUnsaved would give, of at most n peers, and reports whether
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

// RunningRecord is Record for a collector that goes on: should it crash, its
// record still says enough.
func (t *Tracker) RunningRecord(i int, now time.Time) Record {
	return t.runningRecordOf(t.order[i], now)
}

func (t *Tracker) runningRecordOf(p *peer, now time.Time) Record {
	r := t.recordOf(p, now)
	if p.here == 0 {
		return r // its totals are as they were saved
	}
	r.Fresh = p.state == Alive && !p.beatsSeldom()
	r.Beats = p.beatsSaved()
	for _, total := range []*uint64{&r.Lost, &r.Late, &r.Duplicates, &r.Limited, &r.Conflicts} {
		*total = ahead(*total)
	}
	return r
}

// Heard reports whether the peer with number i was heard since New.
func (t *Tracker) Heard(i int) bool { return t.order[i].here > 0 }

// After returns the record as it is when its collector has listened for rest
// more, and the ones after it for later, without taking another one. Of a fresh
// one that says that all was well: its last beat came an interval before the end
// of that collector, or later.
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

// othersAfter is After for the processes beside the one that holds the place.
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

// forgetNumbers forgets which numbers were heard, after a crash, of which that is
// not known. What is signed has to show when it was sent, by the clock of the
// sender, which has gone on for so long.
func (r *Record) forgetNumbers(used time.Duration) {
	for _, run := range r.Signed {
		r.SentMS = max(r.SentMS, run.SentMS+used.Milliseconds())
	}
	r.Signed, r.Runs = nil, unnumbered(r.Runs)
}

// unnumbered returns runs of which the numbers are not known: what comes next has
// lost none.
func unnumbered(runs []Run) []Run {
	names := make([]Run, len(runs))
	for i, run := range runs {
		names[i].Name = run.Name
	}
	return names
}

// span is process.span of a record.
func (r *Record) span() time.Duration { return spanOf(r.Interval, r.Dead) }

func spanOf(interval, dead time.Duration) time.Duration {
	if interval > 0 {
		return interval
	}
	return min(dead/4, time.Minute)
}

// touch notes that the record of p is to be saved.
func (t *Tracker) touch(p *peer) {
	t.countLate(p)
	p.changed = false
	if !p.listed {
		p.listed = true
		t.unsaved.peers = append(t.unsaved.peers, p)
	}
}

// restored takes back what touch noted of a peer that is what its record says: that
// is saved already.
func (t *Tracker) restored(p *peer, r *Record) {
	if last := len(t.unsaved.peers) - 1; p.state == r.State && p.reason == r.Reason && t.unsaved.peers[last] == p {
		t.unsaved.peers[last] = nil
		t.unsaved.peers = t.unsaved.peers[:last]
		p.listed = false
	}
}

// noteGone notes that no peer is known as id any more.
func (t *Tracker) noteGone(id ID) {
	gone := &t.unsaved.gone
	last := len(*gone) - 1
	if last < 0 || len((*gone)[last]) == goneAtOnce {
		*gone = append(*gone, nil)
		last++
	}
	(*gone)[last] = append((*gone)[last], id)
}

// noteBeat notes that p has beaten. That is saved each time if it beats seldom, else
// for the first time in the life of this collector, and when its total has reached
// what was saved. So while all peers are well next to nothing is written.
func (t *Tracker) noteBeat(p *peer) {
	p.here = min(p.here+1, fewBeats)
	first := p.here == 1 || p.here == fewBeats-1
	if first || p.total()%beatsAhead == 0 || p.beatsSeldom() {
		t.touch(p)
	} // what else has changed, rewake will find
}

// beatsSaved returns as what the total of beats is saved: until noteBeat notes
// it again it is not exceeded.
func (p *peer) beatsSaved() uint64 {
	if p.here < fewBeats-1 {
		return p.beats - uint64(p.here) + fewBeats
	}
	return p.beats + beatsAhead - p.total()%beatsAhead
}

// total is p.beats, shifted so that peers that began together are not saved
// together.
func (p *peer) total() uint64 { return p.beats + uint64(p.shift) }

// noteSpeaker notes that another run speaks for p: which peers share a silence
// depends on it.
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

// ahead returns what a total is saved as: up to an eighth more than it is.
func ahead(total uint64) uint64 {
	block := uint64(1)
	for block < mostAhead && 16*block <= total {
		block *= 2
	}
	return (total + block - 1) / block * block
}

// Pace returns how often to save for how long the tracker has listened, from
// shortestPace to LongestPace: after a crash no silence has lost more than a
// hundredth of what was left of it.
func (t *Tracker) Pace() time.Duration {
	for class, count := range t.unsaved.late {
		if count > 0 {
			left := time.Second << (class - 1)
			return min(max(left/paceShare, shortestPace), LongestPace)
		}
	}
	return LongestPace
}

// countLate counts p among the peers whose silence is running out, or that this
// collector has yet to hear.
func (t *Tracker) countLate(p *peer) {
	class := uint8(0)
	late := p.state == Suspect || p.state == Unknown || p.state == Alive && p.here == 0
	if late && !p.foreign() { // that one's silence runs elsewhere
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
