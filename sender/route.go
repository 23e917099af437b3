package sender

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// A route has the addresses of one server. The address that last answered is kept
// forever, and every attempt dials it, besides the current addresses of the name.
// Names are resolved while addresses are dialled: an attempt waits for the name
// server only when it has nothing else to do.
type route struct {
	server server
	dial   func(ctx context.Context, address string) (net.Conn, error)
	lookup lookup // nil if dial takes names

	wg sync.WaitGroup // dialling and resolving

	mu     sync.Mutex // guards what follows
	proven string     // address that answered last; empty if none did
	named  []string   // addresses of the name when it was last resolved
	quiet  []string   // accepted a connection since then and did not answer, most recent last
	failed []string   // could not be dialled in the current round
	dials  int        // number of running dials

	resolving     chan struct{} // closed when resolving ends; nil if it is not running
	resolvedAt    time.Time     // when resolving last began
	asked         []string      // name servers, since then
	silentServers []string      // name servers that did not answer last time
	err           error         // of the last resolving
}

func newRoute(s *Sender, to server) *route {
	r := &route{server: to, lookup: s.lookup}
	r.dial = func(ctx context.Context, address string) (net.Conn, error) { return s.connect(ctx, to, address) }
	if r.lookup == nil && s.Dial == nil {
		r.lookup = systemLookup
	}
	if r.lookup == nil || !to.hasName() {
		r.lookup, r.named = nil, []string{to.address}
	}
	return r
}

// resolve starts to resolve the name of the server, unless that is already running.
// It returns a channel that is closed when resolving has ended.
func (r *route) resolve(ctx context.Context) <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.resolving != nil {
		return r.resolving
	}
	ended := make(chan struct{})
	r.resolvedAt = time.Now()
	if r.lookup == nil {
		close(ended)
		return ended
	}
	r.resolving, r.asked = ended, nil
	r.wg.Go(func() { // ends with ctx, or after lookupTime
		r.resolved(resolve(ctx, r.lookupNoted, r.server.families(), r.server.host()))
	})
	return ended
}

// lookupNoted is a lookup that records which name servers it asks.
func (r *route) lookupNoted(ctx context.Context, mayAsk func(string) error, network, host string) ([]netip.Addr, error) {
	return r.lookup(ctx, func(server string) error {
		if err := mayAsk(server); err != nil {
			return err
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.asked = appendMissing(r.asked, server)
		return nil
	}, network, host)
}

// resolved stores the result of resolve.
func (r *route) resolved(found lookupResult) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if found.err == nil {
		r.named = nil
		for _, addr := range found.addrs {
			r.named = append(r.named, net.JoinHostPort(addr.String(), r.server.port()))
		}
	}
	r.silentServers, r.err = found.dead, found.err
	close(r.resolving)
	r.resolving = nil
}

// answered records that the server answered at an address.
func (r *route) answered(address string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.proven, r.quiet = address, nil
}

// unanswered records that an address accepted a connection and did not answer: the
// next attempt begins with the others.
func (r *route) unanswered(address string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.quiet = append(slices.DeleteFunc(r.quiet, func(a string) bool { return a == address }), address)
}

// postpone records which addresses an attempt could not dial: the next attempt
// begins with the remaining ones, if there are any.
func (r *route) postpone(dialed []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = append(r.failed, dialed...)
	if !slices.ContainsFunc(r.named, func(a string) bool { return !slices.Contains(r.failed, a) }) {
		r.failed = nil
	}
}

// addresses returns all known addresses in the order in which to dial them. good is
// how many of them are not quiet. These come first. The quiet ones follow, the most
// recent last.
func (r *route) addresses() (all []string, good int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := append([]string{r.proven}, r.named...) // the first may be empty
	for rank := range rankQuiet {
		for _, address := range known {
			if address != "" && r.rank(address) == rank {
				all = appendMissing(all, address)
			}
		}
	}
	good = len(all)
	for _, address := range r.quiet {
		if slices.Contains(known, address) {
			all = append(all, address)
		}
	}
	return all, good
}

const rankQuiet = 3

// rank returns the rank of an address; lower ranks are dialled first.
func (r *route) rank(address string) int {
	switch {
	case slices.Contains(r.quiet, address):
		return rankQuiet
	case address == r.proven:
		return 0
	case slices.Contains(r.failed, address):
		return 2
	}
	return 1
}

// hasOther reports whether an address other than this one is known and not quiet.
func (r *route) hasOther(than string) bool {
	all, good := r.addresses()
	return slices.ContainsFunc(all[:good], func(a string) bool { return a != than })
}

// sinceResolve returns how long ago resolving last began.
func (r *route) sinceResolve() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Since(r.resolvedAt)
}

// problem returns why no address is known.
func (r *route) problem() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.err
	if err == nil || r.resolving != nil {
		err = errNoAnswer
	}
	if servers := r.unansweredServers(); errors.Is(err, errNoAnswer) && len(servers) > 0 {
		err = fmt.Errorf("%w: asked %s", err, strings.Join(servers, ", "))
	}
	return &resolveError{r.server.host(), err}
}

// unansweredServers returns the name servers that have not answered.
func (r *route) unansweredServers() []string {
	if r.resolving != nil {
		return r.asked
	}
	return r.silentServers
}

// found returns the addresses of the name, without port, and the name servers that
// did not answer.
func (r *route) found() (addresses, dead []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lookup == nil {
		return nil, nil
	}
	for _, address := range r.named {
		host, _, _ := net.SplitHostPort(address) //nolint:errcheck // resolved has joined it
		addresses = append(addresses, host)
	}
	return addresses, slices.Clone(r.unansweredServers())
}

// dialing reports whether an address is being dialled, so a connection may come
// soon.
func (r *route) dialing() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dials > 0
}

func (r *route) count(dials int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dials += dials
}
