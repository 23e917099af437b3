package liveness

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A pair has two collectors that exchange their messages at each tick, unless they are
// separated.
type pair struct {
	one, two *rig
	parted   bool
}

func newPair(t *testing.T) *pair {
	mates := func(o *Options) { o.Mates = true }
	p := &pair{one: newRig(t, mates), two: newRig(t, mates)}
	p.one.checked, p.two.checked = true, true
	return p
}

func (p *pair) pass(d time.Duration) {
	for ; d > 0; d -= TickInterval {
		p.one.pass(TickInterval)
		p.two.pass(TickInterval)
		p.talk()
	}
}

// talk makes each collector send its messages and answer the questions of the other.
func (p *pair) talk() {
	for _, from := range []*rig{p.one, p.two} {
		to := p.two
		if from == p.two {
			to = p.one
		}
		said := from.tracker.TakeSaid(from.now)
		if !p.parted {
			for i := range said.Facts {
				to.hear(to.tracker.HearFact(to.now, &said.Facts[i], "mate"))
			}
			p.tell(to, from, said.Words)
			p.tell(from, to, to.tracker.Answer(nil, said.Asked, to.now))
		}
		from.tracker.Settle(said.Question)
	}
}

// tell makes one collector process words of another, and request the records that it needs.
func (*pair) tell(to, from *rig, words []Word) {
	wanted, transitions := to.tracker.HearWords(to.now, words, "mate", 0)
	to.hear(transitions)
	for range 2 { // the records, and the reply
		var records []Record
		for _, hash := range wanted {
			if r, known := from.tracker.RecordByHash(hash, from.now); known {
				records = append(records, r)
			}
		}
		wanted, transitions = to.tracker.HearRecords(to.now, records, "mate", 0)
		to.hear(transitions)
		to, from = from, to
	}
}

// round makes each collector send words about all its peers, as it does once a minute and when
// the two meet.
func (p *pair) round() {
	for _, from := range []*rig{p.one, p.two} {
		to := p.two
		if from == p.two {
			to = p.one
		}
		words := make([]Word, from.tracker.Len())
		for i := range words {
			words[i] = from.tracker.Word(i, from.now)
		}
		p.tell(to, from, words)
	}
}

var shop = peerID("web-1", "shop")

// beating returns a sender of shop that beats each second to a collector.
func beating(r *rig, conn ConnID, process Process) *sender {
	s := r.keep(Beat{Interval: time.Second, Margin: 2500 * time.Millisecond, Run: fmt.Sprint("k3v9.", conn), Conn: conn, Process: process}, shop)
	return s[0]
}

var first = Process{Boot: "b", PID: 7, Start: time.Minute}

// An interrupted path makes no peer dead, and rarely suspect, while another collector receives
// its beats. When the other collector receives none either, both report one death within the
// allowed silence.
func TestPeerThatAMateReceivesIsNotDead(t *testing.T) {
	p := newPair(t)
	here, there := beating(p.one, 1, first), beating(p.two, 1, first)
	p.pass(10 * time.Second)
	pause(here)
	p.pass(30 * time.Second)
	require.Equal(t, []string{"alive beat"}, p.one.statesOf(shop))
	require.Positive(t, p.one.tracker.spared)
	pause(there)
	p.pass(3500*time.Millisecond + 5*TickInterval)
	for _, r := range []*rig{p.one, p.two} {
		require.Equal(t, []string{"alive beat", "suspect silence", "dead silence"}, r.statesOf(shop))
	}
	require.Equal(t, p.one.told[2].EventID, p.two.told[2].EventID)
	require.EqualValues(t, 1, p.one.view(shop).Deaths)
}

// While all peers are well, mates are not asked.
func TestTheWellAreNotAskedAbout(t *testing.T) {
	p := newPair(t)
	beating(p.one, 1, first)
	beating(p.two, 1, first)
	p.pass(time.Minute)
	require.Zero(t, p.one.tracker.asked+p.two.tracker.asked)
	require.Empty(t, p.one.tracker.asking)
}

