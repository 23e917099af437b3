package cluster

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// A story is a world in which nothing goes wrong but what is told. Its collectors have
// been running for ten seconds, and each of its senders beats once a second to all of
// them, so that 3.5 s of silence are death.
type story struct {
	*world
	t *testing.T
}

func tell(t *testing.T, collectors int) *story {
	t.Parallel()
	w := &world{rnd: newRandom(1), traced: true}
	w.oracle = newOracle(w)
	w.plan = plan{rules: rules(w), collectors: collectors, senders: 1}
	w.plan.rules.Grace = time.Second
	w.people()
	s := w.senders[0]
	s.interval, s.watched, s.dated = time.Second, false, true
	for _, c := range w.collectors {
		c.start()
	}
	s.begin(true)
	for _, p := range s.paths {
		p.run()
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("\n" + w.tell())
		}
	})
	st := &story{w, t}
	st.goOn(10 * time.Second)
	return st
}

func (s *story) goOn(d time.Duration) {
	s.pass(s.now + d)
	require.Empty(s.t, s.oracle.wrong)
}

// both sets the lines between the first collector and another one.
func (s *story) both(other int, state lineState) {
	s.lines[0][other].set(state)
	s.lines[other][0].set(state)
}

func (s *story) is(state liveness.State, collectors ...int) {
	s.t.Helper()
	for _, i := range collectors {
		v, _ := s.collectors[i].view(s.senders[0].id)
		require.Equal(s.t, state.String(), v.State.String(), "%s, %s", s.collectors[i].name, v.Reason)
	}
}

// deaths returns how often a death was told.
func (s *story) deaths() (n int) {
	for _, told := range s.oracle.ids {
		if told.change.Event == liveness.Changed && told.change.State == liveness.Dead {
			n += told.times
		}
	}
	return n
}

// told returns how often it was told that a peer is in a state.
func (s *story) told(id liveness.ID, state liveness.State) (n int) {
	for _, told := range s.oracle.ids {
		if told.change.ID == id && told.change.Event == liveness.Changed && told.change.State == state {
			n += told.times
		}
	}
	return n
}

// join adds a sender that beats to one collector alone, once a second.
func (s *story) join(collector int) *sender {
	s.addSender(len(s.senders))
	late := s.senders[len(s.senders)-1]
	late.interval, late.watched, late.dated, late.paths = time.Second, false, true, late.paths[collector:collector+1]
	return late
}

// dead returns for how many collectors the peer is dead.
func (s *story) dead() (n int) {
	for _, c := range s.collectors {
		if v, _ := c.view(s.senders[0].id); v.State == liveness.Dead {
			n++
		}
	}
	return n
}

func (s *story) mates(collector int) (names []string) {
	for _, m := range s.collectors[collector].circle.reachableMates() {
		names = append(names, m.name)
	}
	return names
}

// A death is told once, by one of all that see it.
func TestStoryOfADeath(t *testing.T) {
	s := tell(t, 3)
	s.senders[0].kill(true)
	s.goOn(5 * time.Second)
	s.is(liveness.Dead, 0, 1, 2)
	require.Equal(t, 1, s.deaths())
}

// Two collectors have asked each other while both lines were broken, too short for them to
// miss each other otherwise. They find each other again.
func TestQuestionsLostBothWaysPartNobodyForLong(t *testing.T) {
	s := tell(t, 2)
	s.senders[0].hang(2 * time.Second)
	s.goOn(900 * time.Millisecond)
	s.both(1, lineCut)
	s.goOn(1500 * time.Millisecond)
	s.both(1, lineOpen)
	s.goOn(10 * time.Second)
	require.Equal(t, []string{"c2"}, s.mates(0))
	require.Equal(t, []string{"c1"}, s.mates(1))
}

// What a collector had sent before it crashed makes it no mate when it arrives at last.
func TestGhostIsNoMate(t *testing.T) {
	s := tell(t, 2)
	s.lines[0][1].set(lineHeld)
	s.goOn(20 * time.Second)
	waiting := s.lines[0][1].waiting
	s.collectors[0].crash(false)
	s.collectors[0].start()
	s.lines[0][1].waiting = waiting
	s.lines[0][1].set(lineOpen)
	s.goOn(200 * time.Millisecond)
	require.Equal(t, []string{"c1"}, s.mates(1))
	s.goOn(10 * time.Second)
	require.Equal(t, []string{"c1"}, s.mates(1))
	require.NotContains(t, s.tell(), "differs")
}

// Of three collectors the first and the last cannot talk to each other. What only the last
// one hears is told, though the second, which it hears, lets the first speak.
func TestLastSpeaksWhenTheMiddleIsSilent(t *testing.T) {
	s := tell(t, 3)
	s.both(2, lineCut)
	for _, p := range s.senders[0].paths[:2] {
		p.state = lineCut
	}
	s.goOn(10 * time.Second)
	s.is(liveness.Alive, 1, 2)
	s.is(liveness.Dead, 0)
	told := s.deaths()
	s.senders[0].kill(true)
	s.goOn(10 * time.Second)
	require.Equal(t, told+1, s.deaths())
}

