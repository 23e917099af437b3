// This file decides whether the hosts are down or the collector is cut off. When too many
// hosts are silent together, the collector is probably cut off, and their deaths are held
// back. Witnesses refine that decision. If the remote side ends a connection, or a host's TCP
// answers, our network works, so such hosts never count as silent. But many such hosts behind
// one address that are lost together count as one witness: something between us and them has
// failed.

package liveness

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"
)

const (
	// leastHosts is how many hosts must be compared before the silence of some of them is
	// evidence about the collector.
	leastHosts = 10
	// Verdicts on a total silence are held back totalHold times as long as on a partial one:
	// all hosts hardly ever die at once.
	totalHold = 10
	// longestBonus limits how much the allowed silence is prolonged after a hold: TCP and
	// senders pause between retries for about as long as the path was interrupted.
	longestBonus = time.Minute
)

// An isolation is the suspicion that the collector is cut off rather than that the senders are
// gone: too many hosts are silent together. While it lasts, verdicts from silence and lost
// connections are held back, and the peers are shown as unknown.
type isolation struct {
	silent []*host // each once, at its silence - 1; each has a living peer
	grown  bool    // silent has grown since the last comparison

	// While on, since <= partial <= tickV. Both are before New if earlier collectors held back
	// verdicts on the same silence.
	on      bool
	since   time.Duration // on the verdict clock
	partial time.Duration // likewise: when at least nine tenths of the hosts were last silent, or since
	cohort  time.Duration // only hosts that have beaten since then are compared
	weighed uint64        // the number of the tick of the latest comparison
}

// pausePer limits the processor time that isolation needs: for every pausePer hosts,
// comparisons are one tick further apart.
const pausePer = 50_000

// updateIsolation begins and ends isolation. It runs in each tick, before any peer is declared
// dead. While there is no isolation, it compares hosts only when another one has fallen
// silent.
func (t *Tracker) updateIsolation(now time.Time) {
	switch i := &t.isolation; {
	case t.opts.IsolationPercent == 0:
	case i.on && t.ticks < i.weighed+uint64(len(t.hosts)/pausePer):
	case i.on:
		i.weighed = t.ticks
		t.release(now)
	case i.grown:
		i.grown = false
		t.compareSilent(now)
	}
}

// eachHost calls enough once for every askedEvery hosts.
const askedEvery = 1024

// eachHost returns the portion that visits the hosts of a list. The list may change meanwhile,
// so some hosts may be missed. The portion ends early when enough returns true.
func eachHost(list *[]*host, visit func(*host), enough func() bool) portion {
	next := 0
	return func(n int) int {
		begin, end := next, next+n*perUnit
		for ; next < min(end, len(*list)); next++ {
			if next%askedEvery == 0 && enough() {
				next = len(*list)
				break
			}
			visit((*list)[next])
		}
		return min(next-begin, end-begin) / perUnit
	}
}

func unbounded() bool { return false }

// compareSilent begins isolation if too many hosts have fallen silent together. The silent
// hosts are compared with the hosts that have beaten since the last beat of the longest-silent
// one: a host that beats rarely shows nothing about the present. A single host that has been
// silent for long would bring all others into the comparison. So the comparison is repeated
// without the longest-silent hosts, and leaves out more of them each time.
func (t *Tracker) compareSilent(now time.Time) {
	var silent sorting
	var tried tries
	t.next(
		eachHost(&t.isolation.silent, func(h *host) { silent.add(h.heard) }, unbounded),
		silent.merge,
		once(func() {
			tried = triesOf(silent.all(), t.opts.IsolationPercent)
			t.next(eachHost(&t.hosts, tried.note, tried.refuted), once(func() {
				if cohort, ok := tried.cutOff(t.opts.IsolationPercent); ok {
					t.isolate(cohort, now)
				}
			}))
		}),
	)
}

// sortedAtOnce is how many times are sorted in one unit.
const sortedAtOnce = 1 << 15

// A sorting sorts times, the latest first, in portions.
type sorting struct {
	runs    [][]time.Duration // each sorted, except the last
	ordered bool              // the last run is sorted too, and nothing more is added
}

func (s *sorting) add(at time.Duration) {
	last := len(s.runs) - 1
	if last < 0 || len(s.runs[last]) == sortedAtOnce {
		s.order()
		s.runs = append(s.runs, nil)
		last++
	}
	s.runs[last] = append(s.runs[last], at)
}

