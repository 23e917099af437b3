// This file defines the processes of a peer and their connections. One process is the current
// process of its peer, usually the newest one. Former processes are remembered, because they
// may still be alive: two machines may use one name, and two runs of a job may overlap. The
// peer is silent when its last living process is silent. This file also decides which peer a
// nameless process continues.

package liveness

import (
	"cmp"
	"container/list"
	"maps"
	"slices"
	"time"
)

// maxFormers is how many processes of a peer are remembered besides the current one.
const maxFormers = 8

// A process is one process of a peer, with the content of its beats and the evidence from its
// connections. None of this applies to another process of the same name: each has its own
// silence, interval and end (docs/decisions/0017).
type process struct {
	ident     Process
	life      string        // the run of the sender that beats for it; empty if its beats name none
	*declared               // never nil; undeclared if it declares nothing
	schedule  schedule      // learned from its beats
	heard     time.Duration // last beat
	heardV    time.Duration // <= tickV + maxTick
	suspectV  time.Duration // when silence makes it suspect; <= deadV
	deadV     time.Duration // when silence makes it dead
	evidence  Reason        // of its silence
	watched   bool          // from outside: the end of its watcher's connection proves nothing about it
	extended  bool          // its silence has been prolonged once for a restart of the collector
	verified  bool          // its latest beat was signed, or a certificate named its host
	unheard   bool          // a mate reported it, and it has not beaten here
	connless  bool          // its latest beat came over no connection
	lostLong  bool          // a long connection has ended since its latest beat
	cutLong   bool          // likewise, and the collector ended it
	link      link          // the latest connection it beats over
	*rare                   // never nil; noRare for most
}

// declared contains the declarations of a process. Processes with the same declarations share
// one, so it is never modified.
type declared struct {
	interval time.Duration // 0 if not declared
	margin   time.Duration // 0 if not declared
}

// undeclared is shared by processes that declare nothing.
var undeclared declared

// maxDeclared is the most entries of Tracker.declared.
const maxDeclared = 1000

// declare sets the declared interval and margin of o.
func (t *Tracker) declare(o *process, interval, margin time.Duration) {
	want := declared{interval, margin}
	if *o.declared == want {
		return
	}
	if want == undeclared {
		o.declared = &undeclared
		return
	}
	shared := t.declared[want]
	if shared == nil {
		shared = &declared{interval, margin}
		if len(t.declared) >= maxDeclared { // sharing starts over
			clear(t.declared)
		}
		t.declared[want] = shared
	}
	o.declared = shared
}

// rare contains data that few processes have.
type rare struct {
	earlier []link // the connections before the latest one, the latest first, each once; at most maxLinks including the latest one
	loss    *loss  // how the process fell silent, if that is known; loss.evidence == evidence
}

// noRare is shared by all processes that have no rare data. It is never modified.
var noRare rare

// setRare sets the rare data of o.
func (o *process) setRare(r rare) {
	switch {
	case len(r.earlier) == 0 && r.loss == nil:
		o.rare = &noRare
	case o.rare == &noRare:
		o.rare = &r
	default:
		*o.rare = r
	}
}

// processOf returns a process with the given identity and run of its sender. Nothing else is
// known about it.
func processOf(ident Process, life string) process {
	return process{ident: ident, life: life, declared: &undeclared, rare: &noRare, evidence: ReasonSilence}
}

// A former is a process that was the current process of its peer before. It is alive if it
// beats, has a connection, or is presumed alive. A former process that has ended is still
// remembered, so that a second report of its end has no effect.
type former struct {
	process
	replaced time.Duration // when another process replaced it
	beatsOn  bool          // it has beaten since it was replaced
	presumed bool          // its watcher has not reported its end, and has no connection or had one to another collector
	ended    Reason        // the reason of its end, if that was reported; ReasonNone while it is alive
	endedAt  time.Duration // when its end was reported
	away     bool          // the end was reported to a mate, and not here yet
}

// is reports whether b is about the process o. If a sender beats for itself, each of its runs
// is another process, even if all of them are pid 1 of one container: their start times may
// differ by less than the tolerance of Process. A watched process may be the same in several
// runs of its watcher, because the watcher reads the exact start time of the process from the
// system.
func (o *process) is(b *Beat) bool {
	if !o.ident.is(b.Process) {
		return false
	}
	reborn := o.ident.PID != 0 && o.ident.PID == b.Process.PID && o.life != b.life() && o.life != "" && b.life() != ""
	bothKnown := o.ident.Start != 0 && b.Process.Start != 0
	if bothKnown {
		return !reborn || o.ident.Start == b.Process.Start
	}
	return !reborn || o.watched || b.Watched
}

