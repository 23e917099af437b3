package judge

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// A Beat is what a beat says together with what its connection shows.
type Beat struct {
	liveness.Beat
	wire *wire.Beat // valid until the next one of its stream is decoded
}

// A Speaker is where a beat came from, as far as that is certain.
type Speaker struct {
	Conn     liveness.ConnID // 0 for datagrams
	Handle   liveness.Handle // of the peer that it was about before
	Remote   netip.Addr      // invalid on Unix sockets
	PID      uint32          // of the process on the other side of a Unix socket; 0 if that is not known
	User     uint32          // likewise; 0 for root, too
	AtRemote bool            // addresses are taken from Remote alone
	Signed   bool
	Verified bool // it was signed, or a token or a certificate names its host
	Listed   bool // a check names its peer

	Job        string        // that begins or ends; "" if it has no name
	Begins     bool          // the job
	MaxRuntime time.Duration // of the job; 0 for no limit

	Printer *Printer
}

// A Printer prints addresses. A stream mostly speaks for one, which costs memory only
// once, and for none if its beats name their host.
type Printer struct {
	latest *printed
}

type printed struct {
	addr netip.Addr
	text string
}

func (p *Printer) text(addr netip.Addr) string {
	if p.latest == nil || p.latest.addr != addr {
		p.latest = &printed{addr, addr.String()}
	}
	return p.latest.text
}

// Set makes b of what was received, unless it names no peer. tagKeys are the labels
// that are kept.
func (b *Beat) Set(said *wire.Beat, from *Speaker, tagKeys []string) *wire.Refusal {
	host, claimed := said.Host, said.IP
	if hostAddr := said.HostAddr(); hostAddr.IsValid() { // is no name, but claims an address
		host, claimed = "", hostAddr
	}
	addr := address(claimed, from)
	if host == "" && addr.IsValid() {
		host = from.Printer.text(addr)
	}
	pid := process(said, from)
	id, ok := liveness.NewID(host, said.Service, pid)
	if !ok {
		return &wire.Refusal{Reason: ReasonNobody, Text: "beat names no host and its connection has no address"}
	}
	b.wire = said
	b.Beat = liveness.Beat{
		ID: id, Conn: from.Conn, Handle: from.Handle, Addr: addr, Remote: from.Remote, Labels: labels(b.Labels[:0], said.Tags, tagKeys),
		Process: liveness.Process{Boot: said.Boot, PID: pid, Start: milliseconds(said.StartMS)},
		Status:  status(said), Health: healthOf(said.Status), Run: said.Run, Seq: said.Seq,
		Interval: milliseconds(said.IntervalMS), Margin: milliseconds(said.GraceMS), BackIn: milliseconds(said.BackInMS), Cancel: said.Cancel,
		ExitCode: said.ExitCode, HasExitCode: said.HasExitCode, Watched: said.Watched, SentMS: said.SentMS,
		User: from.User, Signed: from.Signed, Verified: from.Verified, Listed: from.Listed,
		Job: from.Job, Begins: from.Begins, MaxRuntime: from.MaxRuntime,
	}
	return nil
}

// process returns the pid that a beat is about. A process that speaks for itself
// over a Unix socket is known by its number in our namespace: what it is called in
// its own, anybody can choose who makes one.
func process(b *wire.Beat, from *Speaker) uint32 {
	if from.PID != 0 && b.PID != 0 && !b.Watched {
		return from.PID // is verified to be one of its numbers
	}
	return b.PID
}

// address returns the address of a beat. What a sender says of itself applies,
// unless that is an address which only means something at its own host:
// gethostbyname of Debian says 127.0.1.1.
func address(claimed netip.Addr, from *Speaker) netip.Addr {
	remote := from.Remote
	switch {
	case !remote.IsValid():
		return claimed
	case from.AtRemote, !claimed.IsValid(), isLocal(claimed) && !isLocal(remote):
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
		return liveness.HealthUnreported
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

// Why this package refuses.
const (
	ReasonNobody      wire.Reason = "nobody"    // neither host nor address
	ReasonMaxPeers    wire.Reason = "max_peers" // no room for a new one
	ReasonMaxPerHost  wire.Reason = "max_peers_per_host"
	ReasonReplay      wire.Reason = "replay"       // it may have been said before
	ReasonUser        wire.Reason = "user"         // not the one that the peer belongs to
	ReasonUnknownPeer wire.Reason = "unknown_peer" // from a peer that is not known, where only known ones are accepted
)

// Reasons returns all of them.
func Reasons() []wire.Reason {
	return []wire.Reason{ReasonNobody, ReasonMaxPeers, ReasonMaxPerHost, ReasonReplay, ReasonUser, ReasonUnknownPeer}
}

// Refusal returns why b was not accepted, or nil if it was.
func (b *Beat) Refusal(out *liveness.Outcome) *wire.Refusal {
	switch out.Fate {
	case liveness.Full:
		return refuse(ReasonMaxPeers, "as many peers as allowed are known ('max_peers')")
	case liveness.FullHost:
		return refuse(ReasonMaxPerHost, "as many peers as allowed are known of host %s ('max_peers_per_host')", b.ID.Source)
	case liveness.Replayed:
		return replayed(b.wire, out.After)
	case liveness.Foreign:
		return refuse(ReasonUser, "peer %s belongs to another user than uid %d: until it has left, only root may speak for it too", b.ID, b.User)
	case liveness.Unlisted:
		return refuse(ReasonUnknownPeer, "peer %s is not known, and 'accept' is \"known\": "+
			"list it or its host in 'expect' or 'expect_files', or give it a check", b.ID)
	}
	return nil
}

func refuse(reason wire.Reason, format string, args ...any) *wire.Refusal {
	return &wire.Refusal{Reason: reason, Text: fmt.Sprintf(format, args...)}
}

// replayed says what is wrong with a beat that may have been said before.
func replayed(beat *wire.Beat, after int64) *wire.Refusal {
	if after == 0 {
		return refuse(ReasonReplay, "seq: %d is not above what was heard in this run", beat.Seq)
	}
	r := refuse(ReasonReplay, "sent_ms: %d is too far off, or not later than what was heard: "+
		"after %d it would do ('replay_window')", beat.SentMS, after)
	r.After = after
	return r
}
