// Package sender sends heartbeats for hosts and services to one or more
// collectors (Telegraf with inputs.heartbeat), and reports how they end.
//
//	s := sender.Sender{
//		Servers:  []string{"tcp://collector.example.com:7878"},
//		Interval: 10 * time.Second,
//		Peers:    []sender.Peer{sender.Self("web-1", "shop")},
//	}
//	err := s.Run(ctx) // beats until ctx ends, then says goodbye
//
// The package knows how beats reach a collector: addresses, connections,
// datagrams, acknowledgements and retries. It never decides what is alive: the
// collector does. It starts no goroutine outside a call and leaves none behind.
//
// To read the code, begin here and continue with peer.go (what beats say),
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
	MaxBackIn   = 400 * 24 * time.Hour   // the longest maintenance window that a goodbye can open

	goodbyeTime = 2 * time.Second // limit for a goodbye to be acknowledged
)

var (
	errSlow        = fmt.Errorf("another server answered %s earlier", goodbyeTime)
	errGoodbyeLate = fmt.Errorf("timed out after %s", goodbyeTime)
)

// A Sender beats for its peers. Each server has its own connection and gets
// every beat; servers do not wait for each other.
//
// Do not change exported fields while a method runs, and do not copy a Sender
// after its first use. All methods may be called concurrently, but only one Run
// at a time.
type Sender struct {
	// Servers are the URLs of the collectors, such as
	// tls://collector.example.com:7878. At least one is required. Schemes are
	// tcp, tls, udp (tcp4, udp6 and so on for one kind of address), unix and
	// unixgram.
	Servers []string

	// Interval is the time between two beats, MinInterval to MaxInterval. It is
	// sent in whole milliseconds. Run requires it. Once, Leave and Check do not;
	// if it is set, their beats declare it.
	Interval time.Duration

	// Peers are the peers that the Sender beats for. At least one is required, and
	// no two may have the same Host and Service. Beats are sent in this order.
	Peers []Peer

	// BackIn is the maintenance window that goodbyes of Run and Leave open, 0 to
	// MaxBackIn: the collector reports a peer dead if it is not back within it.
	// With 0, a goodbye is for good.
	BackIn time.Duration

	// Hurry makes Run end quickly: set it if others wait for this program to exit.
	// Run then takes at most a second to say goodbye. After a success
	// (StatusLeaving with exit code 0) it waits only for a connection that is being
	// made, and at most 60 ms for a name server or an acknowledgement.
	Hurry bool

	// Key signs the beats; with the zero Key they are not signed. If a collector
	// refuses a signed beat because of the clock of this host, it reports its own
	// time, and the Sender sends the beat again with that time.
	Key Key

	// Infof and Warnf receive messages for an operator; nil discards them. Both are
	// called concurrently. A message may quote a collector: filter it before it
	// reaches a terminal.
	Infof, Warnf func(format string, args ...any)

	// TLS returns the settings for tls:// servers; nil means TLS 1.2 or later
	// with the certificate authorities of the system. It is called concurrently,
	// once for each connection, so that renewed certificates take effect. The
	// Sender does not modify the result. Without a ServerName, the certificate
	// must name the host of the URL.
	TLS func() (*tls.Config, error)

	// Dial connects to a server; nil means net.Dialer. It is called concurrently.
	// The address is host and port as in the URL, or a path; Dial resolves the
	// host itself.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	lookup   lookup // for tests; nil means the system's
	reports  reports
	sessions atomic.Pointer[[]*session] // of Run; nil while Run is not running
}

// A Key signs beats. A collector with the same secret can verify where they come
// from.
type Key struct {
	ID     string // 1 to 64 letters, digits or any of _ . : -
	Secret []byte // at least 16 bytes; do not change them later
}

// Validate returns an error if k cannot sign. The error never contains the
// secret.
func (k Key) Validate() error { return wire.Key(k).Validate() }

func (k Key) isSet() bool { return k.ID != "" || k.Secret != nil }

// Validate returns an error that names the first invalid setting. The other
// methods call it themselves.
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
			if s.Peers[j].isSamePeer(&s.Peers[i]) {
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
// that have not ended, within two seconds. Run returns an error only for invalid
// settings: while a collector is away, it keeps trying.
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
	s.reports.sayGoodbye(s.BackIn)
	end()
	wg.Wait()
	return nil
}

// newSessions returns a session for each server. All have the same LIFE.
func (s *Sender) newSessions() []*session {
	life := newLife()
	sessions := make([]*session, 0, len(s.Servers))
	for i, url := range s.Servers {
		sessions = append(sessions, newSession(s, url, life, i+1))
	}
	return sessions
}

// Update changes the report of Run for a peer, immediately and in every beat from
// then on. Before Run, it changes the initial report. Host and Service identify the
// peer; an unknown one is added. A goodbye is repeated until it is acknowledged,
// any other report until it is replaced. Update retains p.Tags: do not change them
// afterwards. For a peer that no collector would accept, Update returns an error
// and changes nothing.
func (s *Sender) Update(p Peer) error {
	if err := s.validatePeer(&p); err != nil {
		return err
	}
	s.reports.update(p)
	return nil
}

// Responsive reports whether Run is running and all its goroutines make
// progress. It waits for them until ctx ends, so a watchdog should set a
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

// Answers reports whether Run has a connection over which server, which is one of
// Servers, has answered.
func (s *Sender) Answers(server string) bool {
	sessions := s.sessions.Load()
	i := slices.Index(s.Servers, server)
	return sessions != nil && i >= 0 && (*sessions)[i].answering.Load()
}

// Once sends one beat for each peer to every server, and retries until ctx ends.
// It succeeds when one server has acknowledged all beats; the other servers then
// get two more seconds. A datagram counts as delivered when it is sent. The error
// wraps the error of each server, such as a *RefusedError.
func (s *Sender) Once(ctx context.Context) error {
	return s.deliver(ctx, s.Peers)
}

// Leave says goodbye for the peers, in the same way as Once sends beats. If a
// collector does not know a peer, the error wraps an *UnknownError.
func (s *Sender) Leave(ctx context.Context) error {
	return s.deliver(ctx, goodbyes(s.Peers, s.BackIn))
}

// deliver sends one beat for each peer to every server, until one server has
// acknowledged them all.
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
			if errs[i] = session.withPeers(ctx, peers, session.deliver).Err; errs[i] == nil {
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

// Check connects to server, which must be one of Servers, and sends one beat for
// each peer for the collector to check. The collector records nothing. Check
// makes one attempt, and stops it when ctx ends.
func (s *Sender) Check(ctx context.Context, server string) *Exchange {
	if err := s.Validate(); err != nil {
		return &Exchange{Server: server, Err: err}
	}
	if !slices.Contains(s.Servers, server) {
		return &Exchange{Server: server, Err: fmt.Errorf("server %q is not one of Servers", server)}
	}
	session := newSession(s, server, newLife(), 1)
	session.check = true
	return session.withPeers(ctx, s.Peers, session.exchange)
}

// payload returns b encoded, and signed if there is a key.
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
