package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTableSaysWhatIsMissed(t *testing.T) {
	d := func(took ...time.Duration) *delay {
		return &delay{what: "kill -9 -> dead", budget: 100 * time.Millisecond, took: took}
	}
	tests := []struct {
		name  string
		delay *delay
		want  string
	}{
		{"one", d(99 * time.Millisecond), "| 1 | 99.0 ms | 99.0 ms | 99.0 ms | 100.0 ms | holds |"},
		{"exactly", d(100 * time.Millisecond), "holds"},
		{"an outlier", d(3*time.Second, time.Millisecond, 2*time.Millisecond), "| 3 | 2.0 ms | 1.0 ms | 3000.0 ms | 100.0 ms | holds |"},
		{"mostly late", d(time.Millisecond, 101*time.Millisecond, 102*time.Millisecond), "MISSED"},
		{"an even number", d(time.Millisecond, 201*time.Millisecond), "| 2 | 101.0 ms | 1.0 ms | 201.0 ms | 100.0 ms | MISSED |"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			holds := printTable(&out, []*delay{tt.delay})
			require.Contains(t, out.String(), tt.want)
			require.Equal(t, !strings.Contains(out.String(), "MISSED"), holds)
		})
	}
}

func TestLinesThatCountAreUnderstood(t *testing.T) {
	tests := []struct {
		line string
		want sighting
		ok   bool
	}{
		{`heartbeat,ip=127.0.0.1,pid=7,service=app,source=bench status="alive",seq=2i,interval_seconds=10 1`, sighting{"app", "beat 2"}, true},
		{"heartbeat_event,previous=suspect,reason=conn_closed,service=app,source=bench,state=dead last_pid=7i 1", sighting{"app", "dead"}, true},
		{"heartbeat_peer,service=app,source=bench dead=1i 1", sighting{}, false},
		{"", sighting{}, false},
	}
	for _, tt := range tests {
		got, ok := parse(tt.line)
		require.Equal(t, tt.ok, ok, tt.line)
		require.Equal(t, tt.want, got, tt.line)
	}
}
