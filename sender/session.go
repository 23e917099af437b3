package sender

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// logPause is the time between two things of one kind in the log, on average.
const logPause = time.Minute

// usualPatience is how long an answer may take, unless the interval or the
// allowed silence asks for something else.
const usualPatience = 2 * time.Second

// A line keeps up the connection to one server.
//
// It may hold two links. The proven one has answered before. When that falls
// silent, another is tried beside it, and the proven one is closed only when
// the other has answered: a collector that is merely slow never sees its
// connection end.
type session struct {
	sender *Sender
	server server
	route    *route

	life   string // of the sender
	number int    // of the server
	run    string

	check bool   // nothing is to be recorded
	reports []report // what the sender says
	changed  <-chan struct{}
	deliveries  []delivery // of each word
	rtt   time.Duration

	proven    *link
	tried     *link // the newest, not proven yet
	dialing   bool
	planned   bool  // retry runs
	leavingFast   bool  // with its last words
	lost      error // why the last link was given up
	pause     time.Duration
	deadAfter time.Duration // silence the server allows; 0 while not known
	dialAt    time.Time     // when it last began to dial

	recipient recipient
	clock     clock

	mu      sync.Mutex // guards what follows
	end     time.Time  // when nobody waits any longer; zero while nothing has ended
	writing net.Conn   // what was written to last

	destinations []*destination // to a server that takes datagrams, one for each of its addresses

	wg      sync.WaitGroup // dialling and listening
	dialed  chan dialResult
	events  chan event
	turn    chan struct{} // somebody asks whether keep goes round
	waiting bool
	patient *time.Timer        // runs while waiting for an answer
	retry   *time.Timer        // runs until the next dial
	logged    map[string]logTimes // when each kind of thing was logged
}

func newSession(s *Sender, url string) *session {
	server, _ := parseServer(url) //nolint:errcheck // Validate has seen it
	l := &session{
		sender: s, server: server, route: newRoute(s, server), life: newLife(), number: 1, recipient: recipientOf(server),
		logged: make(map[string]logTimes), planned: true,
		dialed: make(chan dialResult, 1), events: make(chan event), turn: make(chan struct{}),
		patient: time.NewTimer(0), retry: time.NewTimer(0),
	}
	l.run = runOf(l.life, l.number)
	l.patient.Stop()
	return l
}

// keep beats until ctx ends and then says goodbye.
func (s *session) keep(ctx context.Context) {
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer s.closeAll()
	defer cancel()
	defer context.AfterFunc(ctx, func() { s.interrupt(s.goodbyeTime()) })()

	interval := s.sender.Interval
	next := time.Now().Add(spread(interval)) // so that a fleet does not beat in step
	beat := time.NewTimer(time.Until(next))
	defer beat.Stop()
	s.refresh()
	for {
		select {
		case <-ctx.Done():
			s.leave(own)
			return
		case <-s.retry.C:
			s.planned = false
			s.dial(own)
		case d := <-s.dialed:
			s.connected(own, d)
		case e := <-s.events:
			s.handle(e)
		case <-s.patient.C:
			s.timedOut()
		case <-beat.C:
			s.sendBeats(due)
			next = following(next, interval, time.Now())
			beat.Reset(time.Until(next))
		case <-s.changed:
			s.refresh()
			s.sendBeats(unsent)
		case <-s.turn:
		}
	}
}

// following returns the next time of a schedule that is after now. What was
// missed, because the host slept, is not made up for.
func following(last time.Time, interval time.Duration, now time.Time) time.Time {
	return last.Add(interval * (max(now.Sub(last), 0)/interval + 1))
}

// patience is how long an answer may take.
func (s *session) patience() time.Duration {
	patience := max(usualPatience, s.sender.Interval/2)
	if spare := s.deadAfter - s.sender.Interval; spare > 0 {
		patience = min(patience, max(spare/3, 500*time.Millisecond))
	}
	if !s.endsAcked() { // an end is told fast, or over another link
		patience = min(patience, usualPatience)
	}
	return patience
}

// learn takes in what the sender says now.
func (s *session) refresh() {
	s.reports, s.changed = s.sender.reports.snapshot()
	s.deliveries = append(s.deliveries, make([]delivery, len(s.reports)-len(s.deliveries))...)
}

// speak sends what there is to say over the newest link, if there is one.
func (s *session) sendBeats(which choice) {
	link := s.newest()
	if link == nil {
		return
	}
	beats := s.compose(s.oneUntilAccepted(which), link)
	if len(beats) == 0 {
		return
	}
	if err := s.writeBeats(link, beats, min(s.patience(), usualPatience)); err != nil {
		s.drop(link, err)
		return
	}
	if !s.waiting {
		s.awaitAnswer()
	}
}

// send writes beats in one go. It never waits longer than patience.
func (s *session) writeBeats(link *link, beats []wire.Beat, patience time.Duration) error {
	payloads := make([][]byte, 0, len(beats))
	for i := range beats {
		payload, err := s.sender.payload(&beats[i])
		if err != nil {
			return err
		}
		payloads = append(payloads, payload)
	}
	if err := s.setWriteDeadline(link, patience); err != nil {
		return err
	}
	return link.send(payloads)
}

// allow gives what is written to conn next so much time, or less if the sender
// has ended.
func (s *session) setWriteDeadline(conn net.Conn, patience time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing = conn
	deadline := time.Now().Add(patience)
	if !s.end.IsZero() {
		deadline = earlier(time.Now().Add(s.lastWriteTime()), s.end)
	}
	return conn.SetWriteDeadline(deadline)
}