// order sorts the last run of s.
func (s *sorting) order() {
	if last := len(s.runs) - 1; last >= 0 {
		slices.SortFunc(s.runs[last], func(a, b time.Duration) int { return cmp.Compare(b, a) })
	}
}

// merge is the portion that merges all runs into one.
func (s *sorting) merge(n int) int {
	if !s.ordered {
		s.order()
		s.ordered = true
	}
	took := 0
	for len(s.runs) > 1 && took < n {
		both := merged(s.runs[0], s.runs[1])
		s.runs = append(s.runs[2:], both)
		took += len(both) / perUnit
	}
	return min(took, n)
}

func (s *sorting) all() []time.Duration {
	if len(s.runs) == 0 {
		return nil
	}
	return s.runs[0]
}

// merged returns the union of two sorted lists, the latest first.
func merged(a, b []time.Duration) []time.Duration {
	all := make([]time.Duration, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if a[0] >= b[0] {
			all, a = append(all, a[0]), a[1:]
		} else {
			all, b = append(all, b[0]), b[1:]
		}
	}
	return append(append(all, a...), b...)
}

// A try compares the silent hosts that have beaten since a time with those that still beat.
type try struct {
	silent  int
	since   time.Duration
	beating int // hosts that have beaten since then, but not since the time of the next try
	enough  int // if more than this still beat, the collector is not cut off
}

// tries are the comparisons, the one with the most silent hosts first.
type tries []try

// triesOf returns the comparisons for silent hosts with these last beats, the latest first.
func triesOf(heard []time.Duration, percent int) (all tries) {
	for n := len(heard); n > 0; n -= 1 + n/8 {
		all = append(all, try{silent: n, since: heard[n-1], enough: max(n*(100-percent)/percent, leastHosts)})
	}
	return all
}

// note counts a host that still beats.
func (t tries) note(h *host) {
	if h.silent() || h.living == 0 {
		return
	}
	after, _ := slices.BinarySearchFunc(t, h.heard, func(tried try, heard time.Duration) int {
		if tried.since > heard {
			return 1
		}
		return -1
	})
	if after > 0 {
		t[after-1].beating++
	}
}

// refuted reports whether enough hosts still beat in every comparison.
func (t tries) refuted() bool {
	beating := 0
	for i := len(t) - 1; i >= 0; i-- {
		if beating += t[i].beating; beating <= t[i].enough {
			return false
		}
	}
	return true
}

// cutOff reports whether too many hosts have fallen silent together, and returns the last beat
// of the longest-silent one of them.
func (t tries) cutOff(percent int) (since time.Duration, ok bool) {
	beating := 0
	for i := len(t) - 1; i >= 0; i-- {
		beating += t[i].beating
		if n := t[i].silent; n+beating >= leastHosts && 100*n > percent*(n+beating) {
			since, ok = t[i].since, true // the comparison with the most silent hosts counts
		}
	}
	return since, ok
}

// isolate begins isolation: the verdicts on all silent peers are held back. Earlier collectors
// may have held back these verdicts already, while all or some of the hosts were silent. That
// time counts, so a collector that restarts again and again still reports the deaths.
func (t *Tracker) isolate(cohort time.Duration, now time.Time) {
	var held, partly time.Duration
	before := func(h *host) {
		for _, p := range h.peers {
			held, partly = max(held, p.held), max(partly, p.heldPartly)
		}
	}
	begin := func() {
		i := &t.isolation
		i.on, i.cohort = true, cohort
		i.since, i.partial = t.tickV-held, t.tickV-partly
	}
	hold := func(p *peer) {
		if p.index >= 0 && p.state == Suspect && t.holdsBack(p) {
			t.hold(p, now)
		}
	}
	t.next(eachHost(&t.isolation.silent, before, unbounded), once(begin), each(slices.Clone(t.order), 1, hold))
}

// holdsBack reports whether the verdict on p is held back. No verdict is held back longer than
// the limit for a total silence. Otherwise hosts that fall silent again and again, by accident
// or on purpose, would hide the deaths of others forever.
func (t *Tracker) holdsBack(p *peer) bool {
	return t.isolation.on && !p.provesNetwork() && p.spared < totalHold*t.opts.IsolationHold
}

