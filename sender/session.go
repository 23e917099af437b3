package sender

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// logPause is the average time between two log lines of one kind.
const logPause = time.Minute

// usualPatience is how long an answer may take, unless the interval or the
// allowed silence requires another limit.
const usualPatience = 2 * time.Second

// maxPatience limits the wait for the first answer when the interval is days long.
// It is a third of the longest margin that a collector grants by default.
const maxPatience = 20 * time.Minute

// A session is the state of a Sender for one server. In Run it keeps a connection
// up (keep), or sockets for datagrams (keepDatagrams); for Once, Leave and Check it
// makes single exchanges. One goroutine owns it, apart from the fields that mu
// guards.
//
// It may have two links. The proven link has answered before. When it falls silent,
// another link is tried beside it, and the proven one is closed only when the other
// has answered: a collector that is only slow keeps its connection.
type session struct {
	sender *Sender
	server server
	route  *route
	life   string // identifies one Run, or one call of Once, Leave or Check
	number int    // of the server, from 1
	run    string
	check  bool // the collector records nothing

	reports    []report
	deliveries []delivery      // of each report
	changed    <-chan struct{} // closed when there are other reports

	proven    *link
	answering atomic.Bool   // whether there is a proven link
	tried     *link         // the newest link, not proven yet
	lost      error         // why the last link was given up
	rtt       time.Duration // of the last acknowledged beat
	deadAfter time.Duration // silence that the server allows; 0 if unknown

	next time.Time   // when the next beat is due
	beat *time.Timer // runs until then

	dialing bool
	dialAt  time.Time // when the last dial began
	pause   time.Duration
	planned bool        // the timer retry is running
	retry   *time.Timer // runs until the next dial
	waiting bool
	patient *time.Timer // runs while s waits for an answer

	recipient recipient
	clock     clock

	leavingFast bool // in leaveFast

	mu      sync.Mutex // guards what follows
	end     time.Time  // when the sender stops waiting; zero while it is not stopping
	writing net.Conn   // what was written to last

	destinations []*destination // of datagrams, one for each address

	wg     sync.WaitGroup // dialling and listening
	dialed chan dialResult
	events chan event
	probe  chan struct{} // keep receives from it as long as it makes progress
	logged map[string]logTimes
}

// newSession returns a session for the server with this number, in one run of s.
// The URL must be valid.
func newSession(s *Sender, url, life string, number int) *session {
	server, _ := parseServer(url) //nolint:errcheck // Validate has seen it
	made := &session{
		sender: s, server: server, route: newRoute(s, server), recipient: recipientOf(server),
		life: life, number: number, run: runOf(life, number), planned: true,
		dialed: make(chan dialResult, 1), events: make(chan event), probe: make(chan struct{}),
		patient: time.NewTimer(0), retry: time.NewTimer(0), logged: make(map[string]logTimes),
	}
	made.patient.Stop()
	return made
}

// newLife returns a random name for the beats that a sender sends until it stops.
func newLife() string { return rand.Text()[:12] }

// runOf returns the member "run" of the beats to one server: LIFE.N. The collector
// judges the order of beats that have the same one.
func runOf(life string, number int) string { return life + "." + strconv.Itoa(number) }

// keep beats until ctx ends and then says goodbye.
func (s *session) keep(ctx context.Context) {
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer s.closeAll()
	defer cancel()
	defer context.AfterFunc(ctx, func() { s.interrupt(s.goodbyeTime()) })()

	s.next = time.Now().Add(randomPart(s.sender.Interval)) // so that a fleet does not beat in step
	s.beat = time.NewTimer(time.Until(s.next))
	defer s.beat.Stop()
	s.refresh()
	if s.server.datagrams() {
		s.keepDatagrams(ctx, own)
	} else {
		s.keepLink(ctx, own)
	}
}

// keepLink keeps a connection until ctx ends. own is the context of the goodbye.
// Once ctx has ended, nothing else may begin: select would choose at random, and a
// write may block.
func (s *session) keepLink(ctx, own context.Context) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-s.retry.C:
			s.planned = false
			s.dial(own)
		case d := <-s.dialed:
			s.connected(own, d)
		case e := <-s.events:
			s.handle(e)
		case <-s.patient.C:
			s.timedOut()
		case <-s.beat.C:
			s.sendBeats(due)
			s.planBeat(time.Now())
		case <-s.changed:
			s.refresh()
			s.sendBeats(unsent)
		case <-s.probe:
		}
	}
	s.leave(own)
}

// planBeat plans the next beat of the schedule after now. Beats that were missed
// while the host slept are skipped.
func (s *session) planBeat(now time.Time) {
	s.next = nextTime(s.next, s.sender.Interval, now)
	s.beat.Reset(s.next.Sub(now))
}

// nextTime returns the next time of a schedule after now.
func nextTime(last time.Time, interval time.Duration, now time.Time) time.Time {
	return last.Add(interval * (max(now.Sub(last), 0)/interval + 1))
}

// patience is how long an answer may take.
func (s *session) patience() time.Duration {
	patience := min(max(usualPatience, s.sender.Interval/2), maxPatience)
	if spare := s.deadAfter - s.sender.Interval; spare > 0 {
		patience = min(patience, max(spare/3, 500*time.Millisecond))
	}
	if !s.endsAcked() { // an end must be delivered fast, or over another link
		patience = min(patience, usualPatience)
	}
	return patience
}

