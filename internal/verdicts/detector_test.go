package verdicts

import "math"

// A row is the deadline that a detector sets after a beat: without another beat, the sender is
// dead at base + k*scale, where k is the knob of the detector.
type row struct {
	arrival, send float64
	base, scale   float64
}

func (r row) deadline(k float64) float64 { return r.base + k*r.scale }

// A detector returns a row for each beat that it accepts.
type detector func(trace) []row

// windowSize is the number of beats that Chen, phi and Akka remember.
const windowSize = 1000

// fixed waits a fixed time after each beat.
func fixed(t trace) []row {
	rows := make([]row, 0, len(t.beats))
	for _, b := range t.beats {
		rows = append(rows, row{b.arrival, b.send, b.arrival, 1})
	}
	return rows
}

// chen waits a fixed time after the expected arrival of the next beat, which it estimates from
// the last beats (Chen, Toueg, Aguilera, IEEE ToC 51(5), NFD-E). It knows the true interval.
func chen(t trace) []row {
	rows := make([]row, 0, len(t.beats))
	var shifts window
	zero, high := t.beats[0].arrival, int64(-1)
	for _, b := range t.beats {
		if b.seq <= high {
			continue // late
		}
		high = b.seq
		shifts.add(b.arrival - zero - t.interval*float64(b.seq))
		due := zero + shifts.mean() + t.interval*float64(b.seq+1)
		rows = append(rows, row{b.arrival, b.send, due, 1})
	}
	return rows
}

// phi waits the mean gap and a number of standard deviations (Hayashibara et al., SRDS 2004). It
// assumes that gaps are normally distributed.
func phi(t trace) []row {
	const leastDeviation = 1e-4
	rows := make([]row, 0, len(t.beats))
	var gaps window
	for i, b := range t.beats[1:] {
		gaps.add(b.arrival - t.beats[i].arrival)
		rows = append(rows, row{b.arrival, b.send, b.arrival + gaps.mean(), max(gaps.deviation(), leastDeviation)})
	}
	return rows
}

// akka returns phi as implemented in Akka: with a threshold of 8, deviations of at least 100 ms,
// and an acceptable pause. It learns only from gaps after which the peer was still available. The
// knob is added to the pause.
func akka(pause float64) detector {
	const (
		eight          = 5.2256 // number of deviations at which Akka's approximation of phi reaches 8
		leastDeviation = 0.1
	)
	return func(t trace) []row {
		rows := make([]row, 0, len(t.beats))
		var gaps window
		gaps.add(0.75 * t.interval)
		gaps.add(1.25 * t.interval)
		for i, b := range t.beats {
			if i > 0 && b.arrival <= rows[i-1].deadline(pause) {
				gaps.add(b.arrival - t.beats[i-1].arrival)
			}
			base := b.arrival + gaps.mean() + eight*max(gaps.deviation(), leastDeviation)
			rows = append(rows, row{b.arrival, b.send, base, 1})
		}
		return rows
	}
}

// A window has the last windowSize numbers.
type window struct {
	numbers      []float64
	oldest       int
	sum, squares float64
}

func (w *window) add(x float64) {
	if len(w.numbers) < windowSize {
		w.numbers = append(w.numbers, x)
	} else {
		old := w.numbers[w.oldest]
		w.numbers[w.oldest] = x
		w.oldest = (w.oldest + 1) % windowSize
		w.sum -= old
		w.squares -= old * old
	}
	w.sum += x
	w.squares += x * x
}

func (w *window) mean() float64 { return w.sum / float64(len(w.numbers)) }

func (w *window) deviation() float64 {
	mean := w.mean()
	return math.Sqrt(max(0, w.squares/float64(len(w.numbers))-mean*mean))
}
