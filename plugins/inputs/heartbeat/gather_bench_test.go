//go:build unix

package heartbeat_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/metric"
	"github.com/influxdata/telegraf/plugins/inputs"
	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

var sizes = []int{100_000, 1_000_000}

// BenchmarkGather is what a Gather of many peers costs: processor time of a metric,
// beside Telegraf's own AddGauge loop with the same tags and fields, and how long a beat
// waits for its answer meanwhile. Metrics go where Telegraf takes them, through a
// channel, and are dropped there.
//
//	go test -run '^$' -bench 'Gather|Restart' -benchtime 3x -timeout 1h ./plugins/inputs/heartbeat
func BenchmarkGather(b *testing.B) {
	gatherWith(b, func(c *channel) telegraf.Accumulator { return c })
}

// BenchmarkGatherGivenBack is the same where metrics are given back when they are written,
// as the runner of execd does.
func BenchmarkGatherGivenBack(b *testing.B) {
	gatherWith(b, func(c *channel) telegraf.Accumulator { return givingBack{c} })
}

func gatherWith(b *testing.B, accumulatorOf func(*channel) telegraf.Accumulator) {
	for _, peers := range sizes {
		b.Run(strconv.Itoa(peers), func(b *testing.B) {
			dir := b.TempDir()
			acc := newChannel(b)
			plugin := startPlugin(b, accumulatorOf(acc), dir, "none", peers)
			defer plugin.Stop()
			introduce(b, dir, peers)
			acc.settle()
			before := heap(true)
			var ours, loop, took time.Duration
			var wait, peak int64
			for b.Loop() {
				w := watch(b, dir)
				begin := time.Now()
				ours += acc.costOf(func() { require.NoError(b, plugin.Gather(nil)) })
				took += time.Since(begin)
				w.end()
				wait, peak = max(wait, w.wait), max(peak, w.peak)
				loop += acc.costOf(func() { addGauges(acc, peers) })
			}
			metrics := float64(b.N) * float64(peers)
			b.ReportMetric(float64(ours.Nanoseconds())/1e3/metrics, "us/metric")
			b.ReportMetric(float64(loop.Nanoseconds())/1e3/metrics, "us/metric-by-AddGauge")
			b.ReportMetric(float64(ours)/float64(loop), "ratio")
			b.ReportMetric(metrics/took.Seconds(), "metrics/s")
			b.ReportMetric(float64(wait)/1e6, "ms-longest-wait")
			b.ReportMetric(before, "MiB-before")
			b.ReportMetric(float64(peak)/(1<<20), "MiB-at-most")
			b.ReportMetric(float64(peak)/(1<<20)/before, "times-the-heap")
			b.ReportMetric(heap(true), "MiB-after")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkRestart is how long it takes to stop with many peers, and to go on from what was
// saved: until Telegraf may start the next input, and until a beat is answered.
func BenchmarkRestart(b *testing.B) {
	for _, peers := range sizes {
		b.Run(strconv.Itoa(peers), func(b *testing.B) {
			for b.Loop() {
				dir := b.TempDir()
				state := filepath.Join(dir, "state")
				acc := newChannel(b)
				plugin := startPlugin(b, acc, dir, state, peers)
				introduce(b, dir, peers)
				begin := time.Now()
				plugin.Stop()
				stopped := time.Since(begin)
				info, err := os.Stat(state)
				require.NoError(b, err)
				begin = time.Now()
				listening := untilListening(dir)
				plugin = startPlugin(b, acc, dir, state, peers)
				started := time.Since(begin)
				introduce(b, dir, 1)
				answered := time.Since(begin)
				plugin.Stop()
				b.ReportMetric(float64(info.Size()>>20), "MiB-file")
				b.ReportMetric(stopped.Seconds(), "s-Stop")
				b.ReportMetric((<-listening).Seconds(), "s-listening")
				b.ReportMetric(started.Seconds(), "s-listening")
				b.ReportMetric(answered.Seconds(), "s-known")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

func startPlugin(b *testing.B, acc telegraf.Accumulator, dir, state string, peers int) telegraf.ServiceInput {
	plugin, ok := inputs.Inputs["heartbeat"]().(*heartbeat.Heartbeat)
	require.True(b, ok)
	plugin.ServiceAddresses, plugin.StateFile = []string{"unix://" + dir + "/socket"}, state
	plugin.MaxPeers, plugin.EmitBeats = peers+1, "none"
	plugin.Log = testutil.Logger{Quiet: true}
	require.NoError(b, plugin.Init())
	require.NoError(b, plugin.Start(acc))
	return plugin
}

// untilListening returns how long it takes from now on until it is possible to connect.
func untilListening(dir string) <-chan time.Duration {
	took, begin := make(chan time.Duration, 1), time.Now()
	go func() { // ends with the first connection
		for {
			if conn, err := net.Dial("unix", dir+"/socket"); err == nil {
				conn.Close()
				took <- time.Since(begin)
				return
			}
			<-time.After(time.Millisecond)
		}
	}()
	return took
}

// introduce has so many peers beat once, and returns when all of them are known.
func introduce(b *testing.B, dir string, peers int) {
	conn, err := net.Dial("unix", dir+"/socket")
	require.NoError(b, err)
	defer conn.Close()
	out := bufio.NewWriterSize(conn, 64<<10)
	for i := range peers {
		payload := fmt.Appendf(nil, `{"host":"web-%d","service":"shop","pid":0,"run":"r%d","seq":1,"interval_ms":600000,"ack":%t}`,
			i, i, i == peers-1)
		_, err := out.Write(wire.AppendFrame(nil, payload))
		require.NoError(b, err)
	}
	require.NoError(b, out.Flush())
	_, err = wire.NewReader(conn, wire.MaxAnswer).Next()
	require.NoError(b, err)
}

// A watcher notes how long answers are waited for, and how large the heap grows.
type watcher struct {
	wait, peak int64 // ns and bytes, at the most
	err        error
	done       chan struct{}
	wg         sync.WaitGroup
	b          *testing.B
}

// watch beats every 5 ms until end.
func watch(b *testing.B, dir string) *watcher {
	conn, err := net.Dial("unix", dir+"/socket")
	require.NoError(b, err)
	w := &watcher{done: make(chan struct{}), b: b}
	w.wg.Go(func() { // ends with done
		defer conn.Close()
		answers := wire.NewReader(conn, wire.MaxAnswer)
		for seq := 1; ; seq++ {
			select {
			case <-w.done:
				return
			case <-time.After(5 * time.Millisecond):
			}
			begin := time.Now()
			payload := fmt.Appendf(nil, `{"host":"web-0","service":"shop","pid":0,"seq":%d,"interval_ms":600000,"ack":true}`, seq)
			if _, w.err = conn.Write(wire.AppendFrame(nil, payload)); w.err != nil {
				return
			}
			if _, w.err = answers.Next(); w.err != nil {
				return
			}
			w.wait, w.peak = max(w.wait, int64(time.Since(begin))), max(w.peak, int64(heap(false)*(1<<20)))
		}
	})
	return w
}

func (w *watcher) end() {
	close(w.done)
	w.wg.Wait()
	require.NoError(w.b, w.err)
}

// addGauges emits gauges as inputs usually do: with new maps for each.
func addGauges(acc *channel, peers int) {
	now := time.Now()
	for i := range peers {
		fields := make(map[string]any, len(acc.peer.FieldList()))
		for _, field := range acc.peer.FieldList() {
			fields[field.Key] = field.Value
		}
		fields["last_pid"], fields["age_seconds"], fields["beats_total"] = int64(i), 1.5+float64(i), int64(i)
		tags := make(map[string]string, len(acc.peer.TagList()))
		for _, tag := range acc.peer.TagList() {
			tags[tag.Key] = tag.Value
		}
		acc.AddGauge("heartbeat_peer", fields, tags, now)
	}
}

// A channel hands metrics on through a channel, as Telegraf's accumulator does.
type channel struct {
	telegraf.Accumulator
	metrics chan telegraf.Metric
	taken   atomic.Int64
	peer    telegraf.Metric // the first that was about a peer
	wg      sync.WaitGroup
}

func newChannel(b *testing.B) *channel {
	c := &channel{metrics: make(chan telegraf.Metric, 100)}
	c.wg.Go(func() { // ends with metrics
		for m := range c.metrics {
			if c.peer == nil && m.Name() == "heartbeat_peer" {
				c.peer = m.Copy()
			}
			m.Drop()
			if r, ok := m.(interface{ Reuse() }); ok {
				r.Reuse()
			}
			c.taken.Add(1)
		}
	})
	b.Cleanup(func() { close(c.metrics); c.wg.Wait() })
	return c
}

func (c *channel) AddMetric(m telegraf.Metric) { c.metrics <- m }

func (c *channel) AddGauge(name string, fields map[string]any, tags map[string]string, t ...time.Time) {
	c.metrics <- metric.New(name, tags, fields, t[0], telegraf.Gauge)
}

// A givingBack says that it does so.
type givingBack struct{ *channel }

func (givingBack) Reuses() {}

// settle waits until nothing more comes.
func (c *channel) settle() {
	for last := int64(-1); last != c.taken.Load(); <-time.After(500 * time.Millisecond) {
		last = c.taken.Load()
	}
}

// costOf returns the processor time that this process spent.
func (*channel) costOf(emit func()) time.Duration {
	runtime.GC() //nolint:revive // not that of what came before
	begin := used()
	emit()
	return used() - begin
}

func used() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u) //nolint:errcheck // it cannot fail for ourselves
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// heap returns the size of the heap, in MiB; with live, only what is still in use.
func heap(live bool) float64 {
	if live {
		runtime.GC() //nolint:revive // tells what is in use
	}
	held := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}} // without stopping anybody
	metrics.Read(held)
	return float64(held[0].Value.Uint64()) / (1 << 20)
}
