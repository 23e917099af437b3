package wire

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"
)

// What a decoder keeps from the beat before never shows: it reads each beat
// like a new one.
func TestDecoderReadsEachBeatLikeANewOne(t *testing.T) {
	vectors := loadVectors[beatVector](t, "beats.json")
	var d, other Decoder // which streams share
	var beat Beat
	same := func(payload []byte, after string) {
		want, wantErr := Decode(payload)
		got := beat
		gotErr := d.Decode(payload, &got)
		d, other, beat = other, d, got
		if (gotErr == nil) != (wantErr == nil) {
			t.Fatalf("%.80q after %.80q: %v, fresh %v", payload, after, gotErr, wantErr)
		}
		if gotErr == nil {
			if diff := cmp.Diff(*want, got, cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("%.80q after %.80q %s", payload, after, diff)
			}
		}
	}
	for _, a := range vectors {
		for _, b := range vectors {
			same(a.bytes(t), "")
			same(b.bytes(t), string(a.bytes(t)))
			same(b.bytes(t), string(b.bytes(t)))
		}
	}
	for _, pair := range [][2]string{
		{`{"pid":1,"tags":{"a":"x"},"fields":{"a":"x","b":2.5}}`, `{"pid":1,"tags":{"a":"y"},"fields":{"a":"y","b":3.5}}`},
		{`{"pid":1,"ip":"10.0.0.1","host":"aa","run":"aa"}`, `{"pid":1,"ip":"10.0.0.2","host":"bb","run":"bb"}`},
		{`{"pid":1,"tags":{"a":"x\""}}`, `{"pid":1,"tags":{"a":"x\""}}`},
	} {
		same([]byte(pair[0]), "")
		same([]byte(pair[1]), pair[0])
	}
}

func TestEdges(t *testing.T) {
	accepts := func(p string) bool { _, err := Decode([]byte(p)); return err == nil }
	require.True(t, accepts(`{"pid":1,"tags":{"a":"`+strings.Repeat("x", MaxLabelValue)+`"}}`))
	require.False(t, accepts(`{"pid":1,"tags":{"a":"`+strings.Repeat("x", MaxLabelValue+1)+`"}}`))
	require.False(t, accepts(`{"pid":1,"run":"a`+"\x7f"+`"}`))
	require.False(t, accepts(`{"pid":1,"tags":{"a":"`+"\ufffd"+`"}}`))
	for name, b := range map[string]Beat{"signal": {Signal: "a b"}, "sent_ms": {SentMS: -1}, "rtt_us": {RTTMicros: -1}, "start_ms": {StartMS: -1}} {
		_, err := AppendBeat(nil, &b)
		require.ErrorContains(t, err, name)
	}
}