// A collector that was down is told of an end by a mate whose clock shows another time.
func TestEndIsToldAcrossClocks(t *testing.T) {
	s := tell(t, 2)
	s.collectors[0].wall = -time.Hour
	s.collectors[1].stop()
	s.goOn(time.Second)
	s.senders[0].say(liveness.Beat{Status: liveness.SaysLeaving, HasExitCode: true}, s.senders[0].paths)
	s.goOn(10 * time.Second)
	s.collectors[1].start()
	s.goOn(20 * time.Second)
	s.is(liveness.Left, 0, 1)
	require.Zero(t, s.deaths())
}

// A peer that beats to one collector is dead for all when it is dead there, and for nobody
// when that one is down.
func TestPeerOfOneCollector(t *testing.T) {
	t.Parallel()
	for _, down := range []bool{false, true} {
		t.Run(map[bool]string{false: "dies", true: "is not heard"}[down], func(t *testing.T) {
			s := tell(t, 2)
			s.collectors[0].crash(true) // so that it has never heard it
			s.senders[0].paths[0].breakFor(time.Hour, lineCut)
			s.collectors[0].start()
			s.goOn(10 * time.Second)
			s.is(liveness.Alive, 0, 1)
			if !down {
				s.senders[0].kill(true)
				s.goOn(5 * time.Second)
				s.is(liveness.Dead, 0, 1)
				require.Equal(t, 1, s.deaths())
				return
			}
			s.collectors[1].stop()
			s.goOn(time.Minute)
			s.is(liveness.Unknown, 0)
			require.Zero(t, s.deaths())
			told := s.oracle.tellings
			s.collectors[1].start()
			s.goOn(10 * time.Second)
			s.is(liveness.Alive, 0, 1)
			require.Equal(t, told, s.oracle.tellings, "it was never known to be anything else")
		})
	}
}

// A beat that was sent before a goodbye, and arrives elsewhere after it, is no life.
func TestBeatBehindAGoodbye(t *testing.T) {
	s := tell(t, 2)
	late := s.senders[0].paths[1]
	late.breakFor(10*time.Second, lineHeld)
	s.goOn(2 * time.Second)
	s.senders[0].say(liveness.Beat{Status: liveness.SaysLeaving}, s.senders[0].paths[:1])
	s.goOn(20 * time.Second)
	s.is(liveness.Left, 0, 1)
	require.Zero(t, s.deaths())
}

// A collector that has just begun, and speaks, tells the death of a peer that it has yet to
// hear itself.
func TestDeathAfterAStartIsTold(t *testing.T) {
	s := tell(t, 2)
	s.senders[0].paths[0].breakFor(time.Hour, lineCut)
	s.collectors[0].stop()
	s.goOn(time.Second)
	s.collectors[0].start()
	s.goOn(10 * time.Second)
	s.is(liveness.Alive, 0, 1)
	require.True(t, s.collectors[0].circle.reports)
	s.senders[0].kill(false) // which the other one sees, and is sooner sure of
	s.goOn(10 * time.Second)
	s.is(liveness.Dead, 0, 1)
	require.Equal(t, 1, s.deaths())
}

// What a collector has told while it was parted from the one that speaks is taken back.
func TestWhatWasToldApartIsTakenBack(t *testing.T) {
	s := tell(t, 2)
	s.senders[0].paths[1].breakFor(time.Hour, lineCut)
	s.both(1, lineCut)
	s.goOn(15 * time.Second)
	s.is(liveness.Alive, 0)
	s.is(liveness.Dead, 1)
	require.Equal(t, 1, s.deaths())
	s.both(1, lineOpen)
	s.goOn(10 * time.Second)
	s.is(liveness.Alive, 0, 1)
	last := s.oracle.peers[s.senders[0].id].last
	require.Equal(t, liveness.Alive, last.change.State)
	require.Equal(t, "c2", last.by.name)
}

// A collector that knows a peer through a mate alone does not believe it alive when that mate
// is there again, but has lost all that it knew.
func TestMateThatHasForgotten(t *testing.T) {
	s := tell(t, 2)
	s.collectors[0].crash(true) // so that it has never heard it
	s.senders[0].paths[0].breakFor(time.Hour, lineCut)
	s.collectors[0].start()
	s.goOn(10 * time.Second)
	s.is(liveness.Alive, 0)
	s.senders[0].paths[1].breakFor(time.Hour, lineCut)
	s.collectors[0].crash(false)
	s.collectors[1].crash(true)
	s.collectors[1].start()
	s.collectors[0].start()
	s.goOn(2 * time.Second)
	require.Zero(t, s.dead(), "the beat before was not long ago")
	s.goOn(20 * time.Second)
	v, _ := s.collectors[0].view(s.senders[0].id)
	require.NotEqual(t, liveness.Alive, v.State)
}

