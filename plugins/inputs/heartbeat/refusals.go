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
	reasonNobody         wire.Reason = "nobody"          // neither host nor address
)

// logPause is how long a reason is not logged again.
const logPause = time.Minute

func allReasons() []wire.Reason {
	return append(wire.Reasons(), reasonAccept, reasonMaxConnections, reasonMaxPeers, reasonFrameTimeout, reasonNobody)
}

func newCounts() map[wire.Reason]*atomic.Int64 {
	counts := make(map[wire.Reason]*atomic.Int64)
	for _, reason := range allReasons() {
		counts[reason] = new(atomic.Int64)
	}
	return counts
}

// refusals logs what is refused, each reason once a minute, so that nobody
// outside can fill the log.
type refusals struct {
	log telegraf.Logger
	all atomic.Int64

	mu   sync.Mutex // guards seen
	seen map[wire.Reason]*refusal
}

type refusal struct {
	logged time.Time
	silent int // refused since, without a line
}

func newRefusals(log telegraf.Logger) *refusals {
	return &refusals{log: log, seen: make(map[wire.Reason]*refusal)}
}

func (r *refusals) total() int64 { return r.all.Load() }

// note counts a refusal. from is an address, text a line without raw foreign
// bytes.
func (r *refusals) note(reason wire.Reason, from, text string) {
	r.all.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	seen := r.seen[reason]
	if seen == nil {
		seen = new(refusal)
		r.seen[reason] = seen
	}
	if !seen.logged.IsZero() && now.Sub(seen.logged) < logPause {
		seen.silent++
		return
	}
	more := ""
	if seen.silent > 0 {
		more = fmt.Sprintf(" (%d more since this was last said)", seen.silent)
	}
	r.log.Warnf("Refused what came from %s, %s: %s%s", from, reason, text, more)
	*seen = refusal{logged: now}
}
