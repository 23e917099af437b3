package sender

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/proc"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// Statuses with a meaning of their own, in any case. Any other word means alive
// and is kept by the collector, except down, stopped, exited and offline, which
// are refused.
const (
	StatusAlive   = "alive"
	StatusLeaving = "leaving" // a planned end: a goodbye
	StatusDead    = "dead"    // its watcher saw the process end
)

// A Peer is a host, or a service on a host, and what its beats say. A collector
// knows it by Host and Service.
type Peer struct {
	Host    string // name of the host: up to 253 letters, digits or any of _ . : -
	Service string // what runs there: up to 128 of those or @ /; empty for the host itself

	// IP is the address that the peer is found at. An invalid one stands for
	// the local address of each connection, or with NoIP for none: the peer is
	// elsewhere.
	IP   netip.Addr
	NoIP bool

	Status string        // up to 64 letters, digits or any of _ . -; empty is StatusAlive
	Exit   Exit          // with StatusLeaving or StatusDead: how the process ended
	BackIn time.Duration // with StatusLeaving: the promise to be back, 0 (none) to MaxBackIn
	Cancel bool          // with StatusLeaving: takes back an earlier promise
	Grace  time.Duration // how late a beat may be, up to 400 days; 0 leaves that to the collector
	Tags   []Tag         // up to 32, each key once

	PID     uint32 // of the process; 0 for none
	Boot    string // boot id of the host; empty if unknown
	StartMS int64  // when the process started, in ms since boot; 0 if unknown
	Watched bool   // the process is another one than the sender and may outlive it

	// Silent stops the beats while nothing is known of the peer, for example
	// because its process may be about to return.
	Silent bool
}

// A Tag is a label that the collector adds to what it reports of a peer.
type Tag struct {
	Key   string // 1 to 64 letters, digits or _
	Value string // 1 to 256 bytes of printable text without quotes and backslashes
}

// An Exit is how a process ended, as far as that is known.
type Exit struct {
	HasCode bool
	Code    int64
	Signal  string // its name, such as SIGKILL; empty for none
}

// Host returns the peer of this host under a name.
func Host(host string) Peer {
	return Peer{Host: host, Boot: proc.BootID(), Watched: true}
}

// Self returns the peer of this process under the name of a service.
func Self(host, service string) Peer {
	pid := uint32(os.Getpid())
	return Peer{Host: host, Service: service, PID: pid, Boot: proc.BootID(), StartMS: proc.StartMS(pid)}
}

// beat returns what every beat says of p.
func (p *Peer) beat() wire.Beat {
	return wire.Beat{
		Host: p.Host, Service: p.Service, IP: p.IP, Status: p.Status, Tags: p.labels(),
		PID: p.PID, Boot: p.Boot, StartMS: p.StartMS, Watched: p.Watched,
		BackInMS: p.BackIn.Milliseconds(), Cancel: p.Cancel, GraceMS: p.Grace.Milliseconds(),
		HasExitCode: p.Exit.HasCode, ExitCode: p.Exit.Code, Signal: p.Exit.Signal,
	}
}

func (p *Peer) labels() []wire.Label {
	if len(p.Tags) == 0 {
		return nil
	}
	labels := make([]wire.Label, 0, len(p.Tags))
	for _, tag := range p.Tags {
		labels = append(labels, wire.Label(tag))
	}
	return labels
}

// is reports whether p and other are one peer to a collector.
func (p *Peer) is(other *Peer) bool {
	return strings.EqualFold(p.Host, other.Host) && p.Service == other.Service
}

func (p *Peer) leaving() bool { return strings.EqualFold(p.Status, StatusLeaving) }

func (p *Peer) ended() bool { return p.leaving() || strings.EqualFold(p.Status, StatusDead) }

// succeeded reports whether p has ended with success.
func (p *Peer) succeeded() bool { return p.leaving() && p.Exit.HasCode && p.Exit.Code == 0 }

// part turns what is said of p into a goodbye. It returns false if there is
// none to say, because p has ended or never ran.
func (p *Peer) part(backIn time.Duration) bool {
	if p.ended() || p.Silent && p.PID == 0 {
		return false
	}
	p.Status, p.BackIn, p.Silent = StatusLeaving, backIn, false
	return true
}

// parting returns a copy of peers with their goodbyes.
func parting(peers []Peer, backIn time.Duration) []Peer {
	peers = slices.Clone(peers)
	for i := range peers {
		peers[i].part(backIn)
	}
	return peers
}
