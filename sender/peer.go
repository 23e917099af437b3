package sender

import (
	"crypto/rand"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/proc"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// A Peer is whom a Sender speaks for, and what it says of it.
type Peer struct {
	Host    string        // name of the host
	Service string        // what runs there; empty for the host itself
	IP      netip.Addr    // invalid for the local address of each connection
	NoIP    bool          // say no address at all, because the peer is elsewhere
	Status  string        // empty for alive; wire.StatusLeaving and wire.StatusDead are ends
	Exit    Exit          // of an end: how the process ended
	BackIn  time.Duration // of StatusLeaving: the promise to be back; 0 for none
	Cancel  bool          // of StatusLeaving: an earlier promise is taken back
	Grace   time.Duration // how late a beat may be; 0 for what the collector thinks
	Tags    []wire.Label

	PID     uint32 // 0 for none
	Boot    string // boot id of the host, empty if unknown
	StartMS int64  // start of the process in ms since boot, 0 if unknown
	Watched bool   // it lives on when the sender ends

	// Silent is for while nothing is known: a process that may be on its way
	// back. Nothing is said of the peer.
	Silent bool
}

// An Exit is how a process ended, as far as that is known.
type Exit struct {
	HasCode bool
	Code    int64
	Signal  string // such as SIGKILL; empty for none
}

// Host returns the peer of a host.
func Host(host string) Peer {
	return Peer{Host: host, Boot: proc.BootID(), Watched: true}
}

// Self returns the peer of this process under the name of a service.
func Self(host, service string) Peer {
	pid := uint32(os.Getpid())
	return Peer{Host: host, Service: service, PID: pid, Boot: proc.BootID(), StartMS: proc.StartMS(pid)}
}

// beat returns what is said of p each time.
func (p *Peer) beat() wire.Beat {
	return wire.Beat{
		Host: p.Host, Service: p.Service, IP: p.IP, Status: p.Status, Tags: p.Tags,
		PID: p.PID, Boot: p.Boot, StartMS: p.StartMS, Watched: p.Watched,
		BackInMS: p.BackIn.Milliseconds(), Cancel: p.Cancel, GraceMS: p.Grace.Milliseconds(), HasExitCode: p.Exit.HasCode, ExitCode: p.Exit.Code, Signal: p.Exit.Signal,
	}
}

// is tells whether p and other are one peer to a collector.
func (p *Peer) is(other Peer) bool {
	return strings.EqualFold(p.Host, other.Host) && p.Service == other.Service
}

func (p *Peer) leaving() bool { return strings.EqualFold(p.Status, wire.StatusLeaving) }

func (p *Peer) ended() bool { return p.leaving() || strings.EqualFold(p.Status, wire.StatusDead) }

// part makes what is said of p a goodbye. It returns false if there is none to
// say, because p has ended or never ran.
func (p *Peer) part(backIn time.Duration) bool {
	if p.ended() || p.Silent && p.PID == 0 {
		return false
	}
	p.Status, p.BackIn, p.Silent = wire.StatusLeaving, backIn, false
	return true
}

// parting returns peers with their goodbyes.
func parting(peers []Peer, backIn time.Duration) []Peer {
	peers = slices.Clone(peers)
	for i := range peers {
		peers[i].part(backIn)
	}
	return peers
}

// finished reports whether p has ended with success.
func (p *Peer) succeeded() bool { return p.leaving() && p.Exit.HasCode && p.Exit.Code == 0 }

// newLife names one life of a sender.
func newLife() string { return rand.Text()[:12] }

// runOf names what a sender says to one server in one life: order is judged
// within it.
func runOf(life string, number int) string { return life + "." + strconv.Itoa(number) }
