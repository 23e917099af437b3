package sender

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
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
	Servers  []string      // such as tcp://collector.example.com:7878
	Interval time.Duration // between two beats; for Once what it declares, 0 for nothing
	Peers    []Peer        // beats go in this order; the answer is that to the last
	BackIn   time.Duration // in the goodbye of Run and Leave: the promise to be back; 0 for none

	// Hurry is for a sender whose end somebody waits for. Run then waits no
	// longer than a second for a connection to say goodbye over, and hardly for
	// an answer.
	Hurry bool

	// Infof and Warnf are told what an operator should know; nil for nobody.
	Infof, Warnf func(format string, args ...any)
	// Dial connects; nil for net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	words words
	lines atomic.Pointer[[]*line] // of Run
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

// Why a server is not waited for any longer, in an operator's words.
var (
	errHungUp      = errors.New("the collector hung up")
	errNothing     = errors.New("there is nothing to say")
	errStranger    = errors.New("it answers more than it was told")
	errSlow        = fmt.Errorf("another server was %s faster", goodbyeTime)
	errGoodbyeLate = fmt.Errorf("the timeout of %s is over", goodbyeTime)
)

// Validate says what is wrong with the settings of s.
func (s *Sender) Validate() error {
	if len(s.Servers) == 0 {
		return errors.New("no server to send to")
	}
	for _, server := range s.Servers {
		if _, _, err := splitServer(server); err != nil {
			return err
		}
	}
	if s.Interval != 0 && (s.Interval < MinInterval || s.Interval > MaxInterval) {
		return fmt.Errorf("interval %s is not in %s to %s", s.Interval, MinInterval, MaxInterval)
	}
	if s.BackIn < 0 || s.BackIn > MaxBackIn {
		return fmt.Errorf("back-in %s is not in 0s to %s", s.BackIn, MaxBackIn)
	}
	if len(s.Peers) == 0 {
		return errors.New("no peer to speak for")
	}
	for i := range s.Peers {
		if err := s.Peers[i].validate(); err != nil {
			return err
		}
		if slices.ContainsFunc(s.Peers[:i], s.Peers[i].is) {
			return fmt.Errorf("service: %.128q is spoken for twice", s.Peers[i].Service)
		}
	}
	return nil
}

// splitServer returns network and address of a URL like tcp://host:7878.
func splitServer(server string) (network, address string, err error) {
	scheme, address, ok := strings.Cut(server, "://")
	if !ok {
		return "", "", fmt.Errorf("server %q lacks a scheme: write tcp://%s", server, server)
	}
	if !slices.Contains([]string{"tcp", "tcp4", "tcp6"}, scheme) {
		return "", "", fmt.Errorf("server %q has scheme %q, possible are tcp, tcp4 and tcp6", server, scheme)
	}
	host, port, err := net.SplitHostPort(address)
	if err == nil && host != "" {
		if number, err := strconv.ParseUint(port, 10, 16); err == nil && number > 0 {
			return scheme, address, nil
		}
	}
	hint := ""
	if strings.Contains(address, ",") {
		hint = "; give each its own"
	}
	return "", "", fmt.Errorf("server %q is no address with host and port, like tcp://collector:7878%s", server, hint)
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
	s.words.begin(s.Peers)
	defer s.words.forget()
	lines := make([]*line, 0, len(s.Servers))
	for _, server := range s.Servers {
		lines = append(lines, newLine(s, server))
	}
	s.lines.Store(&lines)
	defer s.lines.Store(nil)
	speaking, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	var wg sync.WaitGroup
	for _, l := range lines {
		wg.Go(func() { l.keep(speaking) }) // ends soon after speaking does
	}
	<-ctx.Done()
	s.words.depart(s.BackIn)
	end()
	wg.Wait()
	return nil
}

// Tell changes what is said of a peer, at once and from then on. A peer is
// known by its Host and Service; one that is new is added. A planned end is
// said until it is acknowledged, everything else with every beat.
func (s *Sender) Tell(p Peer) error {
	if err := p.validate(); err != nil {
		return err
	}
	s.words.tell(p)
	return nil
}

// Turning tells whether everything that beats in Run goes round. It waits for
// that until ctx ends: for a watchdog.
func (s *Sender) Turning(ctx context.Context) bool {
	lines := s.lines.Load()
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
	for i, server := range s.Servers {
		wg.Go(func() { // ends with ctx
			l := newLine(s, server)
			l.adopt(peers)
			if errs[i] = l.deliver(ctx, due); errs[i] == nil {
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
	l := newLine(s, server)
	l.check = true
	l.adopt(s.Peers)
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
