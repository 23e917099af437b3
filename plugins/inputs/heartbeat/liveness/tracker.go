// Package liveness decides which peers are alive. It is a state machine: beats, ends of
// connections and ticks of a clock go in, transitions come out.
//
// Time is an argument. The package contains no clock, lock, goroutine, socket or logger, and
// knows nothing of bytes, metrics or files. Its tests therefore need no real time.
//
// Silence is measured on the verdict clock, which advances only while the collector is really
// listening. So no peer is declared dead because the collector was stopped, or because its
// machine was suspended or short of CPU time.
//
// Each kind of input has one file. It begins with the exported entry points:
//
//	beat.go        a beat: Observe. Which peer and process it is about, whether it
//	               is new, what it reports
//	end.go         an end: ConnEnded, and the ends and promises that a beat reports
//	jobs.go        a job that reports when it begins
//	tick.go        a tick: Tick, in portions. Deadlines, promises, forgetting
//	record.go      a restart of the collector: Record and Restore
//	journal.go     a crash of the collector: what a journal saves and how it is read
//	expect.go      the configuration: Expect. Expected peers; similar names
//	mates.go       other collectors: questions to them, and what they are sent
//	words.go       their short reports: HearWords
//	facts.go       their full reports: HearFact, HearRecords; ends that differ
//
// These files define the state that the inputs change:
//
//	tracker.go     all peers
//	peer.go        a peer, and its host, which its services follow
//	process.go     the processes of a peer and their connections; which peer a
//	               nameless process continues
//	values.go      the values: ID, Process, Beat, State, Reason
//	transition.go  the output: View, Transition, event IDs
//
// These files contain the rules for the verdict:
//
//	silence.go     how long a peer may be silent: the operator's terms, its schedule
//	isolation.go   whether it is the collector that is cut off; witnesses
//	order.go       whether a beat is a duplicate, delayed, or not to be trusted
package liveness

import (
	"net/netip"
	"time"
)

const (
	// TickInterval is the interval at which Tick should be called.
	TickInterval = 100 * time.Millisecond
	// maxTick is the most that one tick adds to the verdict clock. Any time beyond this limit
	// counts as time in which the collector did not listen.
	maxTick = 2 * TickInterval

	// For afterStall after a stall, but no longer than the stall itself lasted, schedules learn
	// nothing from beats: they may have arrived during the stall.
	afterStall = 5 * time.Second

	// forgetNameless is how long a dead nameless peer is kept. Its next process has another
	// pid, so the same peer rarely comes back.
	forgetNameless = time.Hour
	// conflictPause is the shortest time between two reports of the same conflict.
	conflictPause = time.Minute
)

// Options are the operator's rules. They must not change while a Tracker uses them.
type Options struct {
	Terms // for all peers

	// TermsOf returns the terms of a peer. If TermsOf is nil, or returns nil, Terms apply. It
	// must return the same terms for the same arguments.
	TermsOf func(id ID, addr netip.Addr) *Terms

	MinSilence time.Duration // the shortest silence that is ever allowed
	ForgetLeft time.Duration // how long a peer that has left is kept; 0 for ever

	IsolationPercent int           // 1 to 99: if more hosts than this are silent, the collector is isolated; 0 turns isolation off
	IsolationHold    time.Duration // how long verdicts on a partial silence are held back; on a total silence, ten times as long

	KnownOnly bool // only listed peers are added: by Expect, or with Beat.Listed

	MaxPeers          int // > 0; placeholders do not count
	MaxPeersPerHost   int // 0 for MaxPeers
	MaxBeatsPerSecond int // beats of each peer that become metrics; 0 for as many as its stamps allow

	ReplayWindow time.Duration // how far the clock of the sender of a signed beat may differ from ours

	Mates        bool   // there are other collectors; they are asked before a peer is declared dead
	OnlyVerified bool   // a beat that a mate has received counts only if it was verified
	Origin       uint64 // part of every event ID; differs for each start without a state file

	// Ask returns what the kernel knows about a connection, and its remote address. The zero
	// Addr stands for a Unix socket. Observe and Tick call it; it must not call the Tracker. It
	// may be nil.
	Ask func(ConnID) (Path, netip.Addr)
}

