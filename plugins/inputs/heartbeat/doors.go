package heartbeat

import (
	"fmt"
	"net/netip"
	"sync"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// unprovenShare is which part of all connections may be those of one party that
// have yet to prove themselves.
const unprovenShare = 8

// doors decide who may come in, for all listeners together.
type doors struct {
	allowed  []netip.Prefix // empty for everybody
	limit    int64          // of open connections
	perIP    int            // likewise, of one address; 0 for no limit
	mu       sync.Mutex     // guards the rest
	open     int64
	openFrom map[netip.Addr]int // only if there is a limit
	unproven map[party]int64
}

func newDoors(h *Heartbeat) *doors {
	return &doors{
		allowed: h.allowed, limit: connectionLimit(h.MaxConnections), perIP: h.MaxPerIP,
		openFrom: make(map[netip.Addr]int), unproven: make(map[party]int64),
	}
}

// admits tells whether anything may come from an address. Who has none is on
// this host, and came through the permissions of a unix socket.
func (d *doors) admits(remote netip.Addr) bool {
	if len(d.allowed) == 0 || !remote.IsValid() {
		return true
	}
	for _, prefix := range d.allowed {
		if prefix.Contains(remote) {
			return true
		}
	}
	return false
}

// enter counts a connection, which is unproven, or says why there may be none.
func (d *doors) enter(remote netip.Addr, user uint32) (reason wire.Reason, text string) {
	if !d.admits(remote) {
		return reasonSource, sourceText
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	most, from := max(d.limit/unprovenShare, 1), partyOf(remote, user)
	switch {
	case d.open >= d.limit:
		return reasonMaxConnections, "as many connections as allowed are open ('max_connections', descriptor limit)"
	case d.unproven[from] >= most:
		return reasonUnproven, fmt.Sprintf("too many connections from there have had nothing accepted yet: at most %d may, an eighth of all ('max_connections', descriptor limit)", most)
	case d.perIP > 0 && remote.IsValid() && d.openFrom[remote] >= d.perIP:
		return reasonMaxPerIP, "as many connections as allowed are open from there ('max_connections_per_ip')"
	}
	d.open++
	d.unproven[from]++
	if d.perIP > 0 {
		d.openFrom[remote]++
	}
	return "", ""
}

// A party is what unproven connections are counted by: an address, or a user of
// this host.
type party struct {
	addr netip.Addr // invalid on unix sockets
	user uint32     // 0 elsewhere, and if the kernel does not say
}

// partyOf returns who comes from there. Anybody who has an address of IPv6 mostly
// has the 2^64 of its network.
func partyOf(remote netip.Addr, user uint32) party {
	if prefix, err := remote.Prefix(64); err == nil && remote.Is6() {
		remote = prefix.Addr()
	}
	return party{remote, user}
}

// prove notes that something of a connection was accepted, or that it is over.
func (d *doors) prove(remote netip.Addr, user uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	from := partyOf(remote, user)
	if d.unproven[from]--; d.unproven[from] == 0 {
		delete(d.unproven, from)
	}
}

const sourceText = "its address is not in 'allowed_sources'"

// leave takes one connection back.
func (d *doors) leave(remote netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open--
	if d.perIP == 0 {
		return
	}
	if d.openFrom[remote]--; d.openFrom[remote] == 0 {
		delete(d.openFrom, remote)
	}
}

// parseSources reads addresses and networks.
func parseSources(texts []string) ([]netip.Prefix, error) {
	all := make([]netip.Prefix, 0, len(texts))
	for _, text := range texts {
		prefix, err := parsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("'allowed_sources': %q is neither an address nor a network like \"10.0.0.0/8\"", text)
		}
		all = append(all, prefix)
	}
	return all, nil
}
