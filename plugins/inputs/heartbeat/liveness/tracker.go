// Package liveness decides which peers are alive. It is a state machine: beats,
// ends of connections and ticks of a clock go in, transitions come out.
//
// It knows time only as an argument: it holds no clock, lock, goroutine, socket
// or logger, and never knows bytes, metrics or files. So its tests are arithmetic.
//
// Silence is measured on the verdict clock, which advances only while the collector
// was really listening. A process that was stopped, or a machine that was suspended
// or starved, therefore declares no peer dead.
//
// What happens is in one file each, the exported entry first:
//
//	beat.go        a beat: Observe. Which peer and process it is about, whether it
//	               is new, what it says
//	end.go         an end: ConnEnded, and the ends and promises that a beat reports
//	jobs.go        a job that says when it begins
//	tick.go        a tick: Tick, in portions. Deadlines, promises, forgetting
//	record.go      a restart: Record and Restore
//	journal.go     a crash: what a journal has to save, and what may be made of it
//	expect.go      a configuration: Expect. Peers that are awaited; names that are near
//	mates.go       other collectors: asking them, what is said to them
//	words.go       what they say in short: HearWords
//	facts.go       what they know in full: HearFact, HearRecords; ends that differ
//
// What they work on:
//
//	tracker.go     all peers
//	peer.go        a peer, and its host, which its services follow
//	process.go     the processes of a peer and their connections; which peer a process
//	               without a name continues
//	values.go      what goes in and is compared: ID, Process, Beat, State, Reason
//	transition.go  what comes out: View, Transition, the id of an event
//
// And what decides:
//
//	silence.go     how long a peer may be silent: the operator's terms, its schedule
//	isolation.go   whether it is the collector that is cut off; witnesses
//	order.go       whether a beat was heard before, has waited, or is not to be believed
package liveness

import (
	"net/netip"
	"time"
)

const (
	// TickInterval is how often Tick wants to be called.
	TickInterval = 100 * time.Millisecond
	// maxTick is the most that one tick adds to the verdict clock. For what is
	// beyond it the collector did not listen.
	maxTick = 2 * TickInterval

	// afterStall is for how long after a stall beats teach nothing, but no longer
	// than the stall: what is read then was received in it.
	afterStall = 5 * time.Second

	// forgetNameless is how long a dead nameless peer is kept: its next process
	// has another pid, so that it rarely comes back.
	forgetNameless = time.Hour
	// conflictPause is the shortest time between two reports of one conflict.
	conflictPause = time.Minute
)

// Options are the rules of the operator. They do not change while a Tracker uses
// them.
type Options struct {
	Terms // for all peers

	// TermsOf returns the terms of some peers. Where it is nil, or returns nil, Terms
	// applies. It has to return the same for the same arguments.
	TermsOf func(id ID, addr netip.Addr) *Terms

	MinSilence time.Duration // no silence allowed is shorter
	ForgetLeft time.Duration // after which a peer that has left is forgotten; 0 for never

	IsolationPercent int           // 1 to 99: more silent hosts than these mean isolation; 0 turns it off
	IsolationHold    time.Duration // for how long the silence of a part of the hosts is held; of all ten times as long

	KnownOnly bool // no beat adds a peer that is not listed: by Expect, or by Beat.Listed

	MaxPeers          int // > 0; placeholders do not count
	MaxPeersPerHost   int // 0 for MaxPeers
	MaxBeatsPerSecond int // that make metrics, per peer; 0 for as many as its stamps allow

	ReplayWindow time.Duration // by how much the clock of a signed beat may differ from ours

	Mates        bool   // there are other collectors, which are asked before anybody is dead
	OnlyVerified bool   // life that a mate has heard counts only if its beat was verified
	Origin       uint64 // enters the ids of events; another one for each start that remembers nothing

	// Ask returns what the kernel knows of a connection, and the address of its other
	// side; the zero Addr is that of a Unix socket. It is called from Observe and Tick
	// and must not call the Tracker. It may be nil.
	Ask func(ConnID) (Path, netip.Addr)
}

