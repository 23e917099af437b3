package liveness

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A fleet is a group of hosts whose beats reach the collector through a queue, over one
// connection or in datagrams.
type fleet struct {
	*rig
	conn   ConnID
	clocks map[ID]time.Duration // how far the clock of a host is ahead; a host without an entry is down
	log    []Beat               // everything that was ever sent
	waits  int                  // index in log of the first beat not delivered yet
	stuck  bool                 // nothing is delivered
}

const fleetEvery = 10 * time.Second

// newFleet returns four hosts that beat; the clock of one is wrong.
func newFleet(t *testing.T, over ConnID) *fleet {
	answers := func(ConnID) (Path, netip.Addr) { return PathAnswers, addrOf(1) } // the carrier itself is alive
	f := &fleet{rig: newRig(t, func(o *Options) { o.ForgetLeft, o.Ask = time.Minute, answers }), conn: over, clocks: make(map[ID]time.Duration)}
	f.checked = true
	for i, id := range hosts(4) {
		f.clocks[id] = time.Duration(i) * -20 * time.Second
	}
	f.run(2 * time.Minute)
	require.Len(t, f.told, 4)
	f.told = nil
	return f
}

// run makes the hosts beat for the time d.
func (f *fleet) run(d time.Duration) {
	for end := f.now.Add(d); f.now.Before(end); f.pass(fleetEvery) {
		for _, id := range hosts(4) {
			if ahead, up := f.clocks[id]; up {
				f.say(id, SaysAlive, ahead)
			}
		}
	}
}

func (f *fleet) say(id ID, status Status, ahead time.Duration) {
	b := Beat{ID: id, Status: status, Interval: fleetEvery, Watched: true, SentMS: f.now.Add(ahead).UnixMilli()}
	f.log = append(f.log, b)
	f.deliver()
}

func (f *fleet) deliver() {
	for ; !f.stuck && f.waits < len(f.log); f.waits++ {
		f.observe(f.carriedOver(f.log[f.waits]))
	}
}

func (f *fleet) carriedOver(b Beat) Beat {
	b.Conn, b.Remote = f.conn, addrOf(1)
	return b
}

// replay delivers all beats once more, over another connection.
func (f *fleet) replay() {
	if f.conn > 0 {
		f.ended(f.conn, Closed)
		f.conn++
	}
	f.waits = 0
	f.deliver()
}

func (f *fleet) states() (all []string) {
	for _, id := range hosts(4) {
		all = append(all, f.is(id))
	}
	return all
}

