package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"net/netip"
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

// Whatever is accepted, written again, reads as the same beat.
func FuzzBeat(f *testing.F) {
	addBeats(f)
	f.Fuzz(func(t *testing.T, payload []byte) {
		b, err := new(Decoder).Decode(payload)
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
		again, err := new(Decoder).Decode(written)
		if err != nil {
			t.Fatalf("%s\nis refused: %v", written, err)
		}
		if diff := cmp.Diff(b, again, cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
	})
}

// What we accept, encoding/json reads with the same values.
func FuzzStrictVersusStandard(f *testing.F) {
	addBeats(f)
	f.Fuzz(func(t *testing.T, payload []byte) {
		b, err := new(Decoder).Decode(payload)
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
	for key, flag := range map[string]bool{"watched": b.Watched, "ack": b.Ack, "check": b.Check} {
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
	f.Add([]byte(`{"error":"pid is missing","now_ms":1}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		a, err := DecodeAnswer(payload)
		if err != nil || strings.ContainsFunc(a.Error+a.Rule+a.ID, func(c rune) bool { return c < 0x20 || c == '"' || c == '\\' }) {
			return // we print such text quoted, but never write it
		}
		again, err := DecodeAnswer(AppendAnswer(nil, &a))
		if err != nil || a.Error == "" && again != a {
			t.Errorf("%+v is written and read as %+v, %v", a, again, err)
		}
	})
}

func addBeats(f *testing.F) {
	for _, v := range loadVectors[beatVector](f, "beats.json") {
		f.Add(v.bytes(f))
	}
}
