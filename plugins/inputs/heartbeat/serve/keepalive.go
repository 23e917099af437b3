package serve

import (
	"net"
	"time"
)

// KeepAlive is how TCP finds out whether the other side is still there. It frees
// sockets and gives reasons; beats decide what is alive.
type KeepAlive struct {
	Idle     time.Duration // silence before the first probe; at least 1 s
	Interval time.Duration // between probes that are not answered; at least 1 s

	// GiveUp is how long nothing may be acknowledged until TCP ends the connection;
	// 0 for not yet known. It is longer than the longest silence that the peers of
	// the connection are allowed: a reset that we cause makes a simple client exit,
	// and that would be a death of our making.
	GiveUp time.Duration
}

// A Path is what the kernel knows of the other side of a connection.
type Path uint8

// What a kernel can know.
const (
	PathUnknown  Path = iota
	PathAnswers       // its kernel answers, its process is silent
	PathIsSilent      // nothing answers
)

// fit returns k made fit for a peer that declares interval and is allowed so
// much silence: a beat that is missing has to be followed by a probe and its
// answer before the silence has become death. TCP knows no less than a second.
func (k KeepAlive) fit(interval, silence time.Duration) KeepAlive {
	if interval > 0 {
		k.Idle = min(k.Idle, max(interval.Round(time.Second), time.Second))
		k.Interval = min(k.Interval, max((interval/5).Truncate(time.Second), time.Second))
	}
	if silence > k.GiveUp {
		k.GiveUp = 2 * silence
	}
	return k
}

// config returns k for all systems. Where TCP_USER_TIMEOUT is known that
// decides instead of the count.
func (k KeepAlive) config() net.KeepAliveConfig {
	count := max((k.GiveUp-k.Idle)/k.Interval+1, 1)
	return net.KeepAliveConfig{Enable: true, Idle: k.Idle, Interval: k.Interval, Count: int(min(count, 127))}
}

// path draws from how long ago the kernel heard the other side whether that
// is still there: data is heard from the process, an acknowledgement also from
// the kernel that holds its connection. Two probes may be lost.
func (k KeepAlive) path(data, anything time.Duration) Path {
	const trailing = 500 * time.Millisecond // within which an answer of ours to the data is acknowledged
	patience := k.Idle + 2*k.Interval
	switch {
	case anything+trailing < data && anything <= patience:
		return PathAnswers
	case data > patience:
		return PathIsSilent
	}
	return PathUnknown
}