// A beat that has waited in a queue is no sign of life, even if the clocks of the hosts are
// wrong.
func TestCarriedBeats(t *testing.T) {
	web := hosts(4)
	const alive, left = "alive beat", "left leaving"
	for name, c := range map[string]struct {
		story func(*fleet)
		want  []string // states at the end
		told  []string
	}{
		"all is well": {func(f *fleet) { f.run(time.Minute) }, []string{alive, alive, alive, alive}, nil},
		"the queue is stuck for less than a host may be silent": {func(f *fleet) {
			f.stuck = true
			f.run(20 * time.Second)
			f.stuck = false
			f.run(time.Minute)
		}, []string{alive, alive, alive, alive}, []string{
			"suspect", "suspect", "suspect", "suspect", "alive", "alive", "alive", "alive",
		}},
		"one dies, and what it has said waits": {func(f *fleet) {
			f.run(30 * time.Second)
			delete(f.clocks, web[1])
			f.run(time.Minute)
			require.Equal(f.t, "dead silence", f.is(web[1]))
			f.replay()
		}, []string{alive, "dead silence", alive, alive}, []string{"suspect", "dead"}},
		"one is stopped and delivers a backlog, then dies": {func(f *fleet) {
			ahead := f.clocks[web[2]]
			delete(f.clocks, web[2])
			from := f.now
			f.run(5 * time.Minute)
			for at := from; at.Before(f.now.Add(-time.Minute)); at = at.Add(fleetEvery) {
				b := Beat{ID: web[2], Interval: fleetEvery, Watched: true, SentMS: at.Add(ahead).UnixMilli()}
				require.Equal(f.t, Late, f.observe(f.carriedOver(b)).Fate)
			}
			f.run(time.Minute)
		}, []string{alive, alive, "dead silence", alive}, []string{"suspect", "dead"}},
		"one is stopped and goes on after its backlog": {func(f *fleet) {
			ahead := f.clocks[web[2]]
			delete(f.clocks, web[2])
			f.run(5 * time.Minute)
			f.observe(f.carriedOver(Beat{ID: web[2], Interval: fleetEvery, Watched: true, SentMS: f.now.Add(ahead - 2*time.Minute).UnixMilli()}))
			f.clocks[web[2]] = ahead
			f.run(time.Minute)
		}, []string{alive, alive, alive, alive}, []string{"suspect", "dead", "alive"}},
		"one has left, and is replayed": {func(f *fleet) {
			f.say(web[0], SaysLeaving, f.clocks[web[0]])
			delete(f.clocks, web[0])
			f.run(10 * time.Second)
			f.replay()
			f.run(20 * time.Second)
			f.replay()
		}, []string{left, alive, alive, alive}, []string{"left"}},
		"a goodbye is said at the time of the last beat": {func(f *fleet) { // stamps may be rounded
			f.run(10 * time.Second)
			last := f.log[len(f.log)-4]
			last.Status = SaysLeaving
			delete(f.clocks, last.ID)
			for _, want := range []Fate{Accepted, Duplicate} {
				require.Equal(f.t, want, f.observe(f.carriedOver(last)).Fate)
			}
			f.run(50 * time.Second)
		}, []string{left, alive, alive, alive}, []string{"left"}},
		"one has left and is forgotten, and is replayed": {func(f *fleet) {
			f.say(web[0], SaysLeaving, f.clocks[web[0]])
			delete(f.clocks, web[0])
			f.run(5 * time.Minute)
			f.replay()
			f.run(5 * time.Minute)
		}, []string{"not known", alive, alive, alive}, []string{"left", "unknown"}},
		"the queue is stuck for a little longer than they may be silent": {func(f *fleet) {
			f.stuck = true
			f.run(30 * time.Second)
			f.stuck = false
			f.deliver() // they were alive before they were declared dead
			require.Equal(f.t, []string{"dead silence", "dead silence", "dead silence", "dead silence"}, f.states())
			f.run(time.Minute)
		}, []string{alive, alive, alive, alive}, []string{
			"suspect", "suspect", "suspect", "suspect", "dead", "dead", "dead", "dead", "alive", "alive", "alive", "alive",
		}},
		"the first beat of a host has waited, and later ones wait longer": {func(f *fleet) {
			say := func(sent time.Duration) Fate {
				at := epoch.Add(time.Hour + sent*time.Second)
				b := Beat{ID: peerID("web-9", "host"), Interval: fleetEvery, Margin: 25 * time.Second, Watched: true, SentMS: at.UnixMilli()}
				return f.observe(f.carriedOver(b)).Fate
			}
			f.pass(epoch.Add(time.Hour).Sub(f.now))
			require.Equal(f.t, Accepted, say(-30))
			f.pass(10 * time.Second)
			require.Equal(f.t, Accepted, say(10))
			f.pass(30 * time.Second)
			require.Equal(f.t, Accepted, say(11))
			f.pass(20 * time.Second)
			require.Equal(f.t, Late, say(12))
			f.told = nil
		}, []string{"dead silence", "dead silence", "dead silence", "dead silence"}, nil},
		"a clock is set back while all comes twice, and late": {func(f *fleet) {
			f.clocks[web[1]] -= 3 * time.Hour
			for range 12 {
				f.run(fleetEvery)
				for _, b := range f.log[len(f.log)-40 : len(f.log)-36] {
					b.Conn, b.Remote = 99*min(f.conn, 1), addrOf(99)
					f.observe(b)
				}
			}
		}, []string{alive, alive, alive, alive}, []string{"suspect", "alive"}},
		"a goodbye comes late": {func(f *fleet) {
			f.stuck = true
			f.say(web[3], SaysLeaving, f.clocks[web[3]])
			delete(f.clocks, web[3])
			f.run(20 * time.Second)
			f.stuck = false
			f.run(10 * time.Second)
		}, []string{alive, alive, alive, left}, []string{
			"suspect", "suspect", "suspect", "suspect", "left", "alive", "alive", "alive",
		}},
		"all comes twice": {func(f *fleet) {
			for range 10 {
				f.run(fleetEvery)
				for _, b := range f.log[len(f.log)-4:] {
					b.Conn, b.Remote = 99*min(f.conn, 1), addrOf(99)
					require.Equal(f.t, Duplicate, f.observe(b).Fate)
				}
			}
		}, []string{alive, alive, alive, alive}, nil},
		"a clock is set back": {func(f *fleet) {
			f.clocks[web[1]] -= 3 * time.Hour
			f.run(2 * time.Minute)
			delete(f.clocks, web[1])
			f.run(2 * time.Minute)
		}, []string{alive, "dead silence", alive, alive}, []string{"suspect", "alive", "suspect", "dead"}},
		"a clock is set ahead, and back": {func(f *fleet) {
			f.clocks[web[1]] += 3 * time.Hour
			f.run(2 * time.Minute)
			f.clocks[web[1]] -= 3 * time.Hour
			f.run(2 * time.Minute)
		}, []string{alive, alive, alive, alive}, []string{"suspect", "alive"}},
		"the collector is restarted, and all is replayed": {func(f *fleet) {
			delete(f.clocks, web[0])
			f.run(time.Minute)
			f.restart(2 * time.Second)
			f.replay()
			f.run(time.Minute)
			f.replay()
		}, []string{"dead silence", alive, alive, alive}, []string{"suspect", "dead"}},
		"a host with a wrong clock is new": {func(f *fleet) {
			require.Equal(f.t, Late, f.observe(f.carriedOver(f.late("web-9", "host"))).Fate)
			for range 8 {
				f.run(fleetEvery)
				f.observe(f.carriedOver(f.late("web-9", "host")))
			}
			require.Equal(f.t, alive, f.is(peerID("web-9", "host")))
		}, []string{alive, alive, alive, alive}, []string{"alive"}},
		"a service of old is replayed": {func(f *fleet) {
			require.Equal(f.t, Late, f.observe(f.carriedOver(f.late("web-1", "shop"))).Fate)
		}, []string{alive, alive, alive, alive}, nil},
	} {
		for _, over := range []ConnID{1, 0} { // datagrams have no connection
			t.Run(fmt.Sprint(name, " ", over), func(t *testing.T) {
				f := newFleet(t, over)
				c.story(f)
				require.Equal(t, c.want, f.states())
				var told []string
				for _, s := range f.told {
					if s.Event == Changed {
						told = append(told, fmt.Sprint(s.State))
					}
				}
				require.Equal(t, c.told, told)
			})
		}
	}
}

