package liveness

import (
	"net/netip"
	"strings"
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
	Health   Health        // with SaysAlive; HealthUntold takes back what was said before
	Run      string        // LIFE or LIFE.N: LIFE is one life of the sender, N one of its ways to us
	Seq      int64         // 0 if not numbered
	Interval time.Duration // 0 if not declared
	Margin   time.Duration // patience beyond Interval; 0 if not declared
	BackIn   time.Duration // with SaysLeaving; 0 for no promise
	Cancel   bool          // with SaysLeaving: nothing but a promise is taken back
	Watched  bool          // somebody else's connection carries it
	Signed   bool          // it is worth to refuse what is said again; it has Run, Seq and SentMS
	SentMS   int64         // sender's wall clock, unix ms; never for silence
	User     uint32        // that the kernel says it comes from; 0 for none, and for root

	ExitCode    int64
	HasExitCode bool
	Conn        ConnID
	Handle      Handle // what the beat before over Conn was given, or none
}

// life returns LIFE of the run: order is judged within a run, who speaks by this.
func (b *Beat) life() string { return lifeOf(b.Run) }

func lifeOf(run string) string {
	dot := strings.LastIndexByte(run, '.')
	if dot <= 0 || strings.Trim(run[dot+1:], "0123456789") != "" {
		return run
	}
	return run[:dot]
}

// A Handle leads to a peer without a search for it. It is a hint: what it leads
// to is looked at before it is believed.
type Handle struct{ p *peer }
