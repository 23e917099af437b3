package liveness

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Collectors that recorded different ends of a peer while they were separated agree on one
// when they meet.
func TestEndsThatDiffer(t *testing.T) {
	second := Process{Boot: first.Boot, PID: 8, Start: 2 * time.Minute}
	left, finished := Beat{Process: first, Status: SaysLeaving}, Beat{Process: first, Status: SaysLeaving, HasExitCode: true}
	exited, silent := Beat{Process: first, Status: SaysDead}, Beat{Process: first}
	promised := Beat{Process: first, Status: SaysLeaving, BackIn: 2 * time.Second}
	next := Beat{Process: second}
	nextLeft := Beat{Process: second, Status: SaysLeaving}
	for _, c := range []struct {
		name       string
		here, away Beat
		want       string
		pid        uint32
	}{
		{"what was said, and silence", left, silent, "left leaving", 7},
		{"exit and silence", exited, silent, "dead exited", 7},
		{"exit and goodbye", exited, left, "dead exited", 7},
		{"goodbye and success", left, finished, "left leaving", 7},
		{"a broken promise and goodbye", promised, left, "dead overdue", 7},
		{"the next process was silent", next, left, "dead silence", 8},
		{"the next process has left", silent, nextLeft, "left leaving", 8},
		{"the same", exited, exited, "dead exited", 7},
	} {
		for _, turned := range []bool{false, true} {
			t.Run(c.name, func(t *testing.T) {
				p := newPair(t)
				here, away := p.one, p.two
				if turned {
					here, away = away, here
				}
				beating(p.one, 1, first)
				beating(p.two, 1, first)
				p.pass(3 * time.Second)
				p.one.senders, p.two.senders = nil, nil
				p.parted = true
				for i, b := range []Beat{c.here, c.away} {
					b.ID, b.Interval, b.Margin, b.Run, b.Seq = shop, time.Second, 2500*time.Millisecond, "k3v9.9", 100
					[]*rig{here, away}[i].observe(b)
				}
				p.pass(15 * time.Second)
				p.parted = false
				p.round()
				p.round()
				for _, r := range []*rig{here, away} {
					require.Equal(t, c.want, r.is(shop))
					require.Equal(t, c.pid, r.view(shop).PID)
				}
				require.Equal(t, here.view(shop).Deaths, away.view(shop).Deaths)
				told := len(here.told) + len(away.told)
				p.round()
				p.pass(time.Second)
				require.Equal(t, told, len(here.told)+len(away.told), "nothing more is reported")
			})
		}
	}
}

// A collector that has just started with a clock that was set does not know when the last beat
// of a peer was: an end from before the restart does not end a peer that is alive here.
func TestEndFromBeforeARestart(t *testing.T) {
	next := Process{Boot: "other", PID: 8, Start: time.Minute}
	for name, process := range map[string]Process{"the same process": first, "the one after it": next} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			beating(p.two, 1, first)
			p.pass(3 * time.Second)
			p.two.senders = nil
			p.pass(10 * time.Second)
			require.Equal(t, "dead silence", p.two.is(shop))
			saved, _ := p.two.tracker.RecordByHash(shop.Hash(), p.two.now)
			p.parted = true
			p.pass(time.Minute)
			p.one.tracker = New(p.one.opts, p.one.now)
			p.one.observe(Beat{ID: shop, Process: process, Interval: time.Second, Margin: 2500 * time.Millisecond, Run: "k3v9.2", Seq: 100})
			p.pass(time.Second)
			p.two.tracker = New(p.two.opts, p.two.now)
			saved.Heard, saved.Since = p.two.now.Add(-100*time.Millisecond), p.two.now // according to its clock
			p.two.restore(&saved, p.two.now)
			p.parted = false
			p.round()
			require.Equal(t, "alive beat", p.one.is(shop))
		})
	}
}

