package verdicts

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// marginUnit is an interval in units of liveness.Terms.Margin.
const marginUnit = 256

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// ours is the tracker of package liveness. Its only knob is its margin, an integer. What it
// learns may depend on the margin, so each margin is played separately.
type ours struct {
	link   *link
	traces []trace
	scores map[int]score
}

func newOurs(l *link, traces []trace) *ours {
	return &ours{link: l, traces: traces, scores: make(map[int]score)}
}

// fit returns the score at the largest margin with at most this mean detection time. The
// detection time grows almost linearly with the margin, so interpolation needs few plays.
func (o *ours) fit(detection float64) score {
	low, high := 1, 2*int((detection+o.link.interval/2)/o.link.interval*marginUnit)
	for interpolate := true; high-low > 1; interpolate = !interpolate {
		next := low + 1 // interpolation has probably found the largest margin
		if interpolate {
			next = o.between(low, high, detection)
		}
		if o.at(next).mean <= detection {
			low = next
		} else {
			high = next
		}
	}
	return o.at(low)
}

// between returns the margin between low and high that has this detection time if it grows
// linearly.
func (o *ours) between(low, high int, detection float64) int {
	from, to := o.at(low).mean, o.at(high).mean
	at := low + int(float64(high-low)*(detection-from)/(to-from))
	return min(max(at, low+1), high-1)
}

// at returns the score at a margin.
func (o *ours) at(margin int) score {
	s, ok := o.scores[margin]
	if !ok {
		rows := each(o.traces, func(t trace) []row { return o.play(t, margin) })
		s = newCurve(rows, o.link.interval, unscored).score(0)
		s.knob = float64(margin) / marginUnit
		o.scores[margin] = s
	}
	return s
}

// play sends a trace to a tracker and returns the deadlines that it sets.
func (o *ours) play(t trace, margin int) []row {
	tracker := newTracker(margin)
	rows := make([]row, 0, len(t.beats))
	tick := time.Duration(0)
	for _, b := range t.beats {
		at := duration(b.arrival)
		for ; tick <= at; tick += liveness.TickInterval {
			tracker.Tick(epoch.Add(tick))
		}
		out := tracker.Observe(epoch.Add(at), o.beat(b))
		if out.Fate == liveness.Accepted {
			rows = append(rows, row{arrival: b.arrival, send: b.send, base: b.arrival + out.Silence.Dead.Seconds()})
		}
	}
	return rows
}

// newTracker returns a tracker without limits except for the margin.
func newTracker(margin int) *liveness.Tracker {
	return liveness.New(liveness.Options{
		Terms:    liveness.Terms{DeadAfter: time.Hour, Margin: margin},
		MaxPeers: 1,
	}, epoch)
}

// beat converts b to a beat for the tracker.
func (o *ours) beat(b beat) *liveness.Beat {
	input := &liveness.Beat{
		ID:       liveness.ID{Source: "host", Service: "service"},
		Interval: duration(o.link.interval),
	}
	number := b.seq + 1 // 0 means no number
	switch o.link.conns {
	case oneShots:
		input.Conn = liveness.ConnID(number)
		return input
	case oneConn:
		input.Conn = 1
	}
	input.Run, input.Seq = "run", number
	return input
}

func duration(seconds float64) time.Duration {
	return time.Duration(math.Round(seconds * float64(time.Second)))
}

// ticking returns n beats of a sender that is never late.
func ticking(n int) []beat {
	var beats []beat
	for q := range n {
		send := start + float64(q)
		beats = append(beats, beat{send + 0.25, send, int64(q)})
	}
	return beats
}

func TestTheTrackerWaitsForAnIntervalAndTheMargin(t *testing.T) {
	for _, conns := range []conns{datagrams, oneConn, oneShots} {
		o := newOurs(&link{interval: 1, conns: conns}, nil)
		rows := o.play(trace{1, ticking(500)}, 384)
		require.Len(t, rows, 500)
		require.InDelta(t, rows[499].arrival+2.5, rows[499].deadline(0), 0.001)
	}
}

func TestLateAndDuplicateBeatsAreNotScored(t *testing.T) {
	beats := ticking(10)
	beats[1].seq = 0
	beats[5].seq, beats[6].seq = 6, 5
	for conns, want := range map[conns]int{datagrams: 8, oneConn: 8, oneShots: 10} {
		o := newOurs(&link{interval: 1, conns: conns}, nil)
		require.Len(t, o.play(trace{1, beats}, 384), want, "one-shots number nothing")
	}
}

func TestTheLargestMarginIsFound(t *testing.T) {
	l := &links[3]
	traces := []trace{l.trace(1, 0), l.trace(2, 0)}
	o := newOurs(l, traces)
	for _, detection := range []float64{1.1, 2, 4} {
		s := o.fit(detection)
		require.LessOrEqual(t, s.mean, detection)
		require.Greater(t, o.at(int(s.knob*marginUnit)+1).mean, detection)
	}
}
