package heartbeat

import (
	"crypto/x509"
	"fmt"
	"net/netip"
	"runtime/debug"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// A receiver takes in payloads, and knows where they come from.
type receiver struct {
	listener *listener
	conn     liveness.ConnID // 0 for datagrams
	remote   netip.Addr      // invalid on unix sockets
	from     string          // what to call it in messages
	pid      uint32          // of the other side, as the kernel says; 0 if it does not

	certificate *x509.Certificate // of the other side, verified; nil if it has shown none

	decoder wire.Decoder
	beat    observation
}

// A taken payload is a beat that was accepted.
type taken struct {
	answer   wire.Answer
	asked    bool // for the answer
	recorded bool // as all are but those that check
	interval time.Duration
	silence  liveness.Silence
}

// take judges one payload. A refusal says why it is not accepted.
func (r *receiver) take(payload []byte) (taken, *wire.Refusal) {
	plugin := r.listener.plugin
	object, signer, refusal := plugin.ring.open(payload)
	if refusal != nil {
		return taken{}, refusal
	}
	beat, err := r.decoder.Decode(object)
	if err != nil {
		return taken{}, wire.AsRefusal(err)
	}
	if refusal := r.verify(beat, signer); refusal != nil {
		return taken{}, refusal
	}
	who, ok := r.beat.set(beat, r.remote, plugin)
	if !ok {
		return taken{}, &wire.Refusal{Reason: reasonNobody, Text: "beat names no host and its connection has no address"}
	}
	r.beat.Signed = signer != ""
	t := taken{asked: beat.Ack || beat.Check, recorded: !beat.Check, interval: r.beat.Interval}
	outcome := r.observe(beat.Check)
	switch outcome.Fate {
	case liveness.Full:
		return taken{}, &wire.Refusal{Reason: reasonMaxPeers, Text: "as many peers as allowed are known ('max_peers')"}
	case liveness.Replayed:
		return taken{}, replayed(beat, outcome.After)
	}
	t.silence = outcome.Silence
	t.answer = wire.Answer{Seq: beat.Seq, DeadAfterMS: t.silence.Dead.Milliseconds(), Rule: t.silence.Rule, ID: who.String()}
	return t, nil
}

// observe has the beat judged, or only looked at.
func (r *receiver) observe(check bool) liveness.Outcome {
	in := r.listener.plugin.intake
	if check {
		return in.consider(&r.beat.Beat)
	}
	r.beat.Conn = r.conn
	outcome := in.observe(&r.beat)
	if outcome.Fate != liveness.Full && outcome.Fate != liveness.Replayed {
		r.listener.beats.Add(1)
	}
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
	refuse := func(reason wire.Reason, format string, args ...any) *wire.Refusal {
		return &wire.Refusal{Reason: reason, Text: fmt.Sprintf(format, args...)}
	}
	switch {
	case signer == "" && plugin.RequireSignature:
		return refuse(reasonUnsigned, "beat is not signed ('require_signature')")
	case signer != "" && (beat.Run == "" || beat.Seq == 0 || beat.SentMS == 0):
		return refuse(wire.ReasonMissing, "run, seq, sent_ms: a signed beat needs them all")
	case signer != "" && beat.Service == "" && beat.PID != 0:
		return refuse(wire.ReasonMissing, "service: a signed beat needs it, unless pid is 0")
	case plugin.HostFrom == "verified" && beat.Host == "":
		return refuse(reasonHost, "host: missing, it is what is verified ('host_from')")
	case plugin.HostFrom == "verified" && signer != beat.Host && !certified(r.certificate, beat.Host):
		return refuse(reasonHost, "host: %q has neither certified nor signed this ('host_from')", beat.Host)
	case plugin.IPFrom == "verified" && beat.IP.IsValid() && beat.IP != r.remote:
		return refuse(reasonIP, "ip: %s comes from %s ('ip_from')", beat.IP, r.from)
	case r.pid != 0 && beat.PID != 0 && !beat.Watched && !calls(r.pid, beat.PID):
		return refuse(reasonPID, "pid: %d is not that of the process that says so, %d", beat.PID, r.pid)
	}
	return nil
}

// survive tells of a mistake of ours. It is deferred: a panic costs the
// connection or the datagram that is being served.
func (r *receiver) survive() {
	if cause := recover(); cause != nil { //nolint:revive // it is deferred, elsewhere
		r.listener.refuse(reasonPanic, r.from, "a mistake of the plugin, please report the stack that follows")
		r.listener.plugin.Log.Errorf("Serving %s failed: %v\n%s", r.from, cause, debug.Stack())
	}
}