// The end of an earlier process, which a mate has just reported, is not the end of a process
// that existed when this collector began.
func TestEndBeforeThisCollectorWasAway(t *testing.T) {
	p := newPair(t)
	next := Process{Boot: "other", PID: 8, Start: time.Minute}
	beating(p.two, 1, first)
	p.pass(3 * time.Second)
	p.two.senders = nil
	p.pass(10 * time.Second)
	dead, _ := p.two.tracker.RecordByHash(shop.Hash(), p.two.now)
	p.parted = true
	p.one.observe(Beat{ID: shop, Process: next, Interval: time.Minute, Run: "k3v9.2", Seq: 100})
	p.pass(time.Second)
	p.one.restart(10 * time.Second)
	p.two.now = p.one.now
	p.two.tracker = New(p.two.opts, p.two.now)
	dead.Heard, dead.Since = p.two.now.Add(-100*time.Millisecond), p.two.now.Add(-10*time.Second)
	p.two.restore(&dead, p.two.now)
	p.parted = false
	p.round()
	require.Equal(t, "alive beat", p.one.is(shop))
}

// A mate that does not receive the beats of a peer, and has it in another state, is informed.
func TestMateThatMissedAChangeIsInformed(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Mates = true })
	beating(r, 1, first)
	r.pass(3 * time.Second)
	r.tracker.TakeSaid(r.now)
	for state, told := range map[State]int{Alive: 0, Dead: 1} {
		word := Word{ID: shop.Hash(), Process: r.tracker.Word(0, r.now).Process, State: state, Age: 10 * time.Second}
		r.tracker.HearWords(r.now, []Word{word}, "mate", 0)
		require.Len(t, r.tracker.TakeSaid(r.now).Words, told, "it is %s there", state)
	}
}

// A question to the mates about a peer does not show that the peer has beaten.
func TestAskedIsNotHeard(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Mates = true })
	beating(r, 1, first)
	r.pass(3 * time.Second)
	r.senders = nil
	r.restart(time.Minute)
	r.pass(10 * time.Second)
	require.NotEmpty(t, r.tracker.TakeSaid(r.now).Asked)
	require.Greater(t, r.view(shop).Age, time.Minute)
}

// The reason in a goodbye applies to its own process, even if the previous process has left
// and no beat of the new one was received.
func TestReasonIsThatOfTheLastProcess(t *testing.T) {
	r := newRig(t)
	r.observe(Beat{ID: shop, Process: first, Run: "a", Seq: 1})
	r.observe(Beat{ID: shop, Process: first, Run: "a", Seq: 2, Status: SaysLeaving, HasExitCode: true})
	require.Equal(t, "left finished", r.is(shop))
	r.observe(Beat{ID: shop, Process: Process{Boot: first.Boot, PID: 8, Start: 2 * time.Minute}, Run: "b", Seq: 1, Status: SaysLeaving})
	require.Equal(t, "left leaving", r.is(shop))
}

// A sender that is restarted has another life. A report of the new life to only one collector
// is later than the goodbye of the previous life.
func TestEndOfTheNextLife(t *testing.T) {
	finished := Beat{Status: SaysLeaving, HasExitCode: true}
	for _, c := range []struct {
		name     string
		promised time.Duration
		beats    int
		last     Beat
		want     string
	}{
		{"a promise was kept there", 2 * time.Second, 10, finished, "left finished"},
		{"it died there", 2 * time.Second, 10, Beat{}, "dead silence"},
		{"it died there, after a goodbye for good", 0, 10, Beat{}, "dead silence"},
		{"it died there at once", 0, 1, Beat{}, "dead silence"},
		{"it died there, and its beats have no number", 0, -10, Beat{}, "dead silence"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPair(t)
			b := Beat{ID: shop, Process: first, Watched: true, Interval: time.Second, Margin: 2500 * time.Millisecond, Run: "before", Seq: 1}
			bye := b
			bye.Seq, bye.Status, bye.BackIn = 2, SaysLeaving, c.promised
			for _, r := range []*rig{p.one, p.two} {
				r.observe(b)
				r.observe(bye)
			}
			p.pass(time.Second)
			p.parted = true
			b.Run = "after"
			unnumbered := c.beats < 0
			if unnumbered {
				c.beats, b.Seq = -c.beats, 0
			}
			for range c.beats {
				p.two.observe(b)
				if p.pass(time.Second); !unnumbered {
					b.Seq++
				}
			}
			b.Status, b.HasExitCode = c.last.Status, c.last.HasExitCode
			p.two.observe(b)
			p.pass(10 * time.Second)
			require.Equal(t, c.want, p.two.is(shop))
			told := len(p.two.told)
			p.parted = false
			p.round()
			p.round()
			require.Equal(t, c.want, p.one.is(shop))
			require.Equal(t, c.want, p.two.is(shop))
			require.Len(t, p.two.told, told, "it knew better")
		})
	}
}

