package liveness

// A State is what is believed of a peer. The numbers are stored in databases
// and never change.
type State uint8

// The states.
const (
	Unknown State = 0 // nothing is believed
	Alive   State = 1 // heard in time
	Suspect State = 2 // silent, but not long enough to be dead
	Dead    State = 3 // silent for too long, or seen to end
	Left    State = 4 // its end was planned
)

// States are all states, in the order of their numbers.
var States = [...]State{Unknown, Alive, Suspect, Dead, Left}

func (s State) String() string {
	return [...]string{"unknown", "alive", "suspect", "dead", "left"}[s]
}

// over tells whether nothing is expected of a peer in this state.
func (s State) over() bool { return s == Dead || s == Left }

// A Reason is the evidence for a state. The numbers are stored in databases
// and never change.
type Reason uint8

// The reasons.
const (
	ReasonNone        Reason = 0
	ReasonBeat        Reason = 1  // a beat arrived
	ReasonSilence     Reason = 2  // no beat, nothing else known
	ReasonHung        Reason = 3  // no beat, but its host's TCP answers
	ReasonUnreachable Reason = 4  // no beat, and its host's TCP does not answer
	ReasonConnClosed  Reason = 5  // its connection was closed without goodbye
	ReasonConnReset   Reason = 6  // its connection was reset
	ReasonExited      Reason = 7  // its watcher saw it end
	ReasonHost        Reason = 8  // its host's own peer is
	ReasonLeaving     Reason = 9  // it said goodbye
	ReasonFinished    Reason = 10 // it said goodbye with exit code 0
	ReasonOverdue     Reason = 11 // it promised to be back and is not
	ReasonNeverSeen   Reason = 12 // expected by the operator, and not one beat
	ReasonIsolated    Reason = 13 // held: the collector itself is probably cut off
	ReasonRestored    Reason = 14 // known from before a stop of the collector
	ReasonReplaced    Reason = 15 // last word of a series: another one goes on
	ReasonForgotten   Reason = 16 // last word of a series
)

func (r Reason) String() string {
	return [...]string{
		ReasonNone:        "none",
		ReasonBeat:        "beat",
		ReasonSilence:     "silence",
		ReasonHung:        "hung",
		ReasonUnreachable: "unreachable",
		ReasonConnClosed:  "conn_closed",
		ReasonConnReset:   "conn_reset",
		ReasonExited:      "exited",
		ReasonHost:        "host",
		ReasonLeaving:     "leaving",
		ReasonFinished:    "finished",
		ReasonOverdue:     "overdue",
		ReasonNeverSeen:   "never_seen",
		ReasonIsolated:    "isolated",
		ReasonRestored:    "restored",
		ReasonReplaced:    "replaced",
		ReasonForgotten:   "forgotten",
	}[r]
}

// inferred tells whether a death with this reason was concluded, so that life
// proves it wrong. What was seen or promised was right at its time.
func (r Reason) inferred() bool {
	return r >= ReasonSilence && r <= ReasonConnReset || r == ReasonHost
}

// reported tells whether an end with this reason was reported.
func (r Reason) reported() bool {
	return r == ReasonExited || r == ReasonLeaving || r == ReasonFinished
}

// A Health is what a peer says of itself beyond being alive. The numbers are
// stored in state files, and those of Code in databases: they never change.
type Health uint8

// The healths.
const (
	HealthUntold   Health = 0 // it has never said more than that it is alive
	HealthOK       Health = 1
	HealthWarning  Health = 2
	HealthCritical Health = 3
	HealthOther    Health = 4 // said in a word that nobody knows
)

// Code returns the health as databases know it: 0 is well, 1 a warning, 2
// critical, 3 another word. It reports false if the peer has told none.
func (h Health) Code() (code int64, told bool) { return int64(h) - 1, h != HealthUntold }

// An Event is what a Transition tells. The numbers enter Transition.EventID:
// they never change.
type Event uint8

// The events.
const (
	noEvent   Event = iota
	Changed         // the state is another one
	Restarted       // another process, the same boot of its host
	Rebooted        // another process, another boot
	Conflict        // two processes beat in turn under one name
	Ended           // one of several processes of one name
)

func (e Event) String() string {
	return [...]string{"none", "changed", "restarted", "rebooted", "conflict", "ended"}[e]
}
