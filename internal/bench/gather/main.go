//go:build unix

// Command gather measures what a Gather of many peers costs: processor time of a
// metric, beside Telegraf's own AddGauge loop with the same tags and fields; how
// long a beat waits meanwhile; and what memory it takes and gives back. Then the same
// peers are saved, and another plugin goes on from what was.
//
//	go run ./internal/bench/gather
//
// Metrics go where Telegraf takes them, through a channel, and are dropped there.
package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/metric"
	"github.com/influxdata/telegraf/plugins/inputs"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/bench/measure"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

func main() {
	turns := flag.Int("turns", 3, "how often both are measured")
	flag.Parse()
	fmt.Print("\n| peers | CPU a metric | AddGauge loop | ratio | metrics a second | longest wait for an answer | heap before | at the most | after |\n|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	sizes := []int{100_000, 1_000_000}
	for _, peers := range sizes {
		check(gather(peers, *turns))
	}
	fmt.Print("\n| peers | state file | saved in | longest wait for an answer while saving | Stop, with a last saving | Start, from the file |\n|--:|--:|--:|--:|--:|--:|\n")
	for _, peers := range sizes {
		check(restart(peers))
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "gather:", err)
		os.Exit(1)
	}
}

func gather(peers, turns int) error {
	dir, err := os.MkdirTemp("", "gather")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "socket")
	acc := newAccumulator()
	defer acc.close()
	plugin, err := start(socket, "none", peers, acc)
	if err != nil {
		return err
	}
	defer plugin.Stop()
	if err := measure.Introduce(socket, peers); err != nil {
		return err
	}
	acc.settle()
	before := heap(true)
	ours, loop, waits, peaks := make([]float64, turns), make([]float64, turns), make([]float64, turns), make([]float64, turns)
	var rate float64
	for i := range turns {
		var wait, peak atomic.Int64
		stop := watch(socket, &wait, &peak)
		begin := time.Now()
		ours[i], err = acc.costOf(func() error { return plugin.Gather(nil) })
		rate = float64(peers) / time.Since(begin).Seconds()
		if err := stop(); err != nil {
			return err
		}
		waits[i], peaks[i] = float64(wait.Load())/1e6, float64(peak.Load())/(1<<20)
		if err != nil {
			return err
		}
		if loop[i], err = acc.costOf(func() error { addGauges(acc, peers); return nil }); err != nil {
			return err
		}
	}
	fmt.Printf("| %d | %.2f us | %.2f us | %.2f | %.0f | %.1f ms | %.0f MiB | %.0f MiB | %.0f MiB |\n", peers, measure.Median(ours), measure.Median(loop),
		measure.Median(ours)/measure.Median(loop), rate, measure.Median(waits), before, measure.Median(peaks), heap(true))
	return nil
}

func start(socket, state string, peers int, acc telegraf.Accumulator) (telegraf.ServiceInput, error) {
	plugin, ok := inputs.Inputs["heartbeat"]().(*heartbeat.Heartbeat)
	if !ok {
		return nil, fmt.Errorf("no plugin heartbeat")
	}
	plugin.ServiceAddresses, plugin.StateFile, plugin.MaxPeers, plugin.EmitBeats = []string{"unix://" + socket}, state, peers+1, "none"
	plugin.Log = quiet{}
	if err := plugin.Init(); err != nil {
		return nil, err
	}
	return plugin, plugin.Start(acc)
}

// watch notes how long answers are waited for, and how large the heap grows,
// until what it returns is called.
func watch(socket string, wait, peak *atomic.Int64) (stop func() error) {
	done := make(chan struct{})
	var failed error
	var all sync.WaitGroup
	all.Go(func() { // ends with done
		conn, err := net.Dial("unix", socket)
		if err != nil {
			failed = err
			return
		}
		defer conn.Close()
		answers := wire.NewReader(conn, wire.MaxAnswer)
		for seq := 1; ; seq++ {
			select {
			case <-done:
				return
			case <-time.After(5 * time.Millisecond):
			}
			begin := time.Now()
			payload := fmt.Appendf(nil, `{"host":"web-0","service":"shop","pid":0,"seq":%d,"interval_ms":600000,"ack":true}`, seq)
			if _, err := conn.Write(wire.AppendFrame(nil, payload)); err != nil {
				failed = err
				return
			}
			if _, err := answers.Next(); err != nil {
				failed = err
				return
			}
			wait.Store(max(wait.Load(), int64(time.Since(begin))))
			peak.Store(max(peak.Load(), int64(heap(false)*(1<<20))))
		}
	})
	return func() error { close(done); all.Wait(); return failed }
}

// addGauges is how an input usually tells Telegraf of so many things.
func addGauges(acc *accumulator, peers int) {
	now := time.Now()
	for i := range peers {
		acc.AddGauge("heartbeat_peer", map[string]any{
			"alive": int64(1), "dead": int64(0), "state_code": int64(1), "reason_code": int64(1),
			"since_timestamp_seconds": 1795000000.5, "age_seconds": 1.5 + float64(i), "dead_after_seconds": 35.0,
			"flapping": int64(0), "last_pid": int64(i), "beats_total": int64(i), "lost_total": int64(0), "restarts_total": int64(0),
			"deaths_total": int64(0), "dead_seconds_total": 0.0, "mistakes_total": int64(0), "conflicts_total": int64(0),
		}, map[string]string{"source": "web-1", "service": "shop"}, now)
	}
}

// An accumulator hands metrics on through a channel, as Telegraf's does.
type accumulator struct {
	telegraf.Accumulator
	metrics chan telegraf.Metric
	taken   atomic.Int64
	wg      sync.WaitGroup
}

func newAccumulator() *accumulator {
	a := &accumulator{metrics: make(chan telegraf.Metric, 100)}
	a.wg.Go(func() { // ends with metrics
		for m := range a.metrics {
			m.Drop()
			a.taken.Add(1)
		}
	})
	return a
}

func (a *accumulator) AddMetric(m telegraf.Metric) { a.metrics <- m }

func (a *accumulator) AddGauge(name string, fields map[string]any, tags map[string]string, t ...time.Time) {
	a.metrics <- metric.New(name, tags, fields, t[0], telegraf.Gauge)
}

func (a *accumulator) close() {
	close(a.metrics)
	a.wg.Wait()
}

// settle waits until nothing more comes.
func (a *accumulator) settle() {
	for last := int64(-1); last != a.taken.Load(); time.Sleep(500 * time.Millisecond) {
		last = a.taken.Load()
	}
}

// costOf returns the processor time of a metric, in microseconds.
func (a *accumulator) costOf(emit func() error) (float64, error) {
	runtime.GC()
	taken, begin := a.taken.Load(), used()
	if err := emit(); err != nil {
		return 0, err
	}
	return float64((used() - begin).Nanoseconds()) / 1e3 / float64(a.taken.Load()-taken), nil
}

// used returns what this process has spent.
func used() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u) //nolint:errcheck // it cannot fail for ourselves
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// heap returns what the heap holds, in MiB; with live, what is still in use of
// that.
func heap(live bool) float64 {
	if live {
		runtime.GC()
	}
	held := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}} // without stopping anybody
	metrics.Read(held)
	return float64(held[0].Value.Uint64()) / (1 << 20)
}

// quiet is a logger that says nothing.
type quiet struct{ telegraf.Logger }

func (quiet) Infof(string, ...any)  {}
func (quiet) Warnf(string, ...any)  {}
func (quiet) Debugf(string, ...any) {}
func (quiet) Errorf(string, ...any) {}