// A collector that has received beats of the new life ignores the goodbye of the previous
// life, which was delayed on its way to a mate or received while the mate was away.
func TestOldGoodbye(t *testing.T) {
	for _, away := range []bool{false, true} {
		t.Run(map[bool]string{false: "on a slow path", true: "of a mate that was away"}[away], func(t *testing.T) {
			p := newPair(t)
			b := Beat{ID: shop, Process: first, Watched: true, Interval: 10 * time.Second, Run: "before", Seq: 1, Conn: 1}
			bye := b
			bye.Seq, bye.Status, bye.BackIn = 2, SaysLeaving, 12*time.Second
			next := b
			next.Run, next.Conn = "after", 2
			p.one.observe(b)
			p.two.observe(b)
			p.pass(time.Second)
			p.one.observe(bye)
			if p.parted = away; away {
				p.two.observe(bye)
			}
			p.pass(time.Second)
			p.one.observe(next)
			p.pass(7 * time.Second)
			if !away {
				p.two.observe(bye)
			}
			p.parted = false
			p.round()
			p.pass(time.Second)
			require.Equal(t, "alive beat", p.one.is(shop))
			require.Equal(t, []string{"alive beat", "left leaving", "alive beat"}, p.one.statesOf(shop))
			p.two.observe(next)
			p.pass(time.Minute)
			require.Equal(t, "dead silence", p.one.is(shop))
			require.Equal(t, "dead silence", p.two.is(shop))
			require.Len(t, p.one.deaths(), 1)
		})
	}
}

// If a collector knows both processes, it knows which one is the later, even if the clocks are
// wrong.
func TestEndOfTheProcessThatReplacedAnother(t *testing.T) {
	next := Process{Boot: "other", PID: 8, Start: time.Minute}
	p := newPair(t)
	b := Beat{ID: shop, Process: first, Interval: time.Second, Margin: 2500 * time.Millisecond, Run: "a", Seq: 1}
	p.one.observe(b)
	p.two.observe(b)
	p.parted = true
	b.Process, b.Run = next, "b"
	p.two.observe(b)
	p.pass(time.Second)
	b.Process, b.Run, b.Seq, b.Status = first, "a", 2, SaysLeaving
	p.one.observe(b)
	p.pass(10 * time.Second)
	require.Equal(t, "dead silence", p.two.is(shop))
	p.one.restart(0)
	p.two.restart(0)
	p.parted = false
	p.round()
	p.round()
	for _, r := range []*rig{p.one, p.two} {
		require.Equal(t, "dead silence", r.is(shop))
		require.EqualValues(t, 8, r.view(shop).PID)
	}
}

// A silence within an announced window does not count as an end that a beat has reported.
func TestAnnouncedSilenceIsNotSaid(t *testing.T) {
	for by, want := range map[string]string{"": "alive beat", "by hand": "left leaving"} {
		r := newRig(t, func(o *Options) { o.Mates = true })
		beating(r, 1, first)
		r.pass(5 * time.Second)
		record := Record{
			ID: shop, Process: first, Interval: time.Second, State: Left, Reason: ReasonLeaving, EndedBy: by, Speaker: "k3v9",
			Heard: r.now.Add(-5 * time.Second), Since: r.now.Add(-time.Second),
		}
		_, transitions := r.tracker.HearRecords(r.now, []Record{record}, "mate", 0)
		r.hear(transitions)
		require.Equal(t, want, r.is(shop), "reported by %q", by)
	}
}

// The time of an end from before a restart of a mate is uncertain: it does not count more than
// an end that was observed here.
func TestEndFromBeforeARestartCountsLess(t *testing.T) {
	for extended, want := range map[bool]string{true: "dead silence", false: "left leaving"} {
		r := newRig(t, func(o *Options) { o.Mates = true })
		beating(r, 1, first)
		r.pass(5 * time.Second)
		r.senders = nil
		for range 100 {
			r.pass(TickInterval)
			r.tracker.Settle(r.tracker.TakeSaid(r.now).Question)
		}
		require.Equal(t, "dead silence", r.is(shop))
		record := Record{
			ID: shop, Process: Process{Boot: "other", PID: 8, Start: time.Minute}, State: Left, Reason: ReasonLeaving, EndedBy: "x", Speaker: "x",
			Heard: r.now, Since: r.now, Extended: extended,
		}
		_, transitions := r.tracker.HearRecords(r.now, []Record{record}, "mate", 0)
		r.hear(transitions)
		require.Equal(t, want, r.is(shop), "from before a restart: %t", extended)
	}
}

