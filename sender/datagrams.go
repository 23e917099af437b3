package sender

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// Datagrams are not answered, so the sender cannot know whether one arrives. So it
// sends an end several times, and every beat to each address of the server.
const (
	maxDatagram     = 1400 // bytes, to avoid fragmentation
	maxDestinations = 8    // maximum number of addresses of one server
	endRepeats      = 3    // how often an end is sent
	repeatPause     = 100 * time.Millisecond
	fastRepeatPause = 10 * time.Millisecond // with Sender.Hurry
	refusalTime     = 100 * time.Millisecond
	connectTime     = 2 * time.Second

	// The time until the name of a server is resolved again: two intervals, within
	minResolvePause = time.Second
	maxResolvePause = time.Minute
)

// fitsDatagram returns an error if a beat may become too long for a datagram when
// all other fields are added.
func (s *Sender) fitsDatagram(to server, b *wire.Beat) error {
	full := *b
	full.Run = runOf(newLife(), maxDestinations*max(len(s.Servers), 10))
	full.Seq, full.SentMS = wire.MaxInteger, wire.MaxInteger
	full.IntervalMS, full.BackInMS, full.Signal = wire.MaxIntervalMS, wire.MaxBackInMS, "SIGRTMIN+15"
	if s.Key.isSet() {
		full.To = recipientOf(to).to
	}
	payload, err := s.payload(&full)
	if err == nil && len(payload) > maxDatagram {
		err = fmt.Errorf("service %.128q: a beat can be %d bytes long, more than the limit of %d for a datagram: use fewer tags",
			b.Service, len(payload), maxDatagram)
	}
	return err
}

// A destination is a socket to one address of a server, with a record of what was
// sent to it. It has its own run, like another server: if two addresses lead to one
// collector, neither repeats what the other sent.
type destination struct {
	address    string // empty if the destination is free
	link       *link  // nil if there is no socket
	run        string
	deliveries []delivery // of each report
}

// free prepares d for another address, to which nothing has been sent yet.
func (d *destination) free() {
	d.close()
	d.address = ""
	for i := range d.deliveries {
		d.deliveries[i] = delivery{seq: d.deliveries[i].seq}
	}
}

func (d *destination) close() {
	if d.link != nil {
		d.link.close()
		d.link = nil
	}
}

// keepDatagrams is like keepLink, for a server that receives datagrams.
func (s *session) keepDatagrams(ctx, own context.Context) {
	resolved := s.route.resolve(own)
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-resolved:
			resolved = nil
			s.openAndSend(own)
		case <-s.beat.C:
			if resolved == nil && s.route.sinceResolve() > s.resolvePause() {
				resolved = s.route.resolve(own)
			}
			s.sendOrWarn(own, due)
			s.planBeat(time.Now())
		case <-s.changed:
			s.refresh()
			s.sendOrWarn(own, unsent)
		case <-afterIf(len(s.destinations) == 0 && resolved == nil, tryTime):
			resolved = s.route.resolve(own)
		case <-afterIf(s.hasUnsentEnds(), repeatPause):
			s.sendOrWarn(own, unackedEnd)
		case <-s.probe:
		}
	}
	s.leaveDatagrams(own, resolved)
}

// afterIf is like time.After if the condition is true. Otherwise it returns nil,
// which never fires.
func afterIf(condition bool, pause time.Duration) <-chan time.Time {
	if !condition {
		return nil
	}
	return time.After(pause)
}

// openAndSend starts to use the resolved addresses.
func (s *session) openAndSend(ctx context.Context) {
	if err := s.openSockets(ctx); err != nil {
		s.warnf("sending to %s failed: %v", s.server, err)
	}
	s.sendOrWarn(ctx, unsent)
}

func (s *session) sendOrWarn(ctx context.Context, which choice) {
	if err := s.sendDatagrams(ctx, which); err != nil {
		s.warnf("sending to %s failed: %v", s.server, err)
	}
}

// resolvePause is how long a resolved name is used. It is short enough to find a
// collector that has moved before the allowed silence is over. It ends between two
// beats, because it is checked at each beat.
func (s *session) resolvePause() time.Duration {
	interval := s.sender.Interval
	return min(max(2*interval, minResolvePause), maxResolvePause) - interval/2
}

// openSockets opens a new socket to each address of the server: the address of this
// host may have changed, too.
func (s *session) openSockets(ctx context.Context) error {
	addresses, _ := s.route.addresses()
	if len(addresses) == 0 {
		return s.route.problem()
	}
	s.assign(addresses[:min(len(addresses), maxDestinations)])
	var failed error
	for _, d := range s.destinations {
		if err := s.openSocket(ctx, d); err != nil && failed == nil {
			failed = err
		}
	}
	return failed
}