// sameSender reports whether b comes from the sender that beats for o. If a sender first names
// one process and then another, only the second is alive.
func (o *process) sameSender(b *Beat) bool {
	if o.life != "" || b.life() != "" {
		return o.life == b.life()
	}
	return o.linkOver(b.Conn) != nil
}

// lives reports whether a former process is alive beside the current one: it beats, has a
// connection, or is presumed alive.
func (o *former) lives() bool { return o.beatsOn || o.presumed || o.hasConn() }

// span is the interval at which a living process is expected to beat: declared or guessed.
func (o *process) span(terms *Terms) time.Duration {
	if o.interval > 0 {
		return o.interval
	}
	return min(terms.DeadAfter/4, time.Minute)
}

func (p *peer) span() time.Duration { return p.process.span(p.terms) }

// processes yields all processes of p, the current one first.
func (p *peer) processes(yield func(*process) bool) {
	if !yield(&p.process) {
		return
	}
	for _, o := range p.formers {
		if !yield(&o.process) {
			return
		}
	}
}

// living yields the former processes of p that are alive.
func (p *peer) living(yield func(*former) bool) {
	for _, o := range p.formers {
		if o.lives() && !yield(o) {
			return
		}
	}
}

// formerOf returns the former process that b is about, or nil.
func (p *peer) formerOf(b *Beat) *former {
	for _, o := range p.formers {
		if o.is(b) {
			return o
		}
	}
	return nil
}

// latest returns the maximum of a time over all living processes of p.
func (p *peer) latest(of func(*process) time.Duration) time.Duration {
	latest := of(&p.process)
	for o := range p.living {
		latest = max(latest, of(&o.process))
	}
	return latest
}

// lastHeard returns the time at which the latest beat of any process of p was received.
func (p *peer) lastHeard() time.Duration {
	return p.latest(func(o *process) time.Duration { return o.heard })
}

// lastHeardV is lastHeard on the verdict clock.
func (p *peer) lastHeardV() time.Duration {
	return p.latest(func(o *process) time.Duration { return o.heardV })
}

// suspicionV returns the time at which silence makes p suspect, considering all its processes,
// here and at mates.
func (p *peer) suspicionV() time.Duration {
	if _, limited := p.limited(); limited {
		return p.ownSuspicionV()
	}
	if e := p.elsewhere; e != nil {
		return max(p.ownSuspicionV(), e.suspicionV())
	}
	return p.ownSuspicionV()
}

// ownSuspicionV is suspicionV considering only the beats received here.
func (p *peer) ownSuspicionV() time.Duration {
	if limitV, limited := p.limited(); limited {
		return limitV
	}
	return p.latest(func(o *process) time.Duration { return o.suspectV })
}

// deadlineV returns the time at which silence makes p dead, considering all its processes, here
// and at mates.
func (p *peer) deadlineV() time.Duration {
	if limitV, limited := p.limited(); limited {
		return limitV
	}
	deadV := p.latest(func(o *process) time.Duration { return o.deadV })
	if e := p.elsewhere; e != nil {
		deadV = max(deadV, e.deadlineV())
	}
	return deadV
}

// takePlace makes the process of b the current process of p. The previous one becomes a former
// process. The new process keeps the schedule learned so far.
func (t *Tracker) takePlace(p *peer, b *Beat, at time.Duration) {
	old := t.asFormer(p, at)
	gone := old.ended != ReasonNone || old.sameSender(b) || old.ident.rebooted(b.Process)
	if gone {
		t.unlink(p, &old.process)
	}
	old.presumed = !gone && (p.foreign() || (old.connless || old.extended) && old.watched && old.life != "")
	if p.nameless() { // another pid is another name
		t.unlink(p, &old.process)
		t.clearLoss(&old.process)
	} else {
		t.addFormer(p, old)
	}
	p.process = processOf(b.Process, b.life())
	t.declare(&p.process, old.interval, 0)
	p.schedule, p.heard, p.heardV, p.suspectV, p.deadV = old.schedule, old.heard, old.heardV, old.suspectV, old.deadV
}

