package sender

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

const (
	retryPause = time.Second // minimum between two dials of one delivery
	othersTime = time.Second // limit for an answer if there is another address to try
)

var errOthers = fmt.Errorf("no answer for %s", othersTime)

// An Exchange is the result of beats that were sent over their own connection.
// Fields of steps that were not reached are zero.
type Exchange struct {
	Server          string               // URL
	Resolved        []string             // addresses of its host; nil if the URL has an address
	DeadNameServers []string             // name servers that did not answer
	Local, Remote   string               // addresses of the connection
	Connecting      time.Duration        // time to connect, TLS included
	TLS             *tls.ConnectionState // nil without TLS
	RoundTrip       time.Duration        // time from sending to the first answer
	AnsweredAt      time.Time            // time of the first answer, by the clock of this host
	ClockAhead      time.Duration        // correction of the clock that was needed; 0 for none

	// Answers are the answers for living peers, then the answers for peers that
	// have ended, each in the order of Peers, as far as they came. Datagrams have
	// none.
	Answers []Answer

	// Err is nil if every beat was accepted. It wraps a *RefusedError for the
	// first refused beat, else an *UnknownError for goodbyes of peers that the
	// collector does not know.
	Err error
}

// An Answer is the answer of a collector about one peer. Its strings may contain
// anything: filter them before they reach a terminal.
type Answer struct {
	Error     string        // why the beat was refused; empty if it was accepted
	Peer      string        // name of the peer at the collector, such as web-1/nginx
	DeadAfter time.Duration // silence after which the peer is dead
	Rule      string        // what determines DeadAfter, such as interval
	Time      time.Time     // by the collector's clock, in ms; zero if not reported
}

func answersFrom(answers []wire.Answer) []Answer {
	var all []Answer
	for i := range answers {
		a := &answers[i]
		public := Answer{Error: a.Error, Peer: a.ID, DeadAfter: deadAfter(a), Rule: a.Rule}
		if a.NowMS != 0 {
			public.Time = time.UnixMilli(a.NowMS)
		}
		all = append(all, public)
	}
	return all
}

// withPeers runs do in this session for peers that are never updated.
func (s *session) withPeers(ctx context.Context, peers []Peer, do func(context.Context, choice) *Exchange) *Exchange {
	ctx, cancel := context.WithCancel(ctx)
	defer s.closeAll()
	defer cancel()
	defer context.AfterFunc(ctx, func() { s.interrupt(0) })()
	s.beatFor(peers)
	return do(ctx, due)
}

// deliver repeats the exchange until the beats are acknowledged or refused, or
// ctx ends. It returns the most informative exchange.
func (s *session) deliver(ctx context.Context, which choice) *Exchange {
	var last *Exchange
	for {
		dialed := time.Now()
		x := s.exchange(ctx, which)
		switch {
		case x.Err == nil || isFinal(x.Err):
			return x
		case last == nil || ctx.Err() == nil: // else it only reports the timeout
			last = x
		}
		select {
		case <-time.After(time.Until(dialed.Add(retryPause + randomPart(retryPause/2)))):
		case <-ctx.Done():
			return last
		}
	}
}

// exchange sends beats and reads the answers. If a refusal was only about the
// clock of this host or the id of the collector, it corrects that and retries: over
// the same connection, or over a new one if that was closed.
func (s *session) exchange(ctx context.Context, which choice) *Exchange {
	if s.server.datagrams() {
		return s.exchangeDatagrams(ctx, which)
	}
	if s.recipient.hungUp {
		if x := s.exchangeCorrected(ctx, s.oneUntilAccepted(which)); x.Err != nil {
			return x
		}
	}
	return s.exchangeCorrected(ctx, which)
}

func (s *session) exchangeCorrected(ctx context.Context, which choice) *Exchange {
	x, corrected := s.exchangeOnce(ctx, which)
	for corrected {
		x, corrected = s.exchangeOnce(ctx, which)
	}
	x.ClockAhead = s.clock.ahead
	return x
}

// exchangeOnce connects, sends a batch and waits for the answer to each beat. It
// reports whether a retry over another connection may succeed.
func (s *session) exchangeOnce(ctx context.Context, which choice) (x *Exchange, corrected bool) {
	x = &Exchange{Server: s.server.url}
	begin := time.Now()
	d := s.route.connect(ctx, lookupTime+tryTime, false)
	x.Resolved, x.DeadNameServers = s.route.found()
	if d.err != nil {
		x.Err = s.failed(ctx, "connecting to", d.err)
		return x, false
	}
	defer d.conn.Close()
	x.connectedBy(d.conn, begin)
	if s.route.hasOther(d.address) { // another address may answer
		limited, cancel := context.WithTimeoutCause(ctx, othersTime, errOthers)
		defer cancel()
		ctx = limited
	}
	cancelled := context.AfterFunc(ctx, func() { d.conn.Close() })
	defer cancelled()
	return x, s.askAll(ctx, x, newLink(d.conn, d.address), which)
}