// A Tracker holds what is believed of each peer. Its methods must not be called
// concurrently. The slices of transitions that they return are valid until the next
// call, and what is in them may be kept.
//
// Names that end in V are times on the verdict clock, other durations are times
// since epoch on the monotonic clock. Both begin at 0 in New, so what a collector
// before has heard is negative.
type Tracker struct {
	opts  Options
	epoch time.Time // of New

	// The last tick. No time of a beat is later than tickV + maxTick on the verdict
	// clock, which never goes back.
	tick      time.Duration
	tickWall  int64 // unix ns
	tickV     time.Duration
	ticks     uint64        // counted from 1, so that no peer was due at the tick before the first
	stalled   time.Duration // what the verdict clock has left out
	teachFrom time.Duration // beats before that teach no schedule

	// The last time in which the collector did not listen: how long it was, and when it
	// ended. Beats that are read until teachFrom may have waited since it began.
	stall, stallEnd time.Duration

	restoredAt time.Duration // when a record was restored last

	away, back time.Time // by the clock on the wall: no collector listened from then until then, before this one did

	// Each peer is once in order, at its index, and once among the peers of its host, which
	// are searched for it. Only the peers of crowded hosts are in peers, under their ID.
	// A nameless peer is also there under the pid of its process and of those whose place
	// was taken, if they are no peers of their own. An ID in peers always leads to a peer
	// in order.
	order  []*peer
	peers  map[ID]*peer
	counts [len(States)]int // of the states of order

	// wake[i] is when order[i] is looked at next, on the verdict clock. A peer whose
	// silence ends in death never sleeps beyond its deadline and one tick, any other
	// never beyond its wakeV; only one that waits for its host may, and is woken with
	// it. No wake is before earliest, so that most ticks look at no peer.
	wake     []time.Duration
	earliest time.Duration
	due      []*peer // whose time had come at the last tick, and who are not all looked at

	tickNow time.Time               // of the tick that runs, or ran last
	phase   int                     // how many of its phases have begun
	steps   []portion               // that are left of the latest of them
	chores  []portion               // that were left to a tick
	left    map[chore]time.Duration // what they are

	hosts    []*host // each has a peer
	bySource map[string]*host
	vacant   vacancies

	isolation    isolation
	expectations expectations
	placeholders int // how many peers of order are expected only
	unsaved      unsaved

	remotes map[*peer]netip.Addr // where those beat from that claim another address

	conns     conns
	declared  map[declared]*declared  // what is shared by those that declare it, at most maxDeclared
	carriers  map[carrier]struct{}    // what watched beats of several hosts come over
	speakers  map[netip.Addr]string   // the host whose watched beat came last from there, over no connection; at most maxStrangers
	carries   bool                    // there was one
	strangers map[ID]*carried         // of peers that are not known, at most maxStrangers
	witnesses map[netip.Addr]*witness // each has a loss
	ends      []*loss                 // the ends of all witnesses, the earliest first

	// What a peer that sends too much changes is reported at the next tick.
	quiet   bool           // set while such a beat is taken in
	untold  []*peer        // whose state is to be reported then
	endings []untoldEnding // to be reported then

	// What concerns mates. Without them nothing of it is used.
	byHash    map[uint64]*peer         // each peer of order, under the hash of its ID
	question  uint32                   // the one taken last
	settled   uint32                   // the one settled last
	asking    []*peer                  // of the next one
	facts     []Fact                   // to be told; Ago is when they were heard, since epoch
	news      []*peer                  // whose state has changed since, each once
	gone      []Word                   // of peers that are forgotten here, and that a mate still knows
	continued continued                // while Observe runs: the nameless peer that goes on under another ID
	clockSet  bool                     // while no collector listened: how long ago records were is not known
	learning  bool                     // while HearRecords runs: what it tells has been before
	orphans   []*peer                  // foreign peers whose mate is lost, until others have answered
	marks     map[uint64]time.Duration // when those were heard that were forgotten
	asked     int64
	spared    int64

	out []Transition // of the call that runs
}

// New returns a Tracker that knows no peer and listens from now on. The options
// have to be valid; it keeps them.
func New(opts Options, now time.Time) *Tracker {
	return &Tracker{
		opts: opts, epoch: now, tickWall: now.UnixNano(), ticks: 1, earliest: never,
		peers: make(map[ID]*peer), bySource: make(map[string]*host),
		byHash: make(map[uint64]*peer), marks: make(map[uint64]time.Duration),
		vacant: make(vacancies), remotes: make(map[*peer]netip.Addr), witnesses: make(map[netip.Addr]*witness),
		conns:    conns{make(map[ConnID]*peer), make(map[ConnID]map[*peer]struct{})},
		carriers: make(map[carrier]struct{}), speakers: make(map[netip.Addr]string), strangers: make(map[ID]*carried),
		left: make(map[chore]time.Duration), phase: len(phases),
		declared: make(map[declared]*declared),
	}
}