// asFormer returns the current process of p as a former one. If p has ended, that process has
// ended too.
func (t *Tracker) asFormer(p *peer, at time.Duration) *former {
	o := &former{process: p.detachHolder(), replaced: at}
	if p.state.over() {
		t.endFormer(p, o, p.reason)
		o.endedAt, o.away = p.since, p.elsewhere != nil && p.elsewhere.endAway
	}
	return o
}

// addFormer adds o to the former processes of p. If there are too many, o replaces one that
// has ended, or else the first.
func (t *Tracker) addFormer(p *peer, o *former) {
	past := p.editPast()
	if len(past.formers) == maxFormers {
		at := max(slices.IndexFunc(past.formers, func(o *former) bool { return !o.lives() }), 0)
		t.forgetFormer(p, past.formers[at])
	}
	past.formers = append(past.formers, o)
	p.changed = true
}

// addEnded adds o, which was unknown before its end, to the former processes of p, unless a
// living one would have to be forgotten.
func (t *Tracker) addEnded(p *peer, o *process, reason Reason) {
	dead := func(o *former) bool { return !o.lives() }
	if p.nameless() { // another pid is another name
		return
	}
	if len(p.formers) < maxFormers || slices.ContainsFunc(p.formers, dead) {
		t.addFormer(p, &former{process: *o, ended: reason})
	}
}

// forgetFormer forgets a former process, which has ended.
func (t *Tracker) forgetFormer(p *peer, o *former) {
	t.unlink(p, &o.process)
	t.clearLoss(&o.process)
	past := p.editPast()
	past.formers = slices.DeleteFunc(past.formers, func(x *former) bool { return x == o })
	p.changed = true
}

// retakePlace makes a former process the current process of p again.
func (t *Tracker) retakePlace(p *peer, o *former) {
	holder := t.asFormer(p, o.replaced)
	p.process = o.process
	past := p.editPast()
	past.formers = append(slices.DeleteFunc(past.formers, func(x *former) bool { return x == o }), holder)
	p.changed = true
}

// promote makes the living former process that beat last the current process of p, because the
// current one has ended.
func (t *Tracker) promote(p *peer, ended Reason) {
	var next *former
	for o := range p.living {
		if next == nil || o.heard > next.heard {
			next = o
		}
	}
	holder := &former{process: p.detachHolder(), replaced: next.replaced}
	t.endFormer(p, holder, ended)
	p.process = next.process
	past := p.editPast()
	past.formers = append(slices.DeleteFunc(past.formers, func(x *former) bool { return x == next }), holder)
	p.changed = true
}

// A link is a connection over which a process of a peer beats.
type link struct {
	conn ConnID        // 0 for none
	from time.Duration // first beat over it
	long bool          // a beat arrived over it at least longConn after the first
}

// connections yields the links of o, the latest first.
func (o *process) connections(yield func(*link) bool) {
	if !o.hasConn() || !yield(&o.link) {
		return
	}
	for i := range o.earlier {
		if !yield(&o.earlier[i]) {
			return
		}
	}
}

// linkOver returns the link of o over conn, or nil.
func (o *process) linkOver(conn ConnID) *link {
	for l := range o.connections {
		if l.conn == conn {
			return l
		}
	}
	return nil
}

// hasConn reports whether o has a connection.
func (o *process) hasConn() bool { return o.link.conn != 0 }

// hasLongConn reports whether o has a long connection.
func (o *process) hasLongConn() bool {
	for l := range o.connections {
		if l.long {
			return true
		}
	}
	return false
}

// addLink adds a connection of o as the latest.
func (o *process) addLink(l link) {
	if o.hasConn() {
		o.setRare(rare{slices.Insert(o.earlier, 0, o.link), o.loss})
	}
	o.link = l
}

// dropLink removes the link of o over conn, which must exist.
func (o *process) dropLink(conn ConnID) {
	switch earlier := o.earlier; {
	case o.link.conn != conn:
		o.setRare(rare{slices.DeleteFunc(earlier, func(l link) bool { return l.conn == conn }), o.loss})
	case len(earlier) == 0:
		o.link = link{}
	default:
		o.link = earlier[0]
		o.setRare(rare{earlier[1:], o.loss})
	}
}

// holder returns the process of p that has a link over conn, or nil. If several processes have
// one, it returns a former process.
func (p *peer) holder(conn ConnID) *process {
	for _, o := range p.formers {
		if o.linkOver(conn) != nil {
			return &o.process
		}
	}
	if p.linkOver(conn) != nil {
		return &p.process
	}
	return nil
}