// A death is not reported until the question is settled, and all answers until then count.
func TestDeathWaitsForTheAnswer(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Mates = true })
	pause(beating(r, 1, first))
	r.observe(Beat{ID: shop, Process: first, Interval: time.Second, Margin: 2500 * time.Millisecond, Run: "k3v9.1", Seq: 1})
	r.pass(10 * time.Second)
	require.Equal(t, "suspect silence", r.is(shop))
	said := r.tracker.TakeSaid(r.now)
	require.Equal(t, []uint64{shop.Hash()}, said.Asked)
	word := Word{ID: shop.Hash(), State: Alive, Reason: ReasonBeat, Heard: true, Age: time.Second, Suspect: time.Second, Dead: 2 * time.Second}
	word.Process = r.tracker.Word(0, r.now).Process
	_, transitions := r.tracker.HearWords(r.now, []Word{word}, "mate", 0)
	r.hear(transitions)
	require.Equal(t, "alive beat", r.is(shop))
	r.tracker.Settle(said.Question)
	r.pass(4 * time.Second)
	require.Equal(t, "suspect silence", r.is(shop), "it is asked about again")
	r.tracker.Settle(r.tracker.TakeSaid(r.now).Question)
	r.pass(2 * TickInterval)
	require.Equal(t, "dead silence", r.is(shop))
}

// A mate that was stopped has received no beats meanwhile: the age of its last beat is the
// real age, although the mate has listened for less time.
func TestMateThatWasStoppedKnowsNoBetter(t *testing.T) {
	p := newPair(t)
	here, there := beating(p.one, 1, first), beating(p.two, 1, first)
	p.pass(10 * time.Second)
	pause(here, there)
	p.pass(time.Second)
	p.parted = true
	for range 100 {
		p.one.pass(TickInterval)
		p.one.tracker.Settle(p.one.tracker.TakeSaid(p.one.now).Question)
	}
	p.two.stall(10 * time.Second)
	require.Equal(t, "dead silence", p.one.is(shop))
	p.parted = false
	p.round()
	p.pass(time.Second)
	require.Len(t, p.one.deaths(), 1)
	require.Equal(t, "dead silence", p.one.is(shop))
}

// A beat that has waited in the sockets of a stopped mate is no sign of life now.
func TestBeatsThatWaitedAreOld(t *testing.T) {
	p := newPair(t)
	here, there := beating(p.one, 1, first), beating(p.two, 1, first)
	p.pass(10 * time.Second)
	p.parted = true
	beats := 0
	there.lost = func() bool { beats++; return beats > 5 }
	for range 700 {
		p.one.pass(TickInterval)
		here.paused = here.paused || p.one.now.Sub(epoch) > 15*time.Second
		p.one.tracker.Settle(p.one.tracker.TakeSaid(p.one.now).Question)
	}
	require.Equal(t, "dead silence", p.one.is(shop))
	p.two.stall(70 * time.Second)
	require.EqualValues(t, 16, p.two.view(shop).Beats, "they are received")
	p.parted = false
	p.two.tick()
	p.talk()
	p.round()
	p.pass(20 * time.Second)
	require.Len(t, p.one.deaths(), 1)
	require.Equal(t, "dead silence", p.one.is(shop))
	require.EqualValues(t, 1, p.one.view(shop).Deaths)
}

// The beats of a process and of the process that replaced it may wait in two sockets of a
// stopped collector, and may be read in any order. That is not a conflict.
func TestProcessesThatWaitedAreNoConflict(t *testing.T) {
	for _, stopped := range []bool{false, true} {
		r := newRig(t)
		beat := Beat{ID: shop, Process: first, Interval: time.Second, Margin: 2500 * time.Millisecond, Run: "a.1", Seq: 1, Conn: 1}
		next := beat
		next.Process.PID, next.Process.Start, next.Run, next.Conn = 8, 2*time.Minute, "b.1", 2
		r.observe(beat)
		r.pass(time.Second)
		if stopped {
			r.stall(10 * time.Second)
		}
		r.observe(next)
		beat.Seq++
		r.observe(beat)
		conflicts := r.view(shop).Conflicts
		r.pass(time.Second)
		next.Seq++
		r.observe(next)
		r.pass(3 * time.Second)
		ended := slices.ContainsFunc(r.told, func(s said) bool { return s.Event == Ended })
		require.Equal(t, map[bool]uint64{false: 1, true: 0}[stopped], conflicts)
		require.Equal(t, !stopped, ended)
	}
}

