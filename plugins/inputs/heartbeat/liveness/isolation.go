// Are the hosts gone, or are we? When too many hosts are silent together, their deaths are
// held back: probably the collector is cut off. Witnesses refine that. The end of a
// connection by the other side, and a host whose TCP answers, prove that our network
// works, so such hosts are never counted as silent; but many of them behind one address
// that are lost together are one witness: what is between us and them has failed.

package liveness

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

const (
	// leastHosts is how many hosts have to be compared before the silence of
	// a part of them says anything about the collector.
	leastHosts = 10
	// totalHold is how many times longer than a partial silence a total one is
	// held: all hosts at once are hardly ever dead.
	totalHold = 10
	// longestBonus is the most that silence is prolonged after a hold: TCP and
	// senders pause between their tries for about as long as the path was cut.
	longestBonus = time.Minute
)

// An isolation is the suspicion that not the senders are gone, but the collector is
// cut off: too many hosts are silent together. While it lasts, what silence and lost
// connections say of a peer is held back, and the peer is shown as unknown.
type isolation struct {
	silent []*host // each once, at its silence - 1, and with something that lives
	grown  bool    // silent has grown since it was weighed

	// While on, since <= partial <= tickV. They reach back before New if the silence
	// was held by collectors before.
	on      bool
	since   time.Duration // on the verdict clock
	partial time.Duration // likewise: when at least nine tenths were silent last, or since
	cohort  time.Duration // only hosts heard since then are compared
}

// weigh begins and ends isolation. It runs at each tick, before any peer is declared
// dead. Until isolation begins it compares only after another host fell silent.
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

// cutOff reports whether too many hosts fell silent together, and when the one of
// them was last heard that has been silent longest. They are compared with the hosts
// heard since then: one that beats rarely says nothing about now. So that a host
// that has long been silent does not bring in all of those, the silent ones are
// tried without the earliest of them too, without more of them, and so on.
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

// isolate begins isolation: what all silent peers are judged to be is held back.
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

// heldBefore returns how long the silent were held by the collectors before this
// one, and for how much of that only a part of the hosts was silent. So a collector
// that is restarted all the time still reports their deaths.
func (t *Tracker) heldBefore() (held, partly time.Duration) {
	for _, h := range t.isolation.silent {
		for _, p := range h.peers {
			held, partly = max(held, p.held), max(partly, p.heldPartly)
		}
	}
	return held, partly
}

// holds reports whether the verdict on p is held back. One silence is spared for no
// longer than a total one is held, or hosts that fall silent again and again, by
// accident or on purpose, would hide the death of others for ever.
func (t *Tracker) holds(p *peer) bool {
	return t.isolation.on && !p.proves() && p.spared < totalHold*t.opts.IsolationHold
}

// hold shows p as unknown instead of what its silence says: never as alive, or
// a site that has gone dark would look well.
func (t *Tracker) hold(p *peer, now time.Time) {
	t.become(p, Unknown, ReasonIsolated, now)
	p.reason, p.changed = ReasonIsolated, true // also of one that was unknown before
	t.rewake(p)
}

// release ends the isolation when nearly all hosts are heard again, when a part of
// them has been silent for so long that it is not us, or after ten times that.
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

// resume judges all held peers again, with so much more patience. Without any they
// are judged for good: those that are silent now are not counted again.
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
		if p.reason == ReasonIsolated && !t.excused(p, max(t.tickV, p.suspicionV()), now) {
			t.become(p, Suspect, p.evidence, now)
		}
		t.rewake(p)
	}
}

// suspect notes that something speaks against p.
func (t *Tracker) suspect(p *peer, now time.Time) {
	if t.excused(p, t.verdict(now), now) {
		return
	}
	t.countSilent(p, t.verdict(now))
	switch {
	case t.holds(p):
		t.become(p, Unknown, ReasonIsolated, now)
	case p.state == Suspect:
		p.reason = p.evidence
	default:
		t.become(p, Suspect, p.evidence, now)
	}
}

// countSilent counts the host of p as silent, unless what is known of p proves that
// our network works. The end of one connection says nothing about a host that has
// more.
func (t *Tracker) countSilent(p *peer, verdict time.Duration) {
	ended := p.evidence == ReasonConnClosed || p.evidence == ReasonConnReset
	switch {
	case p.proves():
		t.isolation.removeSilent(p.host)
	case !ended || p.alone(verdict):
		t.isolation.addSilent(p)
	}
}

// alone reports whether no other peer of the host of p speaks for the host. Of an
// address that thousands share only the first ones are asked.
func (p *peer) alone(verdict time.Duration) bool {
	const enough = 100
	return !slices.ContainsFunc(p.host.peers[:min(enough, len(p.host.peers))], func(other *peer) bool {
		return other != p && other.state == Alive && !other.waits() && verdict < other.lastHeardV()+other.span()
	})
}

// removeSilent notes that h is not silent, or that nothing on it lives.
func (i *isolation) removeSilent(h *host) {
	if !h.silent() {
		return
	}
	last := i.silent[len(i.silent)-1]
	i.silent[h.silence-1], last.silence = last, h.silence
	i.silent = i.silent[:len(i.silent)-1]
	h.silence = 0
}

