// This file defines the values that a tracker processes: names of peers and processes, beats,
// states and reasons. They may be copied and kept.

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

// An ID identifies a peer. It consists of the host, or the address if there is none, and the
// service, or the pid if there is none. A peer with a service name stays the same when its
// process changes.
type ID struct {
	Source  string // host name in lower case, or the address if there is none
	Service string // empty for a peer that is identified by its pid
	PID     uint32 // 0 for a peer with a service name
}

// NewID returns the ID of the peer that a beat is about. source is its host, or its address if
// there is none; if source is empty, the beat belongs to no peer and NewID reports false. A
// beat without a service is about the host itself if its pid is 0.
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

// Nameless reports whether id names no service, so that the peer is identified by its pid.
func (id ID) Nameless() bool { return id.Service == "" }

// String returns web-1/nginx, or 10.0.0.5/4711 for a nameless peer.
func (id ID) String() string {
	if id.Nameless() {
		return id.Source + "/" + strconv.FormatUint(uint64(id.PID), 10)
	}
	return id.Source + "/" + id.Service
}

// sameStart is how much two readings of the start time of one process may differ.
const sameStart = 5 * time.Second

// A Process identifies one process of a peer. Its parts are compared for equality, never for
// order, because the clock of a host may go back. A zero part is unknown and equals any
// value.
type Process struct {
	Boot  string        // boot id of the host
	PID   uint32        // within that boot
	Start time.Duration // since boot
}

// is reports whether p and other may be the same process.
func (p Process) is(other Process) bool {
	if p.Boot != "" && other.Boot != "" && p.Boot != other.Boot {
		return false
	}
	if p.PID != 0 && other.PID != 0 && p.PID != other.PID {
		return false
	}
	return p.Start == 0 || other.Start == 0 || (p.Start-other.Start).Abs() < sameStart
}

// rebooted reports whether the host was rebooted between p and other.
func (p Process) rebooted(other Process) bool {
	return p.Boot != "" && other.Boot != "" && p.Boot != other.Boot
}

// completed returns p with its unknown parts replaced by those of other.
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

// A ConnID identifies a connection; 0 stands for none.
type ConnID uint64

// A Label is passed through to the output of its peer.
type Label struct{ Key, Value string }

// A Status is the condition of a peer that a beat reports: alive, leaving or dead.
type Status uint8

// The statuses of a beat.
const (
	SaysAlive   Status = iota
	SaysLeaving        // a planned end
	SaysDead           // its watcher saw it end
)

// A Beat is the part of one heartbeat that matters to a verdict. The tracker keeps the strings
// of a Beat, but neither the Beat itself nor its slice of labels.
type Beat struct {
	ID       ID
	Addr     netip.Addr // the address in effect
	Remote   netip.Addr // the address that sent it; the zero Addr for a Unix socket, and for a beat that a mate received
	Labels   []Label
	Process  Process
	Status   Status
	Health   Health        // with SaysAlive; HealthUnreported withdraws what was reported before
	Run      string        // LIFE or LIFE.N: LIFE names one execution of the sender, N one of its paths to us
	Seq      int64         // 0 if it is not numbered
	Interval time.Duration // 0 if not declared
	Margin   time.Duration // accepted delay beyond Interval; 0 if not declared
	BackIn   time.Duration // with SaysLeaving; 0 for no promise
	Cancel   bool          // with SaysLeaving: it only withdraws a promise
	Watched  bool          // a watcher sends it: its connection proves nothing about the process
	Verified bool          // it was signed, or a certificate named its host
	Listed   bool          // its sender has proved that the operator knows the peer
	Signed   bool          // it has Run, Seq and SentMS, and is refused if it is a replay
	SentMS   int64         // the sender's wall clock, unix ms; never used to measure silence
	User     uint32        // the user that sent it, as the kernel reports; 0 for none, and for root

	Job        string        // the id of the job that begins or ends, as its client reports it; "" if it reports none
	Begins     bool          // a job begins; this is no sign of life
	MaxRuntime time.Duration // of the job, with Begins; 0 for no limit

	ExitCode    int64
	HasExitCode bool
	Conn        ConnID
	Handle      Handle // from the previous beat over Conn, or the zero Handle
}

// life returns the LIFE part of Run. The order of beats is judged within a Run; LIFE identifies
// one execution of the sender.
func (b *Beat) life() string { return lifeOf(b.Run) }

func lifeOf(run string) string {
	dot := strings.LastIndexByte(run, '.')
	if dot <= 0 || dot == len(run)-1 || strings.Trim(run[dot+1:], "0123456789") != "" {
		return run
	}
	return run[:dot]
}

// A Handle leads to a peer without a search. It is only a hint: the peer it leads to is
// checked before it is used.
type Handle struct{ p *peer }

