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
type line struct {
	sender *Sender
	server server
	way    *way

	life   string // of the sender
	number int    // of the server
	run    string

	check bool   // nothing is to be recorded
	words []word // what the sender says
	news  <-chan struct{}
	told  []told // of each word
	rtt   time.Duration

	proven    *link
	tried     *link // the newest, not proven yet
	dialing   bool
	planned   bool  // retry runs
	hurries   bool  // with its last words
	lost      error // why the last link was given up
	pause     time.Duration
	deadAfter time.Duration // silence the server allows; 0 while not known
	dialAt    time.Time     // when it last began to dial

	recipient recipient
	clock     clock

	mu      sync.Mutex // guards what follows
	end     time.Time  // when nobody waits any longer; zero while nothing has ended
	writing net.Conn   // what was written to last

	posts []*post // to a server that takes datagrams, one for each of its addresses

	wg      sync.WaitGroup // dialling and listening
	dialed  chan dialed
	events  chan event
	turn    chan struct{} // somebody asks whether keep goes round
	waiting bool
	patient *time.Timer        // runs while waiting for an answer
	retry   *time.Timer        // runs until the next dial
	said    map[string]sayings // when each kind of thing was logged
}

func newLine(s *Sender, url string) *line {
	server, _ := parseServer(url) //nolint:errcheck // Validate has seen it
	l := &line{
		sender: s, server: server, way: newWay(s, server), life: newLife(), number: 1, recipient: recipientOf(server),
		said: make(map[string]sayings), planned: true,
		dialed: make(chan dialed, 1), events: make(chan event), turn: make(chan struct{}),
		patient: time.NewTimer(0), retry: time.NewTimer(0),
	}
	l.run = runOf(l.life, l.number)
	l.patient.Stop()
	return l
}

// keep beats until ctx ends and then says goodbye.
func (l *line) keep(ctx context.Context) {
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer l.closeAll()
	defer cancel()
	defer context.AfterFunc(ctx, func() { l.interrupt(l.goodbyeTime()) })()

	interval := l.sender.Interval
	next := time.Now().Add(spread(interval)) // so that a fleet does not beat in step
	beat := time.NewTimer(time.Until(next))
	defer beat.Stop()
	l.learn()
	for {
		select {
		case <-ctx.Done():
			l.leave(own)
			return
		case <-l.retry.C:
			l.planned = false
			l.dial(own)
		case d := <-l.dialed:
			l.connected(own, d)
		case e := <-l.events:
			l.hear(e)
		case <-l.patient.C:
			l.silent()
		case <-beat.C:
			l.speak(due)
			next = following(next, interval, time.Now())
			beat.Reset(time.Until(next))
		case <-l.news:
			l.learn()
			l.speak(unsaid)
		case <-l.turn:
		}
	}
}

// following returns the next time of a schedule that is after now. What was
// missed, because the host slept, is not made up for.
func following(last time.Time, interval time.Duration, now time.Time) time.Time {
	return last.Add(interval * (max(now.Sub(last), 0)/interval + 1))
}

// patience is how long an answer may take.
func (l *line) patience() time.Duration {
	patience := max(usualPatience, l.sender.Interval/2)
	if spare := l.deadAfter - l.sender.Interval; spare > 0 {
		patience = min(patience, max(spare/3, 500*time.Millisecond))
	}
	if !l.isHeard() { // an end is told fast, or over another link
		patience = min(patience, usualPatience)
	}
	return patience
}

// learn takes in what the sender says now.
func (l *line) learn() {
	l.words, l.news = l.sender.words.now()
	l.told = append(l.told, make([]told, len(l.words)-len(l.told))...)
}

// speak sends what there is to say over the newest link, if there is one.
func (l *line) speak(which choice) {
	link := l.newest()
	if link == nil {
		return
	}
	beats := l.compose(l.introduce(which), link)
	if len(beats) == 0 {
		return
	}
	if err := l.send(link, beats, min(l.patience(), usualPatience)); err != nil {
		l.drop(link, err)
		return
	}
	if !l.waiting {
		l.await()
	}
}

// send writes beats in one go. It never waits longer than patience.
func (l *line) send(link *link, beats []wire.Beat, patience time.Duration) error {
	payloads := make([][]byte, 0, len(beats))
	for i := range beats {
		payload, err := l.sender.payload(&beats[i])
		if err != nil {
			return err
		}
		payloads = append(payloads, payload)
	}
	if err := l.allow(link, patience); err != nil {
		return err
	}
	return link.send(payloads)
}

// allow gives what is written to conn next so much time, or less if the sender
// has ended.
func (l *line) allow(conn net.Conn, patience time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writing = conn
	deadline := time.Now().Add(patience)
	if !l.end.IsZero() {
		deadline = earlier(time.Now().Add(l.lastPatience()), l.end)
	}
	return conn.SetWriteDeadline(deadline)
}