// assign gives each address a destination: its own, or a free one.
func (s *session) assign(addresses []string) {
	for _, d := range s.destinations {
		if !slices.Contains(addresses, d.address) {
			d.free()
		}
	}
	for len(s.destinations) < len(addresses) {
		number := s.number + len(s.destinations)*len(s.sender.Servers)
		s.destinations = append(s.destinations, &destination{run: runOf(s.life, number)})
	}
	for _, address := range addresses {
		if !slices.ContainsFunc(s.destinations, func(d *destination) bool { return d.address == address }) {
			free := slices.IndexFunc(s.destinations, func(d *destination) bool { return d.address == "" })
			s.destinations[free].address = address
		}
	}
}

// openSocket opens a socket to the address of d, if it has one. If that fails, d
// keeps its old socket.
func (s *session) openSocket(ctx context.Context, d *destination) error {
	if d.address == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	conn, err := s.route.dial(ctx, d.address)
	if err != nil {
		if d.link != nil {
			return nil
		}
		return err
	}
	if d.link == nil {
		s.infof("sending to %s: datagrams are not answered", s.server)
	}
	d.close()
	d.link = newLink(conn, d.address)
	return nil
}

// sendDatagrams sends the selected beats to each address, each beat in its own
// datagram. It returns the first error if no address accepts them.
func (s *session) sendDatagrams(ctx context.Context, which choice) error {
	var failed error
	taken := false
	for _, d := range s.destinations {
		err := s.sendDatagramsTo(ctx, d, which)
		taken = taken || err == nil && d.link != nil
		if failed == nil {
			failed = err
		}
	}
	if taken {
		return nil
	}
	return failed
}

func (s *session) sendDatagramsTo(ctx context.Context, d *destination, which choice) error {
	if d.link == nil {
		if err := s.openSocket(ctx, d); d.link == nil {
			return err
		}
	}
	d.deliveries = append(d.deliveries, make([]delivery, len(s.reports)-len(d.deliveries))...)
	for i := range s.reports {
		r, sent := &s.reports[i], &d.deliveries[i]
		if !which(r, sent) {
			continue
		}
		beat := s.nextBeat(r, sent, d.link)
		beat.Run = d.run
		if err := s.sendDatagram(d.link, &beat); err != nil {
			d.close()
			return err
		}
		if sent.times++; sent.times >= endRepeats {
			sent.acked = r.version // as far as known
		}
	}
	return nil
}

// sendDatagram sends a beat in a datagram. A socket reports that nothing listens
// only when it is next used: such an error is about the previous datagram.
func (s *session) sendDatagram(to *link, beat *wire.Beat) error {
	payload, err := s.sender.payload(beat)
	if err != nil {
		return err
	}
	if err := s.setWriteDeadline(to.conn, connectTime); err != nil {
		return err
	}
	_, err = to.conn.Write(payload)
	if errors.Is(err, syscall.ECONNREFUSED) {
		_, err = to.conn.Write(payload)
	}
	return err
}

// hasUnsentEnds reports whether an end has to be sent again, to an address with a
// socket.
func (s *session) hasUnsentEnds() bool {
	for _, d := range s.destinations {
		for i := range d.deliveries {
			if d.link != nil && unackedEnd(&s.reports[i], &d.deliveries[i]) {
				return true
			}
		}
	}
	return false
}

// leaveDatagrams says goodbye. Without an address it waits for one, as long as
// a goodbye may take.
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

// repeatEnds sends the ends that were not sent often enough.
func (s *session) repeatEnds(ctx context.Context) {
	pause := repeatPause
	if s.sender.Hurry {
		pause = fastRepeatPause
	}
	for range endRepeats {
		if !s.hasUnsentEnds() {
			return
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		s.sendDatagrams(ctx, unackedEnd) //nolint:errcheck // the first attempt has logged it
	}
}

// exchangeDatagrams sends everything once, and ends endRepeats times. It fails if
// the host of the server reports that nothing listens there.
func (s *session) exchangeDatagrams(ctx context.Context, which choice) *Exchange {
	x := &Exchange{Server: s.server.url}
	begin := time.Now()
	err := s.awaitAddress(ctx, s.route.resolve(ctx))
	x.Resolved, x.DeadNameServers = s.route.found()
	if err == nil {
		err = s.sendDatagrams(ctx, which)
	}
	if first := slices.IndexFunc(s.destinations, func(d *destination) bool { return d.link != nil }); err == nil && first >= 0 {
		x.connectedBy(s.destinations[first].link.conn, begin)
		s.repeatEnds(ctx)
		err = s.awaitRefusal()
	}
	if err != nil {
		x.Err = s.failed(ctx, "sending to", err)
	}
	for _, d := range s.destinations {
		d.free()
	}
	s.destinations = nil // the next try starts over
	return x
}

// awaitRefusal returns the error of the network if it refuses the datagrams at all
// addresses.
func (s *session) awaitRefusal() error {
	until := time.Now().Add(refusalTime)
	refused := errors.New("the socket is closed")
	for _, d := range s.destinations {
		if d.link == nil {
			continue
		}
		err := d.link.conn.SetReadDeadline(until)
		if err == nil {
			_, err = d.link.conn.Read(make([]byte, 1))
		}
		if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		refused = err
	}
	return refused
}
