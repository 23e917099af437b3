package liveness

import (
	"net/netip"
	"time"
)

// A ConnID names a connection; 0 is none.
type ConnID uint64

// A Label is carried along for whoever prints the peer.
type Label struct{ Key, Value string }

// A Status is what a beat says of its peer.
type Status uint8

// The statuses.
const (
	SaysAlive   Status = iota
	SaysLeaving        // a planned end
	SaysDead           // its watcher saw it end
)

// A Beat is what one heartbeat says, as far as it matters to a verdict. The
// tracker keeps its texts, but not the slice of labels.
type Beat struct {
	ID       ID
	Addr     netip.Addr
	Labels   []Label
	Process  Process
	Status   Status
	Run      string
	Seq      int64         // 0 if not numbered
	Interval time.Duration // 0 if not declared
	BackIn   time.Duration // with SaysLeaving; 0 for no promise
	Watched  bool          // somebody else's connection carries it
	Signed   bool          // it is worth to refuse what is said again; it has Run, Seq and SentMS
	SentMS   int64         // sender's wall clock, unix ms; never for silence
	User     uint32        // that the kernel says it comes from; 0 for none, and for root

	ExitCode    int64
	HasExitCode bool
	Conn        ConnID
	Handle      Handle // what the beat before over Conn was given, or none
}

// A Handle leads to a peer without a search for it. It is a hint: what it leads
// to is looked at before it is believed.
type Handle struct{ p *peer }
