package sender

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

const (
	// MinInterval is the shortest interval that a beat can declare.
	MinInterval = wire.MinIntervalMS * time.Millisecond
	// MaxInterval is the longest.
	MaxInterval = wire.MaxIntervalMS * time.Millisecond
	// MaxBackIn is the longest promise that a goodbye can carry.
	MaxBackIn = wire.MaxBackInMS * time.Millisecond

	goodbyeTime = 2 * time.Second // for a goodbye to be acknowledged
)

// A Sender beats for its peers. Every server gets every beat over a connection
// of its own; none waits for another. It must not be copied after its first
// use.
type Sender struct {
	Servers  []string      // such as tls://collector.example.com:7878
	Interval time.Duration // between two beats; for Once what it declares, 0 for nothing
	Peers    []Peer        // beats go in this order; the answer is that to the last
	BackIn   time.Duration // in the goodbye of Run and Leave: the promise to be back; 0 for none

	// Hurry is for a sender whose end somebody waits for. Run then takes no
	// longer than a second to say goodbye; after a success (StatusLeaving with
	// exit code 0) it waits only for a connection that is being made, and hardly
	// for a name server or an answer.
	Hurry bool

	// Key signs the beats; the zero one does not. A collector that asks for
	// signatures tells its time to a sender whose clock is wrong.
	Key wire.Key

	// Infof and Warnf are told what an operator should know; nil for nobody.
	Infof, Warnf func(format string, args ...any)
	// TLS returns how to connect to a tls:// server. It is called for each
	// connection, so that new certificates are heeded; nil for the roots of the
	// system. A ServerName that it leaves out is the host of the URL.
	TLS func() (*tls.Config, error)
	// Dial connects; nil for net.Dialer. It is given the host of the URL as it
	// stands there, and resolves it itself.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	ask   lookup // for tests; nil for the system's
	reports reports
	sessions atomic.Pointer[[]*session] // of Run
}

// A RefusedError is what a collector answers to a beat that it does not
// accept. To send it again would not help.
type RefusedError struct {
	Server string
	Text   string // of the collector; not to be trusted
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s refused the beat: %.200q", e.Server, e.Text)
}

// An UnknownError is what a collector answers to a goodbye for peers that it
// does not know. It has recorded nothing of them.
type UnknownError struct {
	Server string
	Peers  []UnknownPeer
}

// An UnknownPeer is one of them.
type UnknownPeer struct {
	Host, Service string
	Near          []string // peers of similar names
}

// note takes in the answer to a beat.
func (e *UnknownError) note(beat *wire.Beat, answer *wire.Answer) {
	if answer.Unknown {
		e.Peers = append(e.Peers, UnknownPeer{beat.Host, beat.Service, answer.Near})
	}
}

func (e *UnknownError) Error() string {
	texts := make([]string, 0, len(e.Peers))
	for _, p := range e.Peers {
		text := p.Host + "/" + cmp.Or(p.Service, "host")
		if len(p.Near) > 0 {
			text += fmt.Sprintf(" (did you mean %s?)", strings.Join(p.Near, " or "))
		}
		texts = append(texts, text)
	}
	return fmt.Sprintf("%s has recorded nothing, as it does not know %s", e.Server, strings.Join(texts, " and "))
}

// Why a server is not waited for any longer, in an operator's words.
var (
	errTooOld      = errors.New("is too old to take a promise back: it has taken this for a goodbye")
	errHungUp      = errors.New("the collector hung up")
	errNothingDue     = errors.New("there is nothing to say")
	errUnasked    = errors.New("it answers more than it was told")
	errUnanswered  = errors.New("the last beat was not answered")
	errOthers      = fmt.Errorf("no answer for %s", othersTime)
	errSlow        = fmt.Errorf("another server was %s faster", goodbyeTime)
	errGoodbyeLate = fmt.Errorf("the timeout of %s is over", goodbyeTime)
)

// Validate says what is wrong with the settings of s.
func (s *Sender) Validate() error {
	if len(s.Servers) == 0 {
		return errors.New("no server to send to")
	}
	for _, url := range s.Servers {
		if _, err := parseServer(url); err != nil {
			return err
		}
	}
	if s.Interval != 0 && (s.Interval < MinInterval || s.Interval > MaxInterval) {
		return fmt.Errorf("interval %s is not in %s to %s", s.Interval, MinInterval, MaxInterval)
	}
	if s.BackIn < 0 || s.BackIn > MaxBackIn {
		return fmt.Errorf("back-in %s is not in 0s to %s", s.BackIn, MaxBackIn)
	}
	if s.signs() {
		if err := s.Key.Validate(); err != nil {
			return err
		}
	}
	if len(s.Peers) == 0 {
		return errors.New("no peer to speak for")
	}
	for i := range s.Peers {
		if err := s.validate(&s.Peers[i]); err != nil {
			return err
		}
		if slices.ContainsFunc(s.Peers[:i], s.Peers[i].is) {
			return fmt.Errorf("service: %.128q is spoken for twice", s.Peers[i].Service)
		}
	}
	return nil
}

