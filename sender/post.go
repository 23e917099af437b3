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
	maxPosts     = 8    // addresses of one server
	tellings     = 3    // of an end
	tellPause    = 100 * time.Millisecond
	hurriedPause = 10 * time.Millisecond // likewise, when somebody waits
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
	full.Run, full.Seq, full.SentMS = runOf(newLife(), maxPosts*max(len(s.Servers), 10)), wire.MaxInteger, wire.MaxInteger
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
type post struct {
	*link   // nil while there is no socket
	address string
	run     string
	told    []told
}

// keepPosting beats in datagrams until ctx ends and then says goodbye.
func (l *line) keepPosting(ctx context.Context) {
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer l.closeAll()
	defer cancel()
	defer context.AfterFunc(ctx, func() { l.interrupt(l.goodbyeTime()) })()
	next := time.Now().Add(spread(l.sender.Interval)) // so that a fleet does not beat in step
	beat := time.NewTimer(time.Until(next))
	defer beat.Stop()
	l.learn()
	resolved := l.way.resolve(own)
	for {
		var again, retry <-chan time.Time
		if l.owes() {
			again = time.After(tellPause)
		}
		if len(l.posts) == 0 && resolved == nil {
			retry = time.After(tryTime)
		}
		select {
		case <-ctx.Done():
			l.leavePosts(own, resolved)
			return
		case <-resolved:
			resolved = nil
			l.warnPost(l.open(own))
			l.warnPost(l.post(own, unsaid))
		case <-beat.C:
			if resolved == nil && l.way.sinceResolving() > l.resolvePause() {
				resolved = l.way.resolve(own)
			}
			l.warnPost(l.post(own, due))
			next = following(next, l.sender.Interval, time.Now())
			beat.Reset(time.Until(next))
		case <-l.news:
			l.learn()
			l.warnPost(l.post(own, unsaid))
		case <-retry:
			resolved = l.way.resolve(own)
		case <-again:
			l.warnPost(l.post(own, final))
		case <-l.turn:
		}
	}
}

func (l *line) warnPost(err error) {
	if err != nil {
		l.warnf("sending to %s failed: %v", l.server, err)
	}
}

// resolvePause is how long a name holds: a collector that has moved must be
// found before the silence is over. It is looked at with each beat, so it ends
// between two of them.
func (l *line) resolvePause() time.Duration {
	interval := l.sender.Interval
	return min(max(2*interval, minResolvePause), maxResolvePause) - interval/2
}

// open opens a socket to each address of the server, in place of those before:
// the address of this host may be another one, too.
func (l *line) open(ctx context.Context) error {
	addresses, _ := l.way.addresses()
	if len(addresses) == 0 {
		return l.way.problem()
	}
	l.assign(addresses[:min(len(addresses), maxPosts)])
	var failed error
	for _, p := range l.posts {
		if err := l.openPost(ctx, p); err != nil && failed == nil {
			failed = err
		}
	}
	return failed
}

// assign gives each address a post: the one that it has, or a free one.
func (l *line) assign(addresses []string) {
	for _, p := range l.posts {
		if !slices.Contains(addresses, p.address) {
			p.free()
		}
	}
	for len(l.posts) < len(addresses) {
		l.posts = append(l.posts, &post{run: runOf(l.life, l.number+len(l.posts)*len(l.sender.Servers))})
	}
	for _, address := range addresses {
		if !slices.ContainsFunc(l.posts, func(p *post) bool { return p.address == address }) {
			free := slices.IndexFunc(l.posts, func(p *post) bool { return p.address == "" })
			l.posts[free].address = address
		}
	}
}

// free makes p fit for another address, which was told nothing yet.
func (p *post) free() {
	p.close()
	p.address = ""
	for i := range p.told {
		p.told[i] = told{seq: p.told[i].seq}
	}
}

func (p *post) close() {
	if p.link != nil {
		p.link.Close()
		p.link = nil
	}
}

// openPost opens a socket to the address of p, if it has one. If that fails,
// the socket that it has may do.
func (l *line) openPost(ctx context.Context, p *post) error {
	if p.address == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	conn, err := l.way.dial(ctx, p.address)
	if err != nil {
		if p.link != nil {
			return nil
		}
		return err
	}
	if p.link == nil {
		l.infof("sending to %s, which does not answer", l.server)
	}
	p.close()
	p.link = newLink(conn, p.address)
	return nil
}

