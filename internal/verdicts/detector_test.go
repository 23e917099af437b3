package verdicts

import "math"

// A row is what a detector made of a beat: if no other one comes, its sender
// is dead at base + k*scale, where k is the knob of the detector.
type row struct {
	arrival, send float64
	base, scale   float64
}

func (r row) deadline(k float64) float64 { return r.base + k*r.scale }

// A detector makes a row of every beat that it accepts.
type detector func(trace) []row

// windowSize is how many beats Chen, phi and Akka remember.
const windowSize = 1000

// fixed waits so long after each beat.
func fixed(t trace) []row {
	rows := make([]row, 0, len(t.beats))
	for _, b := range t.beats {
		rows = append(rows, row{b.arrival, b.send, b.arrival, 1})
	}
	return rows
}

// chen waits so long after the next beat is due, which it learns from the
// last ones (Chen, Toueg, Aguilera, IEEE ToC 51(5), NFD-E). It knows the true
// interval.
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

// phi waits so many standard deviations more than the mean gap (Hayashibara et
// al., SRDS 2004): it takes gaps to be normally distributed.
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

// akka returns phi as Akka has it: threshold 8, deviations of 100 ms at the
// least, a pause that is acceptable, and only gaps after which the peer was
// still available are learnt. The knob is what comes on top of the pause.
func akka(pause float64) detector {
	const (
		eight          = 5.2256 // deviations at which Akka's approximation of phi reaches 8
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

// A window remembers the last numbers.
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
