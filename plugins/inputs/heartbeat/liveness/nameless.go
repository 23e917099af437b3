// Which peer a process without a name continues. A client that names neither a service
// nor itself is known by its pid, which another one has after a restart. So that it
// leaves no ghost, the next unknown pid of an address takes the place of a peer that is
// dead or disconnected, and if both prove to live, they are parted again.

package liveness

import (
	"container/list"
	"slices"
	"time"
)

// maxReplaced is how many processes of one peer are remembered whose place another
// one has taken after single beats: a cron job each second fills them in four minutes.
const maxReplaced = 256

// vacancies are the nameless peers of each source whose place the next unknown pid
// of their address may take: a client without a name leaves no ghost when it is
// restarted, and a job that beats once in each run is one peer. The one that ended
// first is the first. No queue is empty.
type vacancies map[string]*list.List

func (v vacancies) add(p *peer) {
	if p.vacancy != nil || !p.id.Nameless() {
		return
	}
	queue := v[p.id.Source]
	if queue == nil {
		queue = list.New()
		v[p.id.Source] = queue
	}
	p.editPast().vacancy = queue.PushBack(p)
}

func (v vacancies) remove(p *peer) {
	if p.vacancy == nil {
		return
	}
	queue := v[p.id.Source]
	queue.Remove(p.vacancy)
	p.editPast().vacancy = nil
	if queue.Len() == 0 {
		delete(v, p.id.Source)
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
	lone := p.id.Nameless() && (anew || p.lone && b.Conn != 0 && o.over(b.Conn) != nil)
	p.changed = p.changed || lone != p.lone
	p.lone = lone
}

// endVisit notes that a connection has ended that proves nothing about p.
func (t *Tracker) endVisit(p *peer) {
	if p.lone && p.links == nil {
		t.vacant.add(p)
	}
}

// vacated returns the peer whose place the unknown process of b takes, or nil.
func (t *Tracker) vacated(b *Beat, now time.Time) *peer {
	if !b.ID.Nameless() || b.Status != SaysAlive {
		return nil
	}
	p := t.vacant.first(b.ID.Source)
	switch {
	case p == nil || p.rate.used(now.Sub(t.epoch), t.opts.MaxBeatsPerSecond):
		return nil
	case p.lone:
		t.continueAs(p, b.ID, t.verdict(now))
	default:
		t.replace(p, b.ID, now)
	}
	return p
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
	p.runs, p.proof = runs{}, nil // the order of another sender says nothing
	t.peers[id], t.continued = p, p.id
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
	t.noteGone(p.id)
	if p.extended && !p.state.over() {
		t.peers[ID{Source: p.id.Source, PID: p.ident.PID}] = p
		p.editPast().replaced = []replaced{{p.ident.PID, p.heard, p.heardV, p.deadV}}
	}
	t.continued = p.id
	if t.opts.Mates {
		delete(t.byHash, p.id.Hash())
		t.byHash[id.Hash()] = p
	}
	p.id, p.health = id, HealthUntold
	p.runs, p.proof = runs{}, nil // the order of another sender says nothing
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
	case p.id != b.ID:
		own := t.enter(b, now)
		own.trail = p.trail // it may have been known before by this name
		return own
	}
	t.splitOff(p, now)
	p.process = process{
		ident: b.Process, life: b.life(), interval: p.interval, evidence: ReasonSilence, heard: now.Sub(t.epoch), heardV: t.verdict(now),
	}
	p.runs, p.proof = runs{}, nil
	if remembered {
		p.heard, p.heardV = p.replaced[at].heard, p.replaced[at].heardV
		p.replaced = slices.Delete(p.replaced, at, at+1)
	}
	return p
}

// splitOff makes a peer of its own of the process that holds the place of p, unless it
// is one already: it has beaten before the record of p was had.
func (t *Tracker) splitOff(p *peer, now time.Time) {
	id := ID{Source: p.id.Source, PID: p.ident.PID}
	if known := t.peers[id]; known != nil && known != p {
		t.unlink(&p.process)
		t.clearLoss(&p.process)
		t.vacant.remove(p)
		p.changed = true
		return
	}
	delete(t.peers, id)
	own := t.add(id, p.addr)
	own.process, own.runs, own.proof, own.lone, own.labels, own.beats = p.process, p.runs, p.proof, p.lone, p.labels, 1
	own.health, own.trail = p.health, p.trail
	for l := own.links; l != nil; l = l.more {
		l.peer = own
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
	id := ID{Source: p.id.Source, PID: pid}
	if id != p.id && pid != p.ident.PID && t.peers[id] == p {
		delete(t.peers, id)
	}
}

// forgetAliases lets nothing lead to p any more.
func (t *Tracker) forgetAliases(p *peer) {
	delete(t.peers, p.id)
	if !p.id.Nameless() {
		return
	}
	pids := make([]uint32, 0, 1+len(p.replaced))
	pids = append(pids, p.ident.PID)
	for _, r := range p.replaced {
		pids = append(pids, r.pid)
	}
	for _, pid := range pids {
		if id := (ID{Source: p.id.Source, PID: pid}); t.peers[id] == p {
			delete(t.peers, id)
		}
	}
	if p.replaced != nil {
		p.editPast().replaced = nil
	}
}
