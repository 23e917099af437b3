package verdicts

import (
	"cmp"
	"encoding/csv"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// A line is a line of a file that testdata/reference.py has printed, by column.
type line map[string]string

func (l line) number(t *testing.T, column string) float64 {
	t.Helper()
	x, err := strconv.ParseFloat(l[column], 64)
	require.NoError(t, err, column)
	return x
}

// seconds returns a time that the file has in microseconds.
func (l line) seconds(t *testing.T, column string) float64 {
	t.Helper()
	return l.number(t, column) / 1e6
}

func readVectors(t *testing.T, name string) []line {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name))
	require.NoError(t, err)
	defer f.Close()
	r := csv.NewReader(f)
	r.Comment = '#'
	records, err := r.ReadAll()
	require.NoError(t, err)
	lines := make([]line, 0, len(records))
	for _, record := range records[1:] {
		l := make(line)
		for i, column := range records[0] {
			l[column] = record[i]
		}
		lines = append(lines, l)
	}
	return lines
}

// littleTraces returns the traces in testdata/little.csv, and the lines of each.
func littleTraces(t *testing.T) ([]trace, [][]line) {
	t.Helper()
	traces := make([]trace, 2)
	lines := make([][]line, 2)
	for _, l := range readVectors(t, "little.csv") {
		i := int(l.number(t, "trace"))
		b := beat{l.seconds(t, "arrival_us"), l.seconds(t, "send_us"), int64(l.number(t, "seq"))}
		traces[i].interval = 1
		traces[i].beats = append(traces[i].beats, b)
		lines[i] = append(lines[i], l)
	}
	return traces, lines
}

func TestDetectorsSetTheDeadlinesOfTheReference(t *testing.T) {
	detectors := map[string]struct {
		detector detector
		knob     float64
	}{
		"fixed": {fixed, 2.5},
		"akka":  {akka(0.8), 0.8},
		"phi":   {phi, 4},
		"chen":  {chen, 1.2},
	}
	traces, lines := littleTraces(t)
	for name, d := range detectors {
		t.Run(name, func(t *testing.T) {
			for i, little := range traces {
				rows := d.detector(little)
				for _, l := range lines[i] {
					if l[name] == "" { // no row for this beat
						continue
					}
					require.InDelta(t, l.seconds(t, name), rows[0].deadline(d.knob), 1e-6, "trace %d, beat %s", i, l["seq"])
					require.InDelta(t, l.seconds(t, "arrival_us"), rows[0].arrival, 0)
					require.InDelta(t, l.seconds(t, "send_us"), rows[0].send, 0)
					rows = rows[1:]
				}
				require.Empty(t, rows)
			}
		})
	}
}

func TestScoresAreThoseOfTheReference(t *testing.T) {
	const unscored = 100
	traces, _ := littleTraces(t)
	curveOf := func(d detector) *curve { return newCurve(each(traces, d), 1, unscored) }
	detectors := map[string]detector{"fixed": fixed, "phi": phi, "chen": chen}
	for _, want := range readVectors(t, "scores.csv") {
		t.Run(want["detector"]+want["wait"], func(t *testing.T) {
			detection := curveOf(fixed).detection(want.number(t, "wait"))
			var got score
			if want["detector"] == "akka" {
				got = fitAkka(curveOf, detection)
			} else {
				c := curveOf(detectors[want["detector"]])
				got = c.score(c.knob(detection))
			}
			if want["mistakes"] == "" {
				require.True(t, got.cannot)
				return
			}
			require.InDelta(t, want.number(t, "k"), got.knob, 1e-9)
			require.Equal(t, int(want.number(t, "mistakes")), got.mistakes)
			require.InDelta(t, want.number(t, "hours"), got.hours, 1e-9)
			require.InDelta(t, want.number(t, "mean"), got.mean, 1e-9)
			require.InDelta(t, want.number(t, "max"), got.max, 1e-9)
		})
	}
}

// The reference uses different random numbers, so links are compared by statistics of 500 traces:
// the mean delay, the share of lost beats, and the share of gaps above one and a half intervals.
func TestLinksLookLikeThoseOfTheReference(t *testing.T) {
	want := map[string]struct{ delay, lost, wide float64 }{
		"lan100ms": {2.798e-4, 1.44e-4, 3.82e-4},
		"lan1s":    {2.798e-4, 1.46e-4, 2.55e-4},
		"wan":      {0.1415, 3.99e-3, 1.98e-3},
		"wifi":     {0.172, 0, 8.0e-3},
		"cron":     {0.0450, 2.5e-3, 2.51e-3},
		"iid":      {0.600, 1.0e-2, 1.91e-2},
	}
	for i := range links {
		l := &links[i]
		t.Run(l.name, func(t *testing.T) {
			var delay, wide, n float64
			const seeds = 20
			for seed := range uint64(seeds) {
				before := math.Inf(1)
				beats := l.trace(seed, 1).beats
				require.True(t, slices.IsSortedFunc(beats, func(a, b beat) int { return cmp.Compare(a.arrival, b.arrival) }))
				for _, b := range beats {
					delay += b.arrival - b.send
					if b.arrival-before > 1.5*l.interval {
						wide++
					}
					before = b.arrival
					n++
				}
			}
			require.InEpsilon(t, want[l.name].delay, delay/n, 0.04)
			// Bad periods are rare on wan, so these values vary.
			require.InDelta(t, want[l.name].lost, 1-n/seeds/float64(l.length), 0.5*want[l.name].lost)
			require.InEpsilon(t, want[l.name].wide, wide/n, 0.4)
		})
	}
}

func TestEqualSeedsGiveEqualTraces(t *testing.T) {
	for i := range links {
		l := &links[i]
		require.Equal(t, l.trace(1, 0), l.trace(1, 0), l.name)
		require.NotEqual(t, l.trace(1, 0), l.trace(2, 0), l.name)
	}
	require.NotEqual(t, links[0].trace(1, 0).beats[0].send-start, links[1].trace(1, 0).beats[0].send-start, "nor do links share dice")
}
