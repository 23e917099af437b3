package liveness

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A host that beats rarely shows nothing about the present.
func TestSlowHostsDoNotDilute(t *testing.T) {
	c := newRig(t)
	all := c.join(time.Second, hosts(10)...)
	slow := make([]ID, 0, 200)
	for i := range 200 {
		slow = append(slow, peerID(fmt.Sprint("slow-", i), HostService))
	}
	c.join(time.Hour, slow...)
	c.pass(time.Hour + time.Minute)
	pause(all...)
	c.pass(time.Minute)
	require.True(t, c.tracker.Isolated())
	require.Empty(t, c.deaths())
}

// Hosts that have been silent for a long time, because their allowed silence is long, do not
// bring all hosts that have beaten since into the comparison.
func TestLongSilentHostsDoNotDilute(t *testing.T) {
	c := newRig(t)
	all := c.join(time.Second, hosts(10)...)
	slow, rare := make([]ID, 0, 200), make([]ID, 0, 3)
	for i := range 200 {
		slow = append(slow, peerID(fmt.Sprint("slow-", i), HostService))
	}
	for i := range 3 {
		rare = append(rare, peerID(fmt.Sprint("rare-", i), HostService))
	}
	c.join(10*time.Minute, slow...)
	gone := c.join(time.Hour, rare...)
	for _, a := range gone {
		a.next = c.now
	}
	c.pass(TickInterval)
	pause(gone...)
	c.pass(75 * time.Minute)
	require.Equal(t, 3, c.tracker.Count(Suspect))
	pause(all...)
	c.pass(20 * time.Second)
	require.True(t, c.tracker.Isolated())
	require.Empty(t, c.deaths())
}

// A collector that restarts again and again still reports the deaths when many hosts have
// died.
func TestHoldGoesOnOverRestarts(t *testing.T) {
	c := newRig(t)
	all := c.join(time.Second, hosts(20)...)
	c.pass(10 * time.Second)
	pause(all[:10]...)
	for range 30 {
		c.pass(10 * time.Second)
		c.restart(time.Second)
	}
	require.Len(t, c.deaths(), 10)
}

// Hosts that come and go all the time, by accident or on purpose, do not hide the death of
// another host forever.
func TestDeathIsNotHiddenByHostsThatComeAndGo(t *testing.T) {
	c := newRig(t)
	all := c.join(10*time.Second, hosts(200)...)
	c.pass(time.Minute)
	pause(all[7])
	fake := func(i, round int) Beat {
		return Beat{ID: peerID(fmt.Sprint("fake-", i), HostService), Interval: 10 * time.Second, Conn: ConnID(1 + i + 12*round)}
	}
	for round := range 300 { // half an hour
		for range 2 {
			for i := range 12 {
				c.observe(fake(i, round))
			}
			c.pass(200 * time.Millisecond)
		}
		for i := range 12 {
			c.ended(fake(i, round).Conn, Closed)
		}
		c.pass(6 * time.Second)
	}
	require.Contains(t, c.statesOf(all[7].beat.ID), "dead silence")
}

// These are the ways in which a host falls silent in TestManyDeathsAtOnce.
const (
	sendsFIN = iota
	sendsRST
	hangs // its TCP answers
	silent
	goesOn
)