// refresh copies the current reports of the sender.
func (s *session) refresh() {
	s.reports, s.changed = s.sender.reports.snapshot()
	s.deliveries = append(s.deliveries, make([]delivery, len(s.reports)-len(s.deliveries))...)
}

// beatFor makes s beat for peers that are never updated.
func (s *session) beatFor(peers []Peer) {
	for _, p := range peers {
		s.reports = append(s.reports, report{peer: p, version: 1})
	}
	s.deliveries = make([]delivery, len(peers))
}

// sendBeats sends the beats of a choice over the newest link, if there is one.
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

// writeBeats writes beats in one go. It never waits longer than patience.
func (s *session) writeBeats(link *link, beats []wire.Beat, patience time.Duration) error {
	payloads := make([][]byte, 0, len(beats))
	for i := range beats {
		payload, err := s.sender.payload(&beats[i])
		if err != nil {
			return err
		}
		payloads = append(payloads, payload)
	}
	if err := s.setWriteDeadline(link.conn, patience); err != nil {
		return err
	}
	return link.send(payloads)
}

// setWriteDeadline limits the next write to patience, or less if the sender is
// stopping.
func (s *session) setWriteDeadline(conn net.Conn, patience time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing = conn
	deadline := time.Now().Add(patience)
	if !s.end.IsZero() {
		deadline = time.Now().Add(min(s.lastWriteTime(), time.Until(s.end)))
	}
	return conn.SetWriteDeadline(deadline)
}

// interrupt ends a write that is stuck, because the sender is stopping. rest is the
// time that all further writes share.
func (s *session) interrupt(rest time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end = time.Now().Add(rest)
	if s.writing != nil { // it may be about to succeed
		s.writing.SetWriteDeadline(time.Now().Add(min(rest, s.lastWriteTime()))) //nolint:errcheck // then it is closed
	}
}

// awaitAnswer gives the server time to answer.
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

// handle processes an answer, or the end of a link.
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
		s.refused(e.link, &e.answer)
	default:
		e.link.owed--
		s.handleAck(e.link, &e.answer)
	}
}

// refused processes the refusal of a beat, and beats again if it could correct
// the cause.
func (s *session) refused(link *link, answer *wire.Answer) {
	link.refused()
	s.stopWaiting()
	s.promote(link)
	corrected := s.correct(answer)
	if !corrected || s.clock.corrected { // do not log the first correction of the collector's id
		s.warnf("%v", &RefusedError{Server: s.server.url, Text: answer.Error})
	}
	if corrected {
		s.sendBeats(due)
	}
}

// handleAck processes the acknowledgement of a beat and of the beats before it.
func (s *session) handleAck(link *link, answer *wire.Answer) {
	heard, at := link.answered(answer.Seq)
	if heard == nil {
		return // no beat waits for it
	}
	for _, v := range heard {
		s.deliveries[v.report].acked = v.version
	}
	s.rtt = time.Since(at)
	if newest := s.newest(); len(newest.unanswered) > 0 {
		s.awaitAnswer()
	} else {
		s.stopWaiting()
	}
	s.pause = 0
	first := !s.recipient.accepted
	s.accepted(answer)
	s.deadAfter = min(deadAfter(answer), MaxBackIn)
	if link == s.tried {
		s.infof("connected to %s as %s%s, dead after %s of silence",
			s.server, wire.Printable(answer.ID), s.otherPeers(), s.deadAfter.Round(100*time.Millisecond))
	}
	s.promote(link)
	if first {
		s.sendBeats(unsent)
	}
}

// otherPeers returns a text with the number of peers besides the last one.
func (s *session) otherPeers() string {
	if n := len(s.reports) - 1; n > 0 {
		return fmt.Sprintf(" and %d more", n)
	}
	return ""
}

// promote makes the tried link the proven one after an answer, and closes the
// previous one.
func (s *session) promote(answered *link) {
	if answered != s.tried {
		return
	}
	if s.proven != nil {
		s.proven.close()
	}
	s.proven, s.tried = s.tried, nil
	s.answering.Store(true)
	s.route.answered(s.proven.address)
}

// timedOut plans another link, because a beat was not answered.
func (s *session) timedOut() {
	s.waiting = false
	s.warnf("%s does not answer", s.server)
	if s.tried != nil {
		s.route.unanswered(s.tried.address)
		s.tried.close()
		s.tried = nil
	}
	s.dialLater(time.Now())
}

// drop closes a broken link and plans another one if needed.
func (s *session) drop(link *link, err error) {
	link.close()
	if link == s.tried {
		s.route.unanswered(link.address)
		s.tried = nil
	}
	if link == s.proven {
		s.proven = nil
		s.answering.Store(false)
	}
	s.lost = endOf(err)
	if !s.leavingFast {
		s.warnf("connection to %s is lost: %v", s.server, s.lost)
	}
	switch newest := s.newest(); {
	case newest == nil:
		s.stopWaiting()
		s.dialLater(time.Now())
	case len(newest.unanswered) > 0: // this is why the other link was tried
		s.dialLater(time.Now())
	}
}

// closeAll closes all connections and waits for the goroutines of s.
func (s *session) closeAll() {
	for _, link := range []*link{s.proven, s.tried} {
		if link != nil {
			link.close()
		}
	}
	for _, d := range s.destinations {
		d.close()
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

// logTimes are the last times at which something was logged, oldest first.
type logTimes [3]time.Time

// tooOften reports whether a kind of line was logged three times in the last three
// minutes. With this limit the log shows a connection that comes and goes, but does
// not fill the disk if that goes on all day.
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