// The end of a connection is not the end of a process that has a connection to another
// collector.
func TestConnectionElsewhereIsLife(t *testing.T) {
	p := newPair(t)
	beating(p.one, 1, first)
	beating(p.two, 1, first)
	p.pass(10 * time.Second)
	p.one.senders[0].paused = true
	p.one.ended(1, Closed)
	p.talk()
	p.pass(20 * time.Second)
	require.Equal(t, []string{"alive beat"}, p.one.statesOf(shop))
	p.two.senders[0].paused = true
	p.two.ended(1, Closed)
	p.pass(5*time.Second + 5*TickInterval)
	require.Len(t, p.one.deaths(), 1)
	require.Len(t, p.two.deaths(), 1)
}

// A report of one mate does not shorten the deadline that another mate has reported: each
// deadline depends on the connection or the beat at that mate.
func TestConnectionAtAThirdIsLife(t *testing.T) {
	for _, order := range [][]string{{"reset", "open"}, {"open", "reset"}} {
		p := newPair(t)
		beating(p.one, 1, first)
		p.pass(3 * time.Second)
		p.one.senders = nil
		here := p.one.tracker.Word(0, p.one.now)
		here.Age = 0
		words := map[string]Word{"reset": here, "open": here}
		lost := words["reset"]
		lost.State, lost.Reason, lost.Connected, lost.Suspect, lost.Dead = Suspect, ReasonConnReset, false, -time.Second, -time.Millisecond
		words["reset"] = lost
		p.one.ended(1, Closed)
		p.one.pass(time.Second)
		for _, mate := range order {
			w := words[mate]
			w.Age = time.Second
			if mate == "reset" {
				w.Age -= sameBeat * 2 // the mate has received the last beat
			}
			p.one.tracker.HearWords(p.one.now, []Word{w}, mate, 0)
		}
		holder := p.one.tracker.byHash[shop.Hash()]
		require.Equal(t, p.one.tracker.verdict(p.one.now)+words["open"].Dead, holder.deadlineV(), "%v", order)
	}
}

// A process whose connections have all ended is dead after the grace period, even though each
// collector has reported to the other, after the last beat, that the process has a connection.
func TestEndOfAllConnections(t *testing.T) {
	for _, gap := range []time.Duration{0, TickInterval, 3 * TickInterval} {
		p := newPair(t)
		b := Beat{ID: shop, Process: first, Interval: time.Minute, Margin: 2 * time.Minute, Run: "k3v9.1", Conn: 1}
		for range 2 {
			b.Seq++
			p.one.observe(b)
			p.two.observe(b)
			p.pass(time.Second)
		}
		p.pass(20 * time.Second)
		p.round()
		p.one.ended(1, Closed)
		p.pass(gap)
		p.two.ended(1, Closed)
		p.pass(5*time.Second + 5*TickInterval)
		for _, r := range []*rig{p.one, p.two} {
			require.Equal(t, []string{"alive beat", "suspect conn_closed", "dead conn_closed"}, r.statesOf(shop), "%s apart", gap)
		}
	}
}

// The end of the last connection counts at all collectors: a collector that received an
// earlier beat does not wait longer than the collector that received the last beat.
func TestLastConnectionElsewhere(t *testing.T) {
	p := newPair(t)
	b := Beat{ID: shop, Process: first, Interval: 20 * time.Second, Run: "k3v9.1", Conn: 1}
	move := func(r *rig, conn ConnID) {
		for range 2 {
			b.Seq++
			b.Conn = conn
			r.observe(b)
			p.pass(time.Second)
		}
	}
	move(p.one, 1)
	move(p.two, 2)
	p.one.ended(1, Closed)
	p.pass(time.Second)
	require.Equal(t, "alive beat", p.one.is(shop))
	p.two.ended(2, Closed)
	p.pass(5*time.Second + 5*TickInterval)
	for _, r := range []*rig{p.one, p.two} {
		require.Equal(t, []string{"alive beat", "suspect conn_closed", "dead conn_closed"}, r.statesOf(shop))
	}
}