// Beats that keep arriving long after a goodbye were not sent before it: the goodbye was sent
// by hand, and was wrong.
func TestGoodbyeThatWasWrong(t *testing.T) {
	for beats, want := range map[time.Duration]string{10 * time.Second: "left leaving", backlog + 10*time.Second: "dead silence"} {
		p := newPair(t)
		beating(p.one, 1, first)
		there := beating(p.two, 1, first)
		p.pass(3 * time.Second)
		p.one.senders = nil
		p.parted = true
		p.one.observe(Beat{ID: shop, Process: first, Run: "by hand", Seq: 1, Status: SaysLeaving})
		p.pass(beats)
		pause(there)
		p.pass(10 * time.Second)
		p.parted = false
		p.round()
		p.round()
		require.Equal(t, want, p.one.is(shop), "after %v", beats)
		require.Equal(t, want, p.two.is(shop), "after %v", beats)
	}
}

// foreign returns a collector that knows shop through a mate, and a word of the mate about
// it.
func foreign(t *testing.T) (*rig, Word) {
	p := newPair(t)
	beating(p.one, 1, first)
	p.pass(3 * time.Second)
	require.Equal(t, "alive beat", p.two.is(shop))
	p.two.tracker.TakeSaid(p.two.now)
	return p.two, p.one.tracker.Word(0, p.one.now)
}

// When a mate suspects a peer that is known only through it, the others are asked: one of
// them may receive its beats, and the mate may not reach that one.
func TestSuspicionOfAMateIsAskedAbout(t *testing.T) {
	r, word := foreign(t)
	for state, asked := range map[State]int{Alive: 0, Suspect: 1} {
		word.State = state
		r.tracker.HearWords(r.now, []Word{word}, "mate", 0)
		require.Len(t, r.tracker.TakeSaid(r.now).Asked, asked, "it is %s", state)
	}
}

// A mate that has received the last beat of a peer is lost. The other collectors show the peer
// dead if they reported its death after that beat, but not if they reported it before.
func TestDeathThatFollowedOnABeatAtALostMate(t *testing.T) {
	for since, state := range map[time.Duration]State{2 * time.Second: Dead, 15 * time.Second: Unknown} {
		r, word := foreign(t)
		word.Age += 20 * time.Second // "mate" has received a beat 10 s after that
		r.pass(10 * time.Second)
		word.State, word.Reason, word.Since = Dead, ReasonSilence, since
		r.tracker.MatesChanged()
		r.tracker.HearWords(r.now, []Word{word}, "another", 0)
		r.tracker.Settle(r.tracker.TakeSaid(r.now).Question)
		r.pass(TickInterval)
		require.Equal(t, state, r.view(shop).State, "%s ago", since)
	}
}

// The number of deaths of a peer is the number that is reported by the mate that receives its
// beats.
func TestDeathsOfAPeerThatAMateHears(t *testing.T) {
	r, word := foreign(t)
	word.State, word.Reason, word.Deaths = Dead, ReasonSilence, 1
	r.tracker.HearWords(r.now, []Word{word}, "mate", 0)
	require.EqualValues(t, 1, r.view(shop).Deaths)
	word.State, word.Reason, word.Deaths, word.Age = Alive, ReasonBeat, 3, 0
	r.now = r.now.Add(time.Second)
	r.tracker.HearWords(r.now, []Word{word}, "mate", 0)
	require.Equal(t, "alive beat", r.is(shop))
	require.EqualValues(t, 3, r.view(shop).Deaths)
}

// If a mate does not know whether a process is alive, its report does not make that process
// the one that has ended here.
func TestProcessThatMayLiveHasNotEnded(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Mates = true })
	r.observe(Beat{ID: shop, Process: first, Run: "a", Seq: 1})
	r.observe(Beat{ID: shop, Process: first, Run: "a", Seq: 2, Status: SaysLeaving})
	r.pass(10 * time.Second)
	next := Record{
		ID: shop, Process: Process{Boot: "other", PID: 8, Start: time.Minute}, Interval: time.Second, State: Unknown, Reason: ReasonRestored,
		Heard: r.now, Since: r.now, Speaker: "b",
	}
	r.tracker.HearRecords(r.now, []Record{next}, "mate", 0)
	require.EqualValues(t, 7, r.view(shop).PID)
	require.Equal(t, "left leaving", r.is(shop))
}

