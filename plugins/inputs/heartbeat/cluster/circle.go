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
	// presenceValid is how long a collector counts as present after its last presence message.
	presenceValid = 3 * time.Second
	roundPause    = time.Minute
	// startPatience is how long a starting collector waits for a mate.
	startPatience = 5 * time.Second
	// stalledAfter is the pause between ticks after which this collector counts as stalled. After a
	// stall, its information is older than it seems, and it must process waiting messages first.
	stalledAfter = 500 * time.Millisecond
	// maxDelay is how much longer a message may travel than the fastest one. A slower message is
	// ignored.
	maxDelay = 3 * time.Second
	// drift is the inverse of the maximum drift between two monotonic clocks, which is 1 in 1000.
	drift = 1000
	// maxClockSkew is the clock skew between two collectors above which a warning is logged.
	maxClockSkew = 2 * time.Second
	// portion is the number of peers that are sent or processed at once.
	portion = 512
	// factValid is how long a fact is accepted as new. It is that long because a starting collector
	// must find a mate before it can send a fact.
	factValid = startPatience + maxDelay
	// maxEarly is the maximum number of facts kept for mates that are not found yet. More are not
	// needed: when a whole fleet starts, all collectors receive its beats.
	maxEarly = 4096
)

// A Circle is the state machine that exchanges messages with the mates. Its inputs are messages and
// ticks, its outputs are messages. It has no clock, goroutine or socket. Its methods must not be
// called concurrently.
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
	counts map[uint64]uint64 // the counter of the latest message of each start

	ticked      time.Time      // when Tick was last called
	heldUntil   uint64         // questions wait until this tick of the judge
	held        []heldQuestion // the questions that wait
	nextRound   time.Time
	roundNext   int  // number of peers left in the round; 0 for none
	roundAll    bool // also send peers whose beats this collector has not received
	presentedAt time.Time

	question uint32 // the last one sent
	open     []openQuestion
	early    []earlyFact // facts from before we were ready

	resumed        time.Time // when we resumed after a pause during which a mate took over; zero for never
	mateReportedAt time.Time // when a mate that reports events last sent a presence before we were ready
	readyAt        time.Time // when we became ready; zero if we are not
	reports        bool
	reporterLost   bool      // the mate that reported events was lost, and no collector has reported events since
	substitutes    bool      // we report events although a mate takes precedence, because none reports any
	reportedAt     time.Time // when a reachable collector last reported events, or the reachable mates last changed
	names          []string
	status         Status
}

// A heldQuestion is a question that we have not answered yet.
type heldQuestion struct {
	from   uint64
	number uint32
	hashes []uint64
}

// An openQuestion is a question of ours that not all mates have answered.
type openQuestion struct {
	number  uint32 // among all mates
	settles uint32 // the number of the tracker's question that its answers settle; 0 for none
	at      time.Time
}

// An earlyFact is a fact kept for mates that are found later.
type earlyFact struct {
	fact liveness.Fact
	at   time.Time // the time that fact.Ago refers to
}

// NewCircle returns the circle of a collector that starts now. Each start of a collector must have
// a different start number.
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

// Begin sets the start time of the circle to now. Before that, it is the time at which NewCircle
// was called.
func (c *Circle) Begin(now time.Time) {
	c.epoch, c.ticked, c.nextRound = now, now, now.Add(roundPause)
}

// Tick sends the messages that are due and marks silent mates as lost. The caller calls it ten
// times a second, and at once when the peers have something to send.
func (c *Circle) Tick(now time.Time) {
	pause := now.Sub(c.ticked)
	c.ticked = now
	if pause > stalledAfter {
		c.heldUntil = c.peers.Ticks() + 2
	}
	if c.reports && pause >= presenceValid {
		c.startOver(now)
	}
	c.updateMates(now)
	if c.reports {
		c.peers.ReportUntil(now.Add(presenceValid))
	}
	if now.Sub(c.presentedAt) >= presencePause {
		c.sendPresence(now)
	}
	c.answerHeld(now)
	c.sendNews(now)
	c.settle(now)
	c.sendRound(now)
	c.sendReported(now)
}

// sendNews sends news about peers, and the questions that the tracker wants to ask.
func (c *Circle) sendNews(now time.Time) {
	for more := true; more; {
		said := c.peers.Said()
		c.sendFacts(0, said.Facts, now)
		c.keepEarly(said.Facts, now)
		c.sendWords(said.Words, now)
		if len(said.Asked) > 0 {
			c.ask(said.Asked, said.Question, now)
		}
		more = said.More
	}
}

// ask sends a question about some peers to the mates.
func (c *Circle) ask(hashes []uint64, settles uint32, now time.Time) {
	c.question++
	c.open = append(c.open, openQuestion{c.question, settles, now})
	body := binary.BigEndian.AppendUint32(nil, c.question)
	c.sendMessage(kindQuestion, 0, appendHashes(body, hashes), now)
}

func appendHashes(b []byte, hashes []uint64) []byte {
	for _, hash := range hashes {
		b = binary.BigEndian.AppendUint64(b, hash)
	}
	return b
}

