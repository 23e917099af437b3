package main

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

func TestTableSaysWhatIsMissed(t *testing.T) {
	ms := func(all ...time.Duration) []time.Duration {
		for i := range all {
			all[i] *= time.Millisecond
		}
		return all
	}
	tests := []struct {
		name string
		took []time.Duration
		want string
	}{
		{"one", ms(99), "| 1 | 99.0 ms | 99.0 ms | 99.0 ms | 100.0 ms | met |"},
		{"exactly", ms(100), "| 1 | 100.0 ms | 100.0 ms | 100.0 ms | 100.0 ms | met |"},
		{"an outlier", ms(3000, 1, 2), "| 3 | 2.0 ms | 1.0 ms | 3000.0 ms | 100.0 ms | met |"},
		{"mostly late", ms(1, 101, 102), "| 3 | 101.0 ms | 1.0 ms | 102.0 ms | 100.0 ms | missed |"},
		{"an even number", ms(1, 201), "| 2 | 101.0 ms | 1.0 ms | 201.0 ms | 100.0 ms | missed |"},
	}
	d := delay{what: "kill -9 -> dead", budget: 100 * time.Millisecond}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, "| kill -9 -> dead "+tt.want, d.row(tt.took))
		})
	}
}

func TestBudgetsSayWhatIsMissed(t *testing.T) {
	const measured = "| CPU | 0.2 of the anchor | "
	tests := []struct {
		name string
		all  map[string]figure
		want string
	}{
		{"none", nil, measured + "not measured yet | | |"},
		{"another", map[string]figure{"memory": {0.1, "2026-11-30"}}, measured + "not measured yet | | |"},
		{"less", map[string]figure{"cpu": {0.08, "2026-11-30"}}, measured + "0.08 of the anchor | met | 2026-11-30 |"},
		{"nothing", map[string]figure{"cpu": {0, "2026-11-30"}}, measured + "0 of the anchor | met | 2026-11-30 |"},
		{"exactly", map[string]figure{"cpu": {0.2, "2026-11-30"}}, measured + "0.2 of the anchor | met | 2026-11-30 |"},
		{"just above", map[string]figure{"cpu": {0.204, "2026-11-30"}}, measured + "0.204 of the anchor | **missed** | 2026-11-30 |"},
		{"far above", map[string]figure{"cpu": {120.04, "2026-11-30"}}, measured + "120 of the anchor | **missed** | 2026-11-30 |"},
	}
	b := budget{"CPU", "of the anchor", 0.2, "cpu"}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { require.Equal(t, tt.want, b.row(tt.all)) })
	}
}

func TestEachBudgetHasAFigureOfItsOwn(t *testing.T) {
	seen := make(map[string]bool)
	for _, b := range budgets {
		require.False(t, seen[b.figure], b.figure)
		require.NotContains(t, b.figure, "\t")
		seen[b.figure] = true
	}
}

func TestFiguresAreKeptFromRunToRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "figures")
	require.Empty(t, readFigures(file), "there is none yet")
	kept := map[string]figure{"execd/shim": {0.5678, "2026-11-28"}, "Gather/1000000 ratio": {0.67, "2026-11-30"}}
	writeFigures(file, kept)
	require.Equal(t, kept, readFigures(file))
}

func TestBenchmarksAreUnderstood(t *testing.T) {
	t.Cleanup(func() { clear(noted) })
	for _, line := range []string{
		"goos: linux",
		"BenchmarkGather/1000000-2 \t 3\t 0 ns/op\t 694.0 MiB-before\t 0.6734 ratio\t 2.25 times-the-heap",
		"BenchmarkGather/100000-2 \t 3\t 0.5 ratio",
		"BenchmarkHold \t 3\t 4.088 ms/Gather",
		"BenchmarkMillion/beat,_peer_known_by_the_connection-16 \t 3\t 337.4 ns/peer",
		"ok \t github.com/example\t 65.040s",
	} {
		noteBenchmark(line)
	}
	values := make(map[string]float64)
	for name, f := range noted {
		values[name] = f.value
	}
	require.Equal(t, map[string]float64{
		"Gather/1000000 ratio": 0.6734, "Gather/1000000 times-the-heap": 2.25, "Hold ms/Gather": 4.088,
		"Million/beat,_peer_known_by_the_connection ns/peer": 337.4,
	}, values)
}

func TestSlopeIsWhatEachConnectionAdds(t *testing.T) {
	require.InDelta(t, 3, slope([]int{5, 10, 18}, []float64{100 + 15, 100 + 30, 100 + 54}), 1e-9)
	require.InDelta(t, 2, slope([]int{0, 1, 2}, []float64{0, 3, 4}), 1e-9)
}

func TestFramesAreCutWhereverTheyAreSplit(t *testing.T) {
	const frames = 300
	var stream []byte
	for i := range frames {
		stream = wire.AppendFrame(stream, make([]byte, 1+i))
	}
	for _, piece := range []int{1, 3, 4, 5, 4096, len(stream)} {
		var f frame
		complete := 0
		for p := range slices.Chunk(stream, piece) {
			complete += f.feed(p)
		}
		require.Equal(t, frames, complete, "in pieces of %d bytes", piece)
	}
}

func TestLinesThatCountAreUnderstood(t *testing.T) {
	const beat = `heartbeat,ip=127.0.0.1,pid=7,service=app,source=bench status="alive",seq=2i,interval_seconds=10 1`
	const event = "heartbeat_event,previous=suspect,reason=conn_closed,service=app,source=bench,state=dead last_pid=7i 1"
	tests := []struct {
		line, service, what string
		want                bool
	}{
		{beat, "app", "seq=2i", true},
		{beat, "app", "seq=1i", false},
		{beat, "ap", "seq=2i", false},
		{event, "app", "state=dead", true},
		{event, "app", "state=suspect", false},
		{event, "p", "state=dead", false},
		{"heartbeat_peer,service=app,source=bench dead=1i,seq=2i,state=dead 1", "app", "seq=2i", false},
		{"", "app", "state=dead", false},
	}
	for _, tt := range tests {
		require.Equal(t, tt.want, isAbout(tt.line, tt.service, tt.what), "%s of %s in %s", tt.what, tt.service, tt.line)
	}
}

func TestFieldsAreSortedByHowTheyChange(t *testing.T) {
	var samples []peerSample
	for _, fields := range []string{"alive=1i,beats_total=1i,since=17.5,age=0.25", "alive=1i,beats_total=2i,since=17.5,age=0.5"} {
		samples = append(samples, peerSample{peer: "heartbeat_peer,source=web-0 " + fields + " 1"})
	}
	var got [][]string
	for _, k := range kinds(samples) {
		got = append(got, k.fields)
	}
	require.Equal(t, [][]string{{"alive"}, {"beats_total"}, {"since"}, {"age"}}, got)
}

// A collector asks the other one before it reports a death. So only hosts that neither collector
// receives are reported dead, and each event is reported once.
func TestCollectorsReportOnlyRealSilences(t *testing.T) {
	asking := simulate(&settings[1], seeds[0], 12*time.Hour)
	require.Equal(t, 7, asking.silences)
	require.Equal(t, asking.silences, asking.wrong)
	require.Zero(t, asking.avoidable)
	require.Zero(t, asking.twice)
	require.Len(t, asking.delays, realDeaths)
	require.Less(t, slices.Max(asking.delays), silenceOfBeat+liveness.AnswerTime)
	alone := simulate(&settings[0], seeds[0], 2*time.Hour)
	require.Greater(t, alone.wrong, 10*alone.silences, "otherwise the questions would not matter")
}
