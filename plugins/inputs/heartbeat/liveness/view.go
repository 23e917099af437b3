package liveness

import (
	"net/netip"
	"time"
)

// A View is what is known of a peer at one instant.
type View struct {
	ID     ID
	At     time.Time // the stamp for its metrics; grows by at least 1 ms
	Addr   netip.Addr
	Labels []Label // not to be written to
	PID    uint32  // of the process heard last; 0 if none is known

	State  State
	Reason Reason
	Since  time.Time // wall clock
	Health Health    // as it said last

	Age       time.Duration // since the last beat
	Lasting   time.Duration // since Since
	DeadAfter time.Duration // of silence it would be dead
	Deadline  time.Duration // of silence left until death; 0 if none is running
	Suspicion float64       // 0 while a beat is not due, 1 at death
	Connected bool          // a connection over which it beats still stands
	Flapping  bool

	ExitCode    int64
	HasExitCode bool
	DeadFor     time.Duration // in all, this death included
	Counters
}

// A Transition is a change of what is believed of a peer, or an event in its
// life.
type Transition struct {
	View  // after it
	Event Event

	// EventID names the event: a number from 0 to 2^53-1, which a float64 holds
	// exactly. Collectors that have seen the same of a peer give the same one, before
	// and after a restart. It is a hash (FNV-1a) of the ID of the peer, the life of
	// its sender or else its process, the kind of event (of a change: the new state;
	// of Ended: the pid, too), the deaths after it, the number of the last beat heard
	// and how many events of that kind there were since that beat, or in all if beats
	// are not numbered. The ids of a peer may begin anew once it is forgotten.
	EventID int64

	Previous State
	Lasted   time.Duration // how long Previous was the state
	Other    netip.Addr    // of a conflict: where the other process beats from
	Ending   Ending        // of Ended
}

// View returns what is known of the peer with number i, 0 <= i < Len. Numbers
// change when a peer is forgotten: the last one takes its number.
func (t *Tracker) View(i int, now time.Time) View { return t.viewOf(t.order[i], now) }

func (t *Tracker) viewOf(p *peer, now time.Time) View {
	at := now.Sub(t.epoch)
	v := View{
		ID: p.id, At: p.nextStamp(now), Addr: p.addr, Labels: p.labels, PID: p.process.PID,
		State: p.state, Reason: p.reason, Since: time.Unix(0, p.sinceUTC), Health: p.health,
		Age: at - p.lastHeard(), Lasting: at - p.since, DeadAfter: t.silence(p, &p.body).Dead,
		Connected: p.connected(), Flapping: p.flapping(at),
		ExitCode: p.exitCode, HasExitCode: p.hasExitCode,
		DeadFor: p.deadFor, Counters: p.counters(),
	}
	switch {
	case p.state == Dead:
		v.Suspicion = 1
		v.DeadFor += v.Lasting
	case p.runsOut():
		v.Deadline = max(p.deadlineV()-t.verdict(now), 0)
		v.Suspicion = p.suspicion(t.verdict(now))
	}
	return v
}

// runsOut tells whether silence is running that ends in death.
func (p *peer) runsOut() bool {
	return p.state == Alive || p.state == Suspect || p.state == Unknown && (p.nobody || p.reason == ReasonRestored)
}

// suspicion returns which part of the patience with p is used up.
func (p *peer) suspicion(verdict time.Duration) float64 {
	heard, dead := p.lastHeardV(), p.deadlineV()
	due := heard + min(p.interval, dead-heard)
	if verdict <= due {
		return 0
	}
	if verdict >= dead {
		return 1
	}
	return float64(verdict-due) / float64(dead-due)
}
