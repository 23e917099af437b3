package verdicts

import (
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"
)

// unscored is the number of beats from which a detector may learn before its mistakes are
// counted.
const unscored = 1000

// waits are fixed waits, in intervals. The detectors are compared at the mean detection times of
// these waits.
var waits = [...]float64{2.5, 3.5}

// A result has the mistakes of the detectors on a link at the mean detection time of a fixed
// wait.
type result struct {
	link *link
	wait float64 // in intervals

	fixed, akka, phi, chen, ours score
}

func compare(l *link, seeds []uint64, scale float64) []result {
	traces := each(seeds, func(seed uint64) trace { return l.trace(seed, scale) })
	curveOf := func(d detector) *curve { return newCurve(each(traces, d), l.interval, unscored) }
	fixedOne, phiOne, chenOne := curveOf(fixed), curveOf(phi), curveOf(chen)
	our := newOurs(l, traces)

	var results []result
	for _, wait := range waits {
		detection := fixedOne.detection(wait * l.interval)
		results = append(results, result{
			link:  l,
			wait:  wait,
			fixed: fixedOne.score(wait * l.interval),
			akka:  fitAkka(curveOf, detection),
			phi:   phiOne.score(phiOne.knob(detection)),
			chen:  chenOne.score(chenOne.knob(detection)),
			ours:  our.fit(detection),
		})
	}
	return results
}

// fitAkka returns the score of Akka at a mean detection time. What Akka learns depends on its
// pause. Therefore, the pause is approximated step by step from its default.
func fitAkka(curveOf func(detector) *curve, detection float64) score {
	const byDefault, steps, near = 3.0, 3, 0.01
	c := curveOf(akka(byDefault))
	pause := c.knob(detection)
	for range steps {
		if pause < 0 {
			break
		}
		c = curveOf(akka(pause))
		before := pause
		pause = c.knob(detection)
		if math.Abs(pause-before) < near*c.interval {
			break
		}
	}
	if pause < 0 {
		return score{cannot: true}
	}
	return c.score(pause)
}

// shares limits the mistakes of the tracker on links where a detector can learn, as a share of
// the mistakes of a fixed wait.
var shares = map[string]float64{"wifi": 0.65, "wan": 0.90}

// shortfalls returns the cases in which the tracker is worse than required.
func shortfalls(results []result) []string {
	var missed []string
	for i := range results {
		r := &results[i]
		at := fmt.Sprintf("%s at %.1f intervals: ours makes %d mistakes, ", r.link.name, r.wait, r.ours.mistakes)
		if !r.atMost(1, r.fixed) {
			missed = append(missed, at+fmt.Sprintf("fixed %d", r.fixed.mistakes))
		}
		if !r.akka.cannot && !r.atMost(1, r.akka) {
			missed = append(missed, at+fmt.Sprintf("Akka %d", r.akka.mistakes))
		}
		if share, ok := shares[r.link.name]; ok && !r.atMost(share, r.fixed) {
			missed = append(missed, at+fmt.Sprintf("more than %.2f of fixed, which makes %d", share, r.fixed.mistakes))
		}
	}
	return missed
}

// atMost reports whether ours makes at most this share of the mistakes of another detector. If
// there are few mistakes, one more is allowed as chance.
func (r *result) atMost(share float64, other score) bool {
	const few = 10
	most := share * float64(other.mistakes)
	if other.mistakes < few {
		most++
	}
	return float64(r.ours.mistakes) <= most
}

// each applies f to all of xs in parallel, and returns the results in the order of xs.
func each[X, Y any](xs []X, f func(X) Y) []Y {
	ys := make([]Y, len(xs))
	indexes := make(chan int)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := range indexes {
				ys[i] = f(xs[i])
			}
		})
	}
	for i := range xs {
		indexes <- i
	}
	close(indexes)
	workers.Wait()
	return ys
}

// table returns the results as a Markdown table: mistakes (per hour; longest detection time in
// intervals) at the mean detection time of each fixed wait.
func table(results []result) string {
	var out strings.Builder
	out.WriteString("| link | wait | fixed | Akka | phi | Chen | ours | ours / fixed | our margin |\n" +
		"|------|-----:|------:|-----:|----:|-----:|-----:|-------------:|-----------:|\n")
	for i := range results {
		r := &results[i]
		fmt.Fprintf(&out, "| %s | %.1f | %s | %s | %s | %s | **%s** | %s | %.2f |\n",
			r.link.name, r.wait, r.cell(r.fixed), r.cell(r.akka), r.cell(r.phi), r.cell(r.chen), r.cell(r.ours), r.share(), r.ours.knob)
	}
	return out.String()
}

func (r *result) cell(s score) string {
	if s.cannot {
		return "cannot"
	}
	return fmt.Sprintf("%d (%.3g; %.1f)", s.mistakes, float64(s.mistakes)/s.hours, s.max/r.link.interval)
}

// share returns the mistakes of ours divided by the mistakes of the fixed wait.
func (r *result) share() string {
	if r.fixed.mistakes == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", float64(r.ours.mistakes)/float64(r.fixed.mistakes))
}
