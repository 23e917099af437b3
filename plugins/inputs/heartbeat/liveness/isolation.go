package liveness

import (
	"cmp"
	"slices"
	"time"
)

const (
	// leastHosts is how many hosts have to be compared before the silence of
	// a part of them says anything about the collector.
	leastHosts = 10
	// totalHold is how many times longer than a partial silence a total one is
	// held: everybody at once is hardly ever dead.
	totalHold = 10
	// longestBonus is the most that silence is prolonged after a hold: TCP and
	// senders pause between their tries for about as long as the way was cut.
	longestBonus = time.Minute
)

// An isolation is the suspicion that not the senders are gone, but the
// collector is cut off: too many hosts are silent together. While it lasts,
// what silence and lost connections say of anybody is held back.
type isolation struct {
	silent []*host
	grown  bool // silent has grown since it was weighed

	on      bool
	since   time.Duration // on the verdict clock
	partial time.Duration // likewise: when last everybody was silent
	cohort  time.Duration // who was last heard before is not compared
}

// speaks notes that h is not silent.
func (i *isolation) removeSilent(h *host) {
	if !h.silent() {
		return
	}
	last := i.silent[len(i.silent)-1]
	i.silent[h.silence-1], last.silence = last, h.silence
	i.silent = i.silent[:len(i.silent)-1]
	h.silence = 0
}

// falls notes that p is silent, and with it its host, unless that was heard
// after p should have been.
func (i *isolation) addSilent(p *peer) {
	h := p.host
	if h.silent() || h.heard > p.lastHeard()+p.span() {
		return
	}
	i.silent = append(i.silent, h)
	h.silence = len(i.silent)
	i.grown = true
}

// weigh begins and ends isolation. It is called before anybody is told dead.
func (t *Tracker) weigh(now time.Time) {
	switch i := &t.isolation; {
	case t.opts.IsolationPercent == 0:
	case i.on:
		t.release(now)
	case i.grown:
		i.grown = false
		if cohort, yes := t.cutOff(); yes {
			t.isolate(cohort, now)
		}
	}
}

// cutOff tells whether too many hosts fell silent together, and when the one
// of them was heard that has been silent longest. Compared are those that
// were heard since: who speaks rarely says nothing about now. So that a host
// that has long been silent does not bring all those in, the silent ones are
// tried without the earliest of them too, and without more of those, and so on.
func (t *Tracker) cutOff() (time.Duration, bool) {
	silent := slices.SortedFunc(slices.Values(t.isolation.silent), func(a, b *host) int { return cmp.Compare(b.heard, a.heard) })
	for n := len(silent); n > 0; n -= 1 + n/8 {
		since := silent[n-1].heard
		allowed := n * (100 - t.opts.IsolationPercent) / t.opts.IsolationPercent
		speaking := t.speaking(since, max(allowed, leastHosts))
		if n+speaking >= leastHosts && 100*n > t.opts.IsolationPercent*(n+speaking) {
			return since, true
		}
	}
	return 0, false
}

// speaking counts, up to one more than enough, the hosts that were heard since
// then and are not silent.
func (t *Tracker) speaking(since time.Duration, enough int) int {
	count := 0
	for _, h := range t.hosts {
		if !h.silent() && h.living > 0 && h.heard >= since {
			if count++; count > enough {
				break
			}
		}
	}
	return count
}

// isolate holds back the judgement of all that are silent.
func (t *Tracker) isolate(cohort time.Duration, now time.Time) {
	i := &t.isolation
	i.on, i.cohort = true, cohort
	held, partly := t.heldBefore()
	i.since, i.partial = t.tickV-held, t.tickV-partly
	for _, p := range t.order {
		if p.state == Suspect && t.holds(p) {
			t.hold(p, now)
		}
	}
}

// holds tells whether the judgement of p is held back. One silence is spared
// for no longer than a total one is held, or those who fall silent again and
// again, by accident or on purpose, would hide the death of others for ever.
func (t *Tracker) holds(p *peer) bool {
	return t.isolation.on && !p.proves() && p.spared < totalHold*t.opts.IsolationHold
}

// heldBefore returns how long those who are silent were held by the collectors
// before this one, and for how much of that only a part was silent: one that is
// restarted all the time still tells their deaths.
func (t *Tracker) heldBefore() (held, partly time.Duration) {
	for _, h := range t.isolation.silent {
		for _, p := range h.peers {
			held, partly = max(held, p.held), max(partly, p.heldPartly)
		}
	}
	return held, partly
}

// hold shows p as unknown instead of what its silence says: never as alive, or
// a site that has gone dark would look well.
func (t *Tracker) hold(p *peer, now time.Time) {
	t.become(p, Unknown, ReasonIsolated, now)
	p.reason, p.changed = ReasonIsolated, true // also of one that was unknown before
	t.rewake(p)
}

// release ends the isolation when nearly all are heard again, when a part of
// them is silent for so long that it is not us, or after ten times that.
func (t *Tracker) release(now time.Time) {
	i := &t.isolation
	silent := 0
	for _, h := range i.silent {
		if h.heard >= i.cohort {
			silent++
		}
	}
	all := silent + t.speaking(i.cohort, len(t.hosts))
	if 10*silent >= 9*all {
		i.partial = t.tickV
	}
	switch {
	case 10*silent <= all:
		t.resume(now, min(t.tickV-i.since, longestBonus))
	case t.tickV-i.partial >= t.opts.IsolationHold, t.tickV-i.since >= totalHold*t.opts.IsolationHold:
		t.resume(now, 0)
	}
}

// resume judges again all that were held, with so much more patience. Without
// any they are judged for good: who is silent now is not counted again.
func (t *Tracker) resume(now time.Time, bonus time.Duration) {
	i := &t.isolation
	i.on, i.grown = false, false
	for bonus == 0 && len(i.silent) > 0 {
		i.removeSilent(i.silent[0])
	}
	for _, p := range t.order {
		if p.reason != ReasonIsolated && p.reason != ReasonRestored {
			continue
		}
		past := p.editPast()
		past.held, past.heldPartly, p.changed = 0, 0, true
		past.spared += t.tickV - i.since + bonus
		if bonus > 0 && p.spared < totalHold*t.opts.IsolationHold {
			p.deadV = max(p.deadV, t.tickV+bonus)
		}
		if p.reason == ReasonIsolated {
			t.become(p, Suspect, p.evidence, now)
		}
		t.rewake(p)
	}
}
