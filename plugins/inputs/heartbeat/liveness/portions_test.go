package liveness

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The result of a tick does not depend on how many peers are checked at once.
func TestTickInPartsIsATick(t *testing.T) {
	whole, parts := New(defaults(), epoch), New(defaults(), epoch)
	for i := range 40 {
		for _, service := range []string{HostService, "nginx", "db"} {
			b := Beat{ID: peerID(fmt.Sprint("web-", i), service), Run: "r", Seq: 1, Interval: 10 * time.Second}
			for _, tracker := range []*Tracker{whole, parts} {
				tracker.Observe(epoch.Add(time.Duration(i%3)*time.Second), &b)
			}
		}
	}
	for now := epoch; now.Before(epoch.Add(15 * time.Minute)); now = now.Add(TickInterval) {
		var got []Transition
		for more := true; more; {
			var some []Transition
			some, more = parts.TickPart(now, 7)
			require.LessOrEqual(t, len(parts.due), 3*40)
			got = append(got, some...)
		}
		require.Equal(t, append([]Transition(nil), whole.Tick(now)...), got, now.Sub(epoch))
	}
	require.Equal(t, 3*40, parts.Count(Dead), "otherwise nothing was tested")
}

// A beat that arrives between two parts of a tick is processed before the rest is judged.
func TestBeatBetweenPartsOfATickIsHeard(t *testing.T) {
	tracker := New(defaults(), epoch)
	beat := func(host string, now time.Time, seq int64) {
		tracker.Observe(now, &Beat{ID: peerID(host, HostService), Run: "r", Seq: seq, Interval: 10 * time.Second})
	}
	beat("web-1", epoch, 1)
	beat("web-2", epoch, 1)
	for now := epoch; tracker.Count(Suspect) == 0; {
		now = now.Add(TickInterval)
		changes, more := tracker.TickPart(now, 1)
		if len(changes) > 0 {
			require.True(t, more)
			for _, host := range []string{"web-1", "web-2"} {
				if host != changes[0].ID.Source {
					beat(host, now, 2)
				}
			}
		}
		for more {
			_, more = tracker.TickPart(now, 1)
		}
	}
	require.Equal(t, 1, tracker.Count(Suspect), "the one that was checked before")
}

// Questions about many peers are sent in parts, each with its own number, and a question
// confirms only the death of peers that it was about.
func TestQuestionsGoInParts(t *testing.T) {
	const peers = 2*sentAtOnce + 10
	opts := defaults()
	opts.Mates, opts.IsolationPercent, opts.MaxPeers = true, 0, peers
	tracker := New(opts, epoch)
	for i := range peers {
		tracker.Observe(epoch, &Beat{ID: peerID(fmt.Sprint("web-", i), HostService), Run: "r", Seq: 1, Interval: 10 * time.Second})
	}
	settle := func(now time.Time) {
		for more := true; more; {
			said := tracker.TakeSaid(now)
			require.LessOrEqual(t, len(said.Asked), sentAtOnce)
			require.LessOrEqual(t, len(said.Words), sentAtOnce)
			tracker.Settle(said.Question)
			more = said.More
		}
	}
	settle(epoch)
	now := epoch
	for len(tracker.asking) == 0 {
		now = now.Add(TickInterval)
		tracker.Tick(now)
		if now.Sub(epoch) < 35*time.Second { // mates are also asked about all peers when they are late
			settle(now)
		}
	}
	first := tracker.TakeSaid(now)
	require.True(t, first.More)
	tracker.Settle(first.Question)
	for range 3 {
		now = now.Add(TickInterval)
		tracker.Tick(now)
	}
	require.Equal(t, sentAtOnce, tracker.Count(Dead), "those of the first part")
	settle(now)
	for range 3 {
		now = now.Add(TickInterval)
		tracker.Tick(now)
	}
	require.Equal(t, peers, tracker.Count(Dead))
}

// A change of a large host does not change its services immediately. They follow at the next
// tick, in parts, once for all changes.
func TestServicesOfALargeHostFollowInParts(t *testing.T) {
	const services, part = 3 * atOnce, 100
	opts := defaults()
	opts.MaxPeers = services + 1
	tracker, now, seq := New(opts, epoch), epoch, int64(0)
	say := func(service string, status Status) []Transition {
		seq, now = seq+1, now.Add(time.Microsecond)
		b := Beat{ID: peerID("web-1", service), Run: "r", Seq: seq, Interval: 10 * time.Second, Status: status}
		return tracker.Observe(now, &b).Transitions
	}
	say(HostService, SaysAlive)
	for i := range services {
		say(fmt.Sprint("s", i), SaysAlive)
	}
	tick := func() (parts int) {
		now = now.Add(TickInterval)
		for more := true; more; parts++ {
			var some []Transition
			some, more = tracker.TickPart(now, part)
			require.LessOrEqual(t, len(some), part)
		}
		return parts
	}
	require.Equal(t, 1, tick(), "nothing to do")
	for range 1000 {
		require.LessOrEqual(t, len(say(HostService, SaysLeaving)), 1, "the host alone")
		require.LessOrEqual(t, len(say(HostService, SaysAlive)), 1)
	}
	require.LessOrEqual(t, tick(), (services+1)/part+2, "one walk over the services")
	require.Equal(t, services+1, tracker.Count(Alive))

	say(HostService, SaysLeaving)
	require.Equal(t, 1, tracker.Count(Left))
	heard := say("s7", SaysAlive)
	require.Empty(t, heard)
	tick()
	require.Equal(t, services, tracker.Count(Left), "all but the one that has beaten since")
	checkInvariants(t, tracker)
}

