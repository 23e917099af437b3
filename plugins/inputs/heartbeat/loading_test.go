package heartbeat

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/judge"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/serve"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/statefile"
)

// A slowJudge restores no peer until it is released.
type slowJudge struct {
	*judge.Judge
	release chan struct{}
}

func (s *slowJudge) Restore(records []liveness.Record, saved, now time.Time) {
	<-s.release
	s.Judge.Restore(records, saved, now)
}

// startSlowly starts a plugin that takes as long to know its peers as the test likes, and
// returns what it has waited for.
func startSlowly(t *testing.T, path string, pipes *pipeListener, acc *testutil.Accumulator) (*Heartbeat, *slowJudge) {
	h := newPlugin(t)
	h.StateFile = path
	require.NoError(t, h.Init())
	options, err := h.prepare(time.Now())
	require.NoError(t, err)
	options.Addresses = nil
	h.server, err = serve.Open(options)
	require.NoError(t, err)
	h.server.AcceptFrom(pipes, false)
	slow := &slowJudge{h.judge, make(chan struct{})}
	h.keeper = statefile.NewKeeper(path, slow, h.Log)
	require.NoError(t, h.keeper.Open(time.Now()))
	h.load(acc)
	return h, slow
}

// saveTwo leaves a file with a peer that is well and one that is dead.
func saveTwo(t *testing.T) (path string) {
	path = filepath.Join(t.TempDir(), "state")
	h := newPlugin(t)
	h.StateFile = path
	_, connect, stop := startInBubble(t, h)
	c := connect()
	c.send(frame(`{"host":"web-1","pid":0,"interval_ms":10000}`) + frame(`{"host":"web-2","service":"job","pid":8,"status":"dead","exit_code":3}`))
	time.Sleep(time.Second)
	stop()
	c.Close()
	return path
}

// A collector with so many peers that reading them takes long does not delay Telegraf, and
// judges no peer before it has read all: a beat waits, and its peer continues as it was.
func TestBeatsWaitUntilAllIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := saveTwo(t)
		acc, pipes := new(testutil.Accumulator), newPipes()
		begin := time.Now()
		h, slow := startSlowly(t, path, pipes, acc)
		require.Equal(t, loadPatience, time.Since(begin))
		near, far := net.Pipe()
		go func() { pipes.conns <- far }()
		c := newClient(t, near)
		go c.Write([]byte(frame(`{"host":"web-1","pid":0,"interval_ms":10000,"ack":true}`))) //nolint:errcheck // its answer is read
		time.Sleep(5 * time.Second)
		require.NoError(t, h.Gather(acc))
		require.Empty(t, acc.GetTelegrafMetrics(), "it knows nothing that it could tell")

		close(slow.release)
		require.Contains(t, c.answer(), `"id":"web-1/host"`)
		gather(t, h)
		require.EqualValues(t, 2, metricsOf(acc, "heartbeat_peer", "source", "web-1")[0].Fields()["beats_total"])
		require.Empty(t, eventsOf(acc, "web-1"))
		require.Empty(t, eventsOf(acc, "web-2"))
		c.Close()
		h.Stop()
	})
}

// A loss at the end of a file is logged once: the next collector continues after what is left.
func TestEndOfTheFileThatIsMissingIsSaid(t *testing.T) {
	for cut, want := range map[int]string{
		0: "", 1: "it ends in the middle of a line", 9: "it ends in the middle of a line",
	} {
		synctest.Test(t, func(t *testing.T) {
			path := saveTwo(t)
			info, err := os.Stat(path)
			require.NoError(t, err)
			require.NoError(t, os.Truncate(path, info.Size()-int64(cut)))
			for range 2 {
				log := new(testutil.CaptureLogger)
				h := newPlugin(t)
				h.StateFile, h.Log = path, log
				_, _, stop := startInBubble(t, h)
				stop()
				if want == "" {
					require.Empty(t, log.Warnings())
				} else {
					require.Len(t, log.Warnings(), 1)
					require.Contains(t, log.Warnings()[0], want)
				}
				want = ""
			}
		})
	}
}

// A peer that could not connect while the collector read its file may need as long again: TCP
// waits longer between attempts the longer it has tried.
func TestSilenceIsJudgedLaterWhereReadingTookLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const deaf, silence = 40 * time.Second, 46 * time.Second // of web-1, after a restart
		acc := new(testutil.Accumulator)
		h, slow := startSlowly(t, saveTwo(t), newPipes(), acc)
		time.Sleep(deaf)
		close(slow.release)
		time.Sleep(deaf + silence - 10*time.Second)
		require.NotContains(t, eventsOf(acc, "web-1"), "dead silence")
		time.Sleep(20 * time.Second)
		require.Contains(t, eventsOf(acc, "web-1"), "dead silence")
		h.Stop()
	})
}

// A collector that is stopped before it has read the file does not change it.
func TestStopBeforeAllIsKnownForgetsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := saveTwo(t)
		before, err := os.ReadFile(path)
		require.NoError(t, err)
		h, slow := startSlowly(t, path, newPipes(), new(testutil.Accumulator))
		stopped := make(chan struct{})
		go func() { h.Stop(); close(stopped) }() // ends when the restoring does
		synctest.Wait()
		close(slow.release)
		<-stopped
		after, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, string(before), string(after))
		again, state, err := statefile.Open(path, time.Now())
		require.NoError(t, err, "it is free")
		require.Len(t, state.Peers, 2)
		require.NoError(t, again.Close())
	})
}
