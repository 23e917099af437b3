package heartbeat

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// An observation is a beat with what its connection tells about it.
type observation struct {
	liveness.Beat
	wire *wire.Beat // valid until the next one of its stream is decoded
}

// clear lets o hold nothing but room.
func (o *observation) clear() { *o = observation{Beat: liveness.Beat{Labels: o.Labels[:0]}} }

// set makes o of what r has received. It reports false if the beat is nobody's.
func (o *observation) set(r *receiver) bool {
	b, options := &r.said.Beat, r.listener.plugin
	host, claimed := b.Host, b.IP
	if hostAddr := b.HostAddr(); hostAddr.IsValid() { // is no name, but claims an address
		host, claimed = "", hostAddr
	}
	addr := address(claimed, r.remote, options.IPFrom)
	if host == "" && addr.IsValid() {
		host = r.text(addr)
	}
	pid := r.process(b)
	id, ok := liveness.NewID(host, b.Service, pid)
	o.wire = b
	o.Beat = liveness.Beat{
		ID: id, Handle: r.handle, Addr: addr, Labels: labels(o.Labels[:0], b.Tags, options.TagKeys),
		Process: liveness.Process{Boot: b.Boot, PID: pid, Start: milliseconds(b.StartMS)},
		Status:  status(b), Health: healthOf(b.Status), Run: b.Run, Seq: b.Seq,
		Interval: milliseconds(b.IntervalMS), Margin: milliseconds(b.GraceMS), BackIn: milliseconds(b.BackInMS), Cancel: b.Cancel,
		ExitCode: b.ExitCode, HasExitCode: b.HasExitCode, Watched: b.Watched, SentMS: b.SentMS, User: r.user,
	}
	return ok
}

// process returns the pid of whom a beat is about. A process that speaks for
// itself over a Unix socket is known by its number in our namespace: what it is
// called in its own, anybody can choose who makes one.
func (r *receiver) process(b *wire.Beat) uint32 {
	if r.pid != 0 && b.PID != 0 && !b.Watched {
		return r.pid // is verified to be one of its numbers
	}
	return b.PID
}

// address returns the address of a beat. What a sender says of itself holds,
// unless that is an address which only means something at its own host:
// gethostbyname of Debian says 127.0.1.1.
func address(claimed, remote netip.Addr, from string) netip.Addr {
	switch {
	case !remote.IsValid():
		return claimed
	case from == "connection", !claimed.IsValid(), isLocal(claimed) && !isLocal(remote):
		return remote
	}
	return claimed
}

func isLocal(addr netip.Addr) bool {
	return addr.IsLoopback() || addr.IsUnspecified() || addr.IsLinkLocalUnicast()
}

// labels appends those of tags that become tags of metrics.
func labels(dst []liveness.Label, tags []wire.Label, keys []string) []liveness.Label {
	for _, tag := range tags {
		if slices.Contains(keys, tag.Key) {
			dst = append(dst, liveness.Label(tag))
		}
	}
	return dst
}

func status(b *wire.Beat) liveness.Status {
	switch {
	case b.Leaving():
		return liveness.SaysLeaving
	case b.Dead():
		return liveness.SaysDead
	}
	return liveness.SaysAlive
}

// healthOf returns what a status says beyond alive, leaving and dead.
func healthOf(status string) liveness.Health {
	switch strings.ToLower(status) {
	case wire.StatusAlive, wire.StatusLeaving, wire.StatusDead:
		return liveness.HealthUntold
	case "ok", "up":
		return liveness.HealthOK
	case "warn", "warning", "degraded":
		return liveness.HealthWarning
	case "fail", "error", "critical":
		return liveness.HealthCritical
	}
	return liveness.HealthOther
}

func milliseconds(n int64) time.Duration {
	const longest = int64(1<<63-1) / int64(time.Millisecond)
	return time.Duration(min(n, longest)) * time.Millisecond
}
