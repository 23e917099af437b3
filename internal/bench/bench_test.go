package main

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
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
		{"one", ms(99), "| 1 | 99.0 ms | 99.0 ms | 99.0 ms | 100.0 ms | holds |"},
		{"exactly", ms(100), "| 1 | 100.0 ms | 100.0 ms | 100.0 ms | 100.0 ms | holds |"},
		{"an outlier", ms(3000, 1, 2), "| 3 | 2.0 ms | 1.0 ms | 3000.0 ms | 100.0 ms | holds |"},
		{"mostly late", ms(1, 101, 102), "| 3 | 101.0 ms | 1.0 ms | 102.0 ms | 100.0 ms | MISSED |"},
		{"an even number", ms(1, 201), "| 2 | 101.0 ms | 1.0 ms | 201.0 ms | 100.0 ms | MISSED |"},
	}
	d := delay{what: "kill -9 -> dead", budget: 100 * time.Millisecond}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			row, holds := d.row(tt.took)
			require.Equal(t, "| kill -9 -> dead "+tt.want, row)
			require.Equal(t, tt.want[len(tt.want)-len("holds |"):] == "holds |", holds)
		})
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
		require.Equal(t, tt.want, says(tt.line, tt.service, tt.what), "%s of %s in %s", tt.what, tt.service, tt.line)
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

// Before a collector tells a death it asks the other one, so only those hosts are dead
// that nobody has heard; and each event is told once.
func TestCollectorsTellOnlyWhatNobodyHears(t *testing.T) {
	asking := simulate(&settings[1], seeds[0], 12*time.Hour)
	require.Equal(t, 7, asking.unheard)
	require.Equal(t, asking.unheard, asking.wrong)
	require.Zero(t, asking.avoidable)
	require.Zero(t, asking.twice)
	require.Len(t, asking.delays, realDeaths)
	require.Less(t, slices.Max(asking.delays), silenceOfBeat+liveness.AnswerTime)
	alone := simulate(&settings[0], seeds[0], 2*time.Hour)
	require.Greater(t, alone.wrong, 10*alone.unheard, "else there is nothing to ask for")
}
