// The processes of a peer and their connections. One process holds the place of its
// peer, as a rule the one heard last that is new; those whose place was taken are
// remembered, as they may live on beside it: a conflict of two machines, or two runs
// of one job. Silence is over for the peer when it is over for the last that lives. And
// which peer a process without a name continues.

package liveness

import (
	"cmp"
	"container/list"
	"maps"
	"slices"
	"time"
)

// maxFormers is how many processes of one peer are remembered beside the one
// that holds its place.
const maxFormers = 8

// A process is one process of a peer, with all that its beats say of it and all
// that its connections show. Nothing of that is ever believed of another process,
// though both have one name: the silence, the interval and the end of each are its
// own (docs/decisions/0017).
type process struct {
	ident     Process
	life      string        // of the sender that beats for it; empty if it names none
	*declared               // never nil; undeclared if it has declared nothing
	schedule  schedule      // of its interval
	heard     time.Duration // last beat
	heardV    time.Duration // <= tickV + maxTick
	suspectV  time.Duration // when silence makes it suspect; <= deadV
	deadV     time.Duration // when silence makes it dead
	evidence  Reason        // of its silence
	watched   bool          // from outside: the end of its connection proves nothing about it
	extended  bool          // its silence has outlived a collector, and got one interval more for that
	verified  bool          // its latest beat was signed, or a certificate named its host
	unheard   bool          // a mate has told it, and it has not beaten here
	connless  bool          // its latest beat came over no connection
	lostLong  bool          // a long connection has ended since its latest beat
	cutLong   bool          // likewise, and the collector has ended it
	link      link          // the latest connection over which it beats
	*rare                   // never nil; noRare for most
}

// declared is what processes say of their beats. Those that say the same share it: it is never
// written to.
type declared struct {
	interval time.Duration // 0 for none
	margin   time.Duration // likewise
}

// undeclared is that of processes that say nothing.
var undeclared declared

// maxDeclared is how many different ones are known to be shared.
const maxDeclared = 1000

// declare notes what o declares.
func (t *Tracker) declare(o *process, interval, margin time.Duration) {
	said := declared{interval, margin}
	if *o.declared == said {
		return
	}
	if said == undeclared {
		o.declared = &undeclared
		return
	}
	shared := t.declared[said]
	if shared == nil {
		shared = &declared{interval, margin}
		if len(t.declared) >= maxDeclared { // they are shared again
			clear(t.declared)
		}
		t.declared[said] = shared
	}
	o.declared = shared
}

// rare is what few processes have.
type rare struct {
	earlier []link // the connections before the latest, the latest first: with it at most maxLinks, each connection once
	loss    *loss  // how it fell silent, if that says more than its silence: loss.evidence == evidence
}

// noRare is shared by all processes that have nothing of that. It is never written to.
var noRare rare

// setRare lets o have that.
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

// processOf returns a process of which nothing is known but its name and its sender.
func processOf(ident Process, life string) process {
	return process{ident: ident, life: life, declared: &undeclared, rare: &noRare, evidence: ReasonSilence}
}

// A former is a process that held the place of its peer before. It lives on if it
// beats, has a connection or is presumed to; one that has ended does neither beat
// nor is presumed to live, and is remembered so that a second report of its end is
// none.
type former struct {
	process
	replaced time.Duration // when another one took the place
	beatsOn  bool          // it has beaten since
	presumed bool          // its watcher, which has no connection or has lost it with another collector, has not reported its end
	ended    Reason        // how, if that was reported; ReasonNone while it lives
	endedAt  time.Duration // when that was reported
	away     bool          // to a mate; it was not reported here yet
}

// is reports whether b is about the process o. A sender that beats for itself is
// another process in each of its lives, even where all of them are pid 1 of one
// container: it starts anew within the tolerance of Process. What is watched may be
// the same in several lives of its watchers, which read its start from the system,
// to the tick.
func (o *process) is(b *Beat) bool {
	if !o.ident.is(b.Process) {
		return false
	}
	reborn := o.ident.PID != 0 && o.ident.PID == b.Process.PID && o.life != b.life() && o.life != "" && b.life() != ""
	told := o.ident.Start != 0 && b.Process.Start != 0
	if told {
		return !reborn || o.ident.Start == b.Process.Start
	}
	return !reborn || o.watched || b.Watched
}