// post sends what there is to say, each beat in a datagram of its own, to each
// address. It returns the first error if no address takes it.
func (l *line) post(ctx context.Context, which choice) error {
	var failed error
	taken := false
	for _, p := range l.posts {
		err := l.postTo(ctx, p, which)
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
func (l *line) postTo(ctx context.Context, p *post, which choice) error {
	if p.link == nil {
		if err := l.openPost(ctx, p); p.link == nil {
			return err
		}
	}
	p.told = append(p.told, make([]told, len(l.words)-len(p.told))...)
	for i := range l.words {
		w, t := &l.words[i], &p.told[i]
		if !which(w, t) {
			continue
		}
		beat := l.next(w, t, p.link)
		beat.Run = p.run
		if err := l.postOne(p.link, &beat); err != nil {
			p.close()
			return err
		}
		if t.times++; t.times >= tellings {
			t.heard = w.version // as far as that goes
		}
	}
	return nil
}

// postOne sends a beat in a datagram. That nobody listens is told of the one
// before: whether this one finds somebody is seen only when it is sent, too.
func (l *line) postOne(to *link, beat *wire.Beat) error {
	payload, err := l.sender.payload(beat)
	if err != nil {
		return err
	}
	if err := l.allow(to, connectTime); err != nil {
		return err
	}
	_, err = to.Write(payload)
	if errors.Is(err, syscall.ECONNREFUSED) {
		_, err = to.Write(payload)
	}
	return err
}

// owes reports whether an end was not said often enough, where it can be said.
func (l *line) owes() bool {
	return slices.ContainsFunc(l.posts, func(p *post) bool {
		for i := range p.told {
			if p.link != nil && final(&l.words[i], &p.told[i]) {
				return true
			}
		}
		return false
	})
}

// leavePosts says the last words. Without an address it waits for one, as long
// as a goodbye may take.
func (l *line) leavePosts(ctx context.Context, resolved <-chan struct{}) {
	l.learn()
	limit := l.goodbyeTime()
	if l.sender.Hurry && l.finished() {
		limit = quickTime
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := l.awaitAddress(ctx, resolved)
	if err == nil {
		err = l.post(ctx, unsaid)
	}
	if err != nil {
		l.warnf("goodbye was not delivered: %v", err)
	}
	l.postRest(ctx)
}

// awaitAddress waits until there is somewhere to send to.
func (l *line) awaitAddress(ctx context.Context, resolved <-chan struct{}) error {
	if len(l.posts) > 0 {
		return nil
	}
	select {
	case <-resolved:
	case <-ctx.Done():
		return l.way.problem()
	}
	return l.open(ctx)
}

// postRest says the ends that were not said often enough.
func (l *line) postRest(ctx context.Context) {
	pause := tellPause
	if l.sender.Hurry {
		pause = hurriedPause
	}
	for range tellings {
		if !l.owes() {
			return
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		l.post(ctx, final) //nolint:errcheck // the first telling has said it
	}
}

// postAll says everything once, and ends as often as they have to be. It fails
// if the host of the server says that nobody listens there.
func (l *line) postAll(ctx context.Context, which choice) *Exchange {
	x := &Exchange{Server: l.server.url}
	begin := time.Now()
	err := l.awaitAddress(ctx, l.way.resolve(ctx))
	x.Resolved, x.Dead = l.way.found()
	if err == nil {
		err = l.post(ctx, which)
	}
	if first := slices.IndexFunc(l.posts, func(p *post) bool { return p.link != nil }); err == nil && first >= 0 {
		p := l.posts[first]
		x.Connecting, x.Local, x.Remote = time.Since(begin), nameOf(p.LocalAddr()), nameOf(p.RemoteAddr())
		l.postRest(ctx)
		err = l.awaitRefusal()
	}
	if err != nil {
		x.Err = l.failed(ctx, "sending to", err)
	}
	l.freeAll()
	return x
}

// freeAll lets the next try begin anew.
func (l *line) freeAll() {
	for _, p := range l.posts {
		p.free()
	}
	l.posts = nil
}

// awaitRefusal returns what the network has to say about datagrams, if it says
// so of all addresses.
func (l *line) awaitRefusal() error {
	until := time.Now().Add(refusalTime)
	refused := errors.New("the socket is closed")
	for _, p := range l.posts {
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