// If a late report arrives over a slow path about a run whose end a mate received long ago, it
// is not a second end of the run.
func TestRunsOfAJobOverASlowPath(t *testing.T) {
	p := newPair(t)
	job := peerID("web-1", "job")
	late := make([]Beat, 0, 4)
	for run := range uint32(3) {
		b := Beat{
			ID: job, Process: Process{Boot: "b", PID: 100 + run, Start: time.Duration(run+1) * time.Minute}, Interval: time.Second,
			Margin: 2500 * time.Millisecond, Run: string(rune('a' + run)), Seq: 1,
		}
		end := b
		end.Seq, end.Status, end.HasExitCode, end.ExitCode = 2, SaysDead, true, 3
		p.two.observe(b)
		if run == 2 {
			break // the last run continues
		}
		p.pass(time.Second)
		p.two.observe(end)
		p.pass(time.Second)
		late = append(late, b, end)
	}
	p.pass(TickInterval)
	told := len(p.one.told)
	for _, b := range late {
		require.Equal(t, Late, p.one.observe(b).Fate)
	}
	p.pass(TickInterval)
	require.Len(t, p.one.told, told)
	require.EqualValues(t, 2, p.one.view(job).Deaths)
	require.EqualValues(t, 102, p.one.view(job).PID)
}

// If a peer was dead at all collectors and is back at a mate, the time in which it was dead
// does not count as a long absence from this collector.
func TestPeerThatWasDeadIsStillJudgedHere(t *testing.T) {
	p := newPair(t)
	here, there := beating(p.one, 1, first), beating(p.two, 1, first)
	p.pass(3 * time.Second)
	pause(here, there)
	p.pass(2 * time.Minute)
	require.Equal(t, "dead silence", p.one.is(shop))
	p.one.ended(1, Closed)
	resume(there)
	p.pass(10 * time.Second)
	require.Equal(t, "alive beat", p.one.is(shop))
	require.False(t, p.one.tracker.byHash[shop.Hash()].foreign())
}

// A restarting is a sender of one watched process that is restarted again and again.
type restarting struct {
	*pair
	beat Beat
}

func newRestarting(t *testing.T) *restarting {
	return &restarting{newPair(t), Beat{ID: shop, Process: first, Watched: true, Interval: 2 * time.Second, Margin: 5 * time.Second}}
}

// lives runs one life of the sender, with its own connection: it beats to some collectors for
// the time d. It returns the goodbye of that life, which is not sent yet.
func (r *restarting) lives(life string, conn ConnID, d time.Duration, to ...*rig) Beat {
	r.beat.Run, r.beat.Conn, r.beat.Seq = life, conn, 0
	for ; d > 0; d -= r.beat.Interval {
		r.beat.Seq++
		for _, rig := range to {
			rig.observe(r.beat)
		}
		r.pass(r.beat.Interval)
	}
	bye := r.beat
	bye.Seq, bye.Status = r.beat.Seq+1, SaysLeaving
	return bye
}

// Late goodbyes of several earlier lives affect neither the current life nor its death.
func TestGoodbyesOfSeveralLives(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		for _, late := range []string{"while it lives", "after its death"} {
			t.Run(late, func(t *testing.T) {
				r := newRestarting(t)
				lives := []string{"a", "b"}
				if restarted { // a record contains one life before the current one
					lives = lives[1:]
				}
				byes := make([]Beat, 0, len(lives))
				for i, life := range lives {
					to := []*rig{r.one, r.two}[:2-i] // then the path to the other collector is slow
					bye := r.lives(life, ConnID(i+1), 4*time.Second, to...)
					r.one.observe(bye)
					byes = append(byes, bye)
				}
				r.lives("c", 3, 6*time.Second, r.one)
				if restarted { // between two messages: its mate sends it nothing about earlier lives
					r.parted = true
					r.one.restart(0)
					r.two.now = r.one.now
					r.parted = false
					r.lives("c", 4, 4*time.Second, r.one)
				}
				if late == "after its death" {
					r.pass(20 * time.Second)
					require.Equal(t, "dead silence", r.one.is(shop))
				}
				for _, bye := range byes {
					is := r.two.is(shop)
					require.Equal(t, Late, r.two.observe(bye).Fate)
					require.Equal(t, is, r.two.is(shop))
					r.pass(TickInterval)
				}
				r.pass(time.Minute)
				r.round()
				r.pass(time.Second)
				for _, rig := range []*rig{r.one, r.two} {
					require.Equal(t, "dead silence", rig.is(shop))
					require.EqualValues(t, 1, rig.view(shop).Deaths)
				}
			})
		}
	}
}

