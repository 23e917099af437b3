package serve

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// No client can use up the connections of others with connections that have had nothing
// accepted. On Unix sockets each user counts separately, if the kernel reports it.
func TestUnprovenConnectionsOfOneAddress(t *testing.T) {
	for _, c := range []struct {
		limit     int
		from      []string // come one after the other, again and again
		users     int      // likewise; 0 if it is not known
		most      int      // so many of them get in
		withProof int      // likewise, if each proves itself before the next comes
	}{
		{limit: 80, from: []string{"192.0.2.1"}, most: 10, withProof: 80},
		{limit: 80, from: []string{"192.0.2.1", "192.0.2.2"}, most: 20, withProof: 80},
		{limit: 80, from: []string{"2001:db8::1", "2001:db8::2", "2001:db8::3:0:0:1"}, most: 10, withProof: 80},
		{limit: 80, from: []string{"2001:db8::1", "2001:db8:0:1::1"}, most: 20, withProof: 80},
		{limit: 80, from: []string{""}, most: 10, withProof: 80}, // a unix socket
		{limit: 80, from: []string{""}, users: 1, most: 10, withProof: 80},
		{limit: 80, from: []string{""}, users: 3, most: 30, withProof: 80},
		{limit: 7, from: []string{"192.0.2.1"}, most: 1, withProof: 7},
		{limit: 1, from: []string{"192.0.2.1"}, most: 1, withProof: 1},
	} {
		for _, proves := range []bool{false, true} {
			d := newLimits(&Options{MaxConnections: c.limit})
			in, want, reasons := 0, c.most, make(map[wire.Reason]int)
			if proves {
				want = c.withProof
			}
			for i := range 3 * c.limit {
				from := new(Origin)
				if text := c.from[i%len(c.from)]; text != "" {
					from.Remote = netip.MustParseAddr(text)
				}
				if c.users > 0 {
					from.User = 61001 + uint32(i%c.users)
				}
				reason, text := d.enter(from)
				if reason != "" {
					reasons[reason]++
					require.Contains(t, text, "'max_connections'")
					continue
				}
				in++
				if proves {
					d.prove(from)
				}
			}
			require.Equal(t, want, in, "%+v, proves %v", c, proves)
			require.Equal(t, 3*c.limit-want, reasons[ReasonUnproven]+reasons[ReasonMaxConnections])
			require.Equal(t, proves || c.most == c.limit, reasons[ReasonMaxConnections] > 0)
		}
	}
}

// A connection that has ended, or has had something accepted, no longer counts.
func TestUnprovenConnectionsAreCountedRight(t *testing.T) {
	d := newLimits(&Options{MaxConnections: 8})
	from := &Origin{Remote: netip.MustParseAddr("192.0.2.1")}
	for range 100 {
		reason, _ := d.enter(from)
		require.Empty(t, reason)
		reason, text := d.enter(from)
		require.Equal(t, ReasonUnproven, reason)
		require.Equal(t, "too many connections from this address or user have had nothing accepted yet: "+
			"the limit is 1, an eighth of 'max_connections' or of the descriptor limit", text)
		d.prove(from)
		d.leave(from.Remote)
	}
	require.Empty(t, d.unproven)
	require.Zero(t, d.open)
}

// Ended connections leave nothing behind.
func TestLimitsForgetWhatHasLeft(t *testing.T) {
	d := newLimits(&Options{MaxConnections: 80, MaxPerIP: 2})
	for _, text := range []string{"192.0.2.1", "192.0.2.2"} {
		from := &Origin{Remote: netip.MustParseAddr(text)}
		for want, reason := range []wire.Reason{"", "", ReasonMaxPerIP} {
			got, _ := d.enter(from)
			require.Equal(t, reason, got, want)
		}
		for range 2 {
			d.prove(from)
			d.leave(from.Remote)
		}
	}
	require.Empty(t, d.openFrom)
	require.Empty(t, d.unproven)
	require.Zero(t, d.open)
}
