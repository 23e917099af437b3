package liveness

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// checkInvariants checks that tr is consistent: it verifies the comments at the fields of
// Tracker, peer, past, process, former, host, isolation and witness. The random models call it
// after each step, the scripts after each line.
func checkInvariants(t testing.TB, tr *Tracker) {
	t.Helper()
	c := &checker{t: tr}
	c.checkTracker()
	for i, p := range tr.order {
		c.checkPeer(i, p)
		c.checkProcesses(p)
		c.checkWake(i, p)
	}
	c.checkHosts()
	c.checkConns()
	c.checkWitnesses()
	c.checkExpectations()
	c.checkUnsaved()
	if len(c.broken) > 0 {
		t.Fatal("an invariant does not hold: ", strings.Join(c.broken, "; "))
	}
}

type checker struct {
	t      *Tracker
	broken []string
}

// holds records a failure if an invariant of what is broken. what is a peer, a host, or
// anything else that can be printed.
func (c *checker) holds(yes bool, what any, invariant string) {
	if !yes {
		switch x := what.(type) {
		case *peer:
			what = x.id()
		case *host:
			what = x.index
		}
		c.broken = append(c.broken, fmt.Sprintf("%v: %s", what, invariant))
	}
}

func (c *checker) checkTracker() {
	t := c.t
	var counts [len(States)]int
	placeholders := 0
	for _, p := range t.order {
		counts[p.state]++
		if p.expected {
			placeholders++
		}
	}
	c.holds(counts == t.counts, t.counts, "counts are those of the states of all peers")
	c.holds(placeholders == t.placeholders, t.placeholders, "placeholders is how many peers are expected only")
	c.holds(len(t.wake) == len(t.order), len(t.wake), "each peer has a wake")
	for id, p := range t.peers {
		c.holds(p.index >= 0 && t.order[p.index] == p, p, "an ID leads to a peer that is known")
		c.holds(t.lookUp(id) == p, p, "an ID leads to one peer only")
		c.holds(id == p.id() || id.Nameless() && p.wasCalled(id), p, "an ID is that of its peer, or of a nameless process of it")
	}
	for p := range t.remotes {
		c.holds(p.index >= 0 && p.remote == remoteDiffers, p, "remotes are of peers that are known, and claim another address")
	}
	for source, queue := range t.vacant {
		c.holds(queue.Len() > 0, source, "no queue of vacant places is empty")
		for e := queue.Front(); e != nil; e = e.Next() {
			p := e.Value.(*peer)
			c.holds(p.vacancy == e && p.nameless() && p.host.source == source, p, "vacant are nameless peers of that source")
		}
	}
	c.holds(sharedAsTheyWere(), "noPast, noTraits", "they are never written to")
	c.holds(undeclared == declared{}, "undeclared", "it is never written to")
	c.holds(noRare.earlier == nil && noRare.loss == nil, "noRare", "it is never written to")
	c.holds(noSpeakers == speakers{}, "noSpeakers", "it is never written to")
	c.holds(noProof.runs == nil && noProof.floor == 0 && noProof.owner == 0, "noProof", "it is never written to")
}

// wasCalled reports whether id names the process of p, or a process that it has replaced.
func (p *peer) wasCalled(id ID) bool {
	return id.PID == p.ident.PID || slices.ContainsFunc(p.replaced, func(r replaced) bool { return r.pid == id.PID })
}

func (c *checker) checkPeer(i int, p *peer) {
	t := c.t
	c.holds(int(p.index) == i && t.lookUp(p.id()) == p, p, "index is where order has it, and its ID leads to it")
	c.holds(p.host == t.bySource[p.host.source] && p.host.peers[p.hostIndex] == p, p, "hostIndex is where its host has it")
	c.holds(p.traits != nil && p.past != nil, p, "traits and past are never nil")
	c.holds(!p.reportedApart || p.past != &noPast, p, "since when told was the state is in the past")
	c.holds(!p.expected || p.beats == 0, p, "a placeholder has not beaten")
	c.holds(p.reported == p.state || p.unreported || p.unknown(ReasonMateLost) || p.unknown(ReasonRestored), p,
		"told is the state, or it is among the untold, or its mate is lost, or it may have been missed")
	c.holds(p.reason != ReasonIsolated || p.state == Unknown && t.isolation.on, p, "held are unknown peers, and only in isolation")
	c.holds(p.dueTick <= t.ticks, p, "dueTick has been")
	c.holds(p.here <= fewBeats, p, "here counts up to fewBeats")
	c.holds(p.windowV > 0 || p.windowV == 0 && p.windowBy == "", p, "a window that is open ends later than the clock begins")
	c.holds(p.vacancy == nil || p.nameless(), p, "only the place of a nameless peer is vacant")
	c.holds(!p.lone || p.nameless() && len(p.formers) == 0, p, "lone is a nameless peer of one process")
	c.holds(len(p.replaced) == 0 || p.nameless(), p, "only nameless processes are replaced")
	c.holds(len(p.replaced) <= maxReplaced, p, "at most maxReplaced are replaced")
	c.holds(len(p.proofOrNone().runs) <= maxSignedRuns, p, "at most maxSignedRuns are remembered")
}

