//go:build unix

package heartbeat

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/judge"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/statefile"
)

// BenchmarkSaving is how long it takes to save many peers as a whole, to save at the end,
// and to know them again, and for how long each of it keeps beats from being judged at the
// most.
//
//	go test -run '^$' -bench Saving -benchtime 1x ./plugins/inputs/heartbeat
func BenchmarkSaving(b *testing.B) {
	for _, peers := range []int{100_000, 1_000_000} {
		b.Run(strconv.Itoa(peers), func(b *testing.B) {
			for b.Loop() {
				path := filepath.Join(b.TempDir(), "state")
				saved := &held{Judge: judgeOf(peers)}
				keeper := statefile.NewKeeper(path, saved, testutil.Logger{Quiet: true})
				require.NoError(b, keeper.Open(time.Now()))
				keeper.Load(b.Context())
				ctx, stop := context.WithCancel(b.Context())
				ended := make(chan struct{})
				begin := time.Now()
				go func() { defer close(ended); keeper.Keep(ctx) }()
				for size := int64(0); size < int64(peers)*100; <-time.After(time.Millisecond) {
					if info, err := os.Stat(path); err == nil {
						size = info.Size()
					}
				}
				b.ReportMetric(time.Since(begin).Seconds(), "s-saving")
				spent := usedSoFar()
				b.ReportMetric(float64(saved.longest)/1e6, "ms-longest-hold")
				begin = time.Now()
				stop()
				<-ended
				b.ReportMetric(time.Since(begin).Seconds(), "s-at-the-end")
				b.ReportMetric((usedSoFar() - spent).Seconds(), "cpu-s-at-the-end")
				keeper.Close()
				info, err := os.Stat(path)
				require.NoError(b, err)
				b.ReportMetric(float64(info.Size()>>20), "MiB-file")

				saved, keeper = nil, nil
				runtime.GC() // not that of what came before
				spent = usedSoFar()
				again := &held{Judge: judgeOf(0)}
				keeper = statefile.NewKeeper(path, again, testutil.Logger{Quiet: true})
				begin = time.Now()
				require.NoError(b, keeper.Open(time.Now()))
				keeper.Load(b.Context())
				b.ReportMetric(time.Since(begin).Seconds(), "s-to-know-all")
				b.ReportMetric((usedSoFar() - spent).Seconds(), "cpu-s-to-know-all")
				require.Equal(b, peers, again.Count())
				keeper.Close()
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// A held is a Judge of which is noted for how long a saving may have held it.
type held struct {
	*judge.Judge
	longest time.Duration
}

func (h *held) Unsaved(records []liveness.Record) liveness.Changes {
	defer h.note(time.Now())
	return h.Judge.Unsaved(records)
}

func (h *held) Records(records []liveness.Record, next int, atEnd bool) (liveness.Changes, int) {
	defer h.note(time.Now())
	return h.Judge.Records(records, next, atEnd)
}

func (h *held) note(begin time.Time) { h.longest = max(h.longest, time.Since(begin)) }

// judgeOf returns a Judge of peers that have beaten twice.
func judgeOf(peers int) *judge.Judge {
	rules := liveness.Options{Terms: liveness.Terms{DeadAfter: 210 * time.Second, Margin: liveness.MarginOf(4)}, MaxPeers: peers + 1}
	j := judge.New(judge.Options{Rules: rules, Log: testutil.Logger{Quiet: true}}, time.Now())
	for i := range 2 * peers {
		n := i % max(peers, 1)
		id, _ := liveness.NewID(fmt.Sprintf("web-%d", n), "shop", 0)
		j.Observe(&judge.Beat{Beat: liveness.Beat{
			ID: id, Run: strconv.Itoa(n), Seq: int64(1 + i/peers), Interval: 10 * time.Minute,
		}})
	}
	return j
}

// usedSoFar returns the processor time that this process has spent.
func usedSoFar() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u) //nolint:errcheck // it cannot fail for ourselves
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
