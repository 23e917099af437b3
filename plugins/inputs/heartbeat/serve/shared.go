package serve

import (
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// common is what all listeners and connections of a Server share.
type common struct {
	Options
	limits   *limits
	lastConn atomic.Uint64
}

// shared is what a listener and its connections share.
type shared struct {
	*common
	closed chan struct{} // when nothing more is to be taken
	beats  atomic.Int64
	bytes  atomic.Int64

	mu      sync.Mutex // guards the rest
	refused map[wire.Reason]int64
}

// isClosed reports whether nothing more is to be taken.
func (s *shared) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

// refuse counts what was refused and passes it on.
func (s *shared) refuse(reason wire.Reason, from, text string) {
	s.mu.Lock()
	s.refused[reason]++
	s.mu.Unlock()
	s.Refused(reason, from, text)
}

// survive logs an internal error. It is deferred: a panic costs the connection or
// the datagram that is being served.
func (s *shared) survive(from *Origin) {
	if cause := recover(); cause != nil { //nolint:revive // it is deferred, elsewhere
		s.panicked(from.From(), cause, debug.Stack())
	}
}

func (s *shared) panicked(from string, cause any, stack []byte) {
	s.refuse(ReasonPanic, from, "internal error, please report the stack that follows")
	s.Log.Errorf("Serving %s failed: %v\n%s", from, cause, stack)
}
