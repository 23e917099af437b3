package liveness

import (
	"slices"
	"time"
)

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
