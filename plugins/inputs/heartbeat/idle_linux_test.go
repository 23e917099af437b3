package heartbeat

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// The memory of an idle connection is bounded, whatever it has sent: all labels and values that a
// beat may have, the longest payload, or half of one.
func TestWhatAnIdleConnectionKeeps(t *testing.T) {
	entries := func(format string) string {
		all := make([]string, 0, 32)
		for i := range 32 {
			all = append(all, fmt.Sprintf(format, i))
		}
		return strings.Join(all, ",")
	}
	full := fmt.Sprintf(`{"host":"web-%%d","service":"shop","pid":7,"ack":true,"tags":{%s},"fields":{%s}}`,
		entries(`"tag_%d":"`+strings.Repeat("x", 200)+`"`), entries(`"field_%d":"`+strings.Repeat("y", 200)+`"`))
	short := fmt.Sprintf(`{"host":"web-%%d","service":"s","pid":7,"ack":true,"tags":{%s}}`, entries(`"t%d":"x"`))
	padded := `{"host":"web-%d","service":"shop","pid":7,"ack":true,"x":"` + strings.Repeat("x", 15_000) + `"}`
	small := keptOf(t, `{"host":"web-%d","service":"shop","pid":7,"ack":true}`)
	for name, beat := range map[string]string{"full": full, "just remembered": short, "padded": padded} {
		require.Less(t, keptOf(t, beat)-small, int64(3<<10), name)
	}
}

// The structs of each connection fit the size classes of Go: one more byte would cost 32 or 16
// more for each.
func TestWhatIsKeptHasNoGaps(t *testing.T) {
	require.LessOrEqual(t, unsafe.Sizeof(stream{}), uintptr(320))
	require.LessOrEqual(t, unsafe.Sizeof(wire.Reader{}), uintptr(112))
}

// keptOf returns how much memory a connection takes that has beaten twice, its client included,
// in bytes.
func keptOf(t *testing.T, beat string) int64 {
	t.Helper()
	h := newPlugin(t)
	h.EmitBeats = "none"
	acc := start(t, h)
	const connections = 200
	var clients []*client
	talk := func(from, to int) {
		for i := from; i < to; i++ {
			c := dial(t, h)
			c.beat(fmt.Sprintf(beat, i))
			c.beat(fmt.Sprintf(beat, i))
			clients = append(clients, c)
		}
		gather(t, h)
		acc.ClearMetrics()
	}
	talk(0, connections) // what only the first ones cost
	before := inUse()
	talk(connections, 2*connections)
	kept := (inUse() - before) / connections
	runtime.KeepAlive(clients)
	return kept
}

// inUse returns how much memory is in use, garbage aside, in bytes.
func inUse() int64 {
	var now runtime.MemStats
	runtime.GC() //nolint:revive // tells what is in use
	runtime.GC() //nolint:revive // likewise
	runtime.ReadMemStats(&now)
	return int64(now.HeapInuse + now.StackInuse)
}
