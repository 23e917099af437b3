package execd

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/metric"
	"github.com/influxdata/telegraf/plugins/serializers/influx"
	"github.com/stretchr/testify/require"
)

// An outlet is an output that runs, and what came out of it.
type outlet struct {
	*output
	screen   screen
	messages screen
	errs     []error
}

func openOutlet(t testing.TB, to io.Writer) *outlet {
	o := &outlet{}
	if to == nil {
		to = &o.screen
	}
	serializer := &influx.Serializer{}
	require.NoError(t, serializer.Init())
	log := newLogger(&logSink{w: &o.messages}, "", telegraf.Info)
	o.output = newOutput(to, serializer.Serialize, log, func(err error) { o.errs = append(o.errs, err) })
	var running sync.WaitGroup
	running.Go(o.run)
	t.Cleanup(running.Wait)
	return o
}

// shut closes the output and waits for it.
func (o *outlet) shut() {
	o.close()
	<-o.done
}

func sample(n int) telegraf.Metric {
	return metric.New("m", nil, map[string]any{"v": n}, time.Unix(0, int64(n)))
}

// A lent is a metric that is to be given back.
type lent struct {
	telegraf.Metric
	back *int
}

func (l lent) Reuse() { *l.back++ }

// Whoever made a metric may make another one of it when it is written.
func TestMetricsAreGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, back := openOutlet(t, nil), 0
		for n := range 3 {
			o.send(lent{sample(n), &back})
		}
		o.shut()
		require.Equal(t, 3, back)
		require.Equal(t, []string{"m v=0i 0", "m v=1i 1", "m v=2i 2"}, o.screen.lines())
	})
}

// The stock shim writes each metric by itself.
func TestManyMetricsAreFewWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := openOutlet(t, nil)
		for n := range 50_000 {
			o.send(sample(n))
		}
		o.shut()
		require.Len(t, o.screen.lines(), 50_000)
		require.LessOrEqual(t, o.screen.count(), len(o.screen.String())/outputBuffer+3)
	})
}

func TestLoneMetricIsWrittenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := openOutlet(t, nil)
		for n := range 3 {
			o.send(sample(n))
			synctest.Wait() // no time passes
			require.Len(t, o.screen.lines(), n+1)
			pass(flushGap)
		}
		o.shut()
	})
}

func TestMetricsInARowAreWrittenWithinTheGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := openOutlet(t, nil)
		for n := range 10 {
			o.send(sample(n))
			synctest.Wait() // the queue is empty each time
		}
		require.Equal(t, 1, o.screen.count())
		pass(flushGap)
		require.Len(t, o.screen.lines(), 10)
		require.Equal(t, 2, o.screen.count())
		o.shut()
	})
}

func TestMetricsStayInOrderAndWritesHoldWholeLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines []string
		o := openOutlet(t, writerFunc(func(p []byte) (int, error) {
			if p[len(p)-1] != '\n' {
				return 0, errors.New("torn")
			}
			lines = append(lines, strings.Split(strings.TrimSuffix(string(p), "\n"), "\n")...)
			return len(p), nil
		}))
		for n := range 10_000 {
			o.send(sample(n))
		}
		o.send(metric.New("long", nil, map[string]any{"v": strings.Repeat("x", 2*outputBuffer)}, time.Unix(0, 0)))
		o.shut()
		require.Empty(t, o.errs)
		require.Len(t, lines, 10_001)
		for n, line := range lines[:10_000] {
			require.Equal(t, fmt.Sprintf("m v=%di %d", n, n), line)
		}
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// One such metric ends the stock shim, with exit code 0.
func TestBadMetricIsDroppedCountedAndSaidOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := openOutlet(t, nil)
		bad := func() {
			o.send(metric.New("nan", nil, map[string]any{"v": math.NaN()}, time.Unix(0, 0)))
			o.send(metric.New("", nil, map[string]any{"v": 1}, time.Unix(0, 0)))
		}
		bad()
		bad()
		o.send(sample(1))
		synctest.Wait()
		require.Equal(t, []string{"m v=1i 1"}, o.screen.lines())
		require.Equal(t, []string{`W! [inputs.heartbeat] 1 metrics could not be written and were dropped; the last error: "nan": no serializable fields`},
			o.messages.lines())
		pass(time.Minute)
		bad()
		synctest.Wait()
		require.Len(t, o.messages.lines(), 2)
		require.Contains(t, o.messages.lines()[1], "] 4 metrics could not be")
		o.shut()
		require.Contains(t, o.messages.lines()[2], "] 1 more metrics could not be")
		require.Empty(t, o.errs)
	})
}

