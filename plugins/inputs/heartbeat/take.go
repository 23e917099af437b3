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

// A taker leads a payload from its connection to the judge, and the answer back.
type taker struct {
	judge          *judge.Judge
	rules          verify.Rules
	tagKeys        []string
	fromConnection bool // addresses are those of connections

	pool sync.Pool // of *buffers
}

// buffers are what taking a payload needs, and nothing else between.
type buffers struct {
	decoder wire.Decoder
	beat    judge.Beat
}

// A stream is what is kept with a connection, or with a socket of datagrams.
type stream struct {
	said    wire.Latest     // the latest beat
	handle  liveness.Handle // of the peer it was about
	printer judge.Printer
}

// take takes one payload.
func (t *taker) take(payload []byte, from *serve.Origin) serve.Reply {
	b, ok := t.pool.Get().(*buffers)
	if !ok {
		b = new(buffers)
	}
	defer t.pool.Put(b) // what it holds of the latest beat goes when it is used again, or with the pool
	s := streamOf(from)
	defer s.said.Trim()
	signer, refusal := t.rules.Read(payload, &b.decoder, &s.said, &verify.Speaker{
		Certificate: from.Certificate, Remote: from.Remote, PID: from.PID, Datagram: from.Conn == 0,
	})
	if refusal != nil {
		return refused(refusal)
	}
	said := &s.said.Beat
	outcome, refusal := t.decide(&b.beat, said, &judge.Speaker{
		Conn: liveness.ConnID(from.Conn), Handle: s.handle, Remote: from.Remote, PID: from.PID, User: from.User,
		AtRemote: t.fromConnection, Signed: signer != "", Verified: signer != "" || t.rules.Host, Printer: &s.printer,
	})
	if refusal != nil {
		return refused(refusal)
	}
	reply := serve.Reply{Recorded: !said.Check, Interval: b.beat.Interval, Silence: outcome.Silence.Dead}
	if said.Ack || said.Check {
		reply.Answer = t.answer(&b.beat, said.Seq, &outcome)
	}
	if said.Check {
		return reply
	}
	s.handle = outcome.Handle
	if signer != "" {
		t.rules.Recipient.Note(said.To, b.beat.ID.Source, from.From())
	}
	return reply
}

// streamOf returns what is kept with a connection or socket.
func streamOf(from *serve.Origin) *stream {
	s, ok := from.Held.(*stream)
	if !ok {
		s = new(stream)
		from.Held = s
	}
	return s
}

// decide has what was said judged, or only looked at.
func (t *taker) decide(b *judge.Beat, said *wire.Beat, from *judge.Speaker) (out liveness.Outcome, refusal *wire.Refusal) {
	if refusal := b.Set(said, from, t.tagKeys); refusal != nil {
		return out, refusal
	}
	if said.Check {
		out = t.judge.Consider(b)
	} else {
		out = t.judge.Observe(b)
	}
	refusal = b.Refusal(&out)
	return out, refusal
}

// refused returns what becomes of a payload that is refused. What keeps out a peer is no
// fault of its sender, which may speak for others over the same connection.
func refused(refusal *wire.Refusal) serve.Reply {
	return serve.Reply{Refusal: refusal, Blameless: refusal.Reason == judge.ReasonUnknownPeer || mayPass(refusal.Reason)}
}

// mayPass reports whether what is refused for that reason may be taken later: a limit, or a
// collector whose id the sender cannot know yet.
func mayPass(reason wire.Reason) bool {
	return slices.Contains([]wire.Reason{judge.ReasonMaxPeers, judge.ReasonMaxPerHost, verify.ReasonRecipient}, reason)
}

// answer returns what to answer to a beat that was taken.
func (t *taker) answer(b *judge.Beat, seq int64, out *liveness.Outcome) *wire.Answer {
	answer := &wire.Answer{Seq: seq, DeadAfterMS: out.Silence.Dead.Milliseconds(), Rule: out.Silence.Rule, ID: b.ID.String()}
	if out.Fate == liveness.UnknownPeer {
		answer.Unknown, answer.Near = true, t.near(b.ID)
	}
	return answer
}

// near returns the names of peers that a goodbye for a peer that is not known may have
// meant, as far as its sender may speak for them.
func (t *taker) near(id liveness.ID) []string {
	near := t.judge.Near(id)
	if t.rules.Host {
		own := id.Source + "/"
		near = slices.DeleteFunc(near, func(name string) bool { return !strings.HasPrefix(name, own) })
	}
	return near
}

// ended takes the end of a connection.
func (t *taker) ended(conn serve.ConnID, how serve.End, from netip.Addr) {
	t.judge.ConnEnded(liveness.ConnID(conn), ends[how], from)
}

// What serve sees, in the words of liveness.
var (
	ends = [...]liveness.End{
		serve.EndedByUs: liveness.EndedByUs, serve.Closed: liveness.Closed, serve.Reset: liveness.Reset, serve.GivenUp: liveness.GivenUp,
	}
	paths = [...]liveness.Path{
		serve.PathUnknown: liveness.PathUnknown, serve.PathAnswers: liveness.PathAnswers, serve.PathIsSilent: liveness.PathIsSilent,
	}
)

// refusals counts what is refused, and logs it.
type refusals struct {
	log   telegraf.Logger
	total atomic.Int64
	limit loglimit.ByPlace
}

// note takes a refusal. from is an address, with a port if it has one.
func (r *refusals) note(reason wire.Reason, from, text string) {
	r.total.Add(1)
	if more, ok := r.limit.Allow(string(reason), from, time.Now()); ok {
		text = strings.TrimPrefix(text, string(reason)+": ") // the member of the beat has the name of the reason
		r.log.Warnf("Refused %s, %s: %s%s", from, reason, wire.Printable(text), more)
	}
}

// socketReasons returns all for which anything is refused that is no request.
func socketReasons() []wire.Reason {
	return slices.Concat(wire.Reasons(), serve.Reasons(), verify.Reasons(), judge.Reasons())
}

// allReasons returns all for which anything is refused.
func allReasons() []wire.Reason { return append(socketReasons(), web.Reasons()...) }
