//go:build linux

package e2e

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/web/api"
)

// A crontab that pings a check is heard as the job of its peer, for as long as the check says.
func TestCurlOfACrontabIsHeard(t *testing.T) {
	t.Parallel()
	p := newPings(t, check(pingID, "web-1/backup", `every = "24h"`, `grace = "1h"`))
	p.start()
	ping := p.curl("/ping/" + pingID)
	require.Zero(t, ping.Exit())
	require.Equal(t, []string{"OK 200"}, ping.Stdout.All())
	p.untilStates("web-1", "backup", "alive beat")
	require.InDelta(t, 25*60*60, p.untilNoRun("web-1/backup").DeadAfter, 0)

	require.Zero(t, p.curl("/ping/"+pingID+"/3").Exit())
	p.untilStates("web-1", "backup", "alive beat", "dead exited")
	p.untilExitCode("web-1/backup", 3)
	require.Zero(t, p.curl("/ping/"+pingID, "-I").Exit())
	p.untilStates("web-1", "backup", "alive beat", "dead exited", "alive beat")
	require.Zero(t, p.curl("/ping/"+pingID+"/fail", "--data-raw", "disk full").Exit())
	p.untilStates("web-1", "backup", "alive beat", "dead exited", "alive beat", "dead exited")
	p.requireNoToken(pingID)
}

// curl fails if its URL is mistyped, and no peer is made.
func TestCurlOfACheckThatIsNotThereFails(t *testing.T) {
	t.Parallel()
	p := newPings(t, check(pingID, "web-1/backup"))
	p.start()
	mistyped := strings.Replace(pingID, "5", "6", 1)
	for _, path := range []string{"/ping/" + mistyped, "/ping/" + mistyped + "/start"} {
		ping := p.curl(path)
		require.Equal(t, 22, ping.Exit())
		require.True(t, ping.Stderr.Says("404"))
	}
	bad := p.curl("/ping/" + pingID + "/256")
	require.Equal(t, 22, bad.Exit())
	require.True(t, bad.Stderr.Says("400"))
	require.Len(t, p.look(1), 1) // the one of the check
}

// With the options of our documents a ping that comes while the collector is being restarted is
// late, and not lost.
func TestCurlFindsACollectorThatIsRestarted(t *testing.T) {
	t.Parallel()
	p := newPings(t, check(pingID, "web-1/backup", `every = "24h"`))
	p.start()
	require.Zero(t, p.curl("/ping/"+pingID).Exit())
	p.untilStates("web-1", "backup", "alive beat")
	p.stop()
	ping := p.curl("/ping/"+pingID, "-v")
	ping.Until("it to be refused", func() bool { return ping.Stderr.Says("refused") })
	p.start()
	require.Zero(t, ping.Exit())
	require.Equal(t, []string{"OK 200"}, ping.Stdout.All())
	p.untilPeer("web-1/backup", "a second beat", func(peer *api.Peer) bool { return peer.Beats == 2 })
	require.Equal(t, []string{"alive beat"}, p.states("web-1", "backup"))
}

// requireNoToken looks for a token in what the collector has printed and saved.
func (p *pings) requireNoToken(token string) {
	p.t.Helper()
	p.stop()
	for _, printed := range [][]string{p.now().Stdout.All(), p.now().Stderr.All()} {
		require.NotContains(p.t, strings.Join(printed, "\n"), token)
	}
	saved, err := os.ReadFile(p.state)
	require.NoError(p.t, err)
	require.NotContains(p.t, string(saved), token)
}