// Len returns how many peers are known.
func (t *Tracker) Len() int { return len(t.order) }

// Count returns how many peers are in state s.
func (t *Tracker) Count(s State) int { return t.counts[s] }

// Stalled returns how long the collector did not listen though it ran.
func (t *Tracker) Stalled() time.Duration { return t.stalled }

// Isolated reports whether the collector is probably cut off.
func (t *Tracker) Isolated() bool { return t.isolation.on }

// Listened returns for how long the tracker has listened: the verdict clock.
func (t *Tracker) Listened(now time.Time) time.Duration { return t.verdict(now) }

// Asked returns of how many peers mates were asked, and of how many one of them knew
// better, in all.
func (t *Tracker) Asked() (asked, spared int64) { return t.asked, t.spared }

// verdict returns the verdict clock: it advances with now, but not more than a late
// tick beyond the last one, or readers would let silence pass in which none was read.
func (t *Tracker) verdict(now time.Time) time.Duration {
	return t.verdictAt(now.Sub(t.epoch))
}

// verdictAt is verdict for a time since epoch.
func (t *Tracker) verdictAt(at time.Duration) time.Duration {
	return t.tickV + min(max(at-t.tick, 0), maxTick)
}

// known returns the peer that b names, or nil. A handle saves the search in most
// beats; what it leads to is checked, as peers are forgotten and renamed.
func (t *Tracker) known(b *Beat) *peer {
	if p := b.Handle.p; p != nil && p.index >= 0 && p.isNamed(b.ID) {
		return p
	}
	return t.lookUp(b.ID)
}

// lookUp returns the peer that is known by id, or nil.
func (t *Tracker) lookUp(id ID) *peer {
	h := t.bySource[id.Source]
	if h == nil {
		return nil
	}
	if !h.crowded {
		for _, p := range h.peers {
			if p.pid == id.PID && p.service == id.Service {
				return p
			}
		}
	}
	if h.crowded || id.Nameless() {
		return t.peers[id]
	}
	return nil
}

// full returns why there is no room for another peer of a host, or Accepted.
func (t *Tracker) full(source string) Fate {
	if len(t.order)-t.placeholders >= t.opts.MaxPeers {
		return Full
	}
	if h := t.bySource[source]; h != nil && t.opts.MaxPeersPerHost > 0 && len(h.peers) >= t.opts.MaxPeersPerHost {
		return FullHost
	}
	return Accepted
}

// add adds a peer of which nothing is believed. Its index is also what spreads the
// savings of peers that began together.
func (t *Tracker) add(id ID, addr netip.Addr) *peer {
	p := &peer{
		host: t.hostOf(id.Source), service: id.Service, pid: id.PID, addr: addr, terms: t.termsOf(id, addr),
		index: int32(len(t.order)), shift: uint8(len(t.order)), process: processOf(Process{}, ""), traits: &noTraits,
	}
	if t.opts.Mates {
		t.byHash[id.Hash()] = p
	}
	t.order = append(t.order, p)
	t.wake = append(t.wake, never)
	t.counts[Unknown]++
	t.joinHost(p)
	return p
}

// remove takes p, which is unknown, out of all lists and maps. The last peer of
// order gets its index.
func (t *Tracker) remove(p *peer) {
	if p.expected {
		t.placeholders--
	}
	t.noteGone(p.id())
	t.mark(p)
	delete(t.byHash, p.id().Hash())
	t.recount(p, 0)
	t.vacant.remove(p)
	for o := range p.processes {
		t.unlink(p, o)
		t.clearLoss(o)
	}
	t.counts[Unknown]--
	t.leaveHost(p)
	t.forgetAliases(p)
	delete(t.remotes, p)
	last := len(t.order) - 1
	t.order[p.index], t.wake[p.index] = t.order[last], t.wake[last]
	t.order[p.index].index = p.index
	t.order[last] = nil
	t.order, t.wake = t.order[:last], t.wake[:last]
	p.index = -1
}

// Retire gives up t, so that another tracker that goes on in its place believes none
// of its handles. It returns the transitions of the latest call, which a panic may have
// kept from its caller.
func (t *Tracker) Retire() []Transition {
	for _, p := range t.order {
		p.index = -1
	}
	return t.out
}
