package statefile

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// For every record plainWriter writes what encoding/json would write, and plainReader reads every
// record without rare members.
func TestPlainLinesAreJSON(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	plain := 0
	for range 3000 {
		var record liveness.Record
		fill(rnd, reflect.ValueOf(&record).Elem())
		record.Guessed, record.Crashed = false, 0
		want := line{Life: 1 + rnd.Uint64N(9), Listened: time.Duration(rnd.Int64()), saved: (*savedPeer)(&record)}
		var w lineWriter
		require.NoError(t, w.add(&want))
		object := bytes.TrimSuffix(w.out[sumLength:], []byte("\n"))

		var asJSON line
		require.NoError(t, asJSON.decode(object), "%s", object)
		requireSameLine(t, &want, &asJSON)

		few := len(record.Jobs)+len(record.JobsEnded)+len(record.Others)+len(record.Replaced)+len(record.Flaps) > 0
		got, ok := readPlain(object, new(savedPeer))
		if require.Equal(t, !few && !bytes.Contains(object, []byte(`\`)), ok, "%s", object); ok {
			requireSameLine(t, &asJSON, &got)
			plain++
		}
	}
	require.Greater(t, plain, 100)
}

func requireSameLine(t *testing.T, want, got *line) {
	t.Helper()
	require.Equal(t, want.Life, got.Life)
	require.Equal(t, want.Listened, got.Listened)
	require.Empty(t, cmp.Diff(*want.saved, *got.saved, cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()))
}

// fill sets about half of all values in v.
func fill(rnd *rand.Rand, v reflect.Value) {
	switch at := v.Addr().Interface().(type) {
	case *time.Time:
		*at = time.Unix(rnd.Int64N(4e9), rnd.Int64N(1e9)).UTC()
		return
	case *netip.Addr:
		*at = []netip.Addr{{}, netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("fe80::1%eth0")}[rnd.IntN(3)]
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for _, field := range v.Fields() {
			if rnd.IntN(2) == 0 {
				fill(rnd, field)
			}
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(rnd, v.Index(i))
		}
	case reflect.Slice:
		if rnd.IntN(8) == 0 {
			v.Set(reflect.MakeSlice(v.Type(), 1+rnd.IntN(2), 2))
			for i := range v.Len() {
				fill(rnd, v.Index(i))
			}
		}
	case reflect.String:
		v.SetString([]string{"", "web-1", "Zürich <west> & co", "\u2028", "\"\\\n", "k3v9"}[rnd.IntN(6)])
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int64:
		v.SetInt(rnd.Int64() - rnd.Int64())
	case reflect.Uint8, reflect.Uint32:
		v.SetUint(uint64(rnd.IntN(200)))
	case reflect.Uint64:
		v.SetUint(rnd.Uint64N(1 << 62))
	default:
		panic("a record has a " + v.Kind().String())
	}
}

// For every input plainReader reads what encoding/json reads.
func FuzzPlainLine(f *testing.F) {
	for _, plain := range []func() liveness.Record{fullRecord, namelessRecord} {
		record := plain()
		record.Jobs, record.JobsEnded, record.Others, record.Replaced, record.Flaps = nil, nil, nil, nil, nil
		var w lineWriter
		require.NoError(f, w.addPeer(line{Life: 1, Listened: 2}, &record))
		f.Add(bytes.TrimSuffix(w.out[sumLength:], []byte("\n")))
	}
	for _, object := range []string{
		`{}`, `{"life":01}`, `{"life":-1}`, `{"life":9223372036854775808}`, `{,"life":1}`, `{"life":1,}`, `{"life":1,"end":true}`,
		`{"life":1,"gone":{"Source":"a","PID":4294967296}}`, `{"gone":{"Source":"a","Source":"b"}}`, `{"at":"2026-08-22T03:00:00+01:00"}`,
		`{"peer":{"runs":[]}}`, `{"peer":{"runs":[{},{"High":3}]}}`, `{"peer":{"taught":256}}`, `{"peer":{"trail":{"Counts":[1,2]}}}`,
	} {
		f.Add([]byte(object))
	}
	f.Fuzz(func(t *testing.T, object []byte) {
		got, ok := readPlain(object, new(savedPeer))
		if !ok {
			return
		}
		var want line
		require.NoError(t, want.decode(object), "it is read plainly")
		require.Equal(t, jsonOf(t, &want, want.saved), jsonOf(t, &got, got.saved))
	})
}

// jsonOf returns a line as JSON, with its peer.
func jsonOf(t *testing.T, l *line, peer *savedPeer) string {
	said := *l
	said.Peer = nil
	text, err := json.Marshal(struct {
		Line line
		Peer *savedPeer
	}{said, peer})
	require.NoError(t, err)
	return string(text)
}

// Results of concurrent jobs are yielded in order, and no goroutine is left when the consumer
// stops.
func TestInOrderKeepsTheOrder(t *testing.T) {
	jobs := func(yield func(func() int) bool) {
		for i := range 100 {
			if !yield(func() int { return i }) {
				return
			}
		}
	}
	next := 0
	for n := range inOrder(jobs) {
		require.Equal(t, next, n)
		next++
	}
	require.Equal(t, 100, next)
	for n := range inOrder(jobs) {
		if n == 10 {
			break
		}
	}
}

// A panic in a job becomes a panic of the consumer, where it can be recovered.
func TestInOrderPanicsInTheConsumer(t *testing.T) {
	take := func(jobs func(yield func(func() int) bool)) func() {
		return func() {
			inOrder(jobs)(func(int) bool { return true }) // until the panic
		}
	}
	require.Panics(t, take(func(yield func(func() int) bool) { yield(func() int { panic("in a job") }) }))
	require.Panics(t, take(func(yield func(func() int) bool) {
		yield(func() int { return 1 })
		panic("between jobs")
	}))
}
