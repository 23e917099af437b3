// Package sender sends heartbeats for hosts and services to one or more
// collectors (Telegraf with inputs.heartbeat), and announces how they end.
//
//	s := sender.Sender{
//		Servers:  []string{"tcp://collector.example.com:7878"},
//		Interval: 10 * time.Second,
//		Peers:    []sender.Peer{sender.Self("web-1", "shop")},
//	}
//	err := s.Run(ctx) // beats until ctx ends, then says goodbye
//
// It knows how beats reach a collector: addresses, connections, datagrams,
// acknowledgements and retries. It never decides who is alive: the collector
// does. It starts no goroutine outside a call and leaves none behind.
//
// To read it, begin here and go on with peer.go (what is said of whom),
// reports.go (what is due), session.go (one connected server) and exchange.go
// (one delivery). Below them are link.go, datagrams.go, connect.go, route.go
// and resolve.go.
package sender

import (
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
	MinInterval = 100 * time.Millisecond // the shortest interval that a beat can declare
	MaxInterval = 400 * 24 * time.Hour   // the longest interval that a beat can declare
	MaxBackIn   = 400 * 24 * time.Hour   // the longest promise that a goodbye can carry

	goodbyeTime = 2 * time.Second // for a goodbye to be acknowledged
)

var (
	errSlow        = fmt.Errorf("another server was %s faster", goodbyeTime)
	errGoodbyeLate = fmt.Errorf("timed out after %s", goodbyeTime)
)

// A Sender beats for its peers. Every server gets every beat over a connection
// of its own, and none waits for another.
//
// The exported fields must not change while a method runs, and a Sender must
// not be copied after its first use. All methods may be called from several
// goroutines at once, but only one Run at a time.
type Sender struct {
	// Servers are the URLs of the collectors, such as
	// tls://collector.example.com:7878, at least one. Schemes are tcp, tls, udp
	// (tcp4, udp6 and so on for one kind of address), unix and unixgram.
	Servers []string

	// Interval is the time between two beats, MinInterval to MaxInterval. It is
	// sent in whole milliseconds. Once, Leave and Check do not need it; if it is
	// set, their beats declare it.
	Interval time.Duration

	// Peers are at least one, each with another Host or Service. Beats are sent
	// in this order.
	Peers []Peer

	// BackIn is the promise that goodbyes of Run and Leave carry: the peers will
	// be back within it, 0 to MaxBackIn. 0 promises nothing.
	BackIn time.Duration

	// Hurry makes Run end fast, for a program whose end somebody waits for. Run
	// then takes at most a second to say goodbye. After a success (StatusLeaving
	// with exit code 0) it waits only for a connection that is being made, and
	// at most 60 ms for a name server or an acknowledgement.
	Hurry bool

	// Key signs the beats; the zero Key does not. If a collector refuses a
	// signed beat because the clock of this host is wrong, the refusal tells its
	// time, and the beat is sent again with that.
	Key Key

	// Infof and Warnf receive what an operator should know; nil drops it. They
	// are called from several goroutines at once. What a collector said may be
	// part of the text: filter it before it reaches a terminal.
	Infof, Warnf func(format string, args ...any)

	// TLS returns the settings for tls:// servers; nil means TLS 1.2 or later
	// with the certificate authorities of the system. It is called for each
	// connection, from several goroutines at once, so that renewed certificates
	// take effect. The result is not changed. Without a ServerName, the host of
	// the URL must be named in the certificate.
	TLS func() (*tls.Config, error)

	// Dial connects; nil means net.Dialer. It is called from several goroutines
	// at once. The address is host and port as in the URL, or a path; Dial
	// resolves the host itself.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	lookup   lookup // for tests; nil means the system's
	reports  reports
	sessions atomic.Pointer[[]*session] // of Run; nil while it does not run
}

// A Key signs beats, so that a collector that has the secret too knows who
// sent them.
type Key struct {
	ID     string // 1 to 64 letters, digits or any of _ . : -
	Secret []byte // at least 16 bytes; it must not change later
}

// Validate returns an error if k cannot sign. The error never quotes the
// secret.
func (k Key) Validate() error { return wire.Key(k).Validate() }

func (k Key) isSet() bool { return k.ID != "" || k.Secret != nil }

// Validate returns an error that names the first setting that cannot work. The
// other methods call it themselves.
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
		return fmt.Errorf("interval %s is not between %s and %s", s.Interval, MinInterval, MaxInterval)
	}
	if s.BackIn < 0 || s.BackIn > MaxBackIn {
		return fmt.Errorf("back-in %s is not between 0s and %s", s.BackIn, MaxBackIn)
	}
	if s.Key.isSet() {
		if err := s.Key.Validate(); err != nil {
			return err
		}
	}
	return s.validatePeers()
}

func (s *Sender) validatePeers() error {
	if len(s.Peers) == 0 {
		return errors.New("no peer to beat for")
	}
	for i := range s.Peers {
		if err := s.validatePeer(&s.Peers[i]); err != nil {
			return err
		}
		for j := range i {
			if s.Peers[j].is(&s.Peers[i]) {
				return fmt.Errorf("service: %.128q is listed twice", s.Peers[i].Service)
			}
		}
	}
	return nil
}

