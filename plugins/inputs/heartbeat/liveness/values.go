// What goes into a tracker, and is compared there: names of peers and processes,
// beats, states and reasons. They are plain values that may be copied and kept.

package liveness

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// HostService is the service name of a host's own peer.
const HostService = "host"

// An ID tells one peer from another. It is the host or else the address, and the
// service or else the pid: a peer that names its service stays the same when its
// process is another one.
type ID struct {
	Source  string // host name in lower case, else the address
	Service string // empty for a peer that is known by its pid
	PID     uint32 // 0 for a peer that names its service
}

// NewID returns the peer that a beat is about. source is its host or else its
// address; without either a beat belongs to no peer, and NewID reports false. A beat
// that names no service is about the host itself if its pid is 0.
func NewID(source, service string, pid uint32) (ID, bool) {
	id := ID{Source: source, Service: service}
	switch {
	case service != "":
	case pid == 0:
		id.Service = HostService
	default:
		id.PID = pid
	}
	return id, source != ""
}

// Nameless reports whether id is known by its pid only.
func (id ID) Nameless() bool { return id.Service == "" }

// String returns web-1/nginx, or 10.0.0.5/4711 for a nameless peer.
func (id ID) String() string {
	if id.Nameless() {
		return id.Source + "/" + strconv.FormatUint(uint64(id.PID), 10)
	}
	return id.Source + "/" + id.Service
}

// sameStart is how far apart two readings of one process's start may lie.
const sameStart = 5 * time.Second

// A Process names one life of what a peer is. Its parts are compared for equality,
// never for order: the clock of a host may go back. A zero part is not known and
// equals any.
type Process struct {
	Boot  string        // boot id of the host
	PID   uint32        // within that boot
	Start time.Duration // since boot
}

// is reports whether p and other may be one process.
func (p Process) is(other Process) bool {
	if p.Boot != "" && other.Boot != "" && p.Boot != other.Boot {
		return false
	}
	if p.PID != 0 && other.PID != 0 && p.PID != other.PID {
		return false
	}
	return p.Start == 0 || other.Start == 0 || (p.Start-other.Start).Abs() < sameStart
}

// rebooted reports whether the host has booted between p and other.
func (p Process) rebooted(other Process) bool {
	return p.Boot != "" && other.Boot != "" && p.Boot != other.Boot
}

// completed returns p with what it lacks taken from other.
func (p Process) completed(other Process) Process {
	if p.Boot == "" {
		p.Boot = other.Boot
	}
	if p.PID == 0 {
		p.PID = other.PID
	}
	if p.Start == 0 {
		p.Start = other.Start
	}
	return p
}

// A ConnID names a connection; 0 is none.
type ConnID uint64

// A Label is carried along for what prints the peer.
type Label struct{ Key, Value string }

// A Status is what a beat says of its peer.
type Status uint8

// The statuses.
const (
	SaysAlive   Status = iota
	SaysLeaving        // a planned end
	SaysDead           // its watcher saw it end
)

// A Beat is what one heartbeat says, as far as it matters to a verdict. The tracker
// keeps its texts, but neither the Beat nor the slice of labels.
type Beat struct {
	ID       ID
	Addr     netip.Addr // that applies
	Remote   netip.Addr // where it came from; the zero Addr over a Unix socket, and of what a mate has heard
	Labels   []Label
	Process  Process
	Status   Status
	Health   Health        // with SaysAlive; HealthUntold takes back what was said before
	Run      string        // LIFE or LIFE.N: LIFE is one life of the sender, N one of its ways to us
	Seq      int64         // 0 if not numbered
	Interval time.Duration // 0 if not declared
	Margin   time.Duration // patience beyond Interval; 0 if not declared
	BackIn   time.Duration // with SaysLeaving; 0 for no promise
	Cancel   bool          // with SaysLeaving: nothing but a promise is taken back
	Watched  bool          // a watcher sends it: its connection proves nothing about the process
	Verified bool          // it was signed, or a certificate named its host
	Listed   bool          // its sender has shown that the operator knows its peer
	Signed   bool          // it is worth to refuse what is said again; it has Run, Seq and SentMS
	SentMS   int64         // sender's wall clock, unix ms; never for silence
	User     uint32        // that the kernel says it comes from; 0 for none, and for root

	Job        string        // that begins or ends, as its client calls it; "" if it does not
	Begins     bool          // the job: that is no life
	MaxRuntime time.Duration // of the job, with Begins; 0 for no limit

	ExitCode    int64
	HasExitCode bool
	Conn        ConnID
	Handle      Handle // what the beat before over Conn was given, or none
}

// life returns LIFE of the run. Order is judged within a run, the sender is known by
// its life.
func (b *Beat) life() string { return lifeOf(b.Run) }

func lifeOf(run string) string {
	dot := strings.LastIndexByte(run, '.')
	if dot <= 0 || dot == len(run)-1 || strings.Trim(run[dot+1:], "0123456789") != "" {
		return run
	}
	return run[:dot]
}

// A Handle leads to a peer without a search for it. It is a hint: what it leads
// to is looked at before it is believed.
type Handle struct{ p *peer }

// A State is what is believed of a peer. The numbers are stored in databases and in
// the value mappings of dashboards: they never change.
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

// Urgent are all states, in the order in which they are looked at in the night.
var Urgent = [len(States)]State{Dead, Suspect, Unknown, Left, Alive}

func (s State) String() string { return [...]string{"unknown", "alive", "suspect", "dead", "left"}[s] }

// over reports whether nothing is expected of a peer in this state.
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
	ReasonOverrun     Reason = 17 // it began and did not end in time
	ReasonOffHours    Reason = 18 // not expected at this hour
	ReasonMateLost    Reason = 19 // known through another collector, which is not reachable
)

var reasons = [...]string{
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
	ReasonOverrun:     "overrun",
	ReasonOffHours:    "off_hours",
	ReasonMateLost:    "mate_lost",
}

func (r Reason) String() string {
	if !r.Valid() {
		return "unknown"
	}
	return reasons[r]
}

// Valid reports whether r is one of the reasons.
func (r Reason) Valid() bool { return int(r) < len(reasons) && reasons[r] != "" }

// inferred reports whether a death with this reason was concluded, so that life
// proves it wrong. What was seen or promised was right at its time.
func (r Reason) inferred() bool { return r >= ReasonSilence && r <= ReasonConnReset || r == ReasonHost }

// tellsMore reports whether of a death that was concluded r is better evidence than other.
func (r Reason) tellsMore(other Reason) bool {
	order := []Reason{ReasonSilence, ReasonUnreachable, ReasonHung, ReasonConnReset, ReasonConnClosed}
	return other.inferred() && slices.Index(order, r) > slices.Index(order, other)
}

// lost reports whether it is the end of a connection.
func (r Reason) lost() bool { return r == ReasonConnClosed || r == ReasonConnReset }

// reported reports whether an end with this reason was reported.
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
	HealthOther    Health = 4 // said in another word
)

// String returns "" for a peer that has told none.
func (h Health) String() string { return [...]string{"", "ok", "warning", "critical", "other"}[h] }

// Code returns the health as databases know it: 0 is well, 1 a warning, 2
// critical, 3 another word. It reports false if the peer has told none.
func (h Health) Code() (code int64, told bool) { return int64(h) - 1, h != HealthUntold }

// An Event is what a Transition reports. The numbers enter Transition.EventID: they
// never change.
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