// A nameless client is one peer, even if its runs beat to different collectors, and even if
// the report of a mate arrives before a beat of it.
func TestNamelessClientIsOnePeerEverywhere(t *testing.T) {
	for _, c := range []struct {
		name string
		once bool                          // each run sends one beat
		to   func(p *pair, run int) []*rig // collectors that it beats to
	}{
		{"long, to both", false, func(p *pair, _ int) []*rig { return []*rig{p.one, p.two} }},
		{"long, in turn", false, func(p *pair, run int) []*rig { return [][]*rig{{p.one}, {p.two}}[run%2] }},
		{"once, to both", true, func(p *pair, _ int) []*rig { return []*rig{p.one, p.two} }},
		{"once, in turn", true, func(p *pair, run int) []*rig { return [][]*rig{{p.one}, {p.two}}[run%2] }},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPair(t)
			for run := range 6 {
				pid, conn := uint32(100+run), ConnID(run+1)
				b := Beat{ID: ID{Source: "10.0.0.1", PID: pid}, Process: Process{PID: pid}, Conn: conn}
				say := func() {
					for _, r := range c.to(p, run) {
						r.observe(b)
						if run%3 == 0 {
							p.talk()
						}
					}
					p.talk()
				}
				say()
				for range 3 {
					if p.pass(time.Second); !c.once {
						say()
					}
				}
				for _, r := range c.to(p, run) {
					r.ended(conn, Closed)
					if run%3 == 1 {
						p.talk()
					}
				}
				p.pass(map[bool]time.Duration{true: 20 * time.Second, false: 200 * time.Millisecond}[c.once])
			}
			for _, r := range []*rig{p.one, p.two} {
				require.Empty(t, r.deaths())
				require.Equal(t, 1, r.tracker.Len())
				require.EqualValues(t, 105, r.tracker.View(0, r.now).PID)
			}
		})
	}
}

// A peer that beats to one collector only is judged by that collector. While that collector is
// away, the other collector shows the state as unknown.
func TestPeerOfAnotherCollector(t *testing.T) {
	p := newPair(t)
	there := beating(p.two, 1, first)
	p.pass(5 * time.Second)
	require.Equal(t, "alive beat", p.one.is(shop))
	require.True(t, p.one.tracker.byHash[shop.Hash()].foreign())

	p.parted = true
	p.one.tracker.MatesChanged()
	p.pass(time.Minute)
	require.Equal(t, "unknown mate_lost", p.one.is(shop))
	require.Empty(t, p.one.deaths())

	p.parted = false
	p.one.tracker.MatesChanged()
	p.round()
	require.Equal(t, "alive beat", p.one.is(shop))

	pause(there)
	p.pass(3500*time.Millisecond + 5*TickInterval)
	require.Equal(t, "dead silence", p.one.is(shop))
	require.EqualValues(t, 1, p.one.view(shop).Deaths)
	require.Len(t, p.one.deaths(), 1, "it may be the one that reports events")
}

// If one collector has received an end or a promise, the other shows it too, even after the
// first collector has stopped.
func TestEndsAreKnownToAll(t *testing.T) {
	for _, c := range []struct {
		name string
		beat Beat
		want string
	}{
		{"goodbye", Beat{Status: SaysLeaving, BackIn: time.Minute}, "left leaving"},
		{"finished", Beat{Status: SaysLeaving, HasExitCode: true}, "left finished"},
		{"exited", Beat{Status: SaysDead, HasExitCode: true, ExitCode: 3}, "dead exited"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPair(t)
			beating(p.one, 1, first)
			beating(p.two, 1, first)
			p.pass(5 * time.Second)
			p.one.senders, p.two.senders = nil, nil
			end := c.beat
			end.ID, end.Process, end.Run, end.Seq = shop, first, "k3v9.1", 100
			p.two.observe(end)
			p.pass(TickInterval)
			require.Equal(t, c.want, p.one.is(shop))
			require.Equal(t, c.beat.ExitCode, p.one.view(shop).ExitCode)
			require.Equal(t, p.one.told[len(p.one.told)-1].EventID, p.two.told[len(p.two.told)-1].EventID)
			p.one.observe(end) // the end was sent to both
			p.pass(10 * time.Second)
			require.Equal(t, c.want, p.one.is(shop))
			require.Len(t, p.one.told, 2)
			if c.beat.BackIn > 0 {
				p.parted = true
				p.pass(time.Minute)
				require.Equal(t, "dead overdue", p.one.is(shop))
			}
		})
	}
}

// A peer that has beaten only to a mate for a long time is no longer judged here, because its
// sender was redirected.
func TestPeerThatMovesToAMate(t *testing.T) {
	for _, away := range []time.Duration{30 * time.Second, time.Minute} {
		p := newPair(t)
		here := beating(p.one, 1, first)
		beating(p.two, 1, first)
		p.pass(5 * time.Second)
		here.paused = true
		p.one.ended(1, Closed)
		p.talk()
		p.pass(away)
		require.Equal(t, "alive beat", p.one.is(shop))
		p.parted = true
		p.one.tracker.MatesChanged()
		p.pass(20 * time.Second)
		want := map[bool]string{false: "dead conn_closed", true: "unknown mate_lost"}[away > 35*time.Second]
		require.Equal(t, want, p.one.is(shop), away)
	}
}