// A State is the verdict on a peer. The numbers never change, because databases and the value
// mappings of dashboards contain them.
type State uint8

// The states of a peer.
const (
	Unknown State = 0 // no verdict
	Alive   State = 1 // its beats arrive in time
	Suspect State = 2 // silent, but not for long enough to be dead
	Dead    State = 3 // silent for too long, or seen to end
	Left    State = 4 // its end was planned
)

// States are all states, in the order of their numbers.
var States = [...]State{Unknown, Alive, Suspect, Dead, Left}

// Urgent are all states, the most urgent first.
var Urgent = [len(States)]State{Dead, Suspect, Unknown, Left, Alive}

func (s State) String() string { return [...]string{"unknown", "alive", "suspect", "dead", "left"}[s] }

// over reports whether a peer in this state has ended, so that no beats are expected.
func (s State) over() bool { return s == Dead || s == Left }

// A Reason is the evidence for a state. The numbers never change, because databases contain
// them.
type Reason uint8

// The reasons for a state.
const (
	ReasonNone        Reason = 0
	ReasonBeat        Reason = 1  // a beat arrived
	ReasonSilence     Reason = 2  // no beat, and nothing else is known
	ReasonHung        Reason = 3  // no beat, but its host answers TCP
	ReasonUnreachable Reason = 4  // no beat, and its host does not answer TCP
	ReasonConnClosed  Reason = 5  // its connection was closed without a goodbye
	ReasonConnReset   Reason = 6  // its connection was reset
	ReasonExited      Reason = 7  // its watcher saw it end
	ReasonHost        Reason = 8  // it follows its host
	ReasonLeaving     Reason = 9  // it said goodbye
	ReasonFinished    Reason = 10 // it said goodbye with exit code 0
	ReasonOverdue     Reason = 11 // it promised to be back in time and is not
	ReasonNeverSeen   Reason = 12 // the operator expects it, and no beat has ever arrived
	ReasonIsolated    Reason = 13 // verdict held back: the collector itself is probably cut off
	ReasonRestored    Reason = 14 // known from before a stop of the collector
	ReasonReplaced    Reason = 15 // last point of a series: another series continues it
	ReasonForgotten   Reason = 16 // last point of a series
	ReasonOverrun     Reason = 17 // a job began and did not end in time
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

// Valid reports whether r is a known reason.
func (r Reason) Valid() bool { return int(r) < len(reasons) && reasons[r] != "" }

// inferred reports whether a death with this reason was inferred, so that a sign of life
// disproves it. A death that a watcher saw, or that follows from a broken promise, was correct
// when it was reported.
func (r Reason) inferred() bool { return r >= ReasonSilence && r <= ReasonConnReset || r == ReasonHost }

// strongerThan reports whether r is better evidence than other for a death that was inferred.
func (r Reason) strongerThan(other Reason) bool {
	order := []Reason{ReasonSilence, ReasonUnreachable, ReasonHung, ReasonConnReset, ReasonConnClosed}
	return other.inferred() && slices.Index(order, r) > slices.Index(order, other)
}

// lost reports whether r is the end of a connection.
func (r Reason) lost() bool { return r == ReasonConnClosed || r == ReasonConnReset }

// reported reports whether r is an end that a beat reported.
func (r Reason) reported() bool {
	return r == ReasonExited || r == ReasonLeaving || r == ReasonFinished
}

// A Health is the condition that a peer reports about itself in addition to being alive. The
// numbers never change, because state files contain them. The numbers that Code returns are
// stored in databases and never change either.
type Health uint8

// The values of Health.
const (
	HealthUnreported Health = 0 // it has only ever reported that it is alive
	HealthOK         Health = 1
	HealthWarning    Health = 2
	HealthCritical   Health = 3
	HealthOther      Health = 4 // reported with another word
)

// String returns "" for a peer that has reported no health.
func (h Health) String() string { return [...]string{"", "ok", "warning", "critical", "other"}[h] }

// Code returns the health as it is stored in databases: 0 for OK, 1 for a warning, 2 for
// critical, 3 for any other word. It reports false if the peer has reported no health.
func (h Health) Code() (code int64, ok bool) { return int64(h) - 1, h != HealthUnreported }

// An Event is the kind of event that a Transition reports. The numbers never change, because
// Transition.EventID is computed from them.
type Event uint8

// The kinds of events.
const (
	noEvent   Event = iota
	Changed         // the state has changed
	Restarted       // another process, within the same boot of its host
	Rebooted        // another process, after a reboot
	Conflict        // two processes beat in turn under one name
	Ended           // one of several processes of a peer has ended
)

func (e Event) String() string {
	return [...]string{"none", "changed", "restarted", "rebooted", "conflict", "ended"}[e]
}
