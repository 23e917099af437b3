//go:build unix

package e2e

import (
	"slices"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

func TestStoryOfFourPeers(t *testing.T) {
	t.Parallel()
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			tellStory(t, way.start(t, nil))
		})
	}
}

// tellStory lets one peer live, one say goodbye and one be killed, beside the
// client of the article.
func tellStory(t *testing.T, c *collector) {
	framed := dial(t, c.address)
	alive := map[string]any{"host": "db-1", "service": "db", "pid": 1, "run": "r", "seq": 1, "interval_ms": 3600000}
	answer := framed.beat(alive)
	require.Equal(t, "db-1/db", answer.ID)

	// Three beats as Python's json.dumps writes them, without a frame and with
	// nothing between them, and TCP tears two apart.
	article := dial(t, c.address)
	const bare = `{"ip": "10.0.0.5", "status": "alive", "pid": 4711}`
	article.send(bare+bare+bare, len(bare)/2, len(bare)+1)

	polite := startSender(t, c.address, "web-1", "polite")
	killed := startSender(t, c.address, "web-2", "killed")
	c.Until("all four to be alive", func() bool {
		for _, source := range []string{"db-1", "10.0.0.5", "web-1", "web-2"} {
			if len(c.events(source)) == 0 {
				return false
			}
		}
		return true
	})
	polite.Signal(syscall.SIGTERM)
	require.Zero(t, polite.Exit(), "exit code of a sender that is stopped")
	killed.Kill()

	c.Until("the death of the killed one", func() bool { return slices.Contains(c.events("web-2"), "dead") })
	states := c.events("web-2")
	require.Equal(t, "alive", states[0])
	require.Equal(t, []string{"suspect", "dead"}, states[len(states)-2:])

	// It was silent for longer, with the same interval: were it not for its
	// goodbye, it would be dead before.
	require.Equal(t, "left", last(c.events("web-1")))
	require.NotContains(t, c.events("web-1"), "dead")

	// The connections of those who live are still served.
	alive["seq"] = 2
	framed.beat(alive)
	article.send(bare)
	c.Until("a look at all peers after the last beats", func() bool {
		return told(c, "db-1", "beats_total") == 2 && told(c, "10.0.0.5", "beats_total") == 4
	})
	for _, peer := range []struct {
		source      string
		alive, dead int64
	}{
		{"db-1", 1, 0}, {"10.0.0.5", 1, 0}, {"web-1", 0, 0}, {"web-2", 0, 1},
	} {
		require.Equal(t, peer.alive, told(c, peer.source, "alive"), "alive of %s", peer.source)
		require.Equal(t, peer.dead, told(c, peer.source, "dead"), "dead of %s", peer.source)
		require.Len(t, series(c.metrics("heartbeat_peer", "source", peer.source)), 1, "series of %s", peer.source)
	}
	require.NotEmpty(t, c.metrics("heartbeat_peer", "source", "10.0.0.5", "ip", "10.0.0.5", "pid", "4711"))
	require.NotEmpty(t, c.metrics("heartbeat_down", "source", "web-2", "service", "killed", "state", "dead"))
	require.Empty(t, c.metrics("heartbeat_down", "source", "db-1"))
	require.Empty(t, c.Stderr.With(" E! "))
}

// told returns what was last told of a source in heartbeat_peer, or -1.
func told(c *collector, source, field string) int64 {
	c.T.Helper()
	metrics := c.metrics("heartbeat_peer", "source", source)
	if len(metrics) == 0 {
		return -1
	}
	return number(c.T, last(metrics), field)
}

func TestFourRestartsStayOneSeries(t *testing.T) {
	t.Parallel()
	c := startStock(t, nil)
	var sender *testkit.Process
	for life := range 5 {
		if life > 0 {
			sender.Kill()
		}
		sender = startSender(t, c.address, "web-1", "shop")
		pid := strconv.Itoa(sender.PID())
		c.Until("life "+strconv.Itoa(life+1), func() bool {
			return len(c.metrics("heartbeat", "source", "web-1", "pid", pid)) > 0
		})
	}
	c.Until("the fourth restart", func() bool { return told(c, "web-1", "restarts_total") >= 4 })
	beats := told(c, "web-1", "beats_total")
	c.Until("Telegraf to gather", func() bool { return told(c, "web-1", "beats_total") > beats })

	require.EqualValues(t, 4, told(c, "web-1", "restarts_total"))
	require.EqualValues(t, sender.PID(), told(c, "web-1", "last_pid"))
	require.Len(t, series(c.metrics("heartbeat_peer", "service", "shop")), 1)
	require.Len(t, series(c.metrics("heartbeat_peer")), 1, "nobody else is there")
	require.Len(t, c.metrics("heartbeat_event", "source", "web-1", "reason", "restarted"), 4)
	require.Empty(t, c.Stderr.With(" E! "))
}
