package verify

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

const secret = "a secret of 32 bytes and no more"

// Which checks a beat must pass, and which refusal comes first.
func TestChecksOfABeat(t *testing.T) {
	here, there := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	keys, err := OpenKeys(map[string]string{"web-1": secret, "web-2": secret}, "", nil)
	require.NoError(t, err)
	const full, plain = `{"host":"web-1","pid":0,"run":"r","seq":1,"sent_ms":1}`, `{"host":"web-1","service":"nginx","pid":7}`
	for _, c := range []struct {
		name   string
		rules  Rules
		beat   string
		signer string // "" for none
		from   Speaker
		want   wire.Reason // "" if it may be believed
	}{
		{"nothing is asked", Rules{}, plain, "", Speaker{}, ""},
		{"no JSON", Rules{}, "what?", "", Speaker{}, wire.ReasonJSON},
		{"a signature is asked", Rules{Signature: true}, plain, "", Speaker{}, ReasonUnsigned},
		{"and given", Rules{Signature: true}, full, "web-1", Speaker{}, ""},
		{"by a key that is not known", Rules{}, full, "web-3", Speaker{}, wire.ReasonSignature},
		{"without a run", Rules{}, `{"host":"web-1","pid":0}`, "web-1", Speaker{}, wire.ReasonMissing},
		{"for a pid", Rules{}, `{"host":"web-1","pid":7,"run":"r","seq":1,"sent_ms":1}`, "web-1", Speaker{}, wire.ReasonMissing},
		{"the signer is the host", Rules{Host: true}, full, "web-1", Speaker{}, ""},
		{"or another one", Rules{Host: true}, full, "web-2", Speaker{}, ReasonHost},
		{"the host is missing", Rules{Host: true}, `{"pid":7}`, "", Speaker{}, ReasonHost},
		{"its own address", Rules{IP: true}, `{"ip":"192.0.2.1","pid":7}`, "", Speaker{Remote: here}, ""},
		{"another address", Rules{IP: true}, `{"ip":"192.0.2.1","pid":7}`, "", Speaker{Remote: there}, ReasonIP},
		{"another one as a host", Rules{IP: true}, `{"host":"192.0.2.1","pid":7}`, "", Speaker{Remote: there}, ReasonIP},
		{"another address, not asked", Rules{}, `{"ip":"192.0.2.1","pid":7}`, "", Speaker{Remote: there}, ""},
		{"another pid", Rules{}, plain, "", Speaker{PID: 1<<31 - 1}, ReasonPID},
		{"another pid, watched", Rules{}, `{"host":"web-1","pid":7,"watched":true}`, "", Speaker{PID: 1<<31 - 1}, ""},
	} {
		c.rules.Keys, c.rules.Recipient = keys, NewRecipient("id", nil, false, nil)
		payload := []byte(c.beat)
		if c.signer != "" {
			payload = wire.Key{ID: c.signer, Secret: []byte(secret)}.AppendSigned(nil, payload)
		}
		got := wire.Reason("")
		signer, refusal := c.rules.Read(payload, new(wire.Decoder), new(wire.Latest), &c.from)
		if refusal != nil {
			got = refusal.Reason
		} else {
			require.Equal(t, c.signer, signer, c.name)
		}
		require.Equal(t, c.want, got, c.name)
	}
}

// Senders of datagrams cannot learn the id, so only names count there.
func TestNamesOfARecipient(t *testing.T) {
	const taken, refused = true, false
	for _, c := range []struct {
		to               string
		names            []string
		required         bool
		stream, datagram bool
	}{
		{"", nil, false, taken, taken},
		{"", nil, true, refused, refused},
		{"id", nil, true, taken, taken},
		{"other", nil, false, refused, taken},
		{"id", []string{"hb-1"}, false, taken, refused},
		{"hb-1", []string{"hb-1"}, true, taken, taken},
		{"hb-2", []string{"hb-1"}, false, refused, refused},
	} {
		r := NewRecipient("id", c.names, c.required, nil)
		require.Equal(t, c.stream, r.refusalText(c.to, false) == "", "%+v", c)
		require.Equal(t, c.datagram, r.refusalText(c.to, true) == "", "%+v", c)
	}
}
