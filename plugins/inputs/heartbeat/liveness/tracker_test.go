package liveness

import (
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// sharedAsTheyWere reports whether the values that peers without a past or traits share are
// unmodified.
func sharedAsTheyWere() bool {
	noOnes, trail := onlyAlive, Trail{}
	trail.Counts[Alive]++
	same := noOnes.trail == trail
	noOnes.trail = Trail{}
	return same && reflect.ValueOf(noPast).IsZero() && reflect.DeepEqual(noTraits, traits{past: &noPast}) && reflect.DeepEqual(noOnes, noTraits)
}

// The values that peers without a past share are never modified.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 && !sharedAsTheyWere() {
		fmt.Printf("written to: %+v, %+v or %+v\n", noPast, noTraits, onlyAlive)
		code = 1
	}
	os.Exit(code)
}

// One host cannot use up the room for the peers of all other hosts.
func TestPeersPerHost(t *testing.T) {
	l := newRig(t, func(o *Options) { o.MaxPeers, o.MaxPeersPerHost = 10, 3 })
	fate := func(host, service string) Fate {
		return l.observe(Beat{ID: peerID(host, service), Interval: time.Minute}).Fate
	}
	for i := range 3 {
		require.Equal(t, Accepted, fate("web-1", strconv.Itoa(i)))
	}
	require.Equal(t, FullHost, fate("web-1", "3"))
	require.Equal(t, Accepted, fate("web-1", "2"), "known peers are still accepted")
	require.Equal(t, Accepted, fate("web-2", "0"), "other hosts are not affected")
	l.hear(l.tracker.Expect([]Expected{{Source: "web-1", Service: "wanted"}}, l.now))
	require.Equal(t, Accepted, fate("web-1", "wanted"))
	require.Equal(t, FullHost, fate("web-1", "3"))
	for i := range 5 {
		require.Equal(t, Accepted, fate(fmt.Sprint("host-", i), "0"))
	}
	require.Equal(t, Full, fate("web-2", "1"), "the total limit applies, too")
}

func TestForgottenPeerHandsItsWakeOn(t *testing.T) {
	l := newRig(t)
	l.observe(Beat{ID: ID{Source: "a", Service: "gone"}, Status: SaysLeaving})
	l.pass(59 * time.Minute)
	l.observe(Beat{ID: ID{Source: "a", Service: "x"}, Interval: time.Hour})
	l.pass(2 * time.Minute) // gone is forgotten, and x gets its number
	require.Equal(t, l.tracker.order[0].wakeV(&l.tracker.opts), l.tracker.wake[0])
}

// No data of a retired tracker is used, not even a handle.
func TestRetiredTrackerIsNotBelieved(t *testing.T) {
	c := newRig(t)
	b := Beat{ID: peerID("web-1", HostService), Interval: 10 * time.Second}
	b.Handle = c.observe(b).Handle
	require.Len(t, c.tracker.Retire(), 1)
	r := c.tracker.Record(0, c.now)
	c.tracker = New(c.opts, c.now)
	c.tracker.Restore(&r, c.now, c.now)
	c.observe(b)
	require.EqualValues(t, 2, c.view(b.ID).Beats)
}

// BenchmarkObserveNext measures the next beat of a few peers that are found by their handles,
// with all data in the processor's cache.
func BenchmarkObserveNext(b *testing.B) {
	now := time.Now() // monotonic, as in production
	t := New(defaults(), now)
	addr, beats := netip.MustParseAddr("192.0.2.1"), make([]Beat, 50)
	for i := range beats {
		beats[i] = Beat{
			ID: ID{Source: fmt.Sprint("host-", i), Service: "nginx"}, Process: Process{Boot: "6d1c0f5e", PID: 4711},
			Interval: 10 * time.Second, Run: "1f3a90c2", Conn: ConnID(i + 1), Addr: addr, Remote: addr,
		}
	}
	for i := 0; b.Loop(); i++ {
		beat := &beats[i%len(beats)]
		beat.Seq++
		now = now.Add(100 * time.Microsecond)
		beat.Handle = t.Observe(now, beat).Handle
	}
}

func BenchmarkObserve(b *testing.B) {
	opts := defaults()
	opts.MaxPeers = 1_000_000
	t := New(opts, epoch)
	beats := make([]Beat, 100_000)
	for i := range beats {
		beats[i] = Beat{ID: ID{Source: fmt.Sprint("host-", i*7919%len(beats)), Service: "nginx"}, Interval: 10 * time.Second, Run: "r"}
	}
	now := epoch
	for i := 0; b.Loop(); i++ {
		beat := &beats[i%len(beats)]
		beat.Seq++
		now = now.Add(time.Microsecond)
		t.Observe(now, beat)
	}
}

func BenchmarkSweep(b *testing.B) {
	opts := defaults()
	opts.MaxPeers = 1_000_000
	t := New(opts, epoch)
	for i := range 1_000_000 {
		t.Observe(epoch, &Beat{ID: ID{Source: fmt.Sprint("host-", i), Service: "nginx"}, Interval: time.Hour})
	}
	for b.Loop() {
		t.earliest = 0
		t.checkDue(epoch)
		t.work(everything)
	}
}
