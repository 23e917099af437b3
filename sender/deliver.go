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
	hurryTime  = time.Second           // in all, and for a connection that is being made
	hurryRetry = hurryTime / 2         // for an answer, before another link is tried
	quickTime  = 60 * time.Millisecond // likewise after a success; also for the name server then
)

// leave says the last words, over the link that there is or over new ones.
func (l *line) leave(ctx context.Context) {
	l.learn()
	if l.sender.Hurry {
		l.hurry(ctx)
		return
	}
	ctx, cancel := context.WithTimeoutCause(ctx, goodbyeTime, errGoodbyeLate)
	defer cancel()
	l.speak(unsaid)
	if l.awaitHeard(ctx, answerTime) {
		return
	}
	if err := l.deliver(ctx, final); err != nil {
		l.warnf("goodbye was not delivered: %v", err)
	}
}

// goodbyeTime is how long the last words may take in all.
func (l *line) goodbyeTime() time.Duration {
	if l.sender.Hurry {
		return hurryTime
	}
	return goodbyeTime
}

// lastPatience is how long a write may take once the sender has ended.
func (l *line) lastPatience() time.Duration {
	if l.sender.Hurry {
		return quickTime / 2
	}
	return answerTime
}

// hurry says the last words over the link that there is, or over the next one
// if that comes soon. A link that was there may turn out to be none. A success
// is not worth a wait: what is written and not answered has most likely arrived.
func (l *line) hurry(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, hurryTime)
	defer cancel()
	l.hurries = true
	success := l.finished()
	patience := hurryRetry
	if success {
		patience = quickTime
	}
	for range 2 {
		if l.newest() != nil {
			l.speak(final)
		} else if err := l.connectNow(ctx, success); err != nil {
			l.warnf("goodbye was not delivered: %v", err)
			return
		}
		link := l.newest()
		if link != nil {
			link.finish()
		}
		if l.awaitHeard(ctx, patience) || success && l.newest() != nil {
			return
		}
		if link != nil && link == l.newest() {
			l.drop(link, errUnanswered)
		}
	}
	l.warnf("goodbye was not delivered to %s: %v", l.server, l.lost)
}

// connectNow waits for the dial that goes on, or for another one, and says what
// is due over the new link. In a hurry it does not wait for a name server.
func (l *line) connectNow(ctx context.Context, success bool) error {
	if !l.dialing {
		l.dial(ctx)
	}
	var resolved <-chan time.Time
	if success {
		resolved = time.After(quickTime)
	}
	for {
		select {
		case d := <-l.dialed:
			l.connected(ctx, d)
			return d.err
		case <-resolved:
			if !l.way.dialing() {
				return fmt.Errorf("no address of %s is known", l.server)
			}
		case <-ctx.Done():
			return fmt.Errorf("connecting to %s takes longer than %s", l.server, hurryTime)
		}
	}
}

// awaitHeard waits until the last words are acknowledged, over the link that
// there is.
func (l *line) awaitHeard(ctx context.Context, patience time.Duration) bool {
	enough := time.After(patience)
	for !l.isHeard() && l.newest() != nil {
		select {
		case e := <-l.events:
			l.hear(e)
		case <-enough:
			return false
		case <-ctx.Done():
			return false
		}
	}
	return l.isHeard()
}

// finished reports whether all that is left to say is that jobs have ended with
// success.
func (l *line) finished() bool {
	for i := range l.words {
		if l.words[i].ended() && !l.words[i].finished() {
			return false
		}
	}
	return true
}

// isHeard tells whether no last words are left to say.
func (l *line) isHeard() bool {
	for i := range l.words {
		if final(&l.words[i], &l.told[i]) {
			return false
		}
	}
	return true
}

// adopt makes l speak for peers without anybody who could Tell more of them.
func (l *line) adopt(peers []Peer) {
	for _, p := range peers {
		l.words = append(l.words, word{Peer: p, version: 1})
	}
	l.told = make([]told, len(peers))
}

// once delivers one beat for each peer.
func (l *line) once(ctx context.Context, peers []Peer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer l.closeAll()
	defer cancel()
	defer context.AfterFunc(ctx, func() { l.interrupt(0) })()
	l.adopt(peers)
	return l.deliver(ctx, due)
}

