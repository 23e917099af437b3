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

// A Beat is a received beat, with information about its connection.
type Beat struct {
	liveness.Beat
	wire *wire.Beat // valid until the next beat of its stream is decoded
}

// A Speaker describes the source of a beat, as far as it is verified.
type Speaker struct {
	Conn     liveness.ConnID // 0 for datagrams
	Handle   liveness.Handle // of the peer that the last beat was about
	Remote   netip.Addr      // invalid on Unix sockets
	PID      uint32          // of the process at the other end of a Unix socket; 0 if unknown
	User     uint32          // of that process; 0 also means root
	AtRemote bool            // ignore the address in the beat, use Remote
	Signed   bool
	Verified bool // a signature, token or certificate proves its host
	Listed   bool // the configuration has a check for its peer

	Job        string        // the name of the job that begins or ends; may be ""
	Begins     bool          // the job begins
	MaxRuntime time.Duration // of the job; 0 for no limit

	Printer *Printer
}

// A Printer formats addresses. It caches the latest text, because most streams carry beats
// of one address only.
type Printer struct {
	latest *cachedText
}

type cachedText struct {
	addr netip.Addr
	text string
}

func (p *Printer) text(addr netip.Addr) string {
	if p.latest == nil || p.latest.addr != addr {
		p.latest = &cachedText{addr, addr.String()}
	}
	return p.latest.text
}

// Set fills b from a received beat. It returns a refusal if the beat identifies no peer. It keeps
// only tags whose keys are in tagKeys.
func (b *Beat) Set(said *wire.Beat, from *Speaker, tagKeys []string) *wire.Refusal {
	host, claimed := said.Host, said.IP
	if hostAddr := said.HostAddr(); hostAddr.IsValid() { // an address instead of a name
		host, claimed = "", hostAddr
	}
	addr := addressOf(claimed, from)
	if host == "" && addr.IsValid() {
		host = from.Printer.text(addr)
	}
	pid := pidOf(said, from)
	id, ok := liveness.NewID(host, said.Service, pid)
	if !ok {
		return &wire.Refusal{Reason: ReasonNobody, Text: "beat has no host and its connection has no address: send host"}
	}
	b.wire = said
	b.Beat = liveness.Beat{
		ID: id, Conn: from.Conn, Handle: from.Handle, Addr: addr, Remote: from.Remote, Labels: appendLabels(b.Labels[:0], said.Tags, tagKeys),
		Process: liveness.Process{Boot: said.Boot, PID: pid, Start: milliseconds(said.StartMS)},
		Status:  statusOf(said), Health: healthOf(said.Status), Run: said.Run, Seq: said.Seq,
		Interval: milliseconds(said.IntervalMS), Margin: milliseconds(said.GraceMS), BackIn: milliseconds(said.BackInMS), Cancel: said.Cancel,
		ExitCode: said.ExitCode, HasExitCode: said.HasExitCode, Watched: said.Watched, SentMS: said.SentMS,
		User: from.User, Signed: from.Signed, Verified: from.Verified, Listed: from.Listed,
		Job: from.Job, Begins: from.Begins, MaxRuntime: from.MaxRuntime,
	}
	return nil
}

// pidOf returns the pid that a beat is about. For a process that beats for itself over a Unix
// socket, this is its pid in our namespace, because a process can choose its pid in a namespace
// that it creates.
func pidOf(b *wire.Beat, from *Speaker) uint32 {
	if from.PID != 0 && b.PID != 0 && !b.Watched {
		return from.PID // verify has checked that b.PID is the same process
	}
	return b.PID
}

// addressOf returns the address of a beat. This is the address that the sender claims, unless that
// address is only valid on the sender's own host: on Debian, gethostbyname returns 127.0.1.1.
func addressOf(claimed netip.Addr, from *Speaker) netip.Addr {
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

// appendLabels appends to dst the tags whose keys are in keys. These tags become tags of metrics.
func appendLabels(dst []liveness.Label, tags []wire.Label, keys []string) []liveness.Label {
	for _, tag := range tags {
		if slices.Contains(keys, tag.Key) {
			dst = append(dst, liveness.Label(tag))
		}
	}
	return dst
}

func statusOf(b *wire.Beat) liveness.Status {
	switch {
	case b.Leaving():
		return liveness.SaysLeaving
	case b.Dead():
		return liveness.SaysDead
	}
	return liveness.SaysAlive
}

// healthOf returns the health that a status reports. The statuses alive, leaving and dead do not
// report a health.
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

// Reasons why this package refuses beats.
const (
	ReasonNobody      wire.Reason = "nobody"    // the beat has neither host nor address
	ReasonMaxPeers    wire.Reason = "max_peers" // the limit of known peers is reached
	ReasonMaxPerHost  wire.Reason = "max_peers_per_host"
	ReasonReplay      wire.Reason = "replay"       // the beat may be a recording
	ReasonUser        wire.Reason = "user"         // the peer belongs to another user
	ReasonUnknownPeer wire.Reason = "unknown_peer" // the peer is unknown, and only known peers are accepted
)

// Reasons returns all reasons of this package.
func Reasons() []wire.Reason {
	return []wire.Reason{ReasonNobody, ReasonMaxPeers, ReasonMaxPerHost, ReasonReplay, ReasonUser, ReasonUnknownPeer}
}

// Refusal returns why b was not accepted, or nil if it was.
func (b *Beat) Refusal(out *liveness.Outcome) *wire.Refusal {
	switch out.Fate {
	case liveness.Full:
		return newRefusal(ReasonMaxPeers, "the limit of known peers is reached ('max_peers')")
	case liveness.FullHost:
		return newRefusal(ReasonMaxPerHost, "the limit of known peers on host %s is reached ('max_peers_per_host')", b.ID.Source)
	case liveness.Replayed:
		return replayRefusal(b.wire, out.After)
	case liveness.OwnedByOtherUser:
		return newRefusal(ReasonUser, "peer %s belongs to another user, not to uid %d: until it leaves, only that user or root may beat for it", b.ID, b.User)
	case liveness.Unlisted:
		return newRefusal(ReasonUnknownPeer, "peer %s is unknown, and 'accept' is \"known\": "+
			"add it or its host to 'expect' or 'expect_files', or configure a check for it", b.ID)
	}
	return nil
}

func newRefusal(reason wire.Reason, format string, args ...any) *wire.Refusal {
	return &wire.Refusal{Reason: reason, Text: fmt.Sprintf(format, args...)}
}

// replayRefusal returns the refusal of a beat that may be a recording.
func replayRefusal(beat *wire.Beat, after int64) *wire.Refusal {
	if after == 0 {
		return newRefusal(ReasonReplay, "seq: %d is not above the highest received in this run", beat.Seq)
	}
	r := newRefusal(ReasonReplay, "sent_ms: %d is outside 'replay_window', or not later than the last one received: "+
		"send a value above %d", beat.SentMS, after)
	r.After = after
	return r
}
