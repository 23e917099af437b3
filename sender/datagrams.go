package sender

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// Datagrams are not answered: whether one arrives, nobody here knows. So what
// must not be lost is said several times, and every beat goes to each address
// that the name of the server has.
const (
	maxDatagram  = 1400 // bytes; no path has to split it
	maxDestinations     = 8    // addresses of one server
	endRepeats     = 3    // of an end
	repeatPause    = 100 * time.Millisecond
	fastRepeatPause = 10 * time.Millisecond // likewise, when somebody waits
	refusalTime  = 100 * time.Millisecond
	connectTime  = 2 * time.Second

	// Until the name of a server is resolved anew: two intervals, within
	minResolvePause = time.Second
	maxResolvePause = time.Minute
)

// fitsDatagram says whether all that is ever added to a beat leaves it short
// enough.
func (s *Sender) fitsDatagram(to server, b *wire.Beat) error {
	full := *b
	full.Run, full.Seq, full.SentMS = runOf(newLife(), maxDestinations*max(len(s.Servers), 10)), wire.MaxInteger, wire.MaxInteger
	full.IntervalMS, full.BackInMS, full.Signal = wire.MaxIntervalMS, wire.MaxBackInMS, "SIGRTMIN+15"
	if s.signs() {
		full.To = recipientOf(to).to
	}
	payload, err := s.payload(&full)
	if err == nil && len(payload) > maxDatagram {
		err = fmt.Errorf("service %.128q: a beat may have %d bytes, and a datagram takes %d: give it fewer tags", b.Service, len(payload), maxDatagram)
	}
	return err
}

// A post is a socket to one address of a server, and what was said through it.
// Each has a run of its own, like a server of its own: where two addresses lead
// to one collector, none of them repeats the other.
type destination struct {
	*link   // nil while there is no socket
	address string
	run     string
	deliveries    []delivery
}

// keepPosting beats in datagrams until ctx ends and then says goodbye.
func (s *session) keepDatagrams(ctx context.Context) {
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer s.closeAll()
	defer cancel()
	defer context.AfterFunc(ctx, func() { s.interrupt(s.goodbyeTime()) })()
	next := time.Now().Add(spread(s.sender.Interval)) // so that a fleet does not beat in step
	beat := time.NewTimer(time.Until(next))
	defer beat.Stop()
	s.refresh()
	resolved := s.route.resolve(own)
	for {
		var again, retry <-chan time.Time
		if s.owesEnds() {
			again = time.After(repeatPause)
		}
		if len(s.destinations) == 0 && resolved == nil {
			retry = time.After(tryTime)
		}
		select {
		case <-ctx.Done():
			s.leaveDatagrams(own, resolved)
			return
		case <-resolved:
			resolved = nil
			s.warnSend(s.openSockets(own))
			s.warnSend(s.sendDatagrams(own, unsent))
		case <-beat.C:
			if resolved == nil && s.route.sinceResolve() > s.resolvePause() {
				resolved = s.route.resolve(own)
			}
			s.warnSend(s.sendDatagrams(own, due))
			next = following(next, s.sender.Interval, time.Now())
			beat.Reset(time.Until(next))
		case <-s.changed:
			s.refresh()
			s.warnSend(s.sendDatagrams(own, unsent))
		case <-retry:
			resolved = s.route.resolve(own)
		case <-again:
			s.warnSend(s.sendDatagrams(own, unheardEnd))
		case <-s.turn:
		}
	}
}

func (s *session) warnSend(err error) {
	if err != nil {
		s.warnf("sending to %s failed: %v", s.server, err)
	}
}

// resolvePause is how long a name holds: a collector that has moved must be
// found before the silence is over. It is looked at with each beat, so it ends
// between two of them.
func (s *session) resolvePause() time.Duration {
	interval := s.sender.Interval
	return min(max(2*interval, minResolvePause), maxResolvePause) - interval/2
}

// open opens a socket to each address of the server, in place of those before:
// the address of this host may be another one, too.
func (s *session) openSockets(ctx context.Context) error {
	addresses, _ := s.route.addresses()
	if len(addresses) == 0 {
		return s.route.problem()
	}
	s.assign(addresses[:min(len(addresses), maxDestinations)])
	var failed error
	for _, p := range s.destinations {
		if err := s.openSocket(ctx, p); err != nil && failed == nil {
			failed = err
		}
	}
	return failed
}

// assign gives each address a post: the one that it has, or a free one.
func (s *session) assign(addresses []string) {
	for _, p := range s.destinations {
		if !slices.Contains(addresses, p.address) {
			p.free()
		}
	}
	for len(s.destinations) < len(addresses) {
		s.destinations = append(s.destinations, &destination{run: runOf(s.life, s.number+len(s.destinations)*len(s.sender.Servers))})
	}
	for _, address := range addresses {
		if !slices.ContainsFunc(s.destinations, func(p *destination) bool { return p.address == address }) {
			free := slices.IndexFunc(s.destinations, func(p *destination) bool { return p.address == "" })
			s.destinations[free].address = address
		}
	}
}

// free makes p fit for another address, which was told nothing yet.
func (d *destination) free() {
	d.close()
	d.address = ""
	for i := range d.deliveries {
		d.deliveries[i] = delivery{seq: d.deliveries[i].seq}
	}
}

func (d *destination) close() {
	if d.link != nil {
		d.link.Close()
		d.link = nil
	}
}

