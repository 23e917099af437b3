package verify

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// What a beat has to show, and which refusal comes first.
func TestWhatABeatHasToShow(t *testing.T) {
	here := netip.MustParseAddr("192.0.2.1")
	signed := wire.Beat{Host: "web-1", Run: "r", Seq: 1, SentMS: 1}
	unsigned := wire.Beat{Host: "web-1", PID: 7, Service: "nginx"}
	for _, c := range []struct {
		name  string
		rules Rules
		beat  wire.Beat
		from  Speaker
		want  wire.Reason // "" if it may be believed
	}{
		{"nothing is asked", Rules{}, unsigned, Speaker{}, ""},
		{"a signature is asked", Rules{Signature: true}, unsigned, Speaker{}, ReasonUnsigned},
		{"and given", Rules{Signature: true}, signed, Speaker{Signer: "web-1"}, ""},
		{"without a run", Rules{}, wire.Beat{Host: "web-1"}, Speaker{Signer: "web-1"}, wire.ReasonMissing},
		{"for a pid", Rules{}, wire.Beat{Host: "web-1", Run: "r", Seq: 1, SentMS: 1, PID: 7}, Speaker{Signer: "web-1"}, wire.ReasonMissing},
		{"the signer is the host", Rules{Host: true}, signed, Speaker{Signer: "web-1"}, ""},
		{"or another one", Rules{Host: true}, signed, Speaker{Signer: "web-2"}, ReasonHost},
		{"the host is missing", Rules{Host: true}, wire.Beat{PID: 7}, Speaker{}, ReasonHost},
		{"its own address", Rules{IP: true}, wire.Beat{IP: here, PID: 7}, Speaker{Remote: here}, ""},
		{"another address", Rules{IP: true}, wire.Beat{IP: here, PID: 7}, Speaker{Remote: netip.MustParseAddr("192.0.2.2")}, ReasonIP},
		{"another one as a host", Rules{IP: true}, wire.Beat{Host: "192.0.2.1", PID: 7}, Speaker{Remote: netip.MustParseAddr("192.0.2.2")}, ReasonIP},
		{"another address, not asked", Rules{}, wire.Beat{IP: here, PID: 7}, Speaker{Remote: netip.MustParseAddr("192.0.2.2")}, ""},
		{"another pid", Rules{}, unsigned, Speaker{PID: 1<<31 - 1}, ReasonPID},
		{"another pid, watched", Rules{}, wire.Beat{Host: "web-1", PID: 7, Watched: true}, Speaker{PID: 1<<31 - 1}, ""},
	} {
		c.rules.Recipient = NewRecipient("id", nil, false, nil)
		got := wire.Reason("")
		if refusal := c.rules.Check(&c.beat, &c.from); refusal != nil {
			got = refusal.Reason
		}
		require.Equal(t, c.want, got, c.name)
	}
}

// Nobody learns an id from datagrams, so there names alone count.
func TestWhomARecipientIs(t *testing.T) {
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
		require.Equal(t, c.stream, r.refuses(c.to, false) == "", "%+v", c)
		require.Equal(t, c.datagram, r.refuses(c.to, true) == "", "%+v", c)
	}
}