// Isolation, a stall and forgetting are processed in parts, with the same result, except for
// beats that arrive between the parts.
func TestCrisesGoInParts(t *testing.T) {
	const peers, part = 2000, 100
	opts := defaults()
	opts.MaxPeers, opts.ForgetDead = peers, 20*time.Minute
	whole, parts := New(opts, epoch), New(opts, epoch)
	now, seq := epoch, int64(0)
	beat := func(from, to int) {
		seq++
		for i := from; i < to; i++ {
			b := Beat{ID: peerID(fmt.Sprint("web-", i), "nginx"), Run: "r", Seq: seq, Interval: 10 * time.Minute}
			whole.Observe(now, &b)
			parts.Observe(now, &b)
		}
	}
	most := 0
	tick := func() {
		now = now.Add(TickInterval)
		var got []Transition
		count := 0
		for more := true; more; count++ {
			var some []Transition
			some, more = parts.TickPart(now, part)
			require.LessOrEqual(t, len(some), part)
			got = append(got, some...)
		}
		most = max(most, count)
		require.Equal(t, append([]Transition(nil), whole.Tick(now)...), got, now.Sub(epoch))
	}
	until := func(what string, done func() bool) {
		most = 0
		for begin := now; !done(); tick() {
			require.Less(t, now.Sub(begin), 3*time.Hour, what)
		}
		require.GreaterOrEqual(t, most, peers/part, what)
		checkInvariants(t, parts)
	}
	beat(0, peers)
	until("isolation begins", parts.Isolated)
	beat(0, peers-peers/20)
	until("isolation ends", func() bool { return !parts.Isolated() })
	now = now.Add(time.Hour)
	tick()
	require.Equal(t, peers, parts.Count(Unknown), "a beat of each was due in the stall")
	until("deaths", func() bool { return parts.Count(Dead) == peers })
	until("forgetting", func() bool { return parts.Len() == 0 })
}

// The end of a connection with very many peers is processed in parts, and counts for each peer
// from the time of that end. A peer that beats over another connection before it is processed
// is not lost.
func TestConnectionOfManyEndsInParts(t *testing.T) {
	const peers, part, few = 3 * atOnce, 100, 3
	for _, end := range []End{EndedByUs, Closed, Reset} {
		opts := defaults()
		opts.MaxPeers, opts.IsolationPercent = peers+few, 0
		tracker, now := New(opts, epoch), epoch
		beat := func(i int, seq int64, conn ConnID) {
			b := Beat{ID: peerID(fmt.Sprint("web-", i%5), fmt.Sprint("s", i)), Run: "r", Seq: seq, Interval: time.Minute, Conn: conn}
			tracker.Observe(now, &b)
		}
		tick := func() {
			now = now.Add(TickInterval)
			for more := true; more; {
				var some []Transition
				some, more = tracker.TickPart(now, part)
				require.LessOrEqual(t, len(some), part)
			}
		}
		for seq := range int64(3) {
			for i := range peers {
				beat(i, seq+1, 1)
			}
			for i := range few {
				beat(peers+i, seq+1, 2)
			}
			tick()
		}
		require.Empty(t, tracker.ConnEnded(now, 1, end, netip.Addr{}), "they are left to the tick")
		tracker.ConnEnded(now, 2, end, netip.Addr{})
		now = now.Add(1)
		beat(7, 4, 3)
		now = now.Add(-1)
		tick()
		require.Empty(t, tracker.conns.of(1))
		tracker.ConnEnded(now, 3, end, netip.Addr{}) // a short connection
		checkInvariants(t, tracker)
		if end == EndedByUs {
			require.Equal(t, peers+few, tracker.Count(Alive))
			continue
		}
		require.Equal(t, 1, tracker.Count(Alive))
		require.Equal(t, peers+few-1, tracker.Count(Suspect))
		for tracker.Count(Dead) == 0 {
			tick()
		}
		require.Equal(t, peers+few-1, tracker.Count(Dead), "those of both connections at once")
		checkInvariants(t, tracker)
	}
}

