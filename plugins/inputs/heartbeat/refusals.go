package heartbeat

import (
	"fmt"
	"maps"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/influxdata/telegraf"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// Why the listener refuses what the codec would take.
const (
	reasonAccept         wire.Reason = "accept"          // the socket gives no connection
	reasonMaxConnections wire.Reason = "max_connections" // of the option or of the system
	reasonMaxPeers       wire.Reason = "max_peers"       // no room for a new one
	reasonFrameTimeout   wire.Reason = "frame_timeout"   // too slow
	reasonUnread         wire.Reason = "unread"          // its answers
	reasonNobody         wire.Reason = "nobody"          // neither host nor address
	reasonSource         wire.Reason = "source"          // not one of 'allowed_sources'
	reasonMaxPerIP       wire.Reason = "max_connections_per_ip"
	reasonIP             wire.Reason = "ip"  // not that of the connection
	reasonPID            wire.Reason = "pid" // not that of the other process
	reasonHandshake      wire.Reason = "tls_handshake"
	reasonUnsigned       wire.Reason = "unsigned"  // though it has to be signed
	reasonReplay         wire.Reason = "replay"    // it may have been said before
	reasonHost           wire.Reason = "host"      // not one that was verified
	reasonRecipient      wire.Reason = "recipient" // another collector
	reasonUser           wire.Reason = "user"      // not the one that the peer belongs to
	reasonMaxPerHost     wire.Reason = "max_peers_per_host"
	reasonUnproven       wire.Reason = "unproven" // too many of whom nothing was accepted yet
	reasonPanic          wire.Reason = "panic"    // a mistake of ours
)

// logPause is how long a reason is not logged again.
const logPause = time.Minute

func allReasons() []wire.Reason {
	return append(wire.Reasons(),
		reasonAccept, reasonMaxConnections, reasonMaxPeers, reasonFrameTimeout, reasonUnread, reasonNobody,
		reasonSource, reasonMaxPerIP, reasonIP, reasonPID,
		reasonHandshake, reasonUnsigned, reasonReplay, reasonHost, reasonPanic,
		reasonRecipient, reasonUser, reasonMaxPerHost, reasonUnproven)
}

func newCounts() map[wire.Reason]*atomic.Int64 {
	counts := make(map[wire.Reason]*atomic.Int64)
	for _, reason := range allReasons() {
		counts[reason] = new(atomic.Int64)
	}
	return counts
}

// A rarely lets something be said at once, and then once a minute. It may be
// used concurrently.
type rarely struct {
	mu     sync.Mutex // guards the rest
	last   time.Time
	silent int // what was not said since
}

// allow reports whether it may be said now, and then how much was not said
// before, in words.
func (r *rarely) allow(now time.Time) (more string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.last.IsZero() && now.Sub(r.last) < logPause {
		r.silent++
		return "", false
	}
	if r.silent > 0 {
		more = fmt.Sprintf(" (%d more since this was last logged)", r.silent)
	}
	r.last, r.silent = now, 0
	return more, true
}

// isOver reports whether it may be said at once again.
func (r *rarely) isOver(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return now.Sub(r.last) >= logPause
}

// maxApart is how many refusals are told apart by their address at a time. What
// is above shares one line a minute for each reason, so this and the reasons
// bound the log, whoever fills it.
const maxApart = 100

// A refused is what is logged once a minute.
type refused struct {
	reason wire.Reason
	place  string // "" for all that are too many to be told apart
}

// refusals logs what is refused, each reason and address once a minute: nobody
// outside can fill the log, and a probe that is refused each second does not
// hide another one.
type refusals struct {
	log telegraf.Logger
	all atomic.Int64

	mu    sync.Mutex // guards the rest
	said  map[refused]*rarely
	swept time.Time // when said was last rid of what is over
}

func newRefusals(log telegraf.Logger) *refusals {
	return &refusals{log: log, said: make(map[refused]*rarely)}
}

func (r *refusals) total() int64 { return r.all.Load() }

// note counts a refusal. from is an address, with a port if it has one.
func (r *refusals) note(reason wire.Reason, from, text string) {
	r.all.Add(1)
	now := time.Now()
	if more, ok := r.pace(reason, placeIn(from), now).allow(now); ok {
		r.log.Warnf("Refused %s, %s: %s%s", from, reason, wire.Printable(text), more)
	}
}

// pace returns what says when a refusal may be logged.
func (r *refusals) pace(reason wire.Reason, place string, now time.Time) *rarely {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := refused{reason, place}
	if pace := r.said[key]; pace != nil {
		return pace
	}
	if len(r.said) >= maxApart && now.Sub(r.swept) >= time.Second {
		r.swept = now
		maps.DeleteFunc(r.said, func(_ refused, pace *rarely) bool { return pace.isOver(now) })
	}
	if len(r.said) >= maxApart {
		key.place = ""
	}
	if r.said[key] == nil {
		r.said[key] = new(rarely)
	}
	return r.said[key]
}

// placeIn returns what of an address is told apart: not the port, which is new
// with each connection, and of IPv6 the network, in which one host may have any
// number of addresses.
func placeIn(from string) string {
	addr, err := netip.ParseAddrPort(from)
	switch {
	case err != nil:
		return from
	case addr.Addr().Unmap().Is4():
		return addr.Addr().Unmap().String()
	}
	network, _ := addr.Addr().WithZone("").Prefix(64) //nolint:errcheck // an IPv6 address has as many
	return network.String()
}