func (c *checker) checkProcesses(p *peer) {
	c.holds(len(p.formers) <= maxFormers, p, "at most maxFormers are remembered")
	c.holds(len(p.formers) == 0 || !p.nameless(), p, "another pid of a nameless peer is another peer")
	for o := range p.processes {
		c.holds(o.heardV <= c.t.tickV+maxTick, p, "heardV has been")
		c.holds(o.suspectV <= o.deadV, p, "suspectV <= deadV")
		c.holds(o.schedule.taught <= learningBeats+1, p, "taught counts up to youth+1")
		if o.loss != nil {
			c.holds(o.loss.peer == p && o.loss.evidence == o.evidence, p, "loss is its own, and what evidence says")
			c.holds(c.hangs(o.loss) == (o.evidence == ReasonHung), p, "a loss hangs as long as its process is hung")
		}
	}
	for _, o := range p.formers {
		c.holds(!o.beatsOn || o.ended == ReasonNone, p, "a former that beats has not ended")
		c.holds(!o.presumed || o.ended == ReasonNone, p, "a former that is presumed to live has not ended")
	}
}

// has reports whether l is the loss of a process of p.
func (p *peer) has(l *loss) bool {
	for o := range p.processes {
		if o.loss == l {
			return true
		}
	}
	return false
}

func (c *checker) hangs(l *loss) bool {
	w := c.t.witnesses[l.from]
	if w == nil {
		return false
	}
	_, yes := w.hangs[l]
	return yes
}

// checkWake checks that no peer is first checked after its deadline. A peer that waits for its
// host is checked together with the host.
func (c *checker) checkWake(i int, p *peer) {
	t := c.t
	latest := p.wakeV(&t.opts)
	if p.hasDeadline() {
		latest = p.deadlineV() + TickInterval
	}
	waits := !p.state.over() && p.waits()
	c.holds(t.wake[i] >= t.earliest, p, "no wake is before the earliest")
	c.holds(waits || t.wake[i] <= max(latest, t.tickV), p, "no peer sleeps beyond its deadline")
}

func (c *checker) checkHosts() {
	t, peers, silent := c.t, 0, 0
	c.holds(len(t.hosts) == len(t.bySource), len(t.hosts), "bySource leads to each host")
	for i, h := range t.hosts {
		living := 0
		for _, p := range h.peers {
			if !p.state.over() {
				living++
			}
			c.holds(p.host == h, p, "its host has it")
			c.holds((h.own == p) == (p.service == HostService), p, "own is the peer that is named host")
		}
		peers += len(h.peers)
		c.holds(int(h.index) == i && len(h.peers) > 0, h, "index is where hosts has it, and no host is empty")
		c.holds(h.own == nil || slices.Contains(h.peers, h.own), h, "own is one of its peers")
		c.holds(int(h.living) == living, h, "living counts its peers that are not over")
		if h.silence > 0 {
			silent++
			c.holds(h.living > 0 && t.isolation.silent[h.silence-1] == h, h, "silent is a host of which something lives")
		}
	}
	c.holds(peers == len(t.order), peers, "each peer is of one host")
	c.holds(silent == len(t.isolation.silent), silent, "the silent are hosts that are known, each once")
}

func (c *checker) checkConns() {
	over := make(map[ConnID]map[*peer]struct{})
	for _, p := range c.t.order {
		for o := range p.processes {
			count := 0
			for l := range o.connections {
				count++
				c.holds(l.conn != 0 && o.linkOver(l.conn) == l, p, "a process has one link over a connection")
				if over[l.conn] == nil {
					over[l.conn] = make(map[*peer]struct{})
				}
				over[l.conn][p] = struct{}{}
			}
			c.holds(count <= maxLinks, p, "a process has at most maxLinks")
			c.holds(len(o.earlier) == 0 || o.hasConn(), p, "earlier connections are there only beside the latest")
		}
	}
	conns := &c.t.conns
	c.holds(len(conns.latest) == len(over), len(over), "the connections are those of the links")
	for conn, peers := range over {
		_, yes := peers[conns.latest[conn]]
		c.holds(yes, conn, "a connection leads to a peer over it")
		c.holds(len(peers) == 1 && conns.shared[conn] == nil || maps.Equal(conns.shared[conn], peers), conn, "a shared connection has all peers over it")
	}
}

func (c *checker) checkWitnesses() {
	t, ends := c.t, 0
	for from, w := range t.witnesses {
		hosts := make(map[*host]int)
		for _, l := range w.ends {
			hosts[l.peer.host]++
		}
		for l := range w.hangs {
			hosts[l.peer.host]++
			c.holds(l.peer.index >= 0 && l.peer.has(l), l.peer, "what hangs is a process that is known")
		}
		ends += len(w.ends)
		c.holds(len(hosts) > 0 && reflect.DeepEqual(hosts, w.hosts), from, "hosts counts the losses of a witness, which has some")
	}
	c.holds(ends == len(t.ends), ends, "each end is that of one witness")
	c.holds(slices.IsSortedFunc(t.ends, func(a, b *loss) int { return cmp.Compare(a.at, b.at) }), len(t.ends), "ends are in order")
	i := &t.isolation
	c.holds(!i.on || i.since <= i.partial && i.partial <= t.tickV, i.partial, "isolation began before it was partial")
}

func (c *checker) checkExpectations() {
	for id, some := range c.t.expectations.byID {
		for _, e := range some {
			p := e.placeholder
			c.holds(p == nil || p.expected && p.id() == e.id() && c.t.lookUp(id) == p, id, "a placeholder has the ID of what it stands for")
		}
	}
}

func (c *checker) checkUnsaved() {
	u := &c.t.unsaved
	var late [lateClasses]int
	listed := make(map[*peer]bool)
	for _, p := range u.peers {
		c.holds(p.listed && !listed[p], p, "a peer is listed once")
		listed[p] = true
	}
	for _, p := range c.t.order {
		c.holds(p.listed == listed[p], p, "listed tells that it is among the unsaved")
		c.holds(!p.changed, p, "changed is set only while a call runs")
		if p.late > 0 {
			late[p.late]++
		}
	}
	c.holds(late == u.late, u.late, "late counts peers by class")
}
