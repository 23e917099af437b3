package sender

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A dead name server costs a second, however many there are, and is named.
func TestNameServersAreAskedSideBySide(t *testing.T) {
	const quick = time.Millisecond
	dead, fine, fails := nameServer{dead: true}, nameServer{takes: quick}, nameServer{fails: true}
	first, second := "192.0.2.1:53", "192.0.2.2:53"
	for name, tt := range map[string]struct {
		servers []nameServer
		takes   time.Duration // at least; familyTime may come on top
		dead    []string
		err     string
	}{
		"all are fine":              {[]nameServer{fine, fine}, quick, nil, ""},
		"the first is dead":         {[]nameServer{dead, fine}, nameServerTime + quick, []string{first}, ""},
		"the first two are dead":    {[]nameServer{dead, dead, fine}, 2*nameServerTime + quick, []string{first, second}, ""},
		"the only one is slow":      {[]nameServer{{takes: 4 * time.Second}}, 4 * time.Second, nil, ""},
		"both are slow":             {[]nameServer{{takes: 4 * time.Second}, {takes: 4 * time.Second}}, 4 * time.Second, nil, ""},
		"the first is out of order": {[]nameServer{fails, fine}, quick, nil, ""},
		"all are out of order":      {[]nameServer{fails, fails}, 0, nil, "server misbehaving"},
		"all are dead":              {[]nameServer{dead, dead}, lookupTime, []string{first, second}, "no name server answers"},
		"the only one is dead":      {[]nameServer{dead}, lookupTime, []string{first}, "no name server answers"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{servers: tt.servers, zone: []string{home}}
				begin := time.Now()
				n := resolve(t.Context(), w.lookup, []string{"ip4", "ip6"}, "hb")
				require.InDelta(t, tt.takes, time.Since(begin), float64(familyTime))
				require.Equal(t, tt.dead, n.dead)
				if tt.err != "" {
					require.ErrorContains(t, n.err, tt.err)
					require.Empty(t, n.addrs)
					return
				}
				require.NoError(t, n.err)
				require.Equal(t, []netip.Addr{netip.MustParseAddr(home)}, n.addrs)
			})
		})
	}
}

// That a host does not exist is a word that counts, though another name server
// is dead.
func TestUnknownHostIsToldBesideADeadNameServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{servers: []nameServer{{dead: true}, {}}}
		n := resolve(t.Context(), w.lookup, []string{"ip6"}, "hb") // of which there are none
		var unknown *net.DNSError
		require.ErrorAs(t, n.err, &unknown)
		require.True(t, unknown.IsNotFound)
		require.Equal(t, []string{"192.0.2.1:53"}, n.dead)
	})
}

// Some name servers swallow the question for IPv6.
func TestSwallowedQuestionHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ask := func(ctx context.Context, mayAsk func(string) error, network, _ string) ([]netip.Addr, error) {
			if err := mayAsk("192.0.2.1:53"); err != nil || network == "ip6" {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return []netip.Addr{netip.MustParseAddr("::ffff:" + home)}, nil
		}
		begin := time.Now()
		n := resolve(t.Context(), ask, []string{"ip4", "ip6"}, "hb")
		require.Equal(t, familyTime, time.Since(begin))
		require.Equal(t, []netip.Addr{netip.MustParseAddr(home)}, n.addrs)
	})
}

// As RFC 6724 has it, and in one order.
func TestIPv6ComesFirst(t *testing.T) {
	var n lookupResult
	n.add(lookupResult{addrs: []netip.Addr{netip.MustParseAddr(home), netip.MustParseAddr(home2)}})
	n.add(lookupResult{addrs: []netip.Addr{netip.MustParseAddr("2001:db8::1")}})
	require.Equal(t, []netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr(home), netip.MustParseAddr(home2)}, n.addrs)
}

// What the URL demands is asked for.
func TestFamiliesOfAURL(t *testing.T) {
	for url, want := range map[string][]string{
		"tcp://hb:1": {"ip4", "ip6"}, "tls://hb:1": {"ip4", "ip6"}, "tcp4://hb:1": {"ip4"}, "udp6://hb:1": {"ip6"},
	} {
		to, err := parseServer(url)
		require.NoError(t, err)
		require.Equal(t, want, to.families(), url)
		require.True(t, to.hasName())
	}
	for _, url := range []string{"tcp://10.0.0.1:1", "udp://[::1]:1", "tcp://[fe80::1%eth0]:1", "unix:///run/hb"} {
		to, err := parseServer(url)
		require.NoError(t, err)
		require.False(t, to.hasName(), url)
	}
}