// A job that beats once beside a sender is not a later life of that sender: the goodbye of the
// sender counts, although only a mate receives it.
func TestOneShotBesideASender(t *testing.T) {
	r := newRestarting(t)
	bye := r.lives("sender", 1, 6*time.Second, r.one, r.two)
	once := r.beat
	once.Run, once.Seq, once.Conn = "once", 1, 2
	r.one.observe(once)
	r.two.observe(once)
	r.one.ended(2, Closed)
	r.two.ended(2, Closed)
	r.pass(200 * time.Millisecond)
	r.two.observe(bye)
	r.two.ended(1, Closed)
	r.pass(time.Minute)
	require.Equal(t, "left leaving", r.two.is(shop))
	require.Equal(t, "left leaving", r.one.is(shop))
	require.Empty(t, r.one.deaths())
}

// The sender of an end is also known to a collector that has learned the end from a record.
func TestSenderOfAnEndIsInTheRecord(t *testing.T) {
	r := newRestarting(t)
	both := []*rig{r.one, r.two}
	bye := r.lives("a", 1, 4*time.Second, both...)
	r.one.observe(bye)
	r.two.observe(bye)
	r.parted = true
	bye = r.lives("b", 2, 4*time.Second, both...)
	r.two.observe(bye)
	r.pass(TickInterval)
	r.parted = false
	r.round()
	record, _ := r.one.tracker.RecordByHash(shop.Hash(), r.one.now)
	require.Equal(t, "left leaving", r.one.is(shop))
	require.Equal(t, "b", record.EndedBy)
}

// Two runs of one job whose beats a mate receives: the end of one run is not the end of the
// other.
func TestOverlappingRunsThatAMateHears(t *testing.T) {
	p := newPair(t)
	long := Beat{ID: shop, Process: first, Interval: time.Second, Margin: 2500 * time.Millisecond, Run: "long", Seq: 1, Conn: 1}
	short := long
	short.Process, short.Run, short.Conn = Process{Boot: "b", PID: 8, Start: 2 * time.Minute}, "short", 2
	say := func(b *Beat, n int) {
		for range n {
			p.two.observe(*b)
			p.pass(time.Second)
			b.Seq++
		}
	}
	say(&long, 3)
	say(&short, 1)
	say(&long, 1)
	short.Status, short.HasExitCode = SaysLeaving, true
	p.two.observe(short)
	p.pass(TickInterval)
	require.Equal(t, "alive beat", p.two.is(shop))
	require.Equal(t, "alive beat", p.one.is(shop))
	say(&long, 3)
	long.Status, long.HasExitCode, long.ExitCode = SaysDead, true, 3
	p.two.observe(long)
	p.pass(20 * time.Second)
	for _, r := range []*rig{p.one, p.two} {
		require.Equal(t, "dead exited", r.is(shop))
		require.EqualValues(t, 1, r.view(shop).Deaths)
	}
}

// Reports of a mate about the previous life arrive late, its beats as well as its goodbye; a
// restarted collector also knows that they are late.
func TestFactsOfTheLifeBefore(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		r := newRestarting(t)
		bye := r.lives("a", 1, 4*time.Second, r.one)
		life := r.beat
		r.one.observe(bye)
		r.lives("b", 2, 4*time.Second, r.one)
		if restarted {
			r.one.restart(0)
			r.two.now = r.one.now
			r.lives("b2", 3, 4*time.Second, r.one)
			life.Run, bye.Run = "b", "b"
		}
		for _, b := range []Beat{life, bye} {
			r.one.hear(r.one.tracker.HearFact(r.one.now, &Fact{Beat: b, Known: true}, "mate"))
			require.Equal(t, "alive beat", r.one.is(shop), "restarted: %t", restarted)
		}
	}
}