// Only evidence about the collector itself can decide whether all hosts are dead or the
// collector is cut off. In each row, twelve hosts have one process each that beats for itself
// every ten seconds, so that W is 35 s. The row states what happens to them.
func TestManyDeathsAtOnce(t *testing.T) {
	const grace, reset, w, partly, wholly = 5 * time.Second, 12 * time.Second, 35 * time.Second, time.Minute, 10 * time.Minute
	all := func(how int) (fates [12]int) {
		for i := range fates {
			fates[i] = how
		}
		return fates
	}
	some := func(n, how, others int) [12]int {
		fates := all(others)
		for i := range n {
			fates[i] = how
		}
		return fates
	}
	for name, row := range map[string]struct {
		fates    [12]int
		proxy    bool             // all connections come from one address
		isolated bool             // whether the collector is isolated at some time
		told     [6]time.Duration // by fate: when the last such host is reported dead; 0 for never
		joining  int              // hosts that connect meanwhile
	}{
		"all end":                      {fates: all(sendsFIN), told: [6]time.Duration{sendsFIN: grace}},
		"all end while others come":    {fates: all(sendsFIN), joining: 5, told: [6]time.Duration{sendsFIN: grace}},
		"four end":                     {fates: some(4, sendsFIN, goesOn), told: [6]time.Duration{sendsFIN: grace}},
		"all end behind a proxy":       {fates: all(sendsFIN), proxy: true, isolated: true, told: [6]time.Duration{sendsFIN: wholly}},
		"ten of twelve end there":      {fates: some(10, sendsFIN, goesOn), proxy: true, isolated: true, told: [6]time.Duration{sendsFIN: partly}},
		"nine of twelve end there":     {fates: some(9, sendsFIN, goesOn), proxy: true, told: [6]time.Duration{sendsFIN: grace}},
		"one ends there":               {fates: some(1, sendsFIN, goesOn), proxy: true, told: [6]time.Duration{sendsFIN: grace}},
		"all are reset":                {fates: all(sendsRST), isolated: true, told: [6]time.Duration{sendsRST: wholly}},
		"all are reset behind a proxy": {fates: all(sendsRST), proxy: true, isolated: true, told: [6]time.Duration{sendsRST: wholly}},
		"all hang":                     {fates: all(hangs), told: [6]time.Duration{hangs: w}},
		"ten hang":                     {fates: some(10, hangs, goesOn), told: [6]time.Duration{hangs: w}},
		"all hang behind a proxy":      {fates: all(hangs), proxy: true, isolated: true, told: [6]time.Duration{hangs: wholly}},
		"all are silent":               {fates: all(silent), isolated: true, told: [6]time.Duration{silent: wholly}},
		"half end, half are silent":    {fates: some(6, sendsFIN, silent), told: [6]time.Duration{sendsFIN: grace, silent: w}},
		"half end, half hang":          {fates: some(6, sendsFIN, hangs), told: [6]time.Duration{sendsFIN: grace, hangs: w}},
		"half hang, half are silent":   {fates: some(6, hangs, silent), told: [6]time.Duration{hangs: w, silent: w}},
		"half end, half are reset":     {fates: some(6, sendsFIN, sendsRST), told: [6]time.Duration{sendsFIN: grace, sendsRST: reset}},
		"half end, half are reset, behind": {
			fates: some(6, sendsFIN, sendsRST), proxy: true, isolated: true,
			told: [6]time.Duration{sendsFIN: wholly, sendsRST: wholly},
		},
	} {
		t.Run(name, func(t *testing.T) {
			from := func(conn ConnID) netip.Addr {
				if row.proxy {
					return addrOf(99)
				}
				return addrOf(conn)
			}
			c := newRig(t, func(o *Options) {
				o.Ask = func(conn ConnID) (Path, netip.Addr) {
					if conn <= 12 && row.fates[conn-1] == hangs {
						return PathAnswers, from(conn)
					}
					return PathIsSilent, from(conn)
				}
			})
			c.fixed = true
			actors := c.join(10*time.Second, hosts(12)...)
			for i, a := range actors {
				a.beat.Conn, a.beat.Watched = ConnID(i+1), false
			}
			c.pass(time.Minute)
			for i, fate := range row.fates {
				if fate != goesOn {
					pause(actors[i])
				}
				if end, yes := map[int]End{sendsFIN: Closed, sendsRST: Reset}[fate]; yes {
					c.endedFrom(ConnID(i+1), end, from(ConnID(i+1)))
				}
			}
			for i := range row.joining {
				c.join(10*time.Second, peerID("new-"+string(rune('a'+i)), HostService))
			}
			isolated, fell := false, c.now
			c.passUntil(15*time.Minute, func() bool {
				isolated = isolated || c.tracker.Isolated()
				return false
			})
			require.Equal(t, row.isolated, isolated, "isolated")
			at := make(map[ID]time.Duration)
			for _, death := range c.deaths() {
				require.NotContains(t, at, death.ID, "reported twice")
				at[death.ID] = death.at.Sub(fell)
			}
			for i, fate := range row.fates {
				id := actors[i].beat.ID
				if row.told[fate] == 0 {
					require.NotContains(t, at, id)
					continue
				}
				require.GreaterOrEqual(t, at[id], row.told[fate]-10*time.Second, "%v", id) // its last beat was up to ten seconds earlier
				require.LessOrEqual(t, at[id], row.told[fate]+w, "%v", id)
				if row.told[fate] <= w {
					require.LessOrEqual(t, at[id], row.told[fate]+time.Second, "%v", id)
				}
			}
		})
	}
}