// deliver sends one batch over links of its own, one after the other,
// until it is acknowledged or refused or ctx ends.
func (l *line) deliver(ctx context.Context, which choice) error {
	var last error
	for {
		dialed := time.Now()
		err := l.exchange(ctx, which).Err
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
func (l *line) exchange(ctx context.Context, which choice) *Exchange {
	if l.server.datagrams() {
		return l.postAll(ctx, which)
	}
	if l.recipient.shy {
		if x := l.exchangeCorrected(ctx, l.introduce(which)); x.Err != nil {
			return x
		}
	}
	return l.exchangeCorrected(ctx, which)
}

func (l *line) exchangeCorrected(ctx context.Context, which choice) *Exchange {
	x, corrected := l.exchangeOnce(ctx, which)
	for corrected {
		x, corrected = l.exchangeOnce(ctx, which)
	}
	x.Ahead = l.clock.ahead
	return x
}

// exchangeOnce connects, sends a batch and waits until each of its beats is
// answered. It reports whether another connection is worth a try.
func (l *line) exchangeOnce(ctx context.Context, which choice) (x *Exchange, corrected bool) {
	x = &Exchange{Server: l.server.url}
	begin := time.Now()
	d := l.way.connect(ctx, lookupTime+tryTime, false)
	x.Resolved, x.Dead = l.way.found()
	if d.err != nil {
		x.Err = l.failed(ctx, "connecting to", d.err)
		return x, false
	}
	defer d.conn.Close()
	x.Connecting, x.Local, x.Remote = time.Since(begin), nameOf(d.conn.LocalAddr()), nameOf(d.conn.RemoteAddr())
	if secure, ok := d.conn.(*secured); ok {
		state := secure.ConnectionState()
		x.TLS = &state
	}
	if l.way.others(d.address) { // which may do better
		limited, cancel := context.WithTimeoutCause(ctx, othersTime, errOthers)
		defer cancel()
		ctx = limited
	}
	cancelled := context.AfterFunc(ctx, func() { d.conn.Close() })
	defer cancelled()
	return x, l.askAll(ctx, x, newLink(d.conn, d.address), which)
}

// askAll has beats answered over one link. It reports whether that has broken
// after something was corrected.
func (l *line) askAll(ctx context.Context, x *Exchange, link *link, which choice) (corrected bool) {
	reader := wire.NewReader(link, wire.MaxAnswer)
	for {
		x.Answers, x.Err = nil, nil
		err := l.ask(ctx, x, link, reader, which)
		corrected = slices.ContainsFunc(x.Answers, func(a wire.Answer) bool { return a.Error != "" && l.correct(&a) })
		if err != nil {
			x.Err = err
			if len(x.Answers) == 0 {
				l.way.unanswered(link.address)
				l.recipient.shy = l.sender.signs() && len(l.words) > 1
			}
			return corrected
		}
		if !corrected {
			return false
		}
	}
}

// ask sends beats and takes in the answers to all of them.
func (l *line) ask(ctx context.Context, x *Exchange, link *link, reader *wire.Reader, which choice) error {
	beats := l.compose(which, link)
	if len(beats) == 0 {
		return errNothing
	}
	for i := range beats {
		beats[i].Ack = true
	}
	begin := time.Now()
	if err := l.send(link, beats, goodbyeTime); err != nil {
		return l.failed(ctx, "sending to", err)
	}
	unknown := &UnknownError{Server: l.server.url}
	for _, beat := range beats {
		answer, err := answerTo(&beat, reader)
		if err != nil {
			return l.failed(ctx, "waiting for the answer of", err)
		}
		if len(x.Answers) == 0 {
			x.At = time.Now()
			x.RoundTrip = x.At.Sub(begin)
			l.way.answered(link.address)
		}
		x.Answers = append(x.Answers, answer)
		switch {
		case answer.Error == "":
			l.accepted(&answer)
			unknown.note(&beat, &answer)
		case x.Err == nil:
			x.Err = &RefusedError{Server: l.server.url, Text: answer.Error}
		}
		if beat.Cancel && answer.Error == "" && answer.Collector == "" && x.Err == nil {
			x.Err = fmt.Errorf("%s %w", l.server, errTooOld)
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
func (l *line) failed(ctx context.Context, doing string, err error) error {
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
	return fmt.Errorf("%s %s failed: %w", doing, l.server, err)
}
