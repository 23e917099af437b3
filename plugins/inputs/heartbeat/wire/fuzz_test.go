package wire

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// Any chunking of a stream reads the same as one piece, and every payload
// costs at least one byte of it.
func FuzzStream(f *testing.F) {
	for _, v := range loadVectors[streamVector](f, "streams.json") {
		stream, err := hex.DecodeString(v.Stream)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(stream, uint64(1))
	}
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64) {
		const limit = 256
		whole, wholeEnd := readAll(bytes.NewReader(stream), limit)
		parts, partsEnd := readAll(&chunks{src: stream, rand: rand.New(rand.NewPCG(seed, 0))}, limit)
		if diff := cmp.Diff(whole, parts); diff != "" || wholeEnd != partsEnd {
			t.Errorf("in one piece it ends with %q, in chunks with %q\n%s", wholeEnd, partsEnd, diff)
		}
		size := 0
		for _, payload := range whole {
			size += max(1, len(payload))
		}
		if size > len(stream) {
			t.Errorf("%d bytes of payload out of %d", size, len(stream))
		}
	})
}

// An accepted beat, encoded again, decodes to the same beat.
func FuzzBeat(f *testing.F) {
	addBeats(f)
	f.Fuzz(func(t *testing.T, payload []byte) {
		b, err := Decode(payload)
		if err != nil {
			if AsRefusal(err) == nil || strings.ContainsAny(err.Error(), "\n\x00") {
				t.Fatalf("not a printable refusal: %q", err)
			}
			return
		}
		written, err := AppendBeat(nil, b)
		if err != nil {
			t.Fatalf("accepted, but not written: %v", err)
		}
		again, err := Decode(written)
		if err != nil {
			t.Fatalf("%s\nis refused: %v", written, err)
		}
		if diff := cmp.Diff(b, again, cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
	})
}

// encoding/json decodes each accepted beat to the same values.
func FuzzStrictVersusStandard(f *testing.F) {
	addBeats(f)
	f.Fuzz(func(t *testing.T, payload []byte) {
		b, err := Decode(payload)
		if err != nil {
			return
		}
		var standard map[string]any
		decoder := json.NewDecoder(bytes.NewReader(payload))
		decoder.UseNumber()
		if err := decoder.Decode(&standard); err != nil {
			t.Fatalf("encoding/json refuses it: %v", err)
		}
		for key, value := range ownValues(b) {
			if want, ok := standard[key]; !ok || want != value {
				t.Errorf("%s: we read %v, encoding/json %v", key, value, want)
			}
		}
		compareEntries(t, standard, b)
	})
}

// ownValues are those that stay as they were sent.
func ownValues(b *Beat) map[string]any {
	values := make(map[string]any)
	for key, text := range map[string]string{"service": b.Service, "run": b.Run, "boot": b.Boot, "signal": b.Signal} {
		if text != "" {
			values[key] = text
		}
	}
	for key, flag := range map[string]bool{"watched": b.Watched, "cancel": b.Cancel, "ack": b.Ack, "check": b.Check} {
		if flag {
			values[key] = flag
		}
	}
	for key, n := range map[string]int64{
		"seq": b.Seq, "sent_ms": b.SentMS, "start_ms": b.StartMS, "rtt_us": b.RTTMicros, "pid": int64(b.PID), "exit_code": b.ExitCode,
	} {
		if n != 0 {
			values[key] = json.Number(strconv.FormatInt(n, 10))
		}
	}
	return values
}

func compareEntries(t *testing.T, standard map[string]any, b *Beat) {
	tags, _ := standard["tags"].(map[string]any)
	if len(tags) != len(b.Tags) {
		t.Errorf("we read tags %v, encoding/json %v", b.Tags, tags)
	}
	for _, label := range b.Tags {
		if tags[label.Key] != label.Value {
			t.Errorf("tag %s: we read %q, encoding/json %v", label.Key, label.Value, tags[label.Key])
		}
	}
	fields, _ := standard["fields"].(map[string]any)
	if len(fields) != len(b.Fields) {
		t.Errorf("we read fields %v, encoding/json %v", b.Fields, fields)
	}
	for _, field := range b.Fields {
		want := fields[field.Key]
		if number, ok := want.(json.Number); ok {
			var err error
			want, err = number.Float64()
			if err != nil {
				t.Errorf("field %s: %v", field.Key, err)
			}
		}
		if want != field.Value {
			t.Errorf("field %s: we read %v, encoding/json %v", field.Key, field.Value, want)
		}
	}
}

// An answer of a hostile collector is read or refused, never more.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"ack":7,"now_ms":1,"dead_after_ms":35000,"rule":"interval","id":"web-1/nginx"}`))
	f.Add([]byte(`{"error":"pid is missing","now_ms":1,"collector":"9f2c41d07be85a36"}`))
	f.Add([]byte(`{"ack":7,"now_ms":1,"collector":"hb-1","known":false,"near":["web-5","web-5/nginx"]}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		a, err := DecodeAnswer(payload)
		if err != nil || strings.ContainsFunc(a.Error+a.Rule+a.ID, func(c rune) bool { return isInvisible(c) || c == '"' || c == '\\' }) {
			return // we print such text quoted, but never write it
		}
		if len(a.Near) > MaxNear || len(a.Collector) > MaxHost {
			t.Fatalf("%d names, an id of %d bytes", len(a.Near), len(a.Collector))
		}
		again, err := DecodeAnswer(AppendAnswer(nil, &a))
		if err != nil || a.Error == "" && !cmp.Equal(again, a, cmpopts.EquateEmpty()) {
			t.Errorf("%+v is written and read as %+v, %v", a, again, err)
		}
	})
}

func addBeats(f *testing.F) {
	for _, v := range loadVectors[beatVector](f, "beats.json") {
		f.Add(v.bytes(f))
	}
}

// A payload accepted with a key is what AppendSigned makes with it, to the byte, and a naive
// implementation of section 12 of PROTOCOL.md agrees. Few inputs have a right signature, so
// each is also signed, and then changed.
func FuzzSigned(f *testing.F) {
	for _, v := range loadVectors[signedVector](f, "signed.json") {
		payload, err := hex.DecodeString(v.PayloadHex)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(payload, v.KeyID, []byte(v.Secret), uint16(len(payload)-1), byte(1))
		f.Add([]byte(v.Object), v.KeyID, []byte(v.Secret), uint16(len(v.KeyID)+33), byte(1)) // the last byte of the signature
	}
	f.Add([]byte("{}"), "web-1", []byte("fifteen bytes !"), uint16(0), byte(1))
	f.Add([]byte(`{"pid":0}`), "web-1", []byte("sixteen bytes !!"), uint16(9), byte(0))
	f.Add([]byte("{}"), strings.Repeat("x", 64), bytes.Repeat([]byte("long"), 20), uint16(1), byte(0x40))
	f.Add(append([]byte{1, 255}, make([]byte, 300)...), "web-1", []byte("sixteen bytes !!"), uint16(1), byte(0xff))
	f.Add([]byte("{}"), "web 1", []byte("short"), uint16(0), byte(2))
	f.Fuzz(func(t *testing.T, payload []byte, id string, secret []byte, at uint16, change byte) {
		key := Key{ID: id, Secret: secret}
		checkSignedAs(t, payload, key)
		if valid := naiveKeyID.MatchString(id) && len(secret) >= 16; valid != (key.Validate() == nil) {
			t.Fatalf("key %q with a secret of %d bytes: %v", id, len(secret), key.Validate())
		} else if !valid {
			return
		}
		signed := key.AppendSigned([]byte("before"), payload)
		if signed = bytes.TrimPrefix(signed, []byte("before")); !takenBy(signed, key) {
			t.Fatalf("% x is refused by its own key", signed)
		}
		checkSignedAs(t, signed, key)
		changed := changeAt(signed, int(at)%(len(signed)+1), change)
		checkSignedAs(t, changed, key)
		if takenBy(changed, key) {
			t.Errorf("% x is taken for % x", changed, signed)
		}
		key.Secret = changeAt(secret, int(at)%len(secret), change|1)
		if takenBy(signed, key) {
			t.Errorf("signed with %q, taken for %q", secret, key.Secret)
		}
	})
}

// changeAt returns a copy of data with the bits of change flipped; if change is 0 or data is
// empty, the length differs instead.
func changeAt(data []byte, at int, change byte) []byte {
	switch {
	case at == len(data):
		return append(bytes.Clone(data), change)
	case change == 0:
		return data[:at]
	}
	changed := bytes.Clone(data)
	changed[at] ^= change
	return changed
}

func takenBy(payload []byte, key Key) bool {
	signed, err := OpenSigned(payload)
	return err == nil && signed != nil && string(signed.KeyID) == key.ID && signed.By(key.Secret)
}

// checkSignedAs compares what we make of a payload with a naive reading.
func checkSignedAs(t *testing.T, payload []byte, key Key) {
	t.Helper()
	signed, err := OpenSigned(payload)
	want := naiveSigned(payload)
	switch {
	case len(payload) == 0 || payload[0] != 1:
		if signed != nil || err != nil {
			t.Fatalf("% x is not signed, we say %v, %v", payload, signed, err)
		}
		return
	case want == nil:
		if r := AsRefusal(err); r == nil || r.Reason != ReasonSignature || r.Broken || strings.ContainsAny(r.Text, "\n\x00") {
			t.Fatalf("% x is no signed payload, we say %v", payload, err)
		}
		return
	case err != nil:
		t.Fatalf("% x is refused: %v", payload, err)
	}
	if string(signed.KeyID) != want.id || string(signed.Object) != want.object {
		t.Fatalf("% x: we read %q by %q, it is %q by %q", payload, signed.Object, signed.KeyID, want.object, want.id)
	}
	right := want.signature == naiveHMAC(key.Secret, payload[:2+len(want.id)], []byte(want.object))
	if signed.By(key.Secret) != right {
		t.Fatalf("% x: that %q has signed it is %v, we say %v", payload, key.Secret, right, !right)
	}
	if takenBy(payload, key) && !bytes.Equal(payload, key.AppendSigned(nil, signed.Object)) {
		t.Fatalf("% x is taken, but not what would be sent", payload)
	}
}

type naivelySigned struct {
	id, object string
	signature  [sha256.Size]byte
}

var naiveKeyID = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,64}$`)

// naiveSigned returns nil for a payload that is not signed.
func naiveSigned(payload []byte) *naivelySigned {
	if len(payload) < 2 || payload[0] != 1 || len(payload) < 34+int(payload[1]) {
		return nil
	}
	k := int(payload[1])
	id, rest := string(payload[2:2+k]), payload[2+k:]
	if !naiveKeyID.MatchString(id) {
		return nil
	}
	return &naivelySigned{id: id, object: string(rest[32:]), signature: [32]byte(rest)}
}

// naiveHMAC is HMAC-SHA256 as described in section 2 of RFC 2104.
func naiveHMAC(secret []byte, text ...[]byte) [sha256.Size]byte {
	var inner, outer [64]byte
	if len(secret) > len(inner) {
		hashed := sha256.Sum256(secret)
		secret = hashed[:]
	}
	copy(inner[:], secret)
	copy(outer[:], secret)
	for i := range inner {
		inner[i] ^= 0x36
		outer[i] ^= 0x5c
	}
	hashed := sha256.Sum256(append(inner[:], bytes.Join(text, nil)...))
	return sha256.Sum256(append(outer[:], hashed[:]...))
}