func TestBrokenOutputIsToldOnceAndKeepsNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := openOutlet(t, writerFunc(func([]byte) (int, error) { return 0, io.ErrClosedPipe }))
		for n := range 10 * queuedMetrics {
			o.send(sample(n))
			if n == 0 {
				synctest.Wait()
			}
		}
		o.shut()
		require.Equal(t, []error{io.ErrClosedPipe}, o.errs)
	})
}

func TestAbandonedOutputKeepsNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck, release := io.Pipe()
		o := openOutlet(t, release)
		var sending sync.WaitGroup
		sending.Go(func() {
			for n := range 10 * queuedMetrics {
				o.send(sample(n))
			}
		})
		synctest.Wait()
		o.abandon()
		sending.Wait()
		stuck.Close()
		o.shut()
		require.Contains(t, o.messages.String(), "metrics were dropped at the end because nothing reads the output")
	})
}

func TestTrackedMetricIsReportedWhenWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := openOutlet(t, nil)
		acc := newAccumulator(o.output, o.log, nil).WithTracking(10)
		good := acc.AddTrackingMetric(sample(1))
		group := acc.AddTrackingMetricGroup([]telegraf.Metric{sample(2), sample(3)})
		bad := acc.AddTrackingMetric(metric.New("", nil, nil, time.Unix(0, 0)))
		o.shut()
		delivered := make(map[telegraf.TrackingID]bool)
		for range 3 {
			info := <-acc.Delivered()
			delivered[info.ID()] = info.Delivered()
		}
		require.Equal(t, map[telegraf.TrackingID]bool{good: true, group: true, bad: false}, delivered)
	})
}

func TestTagsOfTheTableNeverReplaceATagOfTheMetric(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := openOutlet(t, nil)
		acc := newAccumulator(o.output, o.log, map[string]string{"rack": "r1", "dc": "d1"})
		now := time.Unix(0, 7)
		fields := map[string]any{"v": 1.5}
		acc.AddFields("a", fields, map[string]string{"rack": "own"}, now)
		acc.AddGauge("b", fields, nil, now)
		acc.AddCounter("c", fields, nil, now)
		acc.AddSummary("d", fields, nil, now)
		acc.AddHistogram("e", fields, nil, now)
		acc.AddMetric(sample(1))
		acc.AddGauge("f", fields, nil)
		acc.SetPrecision(time.Hour)
		acc.AddError(errors.New("oh"))
		acc.AddError(nil)
		o.shut()
		require.Equal(t, []string{
			"a,dc=d1,rack=own v=1.5 7",
			"b,dc=d1,rack=r1 v=1.5 7",
			"c,dc=d1,rack=r1 v=1.5 7",
			"d,dc=d1,rack=r1 v=1.5 7",
			"e,dc=d1,rack=r1 v=1.5 7",
			"m,dc=d1,rack=r1 v=1i 1",
			fmt.Sprintf("f,dc=d1,rack=r1 v=1.5 %d", time.Now().UnixNano()),
		}, o.screen.lines())
		require.Equal(t, "E! [inputs.heartbeat] Error in plugin: oh\n", o.messages.String())
	})
}

func TestClosedAccumulatorTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := openOutlet(t, nil)
		acc := newAccumulator(o.output, o.log, nil)
		acc.close()
		acc.AddGauge("a", map[string]any{"v": 1}, nil)
		acc.AddMetric(sample(1))
		o.shut()
		require.Empty(t, o.screen.String())
	})
}

// BenchmarkOutput is the way of a metric of as many fields as heartbeat_peer has,
// from the accumulator to a write.
func BenchmarkOutput(b *testing.B) {
	var bytes, writes int
	o := openOutlet(b, writerFunc(func(p []byte) (int, error) {
		bytes, writes = bytes+len(p), writes+1
		return len(p), nil
	}))
	acc := newAccumulator(o.output, o.log, nil)
	m := peerLike()
	b.ReportAllocs()
	for b.Loop() {
		acc.AddMetric(m)
	}
	o.shut()
	b.ReportMetric(float64(writes)/float64(b.N), "writes/op")
	b.ReportMetric(float64(bytes)/float64(b.N), "bytes/op")
}

// BenchmarkSerializer is Telegraf's part of that way.
func BenchmarkSerializer(b *testing.B) {
	var s influx.Serializer
	require.NoError(b, s.Init())
	m := peerLike()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Serialize(m); err != nil {
			b.Fatal(err)
		}
	}
}

func peerLike() telegraf.Metric {
	m := metric.New("heartbeat_peer", map[string]string{"source": "web-1", "service": "nginx"}, nil, time.Unix(1795000000, 0), telegraf.Gauge)
	for i := range 16 {
		m.AddField(fmt.Sprintf("some_count_total_%d", i), int64(i))
	}
	for i := range 5 {
		m.AddField(fmt.Sprintf("some_seconds_%d", i), 1.234567891+float64(i))
	}
	return m
}
