package judge

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestClaimedAddressAppliesUnlessItIsLocal(t *testing.T) {
	for _, c := range []struct{ claimed, remote, from, want string }{
		{"10.0.0.5", "192.0.2.1", "beat", "10.0.0.5"},
		{"10.0.0.5", "192.0.2.1", "connection", "192.0.2.1"},
		{"", "192.0.2.1", "beat", "192.0.2.1"},
		{"127.0.1.1", "192.0.2.1", "beat", "192.0.2.1"},
		{"0.0.0.0", "192.0.2.1", "beat", "192.0.2.1"},
		{"::", "2001:db8::1", "beat", "2001:db8::1"},
		{"169.254.1.1", "192.0.2.1", "beat", "192.0.2.1"},
		{"fe80::1", "2001:db8::1", "beat", "2001:db8::1"},
		{"127.0.1.1", "127.0.0.1", "beat", "127.0.1.1"},
		{"10.0.0.5", "", "beat", "10.0.0.5"},
		{"10.0.0.5", "", "connection", "10.0.0.5"},
	} {
		require.Equal(t, parse(c.want), addressOf(parse(c.claimed), &Speaker{Remote: parse(c.remote), AtRemote: c.from == "connection"}), "%+v", c)
	}
}

func parse(text string) netip.Addr {
	addr, _ := netip.ParseAddr(text) //nolint:errcheck // an empty text is none
	return addr
}