// A promise that was kept is none for a collector either that knows of it through a mate.
func TestPromiseThatWasKeptElsewhere(t *testing.T) {
	s := tell(t, 2)
	s.collectors[0].crash(true) // so that it has never heard it
	s.senders[0].paths[0].breakFor(time.Hour, lineCut)
	s.collectors[0].start()
	s.goOn(10 * time.Second)
	s.senders[0].say(liveness.Beat{Status: liveness.SaysLeaving, BackIn: 20 * time.Second}, s.senders[0].paths[1:])
	s.goOn(time.Second)
	s.is(liveness.Left, 0, 1)
	s.both(1, lineCut)
	s.goOn(5 * time.Second)
	s.senders[0].begin(false)
	s.goOn(20 * time.Second)
	s.senders[0].say(liveness.Beat{Status: liveness.SaysLeaving, HasExitCode: true}, s.senders[0].paths[1:])
	s.goOn(5 * time.Second)
	s.both(1, lineOpen)
	s.goOn(30 * time.Second)
	s.is(liveness.Left, 0, 1)
}

// What began while a collector read what it had saved, and only it hears, is told once, whoever
// speaks when it goes on.
func TestBeginningBeforeALongStartIsTold(t *testing.T) {
	t.Parallel()
	const long = 8 * time.Second
	for _, c := range []struct {
		name string
		goes func(s *story, first, other int)
	}{
		{"the other one runs", func(s *story, first, _ int) {
			s.collectors[first].startIn(long)
		}},
		{"they find each other late", func(s *story, first, _ int) {
			s.collectors[first].startIn(long)
			s.both(1, lineCut)
			s.after(long+startPatience-presencePause, func() { s.both(1, lineOpen) })
		}},
		{"the other one reads for longer", func(s *story, first, other int) {
			s.collectors[other].crash(false)
			s.collectors[first].startIn(long)
			s.collectors[other].startIn(long + 3*time.Second)
		}},
		{"the other one reads for less long", func(s *story, first, other int) {
			s.collectors[other].crash(false)
			s.collectors[first].startIn(long)
			s.collectors[other].startIn(long - 3*time.Second)
		}},
		{"there is no other one", func(s *story, first, other int) {
			s.collectors[other].stop()
			s.collectors[first].startIn(long)
		}},
		{"the other one dies meanwhile", func(s *story, first, other int) {
			s.collectors[first].startIn(long)
			s.after(long/2, func() { s.collectors[other].crash(false) })
		}},
		{"the other one dies as they meet", func(s *story, first, other int) {
			s.collectors[first].startIn(long)
			s.after(long+presencePause, func() { s.collectors[other].crash(false) })
		}},
	} {
		for _, first := range []int{0, 1} {
			t.Run(fmt.Sprint(c.name, ", c", first+1), func(t *testing.T) {
				s, other := tell(t, 2), 1-first
				s.collectors[first].stop()
				late := s.join(first)
				s.goOn(5 * time.Second)
				c.goes(s, first, other)
				s.goOn(time.Second)
				late.begin(true)
				late.paths[0].run()
				s.goOn(long + 30*time.Second)
				require.Equal(t, 1, s.told(late.id, liveness.Alive))
			})
		}
	}
}

// What one of three has heard before the one that will speak began is told, though that one finds
// first a mate that was told of it.
func TestBeginningBeforeTheOneThatSpeaksIsTold(t *testing.T) {
	s := tell(t, 3)
	for _, c := range s.collectors {
		c.stop()
	}
	s.goOn(20 * time.Second)
	late := s.join(2)
	s.collectors[1].start()
	s.collectors[2].start()
	s.goOn(400 * time.Millisecond)
	late.begin(true)
	late.paths[0].beat(liveness.Beat{})
	late.paths[0].run()
	s.goOn(200 * time.Millisecond)
	s.lines[0][2].slow, s.lines[2][0].slow = 400*time.Millisecond, 400*time.Millisecond
	s.collectors[0].start()
	s.goOn(20 * time.Second)
	require.True(t, s.collectors[0].circle.reports)
	require.Equal(t, 1, s.told(late.id, liveness.Alive))
}

// A promise that was made while a collector was away, and is broken while it reads what it had saved,
// is one death.
func TestPromiseBrokenDuringALongStart(t *testing.T) {
	t.Parallel()
	const long = 15 * time.Second
	for _, first := range []int{0, 1} {
		for _, crashed := range []bool{false, true} {
			t.Run(fmt.Sprint("c", first+1, ", crashed ", crashed), func(t *testing.T) {
				s, other := tell(t, 2), 1-first
				if crashed {
					s.collectors[first].crash(false)
				} else {
					s.collectors[first].stop()
				}
				s.goOn(time.Second)
				sender := s.senders[0]
				sender.say(liveness.Beat{Status: liveness.SaysLeaving, BackIn: 4 * time.Second}, sender.paths[other:other+1])
				sender.kill(false)
				s.goOn(time.Second)
				s.collectors[first].startIn(long)
				s.goOn(long + 2*time.Second)
				s.is(liveness.Dead, 0, 1)
				s.goOn(time.Minute)
				s.is(liveness.Dead, 0, 1)
				require.Equal(t, 1, s.deaths())
			})
		}
	}
}
