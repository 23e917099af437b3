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

// Statuses with a special meaning; their case does not matter. Any other word
// means alive, and the collector keeps it, except down, stopped, exited and
// offline, which it refuses.
const (
	StatusAlive   = "alive"
	StatusLeaving = "leaving" // a planned end: a goodbye
	StatusDead    = "dead"    // the process has ended
)

// A Peer is a host, or a service on a host, with the contents of its beats. Host
// and Service identify it.
type Peer struct {
	Host    string // name of the host: up to 253 letters, digits or any of _ . : -
	Service string // name of the service: up to 128 of the same or @ /; empty for the host itself

	// IP is the address of the peer. If it is invalid, beats carry the local
	// address of the connection, or none if NoIP is set because the peer is on
	// another host.
	IP   netip.Addr
	NoIP bool

	Status string        // up to 64 letters, digits or any of _ . -; empty is StatusAlive
	Exit   Exit          // with StatusLeaving or StatusDead: how the process ended
	BackIn time.Duration // with StatusLeaving: the maintenance window, 0 (none) to MaxBackIn
	Cancel bool          // with StatusLeaving: closes an earlier maintenance window
	Grace  time.Duration // how late a beat may be, up to 400 days; 0 lets the collector decide
	Tags   []Tag         // up to 32, each key once

	PID     uint32 // of the process; 0 for none
	Boot    string // boot id of the host; empty if unknown
	StartMS int64  // when the process started, in ms since boot; 0 if unknown
	Watched bool   // the process is not the sender and may outlive it

	// Silent stops the beats while the state of the peer is unknown, for example
	// because its process may be about to start.
	Silent bool
}

// A Tag is a label that the collector adds to its metrics of a peer.
type Tag struct {
	Key   string // 1 to 64 letters, digits or _
	Value string // 1 to 256 bytes of printable text without quotes and backslashes
}

// An Exit is how a process ended, as far as known.
type Exit struct {
	HasCode bool
	Code    int64
	Signal  string // its name, such as SIGKILL; empty if no signal ended the process
}

// Host returns a peer for this host, with the given name.
func Host(host string) Peer {
	return Peer{Host: host, Boot: proc.BootID(), Watched: true}
}

// Self returns a peer for this process, as the given service.
func Self(host, service string) Peer {
	pid := uint32(os.Getpid())
	return Peer{Host: host, Service: service, PID: pid, Boot: proc.BootID(), StartMS: proc.StartMS(pid)}
}

// beat returns the part of a beat that p determines.
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

// isSamePeer reports whether p and other are the same peer to a collector.
func (p *Peer) isSamePeer(other *Peer) bool {
	return strings.EqualFold(p.Host, other.Host) && p.Service == other.Service
}

func (p *Peer) leaving() bool { return strings.EqualFold(p.Status, StatusLeaving) }

func (p *Peer) ended() bool { return p.leaving() || strings.EqualFold(p.Status, StatusDead) }

// succeeded reports whether p has ended with exit code 0.
func (p *Peer) succeeded() bool { return p.leaving() && p.Exit.HasCode && p.Exit.Code == 0 }

// turnIntoGoodbye turns p into a goodbye. It returns false if there is nothing to say,
// because p has ended or never ran.
func (p *Peer) turnIntoGoodbye(backIn time.Duration) bool {
	if p.ended() || p.Silent && p.PID == 0 {
		return false
	}
	p.Status, p.BackIn, p.Silent = StatusLeaving, backIn, false
	return true
}

// goodbyes returns a copy of peers, each turned into a goodbye.
func goodbyes(peers []Peer, backIn time.Duration) []Peer {
	peers = slices.Clone(peers)
	for i := range peers {
		peers[i].turnIntoGoodbye(backIn)
	}
	return peers
}