// connected reports whether p has a connection.
func (p *peer) connected() bool {
	for o := range p.processes {
		if o.hasConn() {
			return true
		}
	}
	return false
}

// noteConn notes that a beat of o, a process of p, arrived over conn.
func (t *Tracker) noteConn(p *peer, o *process, conn ConnID, at time.Duration) {
	if o.connless = conn == 0; o.connless {
		return
	}
	if l := o.linkOver(conn); l != nil {
		if !l.long && at-l.from >= longConn {
			l.long, p.changed = true, true
		}
		return
	}
	o.addLink(link{conn: conn, from: at})
	t.conns.add(conn, p)
	p.changed = t.boundLinks(p, o) || p.changed
}

// boundLinks forgets the earliest connection of o, a process of p, if it has too many.
func (t *Tracker) boundLinks(p *peer, o *process) bool {
	if len(o.earlier) < maxLinks {
		return false
	}
	t.removeLink(p, o, o.earlier[maxLinks-1].conn)
	return true
}

// removeLink removes the link of o, a process of p, over conn.
func (t *Tracker) removeLink(p *peer, o *process, conn ConnID) {
	o.dropLink(conn)
	if p.holder(conn) == nil {
		t.conns.remove(conn, p)
	}
}

// unlink removes all links of o, a process of p.
func (t *Tracker) unlink(p *peer, o *process) {
	for o.hasConn() {
		t.removeLink(p, o, o.link.conn)
	}
}

// detachHolder returns the current process of p, with its links and its loss, because another
// process is about to replace it.
func (p *peer) detachHolder() process {
	o := p.process
	p.link, p.rare = link{}, &noRare
	return o
}

// conns maps each connection to its peers, which are the peers with a process that has a link
// over it. So the end of a connection needs no search. Most connections have one peer.
type conns struct {
	latest map[ConnID]*peer              // usually the peer added last
	shared map[ConnID]map[*peer]struct{} // all peers, if there are several
}

// add notes that p beats over conn, which may be known.
func (c *conns) add(conn ConnID, p *peer) {
	before, peers := c.latest[conn], c.shared[conn]
	c.latest[conn] = p
	if before == nil || before == p && peers == nil {
		return
	}
	if peers == nil {
		peers = map[*peer]struct{}{before: {}}
		c.shared[conn] = peers
	}
	peers[p] = struct{}{}
}

// remove notes that p no longer beats over conn.
func (c *conns) remove(conn ConnID, p *peer) {
	peers := c.shared[conn]
	delete(peers, p)
	if len(peers) == 1 {
		delete(c.shared, conn)
	}
	if c.latest[conn] != p {
		return
	}
	delete(c.latest, conn)
	for other := range peers {
		c.latest[conn] = other
		break
	}
}

// count returns how many peers beat over conn, or 0 if there is at most one.
func (c *conns) count(conn ConnID) int { return len(c.shared[conn]) }

// takeSome removes n of the peers of a connection that has ended, and returns them in no
// particular order.
func (c *conns) takeSome(conn ConnID, n int) []*peer {
	peers := c.shared[conn]
	if len(peers) <= n {
		return c.take(conn)
	}
	some := make([]*peer, 0, n)
	for p := range peers {
		if len(some) == n {
			break
		}
		some = append(some, p)
		delete(peers, p)
	}
	return some
}

// take forgets a connection and returns its peers, the latest first.
func (c *conns) take(conn ConnID) []*peer {
	all := c.of(conn)
	delete(c.latest, conn)
	delete(c.shared, conn)
	return all
}

// of returns the peers that beat over conn, the latest first.
func (c *conns) of(conn ConnID) []*peer {
	if peers := c.shared[conn]; peers != nil {
		return slices.SortedFunc(maps.Keys(peers), func(a, b *peer) int { return cmp.Compare(b.index, a.index) })
	}
	if p := c.latest[conn]; p != nil {
		return []*peer{p}
	}
	return nil
}

// A nameless process is identified by its pid, which changes with a restart. The peer of the
// old pid must not stay dead forever. So a peer that is dead or disconnected continues as the
// next unknown pid of its address. If both processes turn out to be alive, they become two
// peers again.

// maxReplaced is how many replaced processes of a nameless peer are remembered. A cron job
// that runs every second reaches the limit in four minutes.
const maxReplaced = 256

