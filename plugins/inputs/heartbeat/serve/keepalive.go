package serve

import (
	"net"
	"time"
)

// KeepAlive has the settings of TCP keepalive. It frees sockets and provides reasons; beats
// decide which peers are alive.
type KeepAlive struct {
	Idle     time.Duration // silence before the first probe; at least 1 s
	Interval time.Duration // between probes that are not answered; at least 1 s

	// GiveUp is how long TCP waits for an acknowledgement before it ends the connection; 0 if not
	// known yet. It is longer than the silence that any peer of the connection is allowed: a reset
	// can make a simple client exit, and then we would have caused the death of its peer.
	GiveUp time.Duration
}

// A Path is the kernel's knowledge about the other side of a connection.
type Path uint8

// The values of a Path.
const (
	PathUnknown  Path = iota
	PathAnswers       // its kernel answers, its process is silent
	PathIsSilent      // nothing answers
)

// adapt returns k adapted to a peer with this interval and this allowed silence: after a missing
// beat, there must be time for a probe and its answer before the peer is dead. TCP cannot wait
// less than a second.
func (k KeepAlive) adapt(interval, silence time.Duration) KeepAlive {
	if interval > 0 {
		k.Idle = min(k.Idle, max(interval.Round(time.Second), time.Second))
		k.Interval = min(k.Interval, max((interval/5).Truncate(time.Second), time.Second))
	}
	if silence > k.GiveUp {
		k.GiveUp = 2 * silence
	}
	return k
}

// config returns k for all systems. On Linux, TCP_USER_TIMEOUT takes the place of the count.
func (k KeepAlive) config() net.KeepAliveConfig {
	count := max((k.GiveUp-k.Idle)/k.Interval+1, 1)
	return net.KeepAliveConfig{Enable: true, Idle: k.Idle, Interval: k.Interval, Count: int(min(count, 127))}
}

// path decides whether the other side is still there. It depends on how long ago the kernel last
// received data from the other side, and anything at all. Data comes from the process; an
// acknowledgement may come from its kernel alone. Two probes may be lost.
func (k KeepAlive) path(data, anything time.Duration) Path {
	const trailing = 500 * time.Millisecond // within this, our answer to the data is acknowledged
	patience := k.Idle + 2*k.Interval
	switch {
	case anything+trailing < data && anything <= patience:
		return PathAnswers
	case data > patience:
		return PathIsSilent
	}
	return PathUnknown
}
