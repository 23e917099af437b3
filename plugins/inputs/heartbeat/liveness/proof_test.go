package liveness

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A peer belongs to the user that spoke for it first, until it has left.
func TestPeerBelongsToAUser(t *testing.T) {
	const root, alice, bob = 0, 1000, 1001
	for name, c := range map[string]struct {
		before []uint32 // who beats, one after the other
		ends   Status   // said by the last of them
		user   uint32   // who beats then
		want   Fate
	}{
		"its own":                {[]uint32{alice}, SaysAlive, alice, Accepted},
		"another one's":          {[]uint32{alice}, SaysAlive, bob, Foreign},
		"another one's, dead":    {[]uint32{alice}, SaysDead, bob, Foreign},
		"another one's, left":    {[]uint32{alice}, SaysLeaving, bob, Accepted},
		"root":                   {[]uint32{alice}, SaysAlive, root, Accepted},
		"after root":             {[]uint32{root}, SaysAlive, alice, Accepted},
		"root takes nothing":     {[]uint32{alice, root}, SaysAlive, bob, Foreign},
		"root retires":           {[]uint32{alice, root}, SaysLeaving, bob, Accepted},
		"a stranger":             {nil, SaysAlive, bob, Accepted},
		"it goes to the next":    {[]uint32{alice}, SaysLeaving, alice, Accepted},
		"and belongs to nobody":  {[]uint32{root, root}, SaysAlive, bob, Accepted},
		"other transports are 0": {[]uint32{alice}, SaysDead, root, Accepted},
	} {
		for _, status := range []Status{SaysAlive, SaysLeaving, SaysDead} {
			for _, restarted := range []bool{false, true} {
				l := newRig(t)
				b := Beat{ID: peerID("web-1", "nginx"), Interval: time.Minute, HasExitCode: true}
				for i, user := range c.before {
					b.User, b.Status = user, SaysAlive
					if i == len(c.before)-1 && c.ends != SaysAlive {
						require.Equal(t, Accepted, l.observe(b).Fate, name)
						b.Status = c.ends
					}
					require.Equal(t, Accepted, l.observe(b).Fate, name)
				}
				if restarted && len(c.before) > 0 {
					record := l.tracker.Record(0, l.now)
					l = newRig(t)
					l.tracker.Restore(&record, l.now, l.now)
				}
				b.User, b.Status = c.user, status
				what := fmt.Sprintf("%s, status %d, restarted %v", name, status, restarted)
				require.Equal(t, c.want == Foreign, l.tracker.Foreign(&b), what)
				require.Equal(t, c.want, l.observe(b).Fate, what)
			}
		}
	}
}

// One host cannot take the room of all others.
func TestPeersPerHost(t *testing.T) {
	l := newRig(t, func(o *Options) { o.MaxPeers, o.MaxPeersPerHost = 10, 3 })
	fate := func(host, service string) Fate {
		return l.observe(Beat{ID: peerID(host, service), Interval: time.Minute}).Fate
	}
	for i := range 3 {
		require.Equal(t, Accepted, fate("web-1", fmt.Sprint(i)))
	}
	require.Equal(t, FullHost, fate("web-1", "3"))
	require.Equal(t, Accepted, fate("web-1", "2"), "those that are known go on")
	require.Equal(t, Accepted, fate("web-2", "0"), "others are not concerned")
	l.hear(l.tracker.Expect([]Expected{{Source: "web-1", Service: "wanted"}}, l.now))
	require.Equal(t, Accepted, fate("web-1", "wanted"))
	require.Equal(t, FullHost, fate("web-1", "3"))
	for i := range 5 {
		require.Equal(t, Accepted, fate(fmt.Sprint("host-", i), "0"))
	}
	require.Equal(t, Full, fate("web-2", "1"), "the limit of all holds too")
}