// interrupt ends a write that is stuck, because the sender has ended. What is
// still to be said has so much time.
func (s *session) interrupt(rest time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end = time.Now().Add(rest)
	if s.writing != nil { // it may be about to succeed
		s.writing.SetWriteDeadline(time.Now().Add(min(rest, s.lastWriteTime()))) //nolint:errcheck // then it is closed
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// await gives the server time to answer.
func (s *session) awaitAnswer() {
	s.waiting = true
	s.patient.Reset(s.patience())
}

func (s *session) stopWaiting() {
	s.waiting = false
	s.patient.Stop()
}

func (s *session) newest() *link {
	if s.tried != nil {
		return s.tried
	}
	return s.proven
}

// hear takes in an answer, or the end of a link.
func (s *session) handle(e event) {
	switch {
	case e.link != s.tried && e.link != s.proven:
		return // closed meanwhile
	case e.err != nil:
		s.drop(e.link, e.err)
	case e.link.owed == 0:
		s.drop(e.link, errUnasked)
	case e.answer.Error != "":
		e.link.owed--
		e.link.refused()
		s.stopWaiting()
		s.promote(e.link)
		corrected := s.correct(&e.answer)
		if !corrected || s.clock.corrected { // that a collector first tells its id is no news
			s.warnf("%v", &RefusedError{Server: s.server.url, Text: e.answer.Error})
		}
		if corrected {
			s.sendBeats(due)
		}
	default:
		e.link.owed--
		s.acknowledged(e.link, &e.answer)
	}
}

func (s *session) acknowledged(link *link, answer *wire.Answer) {
	heard, at := link.answered(answer.Seq)
	if heard == nil {
		return // it is about no beat that waits for it
	}
	for _, a := range heard {
		s.deliveries[a.report].acked = a.version
	}
	s.rtt = time.Since(at)
	if newest := s.newest(); len(newest.unanswered) > 0 {
		s.awaitAnswer() // it goes on
	} else {
		s.stopWaiting()
	}
	s.pause = 0
	first := !s.recipient.accepted
	s.accepted(answer)
	s.deadAfter = time.Duration(min(answer.DeadAfterMS, wire.MaxBackInMS)) * time.Millisecond
	if link == s.tried {
		s.infof("connected to %s as %s%s, dead after %s of silence", s.server, wire.Printable(answer.ID), s.otherPeers(), s.deadAfter)
	}
	s.promote(link)
	if first {
		s.sendBeats(unsent)
	}
}

// others tells for how many more than the last one this line speaks.
func (s *session) otherPeers() string {
	if n := len(s.reports) - 1; n > 0 {
		return fmt.Sprintf(" and %d more", n)
	}
	return ""
}

// prove notes that a link was answered: the one before it is not needed any
// more.
func (s *session) promote(answered *link) {
	if answered != s.tried {
		return
	}
	if s.proven != nil {
		s.proven.Close()
	}
	s.proven, s.tried = s.tried, nil
	s.route.answered(s.proven.address)
}

// silent is what an unanswered beat leads to.
func (s *session) timedOut() {
	s.waiting = false
	s.warnf("%s does not answer", s.server)
	if s.tried != nil {
		s.route.unanswered(s.tried.address)
		s.tried.Close()
		s.tried = nil
	}
	s.dialLater(time.Now())
}

// drop gives up a link that is broken.
func (s *session) drop(link *link, err error) {
	link.Close()
	if link == s.tried {
		s.route.unanswered(link.address)
		s.tried = nil
	}
	if link == s.proven {
		s.proven = nil
	}
	if errors.Is(err, io.EOF) {
		err = errHungUp
	}
	if s.lost = err; !s.leavingFast {
		s.warnf("connection to %s is lost: %v", s.server, err)
	}
	switch newest := s.newest(); {
	case newest == nil:
		s.stopWaiting()
		s.dialLater(time.Now())
	case len(newest.unanswered) > 0: // the other one was tried because of that
		s.dialLater(time.Now())
	}
}

// closeAll closes what is open, so that nobody listens or dials any more.
func (s *session) closeAll() {
	for _, link := range []*link{s.proven, s.tried} {
		if link != nil {
			link.Close()
		}
	}
	for _, p := range s.destinations {
		p.close()
	}
	s.wg.Wait()
	s.route.wg.Wait()
	select {
	case d := <-s.dialed:
		if d.conn != nil {
			d.conn.Close()
		}
	default:
	}
}

// sayings are when something was logged the last times, the oldest first.
type logTimes [3]time.Time

// often tells whether a kind of thing has been said enough: three times in
// three minutes. So a connection that comes and goes is seen, and one that
// does so all day fills no disk.
func (s *session) tooOften(kind string) bool {
	times, now := s.logged[kind], time.Now()
	if !times[0].IsZero() && now.Sub(times[0]) < logPause*time.Duration(len(times)) {
		return true
	}
	s.logged[kind] = logTimes{times[1], times[2], now}
	return false
}

func (s *session) infof(format string, args ...any) {
	if !s.tooOften(format) {
		s.sender.infof(format, args...)
	}
}

func (s *session) warnf(format string, args ...any) {
	if !s.tooOften(format) {
		s.sender.warnf(format, args...)
	}
}