// openPost opens a socket to the address of p, if it has one. If that fails,
// the socket that it has may do.
func (s *session) openSocket(ctx context.Context, p *destination) error {
	if p.address == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	conn, err := s.route.dial(ctx, p.address)
	if err != nil {
		if p.link != nil {
			return nil
		}
		return err
	}
	if p.link == nil {
		s.infof("sending to %s, which does not answer", s.server)
	}
	p.close()
	p.link = newLink(conn, p.address)
	return nil
}

// post sends what there is to say, each beat in a datagram of its own, to each
// address. It returns the first error if no address takes it.
func (s *session) sendDatagrams(ctx context.Context, which choice) error {
	var failed error
	taken := false
	for _, p := range s.destinations {
		err := s.sendDatagramsTo(ctx, p, which)
		taken = taken || err == nil && p.link != nil
		if failed == nil {
			failed = err
		}
	}
	if taken {
		return nil
	}
	return failed
}

// postTo sends what there is to say to one address.
func (s *session) sendDatagramsTo(ctx context.Context, p *destination, which choice) error {
	if p.link == nil {
		if err := s.openSocket(ctx, p); p.link == nil {
			return err
		}
	}
	p.deliveries = append(p.deliveries, make([]delivery, len(s.reports)-len(p.deliveries))...)
	for i := range s.reports {
		w, t := &s.reports[i], &p.deliveries[i]
		if !which(w, t) {
			continue
		}
		beat := s.next(w, t, p.link)
		beat.Run = p.run
		if err := s.sendDatagram(p.link, &beat); err != nil {
			p.close()
			return err
		}
		if t.times++; t.times >= endRepeats {
			t.acked = w.version // as far as that goes
		}
	}
	return nil
}

// postOne sends a beat in a datagram. That nobody listens is told of the one
// before: whether this one finds somebody is seen only when it is sent, too.
func (s *session) sendDatagram(to *link, beat *wire.Beat) error {
	payload, err := s.sender.payload(beat)
	if err != nil {
		return err
	}
	if err := s.setWriteDeadline(to, connectTime); err != nil {
		return err
	}
	_, err = to.Write(payload)
	if errors.Is(err, syscall.ECONNREFUSED) {
		_, err = to.Write(payload)
	}
	return err
}

// owes reports whether an end was not said often enough, where it can be said.
func (s *session) owesEnds() bool {
	return slices.ContainsFunc(s.destinations, func(p *destination) bool {
		for i := range p.deliveries {
			if p.link != nil && unheardEnd(&s.reports[i], &p.deliveries[i]) {
				return true
			}
		}
		return false
	})
}

// leavePosts says the last words. Without an address it waits for one, as long
// as a goodbye may take.
func (s *session) leaveDatagrams(ctx context.Context, resolved <-chan struct{}) {
	s.refresh()
	limit := s.goodbyeTime()
	if s.sender.Hurry && s.allSucceeded() {
		limit = successTime
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := s.awaitAddress(ctx, resolved)
	if err == nil {
		err = s.sendDatagrams(ctx, unsent)
	}
	if err != nil {
		s.warnf("goodbye was not delivered: %v", err)
	}
	s.repeatEnds(ctx)
}

// awaitAddress waits until there is somewhere to send to.
func (s *session) awaitAddress(ctx context.Context, resolved <-chan struct{}) error {
	if len(s.destinations) > 0 {
		return nil
	}
	select {
	case <-resolved:
	case <-ctx.Done():
		return s.route.problem()
	}
	return s.openSockets(ctx)
}

// postRest says the ends that were not said often enough.
func (s *session) repeatEnds(ctx context.Context) {
	pause := repeatPause
	if s.sender.Hurry {
		pause = fastRepeatPause
	}
	for range endRepeats {
		if !s.owesEnds() {
			return
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		s.sendDatagrams(ctx, unheardEnd) //nolint:errcheck // the first telling has said it
	}
}

// postAll says everything once, and ends as often as they have to be. It fails
// if the host of the server says that nobody listens there.
func (s *session) exchangeDatagrams(ctx context.Context, which choice) *Exchange {
	x := &Exchange{Server: s.server.url}
	begin := time.Now()
	err := s.awaitAddress(ctx, s.route.resolve(ctx))
	x.Resolved, x.Dead = s.route.found()
	if err == nil {
		err = s.sendDatagrams(ctx, which)
	}
	if first := slices.IndexFunc(s.destinations, func(p *destination) bool { return p.link != nil }); err == nil && first >= 0 {
		p := s.destinations[first]
		x.Connecting, x.Local, x.Remote = time.Since(begin), nameOf(p.LocalAddr()), nameOf(p.RemoteAddr())
		s.repeatEnds(ctx)
		err = s.awaitRefusal()
	}
	if err != nil {
		x.Err = s.failed(ctx, "sending to", err)
	}
	s.freeAll()
	return x
}

// freeAll lets the next try begin anew.
func (s *session) freeAll() {
	for _, p := range s.destinations {
		p.free()
	}
	s.destinations = nil
}

// awaitRefusal returns what the network has to say about datagrams, if it says
// so of all addresses.
func (s *session) awaitRefusal() error {
	until := time.Now().Add(refusalTime)
	refused := errors.New("the socket is closed")
	for _, p := range s.destinations {
		if p.link == nil {
			continue
		}
		err := p.SetReadDeadline(until)
		if err == nil {
			_, err = p.Read(make([]byte, 1))
		}
		if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		refused = err
	}
	return refused
}

// nameOf returns what to call an address, which a unix socket may lack.
func nameOf(addr net.Addr) string {
	if addr == nil || addr.String() == "" {
		return "a unix socket"
	}
	return addr.String()
}