// validate says what is wrong with what is said of p.
func (s *Sender) validate(p *Peer) error {
	beat := p.beat()
	if err := beat.Validate(); err != nil {
		return err
	}
	for _, url := range s.Servers {
		server, err := parseServer(url)
		if err != nil || !server.datagrams() {
			continue
		}
		if err := s.fitsDatagram(server, &beat); err != nil {
			return err
		}
	}
	return nil
}

func (s *Sender) signs() bool { return s.Key.ID != "" || s.Key.Secret != nil }

// payload returns b as it is sent.
func (s *Sender) payload(b *wire.Beat) ([]byte, error) {
	payload, err := wire.AppendBeat(nil, b)
	if err == nil && s.signs() {
		payload = s.Key.AppendSigned(nil, payload)
	}
	return payload, err
}

// Run beats every Interval until ctx ends; then it says goodbye for all peers
// that have not ended, which takes two seconds at most. It returns an error
// only for settings that cannot work: a collector that is away is waited for.
func (s *Sender) Run(ctx context.Context) error {
	if err := s.Validate(); err != nil {
		return err
	}
	if s.Interval == 0 {
		return errors.New("interval is missing")
	}
	s.reports.begin(s.Peers)
	defer s.reports.reset()
	lines := s.newSessions()
	s.sessions.Store(&lines)
	defer s.sessions.Store(nil)
	speaking, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	var wg sync.WaitGroup
	for _, l := range lines {
		keep := l.keep
		if l.server.datagrams() {
			keep = l.keepDatagrams
		}
		wg.Go(func() { keep(speaking) }) // ends soon after speaking does
	}
	<-ctx.Done()
	s.reports.depart(s.BackIn)
	end()
	wg.Wait()
	return nil
}

// newLines returns one line for each server, in one life of the sender.
func (s *Sender) newSessions() []*session {
	life := newLife()
	lines := make([]*session, 0, len(s.Servers))
	for i, url := range s.Servers {
		l := newSession(s, url)
		l.life, l.number, l.run = life, i+1, runOf(life, i+1)
		lines = append(lines, l)
	}
	return lines
}

// Tell changes what is said of a peer, at once and from then on. A peer is
// known by its Host and Service; one that is new is added. A planned end is
// said until it is acknowledged, everything else with every beat.
func (s *Sender) Update(p Peer) error {
	if err := s.validate(&p); err != nil {
		return err
	}
	s.reports.update(p)
	return nil
}

// Turning tells whether everything that beats in Run goes round. It waits for
// that until ctx ends: for a watchdog.
func (s *Sender) Responsive(ctx context.Context) bool {
	lines := s.sessions.Load()
	if lines == nil {
		return false
	}
	for _, l := range *lines {
		select {
		case l.turn <- struct{}{}:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// Once sends one beat for each peer to every server. They are delivered when
// one server has acknowledged them all; Once gives up when ctx ends.
func (s *Sender) Once(ctx context.Context) error {
	return s.deliver(ctx, s.Peers)
}

// Leave says goodbye for the peers, like Once.
func (s *Sender) Leave(ctx context.Context) error {
	return s.deliver(ctx, parting(s.Peers, s.BackIn))
}

// deliver sends one beat for each peer to every server. They are delivered if
// one of them acknowledges them; the others then get two seconds more.
func (s *Sender) deliver(ctx context.Context, peers []Peer) error {
	if err := s.Validate(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	errs := make([]error, len(s.Servers))
	var wg sync.WaitGroup
	for i, l := range s.newSessions() {
		wg.Go(func() { // ends with ctx
			if errs[i] = l.once(ctx, peers); errs[i] == nil {
				time.AfterFunc(goodbyeTime, func() { cancel(errSlow) })
			}
		})
	}
	wg.Wait()
	failed := errors.Join(errs...)
	if failed != nil && slices.Contains(errs, nil) {
		s.warnf("delivered, but %v", oneLine(failed))
		return nil
	}
	return failed
}

// Check connects to a server and sends one beat for each peer, of which
// nothing is recorded.
func (s *Sender) Check(ctx context.Context, server string) *Exchange {
	ctx, cancel := context.WithCancel(ctx)
	l := newSession(s, server)
	defer l.closeAll()
	defer cancel()
	defer context.AfterFunc(ctx, func() { l.interrupt(0) })()
	l.check = true
	l.speakFor(s.Peers)
	return l.exchange(ctx, due)
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

func (s *Sender) warnf(format string, args ...any) {
	if s.Warnf != nil {
		s.Warnf(format, args...)
	}
}

func (s *Sender) infof(format string, args ...any) {
	if s.Infof != nil {
		s.Infof(format, args...)
	}
}
