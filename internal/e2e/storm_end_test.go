//go:build unix

package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

func TestKilledProcessIsSuspectThenDeadOnce(t *testing.T) {
	t.Parallel()
	p := newPost(t, `disconnect_grace = "1s"`)
	p.relieve()
	const killed = 5
	senders := make([]*testkit.Process, killed)
	for i := range senders {
		senders[i] = testkit.StartProgram(t, "heartbeat-sender", "run", "-config", os.DevNull, "-server", "tcp://"+p.address,
			"-interval", "3s", "-host", "web-1", "-service", fmt.Sprint("app-", i))
	}
	p.untilAll(killed)
	// The second beat may come within 100 ms of the first, the third cannot.
	p.now().Until("all to beat three times", func() bool { return least(t, p.look(killed), "beats_total") >= 3 })
	for _, s := range senders {
		s.Kill()
	}
	p.now().Until("all deaths", func() bool { return len(p.events("state", "dead")) == killed })
	for i := range senders {
		require.Equal(t, []string{"alive beat", "suspect conn_closed", "dead conn_closed"}, p.states("web-1", fmt.Sprint("app-", i)))
	}
	require.EqualValues(t, killed, total(t, p.look(killed), "deaths_total"))
	require.Empty(t, p.events("reason", "restarted"))
}

// What watches from outside may end: its connection says nothing about those
// it watches.
func TestEndOfAWatcherIsNobodysDeath(t *testing.T) {
	t.Parallel()
	p := newPost(t, `disconnect_grace = "1s"`)
	p.relieve()
	watcher := func() *testkit.Process {
		return testkit.StartProgram(t, "heartbeat-sender", "run", "-config", os.DevNull, "-server", "tcp://"+p.address, "-interval", "3s", "-host", "web-1")
	}
	// Several peers over one connection. Where the host is one of them, its
	// services have no silence of their own.
	beat := func(c *client, run string, seq int64) {
		for pid, peer := range []string{"web-2/host", "web-2/db", "web-2/nginx", "web-2/shop", "web-3/db", "web-3/shop"} {
			host, service, _ := strings.Cut(peer, "/")
			c.beat(map[string]any{
				"host": host, "service": service, "pid": pid, "run": run, "seq": seq, "interval_ms": 10_000, "watched": true,
			})
		}
	}
	const peers, suspects = 7, 4

	sender, several := watcher(), dial(t, p.address)
	beat(several, "one", 1)
	p.untilAll(peers)
	pause(150 * time.Millisecond) // a long connection has beats that are 100 ms apart
	beat(several, "one", 2)
	p.now().Until("all to beat twice", func() bool { return least(t, p.look(peers), "beats_total") >= 2 })
	p.now().Until("the sender to beat three times", func() bool { return number(t, p.look(peers)["web-1/host"], "beats_total") >= 3 })
	sender.Kill()
	require.NoError(t, several.Close())
	p.now().Until("suspicion", func() bool { return len(p.events("state", "suspect", "reason", "conn_closed")) >= suspects })
	pause(3 * time.Second) // three times what those who beat for themselves would have

	watcher()
	beat(dial(t, p.address), "two", 1)
	p.untilAll(peers)
	p.requireNoDeath()
	require.Len(t, p.events("state", "suspect"), suspects)
	for _, peer := range [][2]string{{"web-1", "host"}, {"web-2", "host"}, {"web-3", "db"}, {"web-3", "shop"}} {
		require.Equal(t, []string{"alive beat", "suspect conn_closed", "alive beat"}, p.states(peer[0], peer[1]))
	}
	require.Zero(t, total(t, p.look(peers), "restarts_total"), "a new run is no restart")
}
