package judge

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// The log names dead peers that are forgotten, because their alerts end with that: ten by name, in
// one line a minute. Forgetting a peer that left is not logged.
func TestForgottenDeadPeersAreLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &testutil.CaptureLogger{}
		rules := liveness.Options{
			Terms:      liveness.Terms{DeadAfter: time.Second, Margin: liveness.MarginOf(3), ForgetDead: time.Hour},
			MinSilence: liveness.MinSilence, MaxPeers: 100, ForgetLeft: 2 * time.Hour,
		}
		j := New(Options{Rules: rules, Log: log}, time.Now())
		beat := func(host string, status string) {
			var b Beat
			require.Nil(t, b.Set(&wire.Beat{Host: host, Service: "app", IntervalMS: 1000, Status: status}, &Speaker{Printer: new(Printer)}, nil))
			j.Observe(&b)
		}
		pass := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(liveness.TickInterval) {
				j.tick()
			}
		}
		for i := range 12 {
			beat(fmt.Sprintf("web-%d", i), wire.StatusAlive)
			pass(time.Second)
		}
		beat("polite", wire.StatusAlive)
		beat("polite", wire.StatusLeaving)
		pass(59 * time.Minute)
		require.Empty(t, log.Messages())
		pass(3 * time.Hour)
		require.Len(t, log.Messages(), 2)
		require.Equal(t, "Forgot peers that were dead for 'forget_dead_after': web-0/app", log.Messages()[0].Text)
		require.Regexp(t, `^Forgot peers that were dead for 'forget_dead_after': web-1/app, (web-\d+/app, ){9}1 more$`, log.Messages()[1].Text)
	})
}