// settle settles the questions that all reachable mates have answered. A mate that does not answer
// in time no longer counts as reachable. Until this collector is ready, settle does nothing,
// because some mates may not have been found yet.
func (c *Circle) settle(now time.Time) {
	if !c.ready(now) {
		return
	}
	for len(c.open) > 0 {
		q := &c.open[0]
		for _, m := range c.mates {
			if m.reachable && m.answered < q.number && now.Sub(q.at) >= liveness.AnswerTime {
				m.unanswered = q.number
				c.updateMates(now)
			}
		}
		if slices.ContainsFunc(c.reachableMates(), func(m *mate) bool { return m.answered < q.number }) {
			return
		}
		if q.settles > 0 {
			c.peers.Settle(q.settles)
		}
		c.open = c.open[1:]
	}
}

// sendFacts sends facts to a mate, or to all if to is 0.
func (c *Circle) sendFacts(to uint64, facts []liveness.Fact, now time.Time) {
	for some := range slices.Chunk(facts, portion/2) {
		c.sendJSON(kindFacts, to, some, now)
	}
}

// keepEarly keeps our own facts and the mates' facts until this collector is ready. The mate that
// reports events must report the events of that time, but we cannot send it the facts before it is
// found. A record that it requests because it does not know a peer would not count as news.
func (c *Circle) keepEarly(facts []liveness.Fact, now time.Time) {
	if c.ready(now) {
		c.early = nil
		return
	}
	for i := range facts[:min(len(facts), maxEarly-len(c.early))] {
		c.early = append(c.early, earlyFact{facts[i], now})
	}
}

// sendEarly sends the early facts to a mate that was just found.
func (c *Circle) sendEarly(m *mate, now time.Time) {
	facts := make([]liveness.Fact, 0, len(c.early))
	for _, e := range c.early {
		e.fact.Ago += now.Sub(e.at)
		facts = append(facts, e.fact)
	}
	c.sendFacts(m.start, facts, now)
}

// sendWords sends words to all mates.
func (c *Circle) sendWords(words []liveness.Word, now time.Time) {
	var body []byte
	for i := range words {
		if body = appendWord(body, &words[i]); len(body) > maxBody || i == len(words)-1 {
			c.sendMessage(kindWords, 0, body, now)
			body = nil
		}
	}
}

// sendRound sends a part of the round. Once a minute, a round begins. In a round, this collector
// sends the states of all peers whose beats it receives, and of all peers that are not alive.
func (c *Circle) sendRound(now time.Time) {
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
	c.sendWords(words, now)
}

func (c *Circle) beginRound(all bool, now time.Time) {
	c.nextRound, c.roundNext, c.roundAll = now.Add(roundPause), c.peers.Count(), all
}

// sendReported sends the list of events that this collector has reported, so that no mate reports
// them, too. It does nothing until Telegraf has accepted the events.
func (c *Circle) sendReported(now time.Time) {
	if !c.peers.Flows() {
		return
	}
	for some := range slices.Chunk(c.peers.TakeReported(), maxBody/32) {
		var body []byte
		for i := range some {
			body = appendReported(body, &some[i])
		}
		c.sendMessage(kindReported, 0, body, now)
	}
}

// sendPresence sends a presence message to all mates, and probes mates that do not answer.
func (c *Circle) sendPresence(now time.Time) {
	c.presentedAt = now
	able, isolated := c.peers.CanReport()
	p := presence{
		Rules: c.rules, WallMS: now.UnixMilli(), Able: able, Isolated: isolated, Ready: c.ready(now), Speaks: c.reports,
		Hears: make(map[uint64]receipt),
	}
	for start, m := range c.mates {
		if now.Sub(m.seen) < presenceValid {
			p.Hears[start] = receipt{m.asked, m.sent.Milliseconds()}
		}
	}
	c.sendJSON(kindPresence, 0, p, now)
	c.probe(now)
}

// probe sends an empty question to each mate that has not answered in time, because the earlier
// question may have been lost. When the mate answers, it is reachable again.
func (c *Circle) probe(now time.Time) {
	for _, m := range c.mates {
		if m.unanswered > 0 && !m.gone && now.Sub(m.seen) < presenceValid {
			c.question++
			c.sendMessage(kindQuestion, m.start, binary.BigEndian.AppendUint32(nil, c.question), now)
		}
	}
}

// Bye informs the mates that this collector stops, so that they do not report its events again. If
// Telegraf may not have accepted all events, Bye sends no goodbye, and the mates treat this
// collector as if it had been killed.
func (c *Circle) Bye(now time.Time) {
	c.sendNews(now)
	c.sendReported(now)
	if c.peers.Flows() {
		c.sendMessage(kindBye, 0, nil, now)
	}
}

func (c *Circle) sendJSON(k kind, to uint64, what any, now time.Time) {
	body, err := json.Marshal(what)
	if err != nil { // cannot happen: JSON can encode all our values
		c.log.Warnf("Cannot encode a message to the mates: %v", err)
		return
	}
	c.sendMessage(k, to, body, now)
}

