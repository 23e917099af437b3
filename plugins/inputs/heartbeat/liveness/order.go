// Whether a beat is to be believed: order within a run, waiting in a queue, replay of
// signed beats, and the user that a peer belongs to. A beat is refused only if it is
// proved that it is older than one already heard, or that it may have been said before.

package liveness

import (
	"maps"
	"net/netip"
	"slices"
	"time"
)

// An order is where a beat stands among those of its run.
type order uint8

const (
	fresh     order = iota // not known to be older than one already heard
	duplicate              // heard already
	late                   // a later one was heard
)

// maxLost is the most that one gap counts: a sender that skips more does not count
// its beats, and would make a total of no use.
const maxLost = 1 << 20

// A Run is one life of a sender on one of its ways to us, in which it numbers its
// beats.
type Run struct {
	Name string
	High int64 // the highest number heard; 0 for a place not taken
}

// place judges a beat of p within its run and returns by how many it follows the
// one before, or 0 if that is not known. Between runs nothing is compared.
// Without a name of the run a lower number is no proof of age: the sender may
// have begun anew.
func (p *peer) place(name string, seq int64) (order, int64) {
	if seq == 0 {
		return fresh, 0
	}
	if p.run.High == 0 || p.run.Name != name {
		again := p.before.High > 0 && p.before.Name == name
		next := Run{Name: name, High: seq}
		if again {
			next = p.before
		}
		if p.run.High > 0 {
			p.editTraits().before = p.run
		}
		if p.run = next; !again {
			return fresh, 0
		}
	}
	gap := seq - p.run.High
	switch {
	case gap == 0 && name != "":
		return duplicate, 0
	case gap < 0 && name != "":
		return late, 0
	}
	p.run.High = seq
	return fresh, min(max(gap, 0), maxLost+1)
}

// high returns the highest number of p heard in a run, or 0 if that is not one of
// the last two.
func (p *peer) high(name string) int64 {
	switch name {
	case p.run.Name:
		return p.run.High
	case p.before.Name:
		return p.before.High
	}
	return 0
}

// numbered returns the runs of p of which a number was heard, the latest first.
func (p *peer) numbered() (all []Run) {
	for _, run := range []Run{p.run, p.before} {
		if run.High > 0 {
			all = append(all, run)
		}
	}
	return all
}

// forgetOrder forgets what was heard of another sender than the one that beats for p now: its
// order says nothing.
func (p *peer) forgetOrder() {
	p.run = Run{}
	if p.before != (Run{}) || p.proof != nil {
		traits := p.editTraits()
		traits.before, traits.proof = Run{}, nil
	}
}

// What beats of several hosts come over is a carrier: something between them and us, where
// they may have waited, like a queue. What has waited proves no life now. When it was sent is
// told by the clock of its host, of which only the distance from ours is used, and only for
// beats that a carrier has brought.

const (
	// maxStrangers is how many peers that are not known yet are remembered by what carriers
	// bring of them, and how many addresses that may be carriers.
	maxStrangers = 1000
	// ownPaceShare is 1 over the part of the time between two beats by which they may be off
	// their pace.
	ownPaceShare = 4
	// lastingSilences is for how many times the silence that is allowed a pace has to be kept to be
	// no chance.
	lastingSilences = 2
	// lagShare is 1 over the part by which a steady stream moves what is known of the clocks:
	// they drift.
	lagShare = 16
)

// A carried is what is known of when the beats of a peer were sent that carriers have brought.
// Its numbers are unix ms by the clock of its host, or ms.
type carried struct {
	lag    int64    // by how much a beat came later than it was sent, by both clocks: the least
	newest int64    // when the latest one was sent; 0 for none yet
	over   carrier  // which brought last, first and those between
	last   delivery // of one not long ago; later ones are compared with it
	first  delivery // since when they have come at their own pace
	pace   pace
}

// A delivery is when a beat was sent, by the clock of its host in unix ms, and when it came.
type delivery struct {
	sent int64
	came time.Duration
}