// bySame reports whether b comes from the sender that has beaten for o: of two
// processes that one sender names in turn only the latter lives.
func (o *process) bySame(b *Beat) bool {
	if o.life != "" || b.life() != "" {
		return o.life == b.life()
	}
	return o.over(b.Conn) != nil
}

// lives reports whether a former process lives beside the one that holds the place:
// it beats, or has a connection, or nothing was said of its end.
func (o *former) lives() bool { return o.beatsOn || o.presumed || o.overAny() }

// span is within how long a process that lives is expected to beat: it has
// declared that, or it is guessed.
func (o *process) span(terms *Terms) time.Duration {
	if o.interval > 0 {
		return o.interval
	}
	return min(terms.DeadAfter/4, time.Minute)
}

func (p *peer) span() time.Duration { return p.process.span(p.terms) }

// bodies returns the process that holds the place of p and all others.
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

// living returns the others of p that live.
func (p *peer) living(yield func(*former) bool) {
	for _, o := range p.formers {
		if o.lives() && !yield(o) {
			return
		}
	}
}

// other returns the remembered process that b is about, or nil.
func (p *peer) formerOf(b *Beat) *former {
	for _, o := range p.formers {
		if o.is(b) {
			return o
		}
	}
	return nil
}

// latest returns the latest of what holds for each process of p that may live.
func (p *peer) latest(of func(*process) time.Duration) time.Duration {
	latest := of(&p.process)
	for o := range p.living {
		latest = max(latest, of(&o.process))
	}
	return latest
}

// lastHeard returns when any process of p was heard last.
func (p *peer) lastHeard() time.Duration {
	return p.latest(func(o *process) time.Duration { return o.heard })
}

// lastHeardV is lastHeard on the verdict clock.
func (p *peer) lastHeardV() time.Duration {
	return p.latest(func(o *process) time.Duration { return o.heardV })
}

// suspicionV returns when silence makes p suspect: all its processes, here and at mates.
func (p *peer) suspicionV() time.Duration {
	if _, limited := p.limited(); limited {
		return p.ownSuspicionV()
	}
	if e := p.elsewhere; e != nil {
		return max(p.ownSuspicionV(), e.suspicionV())
	}
	return p.ownSuspicionV()
}

// ownSuspicionV is suspicionV by what was heard here alone.
func (p *peer) ownSuspicionV() time.Duration {
	if limitV, limited := p.limited(); limited {
		return limitV
	}
	return p.latest(func(o *process) time.Duration { return o.suspectV })
}

// deadlineV returns when silence makes p dead: the last of its processes, here and at
// mates.
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

// takePlace lets the process of b take the place of the one that holds it, which is
// remembered. What was learnt of the schedule holds for the new one.
func (t *Tracker) takePlace(p *peer, b *Beat, at time.Duration) {
	old := t.asFormer(p, at)
	gone := old.ended != ReasonNone || old.bySame(b) || old.ident.rebooted(b.Process)
	if gone {
		t.unlink(p, &old.process)
	}
	old.presumed = !gone && (p.foreign() || (old.connless || old.extended) && old.watched && old.life != "")
	if p.nameless() { // another pid has another name
		t.unlink(p, &old.process)
		t.clearLoss(&old.process)
	} else {
		t.addFormer(p, old)
	}
	p.process = processOf(b.Process, b.life())
	t.declare(&p.process, old.interval, 0)
	p.schedule, p.heard, p.heardV, p.suspectV, p.deadV = old.schedule, old.heard, old.heardV, old.suspectV, old.deadV
}

// asFormer returns the process that holds the place of p as a former one. If p has
// ended, so has it.
func (t *Tracker) asFormer(p *peer, at time.Duration) *former {
	o := &former{process: p.moveOut(), replaced: at}
	if p.state.over() {
		t.endFormer(p, o, p.reason)
		o.endedAt, o.away = p.since, p.elsewhere != nil && p.elsewhere.endAway
	}
	return o
}

// addFormer adds o to the formers of p, in place of one that does not live or else
// of the one replaced first.
func (t *Tracker) addFormer(p *peer, o *former) {
	past := p.editPast()
	if len(past.formers) == maxFormers {
		at := max(slices.IndexFunc(past.formers, func(o *former) bool { return !o.lives() }), 0)
		t.forgetFormer(p, past.formers[at])
	}
	past.formers = append(past.formers, o)
	p.changed = true
}