// vacancies are the nameless peers of each source that may continue as the next unknown pid of
// their address. So a nameless client stays one peer when it restarts, and so does a job that
// beats once per run. In each queue the peer that ended first comes first. No queue is empty.
type vacancies map[string]*list.List

func (v vacancies) add(p *peer) {
	if p.vacancy != nil || !p.nameless() {
		return
	}
	queue := v[p.host.source]
	if queue == nil {
		queue = list.New()
		v[p.host.source] = queue
	}
	p.editPast().vacancy = queue.PushBack(p)
}

func (v vacancies) remove(p *peer) {
	if p.vacancy == nil {
		return
	}
	queue := v[p.host.source]
	queue.Remove(p.vacancy)
	p.editPast().vacancy = nil
	if queue.Len() == 0 {
		delete(v, p.host.source)
	}
}

// first returns the peer that has been in the queue of source longest, or nil.
func (v vacancies) first(source string) *peer {
	queue := v[source]
	if queue == nil {
		return nil
	}
	return queue.Front().Value.(*peer)
}

// A replaced is a nameless process that beat over only one connection before another process
// replaced it. Until its silence would make it dead, a beat of it can still show that the two
// are different peers.
type replaced struct {
	pid    uint32
	heard  time.Duration
	heardV time.Duration
	deadV  time.Duration
}

// noteVisit notes whether p is nameless and all beats of its process came over one
// short connection.
func (p *peer) noteVisit(o *process, b *Beat, anew bool) {
	lone := p.nameless() && (anew || p.lone && b.Conn != 0 && o.linkOver(b.Conn) != nil)
	p.changed = p.changed || lone != p.lone
	p.lone = lone
}

// endVisit handles the end of a connection whose end proves nothing about p.
func (t *Tracker) endVisit(p *peer) {
	if p.lone && !p.hasConn() {
		t.vacant.add(p)
		t.noteNews(p)
	}
}

// vacated returns the peer that continues as the unknown process of b, or nil.
func (t *Tracker) vacated(b *Beat, now time.Time) *peer {
	p := t.vacancyFor(b, now)
	switch {
	case p == nil:
	case p.lone:
		t.continueAs(p, b.ID, t.verdict(now))
	default:
		t.replace(p, b.ID, now)
	}
	return p
}

// vacancyFor returns the peer that vacated would return for b, and changes nothing.
func (t *Tracker) vacancyFor(b *Beat, now time.Time) *peer {
	if !b.ID.Nameless() || b.Status != SaysAlive {
		return nil
	}
	p := t.vacant.first(b.ID.Source)
	if p == nil || p.rate.used(now.Sub(t.epoch), t.opts.MaxBeatsPerSecond) {
		return nil
	}
	return p
}

// A continued describes a nameless peer that continues under another ID: its former ID, and
// whether all its beats came over one short connection.
type continued struct {
	id   ID
	lone bool
}

// continueAs makes p, whose beats all came over one short connection, continue with the next
// process. The series of p continues too: last_pid shows the process.
func (t *Tracker) continueAs(p *peer, id ID, verdict time.Duration) {
	past := p.editPast()
	past.replaced = slices.DeleteFunc(past.replaced, func(r replaced) bool { return r.pid == id.PID || t.expired(p, r, verdict) })
	if len(past.replaced) == maxReplaced {
		t.forgetAlias(p, past.replaced[0].pid)
		past.replaced = slices.Delete(past.replaced, 0, 1)
	}
	past.replaced = append(past.replaced, replaced{p.ident.PID, p.heard, p.heardV, p.deadV})
	t.vacant.remove(p)
	p.changed = true
	p.forgetOrder()
	t.peers[id], t.continued = p, continued{p.id(), true}
}

// expired reports whether r, a process replaced in p, has been silent for so long that it can
// be forgotten. If so, its pid no longer leads to p.
func (t *Tracker) expired(p *peer, r replaced, verdict time.Duration) bool {
	if verdict < r.deadV {
		return false
	}
	t.forgetAlias(p, r.pid)
	return true
}