// interrupt ends a write that is stuck, because the sender has ended. What is
// still to be said has so much time.
func (l *line) interrupt(rest time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end = time.Now().Add(rest)
	if l.writing != nil { // it may be about to succeed
		l.writing.SetWriteDeadline(time.Now().Add(min(rest, l.lastPatience()))) //nolint:errcheck // then it is closed
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// await gives the server time to answer.
func (l *line) await() {
	l.waiting = true
	l.patient.Reset(l.patience())
}

func (l *line) awaitNothing() {
	l.waiting = false
	l.patient.Stop()
}

func (l *line) newest() *link {
	if l.tried != nil {
		return l.tried
	}
	return l.proven
}

// hear takes in an answer, or the end of a link.
func (l *line) hear(e event) {
	switch {
	case e.link != l.tried && e.link != l.proven:
		return // closed meanwhile
	case e.err != nil:
		l.drop(e.link, e.err)
	case e.link.owed == 0:
		l.drop(e.link, errStranger)
	case e.answer.Error != "":
		e.link.owed--
		e.link.refused()
		l.awaitNothing()
		l.prove(e.link)
		corrected := l.correct(&e.answer)
		if !corrected || l.clock.corrected { // that a collector first tells its id is no news
			l.warnf("%v", &RefusedError{Server: l.server.url, Text: e.answer.Error})
		}
		if corrected {
			l.speak(due)
		}
	default:
		e.link.owed--
		l.acknowledged(e.link, &e.answer)
	}
}

func (l *line) acknowledged(link *link, answer *wire.Answer) {
	heard, at := link.answered(answer.Seq)
	if heard == nil {
		return // it is about no beat that waits for it
	}
	for _, a := range heard {
		l.told[a.word].heard = a.version
	}
	l.rtt = time.Since(at)
	if newest := l.newest(); len(newest.unanswered) > 0 {
		l.await() // it goes on
	} else {
		l.awaitNothing()
	}
	l.pause = 0
	first := !l.recipient.accepted
	l.accepted(answer)
	l.deadAfter = time.Duration(min(answer.DeadAfterMS, wire.MaxBackInMS)) * time.Millisecond
	if link == l.tried {
		l.infof("connected to %s as %s%s, dead after %s of silence", l.server, wire.Printable(answer.ID), l.others(), l.deadAfter)
	}
	l.prove(link)
	if first {
		l.speak(unsaid)
	}
}

// others tells for how many more than the last one this line speaks.
func (l *line) others() string {
	if n := len(l.words) - 1; n > 0 {
		return fmt.Sprintf(" and %d more", n)
	}
	return ""
}

// prove notes that a link was answered: the one before it is not needed any
// more.
func (l *line) prove(answered *link) {
	if answered != l.tried {
		return
	}
	if l.proven != nil {
		l.proven.Close()
	}
	l.proven, l.tried = l.tried, nil
	l.way.answered(l.proven.address)
}

// silent is what an unanswered beat leads to.
func (l *line) silent() {
	l.waiting = false
	l.warnf("%s does not answer", l.server)
	if l.tried != nil {
		l.way.unanswered(l.tried.address)
		l.tried.Close()
		l.tried = nil
	}
	l.dialLater(time.Now())
}

// drop gives up a link that is broken.
func (l *line) drop(link *link, err error) {
	link.Close()
	if link == l.tried {
		l.way.unanswered(link.address)
		l.tried = nil
	}
	if link == l.proven {
		l.proven = nil
	}
	if errors.Is(err, io.EOF) {
		err = errHungUp
	}
	if l.lost = err; !l.hurries {
		l.warnf("connection to %s is lost: %v", l.server, err)
	}
	switch newest := l.newest(); {
	case newest == nil:
		l.awaitNothing()
		l.dialLater(time.Now())
	case len(newest.unanswered) > 0: // the other one was tried because of that
		l.dialLater(time.Now())
	}
}

// closeAll closes what is open, so that nobody listens or dials any more.
func (l *line) closeAll() {
	for _, link := range []*link{l.proven, l.tried} {
		if link != nil {
			link.Close()
		}
	}
	for _, p := range l.posts {
		p.close()
	}
	l.wg.Wait()
	l.way.wg.Wait()
	select {
	case d := <-l.dialed:
		if d.conn != nil {
			d.conn.Close()
		}
	default:
	}
}

// sayings are when something was logged the last times, the oldest first.
type sayings [3]time.Time

// often tells whether a kind of thing has been said enough: three times in
// three minutes. So a connection that comes and goes is seen, and one that
// does so all day fills no disk.
func (l *line) often(kind string) bool {
	times, now := l.said[kind], time.Now()
	if !times[0].IsZero() && now.Sub(times[0]) < logPause*time.Duration(len(times)) {
		return true
	}
	l.said[kind] = sayings{times[1], times[2], now}
	return false
}

func (l *line) infof(format string, args ...any) {
	if !l.often(format) {
		l.sender.infof(format, args...)
	}
}

func (l *line) warnf(format string, args ...any) {
	if !l.often(format) {
		l.sender.warnf(format, args...)
	}
}