// addEnded adds to the formers of p one that was not known before it ended, if none
// that lives has to be forgotten for it.
func (t *Tracker) addEnded(p *peer, o *process, reason Reason) {
	dead := func(o *former) bool { return !o.lives() }
	if p.nameless() { // another pid has another name
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

// retakePlace lets a former process have the place of p again.
func (t *Tracker) retakePlace(p *peer, o *former) {
	holder := t.asFormer(p, o.replaced)
	p.process = o.process
	past := p.editPast()
	past.formers = append(slices.DeleteFunc(past.formers, func(x *former) bool { return x == o }), holder)
	p.changed = true
}

// promote gives the place of p, whose holder has ended, to the former process that
// was heard last of those that live.
func (t *Tracker) promote(p *peer, ended Reason) {
	var next *former
	for o := range p.living {
		if next == nil || o.heard > next.heard {
			next = o
		}
	}
	holder := &former{process: p.moveOut(), replaced: next.replaced}
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
	long bool          // a beat came over it at least longConn after the first
}

// connections returns the links of o, the latest first.
func (o *process) connections(yield func(*link) bool) {
	if !o.overAny() || !yield(&o.link) {
		return
	}
	for i := range o.earlier {
		if !yield(&o.earlier[i]) {
			return
		}
	}
}

// over returns the link of o over conn, or nil.
func (o *process) over(conn ConnID) *link {
	for l := range o.connections {
		if l.conn == conn {
			return l
		}
	}
	return nil
}

// overAny reports whether o has a connection.
func (o *process) overAny() bool { return o.link.conn != 0 }

// onLong reports whether o has a long connection.
func (o *process) onLong() bool {
	for l := range o.connections {
		if l.long {
			return true
		}
	}
	return false
}

// addLink adds a connection of o, the latest.
func (o *process) addLink(l link) {
	if o.overAny() {
		o.setRare(rare{slices.Insert(o.earlier, 0, o.link), o.loss})
	}
	o.link = l
}

// dropLink removes the link over conn, which o has.
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

// holder returns the process of p that has a link over conn, or nil: a former one, if there
// are several.
func (p *peer) holder(conn ConnID) *process {
	for _, o := range p.formers {
		if o.over(conn) != nil {
			return &o.process
		}
	}
	if p.over(conn) != nil {
		return &p.process
	}
	return nil
}

// connected reports whether p has a connection.
func (p *peer) connected() bool {
	for o := range p.processes {
		if o.overAny() {
			return true
		}
	}
	return false
}

// hearOver notes that a beat of o, a process of p, came over conn.
func (t *Tracker) hearOver(p *peer, o *process, conn ConnID, at time.Duration) {
	if o.connless = conn == 0; o.connless {
		return
	}
	if l := o.over(conn); l != nil {
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
	t.cut(p, o, o.earlier[maxLinks-1].conn)
	return true
}

// cut takes its link over conn from o, a process of p.
func (t *Tracker) cut(p *peer, o *process, conn ConnID) {
	o.dropLink(conn)
	if p.holder(conn) == nil {
		t.conns.remove(conn, p)
	}
}

// unlink cuts all links of o, a process of p.
func (t *Tracker) unlink(p *peer, o *process) {
	for o.overAny() {
		t.cut(p, o, o.link.conn)
	}
}

// moveOut returns the process that holds the place of p, which another one is about to take.
// It has its links with it, and its loss.
func (p *peer) moveOut() process {
	o := p.process
	p.link, p.rare = link{}, &noRare
	return o
}

// conns lead from each connection to the peers with a process that has a link over it, so that
// the end of a connection costs no search. Most connections have one peer.
type conns struct {
	latest map[ConnID]*peer              // as a rule the one that came last
	shared map[ConnID]map[*peer]struct{} // all of them, if there are several
}

// add notes that p is over conn, which may be known.
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

// remove notes that p, which was over conn, is not any more.
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

// count returns how many peers are over conn, if there are several.
func (c *conns) count(conn ConnID) int { return len(c.shared[conn]) }

// takeSome is take for n of the peers of a connection that has ended, in no order.
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

// of returns the peers over conn, the latest first.
func (c *conns) of(conn ConnID) []*peer {
	if peers := c.shared[conn]; peers != nil {
		return slices.SortedFunc(maps.Keys(peers), func(a, b *peer) int { return cmp.Compare(b.index, a.index) })
	}
	if p := c.latest[conn]; p != nil {
		return []*peer{p}
	}
	return nil
}

// A process without a name is known by its pid, which another one has after a restart.
// So that it leaves no ghost, the next unknown pid of an address takes the place of a
// peer that is dead or disconnected, and if both prove to live, they are parted again.

// maxReplaced is how many processes of one peer are remembered whose place another
// one has taken after single beats: a cron job each second fills them in four minutes.
const maxReplaced = 256

// vacancies are the nameless peers of each source whose place the next unknown pid
// of their address may take: a client without a name leaves no ghost when it is
// restarted, and a job that beats once in each run is one peer. The one that ended
// first is the first. No queue is empty.
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

// first returns the peer of source that has been vacant longest, or nil.
func (v vacancies) first(source string) *peer {
	queue := v[source]
	if queue == nil {
		return nil
	}
	return queue.Front().Value.(*peer)
}

// A replaced is a process without a name whose place another one has taken after it
// was heard over one connection only. Until its silence would be its death it may
// still prove that both are peers.
type replaced struct {
	pid    uint32
	heard  time.Duration
	heardV time.Duration
	deadV  time.Duration
}

// noteVisit notes whether p is known by one short connection only: all that was
// heard of it, a process without a name, came over that.
func (p *peer) noteVisit(o *process, b *Beat, anew bool) {
	lone := p.nameless() && (anew || p.lone && b.Conn != 0 && o.over(b.Conn) != nil)
	p.changed = p.changed || lone != p.lone
	p.lone = lone
}

// endVisit notes that a connection has ended that proves nothing about p.
func (t *Tracker) endVisit(p *peer) {
	if p.lone && !p.overAny() {
		t.vacant.add(p)
		t.noteNews(p)
	}
}

// vacated returns the peer whose place the unknown process of b takes, or nil.
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

// vacancyFor returns the peer whose place vacated gives to the process of b.
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

// A continued is a nameless peer that goes on under another ID: what it was known by, and
// whether by one short connection.
type continued struct {
	id   ID
	lone bool
}

// continueAs lets p, of which one short connection is known, go on with the next
// process. Its series goes on: last_pid tells the process.
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

// expired forgets r, a process replaced in p, once it is not to be waited for.
func (t *Tracker) expired(p *peer, r replaced, verdict time.Duration) bool {
	if verdict < r.deadV {
		return false
	}
	t.forgetAlias(p, r.pid)
	return true
}

// replace lets p go on under another id. Its old series ends with a last point. A
// process that was connected to the collector before may merely be slower to come
// back than the one that takes its place, so it is remembered.
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
	p.service, p.pid, p.health = id.Service, id.PID, HealthUntold
	p.forgetOrder()
	t.peers[id] = p
}

// separate returns the peer that b is about, which names a process whose place in p
// another one has taken: now both are peers. One that is not remembered takes the
// place again, and so does any if there is no room. It returns nil for an end for
// which there is none.
func (t *Tracker) separate(p *peer, b *Beat, now time.Time) *peer {
	at := slices.IndexFunc(p.replaced, func(r replaced) bool { return r.pid == b.ID.PID })
	remembered := at >= 0 && t.verdict(now) < p.replaced[at].deadV
	full := t.full(b.ID.Source) != Accepted
	switch {
	case full && b.Status != SaysAlive:
		return nil
	case full, b.Status == SaysAlive && !remembered && p.vacancy != nil && p.lone:
		t.continueAs(p, b.ID, t.verdict(now))
		return p
	case !p.isNamed(b.ID):
		own := t.enter(b, now)
		own.setTrail(p.trail) // it may have been known before by this name
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

// splitOff makes a peer of its own of the process that holds the place of p, unless it
// is one already: it has beaten before the record of p was had.
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
	own.process, own.run, own.lone, own.health, own.beats = p.moveOut(), p.run, p.lone, p.health, 1
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

// forgetAlias lets pid not lead to p any more, unless that is known by it.
func (t *Tracker) forgetAlias(p *peer, pid uint32) {
	id := ID{Source: p.host.source, PID: pid}
	if id != p.id() && pid != p.ident.PID && t.peers[id] == p {
		delete(t.peers, id)
	}
}

// forgetAliases lets nothing lead to p any more.
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
