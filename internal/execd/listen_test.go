package execd

import (
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/metric"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/cli"
)

func TestTransitionsAreReadable(t *testing.T) {
	at := time.Date(2026, 11, 23, 12, 0, 5, 999, time.Local)
	for _, c := range []struct {
		want   string
		tags   map[string]string
		lasted any
	}{
		{
			"12:00:05 dead web-1/nginx conn_closed after 2m3s\n",
			map[string]string{"source": "web-1", "service": "nginx", "pid": "7", "state": "dead", "previous": "alive", "reason": "conn_closed"},
			123.4,
		},
		{
			"12:00:05 alive 10.0.0.5/4711 beat\n",
			map[string]string{"source": "10.0.0.5", "pid": "4711", "state": "alive", "previous": "unknown", "reason": "beat"},
			12.0,
		},
		{
			"12:00:05 suspect web-1 silence after 250ms\n",
			map[string]string{"source": "web-1", "state": "suspect", "previous": "alive", "reason": "silence"},
			0.25,
		},
		{
			"12:00:05 left web-1/cron finished\n",
			map[string]string{"source": "web-1", "service": "cron", "state": "left", "previous": "alive", "reason": "finished"},
			0.0,
		},
		{"12:00:05 collector started\n", map[string]string{"state": "started"}, nil},
		{"12:00:05 collector started\n", map[string]string{"reason": "started"}, nil},
	} {
		fields := map[string]any{"last_pid": 7}
		if c.lasted != nil {
			fields["lasted_seconds"] = c.lasted
		}
		got, err := encodeEvent(metric.New("heartbeat_event", c.tags, fields, at))
		require.NoError(t, err)
		require.Equal(t, c.want, string(got))
	}
}

func TestTryRunsWithDefaultsAndShowsTransitionsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		setBehaviour(t, behaviour{
			start: func(_ *fake, acc telegraf.Accumulator) error {
				acc.AddGauge("heartbeat_peer", map[string]any{"alive": 1}, map[string]string{"source": "a"})
				acc.AddFields("heartbeat_event", map[string]any{"lasted_seconds": 3.0},
					map[string]string{"source": "a", "service": "b", "state": "dead", "previous": "suspect", "reason": "silence"},
					time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local))
				return nil
			},
			gather: gatherOne,
		})
		tr := begin(t, "", "-listen", "tcp://:1\"")
		tr.stdin.Close() // does not matter
		pass(time.Hour)
		require.Empty(t, tr.result, "ended with stdin")
		require.Equal(t, "03:04:05 dead a/b silence after 3s\n", tr.stdout.String())
		require.Len(t, made, 1)
		require.Equal(t, []string{"tcp://:1\""}, made[0].ServiceAddresses)
		tr.cancel()
		require.NoError(t, tr.ended())
	})
}

// Somebody who tries it wants to know at once that the port is taken.
func TestTryDoesNotWaitForItsAddress(t *testing.T) {
	setBehaviour(t, behaviour{start: func(*fake, telegraf.Accumulator) error { return errTaken }})
	_, stderr, err := call(t, "-listen", "tcp://:7878")
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	require.Equal(t, cli.ExitFailed, cli.ExitCode(err))
	require.Empty(t, stderr)
}
