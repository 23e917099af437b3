// Whether a beat is to be believed: order within a run, replay of signed beats, and
// the user that a peer belongs to. A beat is refused only if it is proved that it is
// older than one already heard, or that it may have been said before.

package liveness

import (
	"slices"
	"time"
)

// An order is where a beat stands among those of its run.
type order uint8

const (
	fresh     order = iota // not known to be older than one already heard
	duplicate              // heard already
	late                   // a later one was heard
)

// maxLost is the most that one gap counts: a sender that skips more does not count
// its beats, and would make a total of no use.
const maxLost = 1 << 20

// A Run is one life of a sender on one of its ways to us, in which it numbers its
// beats.
type Run struct {
	Name string
	High int64 // the highest number heard; 0 for a place not taken
}

// runs are those that spoke last for a peer, the latest first, none twice. Two are
// enough for a one-shot beside a daemon: neither makes the other forgotten.
type runs [2]Run

// place judges a beat within its run and returns by how many it follows the
// one before, or 0 if that is not known. Between runs nothing is compared.
// Without a name of the run a lower number is no proof of age: the sender may
// have begun anew.
func (r *runs) place(name string, seq int64) (order, int64) {
	if seq == 0 {
		return fresh, 0
	}
	switch {
	case r[0].High > 0 && r[0].Name == name:
	case r[1].High > 0 && r[1].Name == name:
		r[0], r[1] = r[1], r[0]
	default:
		r[0], r[1] = Run{Name: name, High: seq}, r[0]
		return fresh, 0
	}
	gap := seq - r[0].High
	switch {
	case gap == 0 && name != "":
		return duplicate, 0
	case gap < 0 && name != "":
		return late, 0
	}
	r[0].High = seq
	return fresh, min(max(gap, 0), maxLost+1)
}

// high returns the highest number heard in a run, or 0 if that is not one of
// them.
func (r *runs) high(name string) int64 {
	for _, run := range r {
		if run.Name == name {
			return run.High
		}
	}
	return 0
}

// numbered returns the runs of which a number was heard.
func (r *runs) numbered() (all []Run) {
	for _, run := range r {
		if run.High > 0 {
			all = append(all, run)
		}
	}
	return all
}

// A proof is what is kept of a peer so that nothing else can speak for it. It is
// kept apart because most peers are neither signed nor beat over a Unix socket.
type proof struct {
	runs  []SignedRun // the latest first, at most maxSignedRuns, none twice
	floor int64       // the latest SentMS of the runs that were forgotten, unix ms; 0 for none
	owner uint32      // the user that it belongs to; 0 for none
}

// noProof is the proof of all peers that have none. It is never written to.
var noProof proof

// proven returns the proof of p, which may be nil, to read it.
func (p *peer) proven() *proof {
	if p == nil || p.proof == nil {
		return &noProof
	}
	return p.proof
}

// prove returns the proof of p to write to it.
func (p *peer) prove() *proof {
	if p.proof == nil {
		p.proof = new(proof)
	}
	return p.proof
}

// A SignedRun is a run whose beats were signed.
type SignedRun struct {
	Name    string
	High    int64 // the highest number heard
	SentMS  int64 // the latest time at which one was sent, by the sender's clock, unix ms
	HeardMS int64 // when the latest one was heard, by ours, likewise
}

const (
	// maxSignedRuns is how many runs of a peer are remembered at most, and
	// leastSignedRuns how many are however old they are: a one-shot beside a
	// daemon makes neither forgotten.
	maxSignedRuns   = 16
	leastSignedRuns = 2
)

// Replayed reports whether a signed beat was said before, as far as that is
// known, or too long ago to know. Within a run its number has to grow. What
// begins a run has to be sent within ReplayWindow of now, by the wall clocks of
// both sides, and later than all of the runs that were forgotten: after is what
// SentMS has to exceed. Else it is 0.
func (t *Tracker) Replayed(b *Beat, now time.Time) (after int64, replayed bool) {
	if !b.Signed {
		return 0, false
	}
	p := t.known(b)
	proof := p.proven()
	known := proof.find(b.Run)
	switch {
	case p != nil && b.Seq <= p.runs.high(b.Run), known >= 0 && b.Seq <= proof.runs[known].High:
		return 0, true
	case known >= 0:
		return 0, false
	}
	floor := proof.floor
	if t.ahead(floor, now) {
		floor = 0 // so it was before our clock was set back
	}
	if b.SentMS > floor && !t.ahead(b.SentMS, now) && !t.old(b.SentMS, now) {
		return 0, false
	}
	return max(floor, now.UnixMilli()-1), true
}

// noteSigned remembers the run of a signed beat.
func (t *Tracker) noteSigned(p *peer, b *Beat, now time.Time) {
	if !b.Signed {
		return
	}
	proof, run := p.prove(), SignedRun{Name: b.Run}
	if i := proof.find(b.Run); i >= 0 {
		run = proof.runs[i]
		proof.runs = slices.Delete(proof.runs, i, i+1)
	}
	sent := b.SentMS
	if t.ahead(sent, now) { // within a run a clock may be wrong; it must not stop other runs until then
		sent = now.UnixMilli()
	}
	run.High, run.SentMS, run.HeardMS = b.Seq, max(run.SentMS, sent), now.UnixMilli()
	proof.runs = slices.Insert(proof.runs, 0, run)
	if t.ahead(proof.floor, now) {
		proof.floor = 0
	}
	proof.forget(func(r *SignedRun) bool { return t.old(r.SentMS, now) && t.old(r.HeardMS, now) })
}

// find returns the index of a run, or -1.
func (p *proof) find(name string) int {
	return slices.IndexFunc(p.runs, func(r SignedRun) bool { return r.Name == name })
}

// forget forgets the runs that are over, and those that are too many.
func (p *proof) forget(over func(*SignedRun) bool) {
	kept := p.runs[:0]
	for i, run := range p.runs {
		if i < leastSignedRuns || len(kept) < maxSignedRuns && !over(&p.runs[i]) {
			kept = append(kept, run)
		} else {
			p.floor = max(p.floor, run.SentMS)
		}
	}
	clear(p.runs[len(kept):])
	p.runs = kept
}

// ahead reports whether nothing can have been sent at that time yet.
func (t *Tracker) ahead(sentMS int64, now time.Time) bool {
	return sentMS > now.UnixMilli()+t.opts.ReplayWindow.Milliseconds()
}

// old reports whether what was sent at that time may have been heard and
// forgotten.
func (t *Tracker) old(sentMS int64, now time.Time) bool {
	return sentMS < now.UnixMilli()-t.opts.ReplayWindow.Milliseconds()
}

// Foreign reports whether the peer of b belongs to another user than the one that b
// comes from. Until it has left, only root may take it over.
func (t *Tracker) Foreign(b *Beat) bool {
	if b.User == 0 {
		return false
	}
	p := t.known(b)
	owner := p.proven().owner
	return owner != 0 && owner != b.User && p.state != Left
}

// setOwner lets p belong to the user that speaks for it. Root owns nothing: it may
// speak for all.
func (p *peer) setOwner(user uint32) {
	if user != 0 && p.proven().owner != user {
		p.prove().owner = user
	}
}
