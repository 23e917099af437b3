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
type way struct {
	server server
	dial   func(ctx context.Context, address string) (net.Conn, error)
	ask    lookup // nil if dial takes names

	wg sync.WaitGroup // dialling and resolving

	mu      sync.Mutex // guards what follows
	proven  string     // address that answered last; empty if none did
	named   []string   // addresses that the name gave last
	quiet   []string   // those that took a connection since then and did not answer, the last one last
	vain    []string   // those that were dialled in vain since the others were
	dead    []string   // name servers that did not answer last time
	failed  error      // of the last resolving
	asking  chan struct{}
	asked   []string // name servers, since then
	askedAt time.Time
	dials   int // that go on
}

func newWay(s *Sender, to server) *way {
	w := &way{server: to, ask: s.ask}
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
func (w *way) resolve(ctx context.Context) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.asking != nil {
		return w.asking
	}
	ended := make(chan struct{})
	w.askedAt = time.Now()
	if w.ask == nil {
		close(ended)
		return ended
	}
	w.asking, w.asked = ended, nil
	w.wg.Go(func() { // ends with ctx, or after lookupTime
		w.learn(resolve(ctx, w.note, w.server.families(), w.server.host()))
	})
	return ended
}

// note is a lookup that remembers which name servers are asked.
func (w *way) note(ctx context.Context, mayAsk func(string) error, network, host string) ([]netip.Addr, error) {
	return w.ask(ctx, func(server string) error {
		if err := mayAsk(server); err != nil {
			return err
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if !slices.Contains(w.asked, server) {
			w.asked = append(w.asked, server)
		}
		return nil
	}, network, host)
}

// learn takes in what was resolved.
func (w *way) learn(n names) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n.err == nil {
		w.named = nil
		for _, addr := range n.addrs {
			w.named = append(w.named, net.JoinHostPort(addr.String(), w.server.port()))
		}
	}
	w.dead, w.failed = n.dead, n.err
	close(w.asking)
	w.asking = nil
}

// answered notes that a server has answered at an address.
func (w *way) answered(address string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.proven, w.quiet = address, nil
}

// unanswered notes that an address took a connection and did not answer: the
// next try begins with the others.
func (w *way) unanswered(address string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.quiet = append(slices.DeleteFunc(w.quiet, func(a string) bool { return a == address }), address)
}

// postpone notes which addresses a try has dialled in vain: the next one begins
// with those that are left, if there are any.
func (w *way) postpone(dialed []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.vain = append(w.vain, dialed...)
	if !slices.ContainsFunc(w.named, func(a string) bool { return !slices.Contains(w.vain, a) }) {
		w.vain = nil
	}
}

// addresses returns all that are known, in the order in which they are dialled,
// and how many of them are not quiet.
func (w *way) addresses() (all []string, good int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.proven != "" {
		all = append(all, w.proven)
	}
	for _, address := range w.named {
		if address != w.proven {
			all = append(all, address)
		}
	}
	slices.SortStableFunc(all, func(a, b string) int { return w.rank(a) - w.rank(b) })
	for _, address := range all {
		if !slices.Contains(w.quiet, address) {
			good++
		}
	}
	return all, good
}

// rank is low for what is dialled early. Of the quiet ones that comes last which
// was tried last.
func (w *way) rank(address string) int {
	quiet := slices.Index(w.quiet, address)
	switch {
	case quiet >= 0:
		return 3 + quiet
	case address == w.proven:
		return 0
	case slices.Contains(w.vain, address):
		return 2
	}
	return 1
}

// others reports whether an address is known beside one that does not answer.
func (w *way) others(than string) bool {
	all, _ := w.addresses()
	return slices.ContainsFunc(all, func(a string) bool { return a != than && !slices.Contains(w.quiet, a) })
}

// sinceResolving returns how long ago the name began to be resolved.
func (w *way) sinceResolving() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Since(w.askedAt)
}

// problem says why no address is known.
func (w *way) problem() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	err := w.failed
	if err == nil || w.asking != nil {
		err = errNoAnswer
	}
	if dead := w.deaf(); errors.Is(err, errNoAnswer) && len(dead) > 0 {
		err = fmt.Errorf("%w: asked were %s", err, strings.Join(dead, ", "))
	}
	return &resolveError{w.server.host(), err}
}

// deaf returns the name servers that have not answered.
func (w *way) deaf() []string {
	if w.asking != nil {
		return w.asked
	}
	return w.dead
}

