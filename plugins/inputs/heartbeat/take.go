package heartbeat

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/influxdata/telegraf"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/judge"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/loglimit"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/serve"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/verify"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/web"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// A receiver passes a payload from its connection to the judge, and returns the answer.
type receiver struct {
	judge          *judge.Judge
	rules          verify.Rules
	tagKeys        []string
	fromConnection bool // the address of a beat is that of its connection

	pool sync.Pool // of *buffers
}

// buffers are needed only while a payload is being processed.
type buffers struct {
	decoder wire.Decoder
	beat    judge.Beat
}

// A stream is kept with each connection and each datagram socket.
type stream struct {
	latest  wire.Latest     // the latest beat
	handle  liveness.Handle // of the peer of that beat
	printer judge.Printer
}

// receive verifies and judges one payload.
func (r *receiver) receive(payload []byte, from *serve.Origin) serve.Reply {
	b, ok := r.pool.Get().(*buffers)
	if !ok {
		b = new(buffers)
	}
	defer r.pool.Put(b) // it keeps parts of this beat until it is used again or freed
	s := streamOf(from)
	defer s.latest.Trim()
	signer, refusal := r.rules.Read(payload, &b.decoder, &s.latest, &verify.Speaker{
		Certificate: from.Certificate, Remote: from.Remote, PID: from.PID, Datagram: from.Conn == 0,
	})
	if refusal != nil {
		return refusalReply(refusal)
	}
	beat := &s.latest.Beat
	outcome, refusal := r.decide(&b.beat, beat, &judge.Speaker{
		Conn: liveness.ConnID(from.Conn), Handle: s.handle, Remote: from.Remote, PID: from.PID, User: from.User,
		AtRemote: r.fromConnection, Signed: signer != "", Verified: signer != "" || r.rules.Host, Printer: &s.printer,
	})
	if refusal != nil {
		return refusalReply(refusal)
	}
	reply := serve.Reply{Recorded: !beat.Check, Interval: b.beat.Interval, Silence: outcome.Silence.Dead}
	if beat.Ack || beat.Check {
		reply.Answer = r.answer(&b.beat, beat.Seq, &outcome)
	}
	if beat.Check {
		return reply
	}
	s.handle = outcome.Handle
	if signer != "" {
		r.rules.Recipient.Note(beat.To, b.beat.ID.Source, from.From())
	}
	return reply
}

// streamOf returns the stream of a connection or socket.
func streamOf(from *serve.Origin) *stream {
	s, ok := from.Held.(*stream)
	if !ok {
		s = new(stream)
		from.Held = s
	}
	return s
}

// decide passes a beat to the judge, which records nothing if the beat is only a check.
func (r *receiver) decide(b *judge.Beat, beat *wire.Beat, from *judge.Speaker) (out liveness.Outcome, refusal *wire.Refusal) {
	if refusal := b.Set(beat, from, r.tagKeys); refusal != nil {
		return out, refusal
	}
	if beat.Check {
		out = r.judge.Consider(b)
	} else {
		out = r.judge.Observe(b)
	}
	refusal = b.Refusal(&out)
	return out, refusal
}

// refusalReply returns the reply to a refused payload. A sender is not to blame if one of its peers
// is not accepted: it may beat for others over the same connection.
func refusalReply(refusal *wire.Refusal) serve.Reply {
	return serve.Reply{Refusal: refusal, Blameless: refusal.Reason == judge.ReasonUnknownPeer || isTemporary(refusal.Reason)}
}

// isTemporary reports whether a beat that was refused for this reason may be accepted later: the
// reason is a limit, or the sender could not know the id of the collector yet.
func isTemporary(reason wire.Reason) bool {
	return slices.Contains([]wire.Reason{judge.ReasonMaxPeers, judge.ReasonMaxPerHost, verify.ReasonRecipient}, reason)
}

// answer returns the answer to an accepted beat.
func (r *receiver) answer(b *judge.Beat, seq int64, out *liveness.Outcome) *wire.Answer {
	answer := &wire.Answer{Seq: seq, DeadAfterMS: out.Silence.Dead.Milliseconds(), Rule: out.Silence.Rule, ID: b.ID.String()}
	if out.Fate == liveness.UnknownPeer {
		answer.Unknown, answer.Near = true, r.near(b.ID)
	}
	return answer
}

// near returns the names of known peers that a goodbye for an unknown peer may have meant,
// if its sender may send beats for them.
func (r *receiver) near(id liveness.ID) []string {
	near := r.judge.Near(id)
	if r.rules.Host {
		own := id.Source + "/"
		near = slices.DeleteFunc(near, func(name string) bool { return !strings.HasPrefix(name, own) })
	}
	return near
}

// ended passes the end of a connection to the judge.
func (r *receiver) ended(conn serve.ConnID, how serve.End, from netip.Addr) {
	r.judge.ConnEnded(liveness.ConnID(conn), ends[how], from)
}

// Conversions from values of serve to values of liveness.
var (
	ends = [...]liveness.End{
		serve.EndedByUs: liveness.EndedByUs, serve.Closed: liveness.Closed, serve.Reset: liveness.Reset, serve.GivenUp: liveness.GivenUp,
	}
	paths = [...]liveness.Path{
		serve.PathUnknown: liveness.PathUnknown, serve.PathAnswers: liveness.PathAnswers, serve.PathIsSilent: liveness.PathIsSilent,
	}
)

// refusals counts and logs refusals.
type refusals struct {
	log   telegraf.Logger
	total atomic.Int64
	limit loglimit.ByPlace
}

// note records a refusal. from is an address, with a port if it has one.
func (r *refusals) note(reason wire.Reason, from, text string) {
	r.total.Add(1)
	if more, ok := r.limit.Allow(string(reason), from, time.Now()); ok {
		text = strings.TrimPrefix(text, string(reason)+": ") // the key of the beat has the name of the reason
		r.log.Warnf("Refused %s, %s: %s%s", from, reason, wire.Printable(text), more)
	}
}

// socketReasons returns all reasons for which anything but an HTTP request is refused.
func socketReasons() []wire.Reason {
	return slices.Concat(wire.Reasons(), serve.Reasons(), verify.Reasons(), judge.Reasons())
}

// allReasons returns all reasons for which anything is refused.
func allReasons() []wire.Reason { return append(socketReasons(), web.Reasons()...) }
