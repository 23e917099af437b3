package cluster

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

const (
	presencePause = time.Second
	// presenceHolds is for how long a presence is believed.
	presenceHolds = 3 * time.Second
	roundPause    = time.Minute
	// startPatience is for how long a collector that starts waits for a mate.
	startPatience = 5 * time.Second
	// stalledAfter is after what pause of ours we were stalled: what is told then is
	// older than it seems, and what was received meanwhile has to be heard first.
	stalledAfter = 500 * time.Millisecond
	// latest is how long a message may have been underway beyond the fastest one.
	latest = 3 * time.Second
	// drift is 1 over by how much two monotonic clocks differ at the most.
	drift = 1000
	// clocksDiffer is by how much two wall clocks may differ unsaid.
	clocksDiffer = 2 * time.Second
	// portion is how many peers are told or taken in at once.
	portion = 512
	// factHolds is for how long a fact is news: who starts has to find a mate first.
	factHolds = startPatience + latest
	// maxEarly is how many facts are kept for mates that are yet to be found: a fleet that begins
	// is heard by all collectors.
	maxEarly = 4096
)

// A Circle is this collector among its mates. It is a state machine: messages and the
// passing of time go in, messages come out; it holds no clock, goroutine or socket. Its
// methods must not be called concurrently.
type Circle struct {
	name   string
	rules  map[string]uint64
	key    []byte
	peers  Peers
	check  Check
	log    Logger
	send   func(message []byte)
	epoch  time.Time
	start  uint64
	count  uint64 // of messages sent
	mates  map[uint64]*mate
	counts map[uint64]uint64 // of the latest message of each start

	ticked      time.Time // when tick was called last
	heldUntil   uint64    // until that tick of the judge nothing is answered
	held        []asked   // what is to be answered then
	nextRound   time.Time
	roundNext   int  // peers of the round that are yet to be told; 0 for none
	roundAll    bool // also those that were not heard here
	saidPresent time.Time

	question uint32 // the last one sent
	open     []openQuestion
	early    []earlyFact // what was told before we were ready

	resumed  time.Time // when we went on after a pause in which a mate has taken over; zero for never
	spokeAt  time.Time // when a mate was heard that spoke, before we were ready
	readyAt  time.Time // since when we are ready; zero if we are not
	speaks   bool
	lost     bool      // the mate that spoke went without goodbye, and nobody has spoken since
	stands   bool      // it speaks though a mate goes before it, as none does
	spokenAt time.Time // when anybody that is reachable spoke last, or other mates became so
	names    []string
	status   Status
}

// An asked is a question that is yet to be answered.
type asked struct {
	from   uint64
	number uint32
	hashes []uint64
}

// An openQuestion is one that not all mates have answered.
type openQuestion struct {
	number  uint32 // among all mates
	settles uint32 // the question of the tracker that is settled with it; 0 for none
	at      time.Time
}

// An earlyFact is one that a mate has yet to be told that is found.
type earlyFact struct {
	fact liveness.Fact
	at   time.Time // when Ago was right
}

// NewCircle returns the circle of a collector that starts now. start has to be another
// number in each start.
func NewCircle(o *Options, start uint64, now time.Time, send func([]byte)) *Circle {
	c := &Circle{
		name: o.Name, rules: o.Rules, key: o.Secret, peers: o.Peers, check: o.Check, log: o.Log, send: send, epoch: now, start: start,
		mates: make(map[uint64]*mate), counts: make(map[uint64]uint64), ticked: now, nextRound: now.Add(roundPause),
	}
	c.status.Name = o.Name
	if c.check == nil {
		c.check = func(*liveness.Record) error { return nil }
	}
	return c
}

// Begin lets the circle start now instead of when it was made.
func (c *Circle) Begin(now time.Time) {
	c.epoch, c.ticked, c.nextRound = now, now, now.Add(roundPause)
}

// Tick lets time pass: what has to be told is told, and mates that are silent are lost.
// It is to be called ten times a second, and at once when the peers have something to
// say.
func (c *Circle) Tick(now time.Time) {
	pause := now.Sub(c.ticked)
	c.ticked = now
	if pause > stalledAfter {
		c.heldUntil = c.peers.Ticks() + 2
	}
	if c.speaks && pause >= presenceHolds {
		c.resume(now)
	}
	c.review(now)
	if c.speaks {
		c.peers.KeepSpeaking(now.Add(presenceHolds))
	}
	if now.Sub(c.saidPresent) >= presencePause {
		c.present(now)
	}
	c.answerHeld(now)
	c.tellSaid(now)
	c.settle(now)
	c.tellRound(now)
	c.tellTold(now)
}

