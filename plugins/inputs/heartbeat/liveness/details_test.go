package liveness

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDetailsHoldWhatAViewLeavesOut(t *testing.T) {
	tracker := New(defaults(), epoch)
	tracker.Expect([]Expected{{Source: "web-9"}}, epoch)
	tracker.Observe(epoch, &Beat{ID: peerID("web-1", "nginx")})
	tracker.Observe(epoch, &Beat{ID: peerID("web-1", "backup"), Begins: true, Job: "a"})
	tracker.Observe(epoch, &Beat{ID: peerID("web-2", HostService)})
	tracker.Observe(epoch, &Beat{ID: peerID("web-2", HostService), Status: SaysLeaving, BackIn: time.Minute})
	details := make(map[string]Details)
	for i := range tracker.Len() {
		d := tracker.Details(i, epoch.Add(150*time.Millisecond))
		details[d.ID.String()] = d
	}

	require.Equal(t, "dead_after", details["web-1/nginx"].Rule)
	require.Equal(t, details["web-1/nginx"].DeadAfter/2, details["web-1/nginx"].Suspect)
	require.False(t, details["web-1/nginx"].Never)
	require.Zero(t, details["web-1/nginx"].BackIn)
	require.Empty(t, details["web-1/nginx"].HeardBy)
	require.Equal(t, 1, details["web-1/backup"].Jobs)
	require.True(t, details["web-9/host"].Never)
	require.Equal(t, time.Minute-150*time.Millisecond, details["web-2/host"].BackIn)
}

// Calling Details again and again does not change the stamps of a peer.
func TestDetailsTakeNoStamp(t *testing.T) {
	tracker := New(defaults(), epoch)
	tracker.Observe(epoch, &Beat{ID: peerID("web-1", "nginx")})
	before := tracker.order[0].stamp
	require.Zero(t, tracker.Details(0, epoch.Add(time.Second)).At)
	require.Equal(t, before, tracker.order[0].stamp)
}

func TestDetailsNameTheMateThatReceivesAPeer(t *testing.T) {
	tracker := New(defaults(), epoch)
	tracker.Observe(epoch, &Beat{ID: peerID("web-1", "nginx"), Interval: 10 * time.Second})
	p := tracker.order[0]
	tracker.noteBeatElsewhere(p, "collector-2", time.Second, epoch.Add(time.Second))
	require.Equal(t, "collector-2", tracker.Details(0, epoch.Add(time.Second)).HeardBy)
	p.elsewhere.heard = p.lastHeard()
	require.Empty(t, tracker.Details(0, epoch.Add(time.Second)).HeardBy, "its latest beat here is as late")
}

// The address that a peer claims may differ from the address that its beats come from.
func TestDetailsHoldWhereBeatsReallyComeFrom(t *testing.T) {
	r := newRig(t, func(o *Options) { o.ForgetDead = time.Minute })
	r.checked = true
	claimed, nat, other := addrOf(1), addrOf(2), addrOf(3)
	observed := func(b Beat) netip.Addr {
		b.ID = peerID("web-1", "nginx")
		r.observe(b)
		require.Equal(t, b.Addr, r.tracker.Details(0, r.now).Addr)
		return r.tracker.Details(0, r.now).Observed
	}
	require.Equal(t, claimed, observed(Beat{Addr: claimed, Remote: claimed}))
	require.Empty(t, r.tracker.remotes)
	require.Equal(t, nat, observed(Beat{Addr: claimed, Remote: nat}))
	require.Equal(t, other, observed(Beat{Addr: claimed, Remote: other}))
	require.Equal(t, nat, observed(Beat{Addr: other, Remote: nat}))
	require.False(t, observed(Beat{Addr: claimed}).IsValid(), "a Unix socket has no address")
	require.Empty(t, r.tracker.remotes)

	require.Equal(t, nat, observed(Beat{Addr: claimed, Remote: nat}))
	r.pass(5 * time.Minute)
	require.Zero(t, r.tracker.Len())
	require.Empty(t, r.tracker.remotes)
}

// A mate does not know from which address another collector received a beat.
func TestMatesAreNotSentWhereABeatCameFrom(t *testing.T) {
	p := newPair(t)
	p.one.observe(Beat{ID: shop, Addr: addrOf(1), Remote: addrOf(2), Interval: time.Second})
	p.talk()
	require.Equal(t, addrOf(2), p.one.tracker.Details(0, p.one.now).Observed)
	require.Equal(t, addrOf(1), p.two.tracker.Details(0, p.two.now).Addr)
	require.False(t, p.two.tracker.Details(0, p.two.now).Observed.IsValid())
}