// hold shows p as unknown instead of suspect or dead. It never shows p as alive: a site that
// is silent must not look healthy.
func (t *Tracker) hold(p *peer, now time.Time) {
	t.become(p, Unknown, ReasonIsolated, now)
	p.reason, p.changed = ReasonIsolated, true // even if it was unknown before
	t.rewake(p)
}

// release ends isolation when nearly all hosts beat again. It also ends isolation when only
// some hosts have been silent for so long that the collector cannot be the cause, and in any
// case after ten times that.
func (t *Tracker) release(now time.Time) {
	silent, beating, cohort := 0, 0, t.isolation.cohort
	countSilent := func(h *host) {
		if h.heard >= cohort {
			silent++
		}
	}
	countSpeaking := func(h *host) {
		if !h.silent() && h.living > 0 && h.heard >= cohort {
			beating++
		}
	}
	t.next(
		eachHost(&t.isolation.silent, countSilent, unbounded),
		eachHost(&t.hosts, countSpeaking, unbounded),
		once(func() { t.releaseIf(silent, silent+beating, now) }),
	)
}

// releaseIf ends isolation if few enough of the compared hosts are silent, or if it has lasted
// long enough.
func (t *Tracker) releaseIf(silent, all int, now time.Time) {
	i := &t.isolation
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

// resume judges all held peers again, with bonus added to their deadlines. If bonus is 0, the
// verdicts are final: the hosts that are silent now are not counted again.
func (t *Tracker) resume(now time.Time, bonus time.Duration) {
	i := &t.isolation
	i.on, i.grown = false, false
	lasted := t.tickV - i.since
	forgetSilent := func(n int) int {
		took := 0
		for ; bonus == 0 && len(i.silent) > 0 && took < n; took++ {
			i.removeSilent(i.silent[0])
		}
		return took
	}
	t.next(forgetSilent, each(slices.Clone(t.order), 1, func(p *peer) { t.judgeAgain(p, lasted, bonus, now) }))
}

// judgeAgain judges p again if its verdict was held back. lasted is how long the isolation
// lasted.
func (t *Tracker) judgeAgain(p *peer, lasted, bonus time.Duration, now time.Time) {
	if p.index < 0 || p.reason != ReasonIsolated && p.reason != ReasonRestored {
		return
	}
	past := p.editPast()
	past.held, past.heldPartly, p.changed = 0, 0, true
	past.spared += lasted + bonus
	if bonus > 0 && p.spared < totalHold*t.opts.IsolationHold {
		p.deadV = max(p.deadV, t.tickV+bonus)
	}
	if p.reason == ReasonIsolated && !t.noteOffHours(p, max(t.tickV, p.suspicionV()), now) {
		t.become(p, Suspect, p.evidence, now)
	}
	t.rewake(p)
}

// suspect changes the state of p to Suspect, or holds the verdict back.
func (t *Tracker) suspect(p *peer, now time.Time) {
	if t.noteOffHours(p, t.verdict(now), now) {
		return
	}
	t.countSilent(p, t.verdict(now))
	switch {
	case t.holdsBack(p):
		t.become(p, Unknown, ReasonIsolated, now)
	case p.state == Suspect:
		p.reason = p.evidence
	default:
		t.become(p, Suspect, p.evidence, now)
	}
}

// countSilent counts the host of p as silent, unless what is known about p proves that our
// network works. The end of one connection proves nothing about a host that has others.
func (t *Tracker) countSilent(p *peer, verdict time.Duration) {
	ended := p.evidence == ReasonConnClosed || p.evidence == ReasonConnReset
	switch {
	case p.provesNetwork():
		t.isolation.removeSilent(p.host)
	case !ended || p.alone(verdict):
		t.isolation.addSilent(p)
	}
}

// alone reports whether no other peer of the host of p shows that the host is alive. If
// thousands share an address, only the first ones are checked.
func (p *peer) alone(verdict time.Duration) bool {
	const enough = 100
	return !slices.ContainsFunc(p.host.peers[:min(enough, len(p.host.peers))], func(other *peer) bool {
		return other != p && other.state == Alive && !other.waits() && verdict < other.lastHeardV()+other.span()
	})
}

// removeSilent removes h from the silent hosts, because it is not silent or has no living
// peer.
func (i *isolation) removeSilent(h *host) {
	if !h.silent() {
		return
	}
	last := i.silent[len(i.silent)-1]
	i.silent[h.silence-1], last.silence = last, h.silence
	i.silent = i.silent[:len(i.silent)-1]
	h.silence = 0
}

// addSilent counts the host of p as silent, unless the host has beaten since the beat of p was
// due.
func (i *isolation) addSilent(p *peer) {
	h := p.host
	if h.silent() || h.heard > p.lastHeard()+p.span() {
		return
	}
	i.silent = append(i.silent, h)
	h.silence = int32(len(i.silent))
	i.grown = true
}

// crowdSize is how many hosts behind one address must be lost together to count as one
// witness: the proxy or NAT between us and them has failed.
const crowdSize = 10

// A loss is how a process fell silent, if more is known than the silence: its connection
// ended, or it is hung.
type loss struct {
	peer     *peer // its process has this loss
	evidence Reason
	from     netip.Addr    // address of its witness
	at       time.Duration // on the verdict clock
	deadV    time.Duration // when silence alone would make the process dead
	crowded  bool          // it was lost in a crowd and proves nothing
}

// A witness collects all losses behind one address. A witness is kept as long as it has
// losses.
type witness struct {
	ends  []*loss            // connections that ended within Terms.Grace, the earliest first; also in Tracker.ends
	hangs map[*loss]struct{} // processes that are hung now: at most as many as are known
	hosts map[*host]int      // losses of each host, of both kinds; > 0
}

// provesNetwork reports whether the way in which p fell silent shows that our network works:
// the remote side has closed the connection, or the TCP of its host answers.
func (p *peer) provesNetwork() bool {
	return p.loss != nil && !p.loss.crowded && (p.loss.evidence == ReasonConnClosed || p.loss.evidence == ReasonHung)
}

// noteLoss notes the evidence for the silence of o, a process of p.
func (t *Tracker) noteLoss(p *peer, o *process, evidence Reason, from netip.Addr, verdict time.Duration) {
	if o.loss != nil && o.loss.evidence == evidence && evidence == ReasonHung {
		return // it is still hung
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

// addToWitness adds l to the witness of its address. When the witness becomes a crowd, none
// of its losses proves anything any more.
func (t *Tracker) addToWitness(l *loss) {
	t.expireEndsUntil(l.at, atOnce) // the next tick removes the rest
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
		t.formCrowd(w)
	}
}

// formCrowd restores the deadlines that the losses of w have shortened, and counts their hosts
// as silent. If there are very many losses, the next tick does this.
func (t *Tracker) formCrowd(w *witness) {
	losses := slices.AppendSeq(slices.Clone(w.ends), maps.Keys(w.hangs))
	if len(losses) > atOnce {
		t.chores = append(t.chores, each(losses, 1, t.ignoreLoss))
		return
	}
	for _, l := range losses {
		t.ignoreLoss(l)
	}
}

// ignoreLoss restores the deadline that l has shortened, and counts its host as silent.
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

// forgetEnds schedules the removal of ends that are too old to form a crowd with new ones.
func (t *Tracker) forgetEnds(time.Time) {
	if len(t.ends) > 0 {
		t.next(t.expireEnds)
	}
}

// expireEnds is the portion that removes ends that are too old to form a crowd.
func (t *Tracker) expireEnds(n int) int { return t.expireEndsUntil(t.tickV, n) }

// expireEndsUntil removes up to most ends that are too old at the given time, and returns how
// many it removed.
func (t *Tracker) expireEndsUntil(verdict time.Duration, most int) int {
	n := 0
	for n < min(most, len(t.ends)) && t.ends[n].at < verdict-t.opts.Grace {
		l := t.ends[n]
		w := t.witnesses[l.from]
		w.ends = w.ends[1:]
		t.withdraw(w, l)
		n++
	}
	if t.ends = t.ends[n:]; len(t.ends) == 0 {
		t.ends = nil
	}
	return n
}

// withdraw removes l from the counts of its witness, which is forgotten with its last loss.
func (t *Tracker) withdraw(w *witness, l *loss) {
	if w.hosts[l.peer.host]--; w.hosts[l.peer.host] == 0 {
		delete(w.hosts, l.peer.host)
	}
	if len(w.hosts) == 0 {
		delete(t.witnesses, l.from)
	}
}