// A replay with pauses looks for short times as if hosts beat again. It keeps no peer alive
// and adds no peer again.
func TestReplayInPieces(t *testing.T) {
	t.Parallel()
	web := hosts(4)
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 0))
		f := newFleet(t, ConnID(seed%2))
		f.say(web[1], SaysLeaving, f.clocks[web[1]])
		f.say(web[3], SaysLeaving, f.clocks[web[3]])
		for _, id := range web[1:] {
			delete(f.clocks, id)
		}
		f.run(2 * time.Minute)
		f.pass(f.now.Sub(epoch) * time.Duration(seed%3)) // for some seeds this is long enough to forget peers that have left
		before, told := f.states(), len(f.told)

		all := f.log
		f.log, f.waits = nil, 0
		f.replay()
		for len(all) > 0 {
			piece := min(len(all), 1+random.IntN(60))
			for _, b := range all[:piece] {
				f.observe(f.carriedOver(b))
			}
			all = all[piece:]
			f.pass(time.Duration(random.Int64N(int64(20 * time.Second))))
		}
		require.Equal(t, before[1:], f.states()[1:], "seed %d", seed)
		for _, s := range f.told[told:] {
			require.Equal(t, web[0], s.ID, "seed %d", seed)
		}
	}
}

// late returns a beat that was sent an hour ago by the clock of its host.
func (f *fleet) late(source, service string) Beat {
	return Beat{ID: peerID(source, service), Interval: fleetEvery, Watched: true, SentMS: f.now.Add(-time.Hour).UnixMilli()}
}

