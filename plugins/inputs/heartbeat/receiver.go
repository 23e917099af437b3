package heartbeat

import (
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
	beat, err := r.decoder.Decode(payload)
	if err != nil {
		return taken{}, wire.AsRefusal(err)
	}
	if refusal := r.verify(beat); refusal != nil {
		return taken{}, refusal
	}
	who, ok := r.beat.set(beat, r.remote, plugin)
	if !ok {
		return taken{}, &wire.Refusal{Reason: reasonNobody, Text: "beat names no host and its connection has no address"}
	}
	t := taken{asked: beat.Ack || beat.Check, recorded: !beat.Check, interval: r.beat.Interval}
	if beat.Check {
		t.silence = plugin.intake.silence(&r.beat.Beat)
	} else {
		r.beat.Conn = r.conn
		outcome := plugin.intake.observe(&r.beat)
		if outcome.Fate == liveness.Full {
			return taken{}, &wire.Refusal{Reason: reasonMaxPeers, Text: "as many peers as allowed are known ('max_peers')"}
		}
		t.silence = outcome.Silence
		r.listener.beats.Add(1)
	}
	t.answer = wire.Answer{Seq: beat.Seq, DeadAfterMS: t.silence.Dead.Milliseconds(), Rule: t.silence.Rule, ID: who.String()}
	return t, nil
}

// verify compares what a beat says of itself with what is known of where it
// comes from.
func (r *receiver) verify(beat *wire.Beat) *wire.Refusal {
	if r.listener.plugin.IPFrom == "verified" && beat.IP.IsValid() && r.remote.IsValid() && beat.IP != r.remote {
		return &wire.Refusal{Reason: reasonIP, Text: fmt.Sprintf("ip: %s comes from %s ('ip_from')", beat.IP, r.remote)}
	}
	if r.pid != 0 && beat.PID != 0 && !beat.Watched && !calls(r.pid, beat.PID) {
		return &wire.Refusal{Reason: reasonPID, Text: fmt.Sprintf("pid: %d is not that of the process that says so, %d", beat.PID, r.pid)}
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