// connectedBy records the details of a connection.
func (x *Exchange) connectedBy(conn net.Conn, begin time.Time) {
	x.Connecting = time.Since(begin)
	x.Local, x.Remote = nameOf(conn.LocalAddr()), nameOf(conn.RemoteAddr())
	if secure, ok := conn.(*secured); ok {
		state := secure.ConnectionState()
		x.TLS = &state
	}
}

// nameOf returns a name for an address; the address of a unix socket may be empty.
func nameOf(addr net.Addr) string {
	if addr == nil || addr.String() == "" {
		return "a unix socket"
	}
	return addr.String()
}

// askAll sends beats and reads the answers over one link. It reports whether the
// link broke after a correction.
func (s *session) askAll(ctx context.Context, x *Exchange, link *link, which choice) (corrected bool) {
	reader := wire.NewReader(link.conn, wire.MaxAnswer)
	for {
		answers, err := s.ask(ctx, x, link, reader, which)
		x.Answers = answersFrom(answers)
		corrected = slices.ContainsFunc(answers, func(a wire.Answer) bool { return a.Error != "" && s.correct(&a) })
		switch {
		case err != nil:
			x.Err = err
			if len(answers) == 0 {
				s.route.unanswered(link.address)
				s.recipient.hungUp = s.sender.Key.isSet() && len(s.reports) > 1
			}
			return corrected
		case !corrected:
			return false
		}
	}
}

// ask sends beats and reads the answers to all of them. It sets x.Err to their
// outcome, and returns an error if the link broke.
func (s *session) ask(ctx context.Context, x *Exchange, link *link, reader *wire.Reader, which choice) (answers []wire.Answer, err error) {
	beats := s.compose(which, link)
	if len(beats) == 0 {
		return nil, errNothingDue
	}
	for i := range beats {
		beats[i].Ack = true
	}
	begin := time.Now()
	if err := s.writeBeats(link, beats, goodbyeTime); err != nil {
		return nil, s.failed(ctx, "sending to", err)
	}
	for i := range beats {
		answer, err := answerTo(&beats[i], reader)
		if err != nil {
			return answers, s.unanswered(ctx, err)
		}
		if i == 0 {
			x.AnsweredAt = time.Now()
			x.RoundTrip = x.AnsweredAt.Sub(begin)
			s.route.answered(link.address)
		}
		if answer.Error == "" {
			s.accepted(&answer)
		}
		answers = append(answers, answer)
	}
	x.Err = s.outcome(beats, answers)
	return answers, nil
}

// outcome returns the error in the answers to beats, if there is one.
func (s *session) outcome(beats []wire.Beat, answers []wire.Answer) error {
	unknown := &UnknownError{Server: s.server.url}
	for i := range answers {
		switch beat, answer := &beats[i], &answers[i]; {
		case answer.Error != "":
			return &RefusedError{Server: s.server.url, Text: answer.Error}
		case beat.Cancel && answer.Collector == "":
			return fmt.Errorf("%s %w", s.server, errTooOld)
		default:
			unknown.note(beat, answer)
		}
	}
	if len(unknown.Peers) > 0 {
		return unknown
	}
	return nil
}

// answerTo reads the answer to beat. Answers come in the order of the beats.
func answerTo(beat *wire.Beat, from *wire.Reader) (wire.Answer, error) {
	answer, err := nextAnswer(from)
	if err == nil && answer.Error == "" && answer.Seq != beat.Seq {
		err = fmt.Errorf("it acknowledged beat %d, not %d", answer.Seq, beat.Seq)
	}
	return answer, err
}

// unanswered returns the error for beats that were not answered.
func (s *session) unanswered(ctx context.Context, err error) error {
	err = s.failed(ctx, "waiting for the answer from", err)
	if ctx.Err() == nil { // the connection broke
		return err
	}
	return &UnansweredError{err: err, check: s.check}
}

// failed adds the current step to an error. If ctx has ended, it uses the cause of
// that instead: the error of the closed connection would not help.
func (s *session) failed(ctx context.Context, doing string, err error) error {
	var unresolved *resolveError
	if errors.As(err, &unresolved) {
		return err
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return fmt.Errorf("%s %s failed: %w", doing, s.server, endOf(err))
}