// since returns by how much d was sent later than other, by how much that differs from how
// much later it came, and whether that is little for what beats at this interval.
func (d delivery) since(other delivery, interval time.Duration) (apart, off time.Duration, paced bool) {
	apart = ms(d.sent - other.sent)
	off = (d.came - other.came - apart).Abs()
	return apart, off, apart >= 0 && off <= max(apart/ownPaceShare, interval)
}

// A pace is for how long beats have come as far apart as they were sent.
type pace uint8

const (
	unpaced pace = iota
	brief        // for an interval or two: what comes out of a queue may do so by chance
	lasting      // for lastingSilences times as long as the peer may be silent
)

// A carrier is a connection, or where datagrams and requests come from.
type carrier struct {
	conn   ConnID
	remote netip.Addr // if conn is 0
}

// over returns what b came over.
func (b *Beat) over() carrier {
	if b.Conn != 0 {
		return carrier{conn: b.Conn}
	}
	return carrier{remote: b.Remote}
}

// noteCarrier notes whether what b came over carries beats of several hosts.
func (t *Tracker) noteCarrier(b *Beat) {
	switch over := b.over(); {
	case !b.Watched || b.SentMS == 0 || b.Handle.p != nil && b.Handle.p.host.source == b.ID.Source:
	case b.Conn != 0:
		if p := t.conns.latest[b.Conn]; p != nil && p.watched && p.host.source != b.ID.Source {
			t.carriers[over] = struct{}{}
		}
	case b.Run == "" && b.Remote.IsValid(): // our own senders have their own clocks behind one address
		if other := t.speakers[b.Remote]; other != "" && other != b.ID.Source {
			t.carriers[over] = struct{}{}
		} else if len(t.speakers) >= maxStrangers { // they are noted again
			clear(t.speakers)
			maps.DeleteFunc(t.carriers, func(c carrier, _ struct{}) bool { return c.conn == 0 })
		}
		t.speakers[b.Remote] = b.ID.Source
	}
}

// placeCarried judges b by when it was sent, if that matters, and returns what is known of
// that, or nil. One that comes at the pace of its peer did not wait: if it seems to have, the
// clock of its host was set. A brief pace keeps a peer alive; only a lasting one makes it so, and
// is believed of its clock.
func (t *Tracker) placeCarried(b *Beat, now time.Time) (order, *carried) {
	if !b.Watched || b.SentMS == 0 {
		return fresh, nil
	}
	p, at := t.known(b), now.Sub(t.epoch)
	lag := t.epoch.UnixMilli() + at.Milliseconds() - b.SentMS
	c := t.carriedOf(p, b, lag)
	if c == nil {
		return fresh, nil
	}
	allowed := t.silenceOf(p, b)
	pace, before, waited := c.keepsPace(b, at, allowed), c.newest, ms(lag-c.lag)
	c.newest = max(before, b.SentMS)
	onPace, old := pace == lasting || pace == brief && p != nil && !p.state.over(), b.SentMS < before || waited > allowed
	switch {
	case b.SentMS == before && (b.Status == SaysAlive || p != nil && p.reason.reported()):
		return duplicate, c
	case pace == lasting && old:
		c.lag, c.newest = lag, b.SentMS
	case onPace && old:
		return fresh, c
	case onPace:
		c.lag += (lag - c.lag) / lagShare
	case b.SentMS < before, t.provesNothing(p, b, waited, at):
		return late, c
	}
	c.lag = min(c.lag, lag)
	return fresh, c
}

// ms returns so many milliseconds, or the longest time that can be added to.
func ms(n int64) time.Duration {
	const most = int64(longAgo / time.Millisecond)
	return time.Duration(min(max(n, -most), most)) * time.Millisecond
}

// provesNothing reports whether what b says is over, as it has waited for so long: life that
// its peer, if that is known, may have lost since, or had before it ended.
func (t *Tracker) provesNothing(p *peer, b *Beat, waited, at time.Duration) bool {
	tooLong := waited > t.silenceOf(p, b)
	if p == nil || b.Status != SaysAlive {
		return p == nil && tooLong
	}
	return tooLong || p.state.over() && at-waited < p.since
}

