package sender

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

const (
	tryTime    = 5 * time.Second        // minimum for one attempt to connect
	stagger    = 250 * time.Millisecond // between two addresses of an attempt (RFC 8305, 5)
	secondTry  = 500 * time.Millisecond // until the first address is dialled again
	quietPause = time.Second            // until quiet addresses are dialled
	namesPause = time.Second            // wait for the name server after the known addresses failed
)

// A dialResult is the result of dialling an address.
type dialResult struct {
	conn    net.Conn // nil on an error
	address string
	err     error
}

// An attempt dials one address after the other without waiting for the earlier
// ones. While it goes on, it dials failed addresses again.
type attempt struct {
	route   *route
	eager   bool            // dial the first address again soon: a SYN may be lost
	names   <-chan struct{} // closed when the name is resolved; then nil
	begin   time.Time
	last    time.Time // when an address was last dialled; zero if one has failed since
	dialed  []candidate
	running int
	results chan dialResult
	err     error // of the address that failed first
}

// A candidate is an address that an attempt has dialled.
type candidate struct {
	address string
	at      time.Time // when it was last dialled
	failed  bool
}

// connect connects to the address of the server that is first to accept a
// connection. It takes no longer than limit; resolving the name goes on until ctx
// ends.
func (r *route) connect(ctx context.Context, limit time.Duration, eager bool) dialResult {
	a := &attempt{route: r, eager: eager, names: r.resolve(ctx), begin: time.Now(), results: make(chan dialResult)}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		address, wait := a.next()
		if address == "" && wait == 0 {
			return dialResult{err: a.end(nil)}
		}
		if wait <= 0 {
			a.dial(ctx, address)
			continue
		}
		select {
		case d := <-a.results:
			if d.err == nil {
				return d
			}
			a.fail(d)
		case <-a.names:
			a.names = nil
		case <-time.After(wait):
		case <-ctx.Done():
			return dialResult{err: a.end(ctx.Err())}
		}
	}
}

// next returns the address to dial next and how long to wait before that.
// Without an address, it returns how long to wait for other events.
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
		return "", tryTime // or until the limit of connect
	case a.names != nil:
		return "", max(namesPause-since, 0)
	}
	return "", 0
}

// untried returns the next address that has not been dialled yet.
func (a *attempt) untried() (address string, wait time.Duration) {
	all, good := a.route.addresses()
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

// again returns the address that failed first: its collector may have restarted
// while others do not answer.
func (a *attempt) again() (address string, wait time.Duration) {
	wait = tryTime
	for i := range a.dialed {
		c := &a.dialed[i]
		if left := minPause - time.Since(c.at); c.failed && left < wait {
			address, wait = c.address, left
		}
	}
	return address, wait
}

// find returns nil if an address has not been dialled yet.
func (a *attempt) find(address string) *candidate {
	i := slices.IndexFunc(a.dialed, func(c candidate) bool { return c.address == address })
	if i < 0 {
		return nil
	}
	return &a.dialed[i]
}

// dial starts to dial an address.
func (a *attempt) dial(ctx context.Context, address string) {
	a.last = time.Now()
	if c := a.find(address); c == nil {
		a.dialed = append(a.dialed, candidate{address: address, at: a.last})
	} else {
		c.at, c.failed, a.eager = a.last, false, false
	}
	a.running++
	a.route.count(1)
	a.route.wg.Go(func() { // ends with ctx
		conn, err := a.route.dial(ctx, address)
		a.route.count(-1)
		select {
		case a.results <- dialResult{conn, address, err}:
		case <-ctx.Done():
			if conn != nil {
				conn.Close()
			}
		}
	})
}

// fail records that an address refused a connection, so the next one need not
// wait.
func (a *attempt) fail(d dialResult) {
	a.running--
	a.last = time.Time{}
	a.find(d.address).failed = true
	if a.err == nil {
		a.err = d.err
	}
}

// end returns the error if there is no connection; late is the error of a timeout,
// or nil.
func (a *attempt) end(late error) error {
	addresses := make([]string, 0, len(a.dialed))
	for _, c := range a.dialed {
		addresses = append(addresses, c.address)
	}
	a.route.postpone(addresses)
	switch {
	case a.err != nil:
		return a.err
	case late != nil && len(addresses) > 0:
		return fmt.Errorf("no answer from %s: %w", strings.Join(addresses, ", "), late)
	}
	return a.route.problem()
}
