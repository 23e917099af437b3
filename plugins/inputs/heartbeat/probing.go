package heartbeat

import (
	"net"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// A probing is how TCP finds out whether the other side is still there. It
// frees sockets and gives reasons; who is alive is told by beats.
type probing struct {
	idle     time.Duration // silence before the first probe
	interval time.Duration // between probes that are not answered
	giveUp   time.Duration // without an answer, after which the connection is ended; 0 for not yet known
}

// probing returns how a connection is probed before its peers are known. TCP
// gives up only after the longest silence that they are allowed: a reset that
// we cause makes a simple client exit, and that would be a death of our making.
func (h *Heartbeat) probing() probing {
	return probing{
		idle:     time.Duration(h.KeepAliveIdle),
		interval: time.Duration(h.KeepAliveInterval),
		giveUp:   2 * time.Duration(h.DeadAfter),
	}
}

// fit returns p made fit for a peer that declares interval and is allowed so
// much silence: a beat that is missing has to be followed by a probe and its
// answer before the silence has become death. TCP knows no less than a second.
func (p probing) fit(interval, silence time.Duration) probing {
	if interval > 0 {
		p.idle = min(p.idle, max(interval.Round(time.Second), time.Second))
		p.interval = min(p.interval, max((interval/5).Truncate(time.Second), time.Second))
	}
	if silence > p.giveUp {
		p.giveUp = 2 * silence
	}
	return p
}

// config returns p for all systems. Where TCP_USER_TIMEOUT is known that
// decides instead of the count.
func (p probing) config() net.KeepAliveConfig {
	count := max((p.giveUp-p.idle)/p.interval+1, 1)
	return net.KeepAliveConfig{Enable: true, Idle: p.idle, Interval: p.interval, Count: int(min(count, 127))}
}

// path draws from how long ago the kernel heard the other side whether that
// is still there: data is heard from the process, an acknowledgement also from
// the kernel that holds its connection. Two probes may be lost.
func (p probing) path(data, anything time.Duration) liveness.Path {
	const trailing = 500 * time.Millisecond // within which an answer of ours to the data is acknowledged
	patience := p.idle + 2*p.interval
	switch {
	case anything+trailing < data && anything <= patience:
		return liveness.PathAnswers
	case data > patience:
		return liveness.PathIsSilent
	}
	return liveness.PathUnknown
}
