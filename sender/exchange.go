package sender

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

const (
	answerTime = 500 * time.Millisecond // for a goodbye over the link that there is
	retryPause = time.Second            // at least, between two dials
	othersTime = time.Second            // for an answer, where another address may do better

	// When somebody waits for the end of the sender:
	fastTime  = time.Second           // in all, and for a connection that is being made
	fastRetry = fastTime / 2         // for an answer, before another link is tried
	successTime  = 60 * time.Millisecond // likewise after a success; also for the name server then
)

// leave says the last words, over the link that there is or over new ones.
func (s *session) leave(ctx context.Context) {
	s.refresh()
	if s.sender.Hurry {
		s.leaveFast(ctx)
		return
	}
	ctx, cancel := context.WithTimeoutCause(ctx, goodbyeTime, errGoodbyeLate)
	defer cancel()
	s.sendBeats(unsent)
	if s.awaitEnds(ctx, answerTime) {
		return
	}
	if err := s.deliver(ctx, unheardEnd); err != nil {
		s.warnf("goodbye was not delivered: %v", err)
	}
}

// goodbyeTime is how long the last words may take in all.
func (s *session) goodbyeTime() time.Duration {
	if s.sender.Hurry {
		return fastTime
	}
	return goodbyeTime
}

// lastPatience is how long a write may take once the sender has ended.
func (s *session) lastWriteTime() time.Duration {
	if s.sender.Hurry {
		return successTime / 2
	}
	return answerTime
}

// hurry says the last words over the link that there is, or over the next one
// if that comes soon. A link that was there may turn out to be none. A success
// is not worth a wait: what is written and not answered has most likely arrived.
func (s *session) leaveFast(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, fastTime)
	defer cancel()
	s.leavingFast = true
	success := s.allSucceeded()
	patience := fastRetry
	if success {
		patience = successTime
	}
	for range 2 {
		if s.newest() != nil {
			s.sendBeats(unheardEnd)
		} else if err := s.connectNow(ctx, success); err != nil {
			s.warnf("goodbye was not delivered: %v", err)
			return
		}
		link := s.newest()
		if link != nil {
			link.finish()
		}
		if s.awaitEnds(ctx, patience) || success && s.newest() != nil {
			return
		}
		if link != nil && link == s.newest() {
			s.drop(link, errUnanswered)
		}
	}
	s.warnf("goodbye was not delivered to %s: %v", s.server, s.lost)
}

// connectNow waits for the dial that goes on, or for another one, and says what
// is due over the new link. In a hurry it does not wait for a name server.
func (s *session) connectNow(ctx context.Context, success bool) error {
	if !s.dialing {
		s.dial(ctx)
	}
	var resolved <-chan time.Time
	if success {
		resolved = time.After(successTime)
	}
	for {
		select {
		case d := <-s.dialed:
			s.connected(ctx, d)
			return d.err
		case <-resolved:
			if !s.route.dialing() {
				return fmt.Errorf("no address of %s is known", s.server)
			}
		case <-ctx.Done():
			return fmt.Errorf("connecting to %s takes longer than %s", s.server, fastTime)
		}
	}
}

// awaitHeard waits until the last words are acknowledged, over the link that
// there is.
func (s *session) awaitEnds(ctx context.Context, patience time.Duration) bool {
	enough := time.After(patience)
	for !s.endsAcked() && s.newest() != nil {
		select {
		case e := <-s.events:
			s.handle(e)
		case <-enough:
			return false
		case <-ctx.Done():
			return false
		}
	}
	return s.endsAcked()
}

// finished reports whether all that is left to say is that jobs have ended with
// success.
func (s *session) allSucceeded() bool {
	for i := range s.reports {
		if s.reports[i].ended() && !s.reports[i].succeeded() {
			return false
		}
	}
	return true
}

// isHeard tells whether no last words are left to say.
func (s *session) endsAcked() bool {
	for i := range s.reports {
		if unheardEnd(&s.reports[i], &s.deliveries[i]) {
			return false
		}
	}
	return true
}

// adopt makes l speak for peers without anybody who could Tell more of them.
func (s *session) speakFor(peers []Peer) {
	for _, p := range peers {
		s.reports = append(s.reports, report{Peer: p, version: 1})
	}
	s.deliveries = make([]delivery, len(peers))
}

// once delivers one beat for each peer.
func (s *session) once(ctx context.Context, peers []Peer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer s.closeAll()
	defer cancel()
	defer context.AfterFunc(ctx, func() { s.interrupt(0) })()
	s.speakFor(peers)
	return s.deliver(ctx, due)
}

// deliver sends one batch over links of its own, one after the other,
// until it is acknowledged or refused or ctx ends.
func (s *session) deliver(ctx context.Context, which choice) error {
	var last error
	for {
		dialed := time.Now()
		err := s.exchange(ctx, which).Err
		switch {
		case err == nil || isFinal(err):
			return err
		case last == nil || ctx.Err() == nil: // else it says only that time is over
			last = err
		}
		select {
		case <-time.After(time.Until(dialed.Add(retryPause + spread(retryPause/2)))):
		case <-ctx.Done():
			return last
		}
	}
}