// addSilent notes that p is silent, and with it its host, unless that was heard
// after p should have been.
func (i *isolation) addSilent(p *peer) {
	h := p.host
	if h.silent() || h.heard > p.lastHeard()+p.span() {
		return
	}
	i.silent = append(i.silent, h)
	h.silence = int32(len(i.silent))
	i.grown = true
}

// crowdSize is how many hosts of one address that are lost together are one
// witness, not many: what is between us and them, a proxy or a NAT, speaks for all.
const crowdSize = 10

// A loss is what is known of how a process fell silent, beyond the silence. Only
// that a connection ended or that the process hangs is a loss.
type loss struct {
	peer     *peer // whose process has it
	evidence Reason
	from     netip.Addr    // of its witness
	at       time.Duration // on the verdict clock
	deadV    time.Duration // when silence alone would make the process dead
	crowded  bool          // it is one of a crowd, and proves nothing
}

// A witness is what all losses behind one address say together. It is kept while it
// has any.
type witness struct {
	ends  []*loss            // connections that ended within Terms.Grace, the earliest first; in Tracker.ends, too
	hangs map[*loss]struct{} // of processes that are hung now: no more than are known
	hosts map[*host]int      // how many of both each host has; > 0
}

// proves reports whether the way in which p fell silent shows that our network
// works: the other side has closed its connection, or its TCP answers.
func (p *peer) proves() bool {
	return p.loss != nil && !p.loss.crowded && (p.loss.evidence == ReasonConnClosed || p.loss.evidence == ReasonHung)
}

// noteLoss notes the evidence of the silence of o, a process of p.
func (t *Tracker) noteLoss(p *peer, o *process, evidence Reason, from netip.Addr, verdict time.Duration) {
	if o.loss != nil && o.loss.evidence == evidence && evidence == ReasonHung {
		return // it still does
	}
	t.clearLoss(o)
	p.changed = p.changed || o.evidence != evidence
	o.evidence = evidence
	if evidence != ReasonHung && evidence != ReasonConnClosed && evidence != ReasonConnReset {
		return
	}
	o.setRare(rare{o.earlier, &loss{peer: p, evidence: evidence, from: from, at: verdict, deadV: o.deadV}})
	t.addToWitness(o.loss)
}

// clearLoss forgets how o was lost.
func (t *Tracker) clearLoss(o *process) {
	if o.loss == nil {
		return
	}
	if o.loss.evidence == ReasonHung {
		w := t.witnesses[o.loss.from]
		delete(w.hangs, o.loss)
		t.withdraw(w, o.loss)
	}
	o.setRare(rare{earlier: o.earlier})
}

// addToWitness adds l to the witness of its address. When that becomes a crowd, all
// its losses prove nothing any more.
func (t *Tracker) addToWitness(l *loss) {
	t.expireEnds(l.at)
	w := t.witnesses[l.from]
	if w == nil {
		w = &witness{hangs: make(map[*loss]struct{}), hosts: make(map[*host]int)}
		t.witnesses[l.from] = w
	}
	crowded := len(w.hosts) >= crowdSize
	w.hosts[l.peer.host]++
	if l.evidence == ReasonHung {
		w.hangs[l] = struct{}{}
	} else {
		w.ends = append(w.ends, l)
		t.ends = append(t.ends, l)
	}
	switch {
	case crowded:
		l.crowded = true
	case len(w.hosts) >= crowdSize:
		t.crowdIn(w)
	}
}

// crowdIn takes back what the losses of w have shortened, and counts their
// hosts as silent.
func (t *Tracker) crowdIn(w *witness) {
	for _, l := range w.ends {
		t.ignoreLoss(l)
	}
	for l := range w.hangs {
		t.ignoreLoss(l)
	}
}

// ignoreLoss takes back what l has shortened, and counts its host as silent.
func (t *Tracker) ignoreLoss(l *loss) {
	l.crowded = true
	p := l.peer
	for o := range p.processes {
		if o.loss == l && p.index >= 0 && !p.state.over() {
			o.deadV, p.changed = max(o.deadV, l.deadV), true
			t.countSilent(p, l.at)
			t.rewake(p)
		}
	}
}

// expireEnds forgets the ends that are too old to be of one crowd with what
// happens now.
func (t *Tracker) expireEnds(verdict time.Duration) {
	n := 0
	for n < len(t.ends) && t.ends[n].at < verdict-t.opts.Grace {
		l := t.ends[n]
		w := t.witnesses[l.from]
		w.ends = w.ends[1:]
		t.withdraw(w, l)
		n++
	}
	if t.ends = t.ends[n:]; len(t.ends) == 0 {
		t.ends = nil
	}
}

// withdraw takes l off the counts of its witness, which is forgotten with its last
// loss.
func (t *Tracker) withdraw(w *witness, l *loss) {
	if w.hosts[l.peer.host]--; w.hosts[l.peer.host] == 0 {
		delete(w.hosts, l.peer.host)
	}
	if len(w.hosts) == 0 {
		delete(t.witnesses, l.from)
	}
}