// The life before the one that a collector began with is in its record.
func TestLifeBeforeIsInTheRecord(t *testing.T) {
	r := newRestarting(t)
	bye := r.lives("a", 1, 4*time.Second, r.one)
	r.one.observe(bye)
	r.lives("b", 2, 4*time.Second, r.one)
	r.one.restart(0)
	r.one.observe(r.beat)
	r.one.pass(2 * time.Second)
	r.beat.Seq++
	r.one.observe(r.beat)
	r.one.hear(r.one.tracker.HearFact(r.one.now, &Fact{Beat: bye, Known: true}, "mate"))
	require.Equal(t, "alive beat", r.one.is(shop))
}

// If one sender has reported two different ends, the later one counts: for example, a job has
// failed and then succeeds an hour later, while a collector was away.
func TestLaterEndOfOneSender(t *testing.T) {
	for _, hears := range []bool{true, false} {
		p := newPair(t)
		one, two := p.one, p.two
		if !hears {
			one, two = two, one
		}
		job := Beat{ID: shop, Process: first, Run: "job", Status: SaysDead, HasExitCode: true, ExitCode: 4}
		p.one.observe(job)
		p.two.observe(job)
		p.pass(time.Minute)
		p.parted = true
		p.pass(time.Minute)
		job.Seq, job.Status, job.ExitCode = 9, SaysLeaving, 0
		one.observe(job)
		p.pass(time.Minute)
		p.parted = false
		p.round()
		p.pass(TickInterval)
		for _, r := range []*rig{one, two} {
			require.Equal(t, "left finished", r.is(shop), "received by the first: %t", hears)
			require.EqualValues(t, 1, r.view(shop).Deaths)
		}
	}
}

// If a peer has left and was forgotten while a collector was away, that collector forgets it
// too, instead of reporting it dead. A peer that has beaten to the collector since its start
// is not forgotten.
func TestForgottenWhileAway(t *testing.T) {
	for _, heard := range []bool{false, true} {
		p := newPair(t)
		beating(p.one, 1, first)
		beating(p.two, 1, first)
		p.pass(5 * time.Second)
		record := p.one.tracker.Record(0, p.one.now)
		p.parted = true
		p.one.senders, p.two.senders = nil, nil
		p.two.observe(Beat{ID: shop, Process: first, Run: "k3v9.1", Seq: 100, Status: SaysLeaving, HasExitCode: true})
		p.pass(time.Hour + time.Minute)
		require.Equal(t, "not known", p.two.is(shop))
		saved := p.one.now.Add(-time.Hour - time.Minute)
		p.one.tracker, p.one.told = New(p.one.opts, p.one.now), nil
		p.one.tracker.Restore(&record, saved, p.one.now)
		p.parted = false
		if heard {
			beating(p.one, 2, first)
		}
		p.round()
		p.pass(time.Minute)
		require.Equal(t, map[bool]string{false: "not known", true: "alive beat"}[heard], p.one.is(shop))
		if !heard { // both have forgotten it: nothing to report
			p.one.tracker.HearWords(p.one.now, p.two.tracker.Answer(nil, []uint64{shop.Hash()}, p.two.now), "mate", 0)
			require.True(t, p.one.tracker.NothingToSend())
		}
		require.Empty(t, p.one.deaths())
	}
}

// A sender says goodbye over each of its connections, and a beat may be sent over one of them
// at the same moment. After a mate has reported the goodbye, such a beat is not a sign of
// life.
func TestBeatBesideTheGoodbye(t *testing.T) {
	for after, state := range map[int64]string{0: "left leaving", sameInstant - 1: "left leaving", sameInstant: "alive beat"} {
		p := newPair(t)
		beating(p.one, 1, first)
		beating(p.two, 1, first)
		p.pass(5 * time.Second)
		p.one.senders, p.two.senders = nil, nil
		p.two.observe(Beat{ID: shop, Process: first, Run: "k3v9.2", Seq: 100, Status: SaysLeaving, SentMS: 1000})
		p.talk()
		require.Equal(t, "left leaving", p.one.is(shop))
		p.one.observe(Beat{ID: shop, Process: first, Run: "k3v9.1", Seq: 99, Interval: time.Second, SentMS: 1000 + after, Conn: 1})
		require.Equal(t, state, p.one.is(shop), "sent %d ms after it", after)
	}
}
