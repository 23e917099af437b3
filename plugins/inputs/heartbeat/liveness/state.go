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

// A Reason is the evidence for a state. The numbers are stored in databases
// and never change; those left out belong to evidence that is not judged yet.
type Reason uint8

// The reasons.
const (
	ReasonNone      Reason = 0
	ReasonBeat      Reason = 1  // a beat arrived
	ReasonSilence   Reason = 2  // no beat, nothing else known
	ReasonExited    Reason = 7  // its watcher saw it end
	ReasonLeaving   Reason = 9  // it said goodbye
	ReasonFinished  Reason = 10 // it said goodbye with exit code 0
	ReasonOverdue   Reason = 11 // it promised to be back and is not
	ReasonReplaced  Reason = 15 // last word of a series: another one goes on
	ReasonForgotten Reason = 16 // last word of a series
)

func (r Reason) String() string {
	return [...]string{
		ReasonNone:      "none",
		ReasonBeat:      "beat",
		ReasonSilence:   "silence",
		ReasonExited:    "exited",
		ReasonLeaving:   "leaving",
		ReasonFinished:  "finished",
		ReasonOverdue:   "overdue",
		ReasonReplaced:  "replaced",
		ReasonForgotten: "forgotten",
	}[r]
}

// An Event is what a Transition tells.
type Event uint8

// The events.
const (
	noEvent   Event = iota
	Changed         // the state is another one
	Restarted       // another process, the same boot of its host
	Rebooted        // another process, another boot
	Conflict        // two processes beat in turn under one name
)

func (e Event) String() string {
	return [...]string{"none", "changed", "restarted", "rebooted", "conflict"}[e]
}