// tellSaid tells what the peers have to say, and asks what they ask.
func (c *Circle) tellSaid(now time.Time) {
	for more := true; more; {
		said := c.peers.Said()
		c.tellFacts(0, said.Facts, now)
		c.keepEarly(said.Facts, now)
		c.tellWords(said.Words, now)
		if len(said.Asked) > 0 {
			c.ask(said.Asked, said.Question, now)
		}
		more = said.More
	}
}

// ask asks the mates about some peers.
func (c *Circle) ask(hashes []uint64, settles uint32, now time.Time) {
	c.question++
	c.open = append(c.open, openQuestion{c.question, settles, now})
	body := binary.BigEndian.AppendUint32(nil, c.question)
	c.tell(kindQuestion, 0, appendHashes(body, hashes), now)
}

func appendHashes(b []byte, hashes []uint64) []byte {
	for _, hash := range hashes {
		b = binary.BigEndian.AppendUint64(b, hash)
	}
	return b
}

// settle settles the questions that each mate has answered that is reachable. One that
// leaves a question open for too long is not reachable. While we are not ready a mate may be
// there that is yet to be found.
func (c *Circle) settle(now time.Time) {
	if !c.ready(now) {
		return
	}
	for len(c.open) > 0 {
		q := &c.open[0]
		for _, m := range c.mates {
			if m.reachable && m.answered < q.number && now.Sub(q.at) >= liveness.AnswerTime {
				m.mute = q.number
				c.review(now)
			}
		}
		if slices.ContainsFunc(c.reachable(), func(m *mate) bool { return m.answered < q.number }) {
			return
		}
		if q.settles > 0 {
			c.peers.Settle(q.settles)
		}
		c.open = c.open[1:]
	}
}

// tellFacts tells facts to a mate, or to all if to is 0.
func (c *Circle) tellFacts(to uint64, facts []liveness.Fact, now time.Time) {
	for some := range slices.Chunk(facts, portion/2) {
		c.tellJSON(kindFacts, to, some, now)
	}
}

// keepEarly keeps facts of the time in which we are not ready, be they heard from a mate. What we
// see then is left to the mate that will speak, which cannot have heard of it before we have found
// each other: the record that it asks for of a peer that it does not know is no news.
func (c *Circle) keepEarly(facts []liveness.Fact, now time.Time) {
	if c.ready(now) {
		c.early = nil
		return
	}
	for i := range facts[:min(len(facts), maxEarly-len(c.early))] {
		c.early = append(c.early, earlyFact{facts[i], now})
	}
}

// tellEarly tells a mate that was found what it could not hear before.
func (c *Circle) tellEarly(m *mate, now time.Time) {
	facts := make([]liveness.Fact, 0, len(c.early))
	for _, e := range c.early {
		e.fact.Ago += now.Sub(e.at)
		facts = append(facts, e.fact)
	}
	c.tellFacts(m.start, facts, now)
}

// tellWords tells words to all mates.
func (c *Circle) tellWords(words []liveness.Word, now time.Time) {
	var body []byte
	for i := range words {
		if body = appendWord(body, &words[i]); len(body) > maxBody || i == len(words)-1 {
			c.tell(kindWords, 0, body, now)
			body = nil
		}
	}
}

// tellRound tells a part of what the mates have to know once a minute: of each peer that
// was heard here, or is not well, how it is.
func (c *Circle) tellRound(now time.Time) {
	if !now.Before(c.nextRound) {
		c.beginRound(false, now)
	}
	if c.roundNext == 0 {
		return
	}
	words, next := c.peers.Words(c.roundNext)
	if c.roundNext = next; !c.roundAll {
		words = slices.DeleteFunc(words, func(w liveness.Word) bool { return !w.Heard && w.State == liveness.Alive })
	}
	c.tellWords(words, now)
}

func (c *Circle) beginRound(all bool, now time.Time) {
	c.nextRound, c.roundNext, c.roundAll = now.Add(roundPause), c.peers.Count(), all
}

// tellTold tells which events were told, so that no mate tells them too, as soon as they have
// been taken from us.
func (c *Circle) tellTold(now time.Time) {
	if !c.peers.Flows() {
		return
	}
	for some := range slices.Chunk(c.peers.TakeTold(), maxBody/32) {
		var body []byte
		for i := range some {
			body = appendTelling(body, &some[i])
		}
		c.tell(kindTold, 0, body, now)
	}
}

