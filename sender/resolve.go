package sender

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	nameServerTime = time.Second            // wait for a name server before the next one is asked too
	familyTime     = 250 * time.Millisecond // wait for IPv6 once IPv4 is known, and vice versa
	lookupTime     = 10 * time.Second       // limit for all name servers together
)

// A lookup returns the addresses of a host in network "ip4" or "ip6". It calls
// mayAsk before it asks a name server, and skips the server on an error.
type lookup func(ctx context.Context, mayAsk func(server string) error, network, host string) ([]netip.Addr, error)

// systemLookup resolves as the system is configured. Only Go's own resolver
// calls mayAsk: on Linux and the BSDs, in programs built without cgo. Elsewhere
// the system asks in its own way.
func systemLookup(ctx context.Context, mayAsk func(string) error, network, host string) ([]netip.Addr, error) {
	resolver := net.Resolver{Dial: func(ctx context.Context, network, server string) (net.Conn, error) {
		if err := mayAsk(server); err != nil {
			return nil, err
		}
		return new(net.Dialer).DialContext(ctx, network, server)
	}}
	return resolver.LookupNetIP(ctx, network, host)
}

// A lookupResult is the result of resolving a host.
type lookupResult struct {
	addrs []netip.Addr
	dead  []string // name servers that did not answer
	err   error    // nil if there are addresses
}

// resolve returns the addresses of a host within lookupTime. It asks for IPv4 and
// IPv6 at the same time: some name servers answer only one of the queries.
func resolve(ctx context.Context, ask lookup, networks []string, host string) lookupResult {
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	found := make(chan lookupResult, len(networks))
	for _, network := range networks {
		go func() { found <- (&query{ask: ask, network: network, host: host}).run(ctx) }() // ends with ctx
	}
	var all lookupResult
	var enough <-chan time.Time
	for range networks {
		select {
		case n := <-found:
			all.add(n)
		case <-enough:
			return all
		}
		if all.addrs != nil {
			enough = time.After(familyTime)
		}
	}
	return all
}

// add adds the addresses of another family. IPv6 comes first, as in RFC 6724.
func (n *lookupResult) add(other lookupResult) {
	addrs := append(n.addrs, other.addrs...)
	n.addrs = nil
	for _, six := range []bool{true, false} {
		for _, addr := range addrs {
			if addr = addr.Unmap(); addr.Is6() == six {
				n.addrs = append(n.addrs, addr)
			}
		}
	}
	for _, server := range other.dead {
		n.dead = appendMissing(n.dead, server)
	}
	switch {
	case n.addrs != nil:
		n.err = nil
	case n.err == nil:
		n.err = other.err
	}
}

// A query resolves a host in one network. A lookup waits five seconds for each name
// server in turn. So each second a query starts another lookup, without the name
// servers that have been asked by then.
type query struct {
	ask           lookup
	network, host string

	mu    sync.Mutex // guards asked
	asked []string
}

// A reply is the result of one lookup.
type reply struct {
	leftOut []string // name servers that it must not ask
	asked   bool     // whether it asked one, or needed none
	addrs   []netip.Addr
	err     error
}

// run returns the first addresses that a lookup finds.
func (q *query) run(ctx context.Context) (n lookupResult) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	replies := make(chan reply)
	next := time.NewTicker(nameServerTime)
	defer next.Stop()
	q.start(ctx, replies, nil)
	leftOut, running := 0, 1
	for running > 0 {
		select {
		case r := <-replies:
			running--
			if r.err == nil {
				return lookupResult{addrs: r.addrs, dead: r.leftOut}
			}
			n.fail(r)
		case <-next.C:
			if servers := q.servers(); len(servers) > leftOut {
				leftOut = len(servers)
				running++
				q.start(ctx, replies, servers)
			}
		case <-ctx.Done():
			n.fail(reply{asked: true, err: ctx.Err()})
			running = 0
		}
	}
	var timeout net.Error
	if errors.As(n.err, &timeout) && timeout.Timeout() {
		return lookupResult{dead: q.servers(), err: errNoAnswer}
	}
	return n
}

var errNoAnswer = errors.New("no name server answers")

// start starts a lookup that leaves out some name servers.
func (q *query) start(ctx context.Context, replies chan<- reply, leftOut []string) {
	var asked atomic.Bool
	mayAsk := func(server string) error {
		if slices.Contains(leftOut, server) {
			return errors.New("it was asked before")
		}
		asked.Store(true)
		q.note(server)
		return nil
	}
	go func() { // ends with ctx
		addrs, err := q.ask(ctx, mayAsk, q.network, q.host)
		select {
		case replies <- reply{leftOut, leftOut == nil || asked.Load(), addrs, err}:
		case <-ctx.Done():
		}
	}()
}

// note records that a name server is asked.
func (q *query) note(server string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.asked = appendMissing(q.asked, server)
}

// appendMissing appends text to texts unless it is there.
func appendMissing(texts []string, text string) []string {
	if slices.Contains(texts, text) {
		return texts
	}
	return append(texts, text)
}

func (q *query) servers() []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.asked)
}

// fail records a lookup that found nothing. The error that the host does not exist
// replaces the error of a broken name server; otherwise the first error is kept.
func (n *lookupResult) fail(r reply) {
	switch {
	case !r.asked:
	case isNotFound(r.err) && !isNotFound(n.err):
		n.err, n.dead = r.err, r.leftOut
	case n.err == nil:
		n.err = r.err
	}
}

func isNotFound(err error) bool {
	var unknown *net.DNSError
	return errors.As(err, &unknown) && unknown.IsNotFound
}
