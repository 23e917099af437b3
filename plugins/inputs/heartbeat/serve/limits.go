package serve

import (
	"fmt"
	"net/netip"
	"sync"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// unprovenShare limits the unproven connections of one party to 1/unprovenShare of all
// connections.
const unprovenShare = 8

// limits decide which connections are admitted, for all listeners together.
type limits struct {
	allowed  []netip.Prefix // empty for all
	most     int64          // open connections
	perIP    int            // open connections of one address; 0 for no limit
	mu       sync.Mutex     // guards the rest
	open     int64
	openFrom map[netip.Addr]int // only if there is a limit
	unproven map[party]int64
}

func newLimits(o *Options) *limits {
	return &limits{
		allowed: o.Allowed, most: connectionLimit(o.MaxConnections), perIP: o.MaxPerIP,
		openFrom: make(map[netip.Addr]int), unproven: make(map[party]int64),
	}
}

// admits reports whether an address is allowed. An invalid address belongs to a Unix socket, which
// has file permissions instead.
func (l *limits) admits(remote netip.Addr) bool {
	if len(l.allowed) == 0 || !remote.IsValid() {
		return true
	}
	for _, prefix := range l.allowed {
		if prefix.Contains(remote) {
			return true
		}
	}
	return false
}

// enter admits a new connection, which is unproven, or returns why it is refused.
func (l *limits) enter(from *Origin) (reason wire.Reason, text string) {
	if !l.admits(from.Remote) {
		return ReasonSource, sourceText
	}
	return l.enterFromAnywhere(from)
}

// enterFromAnywhere is like enter, but allows all addresses.
func (l *limits) enterFromAnywhere(from *Origin) (reason wire.Reason, text string) {
	remote := from.Remote
	l.mu.Lock()
	defer l.mu.Unlock()
	most, party := max(l.most/unprovenShare, 1), partyOf(from)
	switch {
	case l.open >= l.most:
		return ReasonMaxConnections, "the limit of open connections is reached ('max_connections' or the descriptor limit)"
	case l.unproven[party] >= most:
		return ReasonUnproven, fmt.Sprintf("too many connections from this address or user have had nothing accepted yet: "+
			"the limit is %d, an eighth of 'max_connections' or of the descriptor limit", most)
	case l.perIP > 0 && remote.IsValid() && l.openFrom[remote] >= l.perIP:
		return ReasonMaxPerIP, "the limit of open connections from this address is reached ('max_connections_per_ip')"
	}
	l.open++
	l.unproven[party]++
	if l.perIP > 0 {
		l.openFrom[remote]++
	}
	return "", ""
}

// A party is an address, or a user of this host. Unproven connections are counted for each party.
type party struct {
	addr netip.Addr // invalid on Unix sockets
	user uint32     // 0 if it is unknown, or if this is not a Unix socket
}

// partyOf returns the party of a connection. A host with an IPv6 address can usually use all
// 2^64 of its network.
func partyOf(from *Origin) party {
	addr := from.Remote
	if prefix, err := addr.Prefix(64); err == nil && addr.Is6() {
		addr = prefix.Addr()
	}
	return party{addr, from.User}
}

// prove records that a payload of a connection was accepted, or that the connection has ended.
func (l *limits) prove(from *Origin) {
	l.mu.Lock()
	defer l.mu.Unlock()
	party := partyOf(from)
	if l.unproven[party]--; l.unproven[party] == 0 {
		delete(l.unproven, party)
	}
}

const sourceText = "its address is not in 'allowed_sources'"

// leave removes a connection.
func (l *limits) leave(remote netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	if l.perIP == 0 {
		return
	}
	if l.openFrom[remote]--; l.openFrom[remote] == 0 {
		delete(l.openFrom, remote)
	}
}