// present says that we are there.
func (c *Circle) present(now time.Time) {
	c.saidPresent = now
	able, isolated := c.peers.Able()
	p := presence{
		Rules: c.rules, WallMS: now.UnixMilli(), Able: able, Isolated: isolated, Ready: c.ready(now), Speaks: c.speaks,
		Hears: make(map[uint64]hearing),
	}
	for start, m := range c.mates {
		if now.Sub(m.seen) < presenceHolds {
			p.Hears[start] = hearing{m.asked, m.sent.Milliseconds()}
		}
	}
	c.tellJSON(kindPresence, 0, p, now)
	c.probe(now)
}

// probe asks the mates that have left a question open for nothing: when they answer they
// are reachable again. The question itself may have been lost.
func (c *Circle) probe(now time.Time) {
	for _, m := range c.mates {
		if m.mute > 0 && !m.gone && now.Sub(m.seen) < presenceHolds {
			c.question++
			c.tell(kindQuestion, m.start, binary.BigEndian.AppendUint32(nil, c.question), now)
		}
	}
}

// Bye says that we stop: what we have told need not be told again. If it may not have left us,
// we go without a word, as if we were killed.
func (c *Circle) Bye(now time.Time) {
	c.tellSaid(now)
	c.tellTold(now)
	if c.peers.Flows() {
		c.tell(kindBye, 0, nil, now)
	}
}

func (c *Circle) tellJSON(k kind, to uint64, what any, now time.Time) {
	body, err := json.Marshal(what)
	if err != nil { // no value of ours is one that JSON does not know
		c.log.Warnf("Cannot encode a message to the mates: %v", err)
		return
	}
	c.tell(k, to, body, now)
}

func (c *Circle) tell(k kind, to uint64, body []byte, now time.Time) {
	c.count++
	h := header{version: version, kind: k, start: c.start, to: to, counter: c.count, sent: now.Sub(c.epoch), name: c.name}
	c.send(seal(c.key, &h, body))
}

// Receive takes in a message. What is no message of a mate changes nothing.
func (c *Circle) Receive(message []byte, now time.Time) {
	h, body, err := unseal(c.key, message)
	if err != nil || h.start == c.start || h.to != 0 && h.to != c.start || h.counter <= c.counts[h.start] {
		return
	}
	c.counts[h.start] = h.counter
	m := c.mates[h.start]
	if m == nil {
		m = &mate{name: h.name, start: h.start, met: now}
		c.mates[h.start] = m
	}
	m.version, m.sent = h.version, h.sent
	ago := m.underway(h.sent, now.Sub(c.epoch))
	if h.version != version || ago > latest && h.kind != kindTold {
		return // what it says cannot be understood, or is too old to be believed
	}
	if err := c.take(m, h.kind, body, ago, now); err != nil && !m.garbled {
		m.garbled = true
		c.log.Warnf("Received an invalid message from %s: %v", m, err)
	}
}

// take takes in what a mate says, as of ago before now.
func (c *Circle) take(m *mate, k kind, body []byte, ago time.Duration, now time.Time) error {
	if !m.counts(k) {
		return nil
	}
	r := &reader{rest: body}
	switch k {
	case kindPresence:
		return c.takePresence(m, body, now)
	case kindBye:
		c.takeBye(m, now)
	case kindQuestion:
		q := asked{m.start, r.uint32(), r.hashes()}
		if r.err() == nil {
			c.held = append(c.held, q)
			c.answerHeld(now)
		}
	case kindAnswer:
		c.takeAnswer(m, r, now)
	case kindWords:
		if words := r.words(); r.err() == nil {
			c.hearWords(m, words, ago, now)
		}
	case kindFacts:
		return c.takeFacts(m, body, ago, now)
	case kindWant:
		c.tellRecords(m, r.hashes(), false, now)
	case kindRecords:
		return c.takeRecords(m, body, ago, now)
	case kindTold:
		c.peers.Told(ago, r.tellings())
	}
	return r.err()
}

// counts reports whether a message of m counts.
func (m *mate) counts(k kind) bool {
	switch k {
	case kindPresence, kindBye, kindQuestion: // a question is answered: that makes it reachable again
		return true
	case kindTold:
		return m.proved // else its age cannot be told
	}
	return m.reachable
}

