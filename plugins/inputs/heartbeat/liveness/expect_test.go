package liveness

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestExpectedIsMet(t *testing.T) {
	addr := netip.MustParseAddr("10.0.0.5")
	for _, x := range []struct {
		expected Expected
		beat     ID
		from     netip.Addr
		met      bool
	}{
		{Expected{Source: "10.0.0.5"}, ID{Source: "10.0.0.5", PID: 4711}, addr, true},
		{Expected{Source: "10.0.0.5"}, peerID("web-5", "nginx"), addr, true},
		{Expected{Source: "10.0.0.5", Service: "nginx"}, peerID("web-5", "nginx"), addr, true},
		{Expected{Source: "10.0.0.5", Service: "nginx"}, peerID("web-5", "redis"), addr, false},
		{Expected{Source: "10.0.0.5"}, peerID("web-6", "nginx"), netip.MustParseAddr("10.0.0.6"), false},
		{Expected{Source: "web-5"}, peerID("web-5", HostService), addr, true},
		{Expected{Source: "web-5"}, peerID("web-5", "nginx"), addr, false},
		{Expected{Source: "web-5", Service: "nginx"}, peerID("web-5", "nginx"), addr, true},
		{Expected{Source: "web-5", Service: "nginx"}, peerID("web-6", "nginx"), addr, false},
	} {
		for _, first := range []bool{true, false} {
			c := newRig(t)
			beat := func() { c.observe(Beat{ID: x.beat, Addr: x.from}) }
			if first {
				beat()
			}
			c.expect([]Expected{x.expected}...)
			if !first {
				beat()
			}
			require.Equal(t, x.met, c.tracker.Len() == 1, "%v, beat %v from %v, before: %v", x.expected, x.beat, x.from, first)
		}
	}
}

// Nothing is received while the expected peers are looked up, so that must be quick.
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

// If the interval of a peer is configured, it determines the wait for the first beat, also
// after a restart of the collector with another configuration.
func TestExpectationSaysHowLongToWait(t *testing.T) {
	r := newRig(t)
	daily := Expected{Source: "web-1", Service: "backup", Interval: 24 * time.Hour, Margin: time.Hour}
	r.expect(daily)
	id := peerID("web-1", "backup")
	require.Equal(t, 25*time.Hour, r.view(id).DeadAfter)
	r.restart(time.Minute)
	require.Equal(t, []Expected{daily}, r.tracker.Unmet())
	r.expect(daily)
	require.Equal(t, 25*time.Hour, r.view(id).DeadAfter)
	hourly := Expected{Source: "web-1", Service: "backup", Interval: time.Hour, Margin: time.Minute}
	r.expect(hourly)
	require.Equal(t, 61*time.Minute, r.view(id).DeadAfter)
	r.pass(61*time.Minute - TickInterval)
	require.Empty(t, r.statesOf(id))
	r.pass(3 * TickInterval)
	require.Equal(t, []string{"dead never_seen"}, r.statesOf(id))
}

// Nothing is kept of a refused beat, even if a carrier of many hosts delivered it.
func TestNothingIsKeptOfUnlistedPeers(t *testing.T) {
	r := newRig(t, func(o *Options) { o.KnownOnly = true })
	r.expect(Expected{Source: "web-1"})
	for _, source := range []string{"web-1", "web-2", "web-3"} {
		for _, conn := range []ConnID{0, 1} {
			r.observe(Beat{ID: peerID(source, HostService), Remote: addrOf(9), Conn: conn, Watched: true, SentMS: epoch.Add(-time.Hour).UnixMilli()})
		}
	}
	require.Equal(t, 1, r.tracker.Len())
	require.Empty(t, r.tracker.strangers)
	require.Empty(t, r.tracker.carriers)
	require.Len(t, r.tracker.speakers, 1)
}
