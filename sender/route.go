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

const (
	tryTime    = 5 * time.Second        // for one try to connect, at least
	stagger    = 250 * time.Millisecond // between two addresses of a try (RFC 8305, 5)
	secondTry  = 500 * time.Millisecond // until the first address is dialled once more
	quietPause = time.Second            // until those are dialled that took a connection and did not answer
	namesPause = time.Second            // for the name server, when the known addresses have failed
)

// A way is how one server is reached. The address that answered last is kept
// for good and is dialled in every try, beside what the name of the server
// gives. Names are resolved beside dialling: a try waits for them only when it
// has nothing else to do.
type route struct {
	server server
	dial   func(ctx context.Context, address string) (net.Conn, error)
	ask    lookup // nil if dial takes names

	wg sync.WaitGroup // dialling and resolving

	mu      sync.Mutex // guards what follows
	proven  string     // address that answered last; empty if none did
	named   []string   // addresses that the name gave last
	quiet   []string   // those that took a connection since then and did not answer, the last one last
	failed    []string   // those that were dialled in vain since the others were
	silentServers    []string   // name servers that did not answer last time
	err  error      // of the last resolving
	resolving  chan struct{}
	asked   []string // name servers, since then
	askedAt time.Time
	dials   int // that go on
}

func newRoute(s *Sender, to server) *route {
	w := &route{server: to, ask: s.ask}
	w.dial = func(ctx context.Context, address string) (net.Conn, error) { return s.connect(ctx, to, address) }
	if w.ask == nil && s.Dial == nil {
		w.ask = systemLookup
	}
	if w.ask == nil || !to.hasName() {
		w.ask, w.named = nil, []string{to.address}
	}
	return w
}

// resolve begins to resolve the name of the server, unless that goes on
// already. It returns what is closed when it has ended.
func (r *route) resolve(ctx context.Context) <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.resolving != nil {
		return r.resolving
	}
	ended := make(chan struct{})
	r.askedAt = time.Now()
	if r.ask == nil {
		close(ended)
		return ended
	}
	r.resolving, r.asked = ended, nil
	r.wg.Go(func() { // ends with ctx, or after lookupTime
		r.resolved(resolve(ctx, r.noteServer, r.server.families(), r.server.host()))
	})
	return ended
}

// note is a lookup that remembers which name servers are asked.
func (r *route) noteServer(ctx context.Context, mayAsk func(string) error, network, host string) ([]netip.Addr, error) {
	return r.ask(ctx, func(server string) error {
		if err := mayAsk(server); err != nil {
			return err
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if !slices.Contains(r.asked, server) {
			r.asked = append(r.asked, server)
		}
		return nil
	}, network, host)
}

// learn takes in what was resolved.
func (r *route) resolved(n lookupResult) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n.err == nil {
		r.named = nil
		for _, addr := range n.addrs {
			r.named = append(r.named, net.JoinHostPort(addr.String(), r.server.port()))
		}
	}
	r.silentServers, r.err = n.dead, n.err
	close(r.resolving)
	r.resolving = nil
}

// answered notes that a server has answered at an address.
func (r *route) answered(address string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.proven, r.quiet = address, nil
}

// unanswered notes that an address took a connection and did not answer: the
// next try begins with the others.
func (r *route) unanswered(address string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.quiet = append(slices.DeleteFunc(r.quiet, func(a string) bool { return a == address }), address)
}

// postpone notes which addresses a try has dialled in vain: the next one begins
// with those that are left, if there are any.
func (r *route) postpone(dialed []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = append(r.failed, dialed...)
	if !slices.ContainsFunc(r.named, func(a string) bool { return !slices.Contains(r.failed, a) }) {
		r.failed = nil
	}
}

// addresses returns all that are known, in the order in which they are dialled,
// and how many of them are not quiet.
func (r *route) addresses() (all []string, good int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.proven != "" {
		all = append(all, r.proven)
	}
	for _, address := range r.named {
		if address != r.proven {
			all = append(all, address)
		}
	}
	slices.SortStableFunc(all, func(a, b string) int { return r.rank(a) - r.rank(b) })
	for _, address := range all {
		if !slices.Contains(r.quiet, address) {
			good++
		}
	}
	return all, good
}

// rank is low for what is dialled early. Of the quiet ones that comes last which
// was tried last.
func (r *route) rank(address string) int {
	quiet := slices.Index(r.quiet, address)
	switch {
	case quiet >= 0:
		return 3 + quiet
	case address == r.proven:
		return 0
	case slices.Contains(r.failed, address):
		return 2
	}
	return 1
}

// others reports whether an address is known beside one that does not answer.
func (r *route) hasOther(than string) bool {
	all, _ := r.addresses()
	return slices.ContainsFunc(all, func(a string) bool { return a != than && !slices.Contains(r.quiet, a) })
}

// sinceResolving returns how long ago the name began to be resolved.
func (r *route) sinceResolve() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Since(r.askedAt)
}

// problem says why no address is known.
func (r *route) problem() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.err
	if err == nil || r.resolving != nil {
		err = errNoAnswer
	}
	if dead := r.unansweredServers(); errors.Is(err, errNoAnswer) && len(dead) > 0 {
		err = fmt.Errorf("%w: asked were %s", err, strings.Join(dead, ", "))
	}
	return &resolveError{r.server.host(), err}
}

// deaf returns the name servers that have not answered.
func (r *route) unansweredServers() []string {
	if r.resolving != nil {
		return r.asked
	}
	return r.silentServers
}