// silenceOf returns the silence that is allowed to the peer of b, which is p if it is known.
func (t *Tracker) silenceOf(p *peer, b *Beat) time.Duration {
	if p == nil {
		return t.SilenceFor(b).Dead
	}
	return t.silence(p, &p.process).Dead
}

// carriedOf returns what is known of the peer of b, which is p if it is known. It returns nil
// for one whose beats no carrier brings. The first beat of a host counts as one of now, unless
// nothing is known of the host: an old beat is more likely than a wrong clock. It may be the
// first one that a carrier brings over a connection.
func (t *Tracker) carriedOf(p *peer, b *Beat, lag int64) *carried {
	c := p.proven().carried
	if c == nil {
		c = t.strangers[b.ID]
	}
	_, yes := t.carriers[b.over()]
	old := p == nil && ms(lag) > t.silenceOf(p, b)
	if c != nil || !yes && !(old && t.carries && b.Run == "") {
		return c
	}
	c = &carried{lag: lag}
	if other := t.carriedFrom(b.ID.Source); other != nil {
		c.lag = min(lag, other.lag)
	} else if old {
		c.lag = 0
	}
	return c
}

// carriedFrom returns what is known of one peer of a host, or nil.
func (t *Tracker) carriedFrom(source string) *carried {
	h := t.bySource[source]
	if h == nil {
		return nil
	}
	for _, p := range h.peers[:min(maxNearby, len(h.peers))] {
		if c := p.proven().carried; c != nil {
			return c
		}
	}
	return nil
}

// keepsPace returns for how long beats have come as far apart as they were sent, up to and with
// b: from one to the next over at least an interval, and within three quarters of one, or over at
// least two, and within one, as what carries them may gather several. A second carrier of the
// same beats is not mixed in. Allowed is the silence of their peer.
func (c *carried) keepsPace(b *Beat, at, allowed time.Duration) pace {
	over, d := b.over(), delivery{b.SentMS, at}
	if over != c.over && c.last.sent != 0 && at-c.last.came < backlog {
		return unpaced
	}
	apart, off, paced := d.since(c.last, b.Interval)
	switch {
	case over != c.over, !paced:
		c.over, c.first, c.pace = over, d, unpaced
	case apart == 0, apart < b.Interval, apart < 2*b.Interval && off > b.Interval-b.Interval/ownPaceShare:
		return c.pace // it is to be seen
	default:
		c.pace = max(c.pace, brief)
	}
	c.last = d
	if apart, _, paced := d.since(c.first, b.Interval); apart >= lastingSilences*allowed {
		c.first, c.pace = d, brief
		if paced {
			c.pace = lasting
		}
	}
	return c.pace
}

// noteCarried remembers c of the peer of b, which is p if it is known now.
func (t *Tracker) noteCarried(p *peer, b *Beat, c *carried) {
	switch {
	case c == nil:
	case p != nil:
		p.changed = p.changed || p.proven().carried == nil
		p.prove().carried, t.carries = c, true
		delete(t.strangers, b.ID)
	case len(t.strangers) < maxStrangers:
		t.strangers[b.ID] = c
	default:
		clear(t.strangers) // they are seen again
	}
}

// A proof is what is kept of a peer so that nothing else can speak for it. It is kept apart
// because most peers are neither signed nor carried, nor beat over a Unix socket.
type proof struct {
	runs    []SignedRun // the latest first, at most maxSignedRuns, none twice
	floor   int64       // the latest SentMS of the runs that were forgotten, unix ms; 0 for none
	owner   uint32      // the user that it belongs to; 0 for none
	carried *carried    // nil if no carrier brings its beats
}

// noProof is the proof of all peers that have none. It is never written to.
var noProof proof

// proven returns the proof of p, which may be nil, to read it.
func (p *peer) proven() *proof {
	if p == nil || p.proof == nil {
		return &noProof
	}
	return p.proof
}

// prove returns the proof of p to write to it.
func (p *peer) prove() *proof {
	if p.proof == nil {
		p.editTraits().proof = new(proof)
	}
	return p.proof
}

