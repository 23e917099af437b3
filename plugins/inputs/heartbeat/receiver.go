package heartbeat

import (
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// A receiver takes in payloads, and knows where they come from.
type receiver struct {
	listener *listener
	conn     liveness.ConnID // 0 for datagrams
	origin
	remote netip.Addr // of origin; invalid on unix sockets

	certificate *x509.Certificate // of the other side, verified; nil if it has shown none

	said   wire.Latest     // the latest beat
	handle liveness.Handle // of whom it was about
	nobody bool            // it was a goodbye for a peer that is not known

	source     netip.Addr // sourceText in its other form
	sourceText string

	*workbench // nil while there is nothing to take in
}

// An origin is where payloads come from.
type origin struct {
	addr net.Addr
	credentials
}

// credentials are what the kernel says of the process on the other side of a Unix
// socket, in our own namespaces.
type credentials struct {
	pid   uint32 // 0 if the kernel does not say, or cannot in our namespace
	user  uint32 // 0 if it does not say, and for root
	known bool   // it says
}

// from returns what to call it in messages.
func (o *origin) from() string {
	if o.known {
		return fmt.Sprintf("uid %d over %s", o.user, nameOf(o.addr))
	}
	return nameOf(o.addr)
}

// take judges one payload and returns what silence is allowed after it. A
// refusal says why it is not accepted.
func (r *receiver) take(payload []byte) (liveness.Silence, *wire.Refusal) {
	plugin := r.listener.plugin
	object, signer, refusal := plugin.ring.open(payload)
	if refusal != nil {
		return liveness.Silence{}, refusal
	}
	if err := r.decoder.Decode(object, &r.said); err != nil {
		return liveness.Silence{}, wire.AsRefusal(err)
	}
	beat := &r.said.Beat
	if refusal := r.verify(beat, signer); refusal != nil {
		return liveness.Silence{}, refusal
	}
	if !r.beat.set(r) {
		return liveness.Silence{}, &wire.Refusal{Reason: reasonNobody, Text: "beat names no host and its connection has no address"}
	}
	r.beat.Signed = signer != ""
	outcome := r.observe(beat.Check)
	r.nobody = outcome.Fate == liveness.Nobody
	if refusal := r.refusalOf(&outcome); refusal != nil {
		return outcome.Silence, refusal
	}
	if beat.Check {
		return outcome.Silence, nil
	}
	if signer != "" {
		plugin.recipient.note(beat.To, r.beat.ID.Source, r.from())
	}
	r.listener.beats.Add(1)
	return outcome.Silence, nil
}

// refusalOf returns why the beat was not accepted, or nil if it was.
func (r *receiver) refusalOf(outcome *liveness.Outcome) *wire.Refusal {
	switch outcome.Fate {
	case liveness.Full:
		return refuse(reasonMaxPeers, "as many peers as allowed are known ('max_peers')")
	case liveness.FullHost:
		return refuse(reasonMaxPerHost, "as many peers as allowed are known of host %s ('max_peers_per_host')", r.beat.ID.Source)
	case liveness.Replayed:
		return replayed(&r.said.Beat, outcome.After)
	case liveness.Foreign:
		return refuse(reasonUser, "peer %s belongs to another user than uid %d: until it has left, only root may speak for it too", r.beat.ID, r.user)
	}
	return nil
}

func refuse(reason wire.Reason, format string, args ...any) *wire.Refusal {
	return &wire.Refusal{Reason: reason, Text: fmt.Sprintf(format, args...)}
}

// blameless holds for refusals that are no fault of the sender: a limit, or a
// collector whose id it cannot know yet.
func blameless(reason wire.Reason) bool {
	return reason == reasonMaxPeers || reason == reasonMaxPerHost || reason == reasonRecipient
}

// answer returns what to answer to the beat that was taken.
func (r *receiver) answer(silence liveness.Silence) *wire.Answer {
	answer := &wire.Answer{Seq: r.said.Seq, DeadAfterMS: silence.Dead.Milliseconds(), Rule: silence.Rule, ID: r.beat.ID.String()}
	if r.nobody {
		answer.Unknown, answer.Near = true, r.near()
	}
	return answer
}

// near returns the names of peers that a goodbye for nobody may have meant, as
// far as its sender may speak for them.
func (r *receiver) near() []string {
	near := r.listener.plugin.intake.near(r.beat.ID)
	if r.listener.plugin.HostFrom == "verified" {
		own := r.beat.ID.Source + "/"
		near = slices.DeleteFunc(near, func(name string) bool { return !strings.HasPrefix(name, own) })
	}
	return near
}

// text prints addr. A stream mostly speaks for one, which costs memory only
// once.
func (r *receiver) text(addr netip.Addr) string {
	if r.source != addr {
		r.source, r.sourceText = addr, addr.String()
	}
	return r.sourceText
}

// observe has the beat judged, or only looked at.
func (r *receiver) observe(check bool) liveness.Outcome {
	in := r.listener.plugin.intake
	if check {
		return in.consider(&r.beat.Beat)
	}
	r.beat.Conn = r.conn
	outcome := in.observe(&r.beat)
	r.handle = outcome.Handle
	return outcome
}

// replayed says what is wrong with a beat that may have been said before.
func replayed(beat *wire.Beat, after int64) *wire.Refusal {
	r := &wire.Refusal{Reason: reasonReplay, After: after}
	if after == 0 {
		r.Text = fmt.Sprintf("seq: %d is not above what was heard in this run", beat.Seq)
	} else {
		r.Text = fmt.Sprintf("sent_ms: %d is too far off, or not later than what was heard: after %d it would do ('replay_window')", beat.SentMS, after)
	}
	return r
}

// verify compares what a beat says of itself with what is known of where it
// comes from and of who has signed it.
func (r *receiver) verify(beat *wire.Beat, signer string) *wire.Refusal {
	plugin := r.listener.plugin
	if refusal := r.verifySigned(beat, signer); refusal != nil {
		return refusal
	}
	switch {
	case plugin.HostFrom == "verified" && beat.Host == "":
		return refuse(reasonHost, "host: missing, it is what is verified ('host_from')")
	case plugin.HostFrom == "verified" && signer != beat.Host && !certified(r.certificate, beat.Host):
		return refuse(reasonHost, "host: %q has neither certified nor signed this ('host_from')", beat.Host)
	case plugin.IPFrom == "verified" && beat.IP.IsValid() && beat.IP != r.remote:
		return refuse(reasonIP, "ip: %s comes from %s ('ip_from')", beat.IP, r.from())
	case plugin.IPFrom == "verified" && beat.HostAddr().IsValid() && beat.HostAddr() != r.remote:
		return refuse(reasonIP, "host: the address %s comes from %s ('ip_from')", beat.Host, r.from())
	case r.pid != 0 && beat.PID != 0 && !beat.Watched && !calls(r.pid, beat.PID):
		return refuse(reasonPID, "pid: %d is not that of the process that says so, %d", beat.PID, r.pid)
	}
	return nil
}

// verifySigned checks what a signature asks of a beat. The signature itself is
// right.
func (r *receiver) verifySigned(beat *wire.Beat, signer string) *wire.Refusal {
	plugin := r.listener.plugin
	switch {
	case signer == "" && plugin.RequireSignature:
		return refuse(reasonUnsigned, "beat is not signed ('require_signature')")
	case signer == "":
		return nil
	case beat.Run == "" || beat.Seq == 0 || beat.SentMS == 0:
		return refuse(wire.ReasonMissing, "run, seq, sent_ms: a signed beat needs them all")
	case beat.Service == "" && beat.PID != 0:
		return refuse(wire.ReasonMissing, "service: a signed beat needs it, unless pid is 0")
	}
	if text := plugin.recipient.refuses(beat.To, r.conn == 0); text != "" {
		return refuse(reasonRecipient, "%s", text)
	}
	return nil
}

// survive tells of a mistake of ours. It is deferred: a panic costs the
// connection or the datagram that is being served.
func (r *receiver) survive() {
	if cause := recover(); cause != nil { //nolint:revive // it is deferred, elsewhere
		r.listener.refuse(reasonPanic, r.from(), "internal error, please report the stack that follows")
		r.listener.plugin.Log.Errorf("Serving %s failed: %v\n%s", r.from(), cause, debug.Stack())
	}
}
