// Package verdicts measures the quality of the verdicts of package liveness. It replays beats
// that arrive over six kinds of links, to the tracker and to four other failure detectors. All
// detectors are set to the same mean detection time. The package counts how often each one
// declares a living peer dead. It knows traces and the tracker's API, and nothing about sockets,
// processes or real time.
//
//	go test -v -run Thresholds ./internal/verdicts -scale 1
package verdicts

import (
	"flag"
	"testing"

	"github.com/stretchr/testify/require"
)

var scale = flag.Float64("scale", 0.25, "length of the traces; with 1 the table of docs/verdicts.md is printed")

// seeds of the traces. The traces of a link are evaluated together.
var seeds = []uint64{101, 102, 103, 201, 202, 203, 401, 402, 403}

func TestTheTrackerKeepsTheThresholds(t *testing.T) {
	var results []result
	for i := range links {
		results = append(results, compare(&links[i], seeds, *scale)...)
	}
	t.Log("\n" + table(results))
	require.Empty(t, shortfalls(results))
}

func TestAMistakeEndsOnlyWithABeatInTime(t *testing.T) {
	at := func(arrival, deadline float64) row { return row{arrival: arrival, base: deadline} }
	tests := []struct {
		name string
		rows []row
		want int
	}{
		{"none", []row{at(0, 2), at(1, 3), at(2, 4)}, 0},
		{"on the deadline is in time", []row{at(0, 2), at(2, 4), at(3, 5)}, 0},
		{"one", []row{at(0, 2), at(3, 5), at(4, 6)}, 1},
		{"another", []row{at(0, 2), at(3, 5), at(6, 8), at(7, 9)}, 2},
		{"late for its own deadline", []row{at(0, 2), at(3, 3), at(4, 6), at(5, 7)}, 1},
		{"but the one before was not", []row{at(0, 2), at(1, 1), at(4, 6), at(5, 7)}, 1},
		{"no beat follows the last", []row{at(0, 2), at(1, 1)}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { require.Equal(t, tt.want, mistakes(tt.rows, 0)) })
	}
}

func TestTracesArePooledButNotJoined(t *testing.T) {
	rows := []row{{arrival: 9}, {arrival: 0, base: 1, scale: 1}, {arrival: 3, base: 4, scale: 1}, {arrival: 3600, base: 3600}}
	c := newCurve([][]row{rows, rows}, 1, 1)
	require.Equal(t, score{knob: 0.5, mistakes: 4, hours: 2, mean: c.detection(0.5), max: 3600}, c.score(0.5))
}

func TestShortfallsAreNamed(t *testing.T) {
	of := func(mistakes int) score { return score{mistakes: mistakes} }
	tests := []struct {
		name              string
		link              string
		fixed, akka, ours score
		want              []string
	}{
		{"equal", "lan1s", of(10), of(10), of(10), nil},
		{"more than fixed", "lan1s", of(10), of(11), of(11), []string{"lan1s at 2.5 intervals: ours makes 11 mistakes, fixed 10"}},
		{"more than Akka", "lan1s", of(11), of(10), of(11), []string{"lan1s at 2.5 intervals: ours makes 11 mistakes, Akka 10"}},
		{"Akka cannot", "lan1s", of(11), score{cannot: true}, of(11), nil},
		{"one more of few is chance", "lan1s", of(9), of(9), of(10), nil},
		{"two are not", "lan1s", of(9), of(10), of(11), []string{
			"lan1s at 2.5 intervals: ours makes 11 mistakes, fixed 9",
			"lan1s at 2.5 intervals: ours makes 11 mistakes, Akka 10",
		}},
		{"its share", "wifi", of(100), of(100), of(65), nil},
		{"more than its share", "wifi", of(100), of(100), of(66), []string{
			"wifi at 2.5 intervals: ours makes 66 mistakes, more than 0.65 of fixed, which makes 100",
		}},
		{"one more than its share of few is chance too", "wan", of(9), of(9), of(9), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := result{link: &link{name: tt.link}, wait: 2.5, fixed: tt.fixed, akka: tt.akka, ours: tt.ours}
			require.Equal(t, tt.want, shortfalls([]result{r}))
		})
	}
}

func TestTheTableIsMarkdown(t *testing.T) {
	r := result{
		link: &link{name: "wan", interval: 0.5}, wait: 2.5,
		fixed: score{mistakes: 40, hours: 20, max: 1.25},
		akka:  score{cannot: true},
		ours:  score{knob: 1.25, mistakes: 30, hours: 20, max: 2},
	}
	r.phi, r.chen = r.fixed, r.fixed
	text := table([]result{r, {link: r.link, wait: 3.5, ours: r.ours}})
	require.Contains(t, text, "\n"+
		"| wan | 2.5 | 40 (2; 2.5) | cannot | 40 (2; 2.5) | 40 (2; 2.5) | **30 (1.5; 4.0)** | 0.75 | 1.25 |\n")
	require.Contains(t, text, " | - | 1.25 |\n", "no share of nothing")
}

func TestDetectorsAreComparedAtOneMeanDetectionTime(t *testing.T) {
	l := links[3]
	require.Equal(t, "wifi", l.name, "on which Akka can be so fast")
	results := compare(&l, []uint64{1}, 0)
	require.Len(t, results, 2)
	for i, wait := range []float64{2.5, 3.5} {
		r := results[i]
		require.InDelta(t, wait, r.fixed.knob, 0)
		require.InDelta(t, wait, r.wait, 0)
		require.InDelta(t, wait-0.5, r.fixed.mean, 0.5, "which is half an interval less, and the delay of the link more")
		require.InDelta(t, r.fixed.mean, r.akka.mean, 1e-9)
		require.InDelta(t, r.fixed.mean, r.phi.mean, 1e-9)
		require.InDelta(t, r.fixed.mean, r.chen.mean, 1e-9)
		require.LessOrEqual(t, r.ours.mean, r.fixed.mean)
		require.InDelta(t, r.fixed.mean, r.ours.mean, 0.01)
		for _, s := range []score{r.fixed, r.akka, r.phi, r.chen, r.ours} {
			require.InDelta(t, 2000.0/3600, s.hours, 0.02, "the first 1000 of 3000 beats are not scored")
		}
	}
}
