package liveness

import (
	"net/netip"
	"time"
)

// crowdSize is how many hosts of one address that are lost together are one
// witness: what stands between us and them, a proxy or a NAT, speaks for all.
const crowdSize = 10

// A loss is what is known of how a process fell silent, beyond the silence.
type loss struct {
	peer     *peer
	evidence Reason
	from     netip.Addr
	at       time.Duration // on the verdict clock
	deadV    time.Duration // when silence alone would make the process dead
	crowded  bool          // it is one of a crowd, and proves nothing
}

// A witness is what all losses of one address say together.
type witness struct {
	ends  []*loss            // connections that ended within disconnect_grace, the earliest first
	hangs map[*loss]struct{} // who hangs now
	hosts map[*host]int      // losses of each host among both
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
	o.loss = &loss{peer: p, evidence: evidence, from: from, at: verdict, deadV: o.deadV}
	t.addToWitness(o.loss)
}

// clearLoss forgets how o was lost.
func (t *Tracker) clearLoss(o *process) {
	if o.loss != nil && o.loss.evidence == ReasonHung {
		w := t.witnesses[o.loss.from]
		delete(w.hangs, o.loss)
		t.withdraw(w, o.loss)
	}
	o.loss = nil
}

// addToWitness adds l to the witness of its address, and tells all of them when they
// become a crowd.
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

func (t *Tracker) withdraw(w *witness, l *loss) {
	if w.hosts[l.peer.host]--; w.hosts[l.peer.host] == 0 {
		delete(w.hosts, l.peer.host)
	}
	if len(w.hosts) == 0 {
		delete(t.witnesses, l.from)
	}
}
