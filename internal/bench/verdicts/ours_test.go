package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// ticking returns the beats of a sender that is never late.
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