// If a peer is reported by hand at a collector that does not receive its beats, that collector
// still does not judge the peer.
func TestReportByHandIsNoLife(t *testing.T) {
	for _, word := range []Beat{
		{Status: SaysLeaving, BackIn: 5 * time.Second}, {Status: SaysLeaving, Cancel: true}, {Status: SaysLeaving}, {Status: SaysDead, HasExitCode: true},
	} {
		p := newPair(t)
		beating(p.two, 1, first)
		p.pass(3 * time.Second)
		word.ID, word.Run, word.Seq = shop, "by hand", 1
		p.one.observe(word)
		p.pass(10 * time.Second)
		require.Equal(t, "alive beat", p.one.is(shop))
		require.Less(t, p.one.view(shop).Age, 2*time.Second)
		p.parted = true
		p.one.tracker.MatesChanged()
		p.pass(20 * time.Second)
		require.Equal(t, "unknown mate_lost", p.one.is(shop), "%+v", word)
	}
}

// A promise continues while the collector that received it is away, and a broken promise is
// reported once.
func TestPromiseThatEndedMeanwhile(t *testing.T) {
	p := newPair(t)
	p.one.checked = false
	beating(p.one, 1, first)
	beating(p.two, 1, first)
	p.pass(5 * time.Second)
	p.one.senders, p.two.senders = nil, nil
	bye := Beat{ID: shop, Process: first, Run: "k3v9.1", Seq: 100, Status: SaysLeaving, BackIn: 10 * time.Second}
	p.one.observe(bye)
	p.two.observe(bye)
	p.pass(5 * time.Second)
	saved, _ := p.two.tracker.RecordByHash(shop.Hash(), p.two.now)
	at := p.two.now
	for range 80 {
		p.one.pass(TickInterval)
		p.one.tracker.Settle(p.one.tracker.TakeSaid(p.one.now).Question)
	}
	require.Equal(t, "dead overdue", p.one.is(shop))
	p.two.now = p.one.now
	p.two.tracker = New(p.two.opts, p.two.now)
	p.two.restore(&saved, at)
	p.round()
	p.pass(20 * time.Second)
	require.Equal(t, "dead overdue", p.two.is(shop))
	require.Len(t, p.one.deaths(), 1)
	require.EqualValues(t, 1, p.one.view(shop).Deaths)
	require.EqualValues(t, 1, p.two.view(shop).Deaths)
}

// If the report of a change of state is lost, the next round delivers it.
func TestRoundsMendWhatWasLost(t *testing.T) {
	p := newPair(t)
	beating(p.one, 1, first)
	p.pass(5 * time.Second)
	p.parted = true
	beating(p.two, 2, first)
	p.pass(5 * time.Second)
	p.one.senders, p.two.senders = nil, nil
	p.two.observe(Beat{ID: shop, Process: first, Run: "k3v9.2", Seq: 100, Status: SaysLeaving, BackIn: time.Hour})
	p.pass(10 * time.Second)
	require.Equal(t, "dead silence", p.one.is(shop))
	p.parted = false
	p.round()
	p.pass(TickInterval)
	require.Equal(t, "left leaving", p.one.is(shop))
	p.pass(time.Hour + time.Minute)
	require.Equal(t, "dead overdue", p.one.is(shop))
	require.Equal(t, "dead overdue", p.two.is(shop))
}

// The end of a process that was replaced is not the end of its successor, even if a collector
// that does not know the successor receives that end later.
func TestEndOfTheProcessBefore(t *testing.T) {
	p := newPair(t)
	beating(p.one, 1, first)
	beating(p.two, 1, first)
	p.pass(5 * time.Second)
	p.one.senders, p.two.senders = nil, nil
	p.parted = true
	second := first
	second.PID, second.Start = 8, 2*time.Minute
	p.one.observe(Beat{ID: shop, Process: second, Run: "next.1", Seq: 1, Interval: time.Second, Margin: 2500 * time.Millisecond})
	p.pass(time.Second)
	p.two.observe(Beat{ID: shop, Process: first, Run: "k3v9.1", Seq: 100, Status: SaysLeaving, HasExitCode: true})
	p.pass(10 * time.Second)
	require.Equal(t, "dead silence", p.one.is(shop))
	require.Equal(t, "left finished", p.two.is(shop))
	p.parted = false
	p.round()
	p.round()
	for _, r := range []*rig{p.one, p.two} {
		require.Equal(t, "dead silence", r.is(shop))
		require.EqualValues(t, 8, r.view(shop).PID)
		require.EqualValues(t, 1, r.view(shop).Deaths)
	}
}

