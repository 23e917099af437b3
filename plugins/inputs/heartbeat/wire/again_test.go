package wire

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"
)

// A twin compares what it reads with what a decoder reads that has nothing to
// go by. In between its decoder reads another stream, which is a payload behind.
type twin struct {
	decoder       Decoder
	latest, other Latest
	last          []byte
}

func (w *twin) read(t *testing.T, payload []byte) {
	t.Helper()
	want, wantErr := Decode(payload)
	before := w.latest.Beat
	gotErr := w.decoder.Decode(payload, &w.latest)
	if fmt.Sprint(gotErr) != fmt.Sprint(wantErr) {
		t.Fatalf("%.80q after %.80q: %v, fresh %v", payload, w.last, gotErr, wantErr)
	}
	if wantErr != nil {
		want = &before
	}
	if diff := cmp.Diff(*want, w.latest.Beat, cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("%.80q after %.80q %s", payload, w.last, diff)
	}
	w.decoder.Decode(w.last, &w.other) //nolint:errcheck // compared when it was read first
	w.last = payload
}

// The beat that a decoder keeps never affects the next one: each is decoded like a new one.
func TestDecoderReadsEachBeatLikeANewOne(t *testing.T) {
	vectors := loadVectors[beatVector](t, "beats.json")
	var w twin
	for _, a := range vectors {
		for _, b := range vectors {
			w.read(t, a.bytes(t))
			w.read(t, b.bytes(t))
			w.read(t, b.bytes(t))
		}
	}
	for _, pair := range [][2]string{
		{`{"pid":1,"tags":{"a":"x"},"fields":{"a":"x","b":2.5}}`, `{"pid":1,"tags":{"a":"y"},"fields":{"a":"y","b":3.5}}`},
		{`{"pid":1,"ip":"10.0.0.1","host":"aa","run":"aa"}`, `{"pid":1,"ip":"10.0.0.2","host":"bb","run":"bb"}`},
		{`{"pid":1,"tags":{"a":"x\""}}`, `{"pid":1,"tags":{"a":"x\""}}`},
	} {
		w.read(t, []byte(pair[0]))
		w.read(t, []byte(pair[1]))
	}
}

// All variations of the numbers that change, and of the text around them.
func TestTextThatRepeatsItselfIsReadLikeANewOne(t *testing.T) {
	values := []string{
		"1", "2", "10", "9007199254740991", "9007199254740992", "0", "-1", "01", "+1", "1.0", "1e3", "1E3", "", "-", " 3", "3 ", "3\t",
		`"4"`, "null", "true", "{}", "[5]", `5,"a":6`, `5}`, `5,`, "5\x00", "12345678901234567890", "７",
	}
	forms := []string{
		`{"pid":1,"seq":%s,"sent_ms":%s,"rtt_us":%s}`, `{"rtt_us":%[3]s,"sent_ms":%[2]s,"pid":1,"seq":%[1]s}`,
		`{"seq":%s,"pid":1,"sent_ms":%s,"rtt_us":%s,"tags":{"seq":"1"},"fields":{"seq":1,"rtt_us":2}}`,
		` { "seq" : %s , "pid" : 1 , "sent_ms" : %s , "rtt_us" : %s } `, `{"s\u0065q":%s,"pid":1,"x":%s,"y":{"seq":%s}}`,
		`{"pid":1,"seq":%s,"seq":%s,"rtt_us":%s}`, `{"pid":1,"check":true,"seq":%s,"sent_ms":%s,"rtt_us":%s}`, `{"seq":%s,"sent_ms":%s,"rtt_us":%s}`,
	}
	var w twin
	for _, form := range forms {
		for _, value := range values {
			for _, of := range [][3]string{{value, "1", "1"}, {"1", value, "1"}, {"1", "1", value}, {value, value, value}} {
				w.read(t, fmt.Appendf(nil, form, "7", "8", "9"))
				w.read(t, fmt.Appendf(nil, form, of[0], of[1], of[2]))
			}
		}
	}
}

// This makes decoding fast: the beats of our own sender are such texts.
func TestBeatsOfOneSenderRepeatTheirText(t *testing.T) {
	var d Decoder
	var latest Latest
	for i := range int64(1000) {
		payload, err := AppendBeat(nil, &Beat{
			PID: 4711, Host: "web-1", Service: "shop", Run: "r", Seq: i + 1, SentMS: 1_700_000_000_000 + i, RTTMicros: 7*i + 1,
			IntervalMS: 10_000, Ack: true, Tags: []Label{{"site", "a"}}, Fields: []Field{{"load", 1.5}},
		})
		require.NoError(t, err)
		require.Equal(t, i > 0, d.decodeAgain(payload, &latest))
		require.NoError(t, d.Decode(payload, &latest))
		require.Equal(t, i+1, latest.Seq)
	}
}

// A text is read with all checks if it is too long to be remembered.
func TestLongTextIsNotRemembered(t *testing.T) {
	long := `{"pid":1,"x":"` + strings.Repeat("x", maxRemembered) + `","seq":%d}`
	var w twin
	for seq := range 3 {
		w.read(t, fmt.Appendf(nil, `{"pid":2,"seq":%d}`, seq+1))
		w.read(t, fmt.Appendf(nil, long, seq+1))
		require.Nil(t, w.latest.text)
	}
}

// A worker waits with its decoder, for however long. A payload may be large.
func TestDecoderHoldsNoPayload(t *testing.T) {
	var d Decoder
	var latest Latest
	for _, payload := range []string{`{"pid":1,"tags":{"a":"x"}}`, `{"pid":1,"tags":{"a":7}}`, `{"pid":1,"x":{"y":{`} {
		d.Decode([]byte(payload), &latest) //nolint:errcheck // whatever becomes of it
		require.Nil(t, d.scan.data)
		for _, key := range d.scan.keys[:cap(d.scan.keys)] {
			require.Nil(t, key)
		}
	}
}

// Two payloads of one stream, of which fuzzing makes whatever it likes.
func FuzzAgain(f *testing.F) {
	for _, v := range loadVectors[beatVector](f, "beats.json") {
		payload := v.bytes(f)
		f.Add(payload, payload)
	}
	f.Add([]byte(`{"pid":1,"seq":1,"sent_ms":2,"rtt_us":3,"ack":true}`), []byte(`{"pid":1,"seq":12,"sent_ms":22,"rtt_us":33,"ack":true}`))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		var w twin
		for _, payload := range [][]byte{a, b, b, a, b} {
			w.read(t, payload)
		}
	})
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