// found returns the addresses that the name has, without their port, and the
// name servers that did not answer.
func (w *way) found() (addresses, dead []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ask == nil {
		return nil, nil
	}
	for _, address := range w.named {
		host, _, _ := net.SplitHostPort(address) //nolint:errcheck // learn has joined it
		addresses = append(addresses, host)
	}
	return addresses, slices.Clone(w.deaf())
}

// dialing reports whether a connection may come soon: an address is known and
// is dialled.
func (w *way) dialing() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dials > 0
}

func (w *way) count(dials int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dials += dials
}

// Dialed is what came of dialling an address.
type dialed struct {
	conn    net.Conn
	address string
	err     error
}

// A try dials one address after the other, each beside those before it, and
// those that failed once more as long as it goes on.
type try struct {
	way     *way
	eager   bool            // the first address is dialled once more, as a SYN may be lost
	names   <-chan struct{} // closed when the name is resolved
	begin   time.Time
	last    time.Time // when an address was dialled; zero if one has failed since
	dialed  []attempt
	running int
	results chan dialed
	err     error // of the address that failed first
}

// An attempt is an address of a try.
type attempt struct {
	address string
	at      time.Time // last
	failed  bool
}

// connect connects to the address of the server that is first to take a
// connection. It takes no longer than limit; the name is resolved for as long as
// ctx lasts.
func (w *way) connect(ctx context.Context, limit time.Duration, eager bool) dialed {
	t := &try{way: w, eager: eager, names: w.resolve(ctx), begin: time.Now(), results: make(chan dialed)}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		address, wait := t.next()
		if address == "" && wait == 0 {
			return dialed{err: t.end(nil)}
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
			return dialed{err: t.end(ctx.Err())}
		}
	}
}

// next returns the address that is dialled next and for how long it has to
// wait. Without an address it returns for how long something else may come.
func (t *try) next() (address string, wait time.Duration) {
	if address, wait = t.untried(); address != "" {
		return address, wait
	}
	since := time.Since(t.begin)
	switch {
	case t.eager && t.running > 0:
		return t.dialed[0].address, secondTry - since
	case t.running > 0:
		return t.again()
	case t.names != nil && len(t.dialed) == 0:
		return "", tryTime // or until the time of the try is over
	case t.names != nil:
		return "", max(namesPause-since, 0)
	}
	return "", 0
}

// untried returns the next address that was not dialled yet.
func (t *try) untried() (address string, wait time.Duration) {
	all, good := t.way.addresses()
	i := slices.IndexFunc(all, func(a string) bool { return t.find(a) == nil })
	switch {
	case i < 0:
		return "", 0
	case i < good:
		return all[i], stagger - time.Since(t.last)
	case t.running == 0 && t.names == nil:
		return all[i], 0
	}
	return all[i], max(stagger-time.Since(t.last), quietPause-time.Since(t.begin))
}

// again returns the address that failed first: while others are not answered,
// its collector may have restarted.
func (t *try) again() (address string, wait time.Duration) {
	wait = tryTime
	for i := range t.dialed {
		d := &t.dialed[i]
		if left := minPause - time.Since(d.at); d.failed && left < wait {
			address, wait = d.address, left
		}
	}
	return address, wait
}

func (t *try) find(address string) *attempt {
	i := slices.IndexFunc(t.dialed, func(d attempt) bool { return d.address == address })
	if i < 0 {
		return nil
	}
	return &t.dialed[i]
}

// dial begins to dial an address.
func (t *try) dial(ctx context.Context, address string) {
	t.last = time.Now()
	if d := t.find(address); d == nil {
		t.dialed = append(t.dialed, attempt{address: address, at: t.last})
	} else {
		d.at, d.failed, t.eager = t.last, false, false
	}
	t.running++
	t.way.count(1)
	t.way.wg.Go(func() { // ends with ctx
		conn, err := t.way.dial(ctx, address)
		t.way.count(-1)
		select {
		case t.results <- dialed{conn, address, err}:
		case <-ctx.Done():
			if conn != nil {
				conn.Close()
			}
		}
	})
}

// fail takes in that an address does not take a connection: then the next one
// need not wait.
func (t *try) fail(d dialed) {
	t.running--
	t.last = time.Time{}
	t.find(d.address).failed = true
	if t.err == nil {
		t.err = d.err
	}
}

// end says why there is no connection; late is not nil if the time is over.
func (t *try) end(late error) error {
	addresses := make([]string, 0, len(t.dialed))
	for _, d := range t.dialed {
		addresses = append(addresses, d.address)
	}
	t.way.postpone(addresses)
	switch {
	case t.err != nil:
		return t.err
	case late != nil && len(addresses) > 0:
		return fmt.Errorf("no answer from %s: %w", strings.Join(addresses, ", "), late)
	}
	return t.way.problem()
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
