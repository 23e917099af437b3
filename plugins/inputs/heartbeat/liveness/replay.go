package liveness

import "time"

// Replayed tells whether a signed beat was said before, as far as that is
// known, or too long ago to know. Within a run its number has to grow. What
// begins a run has to be sent within ReplayWindow of now, by the wall clocks of
// both sides, and later than all that was heard of the peer: after is what
// SentMS has to exceed. Else it is 0.
func (t *Tracker) Replayed(b *Beat, now time.Time) (after int64, replayed bool) {
	if !b.Signed {
		return 0, false
	}
	latest := int64(0)
	if p := t.known(b); p != nil {
		if high := p.runs.high(b.Run); high > 0 {
			return 0, b.Seq <= high
		}
		// What was sent later than anything can be now was so before our
		// clock was set back.
		if !t.ahead(p.sentMS, now) {
			latest = p.sentMS
		}
	}
	if b.SentMS > latest && !t.ahead(b.SentMS, now) && !t.old(b.SentMS, now) {
		return 0, false
	}
	return max(latest, now.UnixMilli()-1), true
}

// noteSent remembers when the latest signed beat of p was sent. Within a run
// that may be by a clock that is wrong by now.
func (t *Tracker) noteSent(p *peer, b *Beat, now time.Time) {
	if !b.Signed {
		return
	}
	sent := b.SentMS
	if t.ahead(sent, now) || t.old(sent, now) {
		sent = now.UnixMilli()
	}
	if t.ahead(p.sentMS, now) {
		p.sentMS = sent
	}
	p.sentMS = max(p.sentMS, sent)
}

// ahead tells whether nothing can have been sent at that time yet.
func (t *Tracker) ahead(sentMS int64, now time.Time) bool {
	return sentMS > now.UnixMilli()+t.opts.ReplayWindow.Milliseconds()
}

// old tells whether what was sent at that time may have been heard and
// forgotten.
func (t *Tracker) old(sentMS int64, now time.Time) bool {
	return sentMS < now.UnixMilli()-t.opts.ReplayWindow.Milliseconds()
}