// Hosts that beat for themselves may have any clock, even behind one address, because no queue
// is in between.
func TestClocksOfOthersAreNotAsked(t *testing.T) {
	r := newRig(t)
	for i, sent := range []time.Duration{0, -time.Hour, -2 * time.Hour, time.Hour, -24 * time.Hour, -24 * time.Hour} {
		at := r.now.Add(sent).UnixMilli()
		for j, id := range hosts(3) {
			b := Beat{ID: id, Interval: fleetEvery, Watched: true, SentMS: at, Conn: ConnID(j), Remote: addrOf(7), Run: "abc"}
			if j > 0 {
				b.Run = ""
			}
			require.Equal(t, Accepted, r.observe(b).Fate, "beat %d of %v", i, id)
		}
		b := Beat{ID: peerID("db-1", HostService), Interval: fleetEvery, Watched: true, SentMS: at, Remote: addrOf(7), Run: "def"}
		require.Equal(t, Accepted, r.observe(b).Fate, "beat %d of the other sender of datagrams", i)
		r.pass(fleetEvery)
	}
	require.Empty(t, r.deaths())
}

// Here a Telegraf collects beats and flushes them with some jitter. A clock that is set,
// drifts or was once wrong still makes no peer dead, and a new peer is accepted.
func TestCarriedInBatches(t *testing.T) {
	t.Parallel()
	web := hosts(4)
	for name, clock := range map[string]func(at time.Duration) time.Duration{
		"set back":       func(at time.Duration) time.Duration { return -time.Minute * (at / (10 * time.Minute)) },
		"set ahead":      func(at time.Duration) time.Duration { return time.Hour * (at / (10 * time.Minute)) },
		"an hour behind": func(time.Duration) time.Duration { return -time.Hour },
		"drifts":         func(at time.Duration) time.Duration { return -at / 100 },
		"wrong once": func(at time.Duration) time.Duration {
			if at == 10*time.Minute {
				return 20 * 365 * 24 * time.Hour
			}
			return 0
		},
	} {
		for _, jitter := range []time.Duration{0, 2 * time.Second, 5 * time.Second, 9 * time.Second} {
			t.Run(fmt.Sprint(name, " ", jitter), func(t *testing.T) {
				t.Parallel()
				random := rand.New(rand.NewPCG(1, uint64(jitter)))
				r := newRig(t)
				const every, flush = 10 * time.Second, 10 * time.Second
				for at := time.Duration(0); at < time.Hour; at += flush {
					r.leap(r.start.Add(at + time.Duration(random.Int64N(int64(jitter)+1))))
					for _, id := range web {
						b := Beat{ID: id, Interval: every, Watched: true, Conn: 1, SentMS: r.start.Add(at).UnixMilli()}
						if id == web[1] {
							b.SentMS += clock(at).Milliseconds()
						}
						r.observe(b)
					}
				}
				require.Empty(t, r.deaths())
				require.Equal(t, "alive beat", r.is(web[1]))
				off := (r.start.Add(time.Hour).UnixMilli() - r.start.Add(time.Hour+clock(time.Hour-flush)).UnixMilli()) -
					r.tracker.lookUp(web[1]).proof.carried.lag
				require.Less(t, ms(off).Abs(), 15*time.Second, "its clock is known")
			})
		}
	}
}