// replace makes p continue under another ID. The old series of p ends with a last point. If a
// process was connected before the collector restarted, it may be alive and only reconnect
// more slowly than the process that replaces it, so it is remembered.
func (t *Tracker) replace(p *peer, id ID, now time.Time) {
	t.closeSeries(p, now)
	t.vacant.remove(p)
	t.forgetAliases(p)
	t.noteGone(p.id())
	if p.extended && !p.state.over() {
		t.peers[ID{Source: p.host.source, PID: p.ident.PID}] = p
		p.editPast().replaced = []replaced{{p.ident.PID, p.heard, p.heardV, p.deadV}}
	}
	t.continued = continued{p.id(), false}
	t.mark(p)
	if t.opts.Mates {
		delete(t.byHash, p.id().Hash())
		t.byHash[id.Hash()] = p
	}
	p.service, p.pid, p.health = id.Service, id.PID, HealthUnreported
	p.forgetOrder()
	t.peers[id] = p
}

// separate handles a beat of a process that another process has replaced in p: it makes the
// two processes two peers and returns the peer of b. If the process is not remembered, or if
// there is no room for another peer, the process becomes the current process of p again. If
// there is no room and b reports an end, separate returns nil.
func (t *Tracker) separate(p *peer, b *Beat, now time.Time) *peer {
	at := slices.IndexFunc(p.replaced, func(r replaced) bool { return r.pid == b.ID.PID })
	remembered := at >= 0 && t.verdict(now) < p.replaced[at].deadV
	full := t.checkRoom(b.ID.Source) != Accepted
	switch {
	case full && b.Status != SaysAlive:
		return nil
	case full, b.Status == SaysAlive && !remembered && p.vacancy != nil && p.lone:
		t.continueAs(p, b.ID, t.verdict(now))
		return p
	case !p.isNamed(b.ID):
		own := t.addFor(b, now)
		own.setTrail(p.trail) // a peer with this name may have existed before
		return own
	}
	t.splitOff(p, now)
	interval := p.interval
	p.process = processOf(b.Process, b.life())
	t.declare(&p.process, interval, 0)
	p.heard, p.heardV = now.Sub(t.epoch), t.verdict(now)
	p.forgetOrder()
	if remembered {
		p.heard, p.heardV = p.replaced[at].heard, p.replaced[at].heardV
		p.replaced = slices.Delete(p.replaced, at, at+1)
	}
	return p
}

// splitOff makes the current process of p a separate peer, unless it is one already because it
// beat before the record of p was restored.
func (t *Tracker) splitOff(p *peer, now time.Time) {
	id := ID{Source: p.host.source, PID: p.ident.PID}
	if known := t.lookUp(id); known != nil && known != p {
		t.unlink(p, &p.process)
		t.clearLoss(&p.process)
		t.vacant.remove(p)
		p.changed = true
		return
	}
	delete(t.peers, id)
	own := t.add(id, p.addr)
	own.process, own.run, own.lone, own.health, own.beats = p.detachHolder(), p.run, p.lone, p.health, 1
	if p.traits != &noTraits {
		own.setTrail(p.trail)
		traits := own.editTraits()
		traits.labels, traits.before, traits.proof = p.labels, p.before, p.proof
	}
	for l := range own.connections {
		t.conns.add(l.conn, own)
		t.conns.remove(l.conn, p)
	}
	if own.loss != nil {
		own.loss.peer = own
	}
	vacant := p.vacancy != nil
	t.vacant.remove(p)
	t.meet(own, now)
	if !p.state.over() {
		t.become(own, Alive, ReasonBeat, now)
	}
	if vacant {
		t.vacant.add(own)
	}
	own.changed, p.changed = true, true
	t.rewake(own)
}

// After forgetAlias, pid no longer leads to p, unless it is part of the ID of p.
func (t *Tracker) forgetAlias(p *peer, pid uint32) {
	id := ID{Source: p.host.source, PID: pid}
	if id != p.id() && pid != p.ident.PID && t.peers[id] == p {
		delete(t.peers, id)
	}
}

// After forgetAliases, no ID leads to p any more.
func (t *Tracker) forgetAliases(p *peer) {
	delete(t.peers, p.id())
	if !p.nameless() {
		return
	}
	pids := make([]uint32, 0, 1+len(p.replaced))
	pids = append(pids, p.ident.PID)
	for _, r := range p.replaced {
		pids = append(pids, r.pid)
	}
	for _, pid := range pids {
		if id := (ID{Source: p.host.source, PID: pid}); t.peers[id] == p {
			delete(t.peers, id)
		}
	}
	if p.replaced != nil {
		p.editPast().replaced = nil
	}
}
