package verdicts

// A curve is the trade-off of a detector between mistakes and detection time, over all traces of
// a link.
type curve struct {
	traces   [][]row
	interval float64

	// The mean wait after a beat was sent is base + k*scale.
	base, scale float64
}

// newCurve combines the rows of a detector for several traces. The first rows of each trace, in
// which the detector learns, are not scored.
func newCurve(traces [][]row, interval float64, unscored int) *curve {
	c := &curve{interval: interval}
	n := 0
	for _, rows := range traces {
		rows = rows[unscored:]
		c.traces = append(c.traces, rows)
		n += len(rows)
		for _, r := range rows {
			c.base += r.base - r.send
			c.scale += r.scale
		}
	}
	c.base /= float64(n)
	c.scale /= float64(n)
	return c
}

// detection returns the mean time from a death to its verdict at knob k, if deaths are uniformly
// distributed over the interval after a beat.
func (c *curve) detection(k float64) float64 { return c.base + k*c.scale - c.interval/2 }

// knob returns the k with this mean detection time.
func (c *curve) knob(detection float64) float64 {
	return (detection + c.interval/2 - c.base) / c.scale
}

// A score is the result of a detector at one setting of its knob.
type score struct {
	knob     float64
	mistakes int
	hours    float64
	mean     float64 // mean detection time in seconds
	max      float64 // longest detection time, of a death right after a beat was sent
	cannot   bool    // the detector cannot be that fast
}

func (c *curve) score(k float64) score {
	s := score{knob: k, mean: c.detection(k)}
	for _, rows := range c.traces {
		s.mistakes += mistakes(rows, k)
		s.hours += (rows[len(rows)-1].arrival - rows[0].arrival) / 3600
		for _, r := range rows {
			s.max = max(s.max, r.deadline(k)-r.send)
		}
	}
	return s
}

// mistakes counts how often a living sender was declared dead. A beat that arrives after its own
// deadline does not end the mistake before it.
func mistakes(rows []row, k float64) int {
	n, wrong := 0, false
	for i, r := range rows[:len(rows)-1] {
		deadline := r.deadline(k)
		wrongBefore := wrong
		wrong = rows[i+1].arrival > deadline
		if wrong && !(wrongBefore && deadline <= r.arrival) {
			n++
		}
	}
	return n
}
