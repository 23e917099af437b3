package heartbeat

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/judge"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/verify"
)

// A host that is an address is that address in any spelling, and is verified like one: beats
// from elsewhere do not change its state.
func TestHostThatIsAnAddressIsVerified(t *testing.T) {
	const here, there = "127.0.0.1", "10.0.0.5"
	for _, c := range []struct{ members, verified, connection, beat string }{ // whom the beat is about, by 'ip_from'
		{`"host":"10.0.0.5"`, "", here, there},
		{`"host":"10.0.0.5."`, "", here, there},
		{`"host":"::ffff:10.0.0.5"`, "", here, there},
		{`"host":"::FFFF:0a00:0005"`, "", here, there},
		{`"host":"10.0.0.5","ip":"127.0.0.1"`, "", here, there},
		{`"host":"127.0.0.1","ip":"10.0.0.5"`, "", here, here},
		{`"ip":"10.0.0.5"`, "", here, there},
		{`"host":"2001:DB8::1"`, "", here, "2001:db8::1"},
		{`"host":"127.0.0.1"`, here, here, here},
		{`"host":"::ffff:127.0.0.1"`, here, here, here},
		{`"host":"127.0.0.1."`, here, here, here},
		{`"host":"127.0.0.1","ip":"127.0.0.1"`, here, here, here},
		{`"x":1`, here, here, here},
		{`"host":"web-1"`, "web-1", "web-1", "web-1"},
		{`"host":"WEB-1."`, "web-1", "web-1", "web-1"},
		{`"host":"10.0.0.5.in-addr.arpa"`, "10.0.0.5.in-addr.arpa", "10.0.0.5.in-addr.arpa", "10.0.0.5.in-addr.arpa"},
	} {
		for from, want := range map[string]string{"verified": c.verified, "connection": c.connection, "beat": c.beat} {
			h := transport(t, "tcp://127.0.0.1:0", func(h *Heartbeat) { h.IPFrom = from })
			client := dial(t, h)
			for _, status := range []string{"alive", "dead", "leaving"} {
				answer := client.decoded(`{` + c.members + `,"pid":0,"service":"s","ack":true,"status":"` + status + `"}`)
				if want == "" {
					require.Contains(t, answer.Error, "('ip_from')", "%s, %s", c.members, from)
					continue
				}
				require.Empty(t, answer.Error, "%s, %s", c.members, from)
				require.Equal(t, want+"/s", answer.ID, "%s, %s", c.members, from)
			}
			require.Equal(t, want == "", rejected(h, verify.ReasonIP) > 0)
		}
	}
}

// A host that is an address has its address in the same place as other hosts.
func TestAddressOfAHostThatIsOne(t *testing.T) {
	h := newPlugin(t)
	acc := start(t, h)
	dial(t, h).beat(`{"host":"::ffff:10.0.0.5","pid":7,"ack":true}`)
	gather(t, h)
	for _, m := range metricsOf(acc, "heartbeat_peer", "source", "10.0.0.5") {
		require.Equal(t, "10.0.0.5", m.Tags()["ip"])
		require.Equal(t, "7", m.Tags()["pid"])
	}
	require.NotEmpty(t, metricsOf(acc, "heartbeat_peer", "source", "10.0.0.5"))
}

// A name with a final dot is the name without it: for certificates, keys, rules and expected
// peers.
func TestFinalDotIsNoOtherHost(t *testing.T) {
	a := newAuthority(t)
	h := secureTransport(t, a, func(h *Heartbeat) {
		h.TLSAllowedCACerts, h.HostFrom = []string{a.file}, "verified"
		h.Expect = []string{"web-1./nginx"}
		h.Rules = []Rule{{Host: "web-1.", DeadAfter: durationOption(77e9)}}
		setKey(h, "web-2.", secretOne)
	})
	c := mustDialSecure(t, h, a.trust(a.issue("web-1")))
	for _, host := range []string{"web-1", "web-1.", "WEB-1."} {
		answer := c.decoded(`{"host":"` + host + `","service":"nginx","pid":0,"ack":true}`)
		require.Empty(t, answer.Error)
		require.Equal(t, "web-1/nginx", answer.ID)
		require.EqualValues(t, 77000, answer.DeadAfterMS)
	}
	require.Equal(t, 1, h.judge.Count(), "one peer, and the expected one is it")
	for i, id := range []string{"web-2", "web-2.", "WEB-2"} {
		require.Empty(t, c.decoded(signedBy(id, secretOne, signedBeat("web-2", "a", i+1, ""))).Error)
	}
	require.Empty(t, c.decoded(signedBy("web-2", secretOne, signedBeat("web-2.", "a", 9, ""))).Error)
	for _, text := range []string{"web-1.", "WEB-1", "web-1"} {
		e, err := judge.ParseExpected(text)
		require.NoError(t, err)
		require.Equal(t, liveness.Expected{Source: "web-1"}, e)
	}
	for text, want := range map[string]string{"::ffff:10.0.0.5": "10.0.0.5", "10.0.0.5.": "10.0.0.5", "fe80::1%eth0": "fe80::1"} {
		e, err := judge.ParseExpected(text)
		require.NoError(t, err)
		require.Equal(t, netip.MustParseAddr(want).String(), e.Source)
	}
}

// A host that may speak, by a certificate or not, leaves room for others.
func TestOneHostLeavesRoom(t *testing.T) {
	a := newAuthority(t)
	h := secureTransport(t, a, func(h *Heartbeat) {
		h.TLSAllowedCACerts, h.HostFrom = []string{a.file}, "verified"
		h.MaxPeers, h.MaxPeersPerHost = 100, 5
	})
	c := mustDialSecure(t, h, a.trust(a.issue("web-1")))
	for i := range 200 {
		answer := c.decoded(fmt.Sprintf(`{"host":"web-1","service":"invented-%d","pid":0,"ack":true}`, i))
		require.Equal(t, i < 5, answer.Error == "")
		require.True(t, i < 5 || strings.Contains(answer.Error, "host web-1 is reached ('max_peers_per_host')"), answer.Error)
	}
	require.EqualValues(t, 195, rejected(h, judge.ReasonMaxPerHost))
	require.Empty(t, c.decoded(`{"host":"web-1","service":"invented-0","pid":0,"ack":true}`).Error)
	other := mustDialSecure(t, h, a.trust(a.issue("web-2")))
	require.Empty(t, other.decoded(`{"host":"web-2","pid":0,"ack":true}`).Error)

	for peers, want := range map[int]int{1: 1000, 10_000: 1000, 100_000: 10_000, 1_000_000: 100_000} {
		require.Equal(t, want, (&Options{MaxPeers: peers}).peersPerHost())
	}
}