// A SignedRun is a run whose beats were signed.
type SignedRun struct {
	Name    string
	High    int64 // the highest number heard
	SentMS  int64 // the latest time at which one was sent, by the sender's clock, unix ms
	HeardMS int64 // when the latest one was heard, by ours, likewise
}

const (
	// maxSignedRuns is how many runs of a peer are remembered at most, and
	// leastSignedRuns how many are however old they are: a one-shot beside a
	// daemon makes neither forgotten.
	maxSignedRuns   = 16
	leastSignedRuns = 2
)

// Replayed reports whether a signed beat was said before, as far as that is
// known, or too long ago to know. Within a run its number has to grow. What
// begins a run has to be sent within ReplayWindow of now, by the wall clocks of
// both sides, and later than all of the runs that were forgotten: after is what
// SentMS has to exceed. Else it is 0.
func (t *Tracker) Replayed(b *Beat, now time.Time) (after int64, replayed bool) {
	if !b.Signed {
		return 0, false
	}
	p := t.known(b)
	proof := p.proven()
	known := proof.find(b.Run)
	switch {
	case p != nil && b.Seq <= p.high(b.Run), known >= 0 && b.Seq <= proof.runs[known].High:
		return 0, true
	case known >= 0:
		return 0, false
	}
	floor := proof.floor
	if t.ahead(floor, now) {
		floor = 0 // so it was before our clock was set back
	}
	if b.SentMS > floor && !t.ahead(b.SentMS, now) && !t.old(b.SentMS, now) {
		return 0, false
	}
	return max(floor, now.UnixMilli()-1), true
}

// noteSigned remembers the run of a signed beat.
func (t *Tracker) noteSigned(p *peer, b *Beat, now time.Time) {
	if !b.Signed {
		return
	}
	proof, run := p.prove(), SignedRun{Name: b.Run}
	if i := proof.find(b.Run); i >= 0 {
		run = proof.runs[i]
		proof.runs = slices.Delete(proof.runs, i, i+1)
	}
	sent := b.SentMS
	if t.ahead(sent, now) { // within a run a clock may be wrong; it must not stop other runs until then
		sent = now.UnixMilli()
	}
	run.High, run.SentMS, run.HeardMS = b.Seq, max(run.SentMS, sent), now.UnixMilli()
	proof.runs = slices.Insert(proof.runs, 0, run)
	if t.ahead(proof.floor, now) {
		proof.floor = 0
	}
	proof.forget(func(r *SignedRun) bool { return t.old(r.SentMS, now) && t.old(r.HeardMS, now) })
}

// find returns the index of a run, or -1.
func (p *proof) find(name string) int {
	return slices.IndexFunc(p.runs, func(r SignedRun) bool { return r.Name == name })
}

// forget forgets the runs that are over, and those that are too many.
func (p *proof) forget(over func(*SignedRun) bool) {
	kept := p.runs[:0]
	for i, run := range p.runs {
		if i < leastSignedRuns || len(kept) < maxSignedRuns && !over(&p.runs[i]) {
			kept = append(kept, run)
		} else {
			p.floor = max(p.floor, run.SentMS)
		}
	}
	clear(p.runs[len(kept):])
	p.runs = kept
}

// ahead reports whether nothing can have been sent at that time yet.
func (t *Tracker) ahead(sentMS int64, now time.Time) bool {
	return sentMS > now.UnixMilli()+t.opts.ReplayWindow.Milliseconds()
}

// old reports whether what was sent at that time may have been heard and
// forgotten.
func (t *Tracker) old(sentMS int64, now time.Time) bool {
	return sentMS < now.UnixMilli()-t.opts.ReplayWindow.Milliseconds()
}

// Foreign reports whether the peer of b belongs to another user than the one that b
// comes from. Until it has left, only root may take it over.
func (t *Tracker) Foreign(b *Beat) bool {
	if b.User == 0 {
		return false
	}
	p := t.known(b)
	owner := p.proven().owner
	return owner != 0 && owner != b.User && p.state != Left
}

// setOwner lets p belong to the user that speaks for it. Root owns nothing: it may
// speak for all.
func (p *peer) setOwner(user uint32) {
	if user != 0 && p.proven().owner != user {
		p.prove().owner = user
	}
}