// The deadlines of very many peers in a crowd are restored in parts.
func TestCrowdOfManyIsTakenBackInParts(t *testing.T) {
	const services, part = 3 * atOnce, 100
	opts := defaults()
	opts.MaxPeers = services + 100*crowdSize
	tracker, now := New(opts, epoch), epoch
	beat := func(host, service string, seq int64, conn ConnID) {
		b := Beat{ID: peerID(host, service), Run: "r" + service, Seq: seq, Interval: time.Minute, Conn: conn}
		tracker.Observe(now, &b)
	}
	tick := func() {
		now = now.Add(TickInterval)
		for more := true; more; {
			_, more = tracker.TickPart(now, part)
		}
	}
	proxy := netip.AddrFrom4([4]byte{10, 0, 0, 1})
	for seq := range int64(3) {
		for i := range services {
			beat("web-1", fmt.Sprint("s", i), seq+1, 1)
		}
		for i := range 99 * crowdSize {
			beat(fmt.Sprint("db-", i), HostService, seq+1, ConnID(i+2))
		}
		tick()
	}
	tracker.ConnEnded(now, 1, Closed, proxy)
	tick()
	require.Equal(t, services, tracker.Count(Suspect))
	for i := range crowdSize - 1 {
		tracker.ConnEnded(now, ConnID(i+2), Closed, proxy)
	}
	for end := now.Add(opts.Grace + time.Second); now.Before(end); {
		tick()
	}
	require.Zero(t, tracker.Count(Dead), "a crowd proves nothing")
	checkInvariants(t, tracker)
}

// Before the first tick, Expect does all its work at once, because only the expected peers may
// be accepted.
func TestExpectationOfManyAtTheStart(t *testing.T) {
	tracker := New(defaults(), epoch)
	all := make([]Expected, 2*atOnce)
	for i := range all {
		all[i] = Expected{Source: fmt.Sprint("web-", i)}
	}
	tracker.Expect(all, epoch)
	require.Equal(t, len(all), tracker.Len())
}

// The expectation of many peers changes in parts, with the same result, except for beats that
// arrive between the parts: a peer that beats then needs no placeholder.
func TestExpectationOfManyChangesInParts(t *testing.T) {
	const peers, part = 2 * atOnce, 100
	opts := defaults()
	opts.MaxPeers = 2 * peers
	whole, parts := New(opts, epoch), New(opts, epoch)
	now := epoch
	beat := func(tracker *Tracker, i int) {
		b := Beat{ID: peerID(fmt.Sprint("web-", i), HostService), Addr: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), Interval: time.Minute}
		tracker.Observe(now, &b)
	}
	expected := func(from, to int) (all []Expected) {
		for i := from; i < to; i++ {
			all = append(all, Expected{Source: fmt.Sprint("web-", i)}, Expected{Source: fmt.Sprintf("10.0.%d.%d", i>>8, i%256)})
		}
		return all
	}
	inParts := func(between func(count int)) (got []Transition, count int) {
		now = now.Add(TickInterval)
		for more := true; more; count++ {
			var some []Transition
			some, more = parts.TickPart(now, part)
			require.LessOrEqual(t, len(some), part)
			got = append(got, some...)
			between(count)
		}
		return got, count
	}
	known := func(tracker *Tracker) map[ID]bool {
		all := make(map[ID]bool)
		for _, p := range tracker.order {
			all[p.id()] = p.expected
		}
		return all
	}
	for i := range peers {
		beat(whole, i)
		beat(parts, i)
	}
	whole.Tick(now)
	inParts(func(int) {})
	for _, all := range [][]Expected{expected(peers-100, peers+1000), expected(peers+500, peers+1500), expected(0, 1)} {
		require.Empty(t, parts.Expect(all, now), "it is left to the tick")
		got, count := inParts(func(int) {})
		require.Greater(t, count, 1)
		want := slices.Clone(whole.Tick(now))
		whole.out = nil
		whole.expecting(all, func() time.Time { return now })(everything)
		want = append(want, whole.out...)
		require.ElementsMatch(t, want, got)
		require.Equal(t, known(whole), known(parts))
		checkInvariants(t, parts)
	}
	parts.Expect(expected(peers, peers+1000), now)
	_, count := inParts(func(count int) { beat(parts, peers+999-count) })
	require.Greater(t, count, 2000/part)
	for _, e := range expected(peers+1000-count, peers+1000) {
		require.NotContains(t, parts.Unmet(), e)
	}
	checkInvariants(t, parts)
}

// The end of a connection does not wait until very many old ends are forgotten.
func TestOldEndsAreForgottenInParts(t *testing.T) {
	tracker := New(defaults(), epoch)
	tracker.Observe(epoch, &Beat{ID: peerID("web-1", HostService), Interval: time.Minute})
	for range 3 * atOnce {
		tracker.addToWitness(&loss{peer: tracker.order[0], evidence: ReasonConnClosed})
	}
	tracker.addToWitness(&loss{peer: tracker.order[0], evidence: ReasonConnClosed, at: defaults().Grace + 1})
	require.Len(t, tracker.ends, 2*atOnce+1)
	for now := epoch; now.Before(epoch.Add(2 * defaults().Grace)); now = now.Add(TickInterval) {
		tracker.Tick(now)
	}
	require.Len(t, tracker.ends, 1)
}
