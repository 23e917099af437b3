// This file decides whether to trust a beat. It checks the order of the beat within its run,
// whether it waited in a queue, whether a signed beat is a replay, and which user owns the
// peer. A beat is accepted unless it is certainly not newer than one received before, has
// waited too long, may be a replay, or comes from a user that may not beat for the peer.

package liveness

import (
	"maps"
	"net/netip"
	"slices"
	"time"
)

// An order is the place of a beat within its run.
type order uint8

const (
	fresh     order = iota // not known to be older than an earlier beat
	duplicate              // received before
	late                   // a later one was received before
)

// maxLost is the most lost beats that are counted for one gap. A sender that skips more numbers
// does not number its beats one by one, and would make the total useless.
const maxLost = 1 << 20

// A Run records the beats from one run of a sender over one of its paths to us. The sender
// numbers them.
type Run struct {
	Name string
	High int64 // the highest number received; 0 for an unused entry
}

// judgeOrder judges a beat of p within its run. It also returns 1 if this beat directly follows
// the previous one, 2 if one beat is missing between them, and so on; 0 if that is unknown.
// Numbers of different runs are not compared. If the run has no name, a lower number does not
// prove that a beat is old: the sender may have restarted.
func (p *peer) judgeOrder(name string, seq int64) (order, int64) {
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

// high returns the highest number received in a run of p, or 0 if it is not one of the last
// two.
func (p *peer) high(name string) int64 {
	switch name {
	case p.run.Name:
		return p.run.High
	case p.before.Name:
		return p.before.High
	}
	return 0
}

// numbered returns the runs of p that have numbers, the latest first.
func (p *peer) numbered() (all []Run) {
	for _, run := range []Run{p.run, p.before} {
		if run.High > 0 {
			all = append(all, run)
		}
	}
	return all
}

// forgetOrder forgets the runs of p, because they belong to an earlier sender.
func (p *peer) forgetOrder() {
	p.run = Run{}
	if p.before != (Run{}) || p.proof != nil {
		traits := p.editTraits()
		traits.before, traits.proof = Run{}, nil
	}
}

// A carrier, such as a message queue, delivers the beats of several hosts, and beats may wait
// in it. A beat that has waited is no sign of life now. The beat contains the time at which it
// was sent, by the clock of its host. Only the offset of that clock from ours is used, and
// only for beats that a carrier delivers.

const (
	// maxStrangers is the most unknown peers whose send times are remembered, and the most
	// addresses that are remembered as possible carriers.
	maxStrangers = 1000
	// Beats keep their pace if their distance on arrival differs by at most 1/ownPaceShare
	// from their distance when sent.
	ownPaceShare = 4
	// A pace that lasts lastingSilences times the allowed silence cannot be a coincidence.
	lastingSilences = 2
	// A steady stream of beats corrects the known offset of the clocks by 1/lagShare of the
	// difference, because clocks drift.
	lagShare = 16
)

// A carried is what is known about the send times of a peer's beats that carriers deliver. Its
// numbers are milliseconds: unix times by the clock of the host, or durations.
type carried struct {
	lag    int64    // the least delay between sending and arrival, by both clocks
	newest int64    // when the latest beat was sent; 0 for none yet
	over   carrier  // the carrier that delivered last, first and all beats in between
	last   delivery // a recent delivery; later ones are compared with it
	first  delivery // the first delivery since the beats have kept their pace
	pace   pace
}

// A delivery is when a beat was sent, in unix ms on the clock of its host, and when it
// arrived.
type delivery struct {
	sent int64
	came time.Duration
}

// since compares two deliveries. apart is the time between their sending, off is how much the
// time between their arrivals differs from apart, and paced reports whether off is small for
// beats at this interval.
func (d delivery) since(other delivery, interval time.Duration) (apart, off time.Duration, paced bool) {
	apart = ms(d.sent - other.sent)
	off = (d.came - other.came - apart).Abs()
	return apart, off, apart >= 0 && off <= max(apart/ownPaceShare, interval)
}

// A pace describes how long beats have arrived at the same intervals at which they were sent.
type pace uint8

const (
	unpaced pace = iota
	brief        // for one or two intervals: for beats from a queue this may be a coincidence
	lasting      // for lastingSilences times the allowed silence
)

// A carrier is a connection, or the address that datagrams and requests come from.
type carrier struct {
	conn   ConnID
	remote netip.Addr // if conn is 0
}

// carrier returns the connection or address over which b came.
func (b *Beat) carrier() carrier {
	if b.Conn != 0 {
		return carrier{conn: b.Conn}
	}
	return carrier{remote: b.Remote}
}

// noteCarrier notes whether the connection or address over which b came delivers beats of
// several hosts.
func (t *Tracker) noteCarrier(b *Beat) {
	switch over := b.carrier(); {
	case !b.Watched || b.SentMS == 0 || b.Handle.p != nil && b.Handle.p.host.source == b.ID.Source:
	case b.Conn != 0:
		if p := t.conns.latest[b.Conn]; p != nil && p.watched && p.host.source != b.ID.Source {
			t.carriers[over] = struct{}{}
		}
	case b.Run == "" && b.Remote.IsValid(): // our own senders, which set Run, may share an address although each has a clock of its own
		if other := t.speakers[b.Remote]; other != "" && other != b.ID.Source {
			t.carriers[over] = struct{}{}
		} else if len(t.speakers) >= maxStrangers { // entries that are still needed are noted again
			clear(t.speakers)
			maps.DeleteFunc(t.carriers, func(c carrier, _ struct{}) bool { return c.conn == 0 })
		}
		t.speakers[b.Remote] = b.ID.Source
	}
}

// placeCarried judges b by its send time, if a carrier delivered it, and returns what is known
// about the send times of its peer, or nil. A beat that keeps the pace of its peer has not
// waited: if it seems to have waited, the clock of its host was set. A brief pace only keeps a
// living peer alive. A lasting pace also revives a peer, and shows that its clock was set.
func (t *Tracker) placeCarried(b *Beat, now time.Time) (order, *carried) {
	if !b.Watched || b.SentMS == 0 {
		return fresh, nil
	}
	p, at := t.peerOf(b), now.Sub(t.epoch)
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

// ms returns n milliseconds as a duration, limited so that sums do not overflow.
func ms(n int64) time.Duration {
	const most = int64(longAgo / time.Millisecond)
	return time.Duration(min(max(n, -most), most)) * time.Millisecond
}

// provesNothing reports whether b has waited too long to count as a sign of life: its peer may
// have ended since, or is known to have ended later than b was sent.
func (t *Tracker) provesNothing(p *peer, b *Beat, waited, at time.Duration) bool {
	tooLong := waited > t.silenceOf(p, b)
	if p == nil || b.Status != SaysAlive {
		return p == nil && tooLong
	}
	return tooLong || p.state.over() && at-waited < p.since
}

// silenceOf returns the silence allowed to the peer of b, which is p if it is known.
func (t *Tracker) silenceOf(p *peer, b *Beat) time.Duration {
	if p == nil {
		return t.SilenceFor(b).Dead
	}
	return t.silence(p, &p.process).Dead
}

// carriedOf returns what is known about the send times of the peer of b, which is p if it is
// known. It returns nil if no carrier delivers its beats. The first beat counts as sent now,
// unless nothing is known about its host and the beat seems too old: then an old beat is more
// likely than a wrong clock. b may also be the first beat that a carrier delivers over a new
// connection.
func (t *Tracker) carriedOf(p *peer, b *Beat, lag int64) *carried {
	c := p.proofOrNone().carried
	if c == nil {
		c = t.strangers[b.ID]
	}
	_, ok := t.carriers[b.carrier()]
	old := p == nil && ms(lag) > t.silenceOf(p, b)
	if c != nil || !ok && !(old && t.carries && b.Run == "") {
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

// carriedFrom returns what is known about the send times of any peer of a host, or nil.
func (t *Tracker) carriedFrom(source string) *carried {
	h := t.bySource[source]
	if h == nil {
		return nil
	}
	for _, p := range h.peers[:min(maxNearby, len(h.peers))] {
		if c := p.proofOrNone().carried; c != nil {
			return c
		}
	}
	return nil
}

// keepsPace returns the pace of the beats up to and including b. Two beats keep the pace if
// they are at least one interval apart and off by at most three quarters of an interval, or at
// least two intervals apart and off by at most one interval, because a carrier may collect
// several beats. If a second carrier delivers the same beats, they are ignored. allowed is the
// silence allowed to the peer.
func (c *carried) keepsPace(b *Beat, at, allowed time.Duration) pace {
	over, d := b.carrier(), delivery{b.SentMS, at}
	if over != c.over && c.last.sent != 0 && at-c.last.came < backlog {
		return unpaced
	}
	apart, off, paced := d.since(c.last, b.Interval)
	switch {
	case over != c.over, !paced:
		c.over, c.first, c.pace = over, d, unpaced
	case apart == 0, apart < b.Interval, apart < 2*b.Interval && off > b.Interval-b.Interval/ownPaceShare:
		return c.pace // undecided yet
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

// noteCarried remembers c for the peer of b, which is p if it is known now.
func (t *Tracker) noteCarried(p *peer, b *Beat, c *carried) {
	switch {
	case c == nil:
	case p != nil:
		p.changed = p.changed || p.proofOrNone().carried == nil
		p.editProof().carried, t.carries = c, true
		delete(t.strangers, b.ID)
	case len(t.strangers) < maxStrangers:
		t.strangers[b.ID] = c
	default:
		clear(t.strangers) // entries that are still needed are noted again
	}
}

// A proof is the data that prevents other senders from beating for a peer. It is a separate
// structure because most peers are neither signed nor carried, and do not beat over a Unix
// socket.
type proof struct {
	runs    []SignedRun // the latest first, at most maxSignedRuns, each once
	floor   int64       // the latest SentMS of all forgotten runs, unix ms; 0 for none
	owner   uint32      // the user that owns the peer; 0 for none
	carried *carried    // nil if no carrier delivers its beats
}

// noProof is shared by all peers that have no proof. It is never modified.
var noProof proof

// proofOrNone returns the proof of p for reading. p may be nil.
func (p *peer) proofOrNone() *proof {
	if p == nil || p.proof == nil {
		return &noProof
	}
	return p.proof
}

// editProof returns the proof of p for writing.
func (p *peer) editProof() *proof {
	if p.proof == nil {
		p.editTraits().proof = new(proof)
	}
	return p.proof
}

// A SignedRun is a run whose beats were signed.
type SignedRun struct {
	Name    string
	High    int64 // the highest number received
	SentMS  int64 // the latest send time, on the sender's clock, unix ms
	HeardMS int64 // when the latest beat was received, on our clock, unix ms
}

const (
	// maxSignedRuns is how many runs of a peer are remembered. The latest leastSignedRuns are
	// remembered even if they are old, so that a daemon and a one-shot sender beside it do not
	// displace each other.
	maxSignedRuns   = 16
	leastSignedRuns = 2
)

// Replayed reports whether a signed beat was received before, or is so old that this is no
// longer known. Within a run its number must grow. The first beat of a run must be sent within
// ReplayWindow of now, by the wall clocks of both sides, and later than the beats of all
// forgotten runs: SentMS must exceed after. In all other cases after is 0.
func (t *Tracker) Replayed(b *Beat, now time.Time) (after int64, replayed bool) {
	if !b.Signed {
		return 0, false
	}
	p := t.peerOf(b)
	proof := p.proofOrNone()
	known := proof.find(b.Run)
	switch {
	case p != nil && b.Seq <= p.high(b.Run), known >= 0 && b.Seq <= proof.runs[known].High:
		return 0, true
	case known >= 0:
		return 0, false
	}
	floor := proof.floor
	if t.ahead(floor, now) {
		floor = 0 // the floor is from before our clock was set back
	}
	if b.SentMS > floor && !t.ahead(b.SentMS, now) && !t.tooOld(b.SentMS, now) {
		return 0, false
	}
	return max(floor, now.UnixMilli()-1), true
}

// noteSigned remembers the run of a signed beat.
func (t *Tracker) noteSigned(p *peer, b *Beat, now time.Time) {
	if !b.Signed {
		return
	}
	proof, run := p.editProof(), SignedRun{Name: b.Run}
	if i := proof.find(b.Run); i >= 0 {
		run = proof.runs[i]
		proof.runs = slices.Delete(proof.runs, i, i+1)
	}
	sent := b.SentMS
	if t.ahead(sent, now) { // within a run a clock may be wrong; that must not block other runs until the time that it shows
		sent = now.UnixMilli()
	}
	run.High, run.SentMS, run.HeardMS = b.Seq, max(run.SentMS, sent), now.UnixMilli()
	proof.runs = slices.Insert(proof.runs, 0, run)
	if t.ahead(proof.floor, now) {
		proof.floor = 0
	}
	proof.forget(func(r *SignedRun) bool { return t.tooOld(r.SentMS, now) && t.tooOld(r.HeardMS, now) })
}

// find returns the index of a run, or -1.
func (p *proof) find(name string) int {
	return slices.IndexFunc(p.runs, func(r SignedRun) bool { return r.Name == name })
}

// forget forgets the runs that are over, and those above the limit.
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

// ahead reports whether sentMS is so far in the future that the clock must be wrong.
func (t *Tracker) ahead(sentMS int64, now time.Time) bool {
	return sentMS > now.UnixMilli()+t.opts.ReplayWindow.Milliseconds()
}

// tooOld reports whether a beat sent at sentMS may have been received and forgotten.
func (t *Tracker) tooOld(sentMS int64, now time.Time) bool {
	return sentMS < now.UnixMilli()-t.opts.ReplayWindow.Milliseconds()
}

// OwnedByOtherUser reports whether the peer of b belongs to a user other than the one that sent
// b. Until the peer has left, only root may also beat for it.
func (t *Tracker) OwnedByOtherUser(b *Beat) bool {
	if b.User == 0 {
		return false
	}
	p := t.peerOf(b)
	owner := p.proofOrNone().owner
	return owner != 0 && owner != b.User && p.state != Left
}

// setOwner makes user the owner of p. Root may beat for all peers and owns none.
func (p *peer) setOwner(user uint32) {
	if user != 0 && p.proofOrNone().owner != user {
		p.editProof().owner = user
	}
}