// Losses are kept only as long as the processes are lost.
func TestWitnessesAreForgotten(t *testing.T) {
	c := newRig(t, func(o *Options) {
		o.Ask = func(conn ConnID) (Path, netip.Addr) { return PathAnswers, addrOf(conn) }
	})
	actors := c.join(10*time.Second, hosts(40)...)
	for i, a := range actors {
		a.beat.Conn, a.beat.Watched = ConnID(i+1), false
	}
	c.pass(time.Minute)
	for _, a := range actors[:20] {
		c.ended(a.beat.Conn, Closed)
	}
	pause(actors[20:]...)
	c.pass(20 * time.Second)
	require.Len(t, c.tracker.witnesses, 20, "those that are hung")
	resume(actors...)
	c.pass(20 * time.Second)
	require.Empty(t, c.tracker.witnesses)
	require.Empty(t, c.tracker.ends)
}

func TestTimesOfManyHostsAreSortedInPortions(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var s sorting
	const hosts = 3*sortedAtOnce + 7
	want := make([]time.Duration, 0, hosts)
	for range hosts {
		at := time.Duration(rnd.IntN(1000))
		s.add(at)
		want = append(want, at)
	}
	calls := 1
	for s.merge(1) == 1 {
		calls++
	}
	require.Equal(t, 4, calls, "one merge each, and one that finds nothing to do")
	slices.SortFunc(want, func(a, b time.Duration) int { return cmp.Compare(b, a) })
	require.Equal(t, want, s.all())
}

// Counting for all tries together gives the same result as counting for each try alone.
func TestTriesAreAsIfEachWereMadeAlone(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	found := 0
	for range 2000 {
		const percent = 30
		silent, beating := make([]time.Duration, rnd.IntN(60)), make([]time.Duration, rnd.IntN(100))
		for _, some := range [][]time.Duration{silent, beating} {
			for i := range some {
				some[i] = time.Duration(rnd.IntN(50))
			}
			slices.SortFunc(some, func(a, b time.Duration) int { return cmp.Compare(b, a) })
		}
		tried := triesOf(silent, percent)
		for _, heard := range beating {
			tried.note(&host{heard: heard, living: 1})
		}
		tried.note(&host{heard: never, living: 1, silence: 1})
		tried.note(&host{heard: never})
		since, yes := tried.cutOff(percent)
		wantSince, want := cutOffAlone(silent, beating, percent)
		require.Equal(t, []any{wantSince, want}, []any{since, yes})
		require.False(t, want && tried.refuted())
		if want {
			found++
		}
	}
	require.Positive(t, found)
}

func cutOffAlone(silent, beating []time.Duration, percent int) (time.Duration, bool) {
	for n := len(silent); n > 0; n -= 1 + n/8 {
		count := 0
		for _, heard := range beating {
			if heard >= silent[n-1] {
				count++
			}
		}
		if n+count >= leastHosts && 100*n > percent*(n+count) {
			return silent[n-1], true
		}
	}
	return 0, false
}