// answerHeld answers the questions of mates, unless we were stalled: then what was sent
// to us meanwhile is heard first.
func (c *Circle) answerHeld(now time.Time) {
	if c.peers.Ticks() < c.heldUntil {
		return
	}
	for _, q := range c.held {
		if m := c.mates[q.from]; m != nil {
			m.asked = q.number
		}
		var words []liveness.Word
		for some := range slices.Chunk(q.hashes, portion) {
			words = c.peers.Answer(words, some)
		}
		body := binary.BigEndian.AppendUint32(nil, q.number)
		for i := range words {
			body = appendWord(body, &words[i])
		}
		c.tell(kindAnswer, q.from, body, now)
	}
	c.held = nil
}

// takeAnswer takes in an answer. It counts from when the question was asked; one to an
// old question, or to one that is settled, says nothing any more.
func (c *Circle) takeAnswer(m *mate, r *reader, now time.Time) {
	number := r.uint32()
	words := r.words()
	at, open := slices.BinarySearchFunc(c.open, number, func(q openQuestion, n uint32) int { return cmp.Compare(q.number, n) })
	if r.err() != nil || !open {
		return
	}
	if ago := now.Sub(c.open[at].at); ago <= liveness.AnswerTime {
		c.hearWords(m, words, ago, now)
	}
	m.answered = max(m.answered, number)
	c.settle(now)
}

// hearWords takes in words of a mate, and wants to know more where that is needed.
func (c *Circle) hearWords(m *mate, words []liveness.Word, ago time.Duration, now time.Time) {
	var wanted []uint64
	for some := range slices.Chunk(words, portion) {
		wanted = append(wanted, c.peers.HearWords(m.name, ago, some)...)
	}
	for some := range slices.Chunk(wanted, portion) {
		c.tell(kindWant, m.start, appendHashes(nil, some), now)
	}
}

// takeFacts takes in what a mate was told. What no collector can have been told is left
// out.
func (c *Circle) takeFacts(m *mate, body []byte, ago time.Duration, now time.Time) error {
	var facts []liveness.Fact
	if err := decode(body, &facts); err != nil {
		return err
	}
	var wrong error
	for i := range facts {
		f := &facts[i]
		if err := c.checkFact(f, now); err != nil {
			wrong = err
			continue
		}
		if f.Ago = max(f.Ago, 0) + ago; f.Ago <= factHolds {
			c.peers.HearFact(m.name, f)
			c.keepEarly(facts[i:i+1], now)
		}
	}
	return wrong
}

func (c *Circle) checkFact(f *liveness.Fact, now time.Time) error {
	b, before := &f.Beat, f.Before
	if before != (liveness.ID{}) && (!before.Nameless() || before.Source != b.ID.Source || !b.ID.Nameless()) {
		return fmt.Errorf("peer %.80q cannot become %.80q", before, b.ID)
	}
	most, least := max(b.Interval, b.Margin, b.BackIn, b.MaxRuntime, f.Ago, f.Doubt), min(b.Margin, b.BackIn, b.MaxRuntime, f.Doubt)
	if b.Status > liveness.SaysDead || most > longest || least < 0 {
		return fmt.Errorf("a beat of %.80q has invalid values", b.ID)
	}
	return c.check(&liveness.Record{
		ID: b.ID, Labels: b.Labels, Process: b.Process, Interval: b.Interval, Health: b.Health, SentMS: b.SentMS, Since: now, Heard: now,
	})
}

// takeRecords takes in what a mate knows. Its clock may show another time. What no
// collector can have recorded is left out.
func (c *Circle) takeRecords(m *mate, body []byte, ago time.Duration, now time.Time) (wrong error) {
	var k known
	if err := decode(body, &k); err != nil {
		return err
	}
	sound := k.Records[:0]
	for i := range k.Records {
		r := &k.Records[i]
		if r.HeardBy == c.name {
			r.HeardBy = "" // by us
		}
		r.Move(time.Duration(now.Add(-ago).UnixNano() - k.WallNS))
		if err := c.check(r); err != nil {
			wrong = err
			continue
		}
		sound = append(sound, *r)
	}
	if needed := c.peers.HearRecords(m.name, ago, sound); !k.Reply {
		c.tellRecords(m, needed, true, now)
	}
	return wrong
}

// tellRecords tells a mate what it wants to know, or lacks: then in reply to its records.
func (c *Circle) tellRecords(m *mate, hashes []uint64, reply bool, now time.Time) {
	for some := range slices.Chunk(hashes, portion/4) {
		if records := c.peers.RecordsOf(some); len(records) > 0 {
			c.tellJSON(kindRecords, m.start, known{now.UnixNano(), records, reply}, now)
		}
	}
}