// An Exchange is what became of beats that were sent over a connection of
// their own.
type Exchange struct {
	Server     string
	Local      string               // address
	Remote     string               // address; empty if there was no connection
	Connecting time.Duration        // how long that took
	RoundTrip  time.Duration        // until the first answer
	At         time.Time            // when that came
	Ahead      time.Duration        // how far the time that had to be told is ahead of ours; 0 if it had not
	Dead       []string             // name servers that did not answer
	Resolved   []string             // addresses that the name of the server has; none if it is an address itself
	TLS        *tls.ConnectionState // nil without
	Answers    []wire.Answer        // to the peers that live, then to the others, as far as they came; none to datagrams
	Err        error                // a RefusedError if one of the answers is an error, else an UnknownError if a goodbye was for nobody
}

// exchange has beats answered. It tries again if that was only a matter of the
// clock of this host or of what the collector is called: over the connection
// that there is, or over another one if that was closed because of it.
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
	x.Ahead = s.clock.ahead
	return x
}

// exchangeOnce connects, sends a batch and waits until each of its beats is
// answered. It reports whether another connection is worth a try.
func (s *session) exchangeOnce(ctx context.Context, which choice) (x *Exchange, corrected bool) {
	x = &Exchange{Server: s.server.url}
	begin := time.Now()
	d := s.route.connect(ctx, lookupTime+tryTime, false)
	x.Resolved, x.Dead = s.route.found()
	if d.err != nil {
		x.Err = s.failed(ctx, "connecting to", d.err)
		return x, false
	}
	defer d.conn.Close()
	x.Connecting, x.Local, x.Remote = time.Since(begin), nameOf(d.conn.LocalAddr()), nameOf(d.conn.RemoteAddr())
	if secure, ok := d.conn.(*secured); ok {
		state := secure.ConnectionState()
		x.TLS = &state
	}
	if s.route.hasOther(d.address) { // which may do better
		limited, cancel := context.WithTimeoutCause(ctx, othersTime, errOthers)
		defer cancel()
		ctx = limited
	}
	cancelled := context.AfterFunc(ctx, func() { d.conn.Close() })
	defer cancelled()
	return x, s.askAll(ctx, x, newLink(d.conn, d.address), which)
}

// askAll has beats answered over one link. It reports whether that has broken
// after something was corrected.
func (s *session) askAll(ctx context.Context, x *Exchange, link *link, which choice) (corrected bool) {
	reader := wire.NewReader(link, wire.MaxAnswer)
	for {
		x.Answers, x.Err = nil, nil
		err := s.ask(ctx, x, link, reader, which)
		corrected = slices.ContainsFunc(x.Answers, func(a wire.Answer) bool { return a.Error != "" && s.correct(&a) })
		if err != nil {
			x.Err = err
			if len(x.Answers) == 0 {
				s.route.unanswered(link.address)
				s.recipient.hungUp = s.sender.signs() && len(s.reports) > 1
			}
			return corrected
		}
		if !corrected {
			return false
		}
	}
}

// ask sends beats and takes in the answers to all of them.
func (s *session) ask(ctx context.Context, x *Exchange, link *link, reader *wire.Reader, which choice) error {
	beats := s.compose(which, link)
	if len(beats) == 0 {
		return errNothingDue
	}
	for i := range beats {
		beats[i].Ack = true
	}
	begin := time.Now()
	if err := s.writeBeats(link, beats, goodbyeTime); err != nil {
		return s.failed(ctx, "sending to", err)
	}
	unknown := &UnknownError{Server: s.server.url}
	for _, beat := range beats {
		answer, err := answerTo(&beat, reader)
		if err != nil {
			return s.failed(ctx, "waiting for the answer of", err)
		}
		if len(x.Answers) == 0 {
			x.At = time.Now()
			x.RoundTrip = x.At.Sub(begin)
			s.route.answered(link.address)
		}
		x.Answers = append(x.Answers, answer)
		switch {
		case answer.Error == "":
			s.accepted(&answer)
			unknown.note(&beat, &answer)
		case x.Err == nil:
			x.Err = &RefusedError{Server: s.server.url, Text: answer.Error}
		}
		if beat.Cancel && answer.Error == "" && answer.Collector == "" && x.Err == nil {
			x.Err = fmt.Errorf("%s %w", s.server, errTooOld)
		}
	}
	if x.Err == nil && len(unknown.Peers) > 0 {
		x.Err = unknown
	}
	return nil
}

// isFinal reports whether a collector would say the same once more.
func isFinal(err error) bool {
	var refused *RefusedError
	var unknown *UnknownError
	return errors.As(err, &refused) || errors.As(err, &unknown) || errors.Is(err, errTooOld)
}

// answerTo reads the answer to beat. Answers come in the order of the beats.
func answerTo(beat *wire.Beat, from *wire.Reader) (wire.Answer, error) {
	payload, err := from.Next()
	if err != nil {
		return wire.Answer{}, err
	}
	if !from.Framed() {
		return wire.Answer{}, notOurs(payload)
	}
	answer, err := wire.DecodeAnswer(payload)
	if err == nil && answer.Error == "" && answer.Seq != beat.Seq {
		err = fmt.Errorf("it acknowledges beat %d, not %d", answer.Seq, beat.Seq)
	}
	return answer, err
}

// notOurs is the error about an answer of something else than a collector.
func notOurs(payload []byte) error {
	return fmt.Errorf("what it answers is no heartbeat protocol: %.64q", payload)
}

// failed says what was being done. When ctx has ended, that is why: what the
// closed connection says about itself helps nobody.
func (s *session) failed(ctx context.Context, doing string, err error) error {
	var unresolved *resolveError
	if errors.As(err, &unresolved) {
		return err
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if errors.Is(err, io.EOF) {
		err = errHungUp
	}
	return fmt.Errorf("%s %s failed: %w", doing, s.server, err)
}
