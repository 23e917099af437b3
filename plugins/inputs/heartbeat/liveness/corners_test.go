package liveness

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A short stall soon after a long one does not end what the long one began:
// its backlog teaches nothing.
func TestShortStallDoesNotEndALongOne(t *testing.T) {
	c := newRig(t)
	c.join(time.Second, hosts(1)...)
	c.pass(2 * time.Minute)
	before := c.tracker.teachFrom
	require.Zero(t, before)
	c.now = c.now.Add(40 * time.Second)
	c.hear(c.tracker.Tick(c.now))
	long := c.tracker.teachFrom
	c.now = c.now.Add(250 * time.Millisecond)
	c.hear(c.tracker.Tick(c.now))
	require.GreaterOrEqual(t, c.tracker.teachFrom, long)
}

// A collector that is restarted all the time still reaches its verdicts when
// many have died.
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

// What came by datagram did not come over the long connection before.
func TestDatagramAfterLongConnectionIsNotLong(t *testing.T) {
	c := newRig(t)
	b := Beat{ID: ID{Source: "10.0.0.5", PID: 1}, Conn: 1}
	c.observe(b)
	c.pass(time.Second)
	c.observe(b)
	c.ended(1, Closed)
	b.Conn = 0
	c.observe(b)
	require.False(t, c.tracker.peers[b.ID].onLong())
}

// Nothing is heard while the expected are looked up, so that has to be quick.
func TestExpectingManyIsQuick(t *testing.T) {
	c := newRig(t, func(o *Options) { o.MaxPeers = 100_000 })
	const peers, expected = 50_000, 5_000
	for i := range peers {
		c.observe(Beat{ID: peerID(fmt.Sprint("web-", i), "nginx")})
	}
	all := make([]Expected, expected)
	for i := range all {
		all[i] = Expected{Source: fmt.Sprint("web-", i*peers/expected), Service: "nginx"}
		if i%2 == 0 {
			all[i].Source = netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}).String()
		}
	}
	start := time.Now()
	c.expect(all...)
	require.Less(t, time.Since(start), time.Second)
}

// Hosts that come and go all the time, by accident or on purpose, do not hide
// the death of another for ever.
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

// What a clock that was set says of the past is not believed.
func TestClockThatWasSetMakesNobodyDeadForDecades(t *testing.T) {
	long := time.Date(1970, 1, 1, 0, 0, 10, 0, time.UTC)
	tracker := New(defaults(), epoch)
	r := Record{ID: peerID("web-1", HostService), State: Dead, Reason: ReasonSilence, Since: long, Heard: long}
	tracker.Restore(&r, long.Add(time.Minute), epoch)
	v := tracker.View(0, epoch)
	require.Equal(t, time.Minute, v.DeadFor)
	require.Equal(t, time.Minute, v.Age)
}

// Each run of a job from cron is a run of its own, but together they make one
// schedule: who is often late gets more patience here too.
func TestOneShotsMakeOneSchedule(t *testing.T) {
	c := newRig(t)
	b := Beat{ID: peerID("web-1", "job"), Interval: time.Minute, Seq: 1}
	var out Outcome
	for n := range 40 {
		b.Run = fmt.Sprint("run-", n)
		out = c.observe(b)
		c.pass(time.Minute + time.Duration(1-2*(n%2))*15*time.Second) // late, and on time again
	}
	require.Greater(t, out.Silence.Dead, 250*time.Second)
}
