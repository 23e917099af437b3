package sender

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

const (
	// MinInterval is the shortest interval that a beat can declare.
	MinInterval = wire.MinIntervalMS * time.Millisecond
	// MaxInterval is the longest.
	MaxInterval = wire.MaxIntervalMS * time.Millisecond

	goodbyeTime = 2 * time.Second // for a goodbye to be acknowledged
	retryPause  = 500 * time.Millisecond
)

// A Sender beats for one peer. Every server gets every beat over a connection
// of its own; none waits for another.
type Sender struct {
	Servers  []string      // such as tcp://collector.example.com:7878
	Interval time.Duration // between two beats; for Once what it declares, 0 for nothing
	Peer     Peer
	BackIn   time.Duration // in a goodbye: the promise to be back; 0 for none

	// Logf is told what an operator should know; nil for nobody.
	Logf func(format string, args ...any)
	// Dial connects; nil for net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
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
	if s.BackIn < 0 || s.BackIn > wire.MaxBackInMS*time.Millisecond {
		return fmt.Errorf("back-in %s is not in 0s to %s", s.BackIn, wire.MaxBackInMS*time.Millisecond)
	}
	beat := s.Peer.beat()
	return beat.Validate()
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
	if host, port, err := net.SplitHostPort(address); err != nil || host == "" || port == "" {
		return "", "", fmt.Errorf("server %q is no address with host and port, like tcp://collector:7878", server)
	}
	return scheme, address, nil
}

// Run beats every Interval until ctx ends; then it says goodbye, which takes
// two seconds at most. It returns an error only for settings that cannot
// work: a collector that is away is waited for.
func (s *Sender) Run(ctx context.Context) error {
	if err := s.Validate(); err != nil {
		return err
	}
	if s.Interval == 0 {
		return errors.New("interval is missing")
	}
	var wg sync.WaitGroup
	for _, server := range s.Servers {
		wg.Go(func() { newLine(s, server).keep(ctx) }) // ends with ctx
	}
	wg.Wait()
	return nil
}

// Once sends one beat to every server. It is delivered when one of them has
// acknowledged it; Once gives up when ctx ends.
func (s *Sender) Once(ctx context.Context) error {
	return s.deliver(ctx, s.Peer.beat())
}

// Leave says goodbye for the peer, like Once.
func (s *Sender) Leave(ctx context.Context) error {
	return s.deliver(ctx, s.goodbye())
}

func (s *Sender) goodbye() wire.Beat {
	beat := s.Peer.beat()
	beat.Status = wire.StatusLeaving
	beat.BackInMS = s.BackIn.Milliseconds()
	return beat
}

// deliver sends beat to every server. It is delivered if one of them
// acknowledges it; the others then get two seconds more.
func (s *Sender) deliver(ctx context.Context, beat wire.Beat) error {
	if err := s.Validate(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	errs := make([]error, len(s.Servers))
	var wg sync.WaitGroup
	for i, server := range s.Servers {
		wg.Go(func() { // ends with ctx
			if errs[i] = newLine(s, server).deliver(ctx, beat); errs[i] == nil {
				time.AfterFunc(goodbyeTime, func() { cancel(errSlow) })
			}
		})
	}
	wg.Wait()
	failed := errors.Join(errs...)
	if failed != nil && slices.Contains(errs, nil) {
		s.logf("delivered, but %v", oneLine(failed))
		return nil
	}
	return failed
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

func (s *Sender) logf(format string, args ...any) {
	if s.Logf != nil {
		s.Logf(format, args...)
	}
}
