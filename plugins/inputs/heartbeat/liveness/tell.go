package liveness

import "time"

// become is the only place where a state changes.
func (t *Tracker) become(p *peer, state State, reason Reason, now time.Time) {
	if p.state == state {
		return
	}
	at, before := now.Sub(t.epoch), p.state
	if before == Dead {
		p.remember().deadFor += at - p.since
		p.noteChange(at)
	}
	if state == Dead {
		p.remember().Deaths++
		p.noteChange(at)
		t.vacant.add(p)
	}
	t.put(p, state, reason)
	p.since, p.sinceV, p.sinceUTC = at, t.verdict(now), now.UnixNano()
	t.announceOnce(p, now)
	if p.host.own == p {
		t.lead(p, before, now)
	}
}

// put counts p in another state.
func (t *Tracker) put(p *peer, state State, reason Reason) {
	t.counts[p.state]--
	t.counts[state]++
	if was, is := p.state.over(), state.over(); was && !is {
		p.host.living++
	} else if is && !was {
		p.host.living--
	}
	p.state, p.reason = state, reason
	t.touch(p)
	if p.host.living == 0 {
		t.isolation.speaks(p.host)
	}
}

// announceOnce tells the new state of p: at once, or at the next tick if too
// much is heard from it.
func (t *Tracker) announceOnce(p *peer, now time.Time) {
	switch {
	case !t.quiet:
		t.announce(p, now)
	case !p.untold:
		p.untold = true
		t.untold = append(t.untold, p)
	}
}

// tellUntold tells what became of peers that send too much: once a tick at
// the most, so that nobody floods the outputs.
func (t *Tracker) tellUntold(now time.Time) {
	for _, e := range t.endings {
		e.peer.remember().untoldEnds = 0
		if e.peer.index >= 0 {
			t.tell(e.peer, Transition{Event: Ended, Previous: e.peer.state, Ending: e.ending}, now)
		}
	}
	clear(t.endings)
	t.endings = t.endings[:0]
	for _, p := range t.untold {
		p.untold = false
		t.announce(p, now)
	}
	clear(t.untold)
	t.untold = t.untold[:0]
}

// announce tells the state of p, unless it is the one that was told last.
func (t *Tracker) announce(p *peer, now time.Time) {
	if p.told == p.state {
		return
	}
	change := Transition{Event: Changed, Previous: p.told}
	if p.told != Unknown {
		change.Lasted = p.since - p.toldSince
	}
	p.told, p.toldSince = p.state, p.since
	t.tell(p, change, now)
}

// tell adds a transition that concerns p.
func (t *Tracker) tell(p *peer, tr Transition, now time.Time) {
	tr.View = t.viewOf(p, now)
	t.report(p, tr)
}

// closeSeries tells the last word of the series under which p was known.
func (t *Tracker) closeSeries(p *peer, now time.Time) {
	tr := Transition{View: t.viewOf(p, now), Event: Changed, Previous: p.state, Lasted: now.Sub(t.epoch) - p.since}
	tr.State, tr.Reason = Left, ReasonReplaced
	t.report(p, tr)
}

// report adds tr, which is complete but for its id.
func (t *Tracker) report(p *peer, tr Transition) {
	tr.EventID = p.nextEventID(&tr)
	t.touch(p)
	t.out = append(t.out, tr)
}

// eventKinds is how many kinds of events there are: a change to each state, the
// last word of a series, and every other Event.
const eventKinds = len(States) + 1 + int(Ended-Changed)

// kind returns the kind of event that tr is, below eventKinds.
func (tr *Transition) kind() int {
	switch {
	case tr.Event != Changed:
		return len(States) + int(tr.Event-Changed)
	case tr.Reason == ReasonReplaced:
		return len(States)
	}
	return int(tr.State)
}

// A Trail tells events of a peer apart between which no numbered beat was heard.
type Trail struct {
	Seq    int64              // the number of the last beat before them; 0 if it had none
	Counts [eventKinds]uint16 // how many there were of each kind
}

// nextEventID returns the id of tr, the next event of p, and counts it.
func (p *peer) nextEventID(tr *Transition) int64 {
	if seq := p.runs[0].High; seq > 0 && seq != p.trail.Seq { // after a crash it is 0
		p.trail = Trail{Seq: seq}
	}
	kind, trail := tr.kind(), &p.trail
	id := newDigest.text(p.id.Source).text(p.id.Service).number(uint64(p.id.PID))
	if p.life != "" {
		id = id.text(p.life)
	} else {
		id = id.text(p.process.Boot).number(uint64(p.process.PID))
	}
	id = id.number(uint64(kind)).number(p.Deaths).number(uint64(trail.Seq)).number(uint64(trail.Counts[kind]))
	if tr.Event == Ended {
		id = id.number(uint64(tr.Ending.PID))
	}
	trail.Counts[kind]++
	return int64(id % (1 << 53))
}

// A digest is a hash by FNV-1a, 64 bits.
type digest uint64

const newDigest digest = 14695981039346656037

func (d digest) octet(b byte) digest { return (d ^ digest(b)) * 1099511628211 }

// text adds s and an end that is in no text.
func (d digest) text(s string) digest {
	for i := range len(s) {
		d = d.octet(s[i])
	}
	return d.octet(0xff)
}

// number adds the bytes of n, the lowest first.
func (d digest) number(n uint64) digest {
	for range 8 {
		d = d.octet(byte(n))
		n >>= 8
	}
	return d
}