// found returns the addresses that the name has, without their port, and the
// name servers that did not answer.
func (r *route) found() (addresses, dead []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ask == nil {
		return nil, nil
	}
	for _, address := range r.named {
		host, _, _ := net.SplitHostPort(address) //nolint:errcheck // learn has joined it
		addresses = append(addresses, host)
	}
	return addresses, slices.Clone(r.unansweredServers())
}

// dialing reports whether a connection may come soon: an address is known and
// is dialled.
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

// Dialed is what came of dialling an address.
type dialResult struct {
	conn    net.Conn
	address string
	err     error
}

// A try dials one address after the other, each beside those before it, and
// those that failed once more as long as it goes on.
type attempt struct {
	way     *route
	eager   bool            // the first address is dialled once more, as a SYN may be lost
	names   <-chan struct{} // closed when the name is resolved
	begin   time.Time
	last    time.Time // when an address was dialled; zero if one has failed since
	dialed  []candidate
	running int
	results chan dialResult
	err     error // of the address that failed first
}

// An attempt is an address of a try.
type candidate struct {
	address string
	at      time.Time // last
	failed  bool
}

// connect connects to the address of the server that is first to take a
// connection. It takes no longer than limit; the name is resolved for as long as
// ctx lasts.
func (r *route) connect(ctx context.Context, limit time.Duration, eager bool) dialResult {
	t := &attempt{way: r, eager: eager, names: r.resolve(ctx), begin: time.Now(), results: make(chan dialResult)}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		address, wait := t.next()
		if address == "" && wait == 0 {
			return dialResult{err: t.end(nil)}
		}
		if wait <= 0 {
			t.dial(ctx, address)
			continue
		}
		select {
		case d := <-t.results:
			if d.err == nil {
				return d
			}
			t.fail(d)
		case <-t.names:
			t.names = nil
		case <-time.After(wait):
		case <-ctx.Done():
			return dialResult{err: t.end(ctx.Err())}
		}
	}
}

// next returns the address that is dialled next and for how long it has to
// wait. Without an address it returns for how long something else may come.
func (a *attempt) next() (address string, wait time.Duration) {
	if address, wait = a.untried(); address != "" {
		return address, wait
	}
	since := time.Since(a.begin)
	switch {
	case a.eager && a.running > 0:
		return a.dialed[0].address, secondTry - since
	case a.running > 0:
		return a.again()
	case a.names != nil && len(a.dialed) == 0:
		return "", tryTime // or until the time of the try is over
	case a.names != nil:
		return "", max(namesPause-since, 0)
	}
	return "", 0
}

// untried returns the next address that was not dialled yet.
func (a *attempt) untried() (address string, wait time.Duration) {
	all, good := a.way.addresses()
	i := slices.IndexFunc(all, func(address string) bool { return a.find(address) == nil })
	switch {
	case i < 0:
		return "", 0
	case i < good:
		return all[i], stagger - time.Since(a.last)
	case a.running == 0 && a.names == nil:
		return all[i], 0
	}
	return all[i], max(stagger-time.Since(a.last), quietPause-time.Since(a.begin))
}

// again returns the address that failed first: while others are not answered,
// its collector may have restarted.
func (a *attempt) again() (address string, wait time.Duration) {
	wait = tryTime
	for i := range a.dialed {
		d := &a.dialed[i]
		if left := minPause - time.Since(d.at); d.failed && left < wait {
			address, wait = d.address, left
		}
	}
	return address, wait
}

func (a *attempt) find(address string) *candidate {
	i := slices.IndexFunc(a.dialed, func(d candidate) bool { return d.address == address })
	if i < 0 {
		return nil
	}
	return &a.dialed[i]
}

// dial begins to dial an address.
func (a *attempt) dial(ctx context.Context, address string) {
	a.last = time.Now()
	if d := a.find(address); d == nil {
		a.dialed = append(a.dialed, candidate{address: address, at: a.last})
	} else {
		d.at, d.failed, a.eager = a.last, false, false
	}
	a.running++
	a.way.count(1)
	a.way.wg.Go(func() { // ends with ctx
		conn, err := a.way.dial(ctx, address)
		a.way.count(-1)
		select {
		case a.results <- dialResult{conn, address, err}:
		case <-ctx.Done():
			if conn != nil {
				conn.Close()
			}
		}
	})
}

// fail takes in that an address does not take a connection: then the next one
// need not wait.
func (a *attempt) fail(d dialResult) {
	a.running--
	a.last = time.Time{}
	a.find(d.address).failed = true
	if a.err == nil {
		a.err = d.err
	}
}

// end says why there is no connection; late is not nil if the time is over.
func (a *attempt) end(late error) error {
	addresses := make([]string, 0, len(a.dialed))
	for _, d := range a.dialed {
		addresses = append(addresses, d.address)
	}
	a.way.postpone(addresses)
	switch {
	case a.err != nil:
		return a.err
	case late != nil && len(addresses) > 0:
		return fmt.Errorf("no answer from %s: %w", strings.Join(addresses, ", "), late)
	}
	return a.way.problem()
}

// A resolveError says why a server has no address.
type resolveError struct {
	host string
	err  error
}

func (e *resolveError) Error() string {
	return fmt.Sprintf("resolving %.256q failed: %v", e.host, e.err)
}
func (e *resolveError) Unwrap() error { return e.err }