// A Tracker holds the state of every peer. Its methods must not be called concurrently. The
// slices of transitions that they return are valid until the next call; the transitions in
// them may be kept.
//
// Fields and variables that end in V are times on the verdict clock. Other durations are
// times since epoch on the monotonic clock. Both clocks are 0 in New, so the times of beats
// that an earlier collector received are negative.
type Tracker struct {
	opts  Options
	epoch time.Time // when New was called

	// The last tick. On the verdict clock, which never goes back, no beat is later than tickV
	// + maxTick.
	tick      time.Duration
	tickWall  int64 // unix ns
	tickV     time.Duration
	ticks     uint64        // starts at 1, so that no peer was due at the tick before the first
	stalled   time.Duration // how much time the verdict clock has left out
	teachFrom time.Duration // schedules learn nothing from beats before this time

	// The latest stall: how long the collector did not listen, and when that ended. Beats
	// that are read before teachFrom may have waited since the stall began.
	stall, stallEnd time.Duration

	restoredAt time.Duration // when a record was restored last

	away, back time.Time // wall clock: no collector listened from away until back

	// order contains each peer once, at its index, and so does the list of its host. A lookup
	// searches that list. The map peers contains only the peers of crowded hosts, under their
	// IDs, and nameless peers: each under the pid of its process, and under the
	// pids of replaced processes that are not peers themselves. An ID in peers always leads to
	// a peer in order.
	order  []*peer
	peers  map[ID]*peer
	counts [len(States)]int // peers of order in each state

	// wake[i] is when order[i] is due to be checked, on the verdict clock. If silence can make
	// a peer dead, it is checked at most one tick after its deadline; any other peer is
	// checked at its wakeV or earlier. The exception is a service that waits for its host: it
	// is checked together with the host. No wake time is before earliest, so most ticks check
	// no peer.
	wake     []time.Duration
	earliest time.Duration
	due      []*peer // peers that became due at the last tick and are not all checked yet

	tickNow time.Time               // time of the current or latest tick
	phase   int                     // how many phases of the tick have begun
	steps   []portion               // what is left of the latest phase
	chores  []portion               // work left to a tick
	left    map[chore]time.Duration // work on the services of hosts, and when it was postponed

	hosts    []*host // each has at least one peer
	bySource map[string]*host
	vacant   vacancies

	isolation    isolation
	expectations expectations
	placeholders int // how many peers of order are placeholders
	unsaved      unsaved

	remotes map[*peer]netip.Addr // the real addresses of peers that claim another address

	conns     conns
	declared  map[declared]*declared  // shared by processes with the same declarations; at most maxDeclared
	carriers  map[carrier]struct{}    // connections and addresses that have delivered watched beats of several hosts
	speakers  map[netip.Addr]string   // by address, the host of the latest watched beat that came over no connection; at most maxStrangers
	carries   bool                    // a carrier has delivered a beat
	strangers map[ID]*carried         // of unknown peers; at most maxStrangers
	witnesses map[netip.Addr]*witness // each has at least one loss
	ends      []*loss                 // the ends of all witnesses, the earliest first

	// Changes by a peer that sends too much are reported at the next tick.
	overRate   bool               // set while a beat above the rate is processed
	unreported []*peer            // peers whose state is to be reported then
	endings    []unreportedEnding // endings to be reported then

	// Only used if there are mates.
	byHash    map[uint64]*peer         // the peers of order by ID.Hash
	question  uint32                   // number of the latest question
	settled   uint32                   // number of the latest question that is settled
	asking    []*peer                  // peers of the next question
	facts     []Fact                   // to be sent; until then Ago is when the beat was received, since epoch
	news      []*peer                  // peers whose state has changed since the last TakeSaid, each once
	gone      []Word                   // peers that are forgotten here and that a mate still knows
	continued continued                // while Observe runs: the nameless peer that continues under another ID
	clockSet  bool                     // the clock was set while no collector listened: the age of records is uncertain
	learning  bool                     // while HearRecords runs: what the records report has happened before
	orphans   []*peer                  // foreign peers whose mate is unreachable, until other mates have answered
	marks     map[uint64]time.Duration // by ID.Hash, the last beat of peers that are forgotten
	asked     int64
	spared    int64

	out []Transition // transitions of the current call
}

// New returns a Tracker that knows no peer and listens from now on. It keeps opts, which must
// be valid.
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

// Len returns the number of known peers.
func (t *Tracker) Len() int { return len(t.order) }

// Count returns the number of peers in state s.
func (t *Tracker) Count(s State) int { return t.counts[s] }

// Stalled returns how long the collector ran without listening.
func (t *Tracker) Stalled() time.Duration { return t.stalled }

// Isolated reports whether the collector is probably cut off from the network.
func (t *Tracker) Isolated() bool { return t.isolation.on }

// Listened returns how long the tracker has listened, which is the reading of the verdict
// clock.
func (t *Tracker) Listened(now time.Time) time.Duration { return t.verdict(now) }

// Asked returns two totals: how many times mates were asked about a peer, and how many times a
// mate had received a later beat of it.
func (t *Tracker) Asked() (asked, spared int64) { return t.asked, t.spared }

// verdict returns the verdict time that corresponds to now. It is at most maxTick ahead of the
// last tick: otherwise silence would accumulate while nothing is read.
func (t *Tracker) verdict(now time.Time) time.Duration {
	return t.verdictAt(now.Sub(t.epoch))
}

// verdictAt is like verdict, for a time since epoch.
func (t *Tracker) verdictAt(at time.Duration) time.Duration {
	return t.tickV + min(max(at-t.tick, 0), maxTick)
}

// peerOf returns the peer that b names, or nil. The handle usually saves the search. The peer
// it leads to is checked, because peers are forgotten and renamed.
func (t *Tracker) peerOf(b *Beat) *peer {
	if p := b.Handle.p; p != nil && p.index >= 0 && p.isNamed(b.ID) {
		return p
	}
	return t.lookUp(b.ID)
}

// lookUp returns the peer with the given ID, or with that ID as an alias, or nil.
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

// checkRoom returns Full or FullHost if there is no room for another peer of a host, else
// Accepted.
func (t *Tracker) checkRoom(source string) Fate {
	if len(t.order)-t.placeholders >= t.opts.MaxPeers {
		return Full
	}
	if h := t.bySource[source]; h != nil && t.opts.MaxPeersPerHost > 0 && len(h.peers) >= t.opts.MaxPeersPerHost {
		return FullHost
	}
	return Accepted
}

// add adds a new peer with the given ID. The index of a peer also shifts the time at which its
// totals are saved, so that peers that began together are not saved together.
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

// remove removes p, whose state must be Unknown, from all lists and maps. The last peer of
// order moves to its index.
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

// Retire makes the handles of t invalid, because another tracker replaces it. It returns the
// transitions of the latest call: if that call panicked, the caller has not received them.
func (t *Tracker) Retire() []Transition {
	for _, p := range t.order {
		p.index = -1
	}
	return t.out
}