func (s *Sender) validatePeer(p *Peer) error {
	beat := p.beat()
	if err := beat.Validate(); err != nil {
		return err
	}
	for _, url := range s.Servers {
		if server, err := parseServer(url); err == nil && server.datagrams() {
			if err := s.fitsDatagram(server, &beat); err != nil {
				return err
			}
		}
	}
	return nil
}

// Run beats every Interval until ctx ends. Then it says goodbye for all peers
// that have not ended, which takes two seconds at most. Run returns an error
// only for settings that cannot work: while a collector is away, it keeps
// trying.
func (s *Sender) Run(ctx context.Context) error {
	if err := s.Validate(); err != nil {
		return err
	}
	if s.Interval == 0 {
		return errors.New("interval is missing")
	}
	s.reports.begin(s.Peers)
	defer s.reports.reset()
	sessions := s.newSessions()
	s.sessions.Store(&sessions)
	defer s.sessions.Store(nil)
	speaking, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	var wg sync.WaitGroup
	for _, session := range sessions {
		wg.Go(func() { session.keep(speaking) }) // ends soon after speaking does
	}
	<-ctx.Done()
	s.reports.depart(s.BackIn)
	end()
	wg.Wait()
	return nil
}

// newSessions returns one session for each server, all in one life of the
// sender.
func (s *Sender) newSessions() []*session {
	life := newLife()
	sessions := make([]*session, 0, len(s.Servers))
	for i, url := range s.Servers {
		sessions = append(sessions, newSession(s, url, life, i+1))
	}
	return sessions
}

// Update changes what Run says of a peer, at once and with every beat from then
// on; before Run, it changes what Run begins with. A peer is known by its Host
// and Service, and a new one is added. A goodbye is repeated until it is
// acknowledged, everything else goes on. Update keeps p.Tags. It returns an
// error, and changes nothing, for a peer that no collector would accept.
func (s *Sender) Update(p Peer) error {
	if err := s.validatePeer(&p); err != nil {
		return err
	}
	s.reports.update(p)
	return nil
}

// Responsive reports whether Run is running and everything in it makes
// progress. It waits for that until ctx ends, so a watchdog should give it a
// deadline.
func (s *Sender) Responsive(ctx context.Context) bool {
	sessions := s.sessions.Load()
	if sessions == nil {
		return false
	}
	for _, session := range *sessions {
		select {
		case session.probe <- struct{}{}:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// Answers reports whether Run has a connection to server, which is one of
// Servers, over which that has answered.
func (s *Sender) Answers(server string) bool {
	sessions := s.sessions.Load()
	i := slices.Index(s.Servers, server)
	return sessions != nil && i >= 0 && (*sessions)[i].answering.Load()
}

// Once sends one beat for each peer to every server and tries until ctx ends.
// It succeeds when one server has acknowledged them all; the others then get
// two seconds more. A datagram counts as delivered when it is sent. An error
// wraps what each server did, a *RefusedError among them.
func (s *Sender) Once(ctx context.Context) error {
	return s.deliver(ctx, s.Peers)
}

// Leave says goodbye for the peers, in the way that Once beats for them. A
// collector that knows a peer by no such name answers with an *UnknownError.
func (s *Sender) Leave(ctx context.Context) error {
	return s.deliver(ctx, parting(s.Peers, s.BackIn))
}

// deliver sends one beat for each peer to every server, until one of them has
// acknowledged them.
func (s *Sender) deliver(ctx context.Context, peers []Peer) error {
	if err := s.Validate(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	errs := make([]error, len(s.Servers))
	giveUp := func() { cancel(errSlow) }
	var wg sync.WaitGroup
	for i, session := range s.newSessions() {
		wg.Go(func() { // ends with ctx
			if errs[i] = session.alone(ctx, peers, session.deliver).Err; errs[i] == nil {
				time.AfterFunc(goodbyeTime, giveUp)
			}
		})
	}
	wg.Wait()
	failed := errors.Join(errs...)
	if failed != nil && slices.Contains(errs, nil) {
		s.warnf("delivered, but %v", strings.ReplaceAll(failed.Error(), "\n", "; "))
		return nil
	}
	return failed
}

// Check connects to server, which is one of Servers, and has one beat for each
// peer checked, of which the collector records nothing. It makes one attempt,
// and ends it when ctx ends.
func (s *Sender) Check(ctx context.Context, server string) *Exchange {
	if err := s.Validate(); err != nil {
		return &Exchange{Server: server, Err: err}
	}
	if !slices.Contains(s.Servers, server) {
		return &Exchange{Server: server, Err: fmt.Errorf("server %q is not one of Servers", server)}
	}
	session := newSession(s, server, newLife(), 1)
	session.check = true
	return session.alone(ctx, s.Peers, session.exchange)
}

// payload returns b as it is sent.
func (s *Sender) payload(b *wire.Beat) ([]byte, error) {
	payload, err := wire.AppendBeat(nil, b)
	if err == nil && s.Key.isSet() {
		payload = wire.Key(s.Key).AppendSigned(nil, payload)
	}
	return payload, err
}

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
