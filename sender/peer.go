package sender

import (
	"crypto/rand"
	"net/netip"
	"os"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// A Peer is whom a Sender speaks for, and what it says of it.
type Peer struct {
	Host    string     // name of the host
	Service string     // what runs there; empty for the host itself
	IP      netip.Addr // invalid for the local address of each connection
	NoIP    bool       // say no address at all, because the peer is elsewhere
	Status  string     // empty for alive
	Tags    []wire.Label

	PID     uint32 // 0 for none
	Boot    string // boot id of the host, empty if unknown
	StartMS int64  // start of the process in ms since boot, 0 if unknown
	Watched bool   // it lives on when the sender ends
}

// Host returns the peer of a host.
func Host(host string) Peer {
	return Peer{Host: host, Boot: bootID(), Watched: true}
}

// Self returns the peer of this process under the name of a service.
func Self(host, service string) Peer {
	return Peer{Host: host, Service: service, PID: uint32(os.Getpid()), Boot: bootID(), StartMS: startMS()}
}

// beat returns what is said of p each time.
func (p *Peer) beat() wire.Beat {
	return wire.Beat{
		Host: p.Host, Service: p.Service, IP: p.IP, Status: p.Status, Tags: p.Tags,
		PID: p.PID, Boot: p.Boot, StartMS: p.StartMS, Watched: p.Watched, Ack: true,
	}
}

// newRun names one life of a sender.
func newRun() string { return rand.Text()[:12] }