func (c *Circle) sendMessage(k kind, to uint64, body []byte, now time.Time) {
	c.count++
	h := header{version: version, kind: k, start: c.start, to: to, counter: c.count, sent: now.Sub(c.epoch), name: c.name}
	c.send(signMessage(c.key, &h, body))
}

// Receive processes a message. It ignores data that is not a valid message from a mate.
func (c *Circle) Receive(message []byte, now time.Time) {
	h, body, err := verifyMessage(c.key, message)
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
	ago := m.excessDelay(h.sent, now.Sub(c.epoch))
	if h.version != version || ago > maxDelay && h.kind != kindReported {
		return // unknown version, or too old
	}
	if err := c.process(m, h.kind, body, ago, now); err != nil && !m.garbled {
		m.garbled = true
		c.log.Warnf("Received an invalid message from %s: %v", m, err)
	}
}

// process processes a message from a mate; ago is how long ago the mate sent it.
func (c *Circle) process(m *mate, k kind, body []byte, ago time.Duration, now time.Time) error {
	if !m.accepts(k) {
		return nil
	}
	r := &reader{rest: body}
	switch k {
	case kindPresence:
		return c.processPresence(m, body, now)
	case kindBye:
		c.processBye(m, now)
	case kindQuestion:
		q := heldQuestion{m.start, r.uint32(), r.hashes()}
		if r.err() == nil {
			c.held = append(c.held, q)
			c.answerHeld(now)
		}
	case kindAnswer:
		c.processAnswer(m, r, now)
	case kindWords:
		if words := r.words(); r.err() == nil {
			c.processWords(m, words, ago, now)
		}
	case kindFacts:
		return c.processFacts(m, body, ago, now)
	case kindWant:
		c.sendRecords(m, r.hashes(), false, now)
	case kindRecords:
		return c.processRecords(m, body, ago, now)
	case kindReported:
		c.peers.NoteReported(ago, r.reported())
	}
	return r.err()
}

// accepts reports whether messages of kind k from m are processed.
func (m *mate) accepts(k kind) bool {
	switch k {
	case kindPresence, kindBye, kindQuestion: // answering a question makes m reachable again
		return true
	case kindReported:
		return m.proved // otherwise its age is unknown
	}
	return m.reachable
}

// answerHeld answers the questions of mates. After a stall it waits until the messages that arrived
// during the stall are processed.
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
		c.sendMessage(kindAnswer, q.from, body, now)
	}
	c.held = nil
}

// processAnswer processes an answer. The answer is treated as if it was sent when the question was
// sent. An answer to an old or settled question is ignored.
func (c *Circle) processAnswer(m *mate, r *reader, now time.Time) {
	number := r.uint32()
	words := r.words()
	at, open := slices.BinarySearchFunc(c.open, number, func(q openQuestion, n uint32) int { return cmp.Compare(q.number, n) })
	if r.err() != nil || !open {
		return
	}
	if ago := now.Sub(c.open[at].at); ago <= liveness.AnswerTime {
		c.processWords(m, words, ago, now)
	}
	m.answered = max(m.answered, number)
	c.settle(now)
}

// processWords processes Words of a mate, and requests the records that are needed.
func (c *Circle) processWords(m *mate, words []liveness.Word, ago time.Duration, now time.Time) {
	var wanted []uint64
	for some := range slices.Chunk(words, portion) {
		wanted = append(wanted, c.peers.HearWords(m.name, ago, some)...)
	}
	for some := range slices.Chunk(wanted, portion) {
		c.sendMessage(kindWant, m.start, appendHashes(nil, some), now)
	}
}

// processFacts processes facts from a mate. It skips facts that no collector can have recorded.
func (c *Circle) processFacts(m *mate, body []byte, ago time.Duration, now time.Time) error {
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
		if f.Ago = max(f.Ago, 0) + ago; f.Ago <= factValid {
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

// processRecords processes records from a mate and corrects their times, because the mate's clock
// may differ. It skips records that no collector can have made.
func (c *Circle) processRecords(m *mate, body []byte, ago time.Duration, now time.Time) (wrong error) {
	var k recordSet
	if err := decode(body, &k); err != nil {
		return err
	}
	sound := k.Records[:0]
	for i := range k.Records {
		r := &k.Records[i]
		if r.HeardBy == c.name {
			r.HeardBy = "" // the mate received the peer's beats from us
		}
		r.Move(time.Duration(now.Add(-ago).UnixNano() - k.WallNS))
		if err := c.check(r); err != nil {
			wrong = err
			continue
		}
		sound = append(sound, *r)
	}
	if needed := c.peers.HearRecords(m.name, ago, sound); !k.Reply {
		c.sendRecords(m, needed, true, now)
	}
	return wrong
}

// sendRecords sends a mate the records of the peers with these hashes. If reply is not set, the
// mate has requested them. If reply is set, the mate's own records have shown that it needs them.
func (c *Circle) sendRecords(m *mate, hashes []uint64, reply bool, now time.Time) {
	for some := range slices.Chunk(hashes, portion/4) {
		if records := c.peers.RecordsOf(some); len(records) > 0 {
			c.sendJSON(kindRecords, m.start, recordSet{now.UnixNano(), records, reply}, now)
		}
	}
}
