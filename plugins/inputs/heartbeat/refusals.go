package heartbeat

import (
	"fmt"
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
		more = fmt.Sprintf(" (%d more since this was last said)", r.silent)
	}
	r.last, r.silent = now, 0
	return more, true
}

// refusals logs what is refused, each reason once a minute, so that nobody
// outside can fill the log.
type refusals struct {
	log  telegraf.Logger
	all  atomic.Int64
	said map[wire.Reason]*rarely
}

func newRefusals(log telegraf.Logger) *refusals {
	r := &refusals{log: log, said: make(map[wire.Reason]*rarely)}
	for _, reason := range allReasons() {
		r.said[reason] = new(rarely)
	}
	return r
}

func (r *refusals) total() int64 { return r.all.Load() }

// note counts a refusal. from is an address, text a line without raw foreign
// bytes.
func (r *refusals) note(reason wire.Reason, from, text string) {
	r.all.Add(1)
	if more, ok := r.said[reason].allow(time.Now()); ok {
		r.log.Warnf("Refused what came from %s, %s: %s%s", from, reason, text, more)
	}
}