// A suspect peer that lives on as another process has one event ID everywhere: a word of a
// mate, which may arrive before the fact, does not count as a sign of life of the former
// process.
func TestSuspectThatIsRestartedIsOneEvent(t *testing.T) {
	p := newPair(t)
	beating(p.one, 1, first)
	beating(p.two, 1, first)
	p.pass(5 * time.Second)
	p.one.senders, p.two.senders = nil, nil
	p.one.ended(1, Closed)
	p.two.ended(1, Closed)
	p.pass(3 * TickInterval)
	require.Equal(t, "suspect conn_closed", p.one.is(shop))
	second := first
	second.PID, second.Start = 8, 2*time.Minute
	next := Beat{ID: shop, Process: second, Run: "next.1", Seq: 1, Interval: time.Second, Margin: 2500 * time.Millisecond, Conn: 2}
	p.two.observe(next)
	p.one.hear(func() []Transition {
		_, transitions := p.one.tracker.HearWords(p.one.now, []Word{p.two.tracker.Word(0, p.two.now)}, "mate", 0)
		return transitions
	}())
	p.talk()
	require.Equal(t, p.two.statesOf(shop), p.one.statesOf(shop))
	require.Equal(t, "alive beat", p.one.is(shop))
	var ids [2][]int64
	for i, r := range []*rig{p.one, p.two} {
		for _, told := range r.told {
			ids[i] = append(ids[i], told.EventID)
		}
	}
	require.Equal(t, ids[1], ids[0])
}

// A new process is one restart, even if only one collector receives its beats.
func TestRestartIsKnownToAll(t *testing.T) {
	p := newPair(t)
	beating(p.one, 1, first)
	beating(p.two, 1, first)
	p.pass(5 * time.Second)
	p.one.senders, p.two.senders = nil, nil
	second := first
	second.PID, second.Start = 8, 2*time.Minute
	p.two.observe(Beat{ID: shop, Process: second, Run: "next.1", Seq: 1, Interval: time.Second, Margin: 2500 * time.Millisecond})
	p.pass(TickInterval)
	last := p.one.told[len(p.one.told)-1]
	require.Equal(t, Restarted, last.Event)
	require.Equal(t, p.two.told[len(p.two.told)-1].EventID, last.EventID)
	require.EqualValues(t, 8, p.one.view(shop).PID)
	p.one.observe(Beat{ID: shop, Process: second, Run: "next.2", Seq: 1, Interval: time.Second, Margin: 2500 * time.Millisecond})
	p.pass(TickInterval)
	require.EqualValues(t, 1, p.one.view(shop).Restarts)
	require.EqualValues(t, 1, p.two.view(shop).Restarts)
}

// A collector that starts without a state file learns the states from its mate, and reports no
// events for them.
func TestStartWithoutMemory(t *testing.T) {
	p := newPair(t)
	beating(p.one, 1, first)
	p.pass(5 * time.Second)
	p.one.observe(Beat{ID: peerID("web-2", "job"), Process: first, Run: "j", Seq: 1, Status: SaysDead, HasExitCode: true, ExitCode: 4})
	p.one.observe(Beat{ID: peerID("web-3", "job"), Process: first, Run: "k", Seq: 1, Interval: time.Second})
	p.one.observe(Beat{ID: peerID("web-3", "job"), Process: first, Run: "k", Seq: 2, Status: SaysLeaving, BackIn: time.Hour})
	p.parted = true
	p.pass(TickInterval)
	p.two = newRig(t, func(o *Options) { o.Mates = true })
	p.two.now, p.two.start = p.one.now, p.one.now
	p.two.tracker = New(p.two.opts, p.two.now)
	p.parted = false
	p.round()
	require.Empty(t, p.two.told)
	require.Equal(t, "alive beat", p.two.is(shop))
	require.Equal(t, "dead exited", p.two.is(peerID("web-2", "job")))
	require.EqualValues(t, 4, p.two.view(peerID("web-2", "job")).ExitCode)
	require.Equal(t, "left leaving", p.two.is(peerID("web-3", "job")))
}

// A collector that has lost its state gets the peers that beat only to it back from its mate,
// and judges them again.
func TestOwnPeersComeBackFromAMate(t *testing.T) {
	p := newPair(t)
	beating(p.one, 1, first)
	p.pass(5 * time.Second)
	p.one.senders = nil
	record, known := p.two.tracker.RecordByHash(shop.Hash(), p.two.now)
	require.True(t, known && record.Foreign)
	record.HeardBy = "" // "" stands for this collector
	p.one.tracker = New(p.one.opts, p.one.now)
	_, transitions := p.one.tracker.HearRecords(p.one.now, []Record{record}, "mate", 0)
	p.one.hear(transitions)
	p.pass(10 * time.Second)
	require.Equal(t, "dead silence", p.one.is(shop))
	require.Equal(t, "dead silence", p.two.is(shop))
}

// A peer that was forgotten here is not added again when a mate still knows it.
func TestForgottenStaysForgotten(t *testing.T) {
	p := newPair(t)
	beating(p.one, 1, first)
	beating(p.two, 1, first)
	p.pass(5 * time.Second)
	p.one.senders, p.two.senders = nil, nil
	bye := Beat{ID: shop, Process: first, Run: "k3v9.1", Seq: 100, Status: SaysLeaving, HasExitCode: true}
	p.one.observe(bye)
	p.two.opts.ForgetLeft = 0
	p.two.tracker.opts.ForgetLeft = 0
	p.pass(time.Hour + time.Minute)
	require.Equal(t, "not known", p.one.is(shop))
	require.Equal(t, "left finished", p.two.is(shop))
	p.round()
	p.pass(TickInterval)
	require.Equal(t, "not known", p.one.is(shop))
	require.Equal(t, "left finished", p.two.is(shop), "it has received it itself")
}

// A collector that is cut off shows the states that a mate reports, if that mate is not cut
// off.
func TestIsolatedCollectorFollowsItsMate(t *testing.T) {
	p := newPair(t)
	b := Beat{Interval: time.Second, Margin: 2500 * time.Millisecond, Run: "r"}
	p.one.keep(b, hosts(20)...)
	p.two.keep(b, hosts(20)...)
	p.pass(10 * time.Second)
	p.one.senders = nil
	p.pass(10 * time.Second)
	require.True(t, p.one.tracker.Isolated())
	require.Zero(t, p.one.tracker.Count(Unknown))
	gone := p.two.senders[3]
	gone.paused = true
	p.pass(4500 * time.Millisecond)
	require.Equal(t, "dead silence", p.two.is(gone.beat.ID))
	require.Equal(t, "dead silence", p.one.is(gone.beat.ID))
	require.Equal(t, 19, p.one.tracker.Count(Alive))
}

// If signatures are required, only verified signs of life count.
func TestOnlyVerifiedLifeCounts(t *testing.T) {
	p := newPair(t)
	p.one.tracker.opts.OnlyVerified = true
	beating(p.one, 1, first)
	beating(p.two, 1, first)
	p.pass(5 * time.Second)
	p.one.senders = nil
	p.pass(5 * time.Second)
	require.Equal(t, "dead silence", p.one.is(shop))
	p.two.senders[0].beat.Verified = true
	p.pass(time.Second)
	p.round()
	require.Equal(t, "alive beat", p.one.is(shop))
}

// A peer that one collector accepts is known to the others, even if they do not list it.
func TestPeerKnownToAMateIsAccepted(t *testing.T) {
	known := func(o *Options) { o.Mates, o.KnownOnly = true, true }
	p := &pair{one: newRig(t, known), two: newRig(t, known)}
	beat := Beat{ID: shop, Interval: time.Second, Run: "k3v9.2", Seq: 1, Process: first}
	p.one.expect(Expected{Source: shop.Source})
	require.Equal(t, Unlisted, p.two.observe(beat).Fate)
	require.Equal(t, Accepted, p.one.observe(beat).Fate)
	p.talk()
	beat.Seq++
	require.Equal(t, Accepted, p.two.observe(beat).Fate)
	require.Equal(t, Unlisted, p.two.observe(Beat{ID: peerID(shop.Source, "other")}).Fate)

	p.two = newRig(t, known) // it has lost its state
	require.Equal(t, Unlisted, p.two.observe(beat).Fate)
	p.round()
	require.Equal(t, Accepted, p.two.observe(beat).Fate)
}
